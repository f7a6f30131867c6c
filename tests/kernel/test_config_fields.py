"""Fields of config.json in effect: each is asked for, then looked at from inside the container."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.harness import leaks
from tests.harness.bundles import BundleFactory
from tests.harness.privileges import without
from tests.harness.runtime import Runtime


def say(script: str) -> list[str]:
    return ["sh", "-c", script]


@pytest.fixture
def inside(stele: Runtime, bundle: BundleFactory) -> Any:
    """`inside(script, changes)` runs a shell script in a container and returns its output."""

    def run(script: str, changes: dict[str, Any] | None = None, **more: Any) -> str:
        folder = bundle(say(script), changes, **more)
        done = stele("run", "-b", folder, stele.id())
        assert done.returncode == 0, done.stderr + done.stdout
        return str(done.stdout)

    return run


def test_user_groups_and_umask(inside: Any) -> None:
    user = {"uid": 1000, "gid": 1001, "additionalGids": [5, 6], "umask": 0o077}
    assert inside("id -u; id -g; id -G; umask", {"process": {"user": user}}) == "1000\n1001\n1001 5 6\n0077\n"


def test_cwd_env_and_home(inside: Any) -> None:
    process = {"cwd": "/tmp", "env": ["PATH=/bin", "A=b c"], "user": {"uid": 1000, "gid": 1000}}
    assert inside("pwd; echo $A; echo $HOME", {"process": process}) == "/tmp\nb c\n/home\n"


def _modes(folder: Path, *names: str) -> list[int]:
    return [stat.S_IMODE((folder / "rootfs" / name).stat().st_mode) for name in names]


def test_a_missing_cwd_is_made(stele: Runtime, bundle: BundleFactory) -> None:
    """As callers know it of runc (Kubernetes' workingDir, say), and whatever the umask of the caller is."""
    folder = bundle(say("pwd"), {"process": {"cwd": "/new/./work", "user": {"uid": 1000, "gid": 1000}}})
    done = stele("run", "-b", folder, stele.id(), umask=0o077)
    assert (done.returncode, done.stdout) == (0, "/new/work\n"), done.stderr
    assert _modes(folder, "new", "new/work") == [0o755, 0o755]


def test_a_missing_cwd_of_a_read_only_root_is_made_beside_the_bundle(inside: Any, bundle: BundleFactory) -> None:
    """runc writes it into the bundle, read-only or not; here nothing is written there."""
    volume = bundle.folder / "volume"
    volume.mkdir()
    mounts = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/data", "source": str(volume), "options": ["bind"]},
    ]
    for cwd in ("/new/work", "/data/new/work"):
        changes = {"process": {"cwd": cwd}, "mounts": mounts}
        assert inside("pwd; grep -c overlay /proc/mounts", changes, readonly=True).split()[0] == cwd
    assert (volume / "new/work").is_dir(), "a volume is written as any program would"
    assert list(bundle.folder.glob("bundle*/rootfs/new")) == []


def test_a_cwd_that_cannot_be_made(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    mounts = [{"destination": "/data", "source": str(tmp_path), "options": ["bind", "ro"]}]
    done = stele("run", "-b", bundle(say("pwd"), {"process": {"cwd": "/data/new"}, "mounts": mounts}), stele.id())
    assert done.returncode == 1
    assert done.stderr.startswith('stele run failed: process.cwd "/data/new": cannot create it: read-only file system')


def no_capabilities(config: dict[str, Any]) -> None:
    """An edit of config.json."""
    del config["process"]["capabilities"]


def test_a_cwd_that_its_user_may_not_see(stele: Runtime, bundle: BundleFactory) -> None:
    """As an image's WORKDIR /root, run with another user: the program begins there, as callers know it of runc."""
    process = {"cwd": "/root", "user": {"uid": 1000, "gid": 1000}}
    folder = bundle(say("readlink /proc/self/cwd; cd /root"), {"process": process}, edit=no_capabilities)
    (folder / "rootfs/root").chmod(0o700)
    done = stele("run", "-b", folder, stele.id())
    assert (done.stdout, "can't cd to /root: Permission denied" in done.stderr) == ("/root\n", True), done
    name = stele.detached(bundle(["sleep", "1000"], edit=no_capabilities))
    (bundle.folder / "bundle2/rootfs/root").chmod(0o700)
    assert stele.ok("exec", "--user", "1000", "--cwd", "/root", name, "readlink", "/proc/self/cwd") == "/root\n"
    stele.ok("delete", "-f", name)


def test_a_cwd_that_only_its_user_may_see(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    """As on NFS, where root is nobody: here root lacks CAP_DAC_OVERRIDE, and the directory is another user's."""
    tmp_path.chmod(0o755)
    private = tmp_path / "private"
    (private / "work").mkdir(parents=True)
    for path in (private, private / "work"):
        os.chown(path, 1000, 1000)
        path.chmod(0o700)
    mounts = [{"destination": "/data", "source": str(private), "options": ["bind"]}]
    changes = {"process": {"cwd": "/data/work", "user": {"uid": 1000, "gid": 1000}}, "mounts": mounts}
    less = without("DAC_OVERRIDE", "DAC_READ_SEARCH")
    disabled = ("--cgroup-manager", "disabled")
    argv = [*stele.command(*disabled, "run", "-b", bundle(say("pwd"), changes), stele.id())]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, preexec_fn=less)
    assert (done.returncode, done.stdout) == (0, "/data/work\n"), done.stderr


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("mounts", {}),
        ("root.readonly", {"mounts": [], "root": {"readonly": True}}),
        ("linux.maskedPaths", {"mounts": []}),
        ("linux.readonlyPaths", {"mounts": [], "linux": {"maskedPaths": []}}),
        ("process.terminal", {"mounts": [], "process": {"terminal": True}}),
        ("linux.devices", {"mounts": [], "linux": {"devices": [{"path": "/dev/x", "type": "c", "major": 1, "minor": 3}]}}),
        ("linux.rootfsPropagation", {"mounts": [], "linux": {"maskedPaths": [], "readonlyPaths": [], "rootfsPropagation": "slave"}}),
    ],
)  # fmt: skip
def test_what_needs_a_mount_namespace_is_refused_without_one(
    stele: Runtime, bundle: BundleFactory, field: str, changes: dict[str, Any]
) -> None:
    """runc does these to the host's own mounts; to leave them out without a word would leave the host's /proc open."""

    def without(config: dict[str, Any]) -> None:
        spaces = config["linux"]["namespaces"]
        config["linux"]["namespaces"] = [n for n in spaces if n["type"] != "mount"]

    done = stele("run", "-b", bundle(say("pwd"), changes, edit=without), stele.id())
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"stele run failed: {field}: needs a mount namespace")


def test_a_container_without_a_process(
    stele: Runtime, bundle: BundleFactory, leftovers: leaks.Watch, tmp_path: Path
) -> None:
    """It can be created, and exec'd into; `start` says what it lacks and leaves it as it is (config.md "Process")."""
    folder = bundle([], {"process": None})
    name = stele.create(folder)
    done = stele("start", name)
    assert done.returncode == 1
    assert "its config.json has no process" in done.stderr
    assert stele.state(name)["status"] == "created"
    (tmp_path / "process.json").write_text(json.dumps({"cwd": "/", "args": ["/bin/pwd"]}))
    assert stele.ok("exec", "--process", tmp_path / "process.json", name) == "/\n"
    stele.ok("delete", name)
    done = stele("run", "-b", folder, stele.id())
    assert (done.returncode, done.stdout) == (1, "")
    assert "its config.json has no process" in done.stderr
    assert leftovers.left() == []


def test_a_pod_in_a_user_namespace(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    """As Kubernetes has it (hostUsers: false): the pod's other containers join the namespaces of its first."""
    maps = [{"containerID": 0, "hostID": 100_000, "size": 65536}]

    def sandboxed(config: dict[str, Any]) -> None:
        config["linux"]["namespaces"].append({"type": "user"})

    mapped = {"linux": {"uidMappings": maps, "gidMappings": maps}}
    first = stele.detached(bundle(["sleep", "1000"], mapped, edit=sandboxed))
    pid = stele.state(first)["pid"]
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    (private / "volume").mkdir()
    (private / "volume/word").write_text("from the host\n")

    def joined(config: dict[str, Any]) -> None:
        files = {"network": "net"}
        del config["hostname"]
        config["linux"]["namespaces"] = [{"type": "mount"}, {"type": "cgroup"}] + [
            {"type": kind, "path": f"/proc/{pid}/ns/{files.get(kind, kind)}"}
            for kind in ("ipc", "network", "pid", "user", "uts")
        ]
        config["mounts"].append({"destination": "/home", "source": f"{private}/volume", "options": ["bind", "ro"]})

    script = (
        "cat /home/word; head -c 1 /dev/zero | wc -c; readlink /proc/self/ns/user; ulimit -n; cat /proc/self/uid_map"
    )
    limits = {"process": {"rlimits": [{"type": "RLIMIT_NOFILE", "soft": 300, "hard": 300}]}}
    for known in (mapped, {}):
        done = stele("run", "-b", bundle(say(script), {**known, **limits}, edit=joined), stele.id())
        assert done.returncode == 0, done.stderr
        word, zero, user, files, *map_ = done.stdout.splitlines()
        assert (word, zero, files) == ("from the host", "1", "300")
        assert user == os.readlink(f"/proc/{pid}/ns/user")
        assert map_[0].split() == ["0", "100000", "65536"]
    stele.ok("delete", "-f", first)


def test_a_user_namespace_and_one_that_it_does_not_own(
    stele: Runtime, bundle: BundleFactory, own_network: None
) -> None:
    """Both are joined by path: the network namespace is the host's. exec joins them as well."""
    maps = [{"containerID": 0, "hostID": 100_000, "size": 65536}]
    mapped = {"linux": {"uidMappings": maps, "gidMappings": maps}}
    first = stele.detached(
        bundle(["sleep", "1000"], mapped, edit=lambda c: c["linux"]["namespaces"].append({"type": "user"}))
    )
    pid = stele.state(first)["pid"]
    places = {"user": f"/proc/{pid}/ns/user", "network": f"/proc/{os.getpid()}/ns/net"}

    def joined(config: dict[str, Any]) -> None:
        kept = [n for n in config["linux"]["namespaces"] if n["type"] != "network"]
        config["linux"]["namespaces"] = [*kept, *({"type": kind, "path": path} for kind, path in places.items())]
        config["mounts"] = [m for m in config["mounts"] if not m["destination"].startswith("/sys")]

    script = "readlink /proc/self/ns/user; readlink /proc/self/ns/net"
    spaces = [os.readlink(path) for path in places.values()]
    second = stele.detached(bundle(["sleep", "1000"], edit=joined))
    assert stele.ok("exec", second, *say(script)).split() == spaces
    assert stele.ok("run", "-b", bundle(say(script), edit=joined), stele.id()).split() == spaces
    for name in (second, first):
        stele.ok("delete", "-f", name)


def in_user_namespace(config: dict[str, Any]) -> None:
    """An edit: root is uid 100000 outside, and the network is the host's."""
    spaces = config["linux"]["namespaces"]
    config["linux"]["namespaces"] = [n for n in spaces if n["type"] != "network"] + [{"type": "user"}]
    for field in ("uidMappings", "gidMappings"):
        config["linux"][field] = [{"containerID": 0, "hostID": 100_000, "size": 65536}]


def test_sysfs_in_a_user_namespace_without_a_network_namespace(stele: Runtime, bundle: BundleFactory) -> None:
    """The kernel allows no new one; the caller's is bound, as crun does, with the options and masks of the container."""
    script = "ls /sys/class/net; touch /sys/x; ls /sys/firmware; grep -c ' /sys .*noexec' /proc/mounts"
    folder = bundle(say(script), {"linux": {"maskedPaths": ["/sys/firmware"]}}, edit=in_user_namespace)
    done = stele("run", "-b", folder, stele.id())
    assert "lo" in done.stdout.split() and done.stdout.split()[-1] == "1", done.stderr
    assert "Read-only file system" in done.stderr


def test_the_message_queues_of_a_user_namespace_belong_to_its_root(stele: Runtime, bundle: BundleFactory) -> None:
    folder = bundle(say("stat -c %u:%g /dev/mqueue"), edit=in_user_namespace)
    assert stele.ok("run", "-b", folder, stele.id()) == "0:0\n"


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ({"path": "/dev/stele-none", "major": 1, "minor": 3}, "the host has no such node"),
        ({"path": "/dev/null/", "major": 1, "minor": 5}, "is not the device 1:5"),
    ],
)
def test_a_device_of_a_user_namespace_that_the_host_lacks(
    stele: Runtime, bundle: BundleFactory, device: dict[str, Any], words: str
) -> None:
    linux = {"devices": [{"type": "c", **device}]}
    done = stele("run", "-b", bundle(["true"], {"linux": linux}, edit=in_user_namespace), stele.id())
    assert (done.returncode, words in done.stderr) == (1, True), done.stderr


def test_a_device_with_a_slash_at_its_end(inside: Any) -> None:
    devices = [{"path": "/dev/x/", "type": "c", "major": 1, "minor": 3}]
    assert inside("stat -c %F /dev/x", {"linux": {"devices": devices}}) == "character special file\n"


@pytest.mark.parametrize("home", [[], ["HOME="]], ids=["absent", "empty"])
def test_an_empty_home_counts_as_not_given(inside: Any, home: list[str]) -> None:
    process = {"env": ["A=1", *home], "user": {"uid": 1000, "gid": 1000}, "args": ["cat", "/proc/self/environ"]}
    assert inside("", {"process": process}) == "A=1\0HOME=/home\0"


@pytest.mark.parametrize("call", ["getcwd", "chdir"])
@pytest.mark.parametrize("value", [True, False])
def test_a_filter_that_forbids_getcwd(inside: Any, call: str, value: bool) -> None:
    """The working directory is entered and checked before the filter is loaded."""
    seccomp = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": [call], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
    }
    process = {"cwd": "/tmp", "noNewPrivileges": value, "args": ["echo", "runs"]}
    assert inside("", {"process": process, "linux": {"seccomp": seccomp}}) == "runs\n"


def test_exec_cap_is_ambient_where_the_config_has_it_inheritable(
    stele: Runtime, bundle: BundleFactory, tmp_path: Path
) -> None:
    """An ordinary user then has it, too; of the other one only the bounding set is left."""
    names = ["CAP_KILL", "CAP_CHOWN"]
    sets = {"bounding": names, "effective": [], "permitted": [], "inheritable": names[:1], "ambient": []}
    process = {"capabilities": sets, "user": {"uid": 1000, "gid": 1000}}
    name = stele.detached(bundle(["sleep", "1000"], {"process": process}))
    done = stele("exec", "--cap", "KILL", "--cap", "CHOWN", name, "grep", "Cap", "/proc/self/status")
    found = {line.split(":")[0]: int(line.split()[1], 16) for line in done.stdout.splitlines()}
    assert found == {"CapInh": 32, "CapPrm": 32, "CapEff": 32, "CapBnd": 33, "CapAmb": 32}, done.stderr
    stele.ok("delete", "-f", name)


def test_a_capability_that_cannot_be_granted_is_a_warning(stele: Runtime, bundle: BundleFactory) -> None:
    sets = {"bounding": [], "inheritable": ["CAP_KILL"], "ambient": ["CAP_CHOWN"]}
    done = stele("run", "-b", bundle(["true"], {"process": {"capabilities": sets}}), stele.id())
    assert done.returncode == 0
    assert "inheritable: CAP_KILL is not given: it is not in the bounding set" in done.stderr
    assert "ambient: CAP_CHOWN is not given: it is not in the permitted and inheritable set" in done.stderr


def test_capabilities_that_nobody_knows_are_told(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    """config.md: what cannot be mapped to a capability of the kernel "MUST be logged as a warning"; so of `exec`."""
    sets = {"bounding": ["cap_kill", "CAP_KILL"], "permitted": ["cap kill"]}
    name = stele.create(bundle(["sleep", "1000"], {"process": {"capabilities": sets}}))
    said = (bundle.folder / "bundle1/stderr").read_text()
    assert "'cap_kill' is not given" in said and "'cap kill' is not given" in said
    stele.ok("start", name)
    done = stele("exec", "--cap", "flying", name, "grep", "CapBnd", "/proc/self/status")
    assert done.returncode == 0
    assert int(done.stdout.split()[1], 16) == 1 << 5
    assert "'CAP_FLYING' is not given" in done.stderr
    stele.ok("delete", "-f", name)


def test_a_file_mode_with_the_bits_of_its_type(inside: Any) -> None:
    """st_mode as stat(2) gives it, which some write; mknod(2) takes it, and so does runc."""
    devices = [{"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": stat.S_IFCHR | 0o640}]
    assert inside("stat -c '%a %F' /dev/x", {"linux": {"devices": devices}}) == "640 character special file\n"


def test_no_propagation_of_the_root_is_told(inside: Any) -> None:
    """ "" is what an unset string of a caller may come as."""
    assert inside("echo runs", {"linux": {"rootfsPropagation": ""}}) == "runs\n"


@pytest.mark.parametrize("name", ["bounding", "effective", "permitted", "inheritable", "ambient"])
def test_each_capability_set(inside: Any, name: str) -> None:
    sets: dict[str, list[str]] = {key: [] for key in ("bounding", "effective", "permitted", "inheritable", "ambient")}
    sets[name] = ["CAP_KILL"]
    if name == "effective":
        sets["permitted"] = ["CAP_KILL"]
    if name in ("inheritable", "ambient"):
        sets["bounding"] = sets["inheritable"] = ["CAP_KILL"]
    if name == "ambient":
        sets["permitted"] = ["CAP_KILL"]
    letters = {"bounding": "Bnd", "effective": "Eff", "permitted": "Prm", "inheritable": "Inh", "ambient": "Amb"}
    # As an ordinary user, since root would regain all of the bounding set at exec.
    process = {"capabilities": sets, "user": {"uid": 1000, "gid": 1000}, "noNewPrivileges": True}
    text = inside("cat /proc/self/status", {"process": process})
    found = {key: int(re.search(rf"^Cap{word}:\s+(\w+)", text, re.M)[1], 16) for key, word in letters.items()}  # type: ignore[index]
    expected = dict.fromkeys(letters, 0)
    expected[name] = 1 << 5
    if name in ("inheritable", "ambient"):
        expected |= {"bounding": 1 << 5, "inheritable": 1 << 5}
    if name == "ambient":
        expected |= {"permitted": 1 << 5, "inheritable": 1 << 5, "effective": 1 << 5}
    if name in ("effective", "permitted"):
        expected[name] = 0  # an exec by an ordinary user without ambient capabilities leaves none (capabilities(7))
    assert found == expected


def test_no_capabilities_object_means_none(inside: Any) -> None:
    text = inside("grep Cap /proc/self/status", {"process": {"capabilities": None}})
    assert set(re.findall(r"\t(\w+)", text)) == {"0000000000000000"}


def test_rlimits(inside: Any) -> None:
    limits = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]
    text = inside("cat /proc/self/limits", {"process": {"rlimits": limits}})
    assert re.search(r"^Max open files\s+100\s+200", text, re.M)
    assert re.search(r"^Max core file size\s+0\s+0", text, re.M)


@pytest.mark.parametrize("value", [True, False])
def test_no_new_privileges(inside: Any, value: bool) -> None:
    text = inside("grep NoNewPrivs /proc/self/status", {"process": {"noNewPrivileges": value}})
    assert text == f"NoNewPrivs:\t{int(value)}\n"


def test_oom_score_adj(inside: Any) -> None:
    assert inside("cat /proc/self/oom_score_adj", {"process": {"oomScoreAdj": 321}}) == "321\n"


def test_scheduler_and_io_priority(inside: Any) -> None:
    process = {
        "scheduler": {"policy": "SCHED_BATCH", "nice": 7},
        "ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 0},
    }
    text = inside(
        "cat /proc/self/sched | grep policy; awk '{print $19}' /proc/self/stat; ionice -p 1", {"process": process}
    )
    assert re.search(r"policy\s*:\s*3", text)
    assert "\n7\n" in text
    assert "idle" in text


def test_affinity(inside: Any) -> None:
    text = inside("grep Cpus_allowed_list /proc/self/status", {"process": {"execCPUAffinity": {"initial": "1"}}})
    assert text == "Cpus_allowed_list:\t1\n"


def test_hostname_and_domainname(inside: Any) -> None:
    text = inside("hostname; cat /proc/sys/kernel/domainname", {"hostname": "stone", "domainname": "example"})
    assert text == "stone\nexample\n"


def test_read_only_root(inside: Any) -> None:
    assert inside("touch /x 2>&1 || true; touch /dev/shm/y && echo fine", readonly=True) == (
        "touch: /x: Read-only file system\nfine\n"
    )


def test_a_writable_root_is_written(stele: Runtime, bundle: BundleFactory) -> None:
    folder = bundle(say("echo hi > /x"))
    stele.ok("run", "-b", folder, stele.id())
    assert (folder / "rootfs/x").read_text() == "hi\n"


def test_a_read_only_root_gets_no_mount_point_in_the_bundle(
    stele: Runtime, bundle: BundleFactory, tmp_path: Path
) -> None:
    """The wish against other runtimes since 2016: what the image lacks comes from a private layer."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/f").write_text("seen")

    def edit(config: dict[str, Any]) -> None:
        config["mounts"].append(
            {"destination": "/new/deep/dir", "source": str(tmp_path / "data"), "options": ["rbind", "ro"]}
        )
        config["mounts"].append({"destination": "/new/file", "source": str(tmp_path / "data/f"), "options": ["bind"]})

    folder = bundle(say("cat /new/deep/dir/f /new/file; touch /y 2>&1; ls /bin/sh"), readonly=True, edit=edit)
    before = sorted(str(p) for p in (folder / "rootfs").rglob("*"))
    done = stele("run", "-b", folder, stele.id())
    assert done.stdout == "seenseentouch: /y: Read-only file system\n/bin/sh\n", done.stderr
    assert sorted(str(p) for p in (folder / "rootfs").rglob("*")) == before


def test_a_bind_mount_with_options(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()

    def edit(config: dict[str, Any]) -> None:
        for name, options in (("ro", ["bind", "ro", "nosuid", "nodev", "noexec"]), ("rw", ["bind"])):
            config["mounts"].append({"destination": f"/{name}", "source": str(tmp_path / "s"), "options": options})

    folder = bundle(
        say("touch /ro/x 2>&1; touch /rw/x; grep -E ' /r[ow] ' /proc/self/mountinfo | cut -d' ' -f5,6"), edit=edit
    )
    out = stele("run", "-b", folder, stele.id()).stdout.splitlines()
    assert out[0] == "touch: /ro/x: Read-only file system"
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(out[1].split()[1].split(","))
    assert (tmp_path / "s/x").exists()


def test_tmpcopyup(inside: Any) -> None:
    mounts = [{"destination": "/etc", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]}]
    text = inside(
        "cat /etc/group | head -1; touch /etc/new && echo written",
        edit=lambda config: config["mounts"].extend(mounts),
    )
    assert text == "root:x:0:\nwritten\n"


def test_devices(inside: Any) -> None:
    devices = [
        {"type": "c", "path": "/dev/mine", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 7, "gid": 8},
        {"type": "p", "path": "/dev/pipe", "fileMode": 0o600},
    ]
    out = inside(
        "stat -c '%n %F %a %u %g %t:%T' /dev/mine /dev/pipe /dev/null; ls -l /dev/fd", {"linux": {"devices": devices}}
    )
    lines = out.splitlines()
    assert lines[0] == "/dev/mine character special file 640 7 8 1:3"
    assert lines[1].startswith("/dev/pipe fifo 600")
    assert lines[2] == "/dev/null character special file 666 0 0 1:3"
    assert lines[3].endswith("/dev/fd -> /proc/self/fd")


def test_what_is_mounted_on_a_device_stays(inside: Any) -> None:
    """As `docker run -v /dev/urandom:/dev/random` asks for; so does an entry of linux.devices give way."""
    zero = {"type": "bind", "source": "/dev/zero", "options": ["bind"]}
    mounts = [{"destination": path, **zero} for path in ("/dev/random", "/dev//null", "/dev/own")]
    own = {"path": "/dev/own", "type": "c", "major": 1, "minor": 7}

    def edit(config: dict[str, Any]) -> None:
        config["mounts"] += mounts

    seen = inside("stat -c %T /dev/random /dev/null /dev/own", {"linux": {"devices": [own]}}, edit=edit)
    assert seen.split() == ["5", "5", "5"]


def test_a_device_that_cannot_be_made_is_told_by_its_path(stele: Runtime, bundle: BundleFactory) -> None:
    devices = [{"path": "/etc/passwd", "type": "c", "major": 1, "minor": 3}]
    done = stele("run", "-b", bundle(["true"], {"linux": {"devices": devices}}), stele.id())
    assert done.stderr.startswith('stele run failed: device "/etc/passwd": cannot create it: file exists'), done.stderr


def test_masked_and_readonly_paths(inside: Any) -> None:
    linux = {"maskedPaths": ["/etc/passwd", "/home", "/not/there"], "readonlyPaths": ["/var"]}
    out = inside("touch /home/x 2>&1; cat /etc/passwd; ls /home; touch /var/x 2>&1; echo end", {"linux": linux})
    assert out == "touch: /home/x: Read-only file system\ntouch: /var/x: Read-only file system\nend\n"


def test_sysctl(inside: Any) -> None:
    linux = {"sysctl": {"net.ipv4.ip_forward": "1", "kernel.shmmax": "12345", "fs.mqueue.msg_max": "11"}}
    out = inside(
        "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmax /proc/sys/fs/mqueue/msg_max", {"linux": linux}
    )
    assert out == "1\n12345\n11\n"


def test_loopback_is_up(inside: Any) -> None:
    assert "UP" in inside("ip link show lo")


def test_namespaces_are_new_and_can_be_joined(stele: Runtime, bundle: BundleFactory) -> None:
    first = stele.detached(bundle(["sleep", "1000"]))
    pid = stele.state(first)["pid"]

    def edit(config: dict[str, Any]) -> None:
        for namespace in config["linux"]["namespaces"]:
            if namespace["type"] in ("network", "ipc", "uts", "pid"):
                namespace["path"] = f"/proc/{pid}/ns/{ {'network': 'net'}.get(namespace['type'], namespace['type']) }"
        del config["hostname"]

    script = "for n in net ipc uts pid mnt; do readlink /proc/self/ns/$n; done; ps | grep -c 'sleep 1000'"
    out = stele.ok("run", "-b", bundle(say(script), edit=edit), stele.id()).split()
    theirs = [os.readlink(f"/proc/{pid}/ns/{n}") for n in ("net", "ipc", "uts", "pid")]
    assert out[:4] == theirs
    assert out[4] != os.readlink("/proc/self/ns/mnt")
    assert int(out[5]) >= 1
    stele.ok("delete", "-f", first)


def test_time_namespace_offsets(inside: Any) -> None:
    linux = {"timeOffsets": {"boottime": {"secs": 1_000_000}, "monotonic": {"secs": 5}}}
    out = inside("cat /proc/uptime", {"linux": linux}, edit=lambda c: c["linux"]["namespaces"].append({"type": "time"}))
    assert float(out.split()[0]) > 1_000_000


def userns(config: dict[str, Any]) -> None:
    config["linux"]["namespaces"].append({"type": "user"})
    for field in ("uidMappings", "gidMappings"):
        config["linux"][field] = [{"containerID": 0, "hostID": 100_000, "size": 65_536}]
    # The tests' folders are root's alone; the mapped root is another.


def test_user_namespace(stele: Runtime, bundle: BundleFactory) -> None:
    folder = bundle(
        say("id -u; cat /proc/self/uid_map; echo x > /dev/null && echo written; echo y > /tmp/f"), edit=userns
    )
    for path in [folder, folder / "rootfs", *(folder / "rootfs").rglob("*")]:
        os.chown(path, 100_000, 100_000, follow_symlinks=False)
    folder.chmod(0o700)  # as Podman makes it with --userns=keep-id: not even the user who runs us may enter it
    done = stele("run", "-b", folder, stele.id())
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0", "0", "100000", "65536", "written"]
    assert (folder / "rootfs/tmp/f").stat().st_uid == 100_000


def test_id_mapped_mount(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s/f").write_text("")
    os.chown(tmp_path / "s/f", 5, 5)
    maps = [{"containerID": 0, "hostID": 1000, "size": 100}]

    def edit(config: dict[str, Any]) -> None:
        config["mounts"].append(
            {
                "destination": "/m",
                "source": str(tmp_path / "s"),
                "options": ["bind", "idmap"],
                "uidMappings": maps,
                "gidMappings": maps,
            }
        )

    done = stele("run", "-b", bundle(say("stat -c %u:%g /m/f"), edit=edit), stele.id())
    assert done.stdout == "1005:1005\n", done.stderr


def test_personality(inside: Any) -> None:
    assert inside("uname -m", {"linux": {"personality": {"domain": "LINUX32"}}}) in ("i686\n", "armv8l\n")


def test_seccomp_denies(inside: Any) -> None:
    seccomp = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 42}],
    }
    assert (
        inside("mkdir /tmp/x 2>&1 || true", {"linux": {"seccomp": seccomp}})
        == "mkdir: can't create directory '/tmp/x': No message of desired type\n"
    )


def test_terminal(stele: Runtime, bundle: BundleFactory) -> None:
    folder = bundle(
        say("tty; stty size; test -t 0 && echo yes; ls -l /dev/console"),
        terminal=True,
        edit=lambda c: c["process"].update(consoleSize={"height": 30, "width": 90}),
    )
    out = stele("run", "-b", folder, stele.id()).stdout.replace("\r\n", "\n").splitlines()
    assert out[:3] == ["/dev/console", "30 90", "yes"] or out[:3] == ["/dev/pts/0", "30 90", "yes"]
    assert out[3].startswith("crw")


def test_without_a_mount_for_dev_devices_are_made_in_the_root(stele: Runtime, bundle: BundleFactory) -> None:
    def edit(config: dict[str, Any]) -> None:
        config["mounts"] = [m for m in config["mounts"] if not m["destination"].startswith("/dev")]

    folder = bundle(say("echo x > /dev/null && echo fine"), edit=edit)
    assert stele("run", "-b", folder, stele.id()).stdout == "fine\n"
    assert stat.S_ISCHR((folder / "rootfs/dev/null").stat().st_mode)


def test_annotations_are_in_the_state(stele: Runtime, bundle: BundleFactory) -> None:
    name = stele.create(bundle(["true"], {"annotations": {"a": "b"}}))
    assert stele.state(name)["annotations"] == {"a": "b"}
    stele.ok("delete", name)


def test_hooks_run_in_order_with_the_state_and_their_own_environment(
    stele: Runtime, bundle: BundleFactory, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    script = f'echo "$0 $(cat) [$HOOK$A]" >> {log}'

    def hook(kind: str) -> list[dict[str, Any]]:
        return [{"path": "/bin/sh", "args": ["sh", "-c", script, kind], "env": ["HOOK=1", "PATH=/bin:/usr/bin"]}]

    kinds = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]
    folder = bundle(
        ["true"], {"hooks": {kind: hook(kind) for kind in kinds}, "process": {"env": ["A=image", "PATH=/bin"]}}
    )
    name = stele.create(folder)
    assert [line.split()[0] for line in log.read_text().splitlines()] == kinds[:3]
    pid = stele.state(name)["pid"]
    stele.ok("start", name)
    stele.wait_stopped(name)
    stele.ok("delete", name)
    lines = log.read_text().splitlines()
    assert [line.split()[0] for line in lines] == kinds
    states = [json.loads(line.split(" ", 1)[1].rpartition(" [")[0]) for line in lines]
    assert [s["status"] for s in states] == ["creating", "creating", "creating", "running", "stopped"]
    assert [s["pid"] for s in states[:4]] == [pid, pid, 1, pid]
    assert all(s["id"] == name and s["bundle"] == str(folder) for s in states)
    assert all(line.endswith("[1]") for line in lines), "nothing of the image's environment"


def test_start_container_hook_runs_in_the_container(stele: Runtime, bundle: BundleFactory) -> None:
    hooks = {"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "cat > /tmp/state"], "env": ["PATH=/bin"]}]}
    folder = bundle(["cat", "/tmp/state"], {"hooks": hooks})
    out = stele("run", "-b", folder, stele.id()).stdout
    assert (json.loads(out)["status"], json.loads(out)["pid"]) == ("created", 1)


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
def test_a_hook_that_fails_stops_the_create(stele: Runtime, bundle: BundleFactory, kind: str) -> None:
    hooks = {kind: [{"path": "/bin/sh", "args": ["sh", "-c", "echo because >&2; exit 3"]}]}
    done = stele("create", "-b", bundle(["true"], {"hooks": hooks}), stele.id(), stdout=-3)
    assert done.returncode == 1
    assert "exit status 3: because" in done.stderr
    assert stele.ok("list", "-q") == ""


@pytest.mark.parametrize("kind", ["createRuntime", "createContainer"])
def test_a_hook_that_does_not_end_is_killed(stele: Runtime, bundle: BundleFactory, kind: str) -> None:
    hooks = {
        kind: [
            {"path": "/bin/sh", "args": ["sh", "-c", "trap '' TERM; sleep 1000"], "timeout": 1, "env": ["PATH=/bin"]}
        ]
    }
    done = stele("create", "-b", bundle(["true"], {"hooks": hooks}), stele.id(), stdout=-3)
    assert done.returncode == 1
    assert "did not end within its timeout of 1 s" in done.stderr


def test_a_failed_poststop_hook_is_only_a_warning(stele: Runtime, bundle: BundleFactory) -> None:
    name = stele.create(bundle(["true"], {"hooks": {"poststop": [{"path": "/bin/false"}]}}))
    done = stele("delete", name)
    assert done.returncode == 0
    assert "poststop" in done.stderr
