"""Write calls that belong together as one: what stands apart in a function's tree goes into one call of a method.

Places are paths from the function, such as ``body.0.value.args.0``, in the tree that its activations were rewritten in.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from limen.surgery.binding import part_at


@dataclass(frozen=True)
class Fusion:
    """What of a function becomes one call of ``self.<method>``."""

    place: str
    """The expression in whose stead the call stands."""
    method: str
    given: tuple[str, ...]
    """What it is given: places of expressions, or constants after ``=``, attributes of the object after ``@``."""
    passed: tuple[tuple[str, str], ...] = ()
    """Expressions that are left out, as they are computed later, and the part of each that stays."""
    dropped: tuple[str, ...] = ()
    """Statements that are left out."""


def paths_of(function: ast.FunctionDef) -> dict[int, str]:
    """The path of every node, by ``id``."""
    found: dict[int, str] = {}

    def note(node: ast.AST, path: str) -> None:
        found[id(node)] = path
        for step, part in _parts(node):
            note(part, f"{path}.{step}".lstrip("."))

    note(function, "")
    return found


def _parts(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    for name, value in ast.iter_fields(node):
        for index, part in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(part, (ast.expr, ast.stmt, ast.keyword)):
                yield (name if index is None else f"{name}.{index}"), part


def weave(function: ast.FunctionDef, fusions: Sequence[Fusion], self_name: str) -> None:
    """Write the fusions into a function's tree."""
    weaver = _Weaver(function, fusions, self_name)
    body: list[Any] = [weaver.visit(statement) for statement in function.body]
    function.body = body


class _Weaver(ast.NodeTransformer):
    def __init__(self, function: ast.FunctionDef, fusions: Sequence[Fusion], self_name: str) -> None:
        self.self_name = self_name
        # Looked up before anything moves.
        self.calls = {id(part_at(function, f.place)): (f.method, self._given(function, f)) for f in fusions}
        passed = (pair for fusion in fusions for pair in fusion.passed)
        self.passed = {id(part_at(function, place)): part_at(function, stays) for place, stays in passed}
        self.dropped = {id(part_at(function, place)) for fusion in fusions for place in fusion.dropped}

    def _given(self, function: ast.FunctionDef, fusion: Fusion) -> list[ast.expr]:
        return [self._one(function, given) for given in fusion.given]

    def _one(self, function: ast.FunctionDef, given: str) -> ast.expr:
        if given.startswith("@"):
            return self._attribute(given[1:])
        return ast.Constant(given == "=True") if given.startswith("=") else part_at(function, given)

    def _attribute(self, name: str) -> ast.expr:
        return ast.Attribute(ast.Name(self.self_name, ast.Load()), name, ast.Load())

    def visit(self, node: ast.AST) -> ast.AST:
        """The node, or what stands in its stead."""
        if id(node) in self.dropped:
            return ast.copy_location(ast.Pass(), node)
        if id(node) in self.passed:
            kept: ast.AST = self.visit(self.passed[id(node)])
            return kept
        if id(node) not in self.calls:
            visited: ast.AST = super().generic_visit(node)
            return visited
        method, given = self.calls[id(node)]
        call = ast.Call(self._attribute(method), [self.visit(part) for part in given], [])  # type: ignore[misc]
        for part in ast.walk(call):
            if isinstance(part, ast.expr) and not hasattr(part, "lineno"):
                ast.copy_location(part, node)
        return call
