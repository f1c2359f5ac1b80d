"""What a function's syntax tree says by itself, whichever object the function runs for."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any

_SAYING_NOTHING = (ast.expr_context, ast.operator, ast.unaryop, ast.cmpop, ast.boolop, ast.Constant)

Children = Mapping[int, list[ast.AST]]
"""The parts of each node, by the node's ``id``, but for operators and constants."""


def children_of(node: ast.AST) -> Children:
    """The parts of a node and of all nodes in it."""
    return {
        id(part): [child for child in ast.iter_child_nodes(part) if not isinstance(child, _SAYING_NOTHING)]
        for part in ast.walk(node)
    }


def parents_of(children: Children, root: ast.AST) -> Mapping[int, ast.AST]:
    """The part that each part lies in, by ``id``."""
    return {id(child): part for part in ast.walk(root) for child in children[id(part)]}


def part_at(node: ast.AST, path: str) -> Any:
    """The part of an expression that a path leads to, such as ``left.args.0``."""
    part: Any = node
    for step in path.split("."):
        part = part[int(step)] if step.isdigit() else getattr(part, step)
    return part


def bindings(node: ast.FunctionDef) -> Mapping[str, Any]:
    """Local name → the one expression or import it is bound to, or nothing if it is bound otherwise or often."""
    found: dict[str, Any] = {}
    for name, value in _bound(node):
        found[name] = None if name in found else value
    return found


def of_instance(node: ast.FunctionDef, bound: Mapping[str, Any], children: Children) -> frozenset[int]:
    """The ``id`` of every node whose meaning may differ between objects that the function is a method of."""
    arguments = [*node.args.posonlyargs, *node.args.args]
    names = {"super", *(argument.arg for argument in arguments[:1])}
    growing = True
    while growing:
        own = {name for name, value in bound.items() if isinstance(value, ast.expr) and _mentions(value, names)}
        growing = not own <= names
        names |= own
    found: set[int] = set()
    _collect(node, names, children, found)
    return frozenset(found)


def _mentions(value: ast.expr, names: set[str]) -> bool:
    return any(isinstance(part, ast.Name) and part.id in names for part in ast.walk(value))


def _collect(node: ast.AST, names: set[str], children: Children, found: set[int]) -> bool:
    depends = isinstance(node, ast.Name) and node.id in names
    for child in children[id(node)]:
        depends |= _collect(child, names, children, found)
    if depends:
        found.add(id(node))
    return depends


def _bound(node: ast.FunctionDef) -> Iterator[tuple[str, Any]]:
    simple: set[int] = set()
    for item in ast.walk(node):
        if isinstance(item, ast.arg):
            yield item.arg, None
        elif isinstance(item, ast.Assign) and len(item.targets) == 1 and isinstance(item.targets[0], ast.Name):
            simple.add(id(item.targets[0]))
            yield item.targets[0].id, item.value
        elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and item.value:
            simple.add(id(item.target))
            yield item.target.id, item.value
        elif isinstance(item, ast.ImportFrom):
            module = "." * item.level + (item.module or "")
            yield from ((alias.asname or alias.name, (module, alias.name)) for alias in item.names)
        elif isinstance(item, ast.Import):
            yield from (_import(alias) for alias in item.names)
        elif isinstance(item, ast.Name) and not isinstance(item.ctx, ast.Load) and id(item) not in simple:
            yield item.id, None
        elif isinstance(item, ast.FunctionDef) and item is not node:
            yield item.name, None


def _import(alias: ast.alias) -> tuple[str, tuple[str, str]]:
    if alias.asname:
        return alias.asname, (alias.name, "")
    top = alias.name.partition(".")[0]
    return top, (top, "")
