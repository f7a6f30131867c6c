"""The compiled checks, jsonschema and the explanation in words give the same verdict."""

from __future__ import annotations

import contextlib
import copy
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from runtime.errors import ConfigError
from runtime.oci import load, rules, validate
from runtime.oci.template import spec_template

PROJECT = Path(__file__).parents[2]
KINDS = ("config", "process", "resources", "state", "features")


def reference(kind: Any) -> Any:
    """jsonschema with Go's idea of an integer: 1.0 and true are none."""
    base = jsonschema.Draft202012Validator
    checker = base.TYPE_CHECKER.redefine("integer", lambda _, x: type(x) is int)
    return jsonschema.validators.extend(base, type_checker=checker)(validate.schema_of(kind))


VALIDATORS = {kind: reference(kind) for kind in KINDS}


def sample(rng: random.Random, root: dict[str, Any], schema: dict[str, Any], depth: int = 0) -> Any:
    """A document that fits the schema, from the schema itself."""
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    if "enum" in schema:
        return rng.choice(schema["enum"])
    match schema["type"]:
        case "boolean":
            return rng.random() < 0.5
        case "integer":
            return rng.choice([schema["minimum"], schema["maximum"], rng.randint(schema["minimum"], schema["maximum"])])
        case "string":
            samples = {
                "^CAP": "CAP_KILL",
                "^RLI": "RLIMIT_CORE",
                "^1": "1.2.0",
                "^SCM": "SCMP_ARCH_X86",
                "^MPO": "MPOL_BIND",
                "^[r": "rw",
            }
            return next(
                (v for k, v in samples.items() if schema.get("pattern", "").startswith(k)), rng.choice(["/a", "x" * 9])
            )
        case "array":
            return [sample(rng, root, schema["items"], depth + 1) for _ in range(rng.randint(1, 2))]
    document = {
        key: sample(rng, root, sub, depth + 1)
        for key, sub in schema.get("properties", {}).items()
        if key in schema.get("required", ()) or rng.random() < 0.6
    }
    if isinstance(schema.get("additionalProperties"), dict):
        document["k"] = sample(rng, root, schema["additionalProperties"], depth + 1)
    return document


WRONG: list[Any] = [
    None,
    True,
    0,
    -1,
    1.0,
    2**32,
    2**63,
    2**64,
    -(2**63) - 1,
    "",
    "0",
    "x",
    [],
    [1],
    [None],
    {},
    {"a": 1},
    "SCMP_ACT_NONE",
]


def mutate(rng: random.Random, document: Any) -> None:
    """Put something wrong, or nothing, in a random place."""
    while True:
        keys = list(document) if isinstance(document, dict) else list(range(len(document)))
        if not keys:
            return
        key = rng.choice(keys)
        if isinstance(document[key], (dict, list)) and document[key] and rng.random() < 0.8:
            document = document[key]
            continue
        if rng.random() < 0.2:
            del document[key]
        else:
            document[key] = copy.deepcopy(rng.choice(WRONG))
        return


@pytest.mark.parametrize("kind", KINDS)
def test_all_three_agree_on_generated_and_mutated_documents(kind: Any) -> None:
    """Thousands of documents; a fault planted in compiled.py (minimum of uint32 set to 1) turned this red."""
    rng = random.Random(f"stele {kind}")
    schema = validate.schema_of(kind)
    verdicts = {True: 0, False: 0}
    for _ in range(1500):
        document = sample(rng, schema, schema)
        for _ in range(rng.choice([0, 1, 1, 3])):
            mutate(rng, document)
        expected = VALIDATORS[kind].is_valid(document)
        verdicts[expected] += 1
        assert bool(validate.CHECKS[kind](document)) == expected, json.dumps(document)
        assert (not list(validate._walk(schema, schema, document, ""))) == expected, json.dumps(document)
    assert min(verdicts.values()) > 100, "the generator makes both kinds of documents"


def test_the_compiled_module_is_up_to_date(tmp_path: Path) -> None:
    out = tmp_path / "compiled.py"
    subprocess.run([sys.executable, PROJECT / "build-aux" / "compile_schema.py", out], check=True)
    assert out.read_text() == (PROJECT / "runtime" / "oci" / "compiled.py").read_text(), (
        "run build-aux/compile_schema.py"
    )


@pytest.mark.parametrize("rootless", [False, True])
def test_the_template_is_a_valid_config(rootless: bool) -> None:
    load.check_config(spec_template(rootless=rootless))


def config(**changes: Any) -> dict[str, Any]:
    """The template with members replaced; a dotted name reaches inside."""
    document = json.loads(json.dumps(spec_template(rootless=False)))
    for name, value in changes.items():
        *path, last = name.split("__")
        place = document
        for part in path:
            place = place.setdefault(part, {})
        if value is None:
            place.pop(last)
        else:
            place[last] = value
    return document


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"ociVersion": "2.0.0"}, "ociVersion", "is malformed"),
        ({"process__args": []}, "process.args", "is empty"),
        ({"root": None}, "root", "is missing"),
        ({"process__user": {"uid": 4294967296}}, "process.user.uid", "out of range"),
        ({"process__user": {"uid": 4294967295}}, "process.user.uid", "out of range"),
        ({"process__user": {"uid": "0"}}, "process.user.uid", "must be an integer, not a string"),
        ({"process__user": {"uid": True}}, "process.user.uid", "must be an integer, not a boolean"),
        ({"process__cwd": "tmp"}, "process.cwd", "not absolute"),
        ({"hooks__poststop": [{"path": "/x"}, {"path": "x"}]}, "hooks.poststop[1].path", "not absolute"),
        (
            {"linux__namespaces": [{"type": "pid"}, {"type": "pid"}, {"type": "uts"}]},
            "linux.namespaces[1].type",
            "duplicate",
        ),
        ({"linux__namespaces": [{"type": "uts", "path": "x"}]}, "linux.namespaces[0].path", "not absolute"),
        ({"linux__namespaces": [{"type": "pid"}]}, "hostname", "needs a uts namespace"),
        (
            {"linux__uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]},
            "linux.uidMappings",
            "needs a user namespace",
        ),
        *(
            (
                {"linux__resources": {"hugepageLimits": [{"pageSize": size, "limit": 0}]}},
                "linux.resources.hugepageLimits[0].pageSize",
                "malformed",
            )
            for size in ("64kB", "2M", "0MB", "2MiB", "")
        ),
        ({"freebsd__jail": {"vnet": "disable"}}, "freebsd.jail.vnet", "unknown value"),
        ({"freebsd__devices": [{"mode": 448}]}, "freebsd.devices[0].path", "is missing"),
        ({"linux__sysctl": {"kernel.panic": "1"}}, "linux.sysctl.kernel.panic", "belongs to the host"),
        ({"linux__sysctl": {"../x": "1"}}, "linux.sysctl.../x", "is not a valid sysctl name"),
        ({"linux__sysctl": {"kernel.hostname": "b"}}, "linux.sysctl.kernel.hostname", "contradicts hostname"),
        *(
            ({"linux__netDevices": {"veth0": {"name": name}}}, "linux.netDevices", "invalid network device name")
            for name in ("../x", "a/b", "eth%d", "a b", "a:b", "..", "\u00e9" * 8, "a\u00a0")
        ),
        ({"linux__netDevices": {"x" * 70000: {"name": "eth0"}}}, "linux.netDevices", "invalid network device name"),
        (
            {"linux__netDevices": {"a": {"name": "b"}, "b": {}}},
            "linux.netDevices.b",
            "another device also gets the name 'b'",
        ),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_a_fault_names_its_field(changes: dict[str, Any], path: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load.check_config(config(**changes))
    assert caught.value.path == path
    assert words in caught.value.problem


def test_what_the_specification_does_not_know_is_ignored() -> None:
    load.check_config(config(newThing={"x": 1}, linux__other=[1]))


def test_a_config_without_a_process_is_valid() -> None:
    """It is required when `start` is called, not before (config.md "Process")."""
    load.check_config(config(process=None))


def test_freebsds_part_is_checked_and_has_no_effect() -> None:
    jail = {"host": "new", "vnet": "inherit", "ip4": "disable", "enforceStatfs": 1, "allow": {"mount": ["tmpfs"]}}
    load.check_config(config(freebsd={"devices": [{"path": "pf", "mode": 448}], "jail": jail}))


def test_dev_versions_are_accepted() -> None:
    load.check_config(config(ociVersion="1.0.2-dev"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "not valid JSON: Expecting property name enclosed in double quotes at line 1 column 2"),
        (b"[]", "must hold a JSON object, not list"),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b'{"a": "\\ud800"}', "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b" " * (load.MAX_DOCUMENT + 1), "larger than 4 MiB"),
    ],
)
def test_bytes_that_are_no_document_say_so(content: bytes, words: str) -> None:
    with pytest.raises(ConfigError, match=r"config\.json") as caught:
        load.parse_document(content, "config.json")
    assert words in str(caught.value)


def test_null_is_not_set() -> None:
    assert load.parse_document(b'{"a": null, "b": [{"c": null}]}', "x") == {"b": [{}]}


def test_rules_list_every_fault() -> None:
    document = config(process__args=[], process__cwd="x", linux__sysctl={"vm.swappiness": "1"})
    assert [f.path for f in rules.faults(document)] == ["process.args", "process.cwd", "linux.sysctl.vm.swappiness"]


@pytest.mark.parametrize("text", ['{"a": "x\\u0000"}', '{"a\\u0000": 1}', '{"a":\n"\\\\\\u0000"}'])
def test_a_nul_is_refused_before_anything_is_done(tmp_path: Path, text: str) -> None:
    """No string that the kernel takes can hold one, and Python's calls fail on it in many ways."""
    (tmp_path / "d").write_text(text)
    with pytest.raises(ConfigError, match=rf"has a NUL character \(\\u0000\) in line {text.count(chr(10)) + 1}"):
        load.load_document(str(tmp_path / "d"), advice="")


def test_what_looks_like_a_nul_is_none(tmp_path: Path) -> None:
    (tmp_path / "d").write_text('{"a": "\\\\u0000"}')
    assert load.load_document(str(tmp_path / "d"), advice="") == {"a": "\\u0000"}


def test_nesting_is_bounded_with_nulls_in_it() -> None:
    for depth in range(100, 1200, 50):
        with contextlib.suppress(ConfigError):
            load.parse_document(b'{"a":' + b"[" * depth + b"null" + b"]" * depth + b"}", "x")
