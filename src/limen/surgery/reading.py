"""Read everything that the ``forward`` of a module runs, function by function, as far as its source shows."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

import torch
from torch import nn

from limen.surgery.callees import names_in
from limen.surgery.calls import Body, find_calls
from limen.surgery.derive import base_of
from limen.surgery.known import NAMES, function_name
from limen.surgery.scope import Method, Scope, attribute, function_of, plain_mro
from limen.surgery.source import Library, NoSourceError, undecorated

_ASKED = NAMES - {"threshold", "clamp", "clip", "clamp_", "clip_", "clamp_min", "clamp_min_"}
_DEEPEST_HELPER = 4
_OURS = ("limen.activations", "limen.surgery")


@dataclass
class Reading:
    """What was found in the functions of one module."""

    module: nn.Module
    bodies: list[Body] = field(default_factory=list)
    unreached: list[str] = field(default_factory=list)

    @property
    def walks_children(self) -> bool:
        """Whether a function goes through the module's own children."""
        return any(body.walks_children for body in self.bodies)

    @property
    def calls_by_key(self) -> bool:
        """Whether a function takes a method of the module by a name that only running tells."""
        return any(body.calls_by_key for body in self.bodies)


def read_all(modules: Iterable[nn.Module]) -> dict[int, Reading]:
    """A reading of every module that someone else wrote, by the module's ``id``.

    A method of another module that a ``forward`` calls belongs to that module's reading.
    """
    every = list(modules)
    own = {id(module): module for module in every if not _is_ours_or_torchs(module)}
    entries = {key: ["forward"] for key in own}
    readings: dict[int, Reading] = {}
    library = Library({id(part) for module in every for part in _held(module)})
    waiting = deque(own)
    while waiting:
        key = waiting.popleft()
        readings[key] = _read(own[key], entries[key], library)
        for module, name in (call for body in readings[key].bodies for call in body.elsewhere):
            if id(module) in own and name not in entries[id(module)]:
                entries[id(module)].append(name)
                waiting.append(id(module))
    return readings


def _held(module: nn.Module) -> Iterator[Any]:
    """A module, its children, and what lies in its lists, tuples and dictionaries."""
    yield module
    yield from module._modules.values()
    for value in vars(module).values():
        if isinstance(value, (list, tuple, dict)):
            yield from value.values() if isinstance(value, dict) else value


_TORCHS = ("torch.nn.", "torch._dynamo", "torch.ao.nn.quantized.modules.functional_modules")


def _is_ours_or_torchs(module: nn.Module) -> bool:
    return base_of(module).__module__.startswith((*_TORCHS, *_OURS))


def _read(module: nn.Module, entries: list[str], library: Library) -> Reading:
    reading = Reading(module)
    if isinstance(module, torch.jit.ScriptModule):
        names = sorted(name for name in _ASKED if f".{name}(" in str(getattr(module, "code", "")))
        reading.unreached += [f"{type(module).__name__}: {name} in a scripted module" for name in names]
        return reading
    if isinstance(module, torch.fx.GraphModule):
        reading.unreached += _nodes(module)
        return reading
    if "forward" in vars(module):
        reading.unreached.append(f"{base_of(module).__name__}: its forward was replaced on the object itself")
        return reading
    waiting: list[tuple[Method | FunctionType, int]] = []
    for name in entries:
        method = attribute(module, name)
        if isinstance(method, Method):
            waiting.append((method, 0))
    seen: set[Any] = set()
    while waiting:
        origin, depth = waiting.pop(0)
        if origin in seen or _is_torchs(origin):
            continue
        seen.add(origin)
        body = _body(reading, origin, depth, library)
        if body is not None:
            reading.bodies.append(body)
            waiting += [(lead, depth + isinstance(lead, FunctionType)) for _, lead in body.leads]
    return reading


def _nodes(module: torch.fx.GraphModule) -> list[str]:
    """Activations in a traced graph that are functions; its modules are sites like any."""
    names = {node: _node_name(node) for node in module.graph.nodes}
    return [f"{type(module).__name__}: {name} at node {node.name}" for node, name in names.items() if name in _ASKED]


def _node_name(node: torch.fx.Node) -> str:
    if node.op == "call_function":
        return function_name(node.target)
    return str(node.target) if node.op == "call_method" else ""


def _is_torchs(origin: Method | FunctionType) -> bool:
    return isinstance(origin, Method) and origin.owner.__module__.startswith(("torch.", *_OURS))


def _body(reading: Reading, origin: Method | FunctionType, depth: int, library: Library) -> Body | None:
    function = function_of(origin)
    if depth > _DEEPEST_HELPER or origin in library.clean:
        return None
    try:
        inner = undecorated(function)
        source = library.read(inner)
    except NoSourceError as reason:
        reading.unreached += _without_source(reading.module, function, str(reason))
        return None
    owner = origin.owner if isinstance(origin, Method) else None
    body = Body(Scope(source, reading.module if owner else None, owner), origin, library.held)
    find_calls(body, library.barren(inner, owner))
    reading.unreached += [f"{body.location(node)}: {why}" for node, why in body.unreached]
    given = (*(inner.__defaults__ or ()), *(inner.__kwdefaults__ or {}).values())
    names = [function_name(value) for value in given if function_name(value)]
    reading.unreached += [f"{body.location(source.node)}: {name} as a default argument" for name in names]
    if isinstance(origin, FunctionType) and not (body.calls or body.leads or body.unreached):
        library.clean.add(origin)
    return body


def _without_source(module: nn.Module, function: Any, reason: str) -> list[str]:
    code = getattr(inspect.unwrap(function), "__code__", None)
    names = sorted(names_in(code) & _ASKED) if code is not None else []
    where = f"{code.co_filename}:{code.co_firstlineno}" if code is not None else type(module).__name__
    return [f"{where}: {name} in {getattr(function, '__qualname__', '?')}, and {reason}" for name in names]


def uncalled(reading: Reading) -> list[tuple[str, str]]:
    """Methods that name activations and that no call by name leads to: (location, method and names)."""
    read_functions = {body.source.function.__code__ for body in reading.bodies}
    found = []
    cls = base_of(reading.module)
    for owner in plain_mro(cls):
        if owner.__module__ != cls.__module__:
            continue  # a framework's base class
        for name, value in vars(owner).items():
            code = getattr(inspect.unwrap(value), "__code__", None) if isinstance(value, FunctionType) else None
            if code is None or code in read_functions or name.startswith("__") or name == "forward":
                continue
            names = sorted(names_in(code) & _ASKED)
            if names:
                found.append(
                    (f"{code.co_filename}:{code.co_firstlineno}", f"{owner.__name__}.{name}: {', '.join(names)}")
                )
    return found
