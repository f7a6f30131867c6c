"""The faults that `make mutants` plants, and which tests it runs against them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.runtime import REPO
from tests.mutants import clang, concern, python
from tests.mutants.mutant import choose, explained


@pytest.mark.parametrize(
    ("source", "faults"),
    [
        ("if a < 1: pass", {"if a <= 1: pass", "if a < 2: pass", "if a < 0: pass"}),
        ("x = a and not b", {"x = a or not b", "x = a and b"}),
        ("f(é, ready=True)", {"pass", "f(é, ready=False)"}),
        ("SAFE = ('a', 'b')", {"SAFE = ('a',)"}),
        ("SAFE = {'a': b, 'c': d}", {"SAFE = {'a': b}"}),
        ("x = A | B", {"x = A"}),
        ("x = a is not None", {"x = a is None"}),
        ("if bad:\n    raise ValueError", {"if bad:\n    pass"}),
        ("if self.pidfd >= 0: x = y", set()),
        ("raise E(f'{text[:40]}')", {"pass"}),
        ("def f(x: tuple[1, 2]) -> 3: ...", set()),
        ("if TYPE_CHECKING:\n    x = 1", set()),
    ],
)
def test_faults_in_python(source: str, faults: set[str]) -> None:
    text = source.encode()
    assert {m.apply(text).decode() for m in python.mutants("f.py", text)} == faults


@pytest.mark.parametrize(
    ("source", "faults"),
    [
        ("if (a < b)", {"if (a <= b)"}),
        ("x = O_PATH | O_NOFOLLOW | O_CLOEXEC;", {"x = O_NOFOLLOW | O_CLOEXEC;", "x = O_PATH | O_CLOEXEC;", "x = O_PATH | O_NOFOLLOW;"}),
        ("\tmust(close(fd), \"a < b\");", {"\t;"}),
        ("if (!a && b)", {"if (a && b)", "if (!a || b)"}),
        ("if (fd >= 0 && a >= 0)", {"if (fd >= 0 || a >= 0)", "if (fd >= 0 && a > 0)"}),
        ("/* a < b */ \"!c\" '!'", set()),
        ("#define A (B | C_D)", set()),
    ],
)  # fmt: skip
def test_faults_in_c(source: str, faults: set[str]) -> None:
    text = source.encode()
    assert {m.apply(text).decode() for m in clang.mutants("f.c", text)} == faults


def test_the_choice_depends_on_the_seed_and_outlives_edits() -> None:
    source = b"\n".join(b"x = a%d < b" % i for i in range(40))
    chosen = choose(python.mutants("f.py", source), 10, "one")
    moved = choose(python.mutants("f.py", b"y = z\n" + source), 10, "one")
    assert [m.key for m in chosen] == [m.key for m in moved]
    assert [m.number + 1 for m in chosen] == [m.number for m in moved]
    assert chosen != choose(python.mutants("f.py", source), 10, "two")


def test_the_tests_that_concern_a_file() -> None:
    assert "tests/unit/test_stats.py" in concern.tests_of("runtime/host/stats.py", REPO)
    assert "tests/kernel/test_layers.py" in concern.tests_of("cshim/unpack.c", REPO)
    for file in (*(REPO / "runtime/plan").glob("*.py"), *(REPO / "cshim").rglob("*.c")):
        for test in concern.tests_of(str(file.relative_to(REPO)), REPO):
            name, _, function = test.partition("::")
            assert f"def {function.partition('[')[0]}" in (REPO / name).read_text(), f"{file}: {test}"


def test_each_explained_survivor_has_a_reason(tmp_path: Path) -> None:
    explained(REPO / "tests/mutants/explained.txt")
    path = tmp_path / "explained.txt"
    path.write_text("# why\nf.py: x [< -> <=]\n  the same\n")
    assert explained(path) == {"f.py: x [< -> <=]": "the same"}
    for bad in ("key\n", "  reason\n", "key\nkey\n"):
        path.write_text(bad)
        with pytest.raises(ValueError, match="reason"):
            explained(path)
