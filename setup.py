"""What pyproject.toml cannot say: `pip install .` also builds the C shim, and before it init, which the shim carries."""

from __future__ import annotations

import subprocess

from setuptools import setup

subprocess.run(["make", "--silent", "init"], check=True)
setup(cffi_modules=["cshim/build_shim.py:packaged"])
