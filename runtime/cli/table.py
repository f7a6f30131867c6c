"""All commands of stele. Flags are runc's, so that its callers notice no difference."""

from __future__ import annotations

from runtime.cli.declare import Command, Option, flag
from runtime.cli.image_table import IMAGE_COMMANDS, PLATFORM, VOLUME_COMMANDS

GLOBALS = (
    Option(("--root",), "directory for the state of containers", "directory"),
    Option(("--store",), "directory for images (default /var/lib/stele)", "directory"),
    Option(("--log",), "file to which errors and warnings are appended", "path"),
    Option(("--log-format",), "format of the log", choices=("text", "json"), default="text"),
    flag("--debug", help="also log what is done, and tracebacks of bugs"),
    flag("--systemd-cgroup", help="make cgroups as systemd scopes; cgroupsPath is slice:prefix:name"),
    Option(("--cgroup-manager",), "who makes the cgroups", choices=("cgroupfs", "systemd", "disabled"), default=""),
    Option(("--rootless",), "whether an ordinary user runs it", choices=("true", "false", "auto"), default="auto"),
    Option(("--trace",), "file for the times of all that the command does, see `stele trace`", "path"),
    flag("--version", "-v", help="print the version"),
)

BUNDLE = Option(("--bundle", "-b"), "directory that holds config.json", "directory", default=".")
PID_FILE = Option(("--pid-file",), "file to write the process id to", "path")
CONSOLE = Option(("--console-socket",), "unix socket that receives the terminal's master", "path")
PIDFD = Option(("--pidfd-socket",), "unix socket that receives a pidfd of the process", "path")
PRESERVE = Option(("--preserve-fds",), "pass this many more file descriptors (3, 4, ...)", "int", 0)
CREATE = (
    BUNDLE,
    CONSOLE,
    PIDFD,
    PID_FILE,
    flag("--no-pivot", help="do not use pivot_root (for a root in a ramdisk)"),
    flag("--no-new-keyring", help="keep the caller's session keyring"),
    PRESERVE,
)
IMAGE = (
    Option(("--image",), "image to make the container of, instead of a bundle"),
    Option(
        ("--pull",), "get the image from its registry first", choices=("never", "missing", "always"), default="never"
    ),
    Option(("--signature-policy",), "policy.json that says which images may come in, for one that is not here", "path"),
    Option(("--entrypoint",), "program instead of the image's, or a JSON list; empty for none", default=None),
    Option(("--env", "-e"), "NAME=VALUE, or NAME to pass the caller's", "many"),
    Option(("--env-file",), "file with lines of NAME=VALUE", "many"),
    Option(("--user", "-u"), "user[:group], by name or number"),
    Option(("--workdir", "--cwd", "-w"), "working directory, made if it is missing"),
    Option(("--volume", "-v"), "SOURCE:DESTINATION[:ro], a host path or the name of a volume", "many"),
    Option(("--mount",), "type=bind|volume|tmpfs,source=...,destination=...[,readonly]", "many"),
    Option(("--tmpfs",), "DESTINATION[:size=64m,mode=1777,...]", "many"),
    Option(
        ("--rootfs",), "layers as they are, or one file of them all", choices=("overlay", "erofs"), default="overlay"
    ),
    Option(("--upper",), "where writes to the root go: none, tmpfs[:SIZE] or a directory", default="none"),
    flag("--read-only", "--readonly-rootfs", help="no writes to the root; so it is anyway without --upper"),
    Option(("--hostname",), "host name (default: the id)"),
    Option(("--memory", "-m"), "memory limit, bytes or as 512m"),
    Option(("--cpus",), "number of CPUs, as 1.5"),
    Option(("--pids-limit",), "largest number of processes", "int", None),
    Option(("--cap-add",), "capability to add, or ALL", "many"),
    Option(("--cap-drop",), "capability to take away, or ALL", "many"),
    flag("--allow-new-privileges", help="let setuid programs gain privileges"),
    Option(("--net", "--network"), "none, host, or veth:ADDRESS/PREFIX[,gateway=ADDRESS]", default="none"),
    Option(("--dns",), "address of a name server", "many"),
    Option(("--label",), "KEY=VALUE to add to the annotations", "many"),
    Option(("--stop-signal",), "what kill sends unless told"),
    flag("--tty", "-t", help="give it a terminal"),
    flag("--interactive", "-i", help="keep stdin open; it always is", hidden=True),
)
NO_SUBREAPER = flag("--no-subreaper", help="do not become the reaper of the container's orphans")
FORMAT = Option(("--format", "-f"), "how to print", choices=("table", "json"), default="table")
NO_CHECKPOINT = (
    "checkpoint and restore are not offered by stele: it starts containers anew and does not freeze them to disk"
)

COMMANDS = (
    Command(
        "create",
        "create a container that waits for start",
        "lifecycle:create",
        ("ID", "COMMAND..."),
        (*CREATE, *IMAGE),
        stop="image",
    ),
    Command("start", "start a created container", "lifecycle:start", ("ID",)),
    Command(
        "run",
        "create and start a container",
        "lifecycle:run",
        ("ID", "COMMAND..."),
        (
            *CREATE,
            *IMAGE,
            flag("--detach", "-d", help="do not wait for its end"),
            flag("--keep", help="do not delete it at its end"),
            NO_SUBREAPER,
        ),
        stop="image",
    ),
    Command(
        "exec",
        "run a process in a container",
        "execute:execute",
        ("ID", "COMMAND..."),
        (
            CONSOLE,
            PIDFD,
            Option(("--cwd",), "working directory"),
            Option(("--env", "-e"), "NAME=VALUE to add to the environment", "many"),
            flag("--tty", "-t", help="give it a terminal"),
            Option(("--user", "-u"), "uid[:gid]"),
            Option(("--additional-gids", "-g"), "additional group", "many"),
            Option(("--process", "-p"), "file with the process object", "path"),
            flag("--detach", "-d", help="do not wait for its end"),
            PID_FILE,
            Option(("--process-label",), "SELinux label"),
            Option(("--apparmor",), "AppArmor profile"),
            flag("--no-new-privs", help="it can gain no privileges"),
            Option(("--cap", "-c"), "capability to add", "many"),
            PRESERVE,
            Option(("--cgroup",), "cgroup below the container's to run in", "many"),
            flag("--ignore-paused", help="also in a paused container"),
            NO_SUBREAPER,
        ),
        stop=True,
        failure=255,
    ),
    Command("state", "print the state of a container", "inspect:state", ("ID",)),
    Command(
        "kill",
        "send a signal to a container (TERM unless told)",
        "lifecycle:kill",
        ("ID", "[SIGNAL]"),
        (flag("--all", "-a", help="to all its processes", hidden=True),),
        stop=True,
    ),
    Command(
        "delete",
        "remove a container",
        "lifecycle:delete",
        ("ID",),
        (flag("--force", "-f", help="also one that runs: it is killed"),),
    ),
    Command("list", "list containers", "inspect:listing", (), (FORMAT, flag("--quiet", "-q", help="only ids"))),
    Command("ps", "list the processes of a container", "inspect:ps", ("ID", "PS-OPTIONS..."), (FORMAT,), stop=True),
    Command("pause", "stop all processes of a container", "lifecycle:pause", ("ID",)),
    Command("resume", "let a paused container go on", "lifecycle:resume", ("ID",)),
    Command(
        "update",
        "change the limits of a container",
        "update:update",
        ("ID",),
        (
            Option(
                ("--resources", "-r"), "file with linux.resources, - for stdin; other options are ignored then", "path"
            ),
            Option(("--blkio-weight",), "weight of its I/O, 10 to 1000"),
            Option(("--cpu-period",), "CPU period, microseconds"),
            Option(("--cpu-quota",), "CPU time in each period, microseconds"),
            Option(("--cpu-burst",), "CPU time that may be saved up, microseconds"),
            Option(("--cpu-share",), "weight of its CPU time"),
            Option(("--cpu-rt-period",), "refused: cgroup v2 has none"),
            Option(("--cpu-rt-runtime",), "refused: cgroup v2 has none"),
            Option(("--cpuset-cpus",), "CPUs, as 0-3,7"),
            Option(("--cpuset-mems",), "memory nodes, as 0-3,7"),
            Option(("--cpu-idle",), "1: only idle CPU time"),
            Option(("--memory",), "memory limit, bytes or as 512m"),
            Option(("--memory-reservation",), "memory that is kept from others"),
            Option(("--memory-swap",), "memory and swap together, -1 for no limit"),
            Option(("--pids-limit",), "largest number of processes"),
            Option(("--l3-cache-schema",), "share of the L3 cache, a line of its resctrl group's schemata"),
            Option(("--mem-bw-schema",), "share of the memory bandwidth, the same"),
            Option(("--kernel-memory",), "ignored", hidden=True),
            Option(("--kernel-memory-tcp",), "ignored", hidden=True),
        ),
    ),
    Command(
        "events",
        "print statistics and OOM events",
        "events:events",
        ("ID",),
        (
            Option(("--interval",), "time between two statistics, as 5s", default="5s"),
            flag("--stats", help="print them once"),
        ),
    ),
    Command("wait", "wait for the end of a container and print how it ended", "inspect:wait", ("ID",)),
    Command(
        "spec",
        "write a config.json to start from",
        "documents:spec",
        (),
        (BUNDLE, flag("--rootless", help="for an ordinary user")),
    ),
    Command("features", "print what this stele and host can do", "documents:features"),
    Command(
        "plan",
        "print exactly what create would do",
        "documents:plan",
        ("COMMAND...",),
        (
            BUNDLE,
            flag("--json", help="for programs"),
            flag("--seccomp", help="with each instruction of the filter"),
            *IMAGE,
        ),
        stop=True,
    ),
    Command("trace", "draw what --trace wrote, as SVG", "draw:trace", ("FILE", "FILES...")),
    Command("validate", "check a config.json, state or features document", "documents:validate", ("FILE",)),
    Command("completion", "print shell completion for bash, zsh or fish", "documents:completion", ("SHELL",)),
    *IMAGE_COMMANDS,
    *VOLUME_COMMANDS,
    Command("unpack", "make a bundle of an image", "unpack:unpack", ("IMAGE", "BUNDLE"), (PLATFORM,)),
    Command("checkpoint", "not offered", "", hidden=True, refused=NO_CHECKPOINT),
    Command("restore", "not offered", "", hidden=True, refused=NO_CHECKPOINT),
)
BY_NAME = {command.name: command for command in COMMANDS}
# Commands of two words, by their first.
GROUPS = {"image": "get, keep and inspect images", "volume": "list and remove named volumes"}
