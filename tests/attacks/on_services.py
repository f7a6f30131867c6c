"""Services that come in an image, which whoever looks at them with `service plan` does not trust yet."""

from __future__ import annotations

from tests.attacks.arena import BROKEN, HELD, UNKNOWN, Arena, Outcome, attack
from tests.attacks.doubles import Patch
from tests.attacks.on_images import ImageRuns, with_images
from tests.harness import images


@attack(
    "D1s",
    "CVE-2014-6407",
    "a link in the place of a folder of drop-ins leads the files of services out of their folder",
    Patch(
        "runtime/services/extract.py",
        '            if each.is_directory and each.name.endswith(".d"):\n'
        "                os.mkdir(each.name, 0o700, dir_fd=directory)\n",
        '            if not each.is_directory and each.name.endswith(".d"):\n'
        "                self._one(each, directory)\n"
        '            if each.name.endswith(".d"):\n'
        "                each.is_directory and os.mkdir(each.name, 0o700, dir_fd=directory)\n",
    ),
    Patch("runtime/services/extract.py", "os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC", "os.O_DIRECTORY"),
)
@with_images
def drop_ins_behind_a_link(arena: Arena) -> Outcome:
    """One layer has the folder with a file in it, the layer above a link of that name; the same file is where it leads."""
    below = images.layer({"services/w.container.d/planted.conf": "[Container]\n", "planted.conf": "[Container]\n"})
    above = images.layer(
        {"services/w.container": "[Container]\nImage=image\nNetwork=none\n", "services/w.container.d": "-> .."}
    )
    image = ImageRuns(arena, below, above)
    told = arena.runtime("--store", image.store, "service", "plan", "image")
    if found := [str(path) for path in image.store.rglob("planted.conf") if "generations" in path.parts]:
        return Outcome(BROKEN, f"it wrote {found[0]}")
    return Outcome(HELD) if "w: added" in told.stdout else Outcome(UNKNOWN, told.stderr)
