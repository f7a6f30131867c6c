"""Services on the read-only host: applied, changed, taken back by themselves, rolled back, started at boot."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.image_runs import SHELL
from tests.harness.images import add_image, layer
from tests.vm.guest import Done, Guest

STORE = "/var/lib/services-test"
FILES = "/var/lib/services-files"
UNITS = "/run/systemd/system"
RUNS = "[Install]\nWantedBy=basic.target\n"


def container(image: str = "box", script: str = "exec busybox sleep 1000", more: str = "", key: str = "") -> str:
    return f"[Container]\nImage={image}\nNetwork=none\nStopSignal=SIGKILL\nExec=/bin/sh -c '{script}'\n{key}\n{more}\n{RUNS}"


class Services:
    """The services of the test host."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest

    def write(self, **files: str) -> None:
        """Make these the files: `web="..."` is web.container."""
        self.guest.ok("rm", "-rf", FILES)
        self.guest.ok("mkdir", "-p", FILES)
        for name, text in files.items():
            self.guest.write(f"{FILES}/{name}.container", text)

    def __call__(self, *arguments: str) -> Done:
        return self.guest.run("stele", "--store", STORE, "service", *arguments)

    def apply(self, *, settle: int = 3) -> Done:
        return self("apply", "--settle", str(settle), FILES)

    def pid(self, name: str) -> int:
        return int(self.guest.ok("systemctl", "show", "--property=MainPID", "--value", f"{name}.service"))

    def active(self, name: str) -> str:
        return self.guest.ok("systemctl", "show", "--property=ActiveState", "--value", name).strip()

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self("status", "--format", "json").stdout)
        return found


@pytest.fixture
def services(guest: Guest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    if not guest.exists(STORE):
        place = tmp_path_factory.mktemp("services") / "store"
        add_image(place, "box", [layer(SHELL)], {"Cmd": ["/bin/sh"]})
        add_image(place, "box2", [layer(SHELL), layer({"second": "2"})], {"Cmd": ["/bin/sh"]})
        put_store(guest, place)
    made = Services(guest)
    yield made
    made.write()
    assert made.apply(settle=0).code == 0
    guest.ok("rm", "-rf", f"{STORE}/generations")
    assert guest.ok("stele", "list", "--quiet") == ""


def put_store(guest: Guest, place: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name in ("blobs", "index.json", "oci-layout"):
            tar.add(place / name, name)
    guest.ok("mkdir", "-p", STORE)
    guest.run_checked("tar", "-xzf", "-", "-C", STORE, input=packed.getvalue())


def test_what_did_not_change_keeps_running(services: Services) -> None:
    """Apply starts; a second apply restarts only what changed, and stops what is gone."""
    services.write(a=container(), b=container(), c=container())
    first = services.apply()
    assert (first.code, first.stdout) == (0, "a: added\nb: added\nc: added\ngeneration 1 is current\n"), first
    pids = {name: services.pid(name) for name in "abc"}
    assert all(pids.values())
    cgroup = services.guest.read(f"/proc/{pids['a']}/cgroup").strip()
    assert cgroup == "0::/system.slice/a.service/a"
    again = services.apply()
    assert again.stdout == "generation 1 is current, nothing changed\n"
    services.write(a=container(), b=container("box2"))
    second = services.apply()
    assert (second.code, second.stdout) == (0, "b: changed\nc: removed\ngeneration 2 is current\n"), second
    assert services.pid("a") == pids["a"]
    assert services.pid("b") not in (0, pids["b"])
    assert services.active("c.service") == "inactive"
    assert not services.guest.exists(f"{UNITS}/c.service")
    assert [row["state"] for row in services.status()["services"]] == ["active", "active"]


BAD = {
    "does not start": container(script="x", key="Exec=/no/such/program"),
    "exits after a second": container(script="busybox sleep 1; exit 3"),
    "restarts for ever": container(script="busybox sleep 1; exit 3", more="[Service]\nRestart=always\nRestartSec=0"),
    "is never ready": container(key="Notify=true"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_update_comes_back_by_itself(services: Services, kind: str) -> None:
    services.write(web=container(), other=container())
    assert services.apply().code == 0
    other = services.pid("other")
    services.write(web=BAD[kind], other=container())
    done = services.apply(settle=6)
    assert done.code == 3, done
    assert "it did not hold; generation 3 runs what ran before" in done.stderr
    assert services.active("web.service") == "active"
    assert services.pid("other") == other
    states = json.loads(services("history", "--format", "json").stdout)
    assert [row["standing"] == "good" for row in states] == [True, False, True]


def test_an_update_that_breaks_a_dependent_comes_back(services: Services) -> None:
    """The service itself is well; a unit that requires it went down with it, and runs again in the end."""
    unit = f"{UNITS}/depends.service"
    services.guest.write(
        unit,
        "[Unit]\nRequires=web.service\nAfter=web.service\n[Service]\n"
        "ExecStart=sh -c 'stele exec web /bin/sh -c \"test ! -e /second\" && exec sleep 1000'\n",
    )
    try:
        services.write(web=container())
        assert services.apply().code == 0
        services.guest.ok("systemctl", "start", "depends.service")
        services.write(web=container("box2"))
        done = services.apply(settle=6)
        assert done.code == 3, done
        assert "depends.service" in done.stderr
        assert services.active("web.service") == services.active("depends.service") == "active"
    finally:
        services.guest.run("systemctl", "stop", "depends.service")
        services.guest.ok("rm", unit)
        services.guest.ok("systemctl", "daemon-reload")


def test_back_to_any_version(services: Services) -> None:
    for number in (1, 2, 3):
        services.write(web=container(key=f"Environment=N={number}"), same=container())
        assert services.apply(settle=3).code == 0
    same = services.pid("same")
    assert services("rollback", "--settle", "3", "1").code == 0
    environ = services.guest.read(f"/proc/{services.pid('web')}/environ")
    assert "N=1" in environ.split("\0")
    assert services.pid("same") == same
    assert services.status()["generation"] == 4
    assert services("rollback", "--settle", "3").code == 0  # the newest that differs: N=3
    assert "N=3" in services.guest.read(f"/proc/{services.pid('web')}/environ").split("\0")


def test_faults_change_nothing(services: Services) -> None:
    services.write(web=container())
    assert services.apply(settle=3).code == 0
    services.write(web=container("nowhere"), two=container(key="Pod=x"))
    done = services.apply()
    assert done.code == 1
    assert "two.container:6: Pod= is refused" in done.stderr
    assert services.status()["generation"] == 1
    assert services.active("web.service") == "active"


def test_boot(services: Services) -> None:
    """After a boot /run is empty: boot writes the units and starts them; one on trial too often goes back."""
    services.write(web=container())
    assert services.apply(settle=3).code == 0
    services.guest.ok("systemctl", "stop", "web.service")
    services.guest.ok("rm", "-r", f"{UNITS}/web.service", f"{UNITS}/basic.target.wants/web.service")
    services.guest.ok("systemctl", "daemon-reload")
    assert services("boot").code == 0
    services.guest.eventually("web runs", lambda: services.active("web.service") == "active")
    current = f"{STORE}/generations/current"
    services.guest.ok("cp", "-a", f"{STORE}/generations/1", f"{STORE}/generations/2")
    services.guest.ok("mv", f"{STORE}/generations/2/good", f"{STORE}/generations/2/tries-1")
    services.guest.ok("ln", "-sfn", "2", current)
    assert services("boot").code == 0
    assert services.status()["generation"] == 2
    assert services("boot").code == 0  # no try is left
    assert services.guest.ok("readlink", current).strip() == "3"
    assert services.status()["generation"] == 3


def test_gc_keeps_what_generations_name(services: Services) -> None:
    services.write(web=container("box2"))
    assert services.apply(settle=3).code == 0
    services.write(web=container("box"))
    assert services.apply(settle=3).code == 0
    images = ("stele", "--store", STORE, "image")
    services.guest.ok(*images, "tag", "box2", "localhost/kept:1")
    services.guest.ok(*images, "rm", "box2", "localhost/kept:1")
    services.guest.ok(*images, "gc", "--grace-period", "0m")
    assert services("rollback", "--settle", "3", "1").code == 0
    assert services.guest.ok("stele", "exec", "web", "/bin/cat", "/second") == "2"
