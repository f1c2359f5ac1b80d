"""List every place in a model where an activation or a gate is computed, without changing anything."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

from limen.surgery.calls import Body, Call, FormulaModule, as_module, is_activation
from limen.surgery.derive import base_of
from limen.surgery.flow import Flow
from limen.surgery.known import ACTIVATIONS, FUSED, GATES
from limen.surgery.reading import Reading, read_all, uncalled
from limen.surgery.recognise import is_library_activation, recognise_module
from limen.surgery.rewriting import HIDING, position

Place = Literal["child", "attribute", "item", "call", "root"]

OVERWRITES = "limen_overwrites"
"""Marks the class of an activation that surgery made to overwrite its input."""

PLUMBING = frozenset(vars(nn.Module()))
"""Attributes that every module has."""


@dataclass
class Spot:
    """One place where an activation or a gate is computed."""

    path: str
    owner: nn.Module
    name: str
    """The name under which the owner holds, or will hold, the activation's module."""
    place: Place
    original: nn.Module
    """Computes what stands here."""
    like: nn.Module
    """The known function that it equals; itself where it is one."""
    known: bool = True
    """Whether it is a known activation, not only some function of each element."""
    in_place: bool = False
    location: str = ""
    call: tuple[Body, Call] | None = None
    trimmed: list[tuple[Body, Call]] = field(default_factory=list)
    """Calls of the owner's own attribute that pass more than the input."""
    item: tuple[str, Any] = ("", None)
    """Attribute and key of an item in a list or dictionary."""

    @property
    def home(self) -> tuple[int, str]:
        """What the call is one of: ``id`` of the owner and the attribute called; nothing for other sites."""
        return (id(self.owner), self.call[1].child) if self.place == "call" and self.call else (0, "")

    @property
    def was_module(self) -> bool:
        """Whether a module of the model's own stood here, with hooks and a mode."""
        return self.place == "child" or (self.place == "call" and bool(self.call and self.call[1].child))

    @property
    def tie(self) -> int:
        """The same for places that held one object."""
        return id(self.original)


@dataclass
class Survey:
    """Everything there is to know about a model's activations before surgery."""

    spots: list[Spot]
    flow: Flow
    readings: dict[int, Reading]
    kept: list[tuple[str, str, str]]
    """What cannot be a site and is named all the same: path, what, reason."""
    unreached: list[str]


def survey(model: nn.Module, split_calls: bool = True) -> Survey:
    """Find all sites; with ``split_calls`` each call of one child is a site of its own."""
    modules = [module for _, module in _containers(model)]
    readings = read_all(modules)
    found = Survey([], Flow(model, readings), readings, [], [])
    if is_activation(model):
        found.spots.append(_spot("", model, "activation", "root", model))
        return found
    for path, owner in _containers(model):
        prefix = f"{path}." if path else ""
        spots = [*_children(prefix, owner), *_attributes(prefix, owner), *_items(prefix, owner)]
        reading = readings.get(id(owner))
        found.kept += _fused(path, owner)
        if reading is not None:
            found.unreached += reading.unreached
            _name_uncalled(path, reading, found)
            spots += _calls(prefix, owner, reading, spots, split_calls, found.unreached)
        found.spots += spots
    found.unreached = sorted(set(found.unreached))
    return found


def _name_uncalled(path: str, reading: Reading, found: Survey) -> None:
    for place, what in uncalled(reading):
        if reading.calls_by_key:
            found.unreached.append(f"{place}: {what}, which may run by a name that only running tells")
        else:
            found.kept.append((f"{path} {place}".strip(), what, "forward does not lead to it"))


def _containers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Every module that is no site and lies in none, with its first path, outermost first."""
    seen: set[int] = set()
    waiting = [("", model)]
    while waiting:
        path, module = waiting.pop(0)
        if id(module) in seen:
            continue
        seen.add(id(module))
        yield path, module
        prefix = f"{path}." if path else ""
        waiting += [
            (f"{prefix}{name}", child)
            for name, child in module._modules.items()
            if child is not None and not is_activation(child)
        ]


def _spot(path: str, owner: nn.Module, name: str, place: Place, module: nn.Module) -> Spot:
    like, known, in_place = module, True, bool(getattr(module, "inplace", False))
    if not isinstance(module, (*ACTIVATIONS, *GATES)):
        found = recognise_module(module)
        in_place = bool(found and found.in_place)  # what others call inplace may be ignored by them
        if isinstance(module, FormulaModule):
            like, in_place = module.like, module.in_place
        elif found is not None and found.like is not None:
            like = found.like
        else:
            known = is_library_activation(module) and found is not None
    in_place |= bool(getattr(type(module), OVERWRITES, False))
    return Spot(path, owner, name, place, module, like, known, in_place)


def _children(prefix: str, owner: nn.Module) -> list[Spot]:
    return [
        _spot(f"{prefix}{name}", owner, name, "child", child)
        for name, child in owner._modules.items()
        if child is not None and is_activation(child)
    ]


def _attributes(prefix: str, owner: nn.Module) -> Iterator[Spot]:
    """Functions that the module holds: ``self.act = F.gelu``."""
    for name, value in list(vars(owner).items()):
        module = None if name in PLUMBING or not callable(value) else as_module(value)
        if module is not None:
            yield _spot(f"{prefix}{name}", owner, name, "attribute", module)


def _items(prefix: str, owner: nn.Module) -> Iterator[Spot]:
    """Functions and unregistered modules in a list, tuple or dictionary that the module holds."""
    registered = {id(child) for child in owner._modules.values()}
    for attribute, value in list(vars(owner).items()):
        if attribute in PLUMBING or not isinstance(value, (list, tuple, dict)):
            continue
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            if id(item) in registered:
                continue  # a site as a child, and exchanged here with it
            module = item if isinstance(item, nn.Module) and is_activation(item) else None
            module = as_module(item) if module is None and callable(item) else module
            if module is None:
                continue
            name = free_name(owner, f"{attribute}_{key}".replace(".", "_"), first="")
            spot = _spot(f"{prefix}{name}", owner, name, "item", module)
            spot.item = (attribute, key)
            yield spot


def _fused(path: str, owner: nn.Module) -> list[tuple[str, str, str]]:
    name = base_of(owner).__name__
    return [(path, name, why) for cls, why in FUSED.items() if isinstance(owner, cls)]


def _calls(
    prefix: str, owner: nn.Module, reading: Reading, held: list[Spot], split: bool, unreached: list[str]
) -> list[Spot]:
    """Sites that are calls, and for each held activation its own call; what cannot be registered is unreached."""
    done = _already_rewritten(owner)
    by_name = {spot.name: spot for spot in held if spot.place in ("child", "attribute")}
    blocked = reading.walks_children and not isinstance(owner, HIDING)
    taken: set[str] = set()
    found: list[Spot] = []
    for body, call in [(b, c) for b in reading.bodies for c in b.calls]:
        places = [call.node, call.node.func] if isinstance(call.node, ast.Call) else [call.node]
        if any((body.origin, position(body, place)) in done for place in places):
            continue
        home = by_name.get(call.child)
        if call.child and home is None:
            continue
        if home is not None and (home.call is None or not split):
            home.call = home.call or (body, call)
            home.location = home.location or body.location(call.node)
            home.in_place |= call.in_place
            home.trimmed += [(body, call)] if call.extra else []
            if home.place == "attribute":
                home.original = home.like = call.original  # with the arguments of the call
        elif blocked:
            unreached.append(f"{body.location(call.node)}: {_text(call)}, and this forward goes through its children")
        else:
            name = free_name(owner, call.child or call.label, "2" if call.child else "1", taken)
            found.append(_call_spot(prefix, owner, name, body, call, home))
    return found


def _call_spot(prefix: str, owner: nn.Module, name: str, body: Body, call: Call, home: Spot | None) -> Spot:
    # A function held as an attribute may get other arguments at each call; a module is the same everywhere.
    original = home.original if home is not None and home.place == "child" else call.original
    spot = _spot(f"{prefix}{name}", owner, name, "call", original)
    spot.call, spot.location, spot.in_place = (body, call), body.location(call.node), call.in_place
    return spot


def _already_rewritten(owner: nn.Module) -> set[tuple[Any, Any]]:
    recipe = getattr(type(owner), "limen_recipe", ((), ()))
    rewrites = recipe[0] if recipe and isinstance(recipe[0], tuple) else ()
    return {(rewrite.origin, edit.position) for rewrite in rewrites for edit in rewrite.edits}


def free_name(owner: nn.Module, wanted: str, first: str, taken: set[str] | None = None) -> str:
    """``wanted_1``, or the next number that the owner has no attribute for."""
    taken = set() if taken is None else taken
    number = int(first or 0)
    name = f"{wanted}_{number}" if first else wanted
    while hasattr(owner, name) or name in taken:
        number += 1
        name = f"{wanted}_{number}"
    taken.add(name)
    return name


def _text(call: Call) -> str:
    return ast.unparse(call.node)
