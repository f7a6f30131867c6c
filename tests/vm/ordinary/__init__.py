"""An ordinary Debian 12 in QEMU, where the kernel tests run as on a person's machine: see __main__.py."""
