"""Quadlet files become units and command lines; generations are written once. Neither systemd nor root is needed."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import SteleError
from runtime.services import build, keys
from runtime.services.apply import Host
from runtime.services.build import Draft, Resolved
from runtime.services.compare import compare
from runtime.services.extract import extract
from runtime.services.generations import TRIES, Generations
from runtime.services.names import slice_of
from runtime.services.quadlet import Entry, ServiceFaults, quoted, words
from runtime.services.service import Service
from runtime.services.switch import change
from runtime.services.units import expanded, unit_text

DIGEST = f"sha256:{'a' * 64}"
Files = Mapping[str, str]


class FakeImages:
    """Resolves each name to one digest, and plans nothing."""

    program, store = "/usr/bin/stele", "/var/lib/stele"

    def resolve(self, name: str, pull: str) -> Resolved:
        if name == "missing":
            raise SteleError('image "missing" is not in the store')
        return Resolved(name, DIGEST, (DIGEST,), "SIGQUIT")

    def plan(self, arguments: Sequence[str]) -> Mapping[str, Any]:
        return {"arguments": list(arguments)}


def write(folder: Path, files: Files) -> str:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("-> "):
            path.symlink_to(text[3:])
        else:
            path.write_text(text)
    return str(folder)


def read(folder: Path, files: Files) -> tuple[Service, ...]:
    return build.wanted((write(folder, files),)).services


def one(folder: Path, text: str) -> Service:
    return read(folder, {"web.container": f"[Container]\nImage=nginx\nNetwork=none\n{text}"})[0]


def faults(folder: Path, files: Files) -> list[str]:
    with pytest.raises(ServiceFaults) as caught:
        read(folder, files)
    return [str(fault).replace(f"{folder}/", "") for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("AddCapability=NET_ADMIN SYS_TIME", ["--cap-add", "NET_ADMIN", "--cap-add", "SYS_TIME"]),
        ('Environment=A=1 "B=two words"', ["--env", "A=1", "--env", "B=two words"]),
        ("Environment=A=1\nEnvironment=\nEnvironment=B=2", ["--env", "B=2"]),
        ("EnvironmentFile=/etc/x.env", ["--env-file", "/etc/x.env"]),
        ("HostName=a\nHostName=b", ["--hostname", "b"]),
        ("Memory=512m\nPidsLimit=10", ["--memory", "512m", "--pids-limit", "10"]),
        ("User=1000\nGroup=100", ["--user", "1000:100"]),
        ("Volume=data:/data:ro,Z", ["--volume", "data:/data:ro"]),
        ("Volume=/tmp:/host", ["--volume", "/tmp:/host"]),
        ("Tmpfs=/cache:size=64m", ["--tmpfs", "/cache:size=64m"]),
        ("NoNewPrivileges=false", ["--allow-new-privileges"]),
        ("WorkingDir=/srv\nEntrypoint=/bin/x", ["--entrypoint", "/bin/x", "--workdir", "/srv"]),
        ("Network=\nNetwork=host", ["--net", "host"]),
    ],
)
def test_keys_become_options(tmp_path: Path, text: str, options: list[str]) -> None:
    service = one(tmp_path, f"ReadOnly=true\nReadOnlyTmpfs=false\n{text}")
    given = [o for o in service.options if o not in ("--net", "none")] if "Network" not in text else service.options
    assert given == options


def test_the_root_is_writable_as_with_podman_unless_the_file_says_otherwise(tmp_path: Path) -> None:
    assert one(tmp_path / "a", "").options[:2] == ["--upper", "tmpfs"]
    assert "--upper" not in (read_only := one(tmp_path / "b", "ReadOnly=yes").options)
    assert "/run" in read_only


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("PublishPort=80:80", "web.container:4: PublishPort= is refused: needs a network"),
        ("Imagee=x", "web.container:4: Imagee= is unknown in [Container]"),
        ("RunInit=true", "web.container:4: RunInit= is refused: stele adds no init"),
        ("ReadOnly=perhaps", 'web.container:4: ReadOnly= "perhaps" is neither true nor false'),
        ('Environment="A=1', "web.container:4: Environment= has a quote"),
        ("Volume=x.volume:/x", 'web.container:4: Volume= "x.volume" is not among'),
        ("Notify=healthy", "web.container:4: Notify= healthy is refused"),
        ("[Service]\nExecStart=/bin/true", "web.container:5: ExecStart= is refused in [Service]: use Exec="),
        ("[X-Stele]\nFoo=1", "web.container:5: Foo= is unknown in [X-Stele]"),
        ("[Pod]", "web.container: has a section [Pod]"),
        ("nonsense", 'web.container:4: "nonsense" is not an assignment'),
        ("[Install]\nWantedBy=../x", 'web.container: [Install] names "../x.wants/web.service"'),
        ("[Install]\nAlias=a\\nb", 'web.container: [Install] names "a\nb"'),
    ],
)
def test_faults_name_file_line_and_key(tmp_path: Path, text: str, said: str) -> None:
    found = faults(tmp_path, {"web.container": f"[Container]\nImage=nginx\nNetwork=none\n{text}"})
    assert len(found) == 1
    assert found[0].startswith(said)


@pytest.mark.parametrize("stem", ["a b", "a\n[Service]", "\x1b[2J", "\N{CYRILLIC SMALL LETTER A}"])
def test_a_file_is_named_as_its_unit_may_be(tmp_path: Path, stem: str) -> None:
    found = faults(tmp_path, {f"{stem}.container": "[Container]\nImage=a\nNetwork=none\nContainerName=a\n"})
    assert "is not a name of a unit" in found[0]


def test_a_line_ends_where_systemd_sees_its_end(tmp_path: Path) -> None:
    assert one(tmp_path / "dos", "Exec=a\r\nUser=1\r\n").command == ["a"]
    hidden = "[Container]\nImage=a\nNetwork=none\n[Service]\nNice=1\rUser=0\n"
    assert "contains a carriage return inside a line" in faults(tmp_path / "mac", {"web.container": hidden})[0]


def test_all_faults_of_all_files_come_at_once(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        {
            "a.container": "[Container]\nPod=x\nRetry=3\n",
            "b.pod": "[Pod]\n",
            "c.container": "[Container]\nImage=x\nFoo=1",
        },
    )
    assert [line.split(":")[0] for line in found] == [
        "b.pod",
        "a.container",
        "a.container",
        "a.container",
        "c.container",
    ]


def test_every_key_of_podman_is_known() -> None:
    """The list is of podman-systemd.unit(5), version 5.8."""
    known = (Path(__file__).parent / "podman-keys.txt").read_text().split()
    assert sorted(keys.CONTAINER) == sorted(known)


def test_the_document_has_every_key_with_its_option_or_reason() -> None:
    rows = (Path(__file__).parents[2] / "docs/services.md").read_text().splitlines()
    for name, key in keys.CONTAINER.items():
        row = next((line for line in rows if line.startswith("| ") and f"`{name}`" in line.split(" | ")[0]), None)
        assert row is not None, name
        assert (key.why or key.option or "|") in row


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("a b", ["a", "b"]),
        ("'a b' \"c\"", ["a b", "c"]),
        (r"a\x20b \u00e4", ["a b", "ä"]),
        (r"sh -c 'echo \'x\''", ["sh", "-c", "echo 'x'"]),
        ('""', [""]),
    ],
)
def test_words(value: str, found: list[str]) -> None:
    assert words(Entry("Exec", value, "x", 1)) == found
    assert words(Entry("Exec", " ".join(map(quoted, found)), "x", 1)) == found


def test_continued_lines_and_comments(tmp_path: Path) -> None:
    (service,) = read(
        tmp_path, {"a.container": "# x\n[Container]\nImage=x\nExec=one \\\n# between\n  two \\\n three\n"}
    )
    assert service.command == ["one", "two", "three"]


def test_etc_hides_usr_and_an_empty_file_masks(tmp_path: Path) -> None:
    etc = write(tmp_path / "etc", {"a.container": "[Container]\nImage=mine\n", "b.container": ""})
    usr = write(
        tmp_path / "usr",
        {
            "a.container": "[Container]\nImage=theirs\n",
            "b.container": "[Container]\nImage=b\n",
            "c.container": "[Container]\nImage=c\n",
            "c.container.d/10.conf": "[Container]\nUser=1\n",
        },
    )
    write(Path(etc), {"c.container.d/20.conf": "[Container]\nUser=2\n"})
    found = build.wanted((etc, usr)).services
    assert [(s.name, s.image) for s in found] == [("a", "mine"), ("c", "c")]
    assert found[1].options[:2] == ["--user", "2"]


def test_templates_and_their_instances(tmp_path: Path) -> None:
    text = "[Container]\nImage=x\nEnvironment=I=%i\n[Install]\nWantedBy=multi-user.target\n"
    template, instance = read(tmp_path, {"w@.container": text, "w@a.container": "-> w@.container"})
    assert (template.name, template.links) == ("w@", ())
    assert (instance.unit, instance.links) == ("w@a.service", ("multi-user.target.wants/w@a.service",))
    assert instance.cgroup == "/system.slice/system-w.slice/w@a.service"
    assert expanded("I=%i %% $$x", "w@a") == "I=a % $x"


def test_the_unit(tmp_path: Path) -> None:
    text = (
        "Exec=serve --now\n[Unit]\nAfter=db.container network.target\n[Service]\nRestart=always\nSlice=my-own.slice\n"
    )
    unit = unit_text(one(tmp_path, text), "/usr/bin/stele", "/var/lib/stele", DIGEST, "SIGQUIT").splitlines()
    assert "After=db.service network.target" in unit
    assert "KillSignal=SIGQUIT" in unit
    assert "Restart=always" in unit
    start = next(line for line in unit if line.startswith("ExecStart="))
    assert f"--image {DIGEST} web serve --now" in start
    assert "--cgroup-parent /my.slice/my-own.slice/web.service" in start


@pytest.mark.parametrize(
    ("given", "name", "path"),
    [
        ("", "web", "/system.slice"),
        ("", "a-b@c", "/system.slice/system-a\\x2db.slice"),
        ("x.slice", "web", "/x.slice"),
        ("a-b-c.slice", "web", "/a.slice/a-b.slice/a-b-c.slice"),
        ("-.slice", "web", ""),
    ],
)
def test_slices(given: str, name: str, path: str) -> None:
    assert slice_of(given, name) == path


def draft(folder: Path, files: Files) -> Draft:
    return build.build(build.wanted((write(folder, files),)), FakeImages())


SIMPLE = {"web.container": "[Container]\nImage=nginx\n[Install]\nWantedBy=multi-user.target\n"}


def test_generations_only_grow_and_the_last_good_stays(tmp_path: Path) -> None:
    generations = Generations(str(tmp_path / "store"))
    made = draft(tmp_path / "files", SIMPLE)
    with generations.locked():
        for number in range(1, 15):
            written = generations.write({**made.manifest, "made": 0, "host": ""}, made.sources, made.units)
            generations.switch(written.number)
            assert written.number == number
            assert written.tries == TRIES
            if number in (1, 2):
                generations.mark_good(number)
            if number == 3:
                generations.pin(3, pinned=True)
        current = generations.current()
        assert current is not None
        assert current.number == 14
        assert generations.prune() == [1, 4]
    assert generations.numbers() == [2, 3, *range(5, 15)]
    assert (good := generations.last_good()) is not None
    assert (good.number, good.tries) == (2, None)
    assert current.unit_texts() == dict(made.units)
    with pytest.raises(SteleError, match="generation 99 does not exist; kept are 2, 3"):
        generations.read(99)


def test_a_generation_that_was_not_finished_is_not_seen(tmp_path: Path) -> None:
    generations = Generations(str(tmp_path))
    with generations.locked():
        os.makedirs(f"{generations.path}/.1.part/units")
        assert generations.numbers() == []
        made = draft(tmp_path / "files", SIMPLE)
        assert generations.write({**made.manifest}, made.sources, made.units).number == 1


def test_two_changes_do_not_meet(tmp_path: Path) -> None:
    generations = Generations(str(tmp_path))
    with (
        generations.locked(),
        pytest.raises(SteleError, match="is changing the services"),
        generations.locked(wait=False),
    ):
        pass


def test_what_changed(tmp_path: Path) -> None:
    old = draft(tmp_path / "a", {**SIMPLE, "old.container": "[Container]\nImage=x\n"})
    new = draft(
        tmp_path / "b",
        {"web.container": f"{SIMPLE['web.container']}[Container]\nUser=5\n", "new.container": "[Container]\nImage=y\n"},
    )
    assert (found := change(old, new)).added == ("new",)
    assert (found.changed, found.removed) == (("web",), ("old",))
    assert [str(line) for line in compare(old, new)] == [
        "new: added (y)",
        "old: removed (x)",
        "web: options: none -> --user 5",
    ]


def test_an_unchanged_folder_is_recognised(tmp_path: Path) -> None:
    generations = Generations(str(tmp_path / "store"))
    made = draft(tmp_path / "files", SIMPLE)
    with generations.locked():
        first = generations.write({**made.manifest}, made.sources, made.units)
    again = build.wanted((str(tmp_path / "files"),))
    assert build.unchanged(again, first, FakeImages())
    write(tmp_path / "files", {"web.container": "[Container]\nImage=other\n"})
    assert not build.unchanged(build.wanted((str(tmp_path / "files"),)), first, FakeImages())


def test_an_image_that_is_missing_is_a_fault_of_its_file(tmp_path: Path) -> None:
    with pytest.raises(ServiceFaults, match=r"web.container: image .missing. is not in the store"):
        draft(tmp_path, {"web.container": "[Container]\nImage=missing\n"})


def test_one_service_of_another_generation(tmp_path: Path) -> None:
    generations = Generations(str(tmp_path / "store"))
    versions = [
        draft(
            tmp_path / str(n),
            {"a.container": f"[Container]\nImage=a{n}\n", "b.container": f"[Container]\nImage=b{n}\n"},
        )
        for n in (1, 2)
    ]
    with generations.locked():
        first, second = (generations.write({**v.manifest}, v.sources, v.units) for v in versions)
    mixed = build.combined(second, first, "a")
    assert {name: entry["image"] for name, entry in mixed.services.items()} == {"a": "a1", "b": "b2"}
    assert mixed.units["a.service"] == first.unit_texts()["a.service"]
    with pytest.raises(SteleError, match='service "c" is in neither'):
        build.combined(second, first, "c")


def test_files_of_an_image_lead_nowhere_else(tmp_path: Path) -> None:
    upper, lower = tmp_path / "upper", tmp_path / "lower"
    write(lower, {"services/a.container": "old", "services/b.container": "[Container]\nImage=b\n"})
    write(
        upper,
        {
            "services/a.container": "new",
            "services/evil.container": "-> /etc/passwd",
            "services/w@a.container": "-> w@.container",
        },
    )
    target = tmp_path / "target"
    target.mkdir()
    extract([str(upper), str(lower)], str(target))
    assert sorted(os.listdir(target)) == ["a.container", "b.container", "w@a.container"]
    assert (target / "a.container").read_text() == "new"


def test_a_layer_whose_folder_is_a_link_is_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "outside", {"services/x.container": "[Container]\n"})
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "etc").symlink_to(tmp_path / "outside")
    (tree / "services").symlink_to(tmp_path / "outside/services")
    (tmp_path / "target").mkdir()
    with pytest.raises(SteleError, match="holds no services"):
        extract([str(tree)], str(tmp_path / "target"))


def test_an_image_shows_its_services_as_a_container_would_see_them(tmp_path: Path) -> None:
    service = "[Container]\nImage=a\n"
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    write(lower, {f"services/{name}.container": service for name in "abc"})
    write(lower, {"services/b.container.d/low.conf": "[Unit]\n", "services/c.container.d/low.conf": "[Unit]\n"})
    write(lower, {"services/b.container.d/low.txt": "no drop-in", "services/README": "of nobody's interest"})
    write(upper, {"services/b.container.d/high.conf": "[Unit]\n", "services/c.container.d": "-> b.container.d"})
    os.mknod(upper / "services/a.container", stat.S_IFCHR, 0)  # a whiteout; any user may make one
    os.setxattr(upper / "services/b.container.d", "user.overlay.opaque", b"y")
    (tmp_path / "target").mkdir()
    extract([str(upper), str(lower)], str(tmp_path / "target"))
    found = sorted(str(path.relative_to(tmp_path / "target")) for path in (tmp_path / "target").rglob("*"))
    assert found == ["b.container", "b.container.d", "b.container.d/high.conf", "c.container", "c.container.d"]


@pytest.mark.parametrize(("number", "size"), [(5000, 1), (17, 1 << 20), (1, (1 << 20) + 1)])
def test_an_image_with_too_much_beside_its_services_is_refused(tmp_path: Path, number: int, size: int) -> None:
    folder = tmp_path / "tree/services"
    folder.mkdir(parents=True)
    for n in range(number):
        with open(folder / f"{n}.container", "wb") as file:
            file.truncate(size)
    (tmp_path / "target").mkdir()
    with pytest.raises(SteleError, match=r"larger than|more than 4096 files or 16 MiB"):
        extract([str(tmp_path / "tree")], str(tmp_path / "target"))


class FakeSystemd:
    """Has one unit of the host."""

    def existing(self, name: str) -> str:
        return "/usr/lib/systemd/system/sshd.service" if name == "sshd.service" else ""


@pytest.mark.parametrize(
    ("name", "text"), [("sshd.container", ""), ("web.container", "[Install]\nAlias=sshd.service\n")]
)
def test_no_unit_of_the_host_is_hidden(tmp_path: Path, name: str, text: str) -> None:
    folder = write(tmp_path / "in", {name: f"[Container]\nImage=a\nNetwork=none\n{text}"})
    host = Host(Generations(str(tmp_path)), FakeSystemd(), FakeImages(), lambda *_: None, print)  # type: ignore[arg-type]
    with pytest.raises(SteleError, match="the host has a unit sshd"):
        host.apply(build.wanted((folder,)), origin="")
