"""torch's own activations as candidates, each with the expression of what it computes and the numbers that fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import sympy
import torch
from torch import Tensor, nn

from limen.activations import classic
from limen.deploy.fitting import best_number
from limen.deploy.function import Function, exactly
from limen.formula import symbolic
from limen.formula.primitives import SOFTPLUS_LINEAR_ABOVE, expm1, minimum, softplus, where


@dataclass(frozen=True)
class Candidate:
    """A module, and the expression of what it computes."""

    module: nn.Module
    expression: Any
    apart: float
    """The largest difference at the points where functions are compared."""
    values: dict[str, Tensor] = field(default_factory=dict)
    """What differs from channel to channel in the expression."""


@dataclass(frozen=True)
class Family:
    """A class of torch's activations: how one is made of at most one number, and its formula, for tensors too."""

    make: Callable[[float], nn.Module]
    formula: Callable[[Any, Any], Any]
    numbers: tuple[float, float] = (1.0, 1.0)
    """Between which the number lies; the same twice where there is none."""


def _softplus(beta: float) -> nn.Module:
    return nn.Softplus(beta, SOFTPLUS_LINEAR_ABOVE)


def _sharp_softplus(x: Any, beta: Any) -> Any:
    return softplus(beta * x) / beta


def _celu(x: Any, alpha: Any) -> Any:
    return where(x > 0, x, alpha * expm1(minimum(x, 0) / alpha))


FAMILIES = (
    Family(lambda _: nn.Identity(), lambda x, _: x),
    Family(lambda _: nn.ReLU(), lambda x, _: classic.ReLU.formula(x)),
    Family(lambda _: nn.ReLU6(), lambda x, _: classic.ReLU6.formula(x)),
    Family(nn.LeakyReLU, classic.LeakyReLU.formula, (-4.0, 4.0)),
    Family(lambda _: nn.Hardswish(), lambda x, _: classic.Hardswish.formula(x)),
    Family(lambda _: nn.Tanh(), lambda x, _: classic.Tanh.formula(x)),
    Family(lambda _: nn.Sigmoid(), lambda x, _: classic.Sigmoid.formula(x)),
    Family(lambda _: nn.SiLU(), lambda x, _: classic.SiLU.formula(x)),
    Family(lambda _: nn.GELU(), lambda x, _: classic.GELU.formula(x, "none")),
    Family(lambda _: nn.GELU("tanh"), lambda x, _: classic.GELU.formula(x, "tanh")),
    Family(lambda _: nn.Mish(), lambda x, _: classic.Mish.formula(x)),
    Family(lambda _: nn.SELU(), lambda x, _: classic.SELU.formula(x)),
    Family(nn.ELU, classic.ELU.formula, (0.0, 8.0)),
    Family(nn.CELU, _celu, (0.05, 8.0)),
    Family(_softplus, _sharp_softplus, (0.1, 20.0)),
)
"""The cheapest first: of those that are equally near the first is taken."""
SAME = 1e-9
"""Differences below this are equally near."""


def nearest(function: Function, by_channel: bool) -> list[Candidate]:
    """Every candidate, the nearest first; with ``by_channel`` PReLU may have a slope a channel."""
    found = [_of_family(family, function) for family in FAMILIES]
    found += list(_by_channel(function)) if by_channel and function.channels > 1 else []
    return sorted(found, key=lambda candidate: max(candidate.apart, SAME))


def _of_family(family: Family, function: Function) -> Candidate:
    lowest, highest = family.numbers
    number = lowest
    if lowest < highest:
        number = best_number(
            lambda several: function.distances(family.formula(function.points, several[:, None])),
            lowest, highest, function.numbers(),
        )  # fmt: skip
    module = family.make(number)
    exact = sympy.Rational(number)
    expression = symbolic.trace(lambda x: family.formula(x, exact), {}, ())
    return Candidate(module, exactly(expression), function.apart(module))


def _by_channel(function: Function) -> Iterator[Candidate]:
    """PReLU with the slope below 0 of each channel."""
    x, wanted = function.points, function.wanted
    below = x < 0
    if not below.any():
        return
    left = x[below]
    module = nn.PReLU(function.channels)
    module.weight.data.copy_((wanted[:, below] * left).sum(1) / left.square().sum())
    slopes = module.weight.detach().double()
    same = [name for name, value in function.values.items() if torch.equal(value, slopes)]
    name = same[0] if same else "slope of its own"
    expression = symbolic.trace(lambda x, **own: classic.LeakyReLU.formula(x, own[name]), {}, (name,))
    apart = float((torch.where(x > 0, x, slopes[:, None] * x) - wanted).abs().max())
    yield Candidate(module, expression, apart, {name: slopes})
