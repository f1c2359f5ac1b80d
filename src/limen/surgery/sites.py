"""List every place in a model where an activation or a gate is computed, without changing anything."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

from limen.beside.pairs import OVERWRITES
from limen.surgery.branches import Order
from limen.surgery.callees import FormulaModule, as_module, is_activation
from limen.surgery.calls import Body, Call
from limen.surgery.derive import base_of
from limen.surgery.flow import Flow, channels_of
from limen.surgery.known import ACTIVATIONS, FUSED, GATES
from limen.surgery.reading import Reading, read_all, uncalled
from limen.surgery.recognise import is_library_activation, recognise_module
from limen.surgery.rewriting import HIDING, position
from limen.surgery.twins import places_of, places_that_run

Place = Literal["child", "attribute", "item", "call", "root"]

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
    also: list[tuple[Body, Call]] = field(default_factory=list)
    """Further calls of the same activation, in branches that rule one another out, or as it is shared."""
    twins: list[Spot] = field(default_factory=list)
    """Other places of the same object that are no sites of their own."""
    aliases: list[str] = field(default_factory=list)
    """Its other paths: those of its twins, and one more for each further name of a module above it."""
    trimmed: list[tuple[Body, Call]] = field(default_factory=list)
    """Calls of the owner's own attribute that pass more than the input."""
    item: tuple[str, Any] = ("", None)
    """Attribute and key of an item in a list or dictionary."""

    @property
    def calls(self) -> list[tuple[Body, Call]]:
        """All its calls, as far as they are known."""
        return [self.call, *self.also] if self.call else []

    @property
    def home(self) -> tuple[int, str]:
        """What the call is one of: ``id`` of the owner and the attribute called; nothing for other sites."""
        return (id(self.owner), self.call[1].child) if self.place == "call" and self.call else (0, "")

    @property
    def was_module(self) -> bool:
        """Whether a module of the model's own stood here, with hooks and a mode."""
        if self.place == "item":
            attribute, key = self.item
            return vars(self.owner)[attribute][key] is self.original
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


def survey(model: nn.Module, split_calls: bool = True, by_channel: bool = False) -> Survey:
    """Find all sites; with ``split_calls`` each call of one child is a site of its own.

    Calls of which only one can run are one site, ``by_channel`` only if no two layers of unlike widths feed them.
    """
    modules = [module for _, module in _containers(model)]
    readings = read_all(modules)
    found = Survey([], Flow(model, readings), readings, [], [])
    aparts: dict[int, _Apart] = {}
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
            if split_calls:
                aparts[id(owner)] = _Apart(reading, found.flow if by_channel else None)
            spots += _calls(prefix, owner, reading, spots, aparts.get(id(owner)), found.unreached)
        found.spots += spots
    found.spots = _without_twins(model, readings, found.spots, aparts)
    found.unreached = sorted(set(found.unreached))
    places = places_of(model)
    for spot in found.spots:
        paths = (f"{prefix}{one.name}" for one in (spot, *spot.twins) for prefix in places[id(one.owner)])
        spot.aliases = [path for path in paths if path != spot.path]
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
    prefix: str, owner: nn.Module, reading: Reading, held: list[Spot], apart: _Apart | None, unreached: list[str]
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
        same = _same_site(home, found, (body, call), apart)
        if same is not None:
            _add_call(same, body, call)
        elif blocked:
            unreached.append(f"{body.location(call.node)}: {_text(call)}, and this forward goes through its children")
        else:
            name = free_name(owner, call.child or call.label, "2" if call.child else "1", taken)
            found.append(_call_spot(prefix, owner, name, body, call, home))
    return found


def _same_site(home: Spot | None, found: list[Spot], call: tuple[Body, Call], apart: _Apart | None) -> Spot | None:
    """The site that a call of a held activation is one of, if it is none of its own."""
    if home is None or home.call is None or apart is None:
        return home
    others = [home, *(spot for spot in found if spot.home == (id(home.owner), home.name))]
    return next((spot for spot in others if apart.is_one(spot, call)), None)


def _add_call(spot: Spot, body: Body, call: Call) -> None:
    if spot.call is None:
        spot.call = (body, call)
        spot.location = spot.location or body.location(call.node)
        if spot.place == "attribute":
            spot.original = spot.like = call.original  # with the arguments of the call
    else:
        spot.also.append((body, call))
    spot.in_place |= call.in_place
    if call.extra and spot.place != "call":
        spot.trimmed.append((body, call))


class _Apart:
    """Whether calls are in branches that rule one another out; asked only where one object is called twice."""

    def __init__(self, reading: Reading, flow: Flow | None) -> None:
        self.reading = reading
        self.flow = flow
        self._order: Order | None = None

    @property
    def order(self) -> Order:
        """Of all calls of the module."""
        self._order = self._order or Order(self.reading)
        return self._order

    def is_one(self, spot: Spot, call: tuple[Body, Call]) -> bool:
        """Whether a further call can be one site with those of a site."""
        alike = repr(spot.calls[0][1].original) == repr(call[1].original)
        return alike and all(
            self.order.rules_out(other[1], call[1]) and self._fits(other, call) for other in spot.calls
        )

    def _fits(self, first: tuple[Body, Call], second: tuple[Body, Call]) -> bool:
        layers = [self.flow.before_call(*call) for call in (first, second)] if self.flow is not None else []
        return len({channels_of(layer) for layer in layers if layer is not None}) < 2


def _without_twins(
    model: nn.Module, readings: dict[int, Reading], spots: list[Spot], aparts: dict[int, _Apart]
) -> list[Spot]:
    """One site for a module that several names hold, where in any pass only one of them can run."""
    held: dict[int, list[Spot]] = {}
    for spot in spots:
        if spot.place == "child":
            held.setdefault(spot.tie, []).append(spot)
    several = [same for same in held.values() if len(same) > 1]
    if not several:
        return spots
    run, merged = places_that_run(model, readings), set()
    for same in several:
        running = [spot for spot in same if spot.call is not None or (id(spot.owner), spot.name) in run]
        sites = running[:1]
        for spot in (spot for spot in same if running and spot is not running[0]):
            first = _one_with(spot, sites, aparts) if spot in running else running[0]
            if first is None:
                sites.append(spot)
                continue
            first.twins.append(spot)
            first.also += spot.calls
            first.in_place |= spot.in_place
            merged.add(id(spot))
    return [spot for spot in spots if id(spot) not in merged]


def _one_with(spot: Spot, sites: list[Spot], aparts: dict[int, _Apart]) -> Spot | None:
    """The site under another name of the same owner that never runs in one pass with this one."""
    apart = aparts.get(id(spot.owner))
    for other in sites:
        called = apart is not None and other.owner is spot.owner and spot.calls and other.calls
        if called and apart is not None and all(apart.is_one(other, call) for call in spot.calls):
            return other
    return None


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
