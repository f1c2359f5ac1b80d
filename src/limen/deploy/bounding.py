"""The largest absolute value of an expression over a range, as a bound that is proved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from limen.deploy.intervals import enclose

PIECES = 256
MOST_PIECES = 2**21
"""After so many, what is not proved by then is not proved."""
ROUNDS = 60
CLOSE = 1.05
"""A bound so near to a value that is reached is not made finer."""


@dataclass(frozen=True)
class Bound:
    """How large an error can be: it is at most ``proved``, and somewhere at least ``reached``."""

    proved: float
    reached: float


def bound(
    expression: Any, low: Tensor, high: Tensor, values: Mapping[str, Tensor], tolerance: float, exact: float = 0.0
) -> Bound:
    """Bound |expression| over the pieces [low, high], for the other symbols' values on each piece.

    On a piece of width w it is at most its absolute value in the middle plus w/2 times the largest slope that
    interval arithmetic allows there; where it may jump, what interval arithmetic says of the value itself. Pieces for
    which that is not enough are halved. It ends early where a value above the tolerance is reached.

    ``exact`` is added to what is proved: what else there is to an error.

    >>> from limen.formula.symbolic import symbol, sigmoid
    >>> x = symbol("x")
    >>> ends = torch.tensor([-1.0]).double(), torch.tensor([1.0]).double()
    >>> found = bound(sigmoid(x) - 1 / 2, *ends, {}, 1.0)
    >>> 0.22 < found.reached <= 0.2310585 <= found.proved < 0.2432
    True
    """
    if expression == 0:
        return Bound(exact, 0.0)
    parts = max(1, PIECES // len(low))
    low, high, values = _divided(low, high, values, parts)
    proved = reached = 0.0
    pieces = 0
    for _ in range(ROUNDS):
        middle = low + (high - low) / 2
        centre = enclose(expression, middle, middle, values)
        whole = enclose(expression, low, high, values)
        reached = max(reached, float(torch.maximum(centre.low, -centre.high).nan_to_num(0.0).max()))
        half = torch.maximum(high - middle, middle - low) * (1 + 1e-15)
        at_most = torch.minimum(whole.largest, _known(centre.largest + half * whole.steepest))
        goal = min(tolerance, max(CLOSE * reached, 1e-3 * tolerance))
        open_ = at_most > goal
        pieces += len(low)
        if reached + exact > tolerance or not open_.any() or pieces > MOST_PIECES:
            return Bound(max(proved, float(at_most.max())) + exact, reached)
        proved = max(proved, float(at_most.masked_fill(open_, 0.0).max()))
        low, high, values = _divided(low[open_], high[open_], {k: v[open_] for k, v in values.items()}, 2)
    return Bound(torch.inf, reached)


def _known(bounds: Tensor) -> Tensor:
    return bounds.nan_to_num(torch.inf, torch.inf)


def _divided(
    low: Tensor, high: Tensor, values: Mapping[str, Tensor], parts: int
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Each piece in so many parts."""
    share = torch.linspace(0, 1, parts + 1, dtype=torch.float64)
    edges = low[:, None] + (high - low)[:, None] * share
    edges[:, -1] = high
    apart = {name: value.repeat_interleave(parts) for name, value in values.items()}
    return edges[:, :-1].flatten(), edges[:, 1:].flatten(), apart
