"""`plan` for reviewers and `validate`: summaries, differences, and likely mistakes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runtime.plan.review import difference, seccomp
from tests.harness.runtime import REPO

STELE = [sys.executable, "-m", "runtime"]


def run(*words: str | Path, input: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*STELE, *map(str, words)], input=input, capture_output=True, text=True, check=False, cwd=REPO
    )


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "web"
    (folder / "rootfs").mkdir(parents=True)
    assert run("spec", "--bundle", folder).returncode == 0
    return folder


def change(bundle: Path, **fields: Any) -> None:
    """Set fields of config.json, given as linux__resources for linux.resources."""
    file = bundle / "config.json"
    config = json.loads(file.read_text())
    for path, value in fields.items():
        *way, last = path.split("__")
        at = config
        for key in way:
            at = at[key]
        at[last] = value
    file.write_text(json.dumps(config))


def told(bundle: Path, *words: str) -> dict[str, str]:
    done = run("plan", "--bundle", bundle, *words)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.partition("\n\n")[0].splitlines()
    return {label: text.strip() for label, _, text in (line.partition(":") for line in lines)}


def test_the_summary_comes_first(bundle: Path) -> None:
    summary = told(bundle, "an-id")
    assert list(summary) == [
        "program", "root", "network", "namespaces", "host paths", "devices", "capabilities", "privileges",
        "system calls", "limits", "environment", "this host",
    ]  # fmt: skip
    assert summary["root"] == "read-only"
    assert summary["network"] == "none but loopback"
    assert summary["host paths"] == "none"
    assert summary["environment"] == "PATH, TERM"


def test_what_a_reviewer_looks_for(bundle: Path) -> None:
    change(
        bundle,
        root__readonly=False,
        process__noNewPrivileges=False,
        linux__namespaces=[{"type": "mount"}, {"type": "uts"}, {"type": "pid", "path": "/proc/1/ns/pid"}],
        linux__resources={"memory": {"limit": 64 << 20}, "pids": {"limit": 9}},
        mounts=[{"destination": "/x", "type": "bind", "source": "/no/such/path", "options": ["bind"]}],
    )
    summary = told(bundle)
    assert summary["root"] == "writable: rootfs itself is changed"
    assert summary["network"] == "the host's"
    assert "joins: pid of /proc/1/ns/pid" in summary["namespaces"]
    assert summary["host paths"] == "/no/such/path on /x (rw)"
    assert "set-user-ID programs gain privileges" in summary["privileges"]
    assert summary["limits"].startswith("memory 64 MiB, all CPU time, 9 processes")
    assert "mounts[0]: there is no /no/such/path" in summary["this host"]


def test_seccomp_by_names() -> None:
    clone = {"index": 0, "value": 0x7E020000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
    rules = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [
            {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [clone]},
            {"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 38, "op": "SCMP_CMP_NE"}]},
        ],
    }
    assert seccomp(rules) == "2 allowed; clone unless CLONE_NEW*, socket if arg 0 != 38; others fail with errno 1"
    denying = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["bpf"], "action": "SCMP_ACT_ERRNO"}]}
    assert seccomp(denying) == "denied: bpf; others allowed"
    assert seccomp(None) == "all allowed, without a filter"


def test_difference_is_by_content() -> None:
    assert list(difference(["a", "b", "c"], ["c", "a", "d"])) == ["- b", "+ d"]
    assert list(difference(["a", "a"], ["a"])) == ["- a"]


def test_two_bundles_differ_by_a_line_for_each_change(bundle: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "rootfs").mkdir(parents=True)
    (other / "config.json").write_text((bundle / "config.json").read_text())
    same = run("plan", "--diff", bundle, bundle)
    assert (same.returncode, same.stdout) == (0, "")
    change(other, process__env=["PATH=/bin"], hostname="other")
    done = run("plan", "--diff", bundle, other)
    assert done.returncode == 1
    assert "- environment: TERM=xterm" in done.stdout
    assert "+ environment: PATH=/bin" in done.stdout
    assert all(line[:2] in ("- ", "+ ") for line in done.stdout.splitlines())
    assert "name two bundles or images" in run("plan", "--diff", bundle).stderr


def test_plan_takes_what_run_takes(bundle: Path) -> None:
    assert run("plan", "--bundle", bundle, "--detach", "--pid-file", "x", "web").returncode == 0
    assert run("plan", "--bundle", bundle, "--json", "web").stdout.startswith("{")


# --- validate -----------------------------------------------------------------------------------------------------


def test_likely_mistakes_are_warned_of(bundle: Path) -> None:
    file = bundle / "config.json"
    config = json.loads(file.read_text())
    config["hostnam"] = "x"
    config["process"]["capabilities"]["bounding"] = ["CAP_NET_ADMN"]
    config["mounts"].append({"destination": "/d", "type": "tmpfs", "source": "t", "options": ["nosiud", "size=1m"]})
    config["annotations"] = {"any.key": "is fine"}
    file.write_text(json.dumps(config))
    done = run("validate", file)
    assert done.returncode == 0
    warned = [line for line in done.stdout.splitlines() if line.startswith("warning: ")]
    assert len(warned) == 3
    assert warned[0] == 'warning: hostnam: unknown key, ignored; did you mean "hostname"?'
    assert warned[1].endswith('unknown capability "CAP_NET_ADMN"; did you mean "CAP_NET_ADMIN"?')
    assert warned[2].endswith('did you mean "nosuid"?')
    strict = run("validate", "--strict", "-", input=file.read_text())
    assert (strict.returncode, "has 3 warnings (--strict)" in strict.stderr) == (1, True)


def test_all_faults_come_in_one_round(bundle: Path) -> None:
    """What the schema says, and what only the rules say."""
    change(bundle, process__args=[], process__cwd=7, linux__sysctl={"kernel.hostname": "a", "no.such.space": "1"})
    done = run("validate", bundle / "config.json")
    assert done.returncode == 1
    assert "process.cwd: must be a string" in done.stdout
    assert "process.args: " in done.stdout
    assert "linux.sysctl" in done.stdout


def test_a_template_has_no_warnings(bundle: Path) -> None:
    done = run("validate", "--strict", bundle / "config.json")
    assert (done.returncode, done.stderr) == (0, "")
