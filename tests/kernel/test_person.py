"""What a person at the command line is used to from other tools, on containers that run."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
from pathlib import Path

import pytest

from tests.harness.bundles import BundleFactory
from tests.harness.image_runs import Images, Run
from tests.harness.runtime import Runtime

SLEEP = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"]
PASSWD = "root:x:0:0::/:/bin/sh\nweb:x:4321:4322::/:/bin/sh\n"
GROUP = "root:x:0:\nweb:x:4322:\nlogs:x:55:web\n"


def test_exec_as_a_user_by_name(stele: Runtime, bundle: BundleFactory) -> None:
    """Names are looked up in the container's files, groups too; its links do not lead out."""
    folder = bundle(SLEEP)
    etc = folder / "rootfs/etc"
    etc.mkdir(exist_ok=True)
    (etc / "passwd.real").write_text(PASSWD)
    (etc / "passwd").unlink(missing_ok=True)
    (etc / "passwd").symlink_to("/../../etc/passwd.real")  # in the container's root, whatever the host has there
    (etc / "group").write_text(GROUP)
    name = stele.detached(folder)
    try:
        said = stele.ok("exec", "-u", "web", name, "sh", "-c", "grep -E '^(Uid|Gid|Groups)' /proc/self/status")
        assert [line.split()[1:] for line in said.splitlines()] == [["4321"] * 4, ["4322"] * 4, ["55", "4322"]]
        assert stele.ok("exec", "-u", "web:logs", name, "id", "-g").split() == ["55"]
        done = stele("exec", "-u", "nobody-here", name, "id")
        assert done.returncode == 255
        assert "the container's /etc/passwd does not have it" in done.stderr
    finally:
        stele.ok("delete", "-f", name)


@pytest.mark.parametrize("target", ["/proc/1/root/etc/passwd", "/proc/self/root/etc/passwd", "/dev/null"])
def test_a_hostile_passwd_of_a_container_is_not_read(stele: Runtime, bundle: BundleFactory, target: str) -> None:
    """The host has a user "daemon"; the container's file leads to the host's, by links that only the kernel follows."""
    folder = bundle(SLEEP)
    (folder / "rootfs/etc").mkdir(exist_ok=True)
    (folder / "rootfs/etc/passwd").unlink(missing_ok=True)
    (folder / "rootfs/etc/passwd").symlink_to(target)
    name = stele.detached(folder)
    try:
        done = stele("exec", "-u", "daemon", name, "id")
        assert (done.returncode, done.stdout) == (255, "")
    finally:
        stele.ok("delete", "-f", name)


def test_several_containers_at_once(stele: Runtime, bundle: BundleFactory) -> None:
    """kill --signal, wait and delete take several IDs; what fails for one is told after the others are done."""
    folder = bundle(SLEEP)
    names = [stele.detached(folder), stele.detached(folder)]
    done = stele("kill", "-s", "TERM", names[0], "none-such", names[1])
    assert done.returncode == 1
    assert 'container "none-such" does not exist' in done.stderr
    said = [json.loads(line) for line in stele("wait", *names).stdout.splitlines()]
    assert [told["id"] for told in said] in (names, [])  # [] if their parent was quicker
    assert 'container "none-such" does not exist' in stele("delete", names[0], "none-such", names[1]).stderr
    assert not set(names) & set(stele.ok("list", "-q").split())


def on_a_terminal(command: list[str]) -> str:
    """What a command prints if its output is a terminal."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=slave, stderr=slave)
    os.close(slave)
    said = b""
    try:
        while part := os.read(master, 65536):
            said += part
    except OSError:  # EIO: all its ends are closed
        pass
    os.close(master)
    assert process.wait(60) == 0, said
    return said.decode().replace("\r\n", "\n")


def test_list_for_people_and_for_callers(stele: Runtime, bundle: BundleFactory) -> None:
    """A terminal gets image, command, age and how it ended; a pipe gets runc's table, and -f table and json do."""
    running, ended, killed = stele.detached(bundle(SLEEP)), stele.id("ended"), stele.id("killed")
    try:
        assert stele("run", "--keep", "-b", bundle(["sh", "-c", "exit 3"]), ended).returncode == 3
        assert stele("run", "--keep", "-b", bundle(["sh", "-c", "kill -KILL $$"]), killed).returncode in (137, 0)
        rows = [line.split("   ") for line in on_a_terminal(stele.command("list")).splitlines()]
        assert [cell.strip() for cell in rows[0] if cell] == ["ID", "IMAGE", "COMMAND", "AGE", "STATUS"]
        told = {row[0].strip(): row[-1].strip() for row in rows[1:]}
        assert re.fullmatch(r"running \d+s", told[running])
        assert re.fullmatch(r"exited \(3\) \d+s ago", told[ended])
        assert "sh -c trap" in on_a_terminal(stele.command("list"))
        head = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
        assert stele.ok("list").splitlines()[0].split() == head
        assert on_a_terminal(stele.command("list", "-f", "table")).splitlines()[0].split() == head
        keys = {"ociVersion", "id", "pid", "status", "bundle", "rootfs", "created", "owner"}
        assert set(json.loads(stele.ok("list", "-f", "json"))[0]) == keys
        human = stele.ok("state", "--human", ended)
        assert re.search(r"^status: +exited \(3\)", human, re.MULTILINE)
        assert stele("ps", ended).stderr.startswith(f'container "{ended}" is stopped: it has no processes')
        assert stele.ok("ps", "-f", "json", ended) == "[]\n"
    finally:
        stele("delete", "-f", running, ended, killed)


def test_stop_asks_and_then_kills(stele: Runtime, bundle: BundleFactory) -> None:
    polite, deaf = stele.detached(bundle(SLEEP)), stele.detached(bundle(["sh", "-c", "trap '' TERM; sleep 1000"]))
    frozen = stele.detached(bundle(SLEEP))
    try:
        stele.ok("pause", frozen)
        done = stele("kill", frozen, "URG")
        assert (done.returncode, "is paused; it gets the signal when it is resumed" in done.stderr) == (0, True)
        stele.ok("stop", "--time", "1000", polite, frozen)  # the grace is longer than a command may take here
        stele.ok("stop", "--time", "1", deaf)
        assert {told["status"] for told in json.loads(stele.ok("list", "-f", "json"))} == {"stopped"}
        stele.ok("stop", polite)  # has ended already
        assert 'container "none" does not exist' in stele("stop", "none").stderr
    finally:
        stele("delete", "-f", polite, deaf, frozen)


def test_wait_gives_up(stele: Runtime, bundle: BundleFactory) -> None:
    names = [stele.detached(bundle(SLEEP)), stele.detached(bundle(SLEEP))]
    try:
        done = stele("wait", "--timeout", "1", *names)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "wait: still running after 1 s (--timeout)\n"
    finally:
        stele("delete", "-f", *names)


def test_stats(stele: Runtime, bundle: BundleFactory) -> None:
    name = stele.detached(bundle(["sh", "-c", "while :; do :; done"]))
    try:
        (told,) = json.loads(stele.ok("stats", "--no-stream", "-f", "json"))
        assert told["id"] == name
        assert told["cpuPercent"] > 1
        assert set(told["psi"]) == {"cpu", "memory", "io"}
        head, row = stele.ok("stats", "--no-stream", name).splitlines()
        assert head.split()[:3] == ["ID", "CPU", "%"]
        assert row.split()[0] == name
        assert 'container "none" does not exist' in stele("stats", "none").stderr
    finally:
        stele("delete", "-f", name)


def test_features_on_a_terminal(stele: Runtime) -> None:
    assert re.search(r"^seccomp: +yes, for ", on_a_terminal(stele.command("features")), re.MULTILINE)
    assert json.loads(stele.ok("features"))["linux"]


def test_copies_in_and_out(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    name = stele.detached(bundle(SLEEP))
    try:
        tree = tmp_path / "tree"
        (tree / "sub").mkdir(parents=True)
        (tree / "sub/file").write_text("written once\n")
        (tree / "sub/file").chmod(0o4751)
        (tree / "link").symlink_to("sub/file")
        stele.ok("cp", tree, f"{name}:/tmp")
        said = stele.ok("exec", name, "sh", "-c", "cat /tmp/tree/link; stat -c '%a %u' /tmp/tree/sub/file")
        assert said == "written once\n751 0\n"
        stele.ok("cp", tree / "sub/file", f"{name}:/tmp/tree/link")  # the link goes, what it led to stays
        assert stele.ok("exec", name, "sh", "-c", "test ! -L /tmp/tree/link && cat /tmp/tree/link") == "written once\n"
        stele.ok("exec", name, "mkfifo", "/tmp/tree/sub/fifo")
        done = stele("cp", f"{name}:/tmp/tree", tmp_path / "back")
        assert (done.returncode, "not copied: /tmp/tree/sub/fifo: it is a device" in done.stderr) == (0, True)
        assert (tmp_path / "back/sub/file").read_text() == "written once\n"
        assert not (tmp_path / "back/sub/fifo").exists()
        stele.ok("cp", f"{name}:/tmp/tree/.", tmp_path / "back/sub")
        assert (tmp_path / "back/sub/sub/file").exists()
        stele.ok("exec", name, "mkdir", "-p", "/tmp/taken/file")
        assert "Is a directory" in stele("cp", tree / "sub/file", f"{name}:/tmp/taken").stderr
        assert stele.ok("exec", name, "ls", "-A", "/tmp/taken").split() == ["file"], "nothing half done is left"
        (tmp_path / "back/sub").chmod(0o700)
        stele.ok("exec", name, "sh", "-c", "chmod 777 /tmp/tree/sub; chown 7 /tmp/tree; chmod 711 /tmp/tree")
        stele.ok("cp", f"{name}:/tmp/tree", tmp_path / "back/..")
        assert (tmp_path / "tree/sub").stat().st_mode & 0o777 == 0o755, "what was there keeps its permissions"
        stele.ok("cp", tree, f"{name}:/tmp")
        assert stele.ok("exec", name, "stat", "-c", "%a %u", "/tmp/tree") == "711 7\n", "and its owner"
        holes = "for at in 5 700; do echo x | dd of=/tmp/holes bs=1M seek=$at; done; truncate -s 1G /tmp/holes"
        stele.ok("exec", name, "sh", "-c", holes)
        stele.ok("cp", f"{name}:/tmp/holes", tmp_path)
        with open(tmp_path / "holes", "rb") as file:
            assert (file.seek(0, 2), os.fstat(file.fileno()).st_blocks < 100) == (1 << 30, True)
            assert (file.seek(700 << 20), file.read(3)) == (700 << 20, b"x\n\0")
        assert "No such file" in stele("cp", f"{name}:/none", tmp_path).stderr
        assert "write ID:PATH" in stele("cp", tmp_path, tmp_path).stderr
        assert not list(tmp_path.rglob(".stele-cp*"))
    finally:
        stele("delete", "-f", name)


def test_a_read_only_root_is_named_when_a_program_fails_at_once(stele: Runtime, run: Run, images: Images) -> None:
    shell, said = images.recipe("shell"), "--upper tmpfs makes it writable"
    done = run(shell, sh="echo x >/file")
    assert (done.returncode, said in done.stderr) == (1, True)
    done = run(shell, "--upper", "tmpfs", sh="echo x >/file && cat /file")
    assert (done.stdout, done.stderr) == ("x\n", "")
    assert said not in run(shell, "--upper", "tmpfs", sh="exit 1").stderr
    assert said not in run(shell, sh="sleep 1.2; exit 1").stderr
    assert said not in run(shell, args=["/no-such-program"]).stderr


def test_a_folder_wherever_an_image_is_named(stele: Runtime, images: Images, tmp_path: Path) -> None:
    """plan, inspect and unpack take oci:DIR, as run does; it gets no name in the store."""
    folder, store = images.layout("hello"), ("--store", tmp_path / "store")
    assert json.loads(stele.ok(*store, "image", "inspect", f"oci:{folder}"))["digest"].startswith("sha256:")
    stele.ok(*store, "unpack", f"oci:{folder}", tmp_path / "bundle")
    assert (tmp_path / "bundle/config.json").exists()
    assert "init, " in stele.ok(*store, "plan", "--image", f"oci:{folder}")
    assert stele.ok(*store, "image", "list", "-q") == ""


def test_the_id_by_name(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    name = stele.id()
    assert stele.ok("run", "--rm", "--name", name, "-b", bundle(["echo", "hello"])) == "hello\n"
    assert name not in stele.ok("list", "-aq").split()
    done = stele("run", "--rm", "--detach", "-b", bundle(SLEEP), name)
    assert (done.returncode, name in stele.ok("list", "-q").split()) == (1, False)
    assert "--rm cannot be used with --detach" in done.stderr


def test_logs_on_a_terminal(stele: Runtime, bundle: BundleFactory) -> None:
    """What a container wrote is shown, colours too, and commands nothing; into a pipe it goes as it was written."""
    hostile = r"\033]0;title\007\033[2J\033[1;31mred\033[0m\ta\rX\302\233A\342\200\256 \377 naïve\r\n"
    name = stele.id()
    words = ["sh", "-c", f"printf '{hostile}'"]
    stele.ok("run", "--detach", "--log-driver", "file", "--bundle", bundle(words), name)
    stele.ok("wait", name)
    try:
        shown = "\\x1b]0;title\\x07\\x1b[2J\x1b[1;31mred\x1b[0m\ta\\rX\\x9bA\\u202e \\udcff naïve\n"
        assert on_a_terminal(stele.command("logs", name)) == shown
        written = b"\x1b]0;title\x07\x1b[2J\x1b[1;31mred\x1b[0m\ta\rX\xc2\x9bA\xe2\x80\xae \xff na\xc3\xafve\r\n"
        assert subprocess.run(stele.command("logs", name), capture_output=True, check=True).stdout == written
    finally:
        stele("delete", "-f", name)
