"""One module that is registered at several places: under which of them it runs, and which only name it.

nnU-Net's block holds its activation as ``nonlin`` and in the ``Sequential`` that it calls: that is one site.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from torch import nn

from limen.surgery.calls import Body
from limen.surgery.reading import Reading
from limen.surgery.scope import is_super

Place = tuple[int, str]
"""``id`` of the owner, and the name."""


def places_of(model: nn.Module) -> dict[int, list[str]]:
    """Every path of every module, by ``id``, as a prefix of its children's names: a shared one has several."""
    found: dict[int, list[str]] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        found.setdefault(id(module), []).append(f"{path}." if path else "")
    return found


def places_that_run(model: nn.Module, readings: Mapping[int, Reading]) -> set[Place]:
    """Every registration that a run may go through, as far as the sources show; in doubt it may."""
    from_outside = {name for reading in readings.values() for body in reading.bodies for name in _of_others(body)}
    found: set[Place] = set()
    waiting, seen = [model], {id(model)}
    while waiting:
        module = waiting.pop()
        names = _own_names(readings.get(id(module)))
        for name, child in module._modules.items():
            if child is None or not (names is None or name in names or name in from_outside):
                continue
            found.add((id(module), name))
            if id(child) not in seen:
                seen.add(id(child))
                waiting.append(child)
    return found


def _own_names(reading: Reading | None) -> set[str] | None:
    """The attributes of itself that a module's functions name; nothing if they may reach any."""
    if reading is None or not reading.bodies or reading.unreached or reading.walks_children:
        return None
    names: set[str] = set()
    for body in reading.bodies:
        own = body.scope.self_name
        attributes = [node for node in ast.walk(body.source.node) if isinstance(node, ast.Attribute)]
        mine = [node for node in attributes if isinstance(node.value, ast.Name) and node.value.id == own]
        names.update(body.scope._mangled(node.attr) for node in mine)
        harmless = {id(node.value) for node in mine} | set(_arguments_of_super(body))
        if own and any(_is_name(node, own) and id(node) not in harmless for node in ast.walk(body.source.node)):
            return None  # handed on whole, as to getattr
    return names


def _arguments_of_super(body: Body) -> Iterator[int]:
    for node in ast.walk(body.source.node):
        if isinstance(node, ast.Call) and is_super(node):
            yield from (id(argument) for argument in node.args)


def _of_others(body: Body) -> Iterator[str]:
    """Attributes of anything but the module itself, such as ``self.encoder.act``."""
    for node in ast.walk(body.source.node):
        if isinstance(node, ast.Attribute) and not _is_name(node.value, body.scope.self_name):
            yield node.attr


def _is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
