"""Which sites stay as they are, and why."""

from __future__ import annotations

import ast
import fnmatch
import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import nn

from limen.errors import SpecError, suggest
from limen.surgery.derive import base_of
from limen.surgery.known import ACTIVATIONS, BOUNDED, GATES, SHAPE_CHANGING
from limen.surgery.sites import Spot, Survey

Where = str | type[nn.Module] | Callable[..., bool]
"""Which sites: a path with wildcards, a class, or a predicate on (path, module) or (path, module, parent)."""

Matcher = Callable[[Spot], bool]

_RANGES = (nn.Tanh, nn.Softsign)
"""Functions that also serve to keep a value within a range."""

_RECURRENT = re.compile(r"LSTM|GRU|RNN|Recurrent|Cell(?![a-z])")


class Rules:
    """``where`` and ``keep`` as given, then what is kept by default."""

    def __init__(self, where: Where | Sequence[Where] | None, keep: Where | Sequence[Where]) -> None:
        chosen = {"where": _several("where", () if where is None else where), "keep": _several("keep", keep)}
        self.only = None if where is None else [_matcher(one) for one in chosen["where"]]
        self.patterns = [(name, one) for name, given in chosen.items() for one in given if isinstance(one, str)]
        self.kept = [_matcher(one) for one in chosen["keep"]]

    def check(self, spots: Sequence[Spot]) -> None:
        """A path in ``where`` or ``keep`` that fits no site would otherwise pass for one that was heeded.

        Raises:
            SpecError: naming it and the nearest site.
        """
        paths = [spot.path for spot in spots]
        for name, pattern in self.patterns:
            if not any(_is_named(spot, pattern) for spot in spots):
                raise SpecError(
                    f"{name}={pattern!r} fits none of the model's {len(paths)} sites. {_nearest(pattern, paths)}"
                )

    def reason_to_keep(self, spot: Spot, survey: Survey, outputs: set[tuple[int, str]]) -> str:
        """Why a site stays; empty for one that is to be replaced."""
        if any(matches(spot) for matches in self.kept):
            return "named by keep"
        if isinstance(spot.like, SHAPE_CHANGING):
            return "a gate that changes the shape of its input"
        if self.only is not None:
            return "" if any(matches(spot) for matches in self.only) else "not named by where"
        return _default_reason(spot, survey, outputs)


def _nearest(pattern: str, paths: Sequence[str]) -> str:
    return suggest(pattern, paths) if len(paths) <= 20 else f"The first: {', '.join(paths[:20])}."


def _default_reason(spot: Spot, survey: Survey, outputs: set[tuple[int, str]]) -> str:
    if isinstance(spot.like, (nn.Softmax, nn.Softmax2d, nn.LogSoftmax, nn.Softmin)):
        return "a gate, not an activation: it weighs several values against one another"
    if isinstance(spot.like, GATES):
        return "a gate, not an activation"
    if not spot.known:
        return "a function of each element that is no known activation; name it in where"
    if not isinstance(spot.original, (*ACTIVATIONS, *GATES)) and any(True for _ in spot.original.parameters()):
        return "its own parameters would be lost; name it in where"
    limit = _limit(spot, survey)
    if limit:
        return limit
    if isinstance(spot.like, BOUNDED) and not isinstance(spot.like, nn.ReLU6):
        if _at_output(spot, outputs):
            return "an output head, whose range is part of the answer"
        if _is_recurrent_gate(spot):
            return "a gate in a recurrent cell"
    return ""


def _limit(spot: Spot, survey: Survey) -> str:
    """Why a call may be there to keep a value within bounds rather than to be an activation."""
    if spot.call is None:
        return ""
    if spot.place == "call" and spot.call[1].guard:
        if isinstance(spot.like, nn.ReLU6) and survey.flow.follows_another(*spot.call):
            return "a bound on another activation's result; name it in where"
        if survey.flow.before_call(*spot.call) is None:
            return "may be a numeric guard, as no layer feeds it; name it in where"
    ranges = isinstance(spot.like, _RANGES)
    if ranges and (survey.flow.is_scaled(*spot.call) or survey.flow.is_parted(*spot.call)):
        return "may bound a value, which is scaled or not fed by a layer alone; name it in where"
    return ""


def _at_output(spot: Spot, outputs: set[tuple[int, str]]) -> bool:
    if spot.place == "child" and (id(spot.owner), spot.name) in outputs:
        return True
    return any((id(call.node), "") in outputs for _, call in spot.calls)


def _is_recurrent_gate(spot: Spot) -> bool:
    """In a class named after one, or a tanh beside sigmoids whose results are multiplied."""
    if _RECURRENT.search(base_of(spot.owner).__name__):
        return True
    if spot.call is None or not isinstance(spot.like, nn.Tanh):
        return False
    body = spot.call[0]
    gates = any(isinstance(call.original, (nn.Sigmoid, nn.Hardsigmoid)) for call in body.calls)
    products = any(isinstance(n, ast.BinOp) and isinstance(n.op, ast.Mult) for n in ast.walk(body.source.node))
    return gates and products


def _several(name: str, chosen: Where | Sequence[Where]) -> list[Where]:
    several = not (isinstance(chosen, (str, type)) or callable(chosen)) and isinstance(chosen, Iterable)
    given: Any = chosen
    found: list[Any] = list(given) if several else [given]
    for one in found:
        if isinstance(one, nn.Module) or not (isinstance(one, (str, type)) or callable(one)):
            raise SpecError(
                f"{name}={one!r} says of no site whether it is meant: give a path with wildcards, a class, a function "
                "of path and module, or several of them."
            )
    return found


def _matcher(one: Where) -> Matcher:
    if isinstance(one, str):
        return lambda spot: _is_named(spot, one)
    if isinstance(one, type):
        # A call of F.relu is a ReLU to whoever names the class.
        return lambda spot: isinstance(spot.original, one) or isinstance(spot.like, one)
    predicate: Any = one
    if _takes_parent(predicate):
        return lambda spot: bool(predicate(spot.path, spot.original, spot.owner))
    return lambda spot: bool(predicate(spot.path, spot.original))


def _is_named(spot: Spot, pattern: str) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern) for path in (spot.path, *spot.aliases))


def _takes_parent(predicate: Callable[..., bool]) -> bool:
    try:
        inspect.signature(predicate).bind("", None, None)
    except TypeError:
        return False
    except ValueError:
        pass
    return True
