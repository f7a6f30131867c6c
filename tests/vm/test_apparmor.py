"""process.apparmorProfile where the kernel has AppArmor on, as Debian's has."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.vm.fixtures import GuestBundles
from tests.vm.guest import Guest

PROFILE = """
profile stele-test flags=(attach_disconnected,mediate_deleted) {
  file,
  capability,
  mount,
  signal,
  deny /etc/passwd r,
}
"""
LOOK = "cat /proc/self/attr/current; cat /etc/group >/dev/null && echo group; cat /etc/passwd"


@pytest.fixture
def profile(guest: Guest) -> Iterator[str]:
    """A loaded profile's name."""
    guest.ok("apparmor_parser", "--skip-cache", "--replace", input=PROFILE)
    yield "stele-test"
    guest.ok("apparmor_parser", "--remove", input=PROFILE)


def test_a_profile_confines_the_container_and_exec(guest: Guest, guest_bundle: GuestBundles, profile: str) -> None:
    bundle = guest_bundle(["sh", "-c", LOOK], {"process": {"apparmorProfile": profile}})
    done = guest.fails("stele", "run", "--bundle", bundle, "confined")
    assert done.stdout == "stele-test (enforce)\ngroup\n"
    assert "'/etc/passwd': Permission denied" in done.stderr

    guest.ok("stele", "run", "--detach", "--bundle", guest_bundle(["sleep", "1000"]), "free")
    try:
        done = guest.fails("stele", "exec", "--apparmor", profile, "free", "sh", "-c", LOOK)
        assert done.stdout == "stele-test (enforce)\ngroup\n"
        assert guest.ok("stele", "exec", "free", "cat", "/proc/self/attr/current") == "unconfined"
    finally:
        guest.ok("stele", "delete", "--force", "free")


def test_a_profile_that_is_not_loaded_is_named(guest: Guest, guest_bundle: GuestBundles) -> None:
    bundle = guest_bundle(["true"], {"process": {"apparmorProfile": "nowhere-loaded"}})
    done = guest.fails("stele", "run", "--bundle", bundle, "unconfined")
    assert done.code == 1
    assert 'process.apparmorProfile "nowhere-loaded"' in done.stderr
    assert guest.ok("stele", "list", "-q") == ""
