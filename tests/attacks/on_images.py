"""Images, volumes and upper layers that somebody prepared, in `run --image`: other runtimes have none of it."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from runtime.images.archive.save import export_image
from runtime.images.progress import Progress
from runtime.images.references import ArchiveReference
from runtime.images.store.store import ImageStore
from tests.attacks.arena import BROKEN, HELD, NONE, REFUSED, UNKNOWN, Arena, Outcome, Ran, attack
from tests.attacks.doubles import Patch
from tests.attacks.measure import MUCH, measured
from tests.attacks.on_mounts import ESCAPE
from tests.harness import images, layers
from tests.harness.bundles import BUSYBOX

SHELL: dict[str, str | bytes | tuple[str, int, int, int] | None] = {
    "bin/busybox": BUSYBOX.read_bytes(),
    **dict.fromkeys(("bin/sh", "bin/cat", "bin/ls", "bin/touch", "bin/true", "bin/id"), "-> busybox"),
}


class ImageRuns:
    """A store with an image called `image`, and runs of it. above: layers on top of one with a shell, lowest first."""

    def __init__(self, arena: Arena, *above: bytes, store: Path | None = None, **run: Any) -> None:
        self.arena, self.store = arena, store or arena.folder / "store"
        images.add_image(self.store, "image", [images.layer(SHELL), *above], {"Cmd": ["/bin/true"], **run})

    def words(self, *flags: str | Path, sh: str = "echo payload ran") -> list[str | Path]:
        """The words of a run."""
        name = self.arena.runtime.id()
        return ["--store", self.store, "run", "--image", "image", *flags, name, "/bin/sh", "-c", sh]

    def run(self, *flags: str | Path, sh: str = "echo payload ran", **more: Any) -> Ran:
        """Run it to the end."""
        done = self.arena.runtime(*self.words(*flags, sh=sh), timeout=90, **more)
        return Ran(done.returncode, done.stdout, done.stderr)


def with_images(run: Callable[[Arena], Outcome]) -> Callable[[Arena], Outcome]:
    """An attack on what only stele has: for others the outcome is that."""

    @functools.wraps(run)
    def judged(arena: Arena) -> Outcome:
        return run(arena) if has_images(arena) else Outcome(NONE, "it knows no images")

    return judged


def has_images(arena: Arena) -> bool:
    return arena.runtime("unpack", "--help").returncode == 0


@attack(
    "B11", "CVE-2025-24965", "files that the runtime gives an image (hosts, ...) are written by a link of it", ESCAPE
)
@with_images
def given_files(arena: Arena) -> Outcome:
    """Their mount points are made where the root is an overlay, of which kind ever."""
    shown = Outcome(UNKNOWN)
    own = arena.folder / "own"
    own.mkdir()
    links: tuple[Mapping[str, str], ...] = (
        {"etc": f"-> {arena.canary}"},
        {f"etc/{name}": f"-> {arena.canary}/{name}" for name in ("hosts", "hostname", "resolv.conf")},
    )
    for number, layer in enumerate(links):
        image = ImageRuns(arena, images.layer(layer), store=arena.folder / f"store{number}")
        for upper in ("none", "tmpfs", str(own)):
            ran = image.run("--upper", upper, "--dns", "9.9.9.9", "--hostname", "given")
            shown = ran.outcome(arena.canary_changed(), "payload ran")
            if shown.verdict not in (HELD, REFUSED):
                return shown
    return shown


@attack(
    "B11h",
    "CVE-2026-84042",
    "a helper is looked for by its name, and found where somebody else put one",
    Patch("runtime/images/store/mkfs.py", 'next(filter(os.path.exists, MKFS), "")', '__import__("shutil").which("mkfs.erofs")'),
)  # fmt: skip
@with_images
def helper_by_name(arena: Arena) -> Outcome:
    folder = arena.folder / "tools"
    folder.mkdir()
    for name in ("mkfs.erofs", "newuidmap", "newgidmap", "sh"):
        (folder / name).write_text(f"#!/bin/busybox sh\n/bin/busybox touch {arena.canary}/ran-{name}\nexit 1\n")
        (folder / name).chmod(0o755)
    env = {**os.environ, "PATH": f"{folder}:.:{os.environ['PATH']}"}
    ran = ImageRuns(arena).run("--rootfs", "erofs", cwd=folder, env=env)
    return ran.outcome(arena.canary_changed(), "payload ran")


@attack(
    "B11u",
    "-",
    "the directory of --upper holds links: what the container writes lands on the host",
    Patch("cshim/init/overlay.c", "O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC", "O_DIRECTORY | O_CLOEXEC"),
    Patch(
        "runtime/images/run/prepare.py",
        "os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place)",
        "os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place)",
    ),
)
@with_images
def links_in_upper(arena: Arena) -> Outcome:
    upper = arena.folder / "upper"
    upper.mkdir()
    for name in ("upper", "work"):
        (arena.canary / name).mkdir()
        (upper / name).symlink_to(arena.canary / name)
    ran = ImageRuns(arena).run("--upper", upper, sh="touch /written; echo payload ran")
    hit = (arena.canary / "upper/written").exists()
    return ran.outcome("it wrote to a folder of the host" if hit else "", "payload ran")


@attack(
    "B14",
    "CVE-2024-1753",
    "what an image's volume begins with is taken from where a link of the image leads",
    Patch(
        "cshim/init/mounts.c",
        "int from = open_in_root(in, target, O_RDONLY | O_DIRECTORY, 0);",
        "int from = (int)SYS(__NR_openat, in->root, target + 1, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);",
    ),
)
@with_images
def volume_from_a_link(arena: Arena) -> Outcome:
    """The image has a directory of its own where the link leads, so that there is something to copy."""
    place = str(arena.canary).lstrip("/")
    made = images.layer({"data": f"-> {arena.canary}", f"{place}/own": "the image's own\n"})
    ran = ImageRuns(arena, made, Volumes={"/data": {}}).run(sh="cat /data/*; echo payload ran")
    return ran.outcome("it has the host's files" if "the host's secret" in ran.out else "", "the image's own\npayload")


@attack(
    "B15",
    "CVE-2026-119101",
    "the names of a store and of an upper directory hold what separates options of a mount",
    Patch("runtime/plan/compile.py", "append=facts.kernel >= LOWERDIR_APPEND,", "append=False,"),
    Patch(
        "cshim/init/overlay.c",
        'append_fd(append(at, end, i ? ":" : ""), end, fds[i])',
        'append(append(at, end, i ? ":" : ""), end, step_string(layers, 3 + i, NULL))',
    ),
)
@with_images
def names_as_options(arena: Arena) -> Outcome:
    """Read as two names, the store's is that of an empty folder and of another, with another layer in its place."""
    other = arena.folder / "other"
    store = Path(f"{arena.folder}/empty:{other}")
    (arena.folder / "empty").mkdir()
    image = ImageRuns(arena, store=store)
    tree = other / f"layers/sha256/{hashlib.sha256(images.layer(SHELL)).hexdigest()}/tree"
    (tree / "bin").mkdir(parents=True)
    (tree / "forged").touch()
    shutil.copy(BUSYBOX, tree / "bin/busybox")
    for name in ("sh", "ls", "touch"):
        (tree / "bin" / name).symlink_to("busybox")
    ran = image.run("--upper", "tmpfs", sh="ls /; echo payload ran")
    if "forged" in ran.out or ran.code:
        return ran.outcome("another layer is in the root" if "forged" in ran.out else "", "")
    upper = arena.folder / "up,lowerdir=x:\\:y"
    upper.mkdir()
    ran = image.run("--upper", upper, sh="touch /written; echo payload ran")
    lost = ran.code == 0 and not (upper / "upper/written").exists()
    return ran.outcome("what was written is elsewhere" if lost else "", "payload ran")


def _sparse(path: str, size: int) -> bytes:
    """A file that is all hole except its first block (GNU's format 0.1)."""
    told = {"GNU.sparse.size": str(size), "GNU.sparse.numblocks": "1", "GNU.sparse.map": "0,512"}
    return layers.pax(told) + layers.entry(path, data=b"\0" * 512)


@attack(
    "C6",
    "CVE-2026-47262",
    "the image's passwd and group are huge, devices, fifos, or links out of it",
    Patch("cshim/init/process.c", "st.stx_size <= PASSWD_MAX", "1"),
    *(
        Patch("runtime/images/store/overlay_view.py", *planted)
        for planted in (
            ("file.read(limit + 1)\n        if len(content) > limit:", "file.read()\n        if False:"),
            ("os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC", "os.O_RDONLY"),
            ("if not stat.S_ISREG(found.stat.st_mode):\n            raise", "if False:\n            raise"),
            ("if stat.S_ISLNK(found.stat.st_mode):\n                links", "if False:\n                links"),
            ("if found is None or stat.S_ISLNK(found.stat.st_mode):", "if found is None:"),
        )
    ),
)
def hostile_passwd(arena: Arena) -> Outcome:
    """In a bundle, where it may say where HOME is, and for `run --image --user NAME`."""
    bundle = arena.bundle(["echo", "payload ran"])
    os.truncate(bundle / "rootfs/etc/passwd", 256 << 20)
    ran, peak = measured(arena, "run", "--bundle", bundle, arena.runtime.id(), bounded=False)
    if ran.code < 0 or peak > MUCH:
        return Outcome(BROKEN, f"it took {peak >> 20} MiB for a passwd of 256 MiB")
    if "payload ran" not in ran.out or not has_images(arena):
        return ran.outcome("", "payload ran")
    (arena.canary / "passwd").write_text("name:x:0:0::/:/bin/sh\n")
    for path in ("etc/passwd", "etc/group"):
        user = "name" if path == "etc/passwd" else "0:name"
        for kind, made in (
            ("huge", _sparse(path, 256 << 20)),
            ("a fifo", layers.entry(path, b"6")),
            ("a device", layers.entry(path, b"3", major=1, minor=5)),
            ("a link to a device", layers.symlink(path, "/dev/zero")),
            ("a link to the host's", layers.symlink(path, f"{arena.canary}/passwd")),
        ):
            image = ImageRuns(arena, layers.layer(made), store=arena.folder / f"store of {kind} {path[4:]}")
            ran, peak = measured(arena, *image.words("--user", user))
            if ran.code <= 0 or peak > MUCH or "bug of stele" in ran.err:
                return Outcome(BROKEN, f"{path} is {kind}: exit code {ran.code}, {peak >> 20} MiB: {ran.err.strip()}")
    return Outcome(HELD, "each refused")


@attack(
    "C16i",
    "CVE-2023-25153",
    "an image that is imported has an index or a manifest of any size",
    Patch("runtime/images/archive/sources.py", "if source.size(name) > limit:", "if False:"),
)
@with_images
def huge_documents(arena: Arena) -> Outcome:
    blob = "blobs/sha256/" + "0" * 64
    manifest = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": f"sha256:{'0' * 64}",
        "size": 1 << 28,
    }
    index = json.dumps({"schemaVersion": 2, "manifests": [manifest]})
    for huge in ("index.json", blob):
        folder = arena.folder / f"layout {huge[:5]}"
        (folder / blob).parent.mkdir(parents=True)
        (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        (folder / "index.json").write_text(index)
        (folder / huge).touch()
        os.truncate(folder / huge, 1 << 28)
        ran, peak = measured(arena, "--store", arena.folder / "store", "image", "import", f"oci:{folder}")
        if ran.code <= 0 or peak > MUCH:
            return Outcome(BROKEN, f"{huge[:12]}: exit code {ran.code}, {peak >> 20} MiB")
    return Outcome(REFUSED, ran.err.strip())


@attack(
    "D14",
    "CVE-2023-0386",
    "a file system that the kernel is to mount is not the one that was made of the image",
    Patch("runtime/images/store/erofs.py", "    if found.verity:\n        return", "    if True:\n        return"),
    Patch("runtime/host/erofs.py", "if source.verity and verity", "if False and verity"),
)
@with_images
def another_file_system(arena: Arena) -> Outcome:
    """A file system of another image, in place of the sealed one: with the same size, and times of the same."""
    sealed = {}
    for word in ("forged", "honest"):
        image = ImageRuns(arena, images.layer({"word": word}))
        before = set(arena.folder.glob("store/erofs/*.erofs"))
        ran = image.run("--rootfs", "erofs", sh="cat /word")
        if word not in ran.out:
            return Outcome(UNKNOWN, ran.err)
        (sealed[word],) = set(arena.folder.glob("store/erofs/*.erofs")) - before
    told = sealed["honest"].stat()
    shutil.copy(sealed["forged"], arena.folder / "forged")
    (arena.folder / "forged").rename(sealed["honest"])
    os.truncate(sealed["honest"], told.st_size)
    os.utime(sealed["honest"], ns=(told.st_atime_ns, told.st_mtime_ns))
    ran = image.run("--rootfs", "erofs", sh="cat /word")
    return ran.outcome("the root is that of another image" if "forged" in ran.out else "", "honest")


@attack(
    "G6",
    "-",
    "an image of junk names another image's diff_id in its config, and runs that image's tree",
    Patch(
        "runtime/images/run/prepare.py",
        "if found is None or not all(map(os.path.isdir, store.proven(image.manifest, image.config))):",
        "if found is None:",
    ),
)
@with_images
def tree_of_another_image(arena: Arena) -> Outcome:
    image = ImageRuns(arena)
    ran = image.run()
    if "payload ran" not in ran.out:
        return Outcome(UNKNOWN, ran.err)
    images.add_image(image.store, "image", [b"junk"], {"Cmd": ["/bin/true"]}, diff_ids_of=[images.layer(SHELL)])
    ran = image.run()
    return ran.outcome("it ran another image's files" if "payload ran" in ran.out else "", "")


@attack(
    "G5i",
    "-",
    "volumes nested without end keep init busy",
    Patch("runtime/images/config_fields.py", "DEPTH_MAX = 64", "DEPTH_MAX = 5000"),
)
@with_images
def nested_volumes(arena: Arena) -> Outcome:
    """As deep as they may be they are mounted; the double takes as many as there may be."""
    for depth in (64, 400):
        volumes: dict[str, dict[str, str]] = {"/v" * n: {} for n in range(1, depth + 1)}
        before = time.monotonic()
        ran = ImageRuns(arena, store=arena.folder / f"store{depth}", Volumes=volumes).run()
        took = time.monotonic() - before
        if took > 20 or ("payload ran" in ran.out and depth > 64):
            return Outcome(BROKEN, f"{depth} nested volumes: {took:.1f} s")
        if depth == 64 and "payload ran" not in ran.out:
            return Outcome(UNKNOWN, ran.err)
    return ran.outcome("")


@attack(
    "G8",
    "CVE-2026-53488",
    "an image's labels and volumes beat the command line's",
    Patch(
        "runtime/images/run/runtime_config.py", "        found[STOP_SIGNAL] = wanted.stop_signal\n", "        pass\n"
    ),
)
@with_images
def image_over_operator(arena: Arena) -> Outcome:
    """By --stop-signal the container ends; by the image's label it would not. And the caller's volume is the caller's."""
    labels = {"org.opencontainers.image.stopSignal": "SIGCONT"}
    linked = images.layer({"link": "-> /data", "data": None})
    image = ImageRuns(arena, linked, Labels=labels, Volumes={"/link": {}})
    ran = image.run("--volume", f"{arena.canary}:/data:ro", sh="cat /data/secret; echo payload ran")
    if "payload ran" not in ran.out or "the host's secret" not in ran.out:
        return ran.outcome("the image's volume is over the caller's" if "payload ran" in ran.out else "")
    words = image.words("--stop-signal", "USR1", sh="trap 'exit 7' USR1; echo ready; while :; do sleep 1; done")
    name = str(words[words.index("/bin/sh") - 1])
    with subprocess.Popen(
        arena.runtime.command(*words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout
        started = process.stdout.readline() == b"ready\n"
        try:
            arena.runtime("kill", name)
            code = process.wait(10)
        except subprocess.TimeoutExpired:
            return Outcome(BROKEN, "the image's label chose the signal")
        finally:
            arena.runtime("delete", "--force", name)
    return Outcome(HELD if started and code == 7 else UNKNOWN, f"exit code {code}")


@attack(
    "G7",
    "-",
    "a folder calls its image as one of a registry is called, and replaces what that name means",
    Patch("runtime/images/archive/load.py", "for image in found if named else ():", "for image in found:"),
)
@with_images
def names_of_a_folder(arena: Arena) -> Outcome:
    name = "docker.io/library/debian:12"
    image = ImageRuns(arena, images.layer({"which": "honest\n"}))
    store = ImageStore(str(image.store))
    store.tag(name, store.resolve("image"))
    images.add_image(image.store, "forged", [images.layer({**SHELL, "which": "forged\n"})], {})
    folder = arena.folder / "layout"
    export_image(store, store.resolve("forged"), name, ArchiveReference("oci", str(folder)), Progress(None))
    store.close()
    own = arena.runtime.id()
    first = arena.runtime("--store", image.store, "run", "--image", f"oci:{folder}", own, "/bin/cat", "/which")
    words = ("--store", image.store, "run", "--pull", "never", "--image", "debian:12", own, "/bin/cat", "/which")
    done = arena.runtime(*words)
    ran = Ran(done.returncode, done.stdout, done.stderr)
    if first.stdout != "forged\n":
        return Outcome(UNKNOWN, first.stderr)
    return ran.outcome("debian:12 is the folder's image" if "forged" in ran.out else "", "honest")


@attack(
    "G3",
    "-",
    "somebody's full name in passwd holds what only some languages take for a line's end",
    Patch(
        "runtime/images/run/user.py",
        'content.decode("utf-8", "surrogateescape").split("\\n"):',
        'content.decode("utf-8", "surrogateescape").splitlines():',
    ),
)
@with_images
def lines_in_passwd(arena: Arena) -> Outcome:
    made = images.layer({"etc/passwd": "root:x:0:0::/:/bin/sh\nme:x:7:7:Me\u2028app:x:0:0::/:/bin/sh\n"})
    image = ImageRuns(arena, made)
    ran = image.run("--user", "me", sh="id -u; echo payload ran")
    if "7\npayload ran" not in ran.out:
        return Outcome(UNKNOWN, ran.err)
    ran = image.run("--user", "app", sh="id -u; echo payload ran")
    return ran.outcome("a full name is a user, root" if "payload ran" in ran.out else "")


@attack(
    "G4",
    "-",
    "a small layer has a file that is a huge hole, which mkfs.erofs writes out",
    Patch("runtime/images/store/mkfs.py", "    if size > limit:\n", "    if False:\n"),
)
@with_images
def hole_written_out(arena: Arena) -> Outcome:
    """The store's limit is 64 MiB, so that the double fills no disk."""
    image = ImageRuns(arena, layers.layer(_sparse("hole", 256 << 20)))
    (image.store / "limits.json").write_text(json.dumps({"bytes": 64 << 20}))
    ran = image.run("--rootfs", "erofs")
    grown = [path for path in image.store.glob("erofs/*.erofs") if path.stat().st_size >= 256 << 20]
    return ran.outcome("the hole was written" if grown or "payload ran" in ran.out else "")
