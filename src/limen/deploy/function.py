"""What an activation computes at present, as an expression with numbers for its parameters."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import sympy
import torch
from torch import Tensor, nn

from limen.activations.base import Activation
from limen.deploy.intervals import enclose
from limen.formula import symbolic
from limen.kernels.bound import BoundFormula

POINTS = 385
"""Where functions are compared before anything is proved."""


@dataclass(frozen=True)
class Function:
    """One function a channel: an expression in x, and in what differs from channel to channel."""

    expression: Any
    values: dict[str, Tensor]
    """Of each symbol one value a channel, in float64."""
    channels: int
    low: float
    high: float

    @functools.cached_property
    def points(self) -> Tensor:
        """Where the function is looked at: more of them towards the ends, as polynomials need, and 0."""
        angles = torch.linspace(0, torch.pi, POINTS, dtype=torch.float64)
        middle, half = (self.low + self.high) / 2, (self.high - self.low) / 2
        within = (middle - half * torch.cos(angles)).clamp(self.low, self.high)
        return torch.cat([within, within.new_zeros(1)]).sort().values if self.low < 0 < self.high else within

    @functools.cached_property
    def wanted(self) -> Tensor:
        """The values there, (channels, points)."""
        return self.at(self.points)

    @functools.cached_property
    def middle(self) -> Tensor:
        """Between the channels' values, where the largest distance to them is least."""
        return (self.wanted.amin(0) + self.wanted.amax(0)) / 2

    def apart(self, module: nn.Module) -> float:
        """The largest difference between a module and the function there."""
        with torch.no_grad():
            return float((module(self.points.clone()) - self.wanted).abs().max())

    def distances(self, values: Tensor) -> Tensor:
        """The same of functions by their values there, one in each row."""
        return torch.maximum(values - self.wanted.amin(0), self.wanted.amax(0) - values).amax(-1)

    def numbers(self) -> list[float]:
        """The numbers in the expression, any of which may be that of a built-in activation."""
        return [float(number) for number in self.expression.atoms(sympy.Number)]

    def at(self, x: Tensor) -> Tensor:
        """The values at points, (channels, points)."""
        spread = x.repeat(self.channels)
        values = {name: value.repeat_interleave(len(x)) for name, value in self.values.items()}
        found = enclose(self.expression, spread, spread, values)
        return ((found.low + found.high) / 2).reshape(self.channels, len(x))


def function_of(site: Activation, low: float, high: float) -> Function:
    """What an activation computes in evaluation for inputs in a range.

    Raises:
        UntraceableError: if its formula becomes no expression in x and its parameters.
    """
    bound = site.bind(training=False)
    if bound.plain_only:
        raise symbolic.UntraceableError(bound.plain_only)
    tensors = [tensor.detach().double().cpu().flatten() for tensor in site.tensors()]
    channels = max([1, *(tensor.numel() for tensor in tensors)])
    numbers, values = {}, {}
    for name, tensor in zip(bound.parameters, tensors, strict=True):
        if bool((tensor == tensor[0]).all()):
            # As a fraction, so that a parameter of 1.0 leaves the formula as it would without it.
            numbers[symbolic.symbol(name)] = sympy.Rational(float(tensor[0]))
        else:
            values[name] = tensor
    expression = exactly(_traced(bound).subs(numbers))
    return Function(expression, values, channels if values else 1, low, high)


@functools.cache
def _traced(bound: BoundFormula) -> Any:
    return symbolic.trace(bound.function, dict(bound.constants), bound.parameters)


def exactly(expression: Any) -> Any:
    """With fractions in the place of floating-point numbers, so that equal expressions are the same."""
    return expression.xreplace({number: sympy.Rational(number) for number in expression.atoms(sympy.Float)})
