"""stele, an OCI container runtime for hosts whose root file system is read-only."""

VERSION = "0.2.0"
