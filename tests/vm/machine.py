"""Boots the test host in QEMU: with KVM where a probe has shown that it works, else emulated (TCG).

    with Machine(folder) as machine:
        machine.guest.ok("uname", "-r")

The root disk is the image's own, attached read-only. /var begins as the image's and its changes are forgotten, unless
another disk is given for it (volatile_disk.py).
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import prctl

from tests.vm.guest import PATIENCE, Guest, GuestLost

REPO = Path(__file__).resolve().parents[2]
STORE = REPO / "build/vm"
IMAGE = STORE / "image"
QEMU = "qemu-system-x86_64"
PROBE_SECONDS = 10.0

# Chosen by measuring: q35 boots reliably on a busy machine, where microvm hangs at times calibrating its clock; an old
# processor with few features is emulated quicker than -cpu max.
EMULATED = ["-accel", "tcg,thread=multi,tb-size=1024", "-cpu", "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+cx16,+rdrand"]
ACCELERATED = ["-accel", "kvm", "-cpu", "host"]
MACHINE = [
    "-machine", "q35,usb=off,sata=off,smbus=off", "-nodefaults", "-no-user-config", "-nographic", "-display", "none",
    "-no-reboot",
]  # fmt: skip
# no_timer_check: on a busy machine an emulated timer ticks too late for the kernel's check, which then panics.
KERNEL_OPTIONS = (
    "console=ttyS0 no_timer_check quiet loglevel=3 panic=-1 random.trust_cpu=on mitigations=off cryptomgr.notests "
    "rcupdate.rcu_expedited=1 systemd.show_status=false"
)


def image() -> Path:
    """The folder of images. Raises: SystemExit where they were not built."""
    if not (IMAGE / "root.ext4").exists():
        sys.exit("there is no image of the test host: make vm-image")
    return IMAGE.resolve()


def acceleration(images: Path) -> list[str]:
    """QEMU's options for the processor; STELE_VM_ACCEL=kvm or tcg decides, else a probe, once for each boot of this machine.

    The probe boots the kernel as far as the initrd: on some machines /dev/kvm opens and then no guest runs.
    """
    chosen = os.environ.get("STELE_VM_ACCEL", "")
    if chosen:
        return {"kvm": ACCELERATED, "tcg": EMULATED}[chosen]
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return EMULATED
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    answer = STORE / f"kvm-{boot_id}"
    if not answer.exists():
        works = _kvm_boots(images)
        for old in STORE.glob("kvm-*"):
            old.unlink()
        answer.write_text("yes" if works else "no")
    return ACCELERATED if answer.read_text() == "yes" else EMULATED


def _kvm_boots(images: Path) -> bool:
    """Whether a guest under KVM reaches the initrd."""
    command = [
        QEMU, *MACHINE, *ACCELERATED, "-m", "256", "-kernel", str(images / "vmlinuz"), "-initrd", str(images / "initrd.img"),
        "-append", f"{KERNEL_OPTIONS} vm.probe", "-serial", "stdio",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, timeout=PROBE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return b"vm-probe-ok" in done.stdout


class Machine:
    """One boot of the test host.

    Attributes:
        guest: to run commands in it, once it has booted.
        booted_in: seconds from QEMU's start to the agent's hello.
        boot_work: seconds of processor time that QEMU took for that.
        acceleration: "kvm" or "tcg".
    """

    guest: Guest
    booted_in: float
    boot_work: float
    acceleration: str

    def __init__(
        self,
        folder: Path | None = None,
        *,
        images: Path | None = None,
        root: Path | None = None,
        writable: bool = False,
        var: str = "",
        target: str = "vm.target",
        cpus: int = 2,
        memory_mib: int = 3072,
        options: str = "",
        network: bool = False,
        boot_timeout: float = PATIENCE,
    ) -> None:
        """Boot it.

        Args:
            folder: where its console's log goes; one of its own by default.
            images: another folder of images than the test host's.
            root: another root disk than the image's, an ext4 or erofs file.
            writable: the root disk can be written; what is written is forgotten.
            var: QEMU's -drive options of another disk for /var.
            target: the systemd target to boot to.
            options: more for the kernel's command line.
            network: it can connect to what this machine can connect to, through QEMU; otherwise to nothing.
        Raises:
            GuestLost: no agent answered in boot_timeout seconds, twice; with the console's last lines.
        """
        images = images or image()
        accelerated = acceleration(images)
        self.acceleration = accelerated[1].partition(",")[0]
        self._own = tempfile.TemporaryDirectory(prefix="stele-vm-") if folder is None else None
        folder = folder or Path(self._own.name if self._own else "")
        self._console, self._said = folder / "console", folder / "qemu"
        written = "snapshot=on" if writable else "readonly=on"
        var = var or f"file={images / 'var.ext4'},format=raw,snapshot=on,cache=unsafe"
        command = [
            QEMU, *MACHINE, *accelerated, "-smp", str(cpus), "-m", str(memory_mib),
            "-kernel", str(images / "vmlinuz"), "-initrd", str(images / "initrd.img"),
            "-append", f"{KERNEL_OPTIONS} systemd.unit={target} vm.agent {options}",
            "-serial", f"file:{self._console}",
            "-drive", f"file={root or images / 'root.ext4'},format=raw,if=none,id=root,{written},cache=unsafe",
            "-device", "virtio-blk-pci,drive=root,serial=root",
            "-drive", f"{var},if=none,id=var",
            "-device", "virtio-blk-pci,drive=var,serial=var",
            "-device", "virtio-serial-pci",
            "-device", "virtserialport,chardev=agent,name=vm.agent",
            "-netdev", f"user,id=net,restrict={'off' if network else 'on'}", "-device", "virtio-net-pci,netdev=net,romfile=",
        ]  # fmt: skip
        try:
            self._boot(command, boot_timeout)
        except GuestLost as error:
            # On a busy machine an emulated kernel was seen to hang before its first word.
            print(f"the test host is booted again: {error}", file=sys.stderr)
            self._boot(command, boot_timeout)

    def _boot(self, command: list[str], timeout: float) -> None:
        ours, theirs = socket.socketpair()
        command = [*command, "-chardev", f"socket,id=agent,fd={theirs.fileno()}"]
        start = time.monotonic()
        parent = os.getpid()
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                pass_fds=[theirs.fileno()],
                preexec_fn=lambda: _end_with(parent),
            )
        theirs.close()
        try:
            self.guest = Guest(ours.makefile("rwb"), boot_timeout=timeout)
        except GuestLost as error:
            self.cut()
            raise GuestLost(f"{error}\n{self.told()}") from None
        except BaseException:
            self.cut()
            raise
        finally:
            ours.close()
        self.booted_in = time.monotonic() - start
        self.boot_work = self.work()

    def work(self) -> float:
        """Seconds of processor time that QEMU has taken so far."""
        user, system = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def told(self) -> str:
        """The last of what QEMU and the console said."""
        said, console = (
            path.read_text(errors="replace") if path.exists() else "" for path in (self._said, self._console)
        )
        return "\n".join([*said.splitlines()[-10:], *console.splitlines()[-40:]])

    def cut(self) -> None:
        """Cut its power: nothing more is written."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def power_off(self, timeout: float = PATIENCE) -> None:
        """Shut it down in order."""
        self.guest.start("systemctl", "poweroff", "--no-block")
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.cut()
            raise GuestLost(f"did not power off in {timeout} s\n{self.told()}") from None

    def close(self) -> None:
        """End it and remove what it used. What matters is written to no disk, so its power is simply cut."""
        self.cut()
        if self._own:
            self._own.cleanup()

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _end_with(parent: int) -> None:
    """In the child: end when the parent ends, however that comes."""
    prctl.set_pdeathsig(signal.SIGKILL)
    os.setpriority(os.PRIO_PROCESS, 0, 10)
    if os.getppid() != parent:
        os._exit(1)
