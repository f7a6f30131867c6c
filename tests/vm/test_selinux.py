"""process.selinuxLabel and linux.mountLabel on a host that enforces a policy of SELinux, as Bottlerocket's does.

The policy is a small one of our own: containers run as confined_t, which may write to files of content_t alone and may
not change owners. Loading one is for a host's whole life, so this is a boot of its own.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vm.fixtures import GuestBundles, install
from tests.vm.guest import Guest
from tests.vm.machine import Machine

POLICY = Path(__file__).with_name("selinux") / "policy.conf"
BASE, CONFINED, CONTENT = "user_u:base_r:base_t", "user_u:base_r:confined_t", "user_u:object_r:content_t"
LOOK = "cat /proc/self/attr/current; echo x >/tmp/x && echo ' written'; chown 7 /tmp/x"


@pytest.fixture(scope="module")
def enforcing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """The test host with SELinux in force."""
    folder = tmp_path_factory.mktemp("selinux")
    policy = folder / "policy"
    # What the policy does not speak of is allowed; 33 is the newest format that the host's kernel reads.
    made = ["checkpolicy", "-U", "allow", "-c", "33", "-o", str(policy), str(POLICY)]
    subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
    with Machine(folder, options="security=selinux enforcing=0") as machine:
        guest = machine.guest
        install(guest)
        guest.write("/run/policy", policy.read_bytes())
        guest.ok("sh", "-ec", "cat /run/policy >/sys/fs/selinux/load; echo 1 >/sys/fs/selinux/enforce")
        yield guest
        machine.power_off()


@pytest.fixture(scope="module")
def confined(enforcing: Guest) -> GuestBundles:
    """Makes bundles there."""
    return GuestBundles(enforcing)


def test_the_label_is_in_force(enforcing: Guest, confined: GuestBundles) -> None:
    """In the container, and in a process that joins it; the mount's label is what it may write to."""
    labels = {"process": {"selinuxLabel": CONFINED}, "linux": {"mountLabel": CONTENT}}
    tmp = {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}
    bundle = confined(["sh", "-c", LOOK], labels, edit=lambda config: config["mounts"].append(tmp))
    done = enforcing.fails("stele", "run", "--bundle", bundle, "labelled")
    assert done.stdout == f"{CONFINED}\0 written\n", str(done)
    assert "/tmp/x: Operation not permitted" in done.stderr

    running = confined(["sleep", "1000"], labels, edit=lambda config: config["mounts"].append(tmp))
    enforcing.ok("stele", "run", "--detach", "--bundle", running, "labelled")
    root = f"/proc/{enforcing.run('stele', 'state', 'labelled').json()['pid']}/root"
    places = [root + place for place in ("/tmp", "/dev", "/dev/pts", "/dev/mqueue", "/sys/firmware")]
    assert {line.split()[0] for line in enforcing.ok("ls", "-dZ", *places).splitlines()} == {CONTENT}
    done = enforcing.fails("stele", "exec", "labelled", "sh", "-c", LOOK)
    assert (done.stdout, "not permitted" in done.stderr) == (f"{CONFINED}\0 written\n", True)
    enforcing.ok("stele", "delete", "--force", "labelled")


def test_without_a_mount_label_nothing_can_be_written(enforcing: Guest, confined: GuestBundles) -> None:
    """The difference that mountLabel makes: a tmpfs has the label of its maker else."""
    tmp = {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}
    labels = {"process": {"selinuxLabel": CONFINED}}
    bundle = confined(["sh", "-c", LOOK], labels, edit=lambda config: config["mounts"].append(tmp))
    done = enforcing.fails("stele", "run", "--bundle", bundle, "plain")
    assert done.stdout == f"{CONFINED}\0"
    assert "can't create /tmp/x: Permission denied" in done.stderr


def test_the_session_keyring_has_the_label(enforcing: Guest, confined: GuestBundles) -> None:
    """Of others' keys the policy shows nothing."""
    changes = {"process": {"selinuxLabel": CONFINED}, "linux": {"maskedPaths": None}}
    bundle = confined(["cat", "/proc/keys"], changes)
    assert " keyring   _ses" in enforcing.ok("stele", "run", "--bundle", bundle, "keys")
    assert " keyring   _ses" not in enforcing.ok("stele", "run", "--no-new-keyring", "--bundle", bundle, "keys")


def test_exec_takes_a_label(enforcing: Guest, confined: GuestBundles) -> None:
    enforcing.ok("stele", "run", "--detach", "--bundle", confined(["sleep", "1000"]), "free")
    try:
        look = ("free", "cat", "/proc/self/attr/current")
        assert enforcing.ok("stele", "exec", *look) == f"{BASE}\0"
        assert enforcing.ok("stele", "exec", "--process-label", CONFINED, *look) == f"{CONFINED}\0"
    finally:
        enforcing.ok("stele", "delete", "--force", "free")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"process": {"selinuxLabel": "user_u:base_r:no_t"}}, 'process.selinuxLabel "user_u:base_r:no_t"'),
        ({"linux": {"mountLabel": "user_u:object_r:no_t"}}, "correct linux.mountLabel"),
    ],
    ids=["process", "mount"],
)
def test_a_label_that_the_policy_lacks_is_named(
    enforcing: Guest, confined: GuestBundles, changes: dict[str, dict[str, str]], words: str
) -> None:
    done = enforcing.fails("stele", "run", "--bundle", confined(["true"], changes), "unknown")
    assert (done.code, words in done.stderr) == (1, True), done.stderr
    assert enforcing.ok("stele", "list", "-q") == ""


def test_features_tell_that_it_is_on(enforcing: Guest) -> None:
    assert enforcing.run("stele", "features").json()["linux"]["selinux"] == {"enabled": True}
