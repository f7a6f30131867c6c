"""The commands for images and volumes, as data."""

from __future__ import annotations

from runtime.cli.declare import Command, Option, flag

FORMAT = Option(("--format", "-f"), "how to print", choices=("table", "json"), default="table")
QUIET = flag("--quiet", "-q", help="print no progress, and only the digest")
UNPACK = flag("--unpack", help="also unpack its layers now, not for its first container")
PLATFORM = Option(("--platform",), "OS/ARCHITECTURE[/VARIANT] instead of this machine's")
POLICY = Option(("--signature-policy",), "policy.json that says which images may come in")

IMAGE_COMMANDS = (
    Command(
        "image pull",
        "get an image from its registry",
        "images:pull",
        ("IMAGE",),
        (
            PLATFORM,
            flag("--plain-http", help="without TLS (loopback needs no such flag)"),
            Option(("--tls-verify",), "whether TLS must prove who it is", choices=("true", "false"), default="true"),
            Option(("--authfile",), "file with credentials instead of those of podman login and docker login"),
            Option(("--creds",), "USER:PASSWORD for the registry"),
            Option(("--registries-conf",), "file with mirrors and rules for registries"),
            POLICY,
            UNPACK,
            QUIET,
            FORMAT,
        ),
    ),
    Command(
        "image import",
        "take in oci:DIR, oci-archive:FILE or docker-archive:FILE, each with :NAME behind it if it holds several",
        "images:take_in",
        ("SOURCE", "[NAME]"),
        (PLATFORM, POLICY, UNPACK, QUIET, FORMAT),
    ),
    Command(
        "image export",
        "write an image out to oci:DIR, oci-archive:FILE or docker-archive:FILE",
        "images:export",
        ("IMAGE", "TARGET"),
        (flag("--quiet", "-q", help="print no progress"),),
    ),
    Command(
        "image inspect",
        "print what an image is, and how it was made",
        "images:inspect",
        ("IMAGE",),
        (Option(("--format", "-f"), "how to print", choices=("table", "json"), default="json"),),
    ),
    Command(
        "image list",
        "list the images that are here",
        "images:listing",
        (),
        (FORMAT, flag("--quiet", "-q", help="only names")),
    ),
    Command(
        "image verify",
        "hash again one image, or all",
        "images:verify",
        ("[IMAGE]",),
        (flag("--deep", help="also compare the unpacked files with their layers, each unpacked once more"), FORMAT),
    ),
    Command("image tag", "give an image another name", "images:tag", ("IMAGE", "NAME")),
    Command("image rm", "take names away; gc then removes what nothing uses", "images:remove", ("IMAGE", "MORE...")),
    Command(
        "image gc",
        "remove what no name and no container uses",
        "images:collect",
        (),
        (Option(("--grace-period",), "keep what was wanted in this time, as 24h or 30m", default="1h"), FORMAT),
    ),
)

VOLUME_COMMANDS = (
    Command(
        "volume list",
        "list the volumes that --volume NAME:DESTINATION made",
        "volumes:listing",
        (),
        (FORMAT, flag("--quiet", "-q", help="only names")),
    ),
    Command(
        "volume rm", "remove volumes that no container has, with all in them", "volumes:remove", ("NAME", "MORE...")
    ),
)
