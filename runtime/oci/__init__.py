"""The OCI documents: loading, checking and templates."""

OCI_VERSION = "1.3.0"
"""The version of the runtime specification that stele implements and writes into its documents."""
