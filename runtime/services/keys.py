"""The keys of Quadlet files (podman-systemd.unit(5) of Podman 5.8) and what each becomes.

docs/services.md has the same table for readers; a test compares them. A key is an option of `stele run`, part of the
unit, accepted because it asks for what is so anyway, or refused with the reason. None is passed over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

How = Literal["words", "each", "last", "special", "false", "refused"]


@dataclass(frozen=True, slots=True)
class Key:
    """How a key is translated.

    Args:
        how: "words": the option once for each word; "each": once for each assignment; "last": the last assignment
            counts; "special": code of its own; "false": only a false value is accepted; "refused": never accepted.
        option: of `stele run`.
        why: the reason and the way out, for "false" and "refused".
    """

    how: How
    option: str = ""
    why: str = ""


def _refused(names: str, why: str) -> dict[str, Key]:
    return {name: Key("refused", why=why) for name in names.split()}


CONTAINER: dict[str, Key] = {
    "AddCapability": Key("words", "--cap-add"),
    "Annotation": Key("words", "--label"),
    "AutoUpdate": Key("special"),
    "ContainerName": Key("special"),
    "DNS": Key("each", "--dns"),
    "DropCapability": Key("words", "--cap-drop"),
    "Entrypoint": Key("last", "--entrypoint"),
    "Environment": Key("words", "--env"),
    "EnvironmentFile": Key("special"),
    "Exec": Key("special"),
    "Group": Key("special"),
    "HostName": Key("last", "--hostname"),
    "Image": Key("special"),
    "Label": Key("words", "--label"),
    "Memory": Key("last", "--memory"),
    "Mount": Key("each", "--mount"),
    "Network": Key("special"),
    "NoNewPrivileges": Key("special"),
    "Notify": Key("special"),
    "PidsLimit": Key("last", "--pids-limit"),
    "Pull": Key("special"),
    "ReadOnly": Key("special"),
    "ReadOnlyTmpfs": Key("special"),
    "StopSignal": Key("special"),
    "StopTimeout": Key("special"),
    "Tmpfs": Key("each", "--tmpfs"),
    "User": Key("special"),
    "VolatileTmp": Key("special"),
    "Volume": Key("special"),
    "WorkingDir": Key("last", "--workdir"),
    "EnvironmentHost": Key(
        "false", why="the host's environment does not reach containers; name variables in Environment="
    ),
    "HttpProxy": Key("false", why="proxy variables of the host are not passed on; name them in Environment="),
    "RunInit": Key("false", why="stele adds no init process; use an image that has one"),
    "SecurityLabelNested": Key("false", why="SELinux labels inside containers are not offered"),
    "StartWithPod": Key("false", why="stele has no pods"),
    **_refused(
        "GlobalArgs PodmanArgs ContainersConfModule",
        "stele has none of Podman's own options; use the keys of this section",
    ),
    **_refused("Pod", "stele has no pods; let services share Network=host, or run them in one container"),
    **_refused("Rootfs", "services are images, so that a digest names all that runs; use Image="),
    **_refused(
        "PublishPort ExposeHostPort IP IP6 NetworkAlias",
        "needs a network that stele does not manage; use Network=host, or a .socket unit with systemd-socket-proxyd",
    ),
    **_refused("AddHost DNSOption DNSSearch", "is not offered; mount a file of your own with Volume="),
    **_refused(
        "HealthCmd HealthInterval HealthLogDestination HealthMaxLogCount HealthMaxLogSize HealthOnFailure HealthRetries "
        "HealthStartPeriod HealthStartupCmd HealthStartupInterval HealthStartupRetries HealthStartupSuccess "
        "HealthStartupTimeout HealthTimeout",
        "health commands are not offered yet; let the program report readiness, with Notify=true",
    ),
    **_refused(
        "UserNS UIDMap GIDMap SubUIDMap SubGIDMap",
        "images run without a user namespace; run a bundle with linux.uidMappings from a unit of your own",
    ),
    **_refused("AddDevice", "devices are not offered for images yet; run a bundle from a unit of your own"),
    **_refused(
        "AppArmor SeccompProfile SecurityLabelDisable SecurityLabelFileType SecurityLabelLevel SecurityLabelType Mask "
        "Unmask",
        "images run with stele's default confinement; run a bundle from a unit of your own",
    ),
    **_refused("Sysctl Ulimit ShmSize GroupAdd Timezone", "is not offered for images yet"),
    **_refused("LogDriver LogOpt", "the output of a service goes to the journal"),
    **_refused("Secret", "use LoadCredential= of [Service] and Volume=%d/NAME:/run/secrets/NAME:ro"),
    **_refused("ReloadCmd ReloadSignal", "write ExecReload= in [Service], such as stele kill %N HUP"),
    **_refused("Retry RetryDelay", "images are fetched by `stele service apply`, never at start; repeat that"),
    **_refused("CgroupsMode", "the container's cgroup is always in its unit's, so that the unit's limits count"),
}

VOLUME: dict[str, Key] = {
    "VolumeName": Key("special"),
    **_refused(
        "Driver Device Type Options Image",
        "named volumes are directories of stele's store; mount other file systems with a .mount unit and Volume=/PATH",
    ),
    **_refused("User Group Copy", "a new volume gets the owner, group and mode that the image's directory has"),
    **_refused("Label", "volumes have no labels"),
    **_refused("GlobalArgs PodmanArgs ContainersConfModule", "stele has none of Podman's own options"),
}

XSTELE = ("Critical", "Settle")
"""The keys of [X-Stele]. Critical: before boot-complete.target, with a state directory of its own. Settle: seconds."""

UNIT_SET = {
    "ExecStart": "use Exec= in [Container]",
    "PIDFile": "stele sets it",
    "Delegate": "stele sets it",
    "User": "write User= in [Container]: it is the user in the container",
    "Group": "write Group= in [Container]",
    "DynamicUser": "write User= in [Container]",
    "RootDirectory": "write Image= in [Container]",
    "RootImage": "write Image= in [Container]",
    "NotifyAccess": "write Notify= in [Container]",
    "WatchdogSec": "only readiness is passed on from containers; remove it",
    "KillSignal": "write StopSignal= in [Container]",
}
"""Keys of [Service] that the translation itself needs, with what to write instead."""
