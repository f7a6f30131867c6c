"""What a layer may be at most, against bombs: the defaults, and what a host's owner says in <store>/limits.json."""

from __future__ import annotations

import os
from dataclasses import fields, replace

from runtime.host.unpack import Budget
from runtime.images.model import ImageError
from runtime.oci.load import parse_document

FILE = "limits.json"
FILE_MAX = 64 << 10


def load(store: str) -> Budget:
    """The budget of a store: an object with any of Budget's fields, each a number above zero.

    Raises:
        ImageError, ConfigError: limits.json has something else; nothing is guessed.
    """
    path = f"{store}/{FILE}"
    try:
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            told = parse_document(file.read(FILE_MAX), path)
    except FileNotFoundError:
        return Budget()
    known = [field.name for field in fields(Budget)]
    for name, value in told.items():
        if name not in known:
            raise ImageError(f"{path}: {name!a} is not a limit; there are {', '.join(known)}")
        if type(value) is not int or not 0 < value < 1 << 63:
            raise ImageError(f"{path}: {name}: {value!a} is not a number above zero")
    return replace(Budget(), **told)
