"""A call of a formula: as it comes, and as kernels take it.

Both are named tuples, as ``layout.Plan`` is and for the same reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from limen.kernels.bound import BoundFormula
from limen.kernels.layout import Plan, is_plain, planned, values_of
from limen.kernels.noise import new_seed


class Call(NamedTuple):
    """A formula and what it is called with, in the order of :func:`limen.kernels.plain.evaluate`."""

    bound: BoundFormula
    x: Tensor
    parameters: Sequence[Tensor]
    """Logits may stand in the place of weights."""
    channel_dim: int
    seed: Tensor | None
    """Of the noise; None for formulas without."""
    beside: Sequence[Tensor] = ()
    """The inputs beside x."""


class Prepared(NamedTuple):
    """A call as kernels take it: ``x`` is dense, ``values`` are float32, contiguous, one value a channel."""

    bound: BoundFormula
    x: Tensor
    values: Sequence[Tensor]
    plan: Plan
    seed: Tensor | None
    beside: Sequence[Tensor] = ()
    """Laid out as ``x``."""
    pitch: int = 0
    """Where there are inputs beside x: how far apart the rows of the plan begin in them."""


def drawn(bound: BoundFormula, x: Tensor, parameters: Sequence[Tensor], channel_dim: int) -> Call:
    """A call with a seed of its own, if the formula has noise."""
    return Call(bound, x, parameters, channel_dim, new_seed(x.device) if bound.noise else None)


def prepare(call: Call) -> Prepared | None:
    """The call as kernels take it, one tensor a parameter; None where only the plain path can."""
    if not is_plain(call.x):
        return None
    walked, plan = planned(call.bound, call.x, call.parameters, call.channel_dim)
    if plan is None:
        return None
    values = values_of(call.x, call.parameters, plan.channels)
    return None if values is None else Prepared(call.bound, walked, values, plan, call.seed)
