"""Compile the JSON Schemas of runtime/oci/schema to plain Python: runtime/oci/compiled.py.

Usage: compile_schema.py [OUTPUT]
       compile_schema.py --check    what the build does: are the schemas sound, and is compiled.py made of them?
One function for each schema and each of its $defs answers yes or no, as fast as Python can. Only when the answer is no
does runtime/oci/validate.py walk the schema itself, to find out what is wrong. Two definitions of config.json, process
and resources, are documents of their own as well. Keywords of JSON Schema that no schema uses are not supported.
"""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
SCHEMAS = PROJECT / "runtime" / "oci" / "schema"
OUTPUT = PROJECT / "runtime" / "oci" / "compiled.py"
PARTS = ("process", "resources")  # as in runtime/oci/validate.py
ANNOTATIONS = {"$schema", "title", "description", "$defs"}
TYPES = {"string": "str", "boolean": "bool", "integer": "int", "object": "dict", "array": "list"}


class Compiler:
    """Collects functions and constants; definitions that are the same in several schemas are compiled once."""

    def __init__(self) -> None:
        self.functions: dict[str, str] = {}
        self.constants: dict[str, str] = {}
        self.names: dict[str, str] = {}

    def schema(self, name: str, schema: dict[str, Any]) -> None:
        self.defs = schema.get("$defs", {})
        self.function(f"is_{name}", {k: v for k, v in schema.items() if k not in ANNOTATIONS})

    def constant(self, value: str) -> str:
        return self.constants.setdefault(value, f"C{len(self.constants)}")

    def check(self, schema: dict[str, Any], value: str) -> str:
        """An expression that is true when `value` fits the schema."""
        unknown = set(schema) - ANNOTATIONS - {
            "type", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "properties", "required",
            "additionalProperties", "items", "$ref",
        }  # fmt: skip
        if unknown:
            raise SystemExit(f"compile_schema: {sorted(unknown)} is not compiled")
        if "$ref" in schema:
            return f"{self.definition(schema['$ref'].rsplit('/', 1)[1])}({value})"
        if "enum" in schema:
            options = self.constant("frozenset((" + ", ".join(map(repr, schema["enum"])) + ",))")
            return f"type({value}) is str and {value} in {options}"
        kind = TYPES[schema["type"]]
        parts = [f"type({value}) is {kind}"]
        if "minimum" in schema:
            parts.append(f"{schema['minimum']} <= {value} <= {schema['maximum']}")
        if "minLength" in schema:
            parts.append(f"len({value}) >= {schema['minLength']}")
        if "maxLength" in schema:
            parts.append(f"len({value}) <= {schema['maxLength']}")
        if "minItems" in schema:
            parts.append(f"len({value}) >= {schema['minItems']}")
        if "pattern" in schema:
            search = self.constant(f"re.compile({schema['pattern']!r}).search")
            parts.append(f"{search}({value})")
        if "items" in schema:
            parts.append(self.every(schema["items"], value))
        if isinstance(schema.get("additionalProperties"), dict):
            parts.append(self.every(schema["additionalProperties"], f"{value}.values()"))
        if schema.get("properties") or schema.get("required"):
            parts.append(f"{self.members(schema)}({value})")
        return " and ".join(parts)

    def every(self, schema: dict[str, Any], values: str) -> str:
        """All of several values fit; a bare type is compared as a set, which runs in C."""
        if schema == {"type": "string"}:
            return f"not ({{*map(type, {values})}} - STR)"
        return f"all(map({self.helper(schema)}, {values}))"

    def helper(self, schema: dict[str, Any]) -> str:
        """The name of a function that checks this schema."""
        if "$ref" in schema:
            return self.definition(schema["$ref"].rsplit("/", 1)[1])
        key = json.dumps(schema, sort_keys=True)
        if key not in self.names:
            self.names[key] = f"_item{len(self.names)}"
            self.function(self.names[key], schema)
        return self.names[key]

    def definition(self, name: str) -> str:
        function = f"_{name}"
        if function not in self.functions:
            self.functions[function] = ""
            self.function(function, self.defs[name])
        return function

    def members(self, schema: dict[str, Any]) -> str:
        """A function that checks an object's properties and requirements."""
        key = "members " + json.dumps(schema, sort_keys=True)
        if key in self.names:
            return self.names[key]
        name = self.names[key] = f"_members{len(self.names)}"
        lines = [f"def {name}(o: dict[str, Any]) -> bool:"]
        required = schema.get("required", [])
        if required:
            lines.append(f"    if not ({' and '.join(f'{r!r} in o' for r in required)}):")
            lines.append("        return False")
        properties = schema.get("properties", {})
        if len(properties) <= 4:
            for prop, sub in properties.items():
                test = f"{prop!r} in o and " if prop not in required else ""
                lines.append(f"    if {test}not ({self.check(sub, f'o[{prop!r}]')}):")
                lines.append("        return False")
        else:
            table = {prop: self.helper(sub) for prop, sub in properties.items()}
            constant = f"{name.upper()}_TABLE"
            self.tables[constant] = table
            lines.append(f"    for key in o.keys() & {constant}.keys():")
            lines.append(f"        if not {constant}[key](o[key]):")
            lines.append("            return False")
        lines.append("    return True")
        self.functions[name] = "\n".join(lines)
        return name

    tables: dict[str, dict[str, str]] = {}  # noqa: RUF012 - one compiler, one run

    def function(self, name: str, schema: dict[str, Any]) -> None:
        self.functions[name] = ""  # keeps its place, also against recursion
        body = self.check(schema, "x")
        self.functions[name] = f"def {name}(x: Any) -> bool:\n    return bool({body})"

    def text(self) -> str:
        head = [
            '"""Compiled from runtime/oci/schema by build-aux/compile_schema.py; do not edit. See runtime/oci/validate.py."""',
            "from __future__ import annotations",
            "import re",
            "from collections.abc import Callable",
            "from typing import Any",
            "STR = {str}",
        ]
        constants = [f"{name} = {value}" for value, name in self.constants.items()]
        tables = [
            f"{name}: dict[str, Callable[[Any], bool]] = {{{', '.join(f'{k!r}: {v}' for k, v in table.items())}}}"
            for name, table in self.tables.items()
        ]
        return "\n".join([*head, *constants, *self.functions.values(), *tables]) + "\n"


def compiled() -> str:
    """The whole module."""
    compiler = Compiler()
    schemas = {path.stem: json.loads(path.read_text()) for path in SCHEMAS.glob("*.json")}
    for part in PARTS:
        schemas[part] = {"$ref": f"#/$defs/{part}", "$defs": schemas["config"]["$defs"]}
    for name, schema in sorted(schemas.items()):
        compiler.schema(name, schema)
    return compiler.text()


def check() -> None:
    """Stop if a schema is not valid JSON Schema, or if compiled.py is not what the schemas compile to."""
    from jsonschema import Draft202012Validator, SchemaError

    for path in sorted(SCHEMAS.glob("*.json")):
        try:
            Draft202012Validator.check_schema(json.loads(path.read_text()))
        except SchemaError as e:
            raise SystemExit(f"compile_schema: {path.name} is not a JSON Schema: {e.json_path}: {e.message}") from e
    if ast.dump(ast.parse(compiled())) != ast.dump(ast.parse(OUTPUT.read_text())):
        raise SystemExit(f"compile_schema: {OUTPUT.name} is not what the schemas compile to: run compile_schema.py")


def generate() -> str:
    """The whole module, formatted."""
    import subprocess

    ruff = Path(sys.executable).parent / "ruff"
    done = subprocess.run(
        [ruff, "format", "--stdin-filename", str(OUTPUT), "-"],
        input=compiled(),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


if __name__ == "__main__" and sys.argv[1:] == ["--check"]:
    check()
elif __name__ == "__main__":
    Path(sys.argv[1] if len(sys.argv) > 1 else OUTPUT).write_text(generate())
