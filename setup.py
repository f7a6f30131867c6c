"""What pyproject.toml cannot say: `pip install .` also builds init and the waiter, which the C shim carries, the shim, and the man pages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from setuptools import setup

subprocess.run(["make", "--silent", "init", "waiter"], check=True)
SHARE = Path("build/share")
subprocess.run([sys.executable, "build-aux/manual.py", SHARE], check=True)
FILES = [file for file in sorted(SHARE.rglob("*")) if file.is_file() and file.name != "stamp"]
FOLDERS = sorted({file.parent for file in FILES})
setup(
    cffi_modules=["cshim/build_shim.py:packaged"],
    data_files=[
        (f"share/{folder.relative_to(SHARE)}", [str(file) for file in FILES if file.parent == folder])
        for folder in FOLDERS
    ],
)
