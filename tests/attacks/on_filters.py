"""What the default seccomp profile answers, in `run --image`."""

from __future__ import annotations

import errno

from tests.attacks.arena import Arena, Outcome, attack, payload
from tests.attacks.doubles import Patch
from tests.attacks.on_images import ImageRuns, with_images
from tests.harness import images


@attack(
    "G12",
    "CVE-2026-31431",
    "the default profile is older than the field's: AF_ALG, AF_VSOCK, by calls of i386 and by socketcall too",
    Patch("runtime/images/run/seccomp_default.py", "35, 36, 39, *range(41, 46))", "35, 36, *range(38, 46))"),
    Patch("runtime/images/run/seccomp_default.py", "SOCKETCALL_SOCKET = 1\n", "SOCKETCALL_SOCKET = 99\n"),
)
@with_images
def old_profile(arena: Arena) -> Outcome:
    """A call that is not in the kernel gets another errno than one that the profile denies."""
    ran = ImageRuns(arena, images.layer({"payload": payload().read_bytes()})).run(sh="/payload profile")
    answers = {words[0]: int(words[1]) for words in map(str.split, ran.out.splitlines()) if len(words) == 2}
    denied = [f"i386-socketcall-{family}" for family in (38, 40)]
    denied += ["family-38", "family-40", "i386-socket-38", "i386-socket-40", "io_uring_setup", "keyctl", "userfaultfd"]
    denied = [name for name in denied if answers.get(name) != errno.ENOSYS]  # a kernel without calls of i386
    reached = [name for name in denied if answers.get(name, errno.EPERM) != errno.EPERM]
    return ran.outcome(f"not denied: {', '.join(reached)}" if reached else "", "done")
