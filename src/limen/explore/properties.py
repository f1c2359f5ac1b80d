"""What can be said of an activation's function: its limits, its steepest slope, where it rises and falls."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from limen.explore.functions import Traced, traced
from limen.formula.graph import Graph
from limen.kernels.bound import MEAN, STD

EDGE, POINTS = 30.0, 60_001
"""Where slopes are searched, in steps of a thousandth."""
FAR = torch.tensor([1e3, 2e3], dtype=torch.float64)
"""Where functions are taken to be as they tend to be."""
NEAR = 6.5
"""A slope that is 0 only further out has vanished in rounding."""
HALVINGS = 50

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Properties:
    """Of one activation at its first values, in evaluation; statistics are those of a standard normal input."""

    left: str
    """What it tends to for x → −∞."""
    right: str
    steepest: float
    """The largest slope in absolute value, and so the least Lipschitz constant; ∞ where slopes grow without end."""
    pieces: tuple[str, ...]
    """Where it rises, falls or is level, from left to right."""


def properties(spec: str) -> Properties:
    """Describe the function of an activation, by its expression and its derivative, searched on a fine grid.

    Raises:
        SpecError: for what is no function of one number.

    >>> found = properties("relu")
    >>> found.left, found.right, found.steepest, found.pieces
    ('0', 'x', 1.0, ('level below 0', 'rises above 0'))
    """
    from limen.formula.symbolic import symbol

    found = traced(spec)
    value, slope = _function(found, found.expression), _function(found, found.expression.diff(symbol("x")))
    x = torch.linspace(-EDGE, EDGE, POINTS, dtype=torch.float64)
    slopes, far = slope(x), slope(torch.cat([-FAR, FAR])).abs().reshape(2, 2)
    grows = bool((far[:, 1] > 1.5 * far[:, 0]).logical_and(far[:, 0] > 1).any())
    steepest = math.inf if grows else float(slopes.abs().max())
    return Properties(
        _limit(value, slope, -FAR), _limit(value, slope, FAR), float(f"{steepest:.4g}"), _pieces(slope, x, slopes)
    )


def _function(found: Traced, expression: Any) -> Function:
    """An expression in x as a function on float64 tensors, all else at its first value."""
    from limen.formula.stable import lower

    graph, (output,) = lower([expression])
    values = {MEAN: 0.0, STD: 1.0, **{name: one.value for name, one in zip(found.symbols, found.inputs, strict=True)}}
    return lambda x: _computed(graph, output, {**values, "x": x}).expand(x.shape)


def _computed(graph: Graph, output: int, values: dict[str, Any]) -> Tensor:
    done: dict[int, Tensor] = {}
    for index in graph.live([output]):
        node = graph.nodes[index]
        if node.op in ("input", "constant"):
            value = values[str(node.value)] if node.op == "input" else node.value
            done[index] = torch.as_tensor(value, dtype=torch.float64)
        else:
            operation = _TORCH.get(node.op) or getattr(torch, node.op)
            done[index] = operation(*(done[operand] for operand in node.operands))
    return done[output].double()


_TORCH: dict[str, Callable[..., Tensor]] = {
    "min": torch.minimum, "max": torch.maximum, "and": torch.logical_and, "or": torch.logical_or,
    "not": torch.logical_not, "select": lambda condition, u, v: torch.where(condition.bool(), u, v),
    "exp_neg": lambda u: torch.exp(-u), "expm1_neg": lambda u: torch.expm1(-u), "log1p_unit": torch.log1p,
}  # fmt: skip
"""Every other operation is torch's, under its name."""


def _limit(value: Function, slope: Function, far: Tensor) -> str:
    """What a function is near to, so far out: a line, a parabola's growth, or nothing."""
    y, slopes = value(far), slope(far)
    bend = float((slopes[1] - slopes[0]) / (far[1] - far[0]))
    if abs(bend) > 1e-9 and _agree(y - bend / 2 * far**2 - (slopes[0] - bend * far[0]) * far):
        return f"grows as {_times(bend / 2, 'x²')}"
    if not _agree(slopes):
        return "no limit: it oscillates"
    line, constant = _times(float(slopes[1]), "x"), float((y - slopes * far)[1])
    if abs(constant) < 1e-6:
        return line or "0"
    return f"{line} {'−' if constant < 0 else '+'} {abs(constant):.4g}" if line else _number(constant)


def _agree(pair: Tensor) -> bool:
    return bool((pair[0] - pair[1]).abs() <= 1e-9 + 1e-6 * pair.abs().max())


def _times(factor: float, of: str) -> str:
    if abs(factor) < 1e-9:
        return ""
    return of if abs(factor - 1) < 1e-9 else f"{_number(factor)}·{of}"


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")


def _pieces(slope: Function, x: Tensor, slopes: Tensor) -> tuple[str, ...]:
    runs = _runs(x, slopes.sign())
    edges = [_edge(slope, float(left[1]), float(right[1])) for left, right in pairwise(runs)]
    bounds = [-math.inf, *edges, math.inf]
    return tuple(
        _WORDS[int(run[0])] + _between(low, high) for run, (low, high) in zip(runs, pairwise(bounds), strict=True)
    )


_WORDS = {1: "rises", -1: "falls", 0: "level"}


def _runs(x: Tensor, signs: Tensor) -> list[tuple[float, float]]:
    """Where the slope keeps its sign: that, and the last x of it that was looked at."""
    changes = torch.nonzero(signs[1:] != signs[:-1]).flatten().tolist()
    starts, ends = [0, *(at + 1 for at in changes)], [*changes, len(x) - 1]
    found: list[tuple[float, float]] = []
    for start, end in zip(starts, ends, strict=True):
        sign, reached = float(signs[start]), float(x[end])
        lone = end - start < 2
        vanished = sign == 0 and (lone or min(abs(float(x[start])), abs(reached)) > NEAR)
        if found and (vanished or found[-1][0] == sign):
            found[-1] = found[-1][0], reached
        elif not vanished:
            found.append((sign, reached))
    return found


def _edge(slope: Function, low: float, beyond: float) -> float:
    """Where the slope first has another sign than at the low end."""
    high = min(low + 3 * 2 * EDGE / (POINTS - 1), beyond)
    own = float(slope(torch.tensor([low], dtype=torch.float64)).sign())
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        same = float(slope(torch.tensor([middle], dtype=torch.float64)).sign()) == own
        low, high = (middle, high) if same else (low, middle)
    return high


def _between(low: float, high: float) -> str:
    if math.isinf(low):
        return " throughout" if math.isinf(high) else f" below {_tidy(high)}"
    return f" above {_tidy(low)}" if math.isinf(high) else f" from {_tidy(low)} to {_tidy(high)}"


def _tidy(value: float) -> str:
    return _number(0.0 if abs(value) < 1e-9 else value)
