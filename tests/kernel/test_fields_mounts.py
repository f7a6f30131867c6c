"""mounts, the root and what hides in it: each option is asked for, then looked at from inside and from outside."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.bundles import BundleFactory
from tests.harness.runtime import Runtime

IDS = [{"containerID": 0, "hostID": 100_000, "size": 65_536}]


def say(script: str) -> list[str]:
    return ["sh", "-c", script]


def add(*mounts: dict[str, Any]) -> Any:
    """An edit of config.json that adds mounts."""
    return lambda config: config["mounts"].extend(mounts)


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """A directory with a tmpfs mounted in it."""
    top = tmp_path / "tree"
    (top / "below").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", top / "below"], check=True)
    (top / "file").write_text("top\n")
    (top / "below/file").write_text("below\n")
    yield top
    subprocess.run(["umount", top / "below"], check=True)


def flags_of(text: str) -> dict[str, set[str]]:
    """Mount point to its own options and propagation, of lines of mountinfo."""
    rows = [line.split() for line in text.splitlines()]
    return {row[4]: {*row[5].split(","), *row[6 : row.index("-")]} for row in rows}


@pytest.mark.parametrize("kind", ["bind", "rbind"])
def test_bind_takes_one_mount_and_rbind_the_tree(stele: Runtime, bundle: BundleFactory, tree: Path, kind: str) -> None:
    folder = bundle(
        say("cat /m/file /m/below/file"), edit=add({"destination": "/m", "source": str(tree), "options": [kind]})
    )
    done = stele("run", "-b", folder, stele.id())
    assert done.stdout == ("top\n" if kind == "bind" else "top\nbelow\n")


@pytest.mark.parametrize(
    ("option", "shown"),
    [
        ("ro", "ro"), ("nosuid", "nosuid"), ("nodev", "nodev"), ("noexec", "noexec"), ("noatime", "noatime"),
        ("nodiratime", "nodiratime"), ("nosymfollow", "nosymfollow"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("recursive", [False, True])
def test_attributes_of_the_top_and_of_the_tree(
    stele: Runtime, bundle: BundleFactory, tree: Path, option: str, shown: str, recursive: bool
) -> None:
    """`ro` is of the top mount only, `rro` of every mount below it too (config.md "Linux mount options")."""
    mount = {"destination": "/m", "source": str(tree), "options": ["rbind", f"r{option}" if recursive else option]}
    done = stele("run", "-b", bundle(say("cat /proc/self/mountinfo"), edit=add(mount)), stele.id())
    found = flags_of(done.stdout)
    assert shown in found["/m"]
    assert (shown in found["/m/below"]) == recursive


def test_attributes_are_taken_away_again(stele: Runtime, bundle: BundleFactory, tree: Path) -> None:
    """A later option wins, and clearing ones clear what the source has."""
    subprocess.run(["mount", "-o", "remount,bind,nosuid,nodev,noexec", tree / "below"], check=True)
    source = str(tree / "below")
    kept = {"destination": "/kept", "source": source, "options": ["bind"]}
    cleared = {"destination": "/cleared", "source": source, "options": ["bind", "ro", "suid", "dev", "exec", "rw"]}
    done = stele("run", "-b", bundle(say("cat /proc/self/mountinfo"), edit=add(kept, cleared)), stele.id())
    found = flags_of(done.stdout)
    assert {"nosuid", "nodev", "noexec"} <= found["/kept"]
    assert not {"nosuid", "nodev", "noexec", "ro"} & found["/cleared"]


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (["strictatime"], set()),
        (["relatime"], {"relatime"}),
        (["noatime"], {"noatime"}),
        (["noatime", "relatime"], {"relatime"}),
    ],
)
def test_access_times(stele: Runtime, bundle: BundleFactory, options: list[str], shown: set[str]) -> None:
    mount = {"destination": "/m", "type": "tmpfs", "source": "tmpfs", "options": options}
    done = stele("run", "-b", bundle(say("cat /proc/self/mountinfo"), edit=add(mount)), stele.id())
    assert flags_of(done.stdout)["/m"] & {"relatime", "noatime"} == shown


@pytest.mark.parametrize(
    ("option", "shown"),
    [
        ("private", ""), ("rprivate", ""), ("slave", "master:"), ("rslave", "master:"), ("shared", "shared:"),
        ("rshared", "shared:"), ("unbindable", "unbindable"), ("runbindable", "unbindable"),
    ],
)  # fmt: skip
def test_propagation_of_a_mount(stele: Runtime, bundle: BundleFactory, tree: Path, option: str, shown: str) -> None:
    subprocess.run(["mount", "--make-shared", tree / "below"], check=True)
    mount = {"destination": "/m", "source": str(tree / "below"), "options": ["rbind", option]}
    done = stele("run", "-b", bundle(say("cat /proc/self/mountinfo"), edit=add(mount)), stele.id())
    tags = flags_of(done.stdout)["/m"] - {"rw", "relatime"}
    assert all(tag.startswith(shown) for tag in tags) and bool(tags) == bool(shown), done.stdout + done.stderr


def test_a_shared_mount_propagates_both_ways(stele: Runtime, bundle: BundleFactory, tree: Path) -> None:
    """A mount made in a container's rshared volume appears on the host (Kubernetes' Bidirectional), and the reverse."""
    subprocess.run(["mount", "--make-shared", tree / "below"], check=True)
    (tree / "below/a").mkdir()
    (tree / "below/b").mkdir()
    mount = {"destination": "/m", "source": str(tree / "below"), "options": ["rbind", "rshared"]}
    everything = {"capabilities": {key: ["CAP_SYS_ADMIN"] for key in ("bounding", "effective", "permitted")}}
    name = stele.detached(bundle(["sleep", "1000"], {"process": everything}, edit=add(mount)))
    stele.ok("exec", name, "mount", "-t", "tmpfs", "tmpfs", "/m/a")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tree / "below/b"], check=True)
    inside = stele.ok("exec", name, "cat", "/proc/self/mountinfo")
    outside = Path("/proc/self/mountinfo").read_text()
    subprocess.run(["umount", tree / "below/a", tree / "below/b"], check=True)
    assert "/m/b" in flags_of(inside)
    assert str(tree / "below/a") in flags_of(outside)
    stele.ok("delete", "-f", name)


@pytest.mark.parametrize(
    ("value", "shown"),
    [("private", ""), ("slave", "master:"), ("shared", "shared:"), ("unbindable", "unbindable"), ("rslave", "master:"), (None, "master:")],
)  # fmt: skip
def test_propagation_of_the_root(stele: Runtime, bundle: BundleFactory, tmp_path: Path, value: str, shown: str) -> None:
    """linux.rootfsPropagation, as the container's own / has it."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tmp_path], check=True)
    subprocess.run(["mount", "--make-shared", tmp_path], check=True)
    try:
        stele.root.mkdir()
        linux = {"rootfsPropagation": value} if value else {}
        done = stele("run", "-b", bundle(say("cat /proc/self/mountinfo"), {"linux": linux}), stele.id())
        tags = flags_of(done.stdout)["/"] - {"rw", "relatime"}
        assert any(tag.startswith(shown) for tag in tags) == bool(shown), done.stdout + done.stderr
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


def test_a_file_and_a_relative_destination(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("one\n")
    mounts = add(
        {"destination": "/etc/motd", "source": str(tmp_path / "f"), "options": ["bind", "ro"]},
        {"destination": "srv/here", "source": "relative", "options": ["bind"]},
    )
    folder = bundle(say("cat /etc/motd /srv/here; echo x > /etc/motd"), edit=mounts)
    (folder / "relative").write_text("of the bundle\n")
    done = stele("run", "-b", folder, stele.id())
    assert done.stdout == "one\nof the bundle\n"
    assert "Read-only file system" in done.stderr


def test_tmpfs_has_its_data(stele: Runtime, bundle: BundleFactory) -> None:
    mount = {
        "destination": "/m", "type": "tmpfs", "source": "name",
        "options": ["size=64k", "mode=1750", "uid=3", "gid=4", "nosuid"],
    }  # fmt: skip
    folder = bundle(say("stat -c '%a %u %g' /m; df -k /m | tail -1"), edit=add(mount))
    first, second = stele.ok("run", "-b", folder, stele.id()).splitlines()
    assert first == "1750 3 4"
    assert second.split()[:2] == ["name", "64"]


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        pytest.param([], "2750 0", id="that-of-the-directory"),
        pytest.param(["noatime", "nodev", "uid=5"], "2750 5", id="attributes-and-an-owner-beside"),
        pytest.param(["mode=1777"], "1777 0", id="the-one-that-is-asked-for"),
        pytest.param(["tmpcopyup", "strictatime"], "2750 1000", id="a-copy-has-the-owner-too"),
    ],
)
def test_a_tmpfs_has_the_mode_of_the_directory_below(
    stele: Runtime, bundle: BundleFactory, options: list[str], shown: str
) -> None:
    """As callers know it of runc: what only some may enter is not open to all because it is in memory now."""
    mount = {"destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": options}
    new = {**mount, "destination": "/new"}
    folder = bundle(say("stat -c '%a %u' /data; stat -c %a /new; grep ' /data ' /proc/mounts"), edit=add(mount, new))
    (folder / "rootfs/data").mkdir()
    os.chown(folder / "rootfs/data", 1000, 0)
    (folder / "rootfs/data").chmod(0o2750)
    below, made, line = stele.ok("run", "-b", folder, stele.id()).splitlines()
    assert (below, made) == (shown, "1777")
    assert ("noatime" in line, "relatime" in line) == (
        "noatime" in options,
        not {"noatime", "strictatime"} & {*options},
    )


def test_tmpcopyup_keeps_owners_modes_and_links(stele: Runtime, bundle: BundleFactory) -> None:
    mount = {"destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup", "mode=755"]}
    folder = bundle(say("stat -c '%n %a %u %F' /data/d /data/d/f; readlink /data/l; echo > /data/new"), edit=add(mount))
    (folder / "rootfs/data/d").mkdir(parents=True)
    (folder / "rootfs/data/d/f").write_text("x")
    (folder / "rootfs/data/d/f").chmod(0o640)
    os.chown(folder / "rootfs/data/d/f", 5, 5)
    (folder / "rootfs/data/l").symlink_to("/some/where")
    out = stele.ok("run", "-b", folder, stele.id()).splitlines()
    assert out == ["/data/d 755 0 directory", "/data/d/f 640 5 regular file", "/some/where"]
    assert sorted(os.listdir(folder / "rootfs/data")) == ["d", "l"]


def test_an_overlay(stele: Runtime, bundle: BundleFactory, tmp_path: Path) -> None:
    for name in ("lower", "upper", "work"):
        (tmp_path / name).mkdir()
    (tmp_path / "lower/f").write_text("lower\n")
    options = [f"{name}dir={tmp_path / name}" for name in ("lower", "upper", "work")]
    mount = {"destination": "/m", "type": "overlay", "source": "overlay", "options": options}
    done = stele("run", "-b", bundle(say("cat /m/f; echo new > /m/f"), edit=add(mount)), stele.id())
    assert (done.stdout, done.stderr) == ("lower\n", "")
    assert (tmp_path / "lower/f").read_text() == "lower\n"
    assert (tmp_path / "upper/f").read_text() == "new\n"


@pytest.mark.parametrize("writable", [False, True])
def test_the_cgroup_file_system(stele: Runtime, bundle: BundleFactory, writable: bool) -> None:
    """With a cgroup namespace the container sees its own cgroup as /; it owns it where it may write (config-linux.md)."""
    options = ["nosuid", "noexec", "nodev", *([] if writable else ["ro"])]
    mount = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": options}
    user = {"uid": 1000, "gid": 1000}
    script = "ls /sys/fs/cgroup/cgroup.procs; mkdir /sys/fs/cgroup/own && echo made; stat -c %u /sys/fs/cgroup"
    folder = bundle(say(script), {"process": {"user": user}}, edit=add(mount))
    done = stele("run", "-b", folder, stele.id())
    assert done.stdout.split() == ["/sys/fs/cgroup/cgroup.procs", *(["made", "1000"] if writable else ["0"])]
    if not writable:
        assert "Read-only file system" in done.stderr


def test_id_mapped_trees(stele: Runtime, bundle: BundleFactory, tree: Path) -> None:
    """idmap is of the top mount, ridmap of all below it; each with mappings of its own."""
    maps = [{"containerID": 0, "hostID": 1000, "size": 100}]
    mounts = [
        {"destination": f"/{o}", "source": str(tree), "options": ["rbind", o], "uidMappings": maps, "gidMappings": maps}
        for o in ("idmap", "ridmap")
    ]
    script = "for m in idmap ridmap; do stat -c %u /$m/file /$m/below/file; done"
    done = stele("run", "-b", bundle(say(script), edit=add(*mounts)), stele.id())
    assert done.stdout.split() == ["1000", "0", "1000", "1000"], done.stderr


def test_an_id_mapped_mount_in_a_user_namespace(stele: Runtime, bundle: BundleFactory, tree: Path) -> None:
    """idmap without mappings takes the container's: what root owns outside, root owns inside."""

    def edit(config: dict[str, Any]) -> None:
        config["linux"]["namespaces"].append({"type": "user"})
        config["linux"] |= {"uidMappings": IDS, "gidMappings": IDS}
        add({"destination": "/m", "source": str(tree), "options": ["bind", "idmap"]},
            {"destination": "/plain", "source": str(tree), "options": ["bind"]})(config)  # fmt: skip

    folder = bundle(say("stat -c %u:%g /m/file /plain/file; echo new > /m/made"), edit=edit)
    for path in [folder / "rootfs", *(folder / "rootfs").rglob("*")]:
        os.chown(path, 100_000, 100_000, follow_symlinks=False)
    done = stele("run", "-b", folder, stele.id())
    assert done.stdout.split() == ["0:0", "65534:65534"], done.stderr
    assert (tree / "made").stat().st_uid == 0


def test_an_id_mapped_mount_in_a_user_namespace_that_is_joined(
    stele: Runtime, bundle: BundleFactory, tree: Path
) -> None:
    """idmap takes the maps of that namespace, which config.json need not repeat."""

    def own(config: dict[str, Any]) -> None:
        config["linux"]["namespaces"].append({"type": "user"})
        config["linux"] |= {"uidMappings": IDS, "gidMappings": IDS}

    first = stele.detached(bundle(["sleep", "1000"], edit=own))
    path = f"/proc/{stele.state(first)['pid']}/ns/user"

    def joined(config: dict[str, Any]) -> None:
        config["linux"]["namespaces"].append({"type": "user", "path": path})
        add({"destination": "/m", "source": str(tree), "options": ["bind", "idmap"]})(config)

    folder = bundle(say("stat -c %u:%g /m/file; echo new > /m/made"), edit=joined)
    (folder / "rootfs/m").mkdir()
    out = stele.ok("run", "-b", folder, stele.id())
    assert out.split() == ["0:0"]
    assert (tree / "made").stat().st_uid == 0
    stele.ok("delete", "-f", first)


def test_a_source_that_is_a_link(stele: Runtime, bundle: BundleFactory, tree: Path) -> None:
    """It is followed on the host, where it counts; with src-nofollow (crun's word) the link itself is bound."""
    (tree / "link").symlink_to("file")
    follow = {"destination": "/a", "source": str(tree / "link"), "options": ["bind"]}
    done = stele("run", "-b", bundle(say("cat /a"), edit=add(follow)), stele.id())
    assert done.stdout == "top\n"
    keep = {"destination": "/b", "source": str(tree / "link"), "options": ["bind", "src-nofollow"]}
    done = stele("run", "-b", bundle(say("readlink /b"), edit=add(keep)), stele.id())
    assert done.stdout == "file\n", done.stderr


@pytest.mark.parametrize("users", [False, True], ids=["", "user namespace"])
def test_links_as_crun_and_podman_have_them(stele: Runtime, bundle: BundleFactory, tree: Path, users: bool) -> None:
    """copy-symlink makes the same link (Podman's no-dereference); dest-nofollow mounts on the link that is there."""
    (tree / "link").symlink_to("file")

    def mount(path: str, source: str, *options: str) -> dict[str, Any]:
        return {"destination": path, "source": str(tree / source), "options": ["bind", *options]}

    def edit(config: dict[str, Any]) -> None:
        add(
            mount("/copied", "link", "copy-symlink"),
            mount("/plain", "file", "copy-symlink", "ro"),
            mount("/over", "link", "src-nofollow", "dest-nofollow"),
        )(config)
        if users:
            config["linux"]["namespaces"].append({"type": "user"})
            config["linux"] |= {"uidMappings": IDS, "gidMappings": IDS}

    folder = bundle(say("readlink /copied; cat /plain; readlink /over; cat /kept; mount | grep /copied"), edit=edit)
    (folder / "rootfs/over").symlink_to("kept")
    (folder / "rootfs/kept").write_text("kept\n")
    for path in [folder / "rootfs", *(folder / "rootfs").rglob("*")] if users else ():
        os.chown(path, 100_000, 100_000, follow_symlinks=False)
    done = stele("run", "-b", folder, stele.id())
    assert done.stdout.split() == ["file", "top", "file", "kept"], done.stderr
    assert stele("run", "-b", folder, stele.id()).stdout.split() == ["file", "top", "file", "kept"], "there already"
    (folder / "rootfs/copied").unlink()
    (folder / "rootfs/copied").write_text("of the image")
    done = stele("run", "-b", folder, stele.id())
    assert (done.returncode, "mounts[" in done.stderr and "file exists" in done.stderr) == (1, True), done.stderr


FLAGS = {
    "ro": "rw",
    "nosuid": "suid",
    "nodev": "dev",
    "noexec": "exec",
    "nosymfollow": "symfollow",
    "nodiratime": "diratime",
}
"""A mount's flags, each with the option that clears it."""
TIMES = {"noatime": "noatime", "relatime": "relatime", "strictatime": "", "atime": "relatime"}
"""Options for the access time, with what mountinfo shows of them."""


@pytest.mark.parametrize("source", ["", *FLAGS, "noatime", "strictatime"])
def test_a_bind_has_the_flags_of_its_source_but_for_those_that_an_option_names(
    stele: Runtime, bundle: BundleFactory, tmp_path: Path, source: str
) -> None:
    """The table of docs/config-fields.md, whole: each flag of a source with each option."""
    place = tmp_path / "source"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", source or "rw", "tmpfs", place], check=True)
    lists = [
        [],
        *([option] for option in (*FLAGS, *FLAGS.values(), *TIMES)),
        ["ro", "nosuid", "nodev"],
        ["exec", "noexec"],
    ]
    expected = {}
    for i, options in enumerate(lists):
        flags = {source} & {*FLAGS}
        time = TIMES.get(source, "relatime")
        for option in options:
            flags -= {flag for flag, clears in FLAGS.items() if clears == option}
            flags |= {option} & {*FLAGS}
            time = TIMES.get(option, time)
        expected[f"/m{i}"] = flags | {time} - {""} | ({"rw"} - ({"rw"} if "ro" in flags else set()))
    mounts = [
        {"destination": f"/m{i}", "source": str(place), "options": ["rbind", "rprivate", *options]}
        for i, options in enumerate(lists)
    ]
    try:
        done = stele("run", "-b", bundle(say("cat /proc/self/mountinfo"), edit=add(*mounts)), stele.id())
    finally:
        subprocess.run(["umount", place], check=True)
    assert done.returncode == 0, done.stderr
    found = {path: flags for path, flags in flags_of(done.stdout).items() if path.startswith("/m")}
    assert found == expected


def test_a_masked_path_that_is_there_twice_is_one_mount(stele: Runtime, bundle: BundleFactory) -> None:
    linux = {"maskedPaths": ["/proc/acpi", "/tmp", "/tmp/", "/etc/passwd", "//etc/passwd"]}
    done = stele("run", "-b", bundle(say("cat /proc/self/mountinfo"), {"linux": linux}), stele.id())
    places = [line.split()[4] for line in done.stdout.splitlines()]
    assert (places.count("/tmp"), places.count("/etc/passwd")) == (1, 1), done.stdout + done.stderr


def test_thousands_of_hidden_paths(stele: Runtime, bundle: BundleFactory) -> None:
    """They are one mount each, and no more work than that: far below the time that callers wait."""
    names = [f"/many/{i}" for i in range(3000)]
    folder = bundle(
        say("cat /proc/self/mountinfo | grep -c ' /many/'; cat /many/2999; touch /many/d2999/x || echo no"),
        {"linux": {"maskedPaths": names, "readonlyPaths": [f"/many/d{i}" for i in range(3000)]}},
    )
    (folder / "rootfs/many").mkdir()
    for i in range(3000):
        (folder / f"rootfs/many/{i}").write_text("secret")
        (folder / f"rootfs/many/d{i}").mkdir()
    done = stele("run", "-b", folder, stele.id(), timeout=20)
    assert done.stdout.split() == ["6000", "no"], done.stderr


@pytest.mark.parametrize("kind", ["tmpfs", "bind"])
def test_each_option_that_is_offered_is_taken(stele: Runtime, bundle: BundleFactory, tree: Path, kind: str) -> None:
    """What `features` lists, as an engine that asks it would pass it on."""
    offered = json.loads(stele.ok("features"))["mountOptions"]
    own = ["bind"] if kind == "bind" else []
    ways = [option for option in offered if option not in ("bind", "rbind", "idmap", "ridmap", "dest-nofollow")]
    mounts = [
        {"destination": f"/m/{option}", "type": kind, "source": str(tree), "options": [*own, option]} for option in ways
    ]
    done = stele("run", "-b", bundle(say("cat /proc/self/mountinfo"), edit=add(*mounts)), stele.id())
    assert done.returncode == 0, done.stderr
    made = {line.split()[4].rpartition("/")[2]: line.split() for line in done.stdout.splitlines() if " /m/" in line}
    assert set(made) == set(ways)
    assert made["ro"][5].startswith("ro,")
    assert "sync" in made["sync"][-1].split(",") or kind == "bind"


def test_file_system_options_of_a_bind_are_refused(stele: Runtime, bundle: BundleFactory, tree: Path) -> None:
    mount = {"destination": "/m", "source": str(tree), "options": ["bind", "size=5"]}
    done = stele("create", "-b", bundle(["true"], edit=add(mount)), stele.id(), stdout=-3)
    assert "options: 'size=5' is an option of a file system; a bind mount takes none" in done.stderr


def test_a_mount_label_where_no_lsm_takes_it(stele: Runtime, bundle: BundleFactory) -> None:
    done = stele("create", "-b", bundle(["true"], {"linux": {"mountLabel": "a:b:c:s0"}}), stele.id(), stdout=-3)
    assert done.returncode == 1
    assert "linux.mountLabel: 'a:b:c:s0' cannot be applied: SELinux is off on this host; remove it" in done.stderr


def test_no_pivot(stele: Runtime, bundle: BundleFactory) -> None:
    """For a root in a ramdisk: the root is moved on / and the process changes into it; nothing of the host is in sight."""
    name = stele.id()
    folder = bundle(say("ls /; ls -d /../..; cat /proc/self/mountinfo | head -1"))
    inside = stele.ok("run", "--no-pivot", "-b", folder, name).splitlines()
    assert "boot" not in inside and "bin" in inside
    assert inside[-1].split()[4] == "/"


@pytest.mark.parametrize("place", ["proc", "sys", "dev"])
def test_a_hook_that_mounts_over_a_file_system_of_the_kernel(stele: Runtime, bundle: BundleFactory, place: str) -> None:
    """The masks would lie below its mount."""
    folder = bundle(["true"])
    hook = {"path": "/bin/mount", "args": ["mount", "-t", "tmpfs", "tmpfs", f"{folder}/rootfs/{place}"]}
    config = json.loads((folder / "config.json").read_text())
    config["hooks"] = {"createContainer": [hook]}
    (folder / "config.json").write_text(json.dumps(config))
    done = stele("create", "-b", folder, stele.id(), stdout=-3)
    assert done.returncode == 1
    assert f"/{place}: another mount or directory has replaced the one from mounts" in done.stderr


def test_a_hook_may_mount_below(stele: Runtime, bundle: BundleFactory) -> None:
    folder = bundle(say("echo x > /proc/fs/file && cat /proc/fs/file"))
    hook = {"path": "/bin/mount", "args": ["mount", "-t", "tmpfs", "tmpfs", f"{folder}/rootfs/proc/fs"]}
    config = json.loads((folder / "config.json").read_text())
    config["linux"]["readonlyPaths"].remove("/proc/fs")
    config["hooks"] = {"createContainer": [hook]}
    (folder / "config.json").write_text(json.dumps(config))
    assert stele.ok("run", "-b", folder, stele.id()) == "x\n"


@pytest.mark.parametrize("options", [["ro"], ["rw"], ["rw", "subset=pid"]])
def test_sysctls_whatever_the_procfs_is_mounted_with(stele: Runtime, bundle: BundleFactory, options: list[str]) -> None:
    def edit(config: dict[str, Any]) -> None:
        (proc,) = (m for m in config["mounts"] if m["destination"] == "/proc")
        proc["options"] = options
        config["linux"]["sysctl"] = {"net.ipv4.ip_default_ttl": "77", "kernel.shmmni": "99"}
        config["mounts"].append({"destination": "/plain", "type": "proc", "source": "proc"})

    script = "cat /plain/sys/net/ipv4/ip_default_ttl /plain/sys/kernel/shmmni"
    assert stele.ok("run", "-b", bundle(say(script), edit=edit), stele.id()) == "77\n99\n"


def test_whole_file_systems_masked_or_read_only(stele: Runtime, bundle: BundleFactory) -> None:
    """What comes after counts below what was put over the whole."""
    linux = {"maskedPaths": ["/sys/firmware", "/proc/keys", "/proc"], "readonlyPaths": ["/sys", "/proc", "/dev"]}
    folder = bundle(
        say("ls /proc; ls /sys/firmware; touch /dev/x /sys/x; ls /sys/kernel | head -n 1 | wc -l"), {"linux": linux}
    )
    done = stele("run", "-b", folder, stele.id())
    assert done.stdout == "1\n"
    assert done.stderr.count("Read-only file system") == 2


@pytest.mark.parametrize("readonly", [True, False])
def test_masked_paths_hide_and_stay_hidden(stele: Runtime, bundle: BundleFactory, readonly: bool) -> None:
    linux = {"maskedPaths": ["/secret", "/dir", "/missing"], "readonlyPaths": ["/fixed", "/gone"]}
    script = "cat /secret; ls -A /dir; echo x > /fixed/f; umount /secret; umount /dir; cat /secret; echo end"
    folder = bundle(say(script), {"linux": linux}, readonly=readonly)
    for name in ("dir", "fixed"):
        (folder / "rootfs" / name).mkdir()
        (folder / "rootfs" / name / "f").write_text("seen\n")
    (folder / "rootfs/secret").write_text("seen\n")
    done = stele("run", "-b", folder, stele.id())
    assert done.stdout == "end\n"
    assert "/fixed/f: Read-only file system" in done.stderr
    assert done.stderr.count("umount: can't unmount") == 2
