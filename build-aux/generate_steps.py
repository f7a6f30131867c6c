"""Write cshim/steps.h: the steps of runtime/plan/steps.py for C.

Usage: generate_steps.py [--check]
    --check only compares the file with what it would write.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from runtime.plan import steps, wire  # noqa: E402

HEADER = PROJECT / "cshim/steps.h"

HEAD = """\
/* The steps of init. Generated from runtime/plan/steps.py by `make init`: do not edit.
 *
 * A step's integers are read by `INTS(step_name, s)->field`, its strings by their place, STEP_NAME_FIELD; a place with
 * the comment "list" is the first of a list that takes all strings from there on. */
/* clang-format off */
#ifndef STELE_STEPS_H
#define STELE_STEPS_H

#include <stdint.h>
"""


def name_of(kind: type[steps.Step]) -> str:
    """The name of a step in C: "bind_mount" for BindMount."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


def constants() -> list[str]:
    """A definition for each number at the top of steps.py and for the header of a plan."""
    named = {"PLAN_MAGIC": wire.MAGIC, "PLAN_ABI": wire.ABI, "PLAN_MAX": wire.MAX_PLAN} | {
        name: value for name, value in vars(steps).items() if name.isupper() and isinstance(value, int)
    }
    return [f"#define {name} {value}u" for name, value in named.items()]


def table() -> list[str]:
    """The X-macro with a row for each step, in the order of their numbers."""
    rows = []
    for number, kind in sorted(steps.KINDS.items()):
        shape = wire.SHAPES[kind]
        name = name_of(kind)
        binary = sum(1 << place for place, (_, is_bytes) in enumerate(shape.strings) if is_bytes)
        counts = f"{len(shape.integers)}, {len(shape.strings)}, {int(shape.rest is not None)}, {binary}"
        rows.append(f"\tX({name.upper()}, {name}, {number}, {counts})")
    comment = "/* X(NAME, name, number, integers, strings, has a list of strings, bit mask of strings that may contain NUL) */"
    return [comment, "#define STEPS(X) \\", " \\\n".join(rows)]


def fields(kind: type[steps.Step]) -> list[str]:
    """The struct of a step's integers and the places of its strings, if it has any."""
    shape = wire.SHAPES[kind]
    name = name_of(kind)
    lines = []
    if shape.integers:
        lines += [f"struct {name}_ints {{", *(f"\tuint64_t {field};" for field, _ in shape.integers), "};"]
    places = [field for field, _ in shape.strings] + ([shape.rest] if shape.rest else [])
    if places:
        lines += ["enum {", *(f"\t{name}_{field},".upper() for field in places), "};"]
        if shape.rest:
            lines[-2] += " /* list */"
    return lines


def header() -> str:
    """The text of cshim/steps.h."""
    parts = ["\n".join(constants()), "\n".join(table())]
    parts += ["\n".join(lines) for _, kind in sorted(steps.KINDS.items()) if (lines := fields(kind))]
    return HEAD + "\n" + "\n\n".join(parts) + "\n\n#endif\n"


def main() -> int:
    """Write the file, or say whether it is what it should be."""
    if sys.argv[1:] == ["--check"]:
        if HEADER.read_text() != header():
            print(f"{HEADER.relative_to(PROJECT)} does not match runtime/plan/steps.py; run `make init` and commit it")
            return 1
        return 0
    HEADER.write_text(header())
    return 0


if __name__ == "__main__":
    sys.exit(main())
