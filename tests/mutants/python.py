"""Faults in Python source, found in its syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.mutants.mutant import Mutant, make

OPERATORS: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="), ast.Is: ("is", "is not"), ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"), ast.NotIn: ("not in", "in"),
}  # fmt: skip


class _Finder:
    def __init__(self, file: str, source: bytes) -> None:
        self.file, self.source = file, source
        self.lines = [0]
        for line in source.splitlines(keepends=True):
            self.lines.append(self.lines[-1] + len(line))

    def start(self, node: ast.expr | ast.stmt) -> int:
        return self.lines[node.lineno - 1] + node.col_offset

    def end(self, node: ast.expr | ast.stmt) -> int:
        assert node.end_lineno is not None and node.end_col_offset is not None
        return self.lines[node.end_lineno - 1] + node.end_col_offset

    def between(self, left: ast.expr, right: ast.expr, old: str, new: str) -> Iterator[Mutant]:
        """The operator that stands between two expressions."""
        at = self.source.find(old.encode(), self.end(left), self.start(right))
        if at >= 0:
            yield make(self.file, self.source, at, at + len(old), new)

    def replace(self, node: ast.expr | ast.stmt, new: str) -> Mutant:
        return make(self.file, self.source, self.start(node), self.end(node), new)

    def of(self, node: ast.AST) -> Iterator[Mutant]:
        match node:
            case ast.Compare(left=left, ops=[operator], comparators=[right]):
                yield from self.between(left, right, *OPERATORS[type(operator)])
            case ast.BoolOp(op=operator, values=[first, second, *_]):
                old, new = ("and", "or") if isinstance(operator, ast.And) else ("or", "and")
                yield from self.between(first, second, old, new)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                yield make(self.file, self.source, self.start(node), self.start(operand), "")
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                yield make(self.file, self.source, self.end(left), self.end(right), "")
            case ast.Constant(value=bool() as value):
                yield self.replace(node, str(not value))
            case ast.Constant(value=int() as value):
                yield self.replace(node, str(value + 1))
                if value:
                    yield self.replace(node, str(value - 1))
            case ast.Expr(value=ast.Call()) | ast.Raise():
                yield self.replace(node, "pass")
            case ast.Tuple(elts=[*_, _, last], ctx=ast.Load()) | ast.List(elts=[*_, _, last], ctx=ast.Load()):
                previous = node.elts[-2]
                yield make(
                    self.file, self.source, self.end(previous), self.end(last), "," if len(node.elts) == 2 else ""
                )
            case ast.Set(elts=[*_, _, last]):
                yield make(self.file, self.source, self.end(node.elts[-2]), self.end(last), "")
            case ast.Dict(values=[*_, previous, last]):
                yield make(self.file, self.source, self.end(previous), self.end(last), "")


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """All that runs and means something: no annotations, no `if TYPE_CHECKING`, no subscripts of types; no f-strings, which
    are words for people; and not whether an fd is open, as none of ours is ever 0."""
    if isinstance(node, ast.JoinedStr) or _is_open(node):
        return
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.AST):
                yield from _code(child)


def _is_open(node: ast.AST) -> bool:
    match node:
        case ast.Compare(left=ast.Name(id=name) | ast.Attribute(attr=name), comparators=[ast.Constant(value=0)]):
            return name.endswith("fd")
    return False


def mutants(file: str, source: bytes) -> Iterator[Mutant]:
    """All mutants of a file that still compile."""
    finder = _Finder(file, source)
    for node in _code(ast.parse(source)):
        for mutant in finder.of(node):
            try:
                compile(mutant.apply(source), file, "exec", dont_inherit=True)
            except (SyntaxError, SyntaxWarning):
                continue
            yield mutant
