"""Image recipes that build offline from Debian's packages: what README, tests and benchmarks run.

`python -m bundles NAME` builds build/bundles/NAME (an OCI bundle) and build/images/NAME (an OCI image layout).
"""
