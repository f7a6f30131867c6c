"""Planning: rows of config.json and the steps or the exact fault that they give. No root, no kernel."""

from __future__ import annotations

import copy
import errno
import json
from collections.abc import Callable
from typing import Any

import pytest

from runtime.container.failure import _sentence
from runtime.errors import ConfigError
from runtime.oci.constants import NAMESPACES
from runtime.oci.template import spec_template
from runtime.plan import compile as planning
from runtime.plan import explain, model, steps, wire
from runtime.plan.identity import capability_mask
from runtime.plan.mounts import parse_options
from runtime.plan.process import cpu_mask
from tests.harness.counting import calls

FACTS = model.Facts()
NO_SLOT = steps.NO_SLOT


FACTS_OF_LSMS = model.Facts(apparmor=True, selinux=True)


def config(**changes: Any) -> dict[str, Any]:
    """A small config.json; a dotted name (with __) reaches inside."""
    document = json.loads(json.dumps(spec_template(rootless=False)))
    document["process"]["terminal"] = False
    for name, value in changes.items():
        *path, last = name.split("__")
        place = document
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    return document


def plan(document: dict[str, Any], facts: model.Facts = FACTS, **request: Any) -> model.Plan:
    defaults = {"bundle": "/b", "container_id": "c", "state": {"id": "c"}}
    made = planning.Request(**{**defaults, **request})
    return planning.compile_create(document, made, facts, lambda rules: b"\6\0\0\0\0\0\377\177")


def only(made: model.Plan, kind: type[steps.Step]) -> list[Any]:
    return [step for step in made.steps if type(step) is kind]


def test_planning_is_a_function_and_its_bytes_say_the_same() -> None:
    document = config()
    before = copy.deepcopy(document)
    assert plan(document) == plan(document)
    assert document == before
    assert wire.decode(wire.encode(plan(document).steps)) == plan(document).steps


def test_a_container_without_a_process_waits_and_executes_nothing() -> None:
    hooks = {"startContainer": [{"path": "/h"}]}
    document = config(hooks=hooks)
    del document["process"]
    planned = plan(document, environment=("A=B",)).steps
    assert planned[-1] == steps.Ready(True)


def mount(**fields: Any) -> dict[str, Any]:
    return {"destination": "/d", **fields}


@pytest.mark.parametrize(
    ("entry", "step"),
    [
        pytest.param(
            mount(source="/s", options=["bind", "ro"]),
            steps.BindMount(NO_SLOT, False, False, 1, 0, 0, 0, 0, "/s", "/d"),
            id="ro-bind",
        ),
        pytest.param(
            mount(source="/s", options=["bind", "sync", "dirsync", "mand", "lazytime", "acl", "iversion"]),
            steps.BindMount(NO_SLOT, False, False, 0, 0, 0, 0, 0, "/s", "/d"),
            id="a-bind-has-its-sources-superblock",
        ),
        pytest.param(
            mount(source="s", options=["rbind", "rro", "rslave"], type="none"),
            steps.BindMount(NO_SLOT, True, False, 0, 0, 1, 0, 0x84000, "/b/s", "/d"),
            id="relative-source-recursive-ro",
        ),
        pytest.param(
            mount(source="/s", options=["bind", "ro", "rw", "nosuid", "suid"]),
            steps.BindMount(NO_SLOT, False, False, 0, 3, 0, 0, 0, "/s", "/d"),
            id="the-later-option-wins",
        ),
        pytest.param(
            mount(type="bind", source="/s"),
            steps.BindMount(NO_SLOT, False, False, 0, 0, 0, 0, 0, "/s", "/d"),
            id="bind-by-its-type",
        ),
        pytest.param(
            mount(source="/s", options=["bind", "src-nofollow", "noatime"]),
            steps.BindMount(NO_SLOT, False, True, 0x10, 0x70, 0, 0, 0, "/s", "/d"),
            id="nofollow-and-atime-clears-the-field",
        ),
        pytest.param(
            mount(type="tmpfs", source="tmpfs", options=["nosuid", "size=1m", "mode=700"]),
            steps.NewMount(2, 0, 0, False, False, False, "tmpfs", "tmpfs", "/d", "", ("size=1m", "mode=700")),
            id="tmpfs",
        ),
        pytest.param(
            mount(type="tmpfs", source="tmpfs", options=["sync", "acl", "noacl", "iversion", "noiversion", "lazytime"]),
            steps.NewMount(0, 0, 0, False, False, True, "tmpfs", "tmpfs", "/d", "", ("sync", "lazytime")),
            id="flags-that-nobody-decides-any-more",
        ),
        pytest.param(
            mount(type="tmpfs", options=["tmpcopyup"]),
            steps.NewMount(0, 0, 0, False, True, False, "tmpfs", "tmpfs", "/d", "", ()),
            id="tmpcopyup",
        ),
        pytest.param(
            mount(type="overlay", source="o", options=["lowerdir=/a:/b"]),
            steps.NewMount(0, 0, 0, False, False, False, "overlay", "o", "/d", "", ("lowerdir=/a:/b",)),
            id="overlay",
        ),
        pytest.param(
            mount(type="sysfs", source="sysfs", options=["ro"]),
            steps.NewMount(1, 0, 0, True, False, False, "sysfs", "sysfs", "/d", "", ()),
            id="sysfs-is-strict",
        ),
        pytest.param(
            mount(type="cgroup", source="cgroup", options=["ro"]),
            steps.NewMount(1, 0, 0, False, False, False, "cgroup2", "cgroup", "/d", "", ()),
            id="cgroup-with-its-namespace",
        ),
    ],
)
def test_a_mount_becomes_a_step(entry: dict[str, Any], step: steps.Step) -> None:
    made = plan(config(mounts=[entry]))
    assert [s for s in made.steps if isinstance(s, (steps.BindMount, steps.NewMount))] == [step]


@pytest.mark.parametrize("written", ["data", "/data", "//data/"])
def test_a_destination_counts_from_the_root(written: str) -> None:
    made = plan(config(mounts=[{"destination": written, "type": "tmpfs"}]))
    assert only(made, steps.NewMount)[0].target == "/data"


def test_a_read_only_tmpfs_is_made_read_only_after_its_mount_points() -> None:
    made = plan(
        config(
            mounts=[
                {"destination": "/run", "type": "tmpfs", "options": ["ro"]},
                {"destination": "/run/secrets", "source": "/s", "options": ["bind"]},
            ]
        )
    )
    order = [type(s) for s in made.steps if isinstance(s, (steps.NewMount, steps.BindMount, steps.MountAttributes))]
    assert order == [steps.NewMount, steps.BindMount, steps.MountAttributes]
    assert only(made, steps.NewMount)[0].attr_set == 0


def test_without_a_cgroup_namespace_the_hosts_hierarchy_is_bound() -> None:
    namespaces = [{"type": "mount"}, {"type": "uts"}]
    made = plan(config(mounts=[mount(type="cgroup", options=["ro"])], linux__namespaces=namespaces))
    (bind,) = only(made, steps.BindMount)
    assert (bind.source, bind.recursive, bind.attr_set) == ("/sys/fs/cgroup", True, 1)


def test_private_layer_lists_mount_points_of_the_root_only() -> None:
    (layer,) = only(plan(config()), steps.PrivateLayer)
    assert layer.readonly
    assert layer.targets == ("/proc", "/dev", "/sys")


def test_id_mapped_and_shared_binds_are_made_on_the_host_side() -> None:
    maps = [{"containerID": 0, "hostID": 1000, "size": 10}]
    made = plan(config(mounts=[mount(source="/s", options=["bind", "idmap"], uidMappings=maps, gidMappings=maps)]))
    (bind,) = only(made, steps.BindMount)
    assert bind.slot == 1
    line = model.IdMapping(0, 1000, 10)
    assert made.fds == (
        model.ListenerFd(),
        model.TreeFd("/s", False, model.IdMaps((line,), (line,)), False, "mounts[0].source"),
    )


def test_a_hidden_path_is_hidden_once() -> None:
    """ ".." may lead elsewhere, so a path with it is a path of its own."""
    paths = ["/a/b", "/a//b/", "/a/./b", "/a/c/../b"]
    made = plan(config(linux__maskedPaths=paths, linux__readonlyPaths=paths))
    for kind in (steps.MaskPath, steps.ReadonlyPath):
        assert [(step.path, step.index) for step in only(made, kind)] == [("/a/b", 0), ("/a/c/../b", 3)]


@pytest.mark.parametrize(
    ("options", "recursive"),
    [
        (["rbind", "rprivate", "rw", "bind"], True),
        (["bind", "rbind"], True),
        (["bind", "rprivate"], False),
    ],
)
def test_bind_does_not_take_recursion_back(options: list[str], recursive: bool) -> None:
    (bind,) = only(plan(config(mounts=[mount(source="/s", options=options)])), steps.BindMount)
    assert bind.recursive == recursive


IDMAP = "uids=0-1-10#10-11-10;gids=0-100-10"


@pytest.mark.parametrize(
    ("option", "uids"),
    [
        (IDMAP, ((0, 1, 10), (10, 11, 10))),
        ("uids=@1-3-10;gids=0-100-10", ((1, 4, 10),)),  # crun.1's own example
        ("uids=@0-0-1#@1-1-10;gids=0-100-10", None),
        ("uids=0-1;gids=0-100-10", None),
        ("uids=0-1-10", None),
        ("uids=0-1-10;gids=0-x-10", None),
        ("uids=0-1-0;gids=0-1-1", None),
        ("uids=@5000-0-1;gids=0-1-1", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("name", ["idmap", "ridmap"])
def test_the_value_of_idmap(name: str, option: str, uids: Any) -> None:
    own = [{"containerID": 0, "hostID": 0, "size": 1}, {"containerID": 1, "hostID": 2, "size": 1000}]
    document = config(mounts=[mount(source="/s", options=["bind", f"{name}={option}"])])
    if option:
        document["linux"] |= {"uidMappings": own, "gidMappings": own}
        document["linux"]["namespaces"].append({"type": "user"})
    if uids is None:
        with pytest.raises(ConfigError) as caught:
            plan(document)
        assert caught.value.path.startswith("mounts[0]")
        return
    (tree,) = (fd for fd in plan(document).fds if isinstance(fd, model.TreeFd) and fd.path == "/s")
    assert tree.id_maps == model.IdMaps(tuple(model.IdMapping(*line) for line in uids), (model.IdMapping(0, 100, 10),))
    assert tree.recursive_map == (name == "ridmap")


def test_idmap_without_mappings_takes_those_of_the_joined_user_namespace() -> None:
    """Also where config.json repeats them."""
    maps = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    document = config(mounts=[mount(source="/s", options=["bind", "idmap"])])
    document["linux"]["namespaces"].append({"type": "user", "path": "/u"})
    for document["linux"]["uidMappings"] in (maps, []):
        document["linux"]["gidMappings"] = document["linux"]["uidMappings"]
        fds = plan(document).fds
        assert fds[-1] == model.TreeFd("/s", False, None, False, "mounts[0].source", "/u")


USER = 0x1000_0000


@pytest.mark.parametrize(
    ("capabilities", "order"),
    [((1 << 41) - 1, ["network", "pid", "user"]), (0, ["user", "network", "pid"])],
    ids=["root", "without rights"],
)
def test_the_order_of_joining_follows_who_owns_what(capabilities: int, order: list[str]) -> None:
    """Inside the user namespace one can join only what that owns; without rights outside, only from inside."""
    document = config(
        linux__namespaces=[
            {"type": "mount"},
            *({"type": kind, "path": f"/{kind}"} for kind in ("network", "user", "pid")),
        ],
        hostname="",
    )
    joins = only(plan(document, model.Facts(capabilities=capabilities)), steps.JoinNamespace)
    assert [step.flags for step in joins] == [NAMESPACES[kind] for kind in order]


def test_clock_offsets_are_written_while_the_new_user_namespace_has_no_ids_yet() -> None:
    """Afterwards /proc/PID belongs to the host's root, also for an ordinary user who calls us."""
    maps = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    document = config(linux__uidMappings=maps, linux__gidMappings=maps, linux__timeOffsets={"boottime": {"secs": 5}})
    document["linux"]["namespaces"] += [{"type": "user"}, {"type": "time"}]
    made = plan(document)
    assert made.steps[:4] == (
        steps.Unshare(USER | NAMESPACES["time"]),
        steps.Sync(steps.SYNC_MAPPED),
        steps.TimeOffsets("boottime 5 0\n"),
        steps.BecomeRoot(True),
    )
    later = [step.flags for step in only(made, steps.Unshare)][1:]
    assert all(not flags & NAMESPACES["time"] for flags in later)


@pytest.mark.parametrize(
    ("namespaces", "flags", "kinds"),
    [
        pytest.param(["pid", "mount", "ipc"], 0x28020000, [], id="all-at-once"),
        pytest.param(["mount", "cgroup"], 0x20000, [steps.Unshare], id="cgroup-from-inside"),
        pytest.param(["mount", ("network", "/n")], 0x20000, [steps.JoinNamespace], id="joins-need-no-stage"),
        pytest.param(
            ["mount", ("pid", "/p")],
            0,
            [steps.JoinNamespace, steps.Unshare, steps.Fork],
            id="a-pid-namespace-needs-a-child",
        ),
        pytest.param(["mount", "time"], 0, [steps.Unshare, steps.TimeOffsets, steps.Fork], id="time"),
    ],
)
def test_the_way_into_namespaces(namespaces: list[Any], flags: int, kinds: list[type]) -> None:
    listed = [{"type": n} if isinstance(n, str) else {"type": n[0], "path": n[1]} for n in [*namespaces, "uts"]]
    document = config(linux__namespaces=listed)
    if "time" in namespaces:
        document["linux"]["timeOffsets"] = {"boottime": {"secs": 5}}
    made = plan(document)
    assert made.clone_flags == (flags | 0x4000000 if flags else 0)
    ways = (steps.JoinNamespace, steps.Unshare, steps.Fork, steps.TimeOffsets)
    assert [type(s) for s in made.steps if isinstance(s, ways)] == kinds


def test_a_namespace_that_is_entered_late_has_exactly_its_own_flag() -> None:
    made = plan(config(linux__namespaces=[{"type": "mount"}, {"type": "cgroup"}, {"type": "uts"}]))
    assert [step.flags for step in only(made, steps.Unshare)] == [0x0200_0000]


def test_a_user_namespace_is_mapped_before_anything_else() -> None:
    maps = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    document = config(linux__uidMappings=maps, linux__gidMappings=maps)
    document["linux"]["namespaces"].append({"type": "user"})
    made = plan(document)
    assert made.steps[:2] == (steps.Sync(steps.SYNC_MAPPED), steps.BecomeRoot(True))
    assert made.id_maps == model.IdMaps((model.IdMapping(0, 100000, 65536),), (model.IdMapping(0, 100000, 65536),))
    assert all(device.bind for device in only(made, steps.Device)), "no node can be made in a user namespace"
    assert made.rlimits == tuple(only(made, steps.Rlimit)), "hard limits are raised from the host side"
    kinds = [type(step) for step in made.steps]
    assert kinds.index(steps.Rlimit) > kinds.index(steps.Ready), "they are not in force while init sets up"


def test_what_is_absent_is_denied() -> None:
    document = config()
    del document["process"]["capabilities"]
    (credentials,) = only(plan(document), steps.Credentials)
    sets = ("bounding", "permitted", "effective", "inheritable", "ambient")
    assert [getattr(credentials, name) for name in sets] == [0] * 5


def test_inheritable_and_ambient_only_if_asked() -> None:
    (credentials,) = only(plan(config()), steps.Credentials)
    assert credentials.inheritable == credentials.ambient == 0
    assert credentials.bounding == capability_mask(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"])


@pytest.mark.parametrize(
    ("inheritable", "permitted", "ambient"),
    [(["CAP_KILL"], ["CAP_KILL"], ["CAP_KILL"]), ([], ["CAP_KILL"], []), (["CAP_KILL"], [], [])],
    ids=["both", "not inheritable", "not permitted"],
)
def test_ambient_is_limited_by_permitted_and_inheritable(
    inheritable: list[str], permitted: list[str], ambient: list[str]
) -> None:
    """The kernel raises no other (capabilities(7), "Ambient")."""
    asked = {"bounding": ["CAP_KILL"], "permitted": permitted, "inheritable": inheritable, "ambient": ["CAP_KILL"]}
    (credentials,) = only(plan(config(process__capabilities=asked)), steps.Credentials)
    assert credentials.ambient == capability_mask(ambient)


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/conf/eth0.100/forwarding", "net/ipv4/conf/eth0.100/forwarding"),
    ],
)
def test_a_sysctl_with_slashes_keeps_its_dots(key: str, path: str) -> None:
    """sysctl(8): in a name with slashes a dot belongs to a component, as in that of a VLAN's interface."""
    made = plan(
        config(linux__sysctl={key: "1"}, linux__namespaces=[{"type": "mount"}, {"type": "network"}, {"type": "uts"}])
    )
    assert only(made, steps.Sysctl) == [steps.Sysctl(path, "1")]


@pytest.mark.parametrize(
    ("mount_of_dev", "devices", "in_root"),
    [
        pytest.param({"type": "tmpfs"}, True, False, id="a new file system"),
        pytest.param({"type": "bind", "source": "/dev", "options": ["rbind"]}, False, False, id="the host's"),
        pytest.param(None, True, True, id="none"),
    ],
)
@pytest.mark.parametrize("written", ["/dev", "/dev/", "dev"])
def test_devices_are_made_in_a_dev_of_the_containers_own(
    mount_of_dev: dict[str, Any] | None, devices: bool, in_root: bool, written: str
) -> None:
    """Nothing is made in a /dev that is bound from the host; without a mount the nodes are in the root itself."""
    mounts = [{"destination": written, **mount_of_dev}] if mount_of_dev else []
    made = plan(config(mounts=mounts, root__readonly=True))
    assert bool(only(made, steps.Device)) == devices
    layers = only(made, steps.PrivateLayer)
    assert ("/dev/null" in (layers[0].targets if layers else ())) == in_root


def test_an_exec_has_its_initial_affinity_before_it_joins() -> None:
    """config.md, execCPUAffinity: initial while the process is set up, final before the program begins."""
    process = {**config()["process"], "execCPUAffinity": {"initial": "0", "final": "1"}}
    made = planning.compile_exec(
        process, config()["linux"], FACTS, lambda rules: b"", container_id="c", rootless=False, keep_fds=0
    )
    kinds = [type(step) for step in made.steps]
    masks = [step.mask for step in only(made, steps.Affinity)]
    assert masks == [cpu_mask("0", "initial"), cpu_mask("1", "final")]
    assert kinds.index(steps.Affinity) < kinds.index(steps.JoinNamespace)


def test_a_capability_the_host_lacks_is_left_out_and_told() -> None:
    made = plan(config(), model.Facts(capabilities=0))
    assert only(made, steps.Credentials)[0].bounding == 0
    assert "process.capabilities: CAP_KILL is not given: stele does not have it itself" in made.notes


def test_a_capability_that_nobody_knows_is_told_and_no_failure() -> None:
    """config.md: a runtime should not fail for one that cannot be granted; newer callers name newer ones."""
    made = plan(config(process__capabilities={"bounding": ["CAP_FLY", "CAP_KILL"], "permitted": ["CAP_FLY"]}))
    assert only(made, steps.Credentials)[0].bounding == capability_mask(["CAP_KILL"])
    assert made.notes == ("process.capabilities: 'CAP_FLY' is not given: stele knows no such capability",)


def test_what_a_profile_means_beyond_its_words_is_noted() -> None:
    argument = {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}
    rule = {"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [argument, {**argument, "value": 2}]}
    made = plan(config(linux__seccomp={"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    assert [note.partition(":")[0] for note in made.notes] == ["linux.seccomp.syscalls[0].args"]


@pytest.mark.parametrize(
    ("options", "namespaces", "uid", "maps", "owner"),
    [
        (["nosuid"], ["cgroup"], 1000, None, 1000),
        (["nosuid"], ["cgroup"], 0, None, None),
        (["ro"], ["cgroup"], 1000, None, None),
        (["nosuid"], [], 1000, None, None),
        (["nosuid"], ["cgroup", "user"], 5, (0, 100_000, 10), 100_005),
        (["nosuid"], ["cgroup", "user"], 9, (0, 100_000, 10), 100_009),
        (["nosuid"], ["cgroup", "user"], 10, (0, 100_000, 10), None),
    ],
)
def test_whose_the_cgroup_is(
    options: list[str], namespaces: list[str], uid: int, maps: tuple[int, int, int] | None, owner: int | None
) -> None:
    """Of the container's process, if it sees the cgroup as its own and writable; root's is root's anyway."""
    made = config()
    made["mounts"] = [{"destination": "/sys/fs/cgroup", "type": "cgroup", "options": options}]
    made["process"]["user"] = {"uid": uid, "gid": 0}
    made["linux"]["namespaces"] = [{"type": kind} for kind in ("mount", "pid", *namespaces)]
    made.pop("hostname", None)
    if maps:
        mapping = [dict(zip(("containerID", "hostID", "size"), maps, strict=True))]
        made["linux"] |= {"uidMappings": mapping, "gidMappings": mapping}
    assert plan(made).cgroup_owner == owner


def test_a_user_namespace_that_is_joined_is_one_too() -> None:
    """As of the second container of a pod: no nodes, mounts from the host's side, limits raised before it is entered."""
    document = config(process__oomScoreAdj=-5, root__path="/r")
    document["linux"]["namespaces"].append({"type": "user", "path": "/proc/7/ns/user"})
    document["mounts"].append({"destination": "/d", "source": "/s", "options": ["bind"]})
    made = plan(document)
    assert made.id_maps is None
    assert made.steps[0] == steps.Sync(steps.SYNC_MAPPED)
    assert (made.oom_score, made.rlimits != ()) == (-5, True)
    assert only(made, steps.OomScore) == []
    assert made.rlimits == tuple(only(made, steps.Rlimit))
    assert all(device.bind for device in only(made, steps.Device))
    assert {fd.path for fd in made.fds if isinstance(fd, model.TreeFd)} == {"/r", "/s"}


def test_an_idmap_without_mappings_takes_those_of_the_user_namespace() -> None:
    mapping = [{"containerID": 0, "hostID": 100_000, "size": 10}]
    mount = {"destination": "/m", "source": "/s", "options": ["bind", "idmap"]}
    made = config()
    made["mounts"] = [mount]
    made["linux"]["namespaces"].append({"type": "user"})
    made["linux"] |= {"uidMappings": mapping, "gidMappings": mapping}
    (tree,) = [fd for fd in plan(made).fds if isinstance(fd, model.TreeFd) and fd.path == "/s"]
    assert tree.id_maps == model.IdMaps((model.IdMapping(0, 100_000, 10),), (model.IdMapping(0, 100_000, 10),))
    made = config()
    made["mounts"] = [mount]
    with pytest.raises(ConfigError, match=r"^mounts\[0\]: an id-mapped mount needs both"):
        plan(made)


def test_root_in_a_user_namespace_needs_no_other_one() -> None:
    """Podman's own: it is root there, so only what root may not do there is left out."""
    inner = model.Facts(in_user_namespace=True)
    assert plan(config(), inner, rootless=True).id_maps is None
    with pytest.raises(ConfigError, match=r"^linux\.namespaces: an ordinary user needs a user namespace"):
        plan(config(), model.Facts(euid=1000), rootless=True)


def test_groups_are_left_alone_where_they_cannot_be_set() -> None:
    (credentials,) = only(plan(config(), model.Facts(setgroups=False)), steps.Credentials)
    assert not credentials.groups


@pytest.mark.parametrize(
    ("rootless", "facts", "groups"),
    [
        (False, model.Facts(euid=0), True),
        (True, model.Facts(euid=0), True),
        (True, model.Facts(euid=1), False),
        (True, model.Facts(euid=1000), False),
        (False, model.Facts(setgroups=False), False),
    ],
)
def test_an_exec_sets_groups_only_where_it_may(rootless: bool, facts: model.Facts, groups: bool) -> None:
    document = config()
    made = planning.compile_exec(
        document["process"],
        document["linux"],
        facts,
        lambda rules: b"",
        container_id="c",
        rootless=rootless,
        keep_fds=0,
    )
    (credentials,) = only(made, steps.Credentials)
    assert credentials.groups == groups


@pytest.mark.parametrize(("mode", "planned"), [({}, 0o20666), ({"fileMode": 0o600}, 0o20600)])
def test_a_device_has_the_mode_that_is_written_or_0666(mode: dict[str, int], planned: int) -> None:
    """config-linux.md "Devices" leaves it open; 0666 is what callers know of runc."""
    device = {"type": "c", "path": "/dev/x", "major": 1, "minor": 3, **mode}
    made = plan(config(linux__devices=[device]))
    assert [step.mode for step in only(made, steps.Device) if step.path == "/dev/x"] == [planned]


def test_seccomp_comes_last_with_no_new_privs_and_before_credentials_without() -> None:
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}
    for no_new_privs, order in (
        (True, [steps.Credentials, steps.Seccomp]),
        (False, [steps.Seccomp, steps.Credentials]),
    ):
        made = plan(config(linux__seccomp=profile, process__noNewPrivileges=no_new_privs))
        assert [type(s) for s in made.steps if isinstance(s, (steps.Credentials, steps.Seccomp))] == order


def test_hooks_get_the_state_with_room_for_the_pid() -> None:
    hooks = {
        "createContainer": [{"path": "/h", "args": ["h", "a"], "env": ["X=1"], "timeout": 3}],
        "startContainer": [{"path": "/i", "env": []}],
    }
    first, second = only(plan(config(hooks=hooks)), steps.Hook)
    assert (first.timeout, first.n_args, first.words) == (3, 2, ("h", "a", "X=1"))
    assert json.loads(first.state_head + "42" + first.state_tail) == {"id": "c", "status": "creating", "pid": 42}
    assert json.loads(second.state_head + "1" + second.state_tail)["status"] == "created"
    assert (second.n_args, second.words) == (1, ("/i",))


def test_only_a_start_container_hook_without_env_gets_that_of_the_process() -> None:
    """The others run with the host's rights, and the process's environment is the image's (CVE-2025-23266)."""
    kinds = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    made = plan(config(process__env=["A=1"], hooks={kind: [{"path": f"/{kind}"}] for kind in kinds}))
    assert [step.words for step in only(made, steps.Hook)] == [("/createContainer",), ("/startContainer", "A=1")]
    assert [hook.env for hook in made.hooks] == [()] * 4


SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")


@pytest.mark.parametrize(
    ("sets", "granted", "notes"),
    [
        ({"inheritable"}, set(), ["inheritable: CAP_KILL is not given: it is not in the bounding set"]),
        ({"effective"}, set(), ["effective: CAP_KILL is not given: it is not in the permitted set"]),
        ({"ambient"}, set(), ["ambient: CAP_KILL is not given: it is not in the permitted and inheritable set"]),
        (
            {"ambient", "permitted", "bounding"},
            {"permitted", "bounding"},
            ["ambient: CAP_KILL is not given: it is not in the permitted and inheritable set"],
        ),
        ({*SETS}, {*SETS}, []),
    ],
    ids=["inheritable", "effective", "ambient", "ambient-not-inheritable", "all"],
)
def test_capabilities_that_cannot_be_granted_are_noted(sets: set[str], granted: set[str], notes: list[str]) -> None:
    """config.md: what cannot be granted "MUST be logged as a warning" and should not be an error."""
    made = plan(config(process__capabilities={name: ["CAP_KILL"] for name in sets}))
    (step,) = only(made, steps.Credentials)
    assert {name for name in SETS if getattr(step, name)} == granted
    assert [note.removeprefix("process.capabilities.") for note in made.notes] == notes


@pytest.mark.parametrize("path", ["/dev/x/", "/dev/x//", "/dev/x"])
def test_a_slash_at_the_end_of_a_devices_path_is_ignored(path: str) -> None:
    devices = [{"type": "c", "path": path, "major": 1, "minor": 3}]
    made = plan(config(linux__devices=[{"type": "c", "path": "/dev/null/", "major": 1, "minor": 5}, *devices]))
    assert [(d.path, d.minor) for d in only(made, steps.Device) if d.path in ("/dev/x", "/dev/null")] == [
        ("/dev/null", 5),
        ("/dev/x", 3),
    ]


def test_the_default_devices_have_the_kernels_numbers() -> None:
    """Documentation/admin-guide/devices.txt."""
    found = {d.path: (d.major, d.minor) for d in only(plan(config()), steps.Device)}
    assert found == {
        "/dev/null": (1, 3), "/dev/zero": (1, 5), "/dev/full": (1, 7), "/dev/random": (1, 8), "/dev/urandom": (1, 9),
        "/dev/tty": (5, 0),
    }  # fmt: skip


@pytest.mark.parametrize("nice", [-20, 19])
def test_the_ends_of_nice(nice: int) -> None:
    scheduler = {"policy": "SCHED_OTHER", "nice": nice}
    assert [s.nice - 20 for s in only(plan(config(process__scheduler=scheduler)), steps.Scheduler)] == [nice]
    scheduler["nice"] = nice + (1 if nice > 0 else -1)
    with pytest.raises(ConfigError, match="out of range"):
        plan(config(process__scheduler=scheduler))


def test_the_environment_of_the_command_line_comes_last() -> None:
    (execute,) = only(plan(config(process__env=["A=1", "B=2"]), environment=("A=3",)), steps.Execute)
    assert execute.words[execute.n_args :] == ("B=2", "A=3")


def test_an_exec_waits_until_its_terminal_is_set_up() -> None:
    process = {"args": ["sh"], "cwd": "/", "user": {"uid": 0, "gid": 0}, "terminal": True}
    linux = {"namespaces": [{"type": "mount"}, {"type": "pid"}]}
    made = planning.compile_exec(process, linux, FACTS, lambda rules: b"", container_id="c", rootless=False, keep_fds=0)
    kinds = [type(step) for step in made.steps]
    console = kinds.index(steps.Console)
    assert made.steps[console + 1] == steps.Sync(steps.SYNC_TERMINAL)


def test_the_last_environment_entry_for_a_name_wins() -> None:
    made = plan(config(process__env=["A=1", "PATH=/x", "A=2"]))
    (execute,) = only(made, steps.Execute)
    assert execute.words[execute.n_args :] == ("PATH=/x", "A=2")
    assert execute.path == "/x"


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"mounts": [mount(destination="/", type="tmpfs")]}, "mounts[0].destination", "is the root itself"),
        ({"mounts": [mount(destination="/proc", type="tmpfs")]}, "mounts[0].destination", "only a procfs"),
        ({"mounts": [mount(destination="/proc/sys", type="tmpfs")]}, "mounts[0].destination", "inside /proc"),
        ({"mounts": [mount(options=["bind"])]}, "mounts[0].source", "is missing"),
        ({"mounts": [mount(source="/s", options=["bind", "size=1"])]}, "mounts[0].options", "option of a file system"),
        ({"mounts": [mount()]}, "mounts[0].type", "is missing"),
        ({"mounts": [mount(source="/s", options=["bind", "idmap"])]}, "mounts[0]", "needs both"),
        ({"linux__devices": [{"type": "c", "path": "/dev/x"}]}, "linux.devices[0]", "major or minor is missing"),
        ({"linux__devices": [{"type": "c", "path": "x", "major": 1, "minor": 1}]}, "linux.devices[0].path", "not absolute"),
        ({"linux__devices": [{"type": "c", "path": "/x", "major": 5000, "minor": 1}]}, "linux.devices[0]", "invalid device number"),
        ({"process__env": ["A"]}, "process.env[0]", "is not NAME=VALUE"),
        ({"process__rlimits": [{"type": "RLIMIT_CPU", "soft": 2, "hard": 1}]}, "process.rlimits[0]", "above hard"),
        ({"process__apparmorProfile": "p"}, "process.apparmorProfile", "AppArmor is off"),
        ({"process__selinuxLabel": "l"}, "process.selinuxLabel", "SELinux is off"),
        ({"process__execCPUAffinity": {"initial": "a"}}, "process.execCPUAffinity.initial", "is not a list of CPUs"),
        ({"linux__personality": {"domain": "LINUX", "flags": ["x"]}}, "linux.personality.flags", "no flag is defined"),
        ({"linux__intelRdt": {"closID": "a/b"}}, "linux.intelRdt.closID", "is not a valid group name"),
        ({"linux__memoryPolicy": {"mode": "MPOL_X"}}, "linux.memoryPolicy.mode", "unknown mode"),
        ({"linux__namespaces": [{"type": "mount"}, {"type": "uts"}], "linux__netDevices": {"e": {}}}, "linux.netDevices", "network namespace"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)  # fmt: skip
def test_a_fault_names_its_field(changes: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(config(**changes))
    assert caught.value.path == field
    assert words in caught.value.problem


def test_an_ordinary_user_needs_a_user_namespace() -> None:
    with pytest.raises(ConfigError, match="needs a user namespace"):
        plan(config(), model.Facts(euid=1000), rootless=True)
    plan(config(), model.Facts(euid=0, in_user_namespace=True), rootless=True)


@pytest.mark.parametrize(
    ("text", "mask"), [("0", b"\1" + b"\0" * 7), ("0-3,7", b"\x8f" + b"\0" * 7), ("64", b"\0" * 8 + b"\1" + b"\0" * 7)]
)
def test_cpu_lists(text: str, mask: bytes) -> None:
    assert cpu_mask(text, "x") == mask


def test_options_without_effect_are_taken() -> None:
    assert parse_options(["defaults", "loud", "async"]).data == []


def test_the_words_of_every_step_say_something() -> None:
    made = plan(config(process__terminal=True, hooks={"createContainer": [{"path": "/h"}]}))
    text = explain.render(made, wire.encode(made.steps), "/a/b")
    assert "mount proc on /proc" in text
    assert 'execute ["sh"]' in text
    document = json.loads(explain.to_json(made, wire.encode(made.steps), "/a/b"))
    assert [step["step"] for step in document["init"]] == [type(s).__name__ for s in made.steps]


def test_the_instructions_of_a_filter_on_demand() -> None:
    made = plan(config(linux__seccomp={"defaultAction": "SCMP_ACT_ERRNO"}))
    encoded = wire.encode(made.steps)
    short, long = explain.render(made, encoded, "/"), explain.render(made, encoded, "/", filters=True)
    assert "0: return ALLOW" in long
    assert long.count("\n") == short.count("\n") + 1


def test_the_plan_has_what_the_host_side_does() -> None:
    made = plan(
        config(
            linux__resources={
                "pids": {"limit": 7},
                "devices": [{"allow": False}, {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}],
            },
            hooks={"poststop": [{"path": "/late"}], "prestart": [{"path": "/early", "args": ["early", "-x"]}]},
        )
    )
    lines = [line.strip() for line in explain.render(made, wire.encode(made.steps), "/a/b").splitlines()]
    wanted = [
        "cgroup /a/b",
        "pids.max = 7 (linux.resources.pids.limit)",
        "devices: allow c 10:229 rw",
        "prestart hook: /early -x",
        "poststop hook: /late",
    ]
    assert [line for line in lines if line in wanted] == wanted


def test_exec_joins_all_namespaces_at_once_through_a_pidfd() -> None:
    document = config()
    made = planning.compile_exec(
        document["process"], document["linux"], FACTS, lambda rules: b"", container_id="c", rootless=False, keep_fds=0
    )
    assert made.fds == (model.PidFd(),)
    (join,) = only(made, steps.JoinNamespace)
    assert join.flags == 0x6E020000
    assert [type(s) for s in made.steps][:2] == [steps.JoinNamespace, steps.Fork]


def test_exec_without_a_mount_namespace_goes_into_the_root_of_init() -> None:
    """No namespace leads there; and the fd that does is gone before anything runs in the container's pid namespace."""
    linux = {"namespaces": [{"type": "pid"}]}
    made = planning.compile_exec(
        config()["process"], linux, FACTS, lambda rules: b"", container_id="c", rootless=False, keep_fds=0
    )
    assert made.fds == (model.PidFd(), model.RootFd())
    assert made.steps[:4] == (
        steps.Rootfs(1, False, "/"),
        steps.JoinNamespace(0, 0x20000000),
        steps.EnterRoot(steps.CHROOT),
        steps.Fork(),
    )


LABELS = {"process__apparmorProfile": "p", "process__selinuxLabel": "l", "process__oomScoreAdj": 1}
WRITERS = (steps.OomScore, steps.Label, steps.TimeOffsets, steps.Sysctl)


@pytest.mark.parametrize("namespaces", [["mount", "pid", "ipc", "uts"], ["pid", "ipc"]], ids=["mount", "chroot"])
def test_the_hosts_procfs_is_written_before_the_root_is_entered(namespaces: list[str]) -> None:
    """And the labels of the program after the last hook that is the host's: it would get them."""
    hooks = {kind: [{"path": "/h"}] for kind in ("createContainer", "startContainer")}
    spaces = {"linux__namespaces": [{"type": kind} for kind in namespaces], "linux__sysctl": {"kernel.msgmax": "1"}}
    without = {} if "mount" in namespaces else {"root__readonly": False, "mounts": [], "hostname": ""}
    document = config(**LABELS, **spaces, **without, hooks=hooks)
    if without:
        document["linux"] = {key: document["linux"][key] for key in ("namespaces", "sysctl")}
    made = plan(document, FACTS_OF_LSMS)
    kinds = [type(step) for step in made.steps]
    entered = kinds.index(steps.EnterRoot)
    written = [i for i, kind in enumerate(kinds) if kind in WRITERS]
    assert len(written) == 5
    assert max(written) < entered
    first, second = (i for i, kind in enumerate(kinds) if kind is steps.Hook)
    program = [i for i, step in enumerate(made.steps) if isinstance(step, steps.Label) and step.file != "keycreate"]
    assert len(program) == 2
    assert first < min(program) < entered < second


def test_exec_writes_to_the_hosts_procfs_before_it_joins() -> None:
    """A fork passes on what it sets."""
    document = config(**LABELS)
    made = planning.compile_exec(
        document["process"],
        document["linux"],
        FACTS_OF_LSMS,
        lambda rules: b"",
        container_id="c",
        rootless=False,
        keep_fds=0,
    )
    kinds = [type(step) for step in made.steps]
    written = [i for i, kind in enumerate(kinds) if kind in WRITERS]
    assert len(written) == 4
    assert max(written) < kinds.index(steps.JoinNamespace)


LAYERED = model.ImageRoot(("/s/2", "/s/1"), make=("/w",))


def test_an_images_root_is_a_step_and_mounts_nothing_on_the_host() -> None:
    made = plan(config(), model.Facts(kernel=(6, 6)), image=LAYERED)
    assert only(made, steps.Rootfs) == []
    [root] = only(made, steps.LayeredRoot)
    assert root == steps.LayeredRoot(NO_SLOT, True, steps.UPPER_NONE, 4, 0, 0, "/b/rootfs", "", "", ("/s/2", "/s/1"))
    [private] = only(made, steps.PrivateLayer)
    assert "/w" in private.targets
    kinds = [type(step) for step in made.steps]
    assert kinds.index(steps.LayeredRoot) < kinds.index(steps.PrivateLayer) < kinds.index(steps.NewMount)
    assert kinds.index(steps.NewMount) < kinds.index(steps.Directory) < kinds.index(steps.EnterRoot)


@pytest.mark.parametrize(("kernel", "append"), [((5, 15), False), ((6, 4), False), ((6, 5), True), ((7, 0), True)])
def test_layers_are_told_one_by_one_where_the_kernel_takes_them_so(kernel: tuple[int, int], append: bool) -> None:
    [root] = only(plan(config(), model.Facts(kernel=kernel), image=LAYERED), steps.LayeredRoot)
    assert root.append is append


@pytest.mark.parametrize(
    ("upper", "size", "directory"), [(steps.UPPER_TMPFS, "1m", ""), (steps.UPPER_DIRECTORY, "", "/up")]
)
def test_an_upper_layer_takes_the_mount_points(upper: int, size: str, directory: str) -> None:
    """A private layer over it would hide what was written."""
    made = plan(config(), image=model.ImageRoot(("/s/1",), upper=upper, size=size, directory=directory))
    assert only(made, steps.PrivateLayer) == []
    [root] = only(made, steps.LayeredRoot)
    assert (root.upper, root.size, root.directory) == (upper, size, directory)


def test_an_erofs_image_is_handed_over_as_a_mount() -> None:
    whole = model.ErofsFd("/s/x.erofs", "sha256:1")
    made = plan(config(), image=model.ImageRoot(("/s/1",), whole))
    [root] = only(made, steps.LayeredRoot)
    assert made.fds[root.slot] == whole
    assert root.layers == ()


def test_a_working_directory_that_is_a_mount_point_is_not_made_twice() -> None:
    entries = [{"destination": "/w", "type": "tmpfs", "source": "tmpfs"}]
    assert only(plan(config(mounts=entries), image=LAYERED), steps.Directory) == []


def test_a_veth_pair_is_made_when_the_namespace_is_there() -> None:
    made = plan(config(), veth=(model.Veth("10.0.0.2", "10.0.0.1"),))
    assert steps.Sync(steps.SYNC_NET_DEVICES) in made.steps
    assert made.veth == (model.Veth("10.0.0.2", "10.0.0.1"),)


def test_the_words_for_an_images_root() -> None:
    text = explain.describe(steps.LayeredRoot(NO_SLOT, True, steps.UPPER_TMPFS, 4, 0, 0, "/p", "1m", "", ("/a", "/b")))
    assert text == "image root of 2 layers, written to a tmpfs of 1m (nodev); layer /a; layer /b"
    assert "fd 3, never written" in explain.describe(steps.LayeredRoot(3, True, 0, 4, 0, 0, "/p", "", "", ()))
    assert explain.describe(steps.Directory("/w")) == "create the directory /w if it is missing"


@pytest.mark.parametrize(
    "many",
    [
        lambda n: {"mounts": [mount(destination=f"/m{i}", type="tmpfs") for i in range(n)]},
        lambda n: {"linux__maskedPaths": [f"/proc/m{i}" for i in range(n)]},
        lambda n: {"linux__devices": [{"path": f"/x{i}", "type": "c", "major": 1, "minor": 3} for i in range(n)]},
        lambda n: {
            "linux__resources__devices": [
                {"allow": bool(i % 2), "type": "c", "major": i, "minor": i, "access": "rwm"} for i in range(n)
            ]
        },
    ],
    ids=["mounts", "masked", "devices", "rules"],
)
def test_work_grows_with_a_list_and_not_with_its_square(many: Callable[[int], dict[str, Any]]) -> None:
    """In calls of functions, which a slow machine does not change."""
    few, more = (calls(plan, config(**many(n))) for n in (200, 1600))
    assert more < 8 * few * 1.5


@pytest.mark.parametrize(
    ("bind", "number", "said"),
    [
        (True, errno.ENOENT, "the host has no such node"),
        (True, errno.ENODEV, "is not the device 1:3"),
        (True, errno.EPERM, "operation not permitted"),
        (False, errno.ENODEV, "no such device"),
    ],
)
def test_a_device_that_cannot_be_made(bind: bool, number: int, said: str) -> None:
    step = steps.Device(0o20666, 1, 3, 0, 0, bind, "/dev/x")
    told = _sentence(steps.Device, step, 0, number, "/dev/x")
    assert said in told.lower()
    assert ("is not the device" in told) == (bind and number == errno.ENODEV)
