"""Write the man pages and the completion files, from the same records as `--help`.

Usage: manual.py OUTDIR
    OUTDIR is laid out as /usr/share: man/man1, man/man5, bash-completion/completions, zsh/site-functions,
    fish/vendor_completions.d.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from runtime import VERSION
from runtime.cli.declare import Command, Option
from runtime.cli.examples import EXAMPLES
from runtime.cli.help import completion_source
from runtime.cli.table import COMMANDS, GLOBALS, GROUPS

RELEASED = "2026-12-01"
"""The date on the pages: that of the version, as the build's would differ from build to build."""
FILES = {
    "stele-bundle": (
        "the bundle of a container",
        (
            ("config.json", "The configuration of the container: the runtime specification's config.json. `stele validate` checks it, `stele spec` writes one to start from, and `stele plan` prints what it makes stele do."),
            ("rootfs", "The root file system, unless config.json names another folder."),
        ),
    ),
    "stele-images": (
        "files that govern where images come from",
        (
            ("/etc/containers/registries.conf", "Short names, aliases, mirrors, blocked and insecure registries. Overridden by --registries-conf and by $CONTAINERS_REGISTRIES_CONF. Without the file, short names are Docker Hub's."),
            ("/etc/containers/policy.json", "Which images are accepted: reject, insecureAcceptAnything, or sigstoreSigned with keys. An image is refused if the policy asks for anything else. Overridden by --signature-policy."),
            ("$XDG_RUNTIME_DIR/containers/auth.json, ~/.docker/config.json", "Credentials, as podman login and docker login write them. Overridden by --authfile and --creds."),
            ("/etc/containers/certs.d/HOST", "Certificate authorities and client certificates for one registry. Others are trusted as the host trusts them, or by $SSL_CERT_FILE."),
            ("/var/lib/stele", "The store of images and volumes. Overridden by --store."),
        ),
    ),
}  # fmt: skip


def escaped(text: str) -> str:
    """Text for roff: hyphens that can be copied, no accidental requests."""
    plain = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga").replace('"', "\\(dq")
    return f"\\&{plain}" if plain[:1] in (".", "'") else plain


def page(name: str, section: int, summary: str, parts: Iterable[tuple[str, str]]) -> str:
    """A whole page. parts: titles of sections and their roff."""
    head = f'.TH {name.upper()} {section} {RELEASED} "stele {VERSION}" "stele"\n.ad l\n.SH NAME\n{escaped(name)} \\- {escaped(summary)}\n'
    return head + "".join(f".SH {title}\n{text}" for title, text in parts if text)


def listed(options: Iterable[Option]) -> str:
    """The options, each with its names, its help, its choices and its default."""
    told = []
    for option in options:
        if option.hidden:
            continue
        value = {"flag": "", "int": " NUMBER", "path": " FILE", "directory": " DIRECTORY"}.get(option.kind, " VALUE")
        if option.choices:
            value = f" {'|'.join(option.choices)}"
        names = ", ".join(f"\\fB{escaped(name)}\\fR" for name in option.names)
        more = ["May be repeated."] if option.kind == "many" else []
        more += [f"Default: {option.default}."] if option.default and option.kind != "flag" else []
        sentence = f"{option.help[0].upper()}{option.help[1:]}."
        told.append(f".TP\n{names}\\fI{escaped(value)}\\fR\n{escaped(' '.join([sentence, *more]))}\n")
    return "".join(told)


def examples(lines: Iterable[str]) -> str:
    return ".nf\n" + "".join(f"{escaped(line)}\n" for line in lines) + ".fi\n"


def command_page(command: Command) -> str:
    arguments = " ".join(argument.name for argument in command.record.arguments)
    synopsis = f"\\fBstele\\fR [GLOBAL OPTIONS] \\fB{escaped(command.name)}\\fR [OPTIONS] {escaped(arguments)}\n"
    description = f"{command.help[0].upper()}{command.help[1:]}."
    status = f"0 on success, {command.failure} if stele fails."
    if command.name in ("run", "exec"):
        status += (
            " Without \\-\\-detach the exit status of the process, or 128 and the number of the signal that ended it."
        )
    return page(
        f"stele-{command.name.replace(' ', '-')}", 1, command.help,
        [
            ("SYNOPSIS", synopsis), ("DESCRIPTION", f"{escaped(description)}\n"),
            ("OPTIONS", listed(command.record.options)), ("EXIT STATUS", f"{status}\n"),
            ("EXAMPLES", examples(EXAMPLES[command.name])), ("SEE ALSO", see("stele", 1)),
        ],
    )  # fmt: skip


def see(name: str, section: int) -> str:
    return f".BR {escaped(name)} ({section})\n"


def overview(name: str, summary: str, intro: str, commands: list[Command], more: list[tuple[str, str]]) -> str:
    """The page of stele, or of a group of commands."""
    told = "".join(
        f".TP\n.BR {escaped('stele-' + c.name.replace(' ', '-'))} (1)\n{escaped(c.help[0].upper() + c.help[1:])}.\n"
        for c in commands
    )
    synopsis = f"\\fB{escaped(name.replace('-', ' '))}\\fR COMMAND [OPTIONS] [ARGUMENTS]\n"
    return page(name, 1, summary, [("SYNOPSIS", synopsis), ("DESCRIPTION", intro), ("COMMANDS", told), *more])


def pages() -> dict[str, str]:
    """All man pages, by file below man/."""
    offered = [c for c in COMMANDS.values() if not c.refused and not c.hidden]
    found = {f"man1/stele-{c.name.replace(' ', '-')}.1": command_page(c) for c in offered}
    for group, summary in GROUPS.items():
        members = [c for c in offered if c.name.startswith(f"{group} ")]
        intro = f"{escaped(summary[0].upper() + summary[1:])}.\n"
        found[f"man1/stele-{group}.1"] = overview(
            f"stele-{group}", summary, intro, members, [("SEE ALSO", see("stele", 1) + see("stele-images", 5))]
        )
    intro = (
        "stele runs OCI containers from bundles and from images. Its commands for containers have the flags, output and\n"
        "exit codes of runc, so that it can take runc's place. Options that stand before the command apply to all commands.\n"
    )
    found["man1/stele.1"] = overview(
        "stele", "OCI container runtime for hosts whose root file system is read-only", intro, offered,
        [
            ("GLOBAL OPTIONS", listed(GLOBALS)), ("EXAMPLES", examples((*EXAMPLES["run"], *EXAMPLES["list"]))),
            ("SEE ALSO", see("stele-bundle", 5) + see("stele-images", 5)),
        ],
    )  # fmt: skip
    for name, (summary, files) in FILES.items():
        text = "".join(f".TP\n.I {escaped(file)}\n{escaped(meaning)}\n" for file, meaning in files)
        found[f"man5/{name}.5"] = page(name, 5, summary, [("FILES", text), ("SEE ALSO", see("stele", 1))])
    return found


def main(argv: list[str]) -> int:
    out = Path(argv[1])
    contents = {f"man/{file}": text for file, text in pages().items()}
    contents["bash-completion/completions/stele"] = completion_source("bash")
    contents["zsh/site-functions/_stele"] = completion_source("zsh")
    contents["fish/vendor_completions.d/stele.fish"] = completion_source("fish")
    for name, text in contents.items():
        file = out / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
