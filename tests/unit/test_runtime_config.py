"""From an image's config and a command line to a config.json: rows of both, and what comes out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from runtime.errors import SteleError, UsageError
from runtime.host.cgroups.paths import parent_of_own
from runtime.host.cgroups.tree import flag
from runtime.host.stats import keyed
from runtime.images import config_fields
from runtime.images.model import ImageConfig, ImageError
from runtime.images.run import etc_files, run_options, runtime_config
from runtime.images.run.defaults import CAPABILITIES
from runtime.images.run.run_options import RunOptions, Upper, Volume
from runtime.images.run.seccomp_default import default_profile
from runtime.images.run.user import Identity, identity
from runtime.oci.load import check_config
from runtime.plan import model, steps
from runtime.plan.seccomp import plan_seccomp


def image(**run: Any) -> ImageConfig:
    return ImageConfig("amd64", "linux", "", "2026-01-02T03:04:05Z", (), run, ())


def place(**changes: Any) -> runtime_config.ContainerFacts:
    return runtime_config.ContainerFacts(**{"container_id": "c", "machine": "x86_64", "user": Identity(), **changes})


def config(run: Mapping[str, Any], wanted: RunOptions | None = None, **changes: Any) -> dict[str, Any]:
    made = runtime_config.runtime_config(image(**{"Cmd": ["x"], **run}), wanted or RunOptions(), place(**changes))
    check_config(json.loads(json.dumps(made)))
    return made


@pytest.mark.parametrize(
    ("run", "wanted", "args"),
    [
        pytest.param({"Cmd": ["c", "d"]}, {}, ["c", "d"], id="cmd"),
        pytest.param({"Entrypoint": ["e"], "Cmd": ["c"]}, {}, ["e", "c"], id="entrypoint-and-cmd"),
        pytest.param(
            {"Entrypoint": ["e"], "Cmd": ["c"]}, {"command": ("x", "y")}, ["e", "x", "y"], id="command-beats-cmd"
        ),
        pytest.param({"Entrypoint": ["e"], "Cmd": ["c"]}, {"entrypoint": ("n",)}, ["n"], id="new-entrypoint-drops-cmd"),
        pytest.param({"Entrypoint": ["e"]}, {"entrypoint": (), "command": ("x",)}, ["x"], id="no-entrypoint"),
        pytest.param({"Entrypoint": None, "Cmd": ["c"]}, {}, ["c"], id="null-is-nothing"),
    ],
)
def test_what_runs(run: dict[str, Any], wanted: dict[str, Any], args: list[str]) -> None:
    assert list(runtime_config.arguments(image(**run), RunOptions(**wanted))) == args


def test_an_image_without_a_program_says_how_to_name_one() -> None:
    with pytest.raises(ImageError, match="names no program to run; name one behind the container's id"):
        runtime_config.arguments(image(Entrypoint=["e"]), RunOptions(entrypoint=()))


def test_the_environment_is_the_images_then_ours() -> None:
    made = runtime_config.environment(
        image(Env=["A=1", "B=2", "PATH=/p", "=x", "C"]), RunOptions(env=("B=3", "D=4=5"), terminal=True)
    )
    assert made == ("PATH=/p", "TERM=xterm", "A=1", "B=3", "C=", "D=4=5")
    assert runtime_config.environment(image(), RunOptions())[0].startswith("PATH=/usr/local/sbin:")


def test_files_and_the_callers_own_variables() -> None:
    given = run_options.environment(["X=1", "HOME", "NOT_SET"], [b"# note\n\nF=a b\n"], {"HOME": "/h"})
    assert given == ("F=a b", "X=1", "HOME=/h")
    odd = "A=x\u2028B \x0cC \n  D=t \r\n\nE=".encode() + b"\xff\n"  # only a line feed ends a line, and no byte is lost
    assert run_options.environment([], [odd], {}) == ("A=x\u2028B \x0cC ", "D=t ", "E=\udcff")
    with pytest.raises(UsageError, match='--env "=1": the name is empty'):
        run_options.environment(["=1"], [], {})


@pytest.mark.parametrize(
    ("told", "given", "cwd"),
    [
        ("", "", "/"),
        ("/srv/", "", "/srv"),
        ("srv", "", "/srv"),
        ("/a", "/b/../c", "/c"),
        ("//x/./y", "", "/x/y"),
        ("/../..", "", "/"),
    ],
)
def test_the_working_directory(told: str, given: str, cwd: str) -> None:
    assert runtime_config.working_directory(image(WorkingDir=told), RunOptions(workdir=given)) == cwd


def test_labels_become_annotations_but_never_orders() -> None:
    """CVE-2026-53488: a label must not be read as an order to a runtime; here systemd would take it as a property."""
    labels = {
        "a.b": "1",
        "org.systemd.property.ExecStopPost": "'x'",
        "org.stele.image.name": "other",
        "run.oci.handler": "krun",
    }
    made = config(
        {"Labels": labels, "StopSignal": "SIGQUIT"},
        RunOptions(labels=(("a.b", "2"), ("own", ""))),
        annotations={"org.stele.image.name": "n"},
    )
    assert made["annotations"] == {
        "org.opencontainers.image.os": "linux",
        "org.opencontainers.image.architecture": "amd64",
        "org.opencontainers.image.created": "2026-01-02T03:04:05Z",
        "org.opencontainers.image.stopSignal": "SIGQUIT",
        "a.b": "2",
        "own": "",
        "org.stele.image.name": "n",
    }


def test_the_command_line_beats_the_images_labels() -> None:
    """A label beats the image's own field (conversion.md), and no more than that."""
    key = "org.opencontainers.image.stopSignal"
    labels = {key: "SIGHUP", "containerd.io/restart.loguri": "binary:///bin/x", "krun.cpus": "9", "a": "image"}
    run = {"Labels": labels, "StopSignal": "SIGQUIT"}
    assert config(run)["annotations"][key] == "SIGHUP"
    assert config(run, RunOptions(stop_signal="SIGUSR1"))["annotations"][key] == "SIGUSR1"
    made = config(run, RunOptions(labels=((key, "SIGUSR2"), ("a", "own"))))["annotations"]
    assert (made[key], made["a"]) == ("SIGUSR2", "own")
    assert not {"containerd.io/restart.loguri", "krun.cpus"} & made.keys()


def test_an_images_volume_is_never_over_what_others_mount() -> None:
    """Neither by its name, nor by where the image's links lead it."""
    given = RunOptions(volumes=(Volume("bind", "/host", "/data"), Volume("bind", "/h", "/srv/a")))
    real = {"/link": "/data", "/z": "/srv", "/etc": "/etc", "/hosts": "/etc/hosts", "/shm": "/dev/shm"}
    run: dict[str, Any] = {
        "Volumes": {"/link": {}, "/z": {}, "/etc": {}, "/hosts": {}, "/shm": {}, "/etc/hostname": {}}
    }
    made = config(run, given, real=real, files={"hosts"})["mounts"]
    base = len(config({})["mounts"])
    assert [m["destination"] for m in made[base:]] == ["/etc", "/etc/hosts", "/data", "/z", "/srv/a"]
    for led in ("/proc/self", "/sys", "/dev/x", "/"):
        with pytest.raises(ImageError, match="'/x' is not a valid path for a volume"):
            config({"Volumes": {"/x": {}}}, real={"/x": led})


@pytest.mark.parametrize("key", ["Volumes", "WorkingDir"])
def test_depths(key: str) -> None:
    """At import and at run: each directory is a step of init's."""
    paths = {depth: "/d" * depth for depth in (config_fields.DEPTH_MAX, config_fields.DEPTH_MAX + 1, 899)}
    for depth, path in paths.items():
        run: dict[str, Any] = {key: {path: {}} if key == "Volumes" else path}
        if depth == config_fields.DEPTH_MAX:
            config(run)
            config_fields.check_depths(image(**run))
            continue
        for refuse in (config, lambda run: config_fields.check_depths(image(**run))):
            with pytest.raises(ImageError, match=f"config: {key}: .* is {depth} directories deep; at most 64 are made"):
                refuse(run)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Env", "A=1"),
        ("Env", [1]),
        ("Cmd", {"a": 1}),
        ("WorkingDir", ["/"]),
        ("Labels", {"a": 1}),
        ("Volumes", ["/v"]),
        ("StopSignal", 9),
    ],
)
def test_a_config_of_wrong_types_is_refused_by_its_field(key: str, value: Any) -> None:
    with pytest.raises(ImageError, match=f"^the image's config: {key}: .* the image is broken"):
        config({key: value})


@pytest.mark.parametrize(
    "path", ["/", "/proc", "/proc/self/attr", "/sys/fs", "/dev", "/a/../dev/x", "/dev/shm/x", "..", "//sys//x"]
)
def test_an_image_cannot_put_a_volume_over_the_kernels_files(path: str) -> None:
    with pytest.raises(ImageError, match="is not a valid path for a volume"):
        config({"Volumes": {path: {}}})


def test_a_volume_where_each_container_has_a_mount_of_its_own() -> None:
    """Images of systemd have one on /sys/fs/cgroup: it is served by what is there, and nothing more is mounted."""
    plain = config({})["mounts"]
    assert config({"Volumes": {"/sys/fs/cgroup": {}, "/a/../dev/shm": {}}})["mounts"] == plain


@pytest.mark.parametrize(
    ("volumes", "words"),
    [
        (["/a\0b"], r"'/a\\x00b' is not a valid path for a volume"),
        (["/" + "a/" * 2048], "is not a valid path for a volume"),
        (["/" + "a" * 256], "is not a valid path for a volume"),
        ([f"/{i}" for i in range(1001)], "it has 1001; at most 1000 are made"),
    ],
    ids=["nul", "long-path", "long-name", "many"],
)
def test_volumes_that_no_honest_image_has(volumes: list[str], words: str) -> None:
    with pytest.raises(ImageError, match=words):
        config({"Volumes": {path: {} for path in volumes}})


def test_volumes_of_image_and_caller() -> None:
    """The image's are tmpfs unless the caller puts something there; upper ones are mounted first."""
    wanted = RunOptions(
        volumes=(
            Volume("bind", "/host", "/srv/data/in", ("ro",)),
            Volume("volume", "cache", "/cache"),
            Volume("tmpfs", "", "/t", ("size=1m",)),
        )
    )
    made = config(
        {"Volumes": {"/srv/data": {}, "/cache/": {}, "/new": {}}},
        wanted,
        present={"/srv/data"},
        volumes="/s/volumes",
        user=Identity(5, 6, (6,)),
    )
    base = len(config({})["mounts"])
    assert [(m["destination"], m["type"], m["source"], m["options"]) for m in made["mounts"][base:]] == [
        ("/cache", "bind", "/s/volumes/cache", ["rbind", "rprivate", "nosuid", "nodev"]),
        ("/new", "tmpfs", "tmpfs", ["nosuid", "nodev", "mode=0755", "uid=5", "gid=6"]),
        ("/srv/data", "tmpfs", "tmpfs", ["nosuid", "nodev", "tmpcopyup"]),
        ("/srv/data/in", "bind", "/host", ["rbind", "rprivate", "nosuid", "nodev", "ro", "rro"]),
        ("/t", "tmpfs", "tmpfs", ["nosuid", "nodev", "noexec", "mode=1777", "size=1m"]),
    ]


def test_confinement_where_nothing_is_said() -> None:
    made = config({}, RunOptions(capabilities=CAPABILITIES), files={"hosts": b"", "hostname": b""})
    assert made["root"] == {"path": "rootfs", "readonly": True}
    assert made["process"]["noNewPrivileges"] is True
    assert made["process"]["capabilities"]["effective"] == list(CAPABILITIES)
    assert {n["type"] for n in made["linux"]["namespaces"]} == {"pid", "ipc", "uts", "mount", "network", "cgroup"}
    assert made["linux"]["seccomp"]["defaultAction"] == "SCMP_ACT_ERRNO"
    assert made["linux"]["resources"]["devices"][0] == {"allow": False, "access": "rwm"}
    files = [m for m in made["mounts"] if m["source"].startswith("files/")]
    assert [m["destination"] for m in files] == ["/etc/hostname", "/etc/hosts"]
    assert all("ro" in m["options"] for m in files)


@pytest.mark.parametrize("end", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\r"], ids=ascii)
def test_only_a_line_feed_ends_a_line(end: str) -> None:
    """Of what libc or the kernel reads or writes: passwd, group, resolv.conf, /proc/PID/cgroup, files of a cgroup."""
    passwd = f"me:x:7:7:Me{end}app:x:0:0:/:/bin/sh\n".encode()
    with pytest.raises(ImageError, match="does not have it"):
        identity("app", lambda _: passwd)
    group = f"me:x:7:{end}wheel:x:0:me\n".encode()
    assert identity("me", lambda path: passwd if path == "/etc/passwd" else group) == Identity(7, 7, (7,))
    host = f"search a{end}nameserver 6.6.6.6\nnameserver 9.9.9.9\n".encode()
    assert etc_files.resolv_conf((), host, own_network=True) == host
    assert parent_of_own(f"1:name=x:/a{end}0::/b/c\n0::/right/own\n") == "right"
    assert not flag(f"x{end}frozen 1{end}\n", "frozen")
    assert keyed(f"a 1{end}b 2\n") == {}


def test_an_ordinary_user_holds_no_capabilities() -> None:
    made = config({}, RunOptions(capabilities=("CAP_CHOWN",)), user=Identity(7, 8, (8, 9)))
    assert made["process"]["user"] == {"uid": 7, "gid": 8, "additionalGids": [8, 9]}
    assert made["process"]["capabilities"] == {"bounding": ["CAP_CHOWN"], "effective": [], "permitted": []}


def test_what_the_command_line_limits_and_opens() -> None:
    wanted = RunOptions(
        memory=1 << 20,
        cpus=150_000,
        pids=9,
        network="host",
        upper=Upper(steps.UPPER_TMPFS, "1m"),
        hostname="h",
        new_privileges=True,
    )
    made = config({}, wanted)
    resources = made["linux"]["resources"]
    assert (resources["memory"], resources["cpu"], resources["pids"]) == (
        {"limit": 1 << 20},
        {"quota": 150_000, "period": 100_000},
        {"limit": 9},
    )
    assert "network" not in {n["type"] for n in made["linux"]["namespaces"]}
    assert made["root"]["readonly"] is False
    assert config({}, RunOptions(upper=Upper(steps.UPPER_TMPFS), readonly=True))["root"]["readonly"] is True
    assert made["hostname"] == "h"
    assert made["process"]["noNewPrivileges"] is False


PASSWD = b"root:x:0:0:r:/root:/bin/sh\n#no:x:1:1::/:\nbroken:x\nbad:x:99999999999:1::/:\n1000:x:0:0::/:\nweb:x:101:102::/:\nweb2:x:101:103::/:\n"
GROUP = b"root:x:0:\nwww:x:33:web,other\nstaff:x:50:other\nwebs:x:102:web\nbad:x:x:web\n"


@pytest.mark.parametrize(
    ("user", "found"),
    [
        pytest.param("", Identity(0, 0, (0,)), id="nobody-said"),
        pytest.param("web", Identity(101, 102, (102, 33)), id="name"),
        pytest.param("101", Identity(101, 102, (102, 33)), id="number-with-a-line"),
        pytest.param("1000", Identity(1000, 0, (0,)), id="numbers-come-first"),
        pytest.param("4000", Identity(4000, 0, (0,)), id="number-without-a-line"),
        pytest.param("web:staff", Identity(101, 50, (50,)), id="group-by-name"),
        pytest.param("web:7", Identity(101, 7, (7,)), id="group-by-number"),
        pytest.param("5:6", Identity(5, 6, (6,)), id="both-numbers"),
        pytest.param(":5", Identity(0, 5, (5,)), id="no-user-is-root"),
        pytest.param(":staff", Identity(0, 50, (50,)), id="no-user-and-a-name"),
        pytest.param(":", Identity(0, 0, (0,)), id="neither"),
        pytest.param("web:", Identity(101, 102, (102, 33)), id="an-empty-group-is-the-users"),
        pytest.param("5:", Identity(5, 0, (0,)), id="an-empty-group-of-a-number"),
        pytest.param("web:staff:x", Identity(101, 50, (50,)), id="a-third-part-is-ignored"),
        pytest.param("4294967294", Identity(4294967294, 0, (0,)), id="the-largest"),
    ],
)
def test_who_it_is(user: str, found: Identity) -> None:
    assert identity(user, {"/etc/passwd": PASSWD, "/etc/group": GROUP}.__getitem__) == found


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ("nobody", "the image's /etc/passwd does not have it"),
        ("web:none", "the image's /etc/group does not have it"),
        ("bad", "the image's /etc/passwd does not have it"),
        ("4294967295", "is not an id"),
        ("4294967296", "is not an id"),
        ("-1", "is not an id"),
        ("web:-1", "is not an id"),
        (":-1", "is not an id"),
        (":none", "the image's /etc/group does not have it"),
    ],
)
def test_nobody_becomes_root_by_mistake(user: str, words: str) -> None:
    """CVE-2024-40635, CVE-2026-30892: what is not an id is an error, never 0."""
    with pytest.raises(ImageError, match=words):
        identity(user, {"/etc/passwd": PASSWD, "/etc/group": GROUP}.__getitem__)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("/a:/b", Volume("bind", "/a", "/b")),
        ("/a/../c:/b/:ro,noexec", Volume("bind", "/c", "/b", ("ro", "noexec"))),
        ("name:/b", Volume("volume", "name", "/b")),
        ("/b", Volume("tmpfs", "", "/b")),
    ],
)
def test_volumes_as_they_are_written(text: str, found: Volume) -> None:
    assert run_options.volume(text) == found


@pytest.mark.parametrize(
    "text", ["", ":", "a:", "/a:b", "/a:/", "/a:/b:z", "/a:/b:ro:x", "../x:/b", "a/b:/c", ":/b", "-x:/b"]
)
def test_volumes_that_cannot_be_meant(text: str) -> None:
    with pytest.raises(UsageError, match="--volume"):
        run_options.volume(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("type=bind,src=/a,dst=/b,readonly", Volume("bind", "/a", "/b", ("ro",))),
        ("source=v,target=/b", Volume("volume", "v", "/b")),
        ("type=tmpfs,destination=/t,tmpfs-size=1m,noexec", Volume("tmpfs", "", "/t", ("size=1m", "noexec"))),
        ("type=bind,source=/a,destination=/b,ro=false", Volume("bind", "/a", "/b", ("rw",))),
        ("type=tmpfs,dst=/a:exec,size=1m", Volume("tmpfs", "", "/a:exec", ("size=1m",))),
    ],
)
def test_mounts_as_they_are_written(text: str, found: Volume) -> None:
    assert run_options.mount(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "type=bind,dst=/b",
        "type=bind,src=v,dst=/b",
        "type=volume,src=/a,dst=/b",
        "type=x,dst=/b",
        "dst=/b,x=1",
        "src=v",
    ],
)
def test_mounts_that_cannot_be_meant(text: str) -> None:
    with pytest.raises(UsageError, match="--mount"):
        run_options.mount(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("none", Upper()),
        ("tmpfs", Upper(steps.UPPER_TMPFS)),
        ("tmpfs:64m", Upper(steps.UPPER_TMPFS, "64m")),
        ("/var/x/", Upper(steps.UPPER_DIRECTORY, directory="/var/x")),
    ],
)
def test_uppers(text: str, found: Upper) -> None:
    assert run_options.upper(text) == found


@pytest.mark.parametrize("text", ["x", "tmpfs:1q", "tmpfs:1m,mode=0", "tmpf"])
def test_uppers_that_cannot_be_meant(text: str) -> None:
    with pytest.raises(UsageError, match="--upper"):
        run_options.upper(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("none", ("none", ())),
        ("host", ("host", ())),
        ("veth:10.1.2.3/24", ("veth", (model.Veth("10.1.2.3", "10.1.2.1"),))),
        ("veth:10.1.2.3", ("veth", (model.Veth("10.1.2.3", "169.254.1.1"),))),
        ("veth:10.1.2.3/31,gateway=10.1.2.2", ("veth", (model.Veth("10.1.2.3", "10.1.2.2"),))),
        (
            "veth:10.1.2.3/24,fd00::5/64",
            ("veth", (model.Veth("10.1.2.3", "10.1.2.1"), model.Veth("fd00::5", "fd00::1"))),
        ),
    ],
)
def test_networks(text: str, found: Any) -> None:
    assert run_options.network(text) == found


@pytest.mark.parametrize(
    "text",
    ["bridge", "veth", "veth:", "veth:x", "veth:10.1.2.1/24", "veth:10.0.0.2/24,gateway=fd00::1", "veth:10.0.0.300"],
)
def test_networks_that_cannot_be_meant(text: str) -> None:
    with pytest.raises(UsageError, match="--net"):
        run_options.network(text)


@pytest.mark.parametrize(
    ("add", "drop", "found"),
    [
        ([], [], {"CAP_KILL"}),
        (["net_admin"], [], {"CAP_KILL", "CAP_NET_ADMIN"}),
        (["CAP_CHOWN,fowner"], ["ALL"], {"CAP_CHOWN", "CAP_FOWNER"}),
        ([], ["kill"], set()),
    ],
)
def test_capabilities(add: list[str], drop: list[str], found: set[str]) -> None:
    assert set(run_options.capabilities(add, drop, ["CAP_KILL"])) == found


def test_all_capabilities_but_one() -> None:
    made = run_options.capabilities(["ALL"], ["SYS_ADMIN"], ["CAP_KILL"])
    assert len(made) == 40
    assert "CAP_SYS_ADMIN" not in made
    with pytest.raises(UsageError, match='--cap-add: unknown capability "FLY"'):
        run_options.capabilities(["fly"], [], [])
    with pytest.raises(UsageError, match="--cap-add: unknown capability"):
        run_options.capabilities(["kıll"], [], [])  # its upper case in Unicode is KILL


@pytest.mark.parametrize(("text", "found"), [("1", 100_000), ("0.5", 50_000), ("1.25", 125_000)])
def test_cpus(text: str, found: int) -> None:
    assert run_options.cpus(text) == found


@pytest.mark.parametrize("text", ["", "0", "-1", "x", "1e3", "0.001", "99999"])
def test_cpus_that_cannot_be_meant(text: str) -> None:
    with pytest.raises(UsageError, match="--cpus"):
        run_options.cpus(text)


def test_an_entrypoint_is_a_word_or_a_list() -> None:
    assert run_options.words("", "x") == ()
    assert run_options.words("/bin/sh", "x") == ("/bin/sh",)
    assert run_options.words('["sh", "-c"]', "x") == ("sh", "-c")
    with pytest.raises(UsageError, match="is not a JSON list"):
        run_options.words("[1]", "--entrypoint")


def test_the_seccomp_default_opens_what_a_capability_is_for() -> None:
    plain, more = default_profile(()), default_profile(("CAP_SYS_TIME", "CAP_SYS_ADMIN"))
    assert "clock_settime" not in plain["syscalls"][0]["names"]
    assert {"clock_settime", "mount", "clone3"} <= set(more["syscalls"][0]["names"])
    assert [rule for rule in more["syscalls"] if rule["names"] == ["clone3"]] == []
    assert "chroot" in default_profile(("CAP_SYS_CHROOT",))["syscalls"][0]["names"]
    assert "chroot" not in plain["syscalls"][0]["names"]
    assert "set_tls" in default_profile((), "aarch64")["syscalls"][0]["names"]
    for profile in (plain, more, default_profile((), "aarch64")):
        assert plan_seccomp(profile) is not None


def test_resolv_conf() -> None:
    host = b"# stub\nnameserver 127.0.0.53\nnameserver 9.9.9.9\nsearch a b\noptions edns0\n"
    assert etc_files.resolv_conf((), host, own_network=True) == b"nameserver 9.9.9.9\nsearch a b\noptions edns0\n"
    assert etc_files.resolv_conf((), host, own_network=False).startswith(b"nameserver 127.0.0.53\n")
    assert etc_files.resolv_conf(("1.1.1.1", "::2"), host, own_network=True) == b"nameserver 1.1.1.1\nnameserver ::2\n"


def test_name_servers_are_addresses() -> None:
    assert run_options.dns(["1.1.1.1,::2", "9.9.9.9"]) == ("1.1.1.1", "::2", "9.9.9.9")
    with pytest.raises(UsageError, match="--dns"):
        run_options.dns(["dns.example"])


@pytest.mark.parametrize("name", ["x" * 65, "a b", "a\n"])
def test_host_names_the_kernel_does_not_take(name: str) -> None:
    with pytest.raises(SteleError, match="--hostname"):
        runtime_config.hostname(RunOptions(hostname=name), "c")


def test_a_long_id_is_cut_to_a_host_name() -> None:
    assert runtime_config.hostname(RunOptions(), "i" * 255) == "i" * 64
