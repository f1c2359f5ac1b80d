"""Interval arithmetic over formulas: what a formula and its slope can be while x runs through a piece of the range.

Every result is widened by more than float64 rounds, so an enclosure holds for the formula's exact values.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sympy
import torch
from torch import Tensor

from limen.errors import LimenError
from limen.formula import symbolic as s

SLACK = 2.0**-50
"""Four units in the last place of float64, and torch's functions are right within one."""
TINY = 1e-300


class UnboundedError(LimenError):
    """A formula has a part of which no enclosure is known."""


@dataclass(frozen=True)
class Enclosure:
    """Bounds of a function and of its slope by x on many pieces, one an element; float64."""

    low: Tensor
    high: Tensor
    slope_low: Tensor
    slope_high: Tensor
    jumps: Tensor
    """Where the function may be discontinuous within the piece, so that its slope bounds nothing."""

    @property
    def largest(self) -> Tensor:
        """A bound of the function's absolute value; infinite where none is known."""
        return _known(torch.maximum(-self.low, self.high))

    @property
    def steepest(self) -> Tensor:
        """A Lipschitz constant; infinite where none is known."""
        return _known(torch.maximum(-self.slope_low, self.slope_high)).masked_fill(self.jumps, math.inf)


def enclose(expression: Any, low: Tensor, high: Tensor, values: Mapping[str, Tensor]) -> Enclosure:
    """Enclose an expression in x over the pieces [low, high], given the other symbols' values on each piece.

    Raises:
        UnboundedError: for a part of which no enclosure is known.

    >>> from limen.formula.symbolic import symbol, tanh
    >>> x = symbol("x")
    >>> found = enclose(x * tanh(x), torch.tensor([0.0]).double(), torch.tensor([1.0]).double(), {})
    >>> 0.76 < float(found.high) < 0.77, float(found.low) <= 0
    (True, True)
    """
    return _Evaluation(low, high, values).of(expression)


def _known(bound: Tensor) -> Tensor:
    return torch.nan_to_num(bound, nan=math.inf, posinf=math.inf)


def _widened(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    return low - low.abs() * SLACK - TINY, high + high.abs() * SLACK + TINY


def _product(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    corners = [u * v for u in a for v in b]
    return _widened(functools.reduce(torch.minimum, corners), functools.reduce(torch.maximum, corners))


def _sum(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return _widened(a[0] + b[0], a[1] + b[1])


def _slopes(u: Enclosure) -> tuple[Tensor, Tensor]:
    return u.slope_low, u.slope_high


def _values(u: Enclosure) -> tuple[Tensor, Tensor]:
    return u.low, u.high


def _chained(
    u: Enclosure, value: tuple[Tensor, Tensor], slope: tuple[Tensor, Tensor], jumps: Tensor | None = None
) -> Enclosure:
    """A function of u, by its values and its slopes by u."""
    return Enclosure(*value, *_product(slope, _slopes(u)), u.jumps if jumps is None else u.jumps | jumps)


def _between(u: Enclosure) -> tuple[Tensor, Tensor]:
    """The least and the largest absolute value."""
    across = (u.low <= 0) & (u.high >= 0)
    near = torch.minimum(u.low.abs(), u.high.abs()).masked_fill(across, 0.0)
    return near, torch.maximum(u.low.abs(), u.high.abs())


def _increasing(
    value: Callable[[Tensor], Tensor], slopes: Callable[[Enclosure], tuple[Tensor, Tensor]]
) -> Callable[[Enclosure], Enclosure]:
    return lambda u: _chained(u, _widened(value(u.low), value(u.high)), _widened(*slopes(u)))


def _falling_from_zero(slope: Callable[[Tensor], Tensor]) -> Callable[[Enclosure], tuple[Tensor, Tensor]]:
    """The range of a slope that is even and falls away from 0."""

    def found(u: Enclosure) -> tuple[Tensor, Tensor]:
        near, far = _between(u)
        return slope(far), slope(near)

    return found


def _sigmoid_slope(u: Tensor) -> Tensor:
    return torch.sigmoid(u) * torch.sigmoid(-u)


def _tanh_slope(u: Tensor) -> Tensor:
    return 4 * _sigmoid_slope(2 * u)


def _erf_slope(u: Tensor) -> Tensor:
    return 2 / math.sqrt(math.pi) * torch.exp(-u * u)


def _softplus(u: Tensor) -> Tensor:
    return torch.logaddexp(u, torch.zeros_like(u))


def _absolute(u: Enclosure) -> Enclosure:
    slope = torch.where(u.high < 0, -1.0, 1.0).double(), torch.where(u.low > 0, 1.0, -1.0).double()
    return _chained(u, _between(u), (torch.minimum(*slope), torch.maximum(*slope)))


def _jumping(value: Callable[[Tensor], Tensor]) -> Callable[[Enclosure], Enclosure]:
    def found(u: Enclosure) -> Enclosure:
        low, high = value(u.low), value(u.high)
        zero = torch.zeros_like(low)
        return Enclosure(low, high, zero, zero, u.jumps | (low != high))

    return found


def _wave(u: Enclosure, ahead: float) -> tuple[Tensor, Tensor]:
    """The range of sin(u + ahead)."""
    low, high = u.low + ahead, u.high + ahead
    ends = torch.sin(low), torch.sin(high)
    spread = 1e-9 * (1 + torch.maximum(low.abs(), high.abs()))

    def passes(crest: float) -> Tensor:
        turns = 2 * math.pi
        return torch.ceil((low - crest - spread) / turns) <= torch.floor((high - crest + spread) / turns)

    bottom = torch.minimum(*ends).masked_fill(passes(-math.pi / 2), -1.0)
    top = torch.maximum(*ends).masked_fill(passes(math.pi / 2), 1.0)
    # The argument itself is rounded, by so much at most.
    return bottom - 1e-15 * (1 + low.abs()), top + 1e-15 * (1 + high.abs())


def _sine(u: Enclosure) -> Enclosure:
    return _chained(u, _wave(u, 0.0), _wave(u, math.pi / 2))


def _cosine(u: Enclosure) -> Enclosure:
    return _chained(u, _wave(u, math.pi / 2), _wave(u, math.pi))


_FUNCTIONS: dict[Any, Callable[[Enclosure], Enclosure]] = {
    s.exp: _increasing(torch.exp, lambda u: (torch.exp(u.low), torch.exp(u.high))),
    s.expm1: _increasing(torch.expm1, lambda u: (torch.exp(u.low), torch.exp(u.high))),
    s.log: _increasing(torch.log, lambda u: (1 / u.high, 1 / u.low.clamp(min=0))),
    s.log1p: _increasing(torch.log1p, lambda u: (1 / (1 + u.high), 1 / (1 + u.low).clamp(min=0))),
    s.sigmoid: _increasing(torch.sigmoid, _falling_from_zero(_sigmoid_slope)),
    s.tanh: _increasing(torch.tanh, _falling_from_zero(_tanh_slope)),
    s.softplus: _increasing(_softplus, lambda u: (torch.sigmoid(u.low), torch.sigmoid(u.high))),
    s.erf: _increasing(torch.erf, _falling_from_zero(_erf_slope)),
    s.sin: _sine,
    s.cos: _cosine,
    s.absolute: _absolute,
    s.sign: _jumping(torch.sign),
    s.step: _jumping(lambda u: (u >= 0).double()),
}


class _Evaluation:
    """One expression over many pieces, each part enclosed once."""

    def __init__(self, low: Tensor, high: Tensor, values: Mapping[str, Tensor]) -> None:
        self.zero, self.none = torch.zeros_like(low), torch.zeros_like(low, dtype=torch.bool)
        self.memo: dict[Any, Enclosure] = {
            s.symbol("x"): Enclosure(low, high, self.zero + 1, self.zero + 1, self.none),
            **{s.symbol(name): self.constant(value, value) for name, value in values.items()},
        }

    def constant(self, low: Any, high: Any) -> Enclosure:
        return Enclosure(self.zero + low, self.zero + high, self.zero, self.zero, self.none)

    def of(self, e: Any) -> Enclosure:
        if e not in self.memo:
            self.memo[e] = self._of(e)
        return self.memo[e]

    def _of(self, e: Any) -> Enclosure:
        if e.is_Number or e.is_NumberSymbol:
            value = torch.tensor(float(e), dtype=torch.float64)
            exact = e.is_Float or (e.is_Rational and sympy.Rational(float(e)) == e)
            return self.constant(value, value) if exact else self.constant(*_widened(value, value))
        if e.is_Add:
            return functools.reduce(self._added, map(self.of, e.args))
        if e.is_Mul:
            return functools.reduce(self._multiplied, map(self.of, e.args))
        if e.is_Pow:
            return self._power(*e.args)
        if isinstance(e, sympy.Piecewise):
            return self._chosen(e.args)
        if isinstance(e, (s.maximum, s.minimum)):
            u, v = map(self.of, e.args)
            return _larger(u, v) if isinstance(e, s.maximum) else _negated(_larger(_negated(u), _negated(v)))
        if e.func in _FUNCTIONS:
            return _FUNCTIONS[e.func](self.of(e.args[0]))
        raise UnboundedError(f"no bound of {e.func.__name__} is known")

    def _added(self, u: Enclosure, v: Enclosure) -> Enclosure:
        return Enclosure(*_sum(_values(u), _values(v)), *_sum(_slopes(u), _slopes(v)), u.jumps | v.jumps)

    def _multiplied(self, u: Enclosure, v: Enclosure) -> Enclosure:
        slope = _sum(_product(_values(u), _slopes(v)), _product(_values(v), _slopes(u)))
        return Enclosure(*_product(_values(u), _values(v)), *slope, u.jumps | v.jumps)

    def _power(self, base: Any, power: Any) -> Enclosure:
        u = self.of(base)
        if abs(power) == sympy.Rational(1, 2):
            root = _increasing(torch.sqrt, lambda w: (0.5 / w.high.sqrt(), 0.5 / w.low.sqrt()))(u)
            return root if power > 0 else _inverse(root)
        if not (power.is_number and float(power).is_integer()):
            raise UnboundedError(f"no bound of a power of {power} is known")
        times = int(power)
        raised = functools.reduce(self._multiplied, [u] * abs(times))
        if times % 2 == 0:  # which no product of intervals knows
            near, far = (value ** abs(times) for value in _between(u))
            raised = Enclosure(*_widened(near, far), *_slopes(raised), raised.jumps)
        return raised if times > 0 else _inverse(raised)

    def _chosen(self, branches: Any) -> Enclosure:
        """The branches of a Piecewise, from the last to the first."""
        found = self.of(branches[-1][0])
        for value, condition in reversed(branches[:-1]):
            surely, possibly = self._holds(condition)
            found = _either(self.of(value), found, surely, possibly)
        return found

    def _holds(self, condition: Any) -> tuple[Tensor, Tensor]:
        """Where a condition surely holds, and where it may."""
        if condition in (True, False, sympy.true, sympy.false):
            both = self.none | bool(condition)
            return both, both
        if not isinstance(condition, sympy.core.relational.Relational):
            raise UnboundedError(f"no bound of a choice by {condition} is known")
        u, v = self.of(condition.lhs), self.of(condition.rhs)
        table = {
            ">=": (u.low >= v.high, u.high >= v.low),
            ">": (u.low > v.high, u.high > v.low),
            "<=": (u.high <= v.low, u.low <= v.high),
            "<": (u.high < v.low, u.low < v.high),
        }
        if condition.rel_op not in table:
            raise UnboundedError(f"no bound of a choice by {condition} is known")
        return table[condition.rel_op]


def _negated(u: Enclosure) -> Enclosure:
    return Enclosure(-u.high, -u.low, -u.slope_high, -u.slope_low, u.jumps)


def _inverse(u: Enclosure) -> Enclosure:
    across = (u.low <= 0) & (u.high >= 0)
    ends = 1 / u.high, 1 / u.low
    low, high = _widened(torch.minimum(*ends), torch.maximum(*ends))
    low, high = low.masked_fill(across, -math.inf), high.masked_fill(across, math.inf)
    near, far = _between(u)
    return _chained(u, (low, high), _widened(-1 / near**2, -1 / far**2), across)


def _larger(u: Enclosure, v: Enclosure) -> Enclosure:
    first, second = u.low >= v.high, v.low >= u.high
    slope_low = torch.where(first, u.slope_low, torch.where(second, v.slope_low, torch.minimum(*_lows(u, v))))
    slope_high = torch.where(first, u.slope_high, torch.where(second, v.slope_high, torch.maximum(*_highs(u, v))))
    value = torch.maximum(u.low, v.low), torch.maximum(u.high, v.high)
    return Enclosure(*value, slope_low, slope_high, u.jumps | v.jumps)


def _lows(u: Enclosure, v: Enclosure) -> tuple[Tensor, Tensor]:
    return u.slope_low, v.slope_low


def _highs(u: Enclosure, v: Enclosure) -> tuple[Tensor, Tensor]:
    return u.slope_high, v.slope_high


def _either(u: Enclosure, v: Enclosure, surely: Tensor, possibly: Tensor) -> Enclosure:
    """u where a condition holds, else v; both where it is not decided within the piece."""

    def pick(a: Tensor, b: Tensor, both: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        return torch.where(surely, a, torch.where(possibly, both(a, b), b))

    undecided = possibly & ~surely
    return Enclosure(
        pick(u.low, v.low, torch.minimum),
        pick(u.high, v.high, torch.maximum),
        pick(u.slope_low, v.slope_low, torch.minimum),
        pick(u.slope_high, v.slope_high, torch.maximum),
        undecided | pick(u.jumps, v.jumps, torch.logical_or),
    )
