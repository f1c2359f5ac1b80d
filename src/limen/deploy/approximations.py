"""What an activation can become that is no built-in one: built-in ones rescaled, a polynomial, a quotient, a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import sympy
import torch
from torch import Tensor, nn

from limen.activations import classic
from limen.deploy.bounding import Bound, bound
from limen.deploy.candidates import SAME, Candidate
from limen.deploy.fitting import best_number, least_squares
from limen.deploy.function import Function, exactly
from limen.formula import symbolic
from limen.kernels.precision import at_least_float32

ENTRIES = 256
UNIT = 2.0**-24
"""What rounding to float32 costs at most, relatively."""
X = symbolic.symbol("x")


class Rescaled(nn.Module):
    """scale·f(inner·x) + slope·x + offset, with a built-in f; without what would add nothing."""

    def __init__(self, f: nn.Module, inner: float, scale: float, slope: float, offset: float) -> None:
        super().__init__()
        self.f, self.inner, self.scale, self.slope, self.offset = f, inner, scale, slope, offset

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to an input of any shape."""
        y: Tensor = self.f(x if self.inner == 1 else self.inner * x)
        y = y if self.scale == 1 else self.scale * y
        y = y if self.slope == 0 else y + self.slope * x
        return y if self.offset == 0 else y + self.offset

    def extra_repr(self) -> str:
        """The numbers."""
        return f"inner={self.inner:.6g}, scale={self.scale:.6g}, slope={self.slope:.6g}, offset={self.offset:.6g}"

    def __repr__(self) -> str:
        return f"Rescaled({self.f!r}, {self.extra_repr()})"


class Gated(nn.Module):
    """x·σ(αx): what ONNX calls Swish, with its alpha."""

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to an input of any shape."""
        return x * torch.sigmoid(self.alpha * x)

    def extra_repr(self) -> str:
        """The steepness of the gate."""
        return f"alpha={self.alpha:.6g}"


class Quotient(nn.Module):
    """p(t)/q(t) of the input within a range, t being −1 and 1 at its ends; a line on either side of it."""

    def __init__(
        self, p: Sequence[float], q: Sequence[float], low: float, high: float, slopes: Sequence[float]
    ) -> None:
        super().__init__()
        self.p, self.q, self.low, self.high, self.slopes = tuple(p), tuple(q), low, high, slopes

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to an input of any shape; half types are computed in float32."""
        work = at_least_float32(x)
        within = work.clamp(self.low, self.high)
        t = (within - (self.low + self.high) / 2) * (2 / (self.high - self.low))
        y = _horner(self.p, t)
        y = y if len(self.q) == 1 else y / _horner(self.q, t)
        left, right = (work - self.low).clamp(max=0), (work - self.high).clamp(min=0)
        found: Tensor = y + self.slopes[0] * left + self.slopes[1] * right
        return found.to(x.dtype)

    def extra_repr(self) -> str:
        """The degrees and the range."""
        degrees = f"degree={len(self.p) - 1}" + (f"/{len(self.q) - 1}" if len(self.q) > 1 else "")
        return f"{degrees}, low={self.low:.6g}, high={self.high:.6g}"


class Table(nn.Module):
    """A table of 256 int8 values over equal steps of a range; what lies outside takes the value at its end."""

    table: Tensor

    def __init__(self, table: Tensor, low: float, high: float, scale: float, offset: float) -> None:
        super().__init__()
        self.register_buffer("table", table)
        self.low, self.high, self.scale, self.offset = low, high, scale, offset

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to an input of any shape; NaN is taken as the low end."""
        place = ((at_least_float32(x) - self.low) * ((ENTRIES - 1) / (self.high - self.low))).round()
        place = torch.where(place > 0, place, 0.0).clamp(max=ENTRIES - 1)
        return (self.table[place.long()].to(place.dtype) * self.scale + self.offset).to(x.dtype)

    def extra_repr(self) -> str:
        """The range and the step of the output."""
        return f"low={self.low:.6g}, high={self.high:.6g}, scale={self.scale:.6g}"


def _horner(coefficients: Sequence[float], t: Any) -> Any:
    """A polynomial by its coefficients, that of 1 first."""
    y: Any = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        y = y * t + coefficient
    return y if len(coefficients) > 1 else t * 0 + y


def proved(function: Function, candidate: Candidate, tolerance: float, exact: float = 0.0) -> Bound:
    """How far a candidate can be from the function, for every input in the range and every channel."""
    values = {**function.values, **candidate.values}
    channels = max([function.channels, *(value.numel() for value in candidate.values.values())])
    low = torch.full((channels,), function.low, dtype=torch.float64)
    high = torch.full((channels,), function.high, dtype=torch.float64)
    return bound(function.expression - candidate.expression, low, high, values, tolerance, exact)


# Built-in functions, rescaled

_BASES: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (nn.SiLU, lambda u: classic.SiLU.formula(u)),
    (nn.GELU, lambda u: classic.GELU.formula(u, "none")),
    (nn.Mish, lambda u: classic.Mish.formula(u)),
    (nn.Tanh, lambda u: classic.Tanh.formula(u)),
    (nn.Sigmoid, lambda u: classic.Sigmoid.formula(u)),
    (nn.ELU, lambda u: classic.ELU.formula(u, 1)),
    (nn.Softplus, lambda u: classic.Softplus.formula(u, 1)),
    (nn.ReLU, lambda u: classic.ReLU.formula(u)),
)
_STEEPEST = 16.0


def native(function: Function, tolerance: float) -> Iterator[tuple[Candidate, Bound]]:
    """Built-in functions of a multiple of x, times a number, plus a line: those of fewest terms first."""
    x = function.points
    alpha = best_number(
        lambda several: function.distances(classic.Swish.formula(x, several[:, None])), 0, _STEEPEST, function.numbers()
    )
    gated = _written(function, Gated(alpha), classic.Swish.formula(X, sympy.Rational(alpha)))
    for terms in (1, 2, 3):
        found = [_rescaled(function, make, formula, terms) for make, formula in _BASES]
        for candidate in sorted([gated, *found], key=lambda one: max(one.apart, SAME)):
            if candidate.apart <= tolerance:
                yield candidate, proved(function, candidate, tolerance)


def _written(function: Function, module: nn.Module, expression: Any) -> Candidate:
    return Candidate(module, exactly(expression), function.apart(module))


@torch.no_grad()
def _rescaled(function: Function, make: Any, formula: Callable[[Any], Any], terms: int) -> Candidate:
    """Of one built-in function the best multiple, with so many of scale, slope and offset."""
    x, wanted, f = function.points, function.middle, make()

    def fitted(inner: Tensor) -> tuple[Tensor, Tensor]:
        columns = [f(inner[:, None] * x), *(column.expand(len(inner), -1) for column in (x, torch.ones_like(x)))]
        matrix = torch.stack(columns[:terms], -1)
        found = least_squares(matrix, wanted)
        return found, function.distances((matrix @ found[..., None])[..., 0])

    inner = best_number(lambda several: fitted(several)[1], 1 / _STEEPEST, 4.0, [1.0, *function.numbers()])
    scale, slope, offset = [*fitted(torch.tensor([inner], dtype=torch.float64))[0][0].tolist(), 0.0, 0.0][:3]
    a, b, c, d = map(sympy.Rational, (inner, scale, slope, offset))
    expression = b * symbolic.trace(lambda x: formula(a * x), {}, ()) + c * X + d
    return _written(function, Rescaled(f, inner, scale, slope, offset), expression)


# Polynomials and their quotients

POLYNOMIALS = (2, 3, 4, 5, 7, 9, 11, 13, 16, 19, 22)
QUOTIENTS = ((3, 2), (5, 4), (7, 6), (9, 8))


def polynomial(function: Function, tolerance: float) -> Iterator[tuple[Candidate, Bound]]:
    """Polynomials of rising degree, each with its bound, rounding in float32 included."""
    for degree in POLYNOMIALS:
        yield from _if_near(function, _fitted(function, degree, 0), tolerance)


def rational(function: Function, tolerance: float) -> Iterator[tuple[Candidate, Bound]]:
    """Quotients of polynomials of rising degree, each with its bound, rounding in float32 included."""
    for above, below in QUOTIENTS:
        yield from _if_near(function, _fitted(function, above, below), tolerance)


def _if_near(function: Function, module: Quotient, tolerance: float) -> Iterator[tuple[Candidate, Bound]]:
    p, q = ([sympy.Rational(c) for c in numbers] for numbers in (module.p, module.q))
    low, high = sympy.Rational(module.low), sympy.Rational(module.high)
    t = (X - (low + high) / 2) * (2 / (high - low))
    candidate = _written(function, module, _horner(p, t) / _horner(q, t))
    if candidate.apart <= tolerance:
        yield candidate, proved(function, candidate, tolerance, _rounding(module))


def _fitted(function: Function, above: int, below: int) -> Quotient:
    """Near to the function by least squares; of a quotient, by its last denominator, again and again."""
    x, wanted = function.points, function.middle
    t = (x - (function.low + function.high) / 2) * (2 / (function.high - function.low))
    powers = [t**k for k in range(max(above, below) + 1)]
    q, weight = torch.zeros(0, dtype=torch.float64), torch.ones_like(t)
    for _ in range(8 if below else 1):
        columns = [power / weight for power in powers[: above + 1]]
        columns += [-wanted * power / weight for power in powers[1 : below + 1]]
        found = least_squares(torch.stack(columns, 1), wanted / weight)
        q = found[above + 1 :]
        weight = 1 + sum((c * power for c, power in zip(q, powers[1:], strict=False)), torch.zeros_like(t))
        if not weight.min() > 0:  # a pole: what it would be is far from anything
            break
    left, right = (float((wanted[i] - wanted[j]) / (x[i] - x[j])) for i, j in ((1, 0), (-1, -2)))
    p = found[: above + 1].tolist()
    return Quotient(p, [1.0, *q.tolist()], function.low, function.high, (left, right))


def _rounding(module: Quotient) -> float:
    """What float32 adds at most: Horner's rule rounds twice a step, and t is rounded four times."""

    def of(coefficients: Sequence[float]) -> float:
        return sum((2 * len(coefficients) + 4 * k) * abs(c) for k, c in enumerate(coefficients)) * 1.01 * UNIT

    if len(module.q) == 1:
        return of(module.p)
    t = torch.linspace(-1, 1, 1001, dtype=torch.float64)
    below = float(_horner(module.q, t).min()) * 0.9
    above = float(_horner(module.p, t).abs().max()) * 1.1
    return math.inf if below <= 0 else of(module.p) / below + above * (of(module.q) / below**2 + 4 * UNIT / below)


# A table


def table(function: Function, tolerance: float) -> Iterator[tuple[Candidate, Bound]]:
    """The function at 256 places of equal steps, as int8, with its bound."""
    places = torch.linspace(function.low, function.high, ENTRIES, dtype=torch.float64)
    values = function.at(places)
    wanted = (values.amin(0) + values.amax(0)) / 2
    offset, scale = _single(float(wanted.max() + wanted.min()) / 2), _single(float(wanted.max() - wanted.min()) / 254)
    scale = scale or 1.0
    entries = ((wanted - offset) / scale).round().clamp(-128, 127).to(torch.int8)
    module = Table(entries, function.low, function.high, scale, offset)
    step = (function.high - function.low) / (ENTRIES - 1)
    # float32 finds the place to a ten thousandth of a step.
    reach = step * (0.5 + 1e-4)
    low, high = (places - reach).clamp(min=function.low), (places + reach).clamp(max=function.high)
    given = entries.double() * scale + offset
    rounding = 4 * UNIT * (float(given.abs().max()) + abs(offset))
    count = function.channels
    spread = {name: value.repeat_interleave(ENTRIES) for name, value in function.values.items()}
    difference = function.expression - symbolic.symbol("entry")
    found = bound(difference, low.repeat(count), high.repeat(count), {**spread, "entry": given.repeat(count)},
                  tolerance, rounding)  # fmt: skip
    yield Candidate(module, difference, found.reached), found


def _single(number: float) -> float:
    """As float32 has it."""
    return float(torch.tensor(number, dtype=torch.float32))
