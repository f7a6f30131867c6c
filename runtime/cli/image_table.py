"""The commands for images and volumes."""

from __future__ import annotations

from typing import Any

from runtime.cli.declare import Record, Table, flag, positional, text

IMAGES = Table()

FORMAT: dict[str, Any] = {"help": "output format", "choices": ("table", "json"), "default": "table"}
QUIET = "print no progress, only the digest"
UNPACK = "also unpack the layers now instead of for the first container"
PLATFORM = "OS/ARCHITECTURE[/VARIANT] instead of this machine's"
POLICY = "policy.json that decides which images are accepted"


@IMAGES.command("image pull", "pull an image from its registry", "images:pull")
class Pull(Record):
    platform: str = text("--platform", help=PLATFORM)
    plain_http: bool = flag("--plain-http", help="without TLS (never needed for loopback)")
    tls_verify: str = text(
        "--tls-verify", help="verify the registry's certificate", choices=("true", "false"), default="true"
    )
    authfile: str = text("--authfile", help="file with credentials instead of those of podman login and docker login")
    creds: str = text("--creds", help="USER:PASSWORD for the registry")
    registries_conf: str = text("--registries-conf", help="file with mirrors and rules for registries")
    signature_policy: str = text("--signature-policy", help=POLICY)
    unpack: bool = flag("--unpack", help=UNPACK)
    quiet: bool = flag("--quiet", "-q", help=QUIET)
    format: str = text("--format", "-f", **FORMAT)
    image: str = positional("IMAGE")


@IMAGES.command(
    "image import",
    "import oci:DIR, oci-archive:FILE or docker-archive:FILE, each followed by :NAME if it holds several images",
    "images:import_image",
)
class Import(Record):
    platform: str = text("--platform", help=PLATFORM)
    signature_policy: str = text("--signature-policy", help=POLICY)
    unpack: bool = flag("--unpack", help=UNPACK)
    quiet: bool = flag("--quiet", "-q", help=QUIET)
    format: str = text("--format", "-f", **FORMAT)
    source: str = positional("SOURCE")
    name: str = positional("[NAME]")


@IMAGES.command("image export", "write an image to oci:DIR, oci-archive:FILE or docker-archive:FILE", "images:export")
class Export(Record):
    quiet: bool = flag("--quiet", "-q", help="print no progress")
    image: str = positional("IMAGE")
    target: str = positional("TARGET")


@IMAGES.command("image inspect", "print an image's configuration and history", "images:inspect")
class Inspect(Record):
    format: str = text("--format", "-f", help="output format", choices=("table", "json"), default="json")
    image: str = positional("IMAGE")


@IMAGES.command("image list", "list the images in the store", "images:listing")
class ListImages(Record):
    format: str = text("--format", "-f", **FORMAT)
    quiet: bool = flag("--quiet", "-q", help="only names")


@IMAGES.command("image verify", "check the digests of one image, or of all", "images:verify")
class Verify(Record):
    deep: bool = flag("--deep", help="also compare the unpacked files with their layers, each unpacked once more")
    format: str = text("--format", "-f", **FORMAT)
    image: str = positional("[IMAGE]")


@IMAGES.command("image tag", "give an image another name", "images:tag")
class Tag(Record):
    image: str = positional("IMAGE")
    name: str = positional("NAME")


@IMAGES.command("image rm", "remove names; gc then removes what nothing uses", "images:remove")
class RemoveImages(Record):
    image: str = positional("IMAGE")
    more: list[str] = positional("[MORE...]")


@IMAGES.command("image gc", "remove what no name and no container uses", "images:collect")
class Collect(Record):
    grace_period: str = text("--grace-period", help="keep what was used within this time, as 24h or 30m", default="1h")
    format: str = text("--format", "-f", **FORMAT)


@IMAGES.command(
    "login", "check and keep the password for a registry, in the file that Podman reads, too", "login:login"
)
class Login(Record):
    username: str = text("--username", "-u", help="user; asked for on a terminal if not given")
    password: str = text("--password", "-p", help="password, which others may see in the list of processes")
    password_stdin: bool = flag("--password-stdin", help="read the password from stdin")
    authfile: str = text("--authfile", help="file to keep it in", kind="path")
    plain_http: bool = flag("--plain-http", help="without TLS (never needed for loopback)")
    tls_verify: str = text(
        "--tls-verify", help="verify the registry's certificate", choices=("true", "false"), default="true"
    )
    registry: str = positional("REGISTRY")


@IMAGES.command("logout", "remove the password for a registry", "login:logout")
class Logout(Record):
    authfile: str = text("--authfile", help="file that it is kept in", kind="path")
    registry: str = positional("REGISTRY")


@IMAGES.command("volume list", "list the volumes that --volume NAME:DESTINATION made", "volumes:listing")
class ListVolumes(Record):
    format: str = text("--format", "-f", **FORMAT)
    quiet: bool = flag("--quiet", "-q", help="only names")


@IMAGES.command("volume rm", "remove volumes that no container uses, with their contents", "volumes:remove")
class RemoveVolumes(Record):
    name: str = positional("NAME")
    more: list[str] = positional("[MORE...]")
