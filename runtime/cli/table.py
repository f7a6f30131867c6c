"""The commands for containers and documents. Flags match runc's, so that its callers work unchanged."""

from __future__ import annotations

from typing import Literal

from runtime.cli.declare import Record, Section, Table, flag, many, number, positional, text
from runtime.cli.image_table import FORMAT, IMAGES, PLATFORM
from runtime.cli.service_table import SERVICES
from runtime.container.requests import CgroupManager

COMMANDS = Table()
GROUPS = {
    "image": "get, keep and inspect images",
    "volume": "list and remove named volumes",
    "service": "keep a host's containers as files, in generations",
}
"""The first word of two-word commands."""

NO_CHECKPOINT = (
    "checkpoint and restore are not offered by stele: it starts containers anew and does not freeze them to disk"
)


class GlobalOptions(Record):
    """The options before the command."""

    root: str = text("--root", help="directory for the state of containers", kind="directory")
    store: str = text("--store", help="directory for images (default /var/lib/stele)", kind="directory")
    log: str = text("--log", help="append errors and warnings to this file", kind="path")
    log_format: str = text("--log-format", help="format of the log", choices=("text", "json"), default="text")
    debug: bool = flag("--debug", help="also log each action, and tracebacks of bugs")
    systemd_cgroup: bool = flag(
        "--systemd-cgroup", help="make cgroups as systemd scopes; cgroupsPath is slice:prefix:name"
    )
    cgroup_manager: CgroupManager | Literal[""] = text(
        "--cgroup-manager", help="what makes the cgroups", choices=("cgroupfs", "systemd", "disabled"), default=""
    )
    rootless: str = text(
        "--rootless", help="whether an ordinary user runs it", choices=("true", "false", "auto"), default="auto"
    )
    trace: str = text("--trace", help="write the timing of every step to this file, see `stele trace`", kind="path")
    version: bool = flag("--version", "-v", help="print the version")


GLOBALS = GlobalOptions.options

FOR_BUNDLES = Section("Options for bundles")
FOR_IMAGES = Section("Options for images")
FOR_CALLERS = Section("Options for callers such as containerd and Podman")
WAITER = "leave a small process beside the container that records how it ends (default with --detach)"
WAITER = "leave a small process beside the container that records how it ends"
NO_SUBREAPER = "do not become the reaper of the container's orphans"


class ImageOptions(Record):
    """Options for containers made from an image, and --bundle, its alternative."""

    _bundle = FOR_BUNDLES
    bundle: str = text("--bundle", "-b", help="directory that holds config.json", kind="directory", default=".")
    _image = FOR_IMAGES
    image: str = text("--image", help="image to make the container from, instead of a bundle")
    pull: str = text("--pull", help="pull the image first", choices=("never", "missing", "always"), default="never")
    signature_policy: str = text(
        "--signature-policy", help="policy.json that decides which images are accepted", kind="path"
    )
    entrypoint: str | None = text(
        "--entrypoint", help="replace the image's entrypoint: a program, a JSON list, or empty for none", default=None
    )
    env: list[str] = many("--env", "-e", help="NAME=VALUE, or NAME to pass the caller's value")
    env_file: list[str] = many("--env-file", help="file with lines of NAME=VALUE")
    user: str = text("--user", "-u", help="user[:group], by name or number")
    workdir: str = text("--workdir", "--cwd", "-w", help="working directory, made if missing")
    volume: list[str] = many("--volume", "-v", help="SOURCE:DESTINATION[:ro], a host path or the name of a volume")
    mount: list[str] = many("--mount", help="type=bind|volume|tmpfs,source=...,destination=...[,readonly]")
    tmpfs: list[str] = many("--tmpfs", help="DESTINATION[:size=64m,mode=1777,...]")
    rootfs: str = text(
        "--rootfs",
        help="mount the layers one by one, or as a single file",
        choices=("overlay", "erofs"),
        default="overlay",
    )
    upper: str = text("--upper", help="where writes to the root go: none, tmpfs[:SIZE] or a directory", default="none")
    read_only: bool = flag(
        "--read-only", "--readonly-rootfs", help="make the root read-only (the default without --upper)"
    )
    hostname: str = text("--hostname", help="host name (default: the ID)")
    memory: str = text("--memory", "-m", help="memory limit, in bytes or as 512m")
    cpus: str = text("--cpus", help="number of CPUs, as 1.5")
    pids_limit: int | None = number("--pids-limit", help="maximum number of processes", default=None)
    cgroup_parent: str = text("--cgroup-parent", help="cgroup or slice that contains the container's own")
    cap_add: list[str] = many("--cap-add", help="capability to add, or ALL")
    cap_drop: list[str] = many("--cap-drop", help="capability to drop, or ALL")
    allow_new_privileges: bool = flag("--allow-new-privileges", help="let setuid programs gain privileges")
    net: str = text("--net", "--network", help="none, host, or veth:ADDRESS/PREFIX[,gateway=ADDRESS]", default="none")
    dns: list[str] = many("--dns", help="address of a name server")
    label: list[str] = many("--label", help="KEY=VALUE to add to the annotations")
    stop_signal: str = text("--stop-signal", help="default signal for `kill`")
    tty: bool = flag("--tty", "-t", help="allocate a terminal")
    interactive: bool = flag("--interactive", "-i", help="keep stdin open (always the case)", hidden=True)


IMAGE_ONLY = tuple(option for option in ImageOptions.options if option.key != "bundle")
"""The options that need an image."""


class ContainerOptions(ImageOptions):
    """The options of create and run."""

    _callers = FOR_CALLERS
    console_socket: str = text("--console-socket", help="unix socket that receives the terminal's master", kind="path")
    pidfd_socket: str = text("--pidfd-socket", help="unix socket that receives a pidfd of the process", kind="path")
    pid_file: str = text("--pid-file", help="file to write the process ID to", kind="path")
    no_pivot: bool = flag("--no-pivot", help="do not use pivot_root (for a root in a ramdisk)")
    no_new_keyring: bool = flag("--no-new-keyring", help="keep the caller's session keyring")
    preserve_fds: int = number("--preserve-fds", help="pass this many more file descriptors (3, 4, ...)")
    name: str = text("--name", help="the ID, for those used to Docker", hidden=True, argument=True)
    id: str = positional("ID")
    command: list[str] = positional("[COMMAND...]")


@COMMANDS.command("create", "create a container that waits for start", "lifecycle:create", stop="image")
class Create(ContainerOptions):
    waiter: bool = flag("--waiter", help=f"{WAITER}; then nobody else can be its parent")


@COMMANDS.command("start", "start a created container", "lifecycle:start")
class Start(Record):
    id: str = positional("ID")


@COMMANDS.command("run", "create and start a container", "lifecycle:run", stop="image")
class Run(ContainerOptions):
    detach: bool = flag("--detach", "-d", help="do not wait for its end")
    keep: bool = flag("--keep", help="do not delete it when it ends")
    rm: bool = flag("--rm", help="delete it when it ends (the default without --detach)", hidden=True)
    waiter: bool = flag("--waiter", help=f"{WAITER} (default with --detach, but not in a systemd unit)")
    log_driver: Literal["", "file", "journald", "none"] = text(
        "--log-driver",
        help="with --detach: where its output goes (default: to the caller's)",
        choices=("file", "journald", "none"),
        default="",
    )
    log_size: str = text("--log-size", help="largest size of a log file, in bytes or as 8m", default="8m")
    log_files: int = number("--log-files", help="number of log files kept", default=2)
    ready: str = text(
        "--ready", help="when to report readiness: notify (the container does), started, or exec:COMMAND succeeds in it"
    )
    no_waiter: bool = flag("--no-waiter", help="leave no such process")
    _callers_too = FOR_CALLERS
    no_subreaper: bool = flag("--no-subreaper", help=NO_SUBREAPER)


@COMMANDS.command("exec", "run a process in a container", "execute:execute", stop=True, failure=255)
class Exec(Record):
    cwd: str = text("--cwd", help="working directory")
    env: list[str] = many("--env", "-e", help="NAME=VALUE to add to the environment")
    tty: bool = flag("--tty", "-t", help="allocate a terminal")
    interactive: bool = flag("--interactive", "-i", help="keep stdin open (always the case)", hidden=True)
    user: str = text("--user", "-u", help="user[:group], by number, or by name in the container's /etc/passwd")
    additional_gids: list[str] = many("--additional-gids", "-g", help="additional group")
    detach: bool = flag("--detach", "-d", help="do not wait for its end")
    process_label: str = text("--process-label", help="SELinux label")
    apparmor: str = text("--apparmor", help="AppArmor profile")
    no_new_privs: bool = flag("--no-new-privs", help="it can gain no privileges")
    cap: list[str] = many("--cap", "-c", help="capability to add")
    cgroup: list[str] = many("--cgroup", help="cgroup below the container's to run in")
    ignore_paused: bool = flag("--ignore-paused", help="also in a paused container")
    _callers = FOR_CALLERS
    process: str = text("--process", "-p", help="file with the process object", kind="path")
    console_socket: str = text("--console-socket", help="unix socket that receives the terminal's master", kind="path")
    pidfd_socket: str = text("--pidfd-socket", help="unix socket that receives a pidfd of the process", kind="path")
    pid_file: str = text("--pid-file", help="file to write the process ID to", kind="path")
    preserve_fds: int = number("--preserve-fds", help="pass this many more file descriptors (3, 4, ...)")
    no_subreaper: bool = flag("--no-subreaper", help=NO_SUBREAPER)
    id: str = positional("ID")
    command: list[str] = positional("COMMAND...")


@COMMANDS.command("state", "print the state of a container", "inspect:state")
class State(Record):
    human: bool = flag("--human", help="print lines for a person instead of JSON")
    id: str = positional("ID")


@COMMANDS.command(
    "kill", "send a signal to a container (default: its stop signal, or TERM)", "lifecycle:kill", stop=True
)
class Kill(Record):
    all: bool = flag("--all", "-a", help="to all its processes", hidden=True)
    send: str = text("--signal", "-s", help="the signal; all arguments are then IDs")
    id: str = positional("ID")
    signal: str = positional("[SIGNAL]")
    more: list[str] = positional("[ID...]")


@COMMANDS.command("delete", "remove a container", "lifecycle:delete")
class Delete(Record):
    force: bool = flag("--force", "-f", help="kill it first if it is running")
    id: str = positional("ID")
    more: list[str] = positional("[ID...]")


@COMMANDS.command("list", "list containers", "inspect:listing")
class List(Record):
    format: str = text(
        "--format", "-f", help="output format; on a terminal a table for people unless given", choices=("table", "json")
    )
    quiet: bool = flag("--quiet", "-q", help="only IDs")
    all: bool = flag("--all", "-a", help="also stopped containers (always the case)", hidden=True)


@COMMANDS.command("logs", "print what a detached container wrote", "logs:logs")
class Logs(Record):
    follow: bool = flag("--follow", "-f", help="go on printing until it ends")
    since: str = text("--since", help="only lines after this time, or as 10m ago")
    tail: int | None = number("--tail", "-n", help="only the last lines", default=None)
    timestamps: bool = flag("--timestamps", "-t", help="begin each line with its time")
    id: str = positional("ID")


@COMMANDS.command("ps", "list the processes of a container", "inspect:ps", stop=True)
class Ps(Record):
    format: str = text("--format", "-f", **FORMAT)
    id: str = positional("ID")
    ps_options: list[str] = positional("[PS-OPTIONS...]")


@COMMANDS.command("pause", "stop all processes of a container", "lifecycle:pause")
class Pause(Record):
    id: str = positional("ID")


@COMMANDS.command("resume", "let a paused container continue", "lifecycle:resume")
class Resume(Record):
    id: str = positional("ID")


@COMMANDS.command("update", "change the limits of a container", "update:update")
class Update(Record):
    resources: str = text(
        "--resources",
        "-r",
        help="file with linux.resources, - for stdin; other options are then ignored",
        kind="path",
    )
    blkio_weight: str = text("--blkio-weight", help="I/O weight, 10 to 1000")
    cpu_period: str = text("--cpu-period", help="CPU period, in microseconds")
    cpu_quota: str = text("--cpu-quota", help="CPU time in each period, in microseconds")
    cpu_burst: str = text("--cpu-burst", help="unused CPU time that may accumulate, in microseconds")
    cpu_share: str = text("--cpu-share", help="weight of its CPU time")
    cpu_rt_period: str = text("--cpu-rt-period", help="refused: cgroup v2 has no such limit")
    cpu_rt_runtime: str = text("--cpu-rt-runtime", help="refused: cgroup v2 has no such limit")
    cpuset_cpus: str = text("--cpuset-cpus", help="CPUs, as 0-3,7")
    cpuset_mems: str = text("--cpuset-mems", help="memory nodes, as 0-3,7")
    cpu_idle: str = text("--cpu-idle", help="1: use only idle CPU time")
    memory: str = text("--memory", help="memory limit, in bytes or as 512m")
    memory_reservation: str = text("--memory-reservation", help="memory protected from reclaim")
    memory_swap: str = text("--memory-swap", help="memory and swap together, -1 for no limit")
    pids_limit: str = text("--pids-limit", help="maximum number of processes")
    l3_cache_schema: str = text("--l3-cache-schema", help="share of the L3 cache: a line of its resctrl schemata")
    mem_bw_schema: str = text("--mem-bw-schema", help="share of the memory bandwidth: a line of its resctrl schemata")
    kernel_memory: str = text("--kernel-memory", help="ignored", hidden=True)
    kernel_memory_tcp: str = text("--kernel-memory-tcp", help="ignored", hidden=True)
    id: str = positional("ID")


@COMMANDS.command("events", "print statistics and OOM events", "events:events")
class Events(Record):
    interval: str = text("--interval", help="time between two statistics, as 5s", default="5s")
    stats: bool = flag("--stats", help="print statistics once and exit")
    id: str = positional("ID")


@COMMANDS.command("stats", "show what containers use, every second", "stats:show")
class Stats(Record):
    no_stream: bool = flag("--no-stream", help="print once and exit")
    interval: int = number("--interval", help="seconds between two tables", default=1)
    format: str = text("--format", "-f", **FORMAT)
    ids: list[str] = positional("[ID...]")


@COMMANDS.command("stop", "end containers by their stop signal, and by KILL if that does not help", "people:stop")
class Stop(Record):
    time: int = number("--time", "-t", help="seconds until KILL", default=10)
    id: str = positional("ID")
    more: list[str] = positional("[ID...]")


@COMMANDS.command("cp", "copy files between the host and a running container", "copy:copy")
class Cp(Record):
    source: str = positional("SOURCE")
    target: str = positional("DESTINATION")


@COMMANDS.command("wait", "wait for a container to end and print how it ended", "inspect:wait")
class Wait(Record):
    timeout: int = number("--timeout", help="give up after this many seconds", default=None)
    id: str = positional("ID")
    more: list[str] = positional("[ID...]")


@COMMANDS.command("spec", "write a config.json to start from", "documents:spec")
class Spec(Record):
    bundle: str = text("--bundle", "-b", help="directory that holds config.json", kind="directory", default=".")
    rootless: bool = flag("--rootless", help="for an ordinary user")


@COMMANDS.command("features", "print what this stele and this host support", "documents:features")
class Features(Record):
    format: str = text(
        "--format", "-f", help="output format; on a terminal a table unless given", choices=("table", "json")
    )


@COMMANDS.command("inspect", "print the state of a container, or else an image's configuration", "inspect:inspect")
class InspectAny(Record):
    name: str = positional("NAME")


@COMMANDS.command("info", "print what this stele uses on this host, and how much", "inspect:info")
class Info(Record):
    format: str = text("--format", "-f", **FORMAT)


@COMMANDS.command("version", "print the version, like --version", "inspect:version")
class Version(Record):
    pass


@COMMANDS.command("plan", "print exactly what create would do", "plan:plan", stop="image")
class Plan(Run):
    json: bool = flag("--json", help="print the plan as JSON")
    seccomp: bool = flag("--seccomp", help="include every instruction of the filter")
    diff: bool = flag("--diff", help="compare two bundles or images, given as the arguments, with the same options")
    id: str = positional("[ID]")
    command: list[str] = positional("[COMMAND...]")


@COMMANDS.command("trace", "draw the output of --trace as SVG", "draw:trace")
class DrawTrace(Record):
    file: str = positional("FILE")
    files: list[str] = positional("[FILES...]")


@COMMANDS.command("validate", "check a config.json, state or features document", "documents:validate")
class Validate(Record):
    strict: bool = flag("--strict", help="fail also if there are only warnings")
    file: str = positional("FILE")


@COMMANDS.command("completion", "print shell completion for bash, zsh or fish", "documents:completion")
class Completion(Record):
    shell: str = positional("SHELL")


COMMANDS.update(IMAGES)
COMMANDS.update(SERVICES)


@COMMANDS.command("unpack", "make a bundle from an image", "unpack:unpack")
class Unpack(Record):
    platform: str = text("--platform", help=PLATFORM)
    image: str = positional("IMAGE")
    bundle: str = positional("BUNDLE")


COMMANDS.refuse("checkpoint", NO_CHECKPOINT)
COMMANDS.refuse("restore", NO_CHECKPOINT)
