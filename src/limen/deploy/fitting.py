"""Finding numbers by looking: one by a search, coefficients by least squares."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

TRIED, ROUNDS = 33, 8
"""Numbers tried at once, and how often the two steps around the best are searched more finely: to 10^-10 in the end."""


def best_number(distance: Callable[[Tensor], Tensor], low: float, high: float, hints: Sequence[float] = ()) -> float:
    """The number between two whose distance is least; ``distance`` takes several at once, and hints are tried as well.

    >>> round(best_number(lambda numbers: (numbers - 0.3).abs(), 0.0, 1.0), 6)
    0.3
    """
    a, b = low, high
    best = low
    for _ in range(ROUNDS):
        tried = torch.linspace(a, b, TRIED, dtype=torch.float64)
        best = float(tried[distance(tried).argmin()])
        step = (b - a) / (TRIED - 1)
        a, b = max(low, best - step), min(high, best + step)
    last = torch.tensor([*(one for one in hints if low <= one <= high), best], dtype=torch.float64)
    return float(last[distance(last).argmin()])


def least_squares(matrix: Tensor, wanted: Tensor) -> Tensor:
    """The coefficients of the columns whose sum is nearest to what is wanted, for one matrix or several.

    >>> least_squares(torch.tensor([[1.0, 0.0], [0.0, 2.0]]).double(), torch.tensor([3.0, 4.0]).double())
    tensor([3., 2.], dtype=torch.float64)
    """
    scale = matrix.abs().amax(-2, keepdim=True)
    scale = torch.where(scale > 0, scale, 1.0)
    spread = wanted[:, None].expand(*matrix.shape[:-1], 1)
    found: Tensor = torch.linalg.lstsq(matrix / scale, spread, driver="gelsd").solution
    return found[..., 0] / scale[..., 0, :]
