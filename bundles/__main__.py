"""python -m bundles NAME...: build bundles and images; --list names the recipes."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from bundles import recipe


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bundles", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--list", action="store_true", help="name the recipes and say what each is")
    parser.add_argument("--out", type=Path, default=recipe.HERE.parent / "build", help="default: build/")
    args = parser.parse_args()
    for name in recipe.names() if args.list else []:
        print(f"{name:8} {recipe.load(name).text['summary']}")
    for name in args.names:
        start = time.monotonic()
        bundle, image = recipe.build(name, args.out.resolve(), recipe.HERE.parent / "build/cache")
        size = sum(path.lstat().st_size for path in (bundle / "rootfs").rglob("*") if not path.is_symlink())
        print(f"{name}: {bundle} ({size / 1e6:.1f} MB) and {image} in {time.monotonic() - start:.1f} s")


main()
