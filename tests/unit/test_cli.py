"""The command line without containers: parsing, help, the log, streams, completion."""

from __future__ import annotations

import json
import os
import pty
import re
import resource
import select
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runtime.cli import inspect
from runtime.cli.declare import Command
from runtime.cli.parse import HelpWanted, parse_command
from runtime.cli.table import COMMANDS, GLOBALS, Ps
from runtime.errors import UsageError
from runtime.images.store.store import ImageStore
from runtime.oci import OCI_VERSION
from tests.harness.patience import seconds
from tests.harness.runtime import REPO

STELE = [sys.executable, "-m", "runtime"]


def run(*args: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
    """One command line of the package, as an ordinary process."""
    more.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run([*STELE, *map(str, args)], capture_output=True, text=True, check=False, cwd=REPO, **more)


@pytest.mark.parametrize(
    ("command", "words", "expected"),
    [
        ("kill", ["-a", "x", "9"], {"all": True, "id": "x", "signal": "9"}),
        ("kill", ["--all", "x"], {"all": True, "id": "x", "signal": ""}),
        ("kill", ["x", "-9"], {"id": "x", "signal": "-9"}),
        ("run", ["-no-subreaper", "x"], {"no_subreaper": True, "id": "x"}),
        ("create", ["-bundle", "/b", "-pid-file=p", "-no-pivot", "x"], {"bundle": "/b", "pid_file": "p", "no_pivot": True}),
        ("exec", ["-env=A=1", "-env", "B=2", "-tty", "x", "ls"], {"env": ["A=1", "B=2"], "tty": True, "id": "x"}),
        ("run", ["--no-subreaper", "-d", "--bundle=/b", "x"], {"no_subreaper": True, "detach": True, "bundle": "/b"}),
        ("create", ["x", "--pid-file", "p", "-b", "/b"], {"id": "x", "pid_file": "p", "bundle": "/b"}),
        ("create", ["--preserve-fds", "3", "x"], {"preserve_fds": 3}),
        ("create", ["--no-pivot=false", "x"], {"no_pivot": False}),
        ("exec", ["-e", "A=1", "-eB=2,3", "-t", "x", "ls", "-t", "--", "-u"],
         {"env": ["A=1", "B=2,3"], "tty": True, "id": "x", "command": ["ls", "-t", "--", "-u"], "user": ""}),
        ("exec", ["-tu", "5", "x", "--", "ls"], {"tty": True, "user": "5", "command": ["--", "ls"]}),
        ("exec", ["--process=p", "x"], {"process": "p", "command": []}),
        ("run", ["-it", "--rm", "--name", "c", "--image", "i", "sh", "-c", "x"],
         {"tty": True, "interactive": True, "rm": True, "id": "c", "image": "i", "command": ["sh", "-c", "x"]}),
        ("exec", ["-it", "-u", "web", "x", "sh"], {"tty": True, "interactive": True, "user": "web", "command": ["sh"]}),
        ("kill", ["-s", "TERM", "a", "b", "c"], {"send": "TERM", "id": "a", "signal": "b", "more": ["c"]}),
        ("delete", ["-f", "a", "b"], {"force": True, "id": "a", "more": ["b"]}),
        ("list", ["-aq"], {"quiet": True}),
        ("ps", ["-f", "json", "x"], {"format": "json", "ps_options": []}),
        ("ps", ["x", "-ef", "--format", "y"], {"format": "table", "ps_options": ["-ef", "--format", "y"]}),
        ("update", ["--memory-swap=-1", "--cpu-quota", "-1", "x"], {"memory_swap": "-1", "cpu_quota": "-1"}),
        ("delete", ["--", "-x"], {"id": "-x", "force": False}),
    ],
)  # fmt: skip
def test_what_words_mean(command: str, words: list[str], expected: dict[str, Any]) -> None:
    options = parse_command(COMMANDS[command], words)
    assert {key: getattr(options, key) for key in expected} == expected


@pytest.mark.parametrize(
    ("command", "words", "problem"),
    [
        ("state", [], 'state: "state" requires exactly 1 argument(s), got 0'),
        ("state", ["a", "b"], 'state: "state" requires exactly 1 argument(s), got 2'),
        ("exec", [], 'exec: "exec" requires at least 1 argument(s), got 0'),
        ("create", ["--bundle"], "flag needs an argument: --bundle"),
        ("create", ["--nonsense", "x"], "flag provided but not defined: --nonsense"),
        ("create", ["--preserve-fds", "many", "x"], 'invalid value "many" for --preserve-fds; use a number'),
        ("create", ["--preserve-fds", "-1", "x"], 'invalid value "-1" for --preserve-fds; use a number'),
        ("create", ["--no-pivot=maybe", "x"], 'invalid boolean value "maybe" for --no-pivot'),
        ("list", ["-f", "yaml"], 'invalid value "yaml" for -f; use one of table, json'),
    ],
)
def test_what_is_refused(command: str, words: list[str], problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_command(COMMANDS[command], words)
    assert str(caught.value) == problem


@pytest.mark.parametrize("word", ["--help", "-help", "-h"])
def test_help_is_wanted(word: str) -> None:
    with pytest.raises(HelpWanted):
        parse_command(COMMANDS["exec"], [word])


@pytest.mark.parametrize(
    "words",
    [["--root", "r", "list"], ["--store", "s", "list"], ["plan"], ["create", "x"]],
    ids=" ".join,
)
def test_a_working_directory_that_is_gone(tmp_path: Path, words: list[str]) -> None:
    """The path that counts from it is named; what is given as an absolute path works as ever."""
    gone = tmp_path / "gone"
    gone.mkdir()
    argv = ["sh", "-c", 'rmdir ../gone && exec "$@"', "sh", *STELE]
    env = {**os.environ, "PYTHONPATH": str(REPO)}

    def there(*more: str) -> subprocess.CompletedProcess[str]:
        gone.mkdir(exist_ok=True)
        return subprocess.run([*argv, *more], cwd=gone, env=env, capture_output=True, text=True, check=False)

    done = there(*words)
    assert done.returncode == 1
    assert "working directory is gone: no such file or directory" in done.stderr
    assert there("--root", str(tmp_path), "list", "-q").returncode == 0


@pytest.mark.parametrize("command", [c for c in COMMANDS.values() if not c.refused], ids=lambda c: c.name)
def test_each_command_is_there_and_has_help(command: Command) -> None:
    """Its function exists, `--help`, `-h` and `help COMMAND` agree, and every option that is not hidden is told."""
    from importlib import import_module

    from runtime.cli.examples import EXAMPLES
    from runtime.cli.help import help_text

    module, _, function = command.run.partition(":")
    assert callable(getattr(import_module(f"runtime.cli.{module}"), function))
    text = help_text(command.name)
    assert text.startswith(f"Usage: stele {command.name} ")
    for option in command.record.options:
        assert (option.names[0] in text) != option.hidden, option.names
        assert f"\n{option.group or 'Options'}:\n" in text
    assert len(EXAMPLES[command.name]) >= 2
    for example in EXAMPLES[command.name]:
        assert f"\n  {example}" in text


def test_the_ways_to_ask_for_help_agree() -> None:
    texts = [run(*words) for words in (["exec", "--help"], ["exec", "-h"], ["help", "exec"])]
    assert {t.returncode for t in texts} == {0}
    assert len({t.stdout for t in texts}) == 1
    texts = [run(*words) for words in ([], ["--help"], ["help"], ["-h"])]
    assert {t.returncode for t in texts} == {0}
    assert len({t.stdout for t in texts}) == 1
    assert all(option.names[0] in texts[0].stdout for option in GLOBALS)


@pytest.mark.parametrize(
    "words",
    [
        ["checkpoint", "--help"],
        ["checkpoint", "--image-path", "/x", "c"],
        ["restore", "--lsm-mount-context"],
        ["restore", "--detach", "-no-subreaper", "c"],
    ],
    ids=" ".join,
)
def test_checkpoint_is_refused_as_callers_understand_it(tmp_path: Path, words: list[str]) -> None:
    """Podman takes exit code 0 of `checkpoint --help` for support, and "needs an argument" of the other likewise."""
    log = tmp_path / "log"
    done = run("--log", log, "--log-format", "json", *words)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "not offered by stele" in done.stderr
    assert "argument" not in done.stderr
    assert json.loads(log.read_text())["msg"] == done.stderr.strip()


def test_version() -> None:
    lines = run("--version").stdout.splitlines()
    assert re.fullmatch(r"stele version \d+\.\d+\.\d+", lines[0])
    values = dict(line.split(": ", 1) for line in lines[1:])
    assert values["spec"] == OCI_VERSION
    assert re.fullmatch(r"\d+\.\d+\.\d+", values["libseccomp"])
    assert run("-v").stdout.splitlines() == lines


# --- mistakes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "first", "second"),
    [
        (["rnu"], 'unknown command "rnu"', 'did you mean "run"?'),
        (["image", "lsit"], 'unknown command "image lsit"', 'did you mean "image list"?'),
        (["build", "."], 'unknown command "build"', "stele runs images and does not build them"),
        (["ps"], "requires at least 1 argument(s), got 0", "`stele list` lists the containers"),
        (["state"], "requires exactly 1 argument(s), got 0", "usage: stele state [OPTIONS] ID"),
        (["exec", "--usr", "0", "x"], "flag provided but not defined: --usr", 'did you mean "--user"?'),
        (["list", "--root", "/x"], "flag provided but not defined: --root", "--root goes before the command"),
        (["list", "-f", "jsno"], 'invalid value "jsno"', 'did you mean "json"?'),
        (["kill", "web1", "TREM"], 'unknown signal "TREM"', 'did you mean "TERM"?'),
        (["state", "wbe1"], 'container "wbe1" does not exist', 'did you mean "web1"?'),
        (["image", "inspect", "debain:12"], "debain:12", 'did you mean "debian:12"?'),
        (["inspect", "debain:12"], 'no container and no image is called "debain:12"', 'did you mean "debian:12"?'),
        (["plan", "--image", "debain:12"], "debain:12", 'did you mean "debian:12"?'),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_answered_in_two_lines(tmp_path: Path, words: list[str], first: str, second: str) -> None:
    """... with the nearest word that exists, or what to use instead."""
    (tmp_path / "root/web1").mkdir(parents=True)
    store = ImageStore(str(tmp_path / "store"))
    data = b"{}"
    told = {"mediaType": "application/x-y", "digest": store.add_bytes(data), "size": len(data)}
    store.tag("docker.io/library/debian:12", told)
    store.close()
    done = run("--root", tmp_path / "root", "--store", tmp_path / "store", *words)
    assert (done.returncode, done.stdout) == (1, "")
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert first in lines[0]
    assert lines[1].startswith(second)


def test_nothing_is_suggested_that_is_not_near(tmp_path: Path) -> None:
    done = run("--root", tmp_path, "state", "qqqqqqqq")
    assert len(done.stderr.splitlines()) == 1
    assert run("zzzzzzzz").stderr.splitlines() == ['unknown command "zzzzzzzz"; `stele --help` lists all']


def test_an_image_in_the_place_of_an_id(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(REPO)}
    done = subprocess.run([*STELE, "run", "nginx"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "--image nginx" in done.stderr


@pytest.mark.parametrize(
    ("words", "same"),
    [
        (["images"], ["image", "list"]),
        (["images", "--help"], ["image", "list", "--help"]),
        (["pull", "--help"], ["image", "pull", "--help"]),
        (["rmi", "--help"], ["image", "rm", "--help"]),
        (["rm", "--help"], ["delete", "--help"]),
        (["top", "--help"], ["ps", "--help"]),
        (["version"], ["--version"]),
    ],
    ids=lambda words: " ".join(words),
)
def test_dockers_words_work(tmp_path: Path, words: list[str], same: list[str]) -> None:
    here = ["--root", tmp_path / "root", "--store", tmp_path / "store"]
    found, expected = run(*here, *words), run(*here, *same)
    assert (found.returncode, found.stdout, found.stderr) == (0, expected.stdout, "")


def test_info(tmp_path: Path) -> None:
    here = ["--root", tmp_path / "root", "--store", tmp_path / "store"]
    told = json.loads(run(*here, "info", "-f", "json").stdout)
    assert (told["containers"], told["images"], told["root"]) == (0, 0, str(tmp_path / "root"))
    assert f"root:          {tmp_path}/root" in run(*here, "info").stdout


# --- the log ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["state", "no/id"], "invalid container ID format"),
        (["nonsense"], 'unknown command "nonsense"; `stele --help` lists all'),
        (["image", "nonsense"], 'unknown command "image nonsense"; `stele image --help` lists all'),
        (["create", "--nonsense"], "flag provided but not defined: --nonsense"),
        (["--root", "/", "list"], "--root cannot be /"),
        (["create", "--preserve-fds", "2000", "x"], "file descriptor"),
    ],
    ids=["command", "no-command", "no-command-of-a-group", "flag", "global", "fds"],
)
def test_every_failure_is_one_object_in_the_log(tmp_path: Path, words: list[str], text: str) -> None:
    """... also one that is found while the command line is read; stderr says the same."""
    log = tmp_path / "log.json"
    done = run("--log", log, "--log-format", "json", *words)
    assert done.returncode == 1
    entry = json.loads(log.read_text())  # the whole file, as Podman reads it
    assert set(entry) == {"level", "msg", "time"}
    assert entry["level"] == "error"
    assert text in entry["msg"]
    assert done.stderr.strip() == entry["msg"]
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_failure_is_told_shortly(tmp_path: Path) -> None:
    """What it quotes may be of any length; its beginning and its end are what helps."""
    log = tmp_path / "log.json"
    done = run("--log", log, "--log-format", "json", "state", "/" * 100_000)
    message = json.loads(log.read_text())["msg"]
    assert message == done.stderr.strip()
    assert message.startswith("invalid container ID format: '///")
    assert " ... " in message and 4000 < len(message) < 4200


def test_the_log_is_appended_to_as_text(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    run("--log", log, "state", "a/b")
    before, line = log.read_text().splitlines()
    assert before == "before"
    assert re.fullmatch(r'time="[\dT:.Z-]+" level=error msg=".*"', line)


def test_json_without_a_file_is_on_stderr() -> None:
    assert json.loads(run("--log-format=json", "state", "a/b").stderr)["level"] == "error"


def test_a_log_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    done = run("--log", tmp_path / "no/log", "state", "x")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f'--log "{tmp_path}/no/log": cannot write it: No such file or directory')


def test_an_unknown_log_format() -> None:
    done = run("--log-format", "xml", "state", "x")
    assert (done.returncode, done.stderr) == (1, "invalid log-format: xml\n")


def test_debug_tells_what_is_run_only_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    done = run("--debug", "--log", log, "--log-format", "json", "state", "a/b")
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert [e["level"] for e in entries] == ["debug", "error"]
    assert "state a/b" in entries[0]["msg"]
    assert done.stderr == entries[1]["msg"] + "\n"


def test_nothing_that_moves_a_cursor_gets_to_the_terminal(tmp_path: Path) -> None:
    done = run("--log", tmp_path / "log", "--log-format", "json", "features", "\x1b[2Jx\ny")
    assert "\x1b" not in done.stderr
    assert len((tmp_path / "log").read_text().splitlines()) == 1


# --- streams ------------------------------------------------------------------------------------------------------


def test_closed_streams_are_no_fault(tmp_path: Path) -> None:
    """No file that stele opens may become its own stdout; what is printed goes nowhere then."""
    script = '"$@" <&- >&- 2>&-'
    log = tmp_path / "log"
    command = ["sh", "-c", script, "sh", *STELE]
    assert subprocess.run([*command, "features"], check=False, cwd=REPO).returncode == 0
    assert subprocess.run([*command, "--log", log, "state", "a/b"], check=False, cwd=REPO).returncode == 1
    assert len(log.read_text().splitlines()) == 1


def test_a_reader_that_is_gone_is_no_fault() -> None:
    """`stele features | head -1` prints no traceback."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*STELE, "features"], stdout=writer, stderr=subprocess.PIPE, check=False, cwd=REPO)
    os.close(writer)
    assert done.stderr == b""
    assert done.returncode == 1


def test_half_a_file_is_none(tmp_path: Path) -> None:
    """`spec` on a disk that is full: the next try is not refused for what the first left."""

    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))

    assert run("spec", "--bundle", tmp_path, preexec_fn=full).stderr == "spec: File too large\n"
    assert run("spec", "--bundle", tmp_path).returncode == 0


def test_a_log_that_takes_half_a_line(tmp_path: Path) -> None:
    """A short write is continued; a full disk is reported on stderr."""

    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20, resource.RLIM_INFINITY))

    done = run("--log", tmp_path / "log", "state", "no/id", preexec_fn=full)
    assert done.stderr.endswith(f' (and --log "{tmp_path}/log" cannot be written: File too large)\n')


def test_a_full_disk_is_told() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([*STELE, "features"], stdout=full, stderr=subprocess.PIPE, check=False, cwd=REPO)
    assert (done.returncode, done.stderr) == (1, b"features: No space left on device\n")


# --- completion ---------------------------------------------------------------------------------------------------


@pytest.fixture
def on_path(tmp_path: Path) -> dict[str, str]:
    """An environment in which `stele` is a command."""
    program = tmp_path / "bin/stele"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.join(STELE)} "$@"\n')
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:/usr/bin:/bin", "PYTHONPATH": str(REPO), "XDG_RUNTIME_DIR": str(tmp_path)}


def bash_completes(line: str, env: dict[str, str]) -> list[str]:
    """What bash offers at the end of `line`, by the script that `completion bash` prints."""
    script = """
        compopt() { :; }  # works only while bash completes a line
        eval "$(stele completion bash)"
        complete -p stele >/dev/null || exit 3
        COMP_WORDS=($1) ; [[ $1 == *" " ]] && COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _stele_completion stele
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    done = subprocess.run(["bash", "-c", script, "bash", line], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout.split()


def test_bash_completes(on_path: dict[str, str], tmp_path: Path) -> None:
    assert bash_completes("stele sta", on_path) == ["start", "state", "stats"]
    assert bash_completes("stele kill x TE", on_path) == ["TERM"]
    assert bash_completes("stele run --image x --net ", on_path) == ["none", "host", "veth:"]
    assert bash_completes("stele run --image x --cap-add NET_B", on_path) == ["NET_BIND_SERVICE", "NET_BROADCAST"]
    assert "checkpoint" not in bash_completes("stele ", on_path)
    assert "--console-socket" in bash_completes("stele exec --co", on_path)
    assert bash_completes("stele --log-format ", on_path) == ["text", "json"]
    assert bash_completes("stele completion ", on_path) == ["bash", "zsh", "fish"]
    for name in ("web1", "web2", "cache"):
        (tmp_path / "state" / name).mkdir(parents=True)
    assert bash_completes(f"stele --root {tmp_path}/state kill w", on_path) == ["web1", "web2"]
    assert bash_completes(f"stele --root {tmp_path}/state create w", on_path) == []
    assert bash_completes(f"stele --root {tmp_path}/state delete web1 web2 c", on_path) == ["cache"]
    store = ImageStore(str(tmp_path / "store"))
    data = b"{}"
    told = {"mediaType": "application/x-y", "digest": store.add_bytes(data), "size": len(data)}
    for name in ("web", "db", "docker.io/library/debian:12"):
        store.tag(name, told)
    store.directory("volumes")
    store.close()
    (tmp_path / "store/volumes/data").mkdir()
    for line in ("image inspect w", "run --image w", "unpack w"):
        assert bash_completes(f"stele --store {tmp_path}/store {line}", on_path) == ["web"]
    assert bash_completes(f"stele --store {tmp_path}/store run --image deb", on_path) == ["debian:12"]
    assert bash_completes(f"stele --store {tmp_path}/store image pull w", on_path) == []
    assert bash_completes(f"stele --store {tmp_path}/store volume rm ", on_path) == ["data"]
    assert bash_completes(f"stele --store {tmp_path}/none image rm ", on_path) == []
    assert not (tmp_path / "none").exists()


def test_paths_of_images_are_completed(tmp_path: Path) -> None:
    """bash splits words at a colon and replaces what follows it."""
    (tmp_path / "images/redis").mkdir(parents=True)
    (tmp_path / "images/redis/oci-layout").touch()
    (tmp_path / "images/more").mkdir()

    def answer(*words: str) -> list[str]:
        env = {**os.environ, "_STELE_COMPLETE": "bash_complete", "COMP_WORDS": "\n".join(words)}
        return run(env={**env, "COMP_CWORD": str(len(words) - 1)}).stdout.split()

    assert answer("stele", "run", "--image", "oc") == ["part,oci:", "part,oci-archive:"]
    there = f"{tmp_path}/images/"
    assert answer("stele", "run", "--image", "oci", ":", there) == [f"part,{there}more/", f"plain,{there}redis"]
    assert answer("stele", "run", "--image", "=", "oci", ":", f"{there}r") == [f"plain,{there}redis"]
    assert answer("stele", "image", "import", "oci", ":", f"{there}r") == [f"plain,{there}redis"]


def test_tab_in_a_terminal(on_path: dict[str, str], tmp_path: Path) -> None:
    """An interactive bash: TAB completes words, and paths behind oci:, without a space where more may follow."""
    (tmp_path / "images/redis").mkdir(parents=True)
    (tmp_path / "images/redis/oci-layout").touch()
    master, slave = pty.openpty()
    env = {**on_path, "PS1": "", "TERM": "dumb", "INPUTRC": "/dev/null", "HISTFILE": ""}
    shell = subprocess.Popen(
        ["bash", "--noprofile", "--norc", "-i"],
        stdin=slave, stdout=slave, stderr=slave, env=env, cwd=tmp_path, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    shown = ""

    def wait_for(text: str) -> None:
        nonlocal shown
        while text not in shown:
            assert select.select([master], [], [], seconds(60))[0], shown
            shown += os.read(master, 65536).decode()
        shown = shown.partition(text)[2]

    try:
        os.write(master, b'bind "set enable-bracketed-paste off"; eval "$(stele completion bash)"; echo rea""dy\n')
        wait_for("ready")
        os.write(master, b"stele validat\t")
        wait_for("stele validate ")
        os.write(master, b"\x15stele run --image oci:images/re\t")
        wait_for("oci:images/redis ")
    finally:
        os.close(master)
        shell.kill()
        shell.wait()


@pytest.mark.parametrize(
    ("shell", "words", "expected"),
    [
        ("zsh", {"COMP_WORDS": "stele st", "COMP_CWORD": "1"}, ["plain", "start", "start a created container"]),
        ("fish", {"COMP_WORDS": "stele st", "COMP_CWORD": "st"}, ["plain,start\tstart a created container"]),
    ],
)
def test_other_shells_are_answered(
    on_path: dict[str, str], shell: str, words: dict[str, str], expected: list[str]
) -> None:
    """Each script asks with its own variables, and reads answers in its own form."""
    assert f"{shell}_complete" in run("completion", shell).stdout
    done = run(env={**on_path, **words, "_STELE_COMPLETE": f"{shell}_complete"})
    assert done.stdout.splitlines()[: len(expected)] == expected


def test_no_completion_for_other_shells() -> None:
    done = run("completion", "csh")
    assert (done.returncode, done.stderr) == (1, 'no completion for "csh"; use bash, zsh or fish\n')


def test_ps_on_a_host_without_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(inspect, "PS", "/nonexistent")
    monkeypatch.setattr(inspect.lifecycle, "manager_of", lambda record: SimpleNamespace(pids=lambda: [os.getpid()]))
    options: Any = SimpleNamespace(store=lambda: SimpleNamespace(read=lambda name: SimpleNamespace(pid=os.getpid())))
    assert inspect.ps(options, Ps(id="x")) == 0
    head, line = capsys.readouterr().out.splitlines()
    assert head.split() == ["UID", "PID", "PPID", "STIME", "CMD"]
    assert line.split()[:3] == [str(os.getuid()), str(os.getpid()), str(os.getppid())]
