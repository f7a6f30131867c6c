"""The three ways to start stele are one program: the executable, `python -m runtime`, and the command that pip installs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.host import seccomp
from tests.harness.bundles import BundleFactory
from tests.harness.runtime import REPO, Runtime

Ways = dict[str, list[str]]


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Ways:
    """How each is called. The installed command is what pip makes of pyproject.toml's scripts (no network is asked)."""
    site, source = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("source")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    environment = {"PATH": "/usr/bin:/bin", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    parts = ("runtime", "cshim", "build-aux", "Makefile", "pyproject.toml", "setup.py")
    subprocess.run(["cp", "-r", *(REPO / part for part in parts), source], check=True)
    done = subprocess.run(
        [*install, "--target", site, source], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    libraries = ":".join([str(site), *(p for p in sys.path if p.endswith("site-packages"))])
    return {
        "executable": [str(REPO / "build/bin/stele")],
        "module": ["env", "-C", str(REPO), str(REPO / "build/venv/bin/python"), "-m", "runtime"],
        "installed": ["env", f"PYTHONPATH={libraries}", str(site / "bin/stele")],
    }


def same(ways: Ways, words: list[str], clean: Callable[[str], str] = lambda text: text) -> tuple[int, str, str]:
    """Run it in each way; all must do the same. Returns exit code, stdout and stderr."""
    done = {
        way: subprocess.run([*argv, *words], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        for way, argv in ways.items()
    }
    results = {way: (d.returncode, clean(d.stdout), clean(d.stderr)) for way, d in done.items()}
    assert results["executable"] == results["module"]
    assert results["installed"] == results["module"]
    return results["module"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], 0), (["--help"], 0), (["help", "run"], 0), (["exec", "-h"], 0), (["features"], 0),
        (["nonsense"], 1), (["create"], 1), (["create", "--nonsense", "x"], 1), (["--log-format", "xml", "list"], 1),
        (["--root", "/no/such/root", "list"], 1), (["--root", "/no/such/root", "state", "x"], 1),
        (["--root", "/no/such/root", "delete", "--force", "x"], 0), (["--root", "/", "list"], 1),
        (["--root", "/no/such/root", "exec", "x", "true"], 255), (["state", "no/id"], 1),
        (["--root", "/no/such/root", "kill", "x", "9"], 1), (["checkpoint", "--help"], 1), (["restore"], 1),
        (["completion", "bash"], 0), (["completion", "zsh"], 0), (["completion", "fish"], 0), (["completion", "csh"], 1),
        (["validate", "/etc/passwd"], 1), (["validate", "/no/such/file"], 1), (["update", "--memory", "x", "y"], 1),
        (["plan", "-b", "/no/such/bundle"], 1), (["run", "-b", "/no/such/bundle", "x"], 1),
        (["events", "--interval", "5", "x"], 1), (["ps", "x", "-ef"], 1), (["image", "--help"], 0),
        (["create", "--preserve-fds", "900", "x"], 1),
    ],
    ids=lambda v: " ".join(v) or "nothing" if isinstance(v, list) else "",
)  # fmt: skip
def test_words_without_a_container(ways: Ways, words: list[str], code: int) -> None:
    assert same(ways, words, without_libseccomp)[0] == code


def without_libseccomp(text: str) -> str:
    """The executable has its own libseccomp, which may be newer: features tells its version and architectures."""
    return re.sub(r'\s*("SCMP_ARCH_\w+"|"io.github.seccomp.libseccomp.version": "[\d.]+"),?', "", text)


def test_the_version(ways: Ways) -> None:
    """The executable also prints the versions of what is linked into it; the rest is the same."""
    told = {
        way: subprocess.run([*argv, "--version"], capture_output=True, text=True, check=True).stdout
        for way, argv in ways.items()
    }
    lines = {way: {line for line in text.splitlines() if "libseccomp" not in line} for way, text in told.items()}
    assert lines["module"] == lines["installed"] < lines["executable"]


def test_the_plan(ways: Ways, stele: Runtime, bundle: BundleFactory) -> None:
    """Decided by the same code, encoded to the same bytes."""
    path = bundle(["true"], seccomp=True)
    config = json.loads((path / "config.json").read_text())
    rules = config["linux"]["seccomp"]["syscalls"]
    for rule in rules:  # the executable's libseccomp may know more calls than the module's: only old ones
        rule["names"] = [name for name in rule["names"] if 0 <= seccomp.number_of(0, name) < 300]
    config["linux"]["seccomp"]["syscalls"] = [rule for rule in rules if rule["names"]]
    (path / "config.json").write_text(json.dumps(config))
    folder = str(path)

    def clean(text: str) -> str:
        return re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", text)

    for more in ([], ["--json"], ["--seccomp"]):
        code, said, _ = same(ways, ["--root", str(stele.root), "plan", "-b", folder, *more], clean)
        assert (code, len(said) > 2000) == (0, True)


def test_spec(ways: Ways, tmp_path: Path) -> None:
    written = set()
    for i, argv in enumerate(ways.values()):
        (tmp_path / str(i)).mkdir()
        subprocess.run([*argv, "spec", "-b", tmp_path / str(i)], check=True)
        written.add((tmp_path / str(i) / "config.json").read_text())
    assert len(written) == 1


@pytest.mark.parametrize(
    ("args", "code", "out"),
    [
        (["sh", "-c", "echo out; echo err >&2; exit 7"], 7, "out\n"),
        (["nothere"], 1, ""),
        (["sh", "-c", "env | sort; ls /proc/self/fd; cat /proc/self/oom_score_adj; ulimit -a; umask; id"], 0, None),
        (["sh", "-c", "grep -E '^(Cap|NoNewPrivs|Seccomp:|Sig[BIC])' /proc/self/status"], 0, None),
    ],
    ids=["streams", "missing", "environment", "status"],
)
def test_a_container(
    ways: Ways, stele: Runtime, bundle: BundleFactory, args: list[str], code: int, out: str | None
) -> None:
    """The program finds itself in the same world, whichever way was taken: signals, limits, descriptors, words."""
    folder = str(bundle(args, seccomp=True))
    done = same(ways, ["--root", str(stele.root), "run", "-b", folder, stele.id()])
    assert done[0] == code
    assert out is None or done[1] == out


def test_one_begins_and_another_goes_on(ways: Ways, stele: Runtime, bundle: BundleFactory) -> None:
    """A container made by one is started, entered and deleted by the others: there is one form of the state."""
    argv = list(ways.values())
    folder = str(bundle(["sleep", "1000"]))
    for i in range(len(argv)):
        name = stele.id()

        def command(at: int, *words: str, quiet: bool = False) -> str:
            out = subprocess.DEVNULL if quiet else subprocess.PIPE
            whole = [*argv[at % len(argv)], "--root", str(stele.root), *words]
            return str(subprocess.run(whole, check=True, stdout=out, stderr=out, text=True).stdout)

        command(i, "create", "-b", folder, name, quiet=True)
        command(i + 1, "start", name)
        assert command(i + 2, "exec", name, "echo", "hi") == "hi\n"
        assert '"status": "running"' in command(i + 1, "state", name)
        command(i + 2, "delete", "--force", name)
