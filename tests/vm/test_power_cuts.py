"""The host's power is cut at random moments while containers come and go; it comes back, and stele with it.

STELE_POWER_CUTS=N sets how many cuts, STELE_POWER_SEED=N repeats the moments of another run.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from pathlib import Path

from tests.vm import tiny
from tests.vm.fixtures import GuestBundles
from tests.vm.guest import Guest
from tests.vm.machine import REPO, Machine, image
from tests.vm.volatile_disk import VolatileDisk

CUTS = int(os.environ.get("STELE_POWER_CUTS", "2"))
BOOT = "" if CUTS <= 5 else "vm.quick"  # few cuts are of the whole host, many of one without systemd
SEED = int(os.environ.get("STELE_POWER_SEED", str(random.SystemRandom().randrange(10**6))))
ROOT = "/var/lib/stele-test"  # keeps its state over a reboot, where the default below /run would forget it
BIN = "/var/lib/bin"  # bound where $PATH looks; a quick boot has no system extensions
STORE = "/var/lib/stele-images"
ARCHIVE = "/var/lib/image.tar"
WORKERS = 2
LONGEST = 8.0  # seconds of the machine's work from the first container to the cut

# Containers at every stage at once: each worker takes one through its life again and again, and leaves one running. One
# more takes an image in, makes a container of it, and removes both.
CYCLES = f"""
worker() {{
	n=0
	while :; do
		n=$((n + 1))
		for root in "--root {ROOT}" ""; do
			id=$1-$n${{root:+-kept}}
			stele $root create --bundle "$2" $id </dev/null >/dev/null
			stele $root start $id
			echo started
			[ $n = 1 ] || {{ stele $root kill $id KILL; stele $root delete --force $id; }}
		done
	done
}}
images() {{
	while :; do
		stele --store {STORE} image import --quiet docker-archive:{ARCHIVE} power:1 >/dev/null
		stele --root {ROOT} --store {STORE} create --image power:1 image /sleep 1000 </dev/null >/dev/null
		stele --root {ROOT} --store {STORE} delete --force image
		stele --store {STORE} image rm power:1 >/dev/null
		stele --store {STORE} image gc --grace-period 0m >/dev/null
		echo imported
	done
}}
images &
for w in {" ".join(map(str, range(WORKERS)))}; do worker w$w "$1" & done
wait
"""


def images_are_whole(guest: Guest) -> int:
    """What images are listed can be verified; the next import works and can be run, and gc leaves no blob."""
    if not guest.exists(STORE):
        return 0
    images = ("stele", "--store", STORE, "image")
    rows = guest.run_checked(*images, "list", "--format", "json").json() or []
    guest.ok(*images, "verify")
    guest.ok(*images, "import", "--quiet", f"docker-archive:{ARCHIVE}", "power:1")
    guest.ok(*images, "verify")
    guest.ok("stele", "--store", STORE, "run", "--image", "power:1", "whole", "/sleep", "0")
    guest.ok(*images, "rm", "power:1")
    guest.ok(*images, "gc", "--grace-period", "0m")
    assert guest.ok("find", f"{STORE}/blobs", f"{STORE}/ingest", f"{STORE}/layers", f"{STORE}/uses", "-type", "f") == ""
    return len(rows)


def everything_is_cleared(guest: Guest) -> int:
    """What is left of the last boot is listed, as stopped, and can be removed; returns how many containers."""
    assert guest.ok("stele", "list", "--quiet") == ""  # below /run
    if not guest.exists(ROOT):
        return 0
    stele = ("stele", "--root", ROOT)
    rows = guest.run_checked(*stele, "list", "--format", "json").json() or []
    ids = [row["id"] for row in rows]
    assert [(row["id"], row["status"]) for row in rows] == [(name, "stopped") for name in ids]
    assert ids == sorted(guest.ok("ls", ROOT).split())
    guest.ok("sh", "-ec", f"for id; do {' '.join(stele)} delete --force $id; done", "delete", *ids)
    assert json.loads(guest.ok(*stele, "list", "--format", "json")) is None
    assert guest.ok("ls", ROOT) == ""
    return len(ids)


def test_power_cuts(tmp_path: Path) -> None:
    """After each cut list works, what it shows is stopped, and delete --force leaves nothing of it."""
    chance = random.Random(SEED)
    medium = tmp_path / "var.ext4"
    subprocess.run(["cp", "--sparse=always", image() / "var.ext4", medium], check=True)
    done = "nothing"
    for cut in range(CUTS + 1):
        disk = VolatileDisk(medium, tmp_path, chance)
        with Machine(tmp_path, var=disk.drive, cpus=1, options=BOOT) as machine:
            guest = machine.guest
            if cut == 0:
                guest.put(REPO / "build/bin/stele", f"{BIN}/stele", mode="0755")
                guest.write(ARCHIVE, tiny.docker_archive())
            guest.ok("mount", "--bind", BIN, "/usr/local/bin")
            left = everything_is_cleared(guest)
            images = images_are_whole(guest)
            took = f"boot {cut}, seed {SEED}: {machine.booted_in:.0f} s"
            print(f"{took}; {left} containers and {images} images were left", flush=True)
            if cut < CUTS:
                bundle = GuestBundles(guest)(["sleep", "1000"])
                guest.ok("sync")  # what the test itself has written
                with guest.start("sh", "-uc", CYCLES, "cycles", bundle) as job:
                    job.until("started")
                    moment = machine.work() + chance.uniform(0, LONGEST)
                    while machine.work() < moment:
                        time.sleep(0.001)
                    machine.cut()
                assert job.stderr == ""  # nothing failed before
                done = f"{job.stdout.count('started')} starts, {job.stdout.count('imported')} imports"
        disk.cut()
        print(f"cut after {done}; {disk.lost} writes were lost", flush=True)
    checked = subprocess.run(["e2fsck", "-fn", medium], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
