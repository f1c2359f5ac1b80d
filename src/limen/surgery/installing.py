"""Put modules at sites, and remember how to take them out again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from limen.surgery.derive import Derived, base_of, derive
from limen.surgery.fastpath import switch_off
from limen.surgery.rewriting import Edit, edit, plan, redirection, rewritten
from limen.surgery.sites import PLUMBING, Spot, Survey
from limen.surgery.state import settle

Undo = list[Callable[[], None]]


def install(model: nn.Module, survey: Survey, new: list[tuple[Spot, nn.Module]]) -> Undo:
    """Put each module at its site. If anything goes wrong, everything is put back before the error goes on."""
    undo: Undo = []
    new = [(place, module) for spot, module in new for place in (spot, *spot.twins)]
    try:
        staying = calls_that_stay(survey, [spot for spot, _ in new])
        held = {spot.path: _held(spot) for spot in staying}
        _register(new, undo)
        for spot in staying:
            _keep(spot, held[spot.path], undo)
        _rewrite(survey, [spot for spot, _ in new], staying, undo)
        changed = {id(spot.owner) for spot, _ in new if spot.name == "activation" and spot.place != "root"}
        switch_off(model, changed, undo)
    except BaseException:
        while undo:
            undo.pop()()
        raise
    return undo


def calls_that_stay(survey: Survey, chosen: list[Spot]) -> list[Spot]:
    """Calls to keep, of what is replaced under the name that they call."""
    places = [place for spot in chosen for place in (spot, *spot.twins)]
    replaced = {(id(spot.owner), spot.name) for spot in places if spot.place in ("child", "attribute")}
    paths = {spot.path for spot in chosen}
    return [spot for spot in survey.spots if spot.home in replaced and spot.path not in paths]


def _held(spot: Spot) -> Any:
    name = spot.home[1]
    return spot.owner._modules.get(name, vars(spot.owner).get(name))


def _keep(spot: Spot, held: Any, undo: Undo) -> None:
    """Hold what a call ran under a name of its own, which the call is then led to."""
    undo.append(partial(delattr, spot.owner, spot.name))
    setattr(spot.owner, spot.name, held)


def _register(new: list[tuple[Spot, nn.Module]], undo: Undo) -> None:
    by_place: Mapping[str, Callable[[Spot, nn.Module, Undo], None]] = {
        "child": _replace_child,
        "attribute": _replace_attribute,
        "item": _replace_item,
        "call": _add_child,
        "root": _delegate,
    }
    for spot, module in new:
        by_place[spot.place](spot, module, undo)
    _exchange_children([(spot, module) for spot, module in new if spot.place == "child"], undo)


def _replace_child(spot: Spot, module: nn.Module, undo: Undo) -> None:
    undo.append(partial(_put_back, spot.owner, spot.name, spot.original))
    spot.owner._modules[spot.name] = module


def _exchange_children(new: list[tuple[Spot, nn.Module]], undo: Undo) -> None:
    """In lists, tuples and dictionaries too, what an owner no longer has among its children."""
    owners = {id(spot.owner): spot.owner for spot, _ in new if _holds_collections(spot.owner)}
    staying = {(key, id(child)) for key, owner in owners.items() for child in owner._modules.values()}
    last = {(id(spot.owner), id(spot.original)): (spot, module) for spot, module in new}
    for place, (spot, module) in last.items():
        if place[0] in owners and place not in staying:
            exchange_items(spot.owner, spot.original, module, undo)


def _holds_collections(owner: nn.Module) -> bool:
    own = (value for name, value in vars(owner).items() if name not in PLUMBING)
    return any(isinstance(value, (list, tuple, dict)) for value in own)


def exchange_items(owner: nn.Module, old: nn.Module, new: nn.Module, undo: Undo) -> None:
    """Put a module for another in every list, tuple and dictionary that their owner holds; these are copied."""
    for attribute, held in list(vars(owner).items()):
        if attribute == "_modules" or not isinstance(held, (list, tuple, dict)):
            continue
        changed = held
        for key, item in list(held.items() if isinstance(held, dict) else enumerate(held)):
            if item is old:
                changed = _with_item(changed, key, new)
        if changed is not held:
            undo.append(partial(_restore_items, owner, attribute, (held, changed), (old, new)))
            vars(owner)[attribute] = changed


def _restore_items(
    owner: nn.Module, attribute: str, lists: tuple[Any, Any], modules: tuple[nn.Module, nn.Module]
) -> None:
    """The very list comes back, unless another item of it was exchanged since."""
    if vars(owner).get(attribute) is lists[1]:
        vars(owner)[attribute] = lists[0]
    else:
        exchange_items(owner, modules[1], modules[0], [])


def _put_back(owner: nn.Module, name: str, old: nn.Module) -> None:
    now = owner._modules[name]
    if now is not None:
        settle(old, now, owner)
    owner._modules[name] = old


def _replace_attribute(spot: Spot, module: nn.Module, undo: Undo) -> None:
    undo.append(partial(_restore_attribute, spot.owner, spot.name, vars(spot.owner)[spot.name]))
    del vars(spot.owner)[spot.name]
    spot.owner._modules[spot.name] = module


def _restore_attribute(owner: nn.Module, name: str, value: Any) -> None:
    del owner._modules[name]
    vars(owner)[name] = value


def _replace_item(spot: Spot, module: nn.Module, undo: Undo) -> None:
    """The list or dictionary is copied, since other objects may hold it too."""
    attribute, key = spot.item
    held = vars(spot.owner)[attribute]
    undo.append(partial(vars(spot.owner).__setitem__, attribute, held))
    vars(spot.owner)[attribute] = _with_item(held, key, module)
    _add_child(spot, module, undo)


def _with_item(held: Any, key: Any, module: nn.Module) -> Any:
    if isinstance(held, tuple):
        items: Any = [module if index == key else item for index, item in enumerate(held)]
        return type(held)(*items) if hasattr(held, "_fields") else type(held)(items)
    changed = held.copy()
    changed[key] = module
    return changed


def _add_child(spot: Spot, module: nn.Module, undo: Undo) -> None:
    undo.append(partial(delattr, spot.owner, spot.name))
    spot.owner._modules[spot.name] = module


def _delegate(spot: Spot, module: nn.Module, undo: Undo) -> None:
    """A model that is itself an activation cannot be replaced, so it hands its input on."""
    undo.append(partial(setattr, spot.owner, "__class__", type(spot.owner)))
    spot.owner.__class__ = derive(type(spot.owner), delegating)
    _add_child(spot, module, undo)


def delegating(base: type) -> dict[str, Any]:
    """A forward that calls the registered activation, and nothing of the old one's description."""

    def forward(self: Any, x: Tensor) -> Tensor:
        return self.activation(x)  # type: ignore[no-any-return]

    return {"forward": forward, "extra_repr": lambda self: ""}


def _rewrite(survey: Survey, spots: list[Spot], staying: list[Spot], undo: Undo) -> None:
    """Give each owner of calls a class whose methods call the registered modules."""
    edits: dict[int, dict[int, list[Edit]]] = {}
    names: dict[int, list[str]] = {}
    owners = {id(spot.owner): spot.owner for spot in spots}
    for spot in spots:
        of_owner = edits.setdefault(id(spot.owner), {})
        if spot.place in ("call", "item"):
            names.setdefault(id(spot.owner), []).append(spot.name)
        calls = spot.calls if spot.place == "call" else spot.trimmed
        for body, call in calls:
            of_owner.setdefault(id(body), []).append(edit(body, call, spot.name))
    for spot in staying:
        names.setdefault(id(spot.owner), []).append(spot.name)
        for body, call in spot.calls:
            edits[id(spot.owner)].setdefault(id(body), []).append(redirection(body, call, spot.name))
    for key, of_owner in edits.items():
        swapped = [spot.name for spot in spots if id(spot.owner) == key and spot.place in ("child", "attribute")]
        if of_owner or names.get(key) or _restores_itself(owners[key]):
            _derive_class(survey, owners[key], of_owner, names.get(key, []), swapped, undo)


def _restores_itself(owner: nn.Module) -> bool:
    """Whether its class says what a copy or a pickle is made of, which may be the old activation."""
    base: Any = base_of(owner)
    return base.__setstate__ is not nn.Module.__setstate__


def _derive_class(
    survey: Survey,
    owner: nn.Module,
    edits: dict[int, list[Edit]],
    names: list[str],
    swapped: list[str],
    undo: Undo,
) -> None:
    reading = survey.readings.get(id(owner))
    recipe = getattr(type(owner), "limen_recipe", ()) if isinstance(owner, Derived) else ()
    before, hidden, earlier = recipe or ((), (), ())
    rewrites = plan(reading.bodies, edits, before) if reading is not None else before
    undo.append(partial(setattr, owner, "__class__", type(owner)))
    added = dict.fromkeys((*earlier, *names, *swapped))
    owner.__class__ = derive(base_of(owner), rewritten, rewrites, (*hidden, *names), tuple(added))
