"""A recipe (bundles/NAME/recipe.toml and bundles/NAME/files/) and what is made from it.

recipe.toml says:
    summary         one line for people
    packages        Debian packages to take files from
    programs        files of those packages to copy, with the shared libraries they load
    trees           folders of those packages to copy whole, with the libraries that their ELF files load
    folders         empty folders to make
    links           [links] "path" = "target": symbolic links to make
    users           [[users]] name, uid, gid: lines of /etc/passwd and /etc/group beside root's
    process         [process] args, env, cwd, user (a name of the above, or root), terminal
    root            [root] readonly
    tmpfs           [[tmpfs]] path, size, mode, owned (by the process's user): writable places
"""

from __future__ import annotations

import json
import os
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bundles import config, layout, packages
from runtime.images.run import defaults

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Recipe:
    """One recipe as read; `text` is recipe.toml's content."""

    name: str
    text: dict[str, Any]

    @property
    def ids(self) -> tuple[int, int]:
        """The uid and gid of the process's user."""
        wanted = self.text["process"].get("user", "root")
        for user in [{"name": "root", "uid": 0, "gid": 0}, *self.text.get("users", [])]:
            if user["name"] == wanted:
                return user["uid"], user["gid"]
        raise SystemExit(f"bundles/{self.name}/recipe.toml: process.user {wanted!r} is not among its users")


def names() -> list[str]:
    """The recipes there are."""
    return sorted(file.parent.name for file in HERE.glob("*/recipe.toml"))


def load(name: str) -> Recipe:
    """Read a recipe. Raises: SystemExit where there is none of this name."""
    if name not in names():
        raise SystemExit(f"bundles: no recipe {name!r}; there are {', '.join(names())}")
    return Recipe(name, tomllib.loads((HERE / name / "recipe.toml").read_text()))


def build(name: str, out: Path, cache: Path) -> tuple[Path, Path]:
    """Make the bundle and the image of recipe `name` under `out`; returns both folders.

    `cache` keeps the fetched packages from build to build.
    """
    os.umask(0o022)  # the image has users of its own, whatever its maker keeps from others
    recipe = load(name)
    bundle = out / "bundles" / name
    image = out / "images" / name
    shutil.rmtree(bundle, ignore_errors=True)
    make_rootfs(recipe, bundle / "rootfs", out / "staging", cache)
    (bundle / "config.json").write_text(json.dumps(runtime_config(recipe), indent=2) + "\n")
    layout.write(bundle / "rootfs", image, name, image_config(recipe), owners(recipe))
    return bundle, image


def make_rootfs(recipe: Recipe, rootfs: Path, staging: Path, cache: Path) -> None:
    """Fill `rootfs` from the recipe's packages, which are unpacked to `staging` meanwhile, and from its files."""
    text = recipe.text
    for link in packages.MERGED:
        (rootfs / "usr" / link).mkdir(parents=True)
        (rootfs / link).symlink_to(f"usr/{link}")
    for folder in ("dev", "etc", "proc", "root", "run", "sys", "tmp", "var", *text.get("folders", [])):
        (rootfs / folder).mkdir(parents=True, exist_ok=True)
    (rootfs / "tmp").chmod(0o1777)

    packages.unpack(packages.fetch(text["packages"], cache), staging)
    wanted = [*text["programs"], *text.get("trees", [])]
    inside = [
        str(path.relative_to(staging))
        for tree in text.get("trees", [])
        for path in sorted((staging / tree).rglob("*"))
        if path.is_file() and not path.is_symlink()
    ]
    wanted += sorted(packages.libraries(staging, [*text["programs"], *inside]))
    for path in wanted:
        packages.copy(staging, path, rootfs)
    shutil.rmtree(staging)

    for path, target in text.get("links", {}).items():
        (rootfs / path).parent.mkdir(parents=True, exist_ok=True)
        (rootfs / path).symlink_to(target)
    users = [{"name": "root", "uid": 0, "gid": 0}, *text.get("users", [])]
    (rootfs / "etc/passwd").write_text("".join(f"{u['name']}:x:{u['uid']}:{u['gid']}::/:/bin/sh\n" for u in users))
    (rootfs / "etc/group").write_text("".join(f"{u['name']}:x:{u['gid']}:\n" for u in users))
    files = HERE / recipe.name / "files"
    if files.is_dir():
        shutil.copytree(files, rootfs, dirs_exist_ok=True)


def runtime_config(recipe: Recipe) -> dict[str, Any]:
    """The bundle's config.json."""
    process = recipe.text["process"]
    uid, gid = recipe.ids
    writable = tuple(
        config.tmpfs(
            place["path"],
            size=place.get("size", "16m"),
            mode=place.get("mode", "0755"),
            uid=uid if place.get("owned") else 0,
            gid=gid if place.get("owned") else 0,
        )
        for place in recipe.text.get("tmpfs", [])
    )
    return config.docker_like(
        process["args"],
        env=tuple(process.get("env", [])),
        cwd=process.get("cwd", "/"),
        uid=uid,
        gid=gid,
        terminal=process.get("terminal", False),
        readonly=recipe.text.get("root", {}).get("readonly", True),
        extra_mounts=writable,
    )


def owners(recipe: Recipe) -> dict[str, tuple[int, int, int]]:
    """uid, gid and mode of the folders that are the process's own: what an engine puts there is so too."""
    return {
        place["path"]: (*recipe.ids, int(place.get("mode", "0755"), 8))
        for place in recipe.text.get("tmpfs", [])
        if place.get("owned")
    }


def image_config(recipe: Recipe) -> dict[str, Any]:
    """The image config's `config` object, for engines that make their own config.json."""
    process = recipe.text["process"]
    uid, gid = recipe.ids
    made: dict[str, Any] = {
        "Cmd": process["args"],
        "Env": [defaults.PATH, *process.get("env", [])],
        "WorkingDir": process.get("cwd", "/"),
    }
    if uid:
        made["User"] = f"{uid}:{gid}"
    if places := recipe.text.get("tmpfs"):
        made["Volumes"] = {place["path"]: {} for place in places}
    return made
