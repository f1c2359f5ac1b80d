"""Which path runs a formula."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from limen.kernels import plain
from limen.kernels.bound import BoundFormula


def evaluate(bound: BoundFormula, x: Tensor, parameters: Sequence[Tensor], channel_dim: int) -> Tensor:
    """Run the formula on ``x`` with its tensors, each of one value or of one a channel."""
    return plain.evaluate(bound, x, parameters, channel_dim)
