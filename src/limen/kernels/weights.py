"""The weights of a mixture: the softmax of one tensor of logits, which may stand in their place."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from limen.errors import ShapeError
from limen.kernels.bound import BoundFormula
from limen.kernels.precision import at_least_float32

ALL = 16.0
"""How far one logit lies above the others where its weight is as good as all: e^-16 is more than float32 rounds away
beside 1."""


def spread(bound: BoundFormula, parameters: Sequence[Tensor]) -> Sequence[Tensor]:
    """One tensor for each parameter of the formula: logits that stand for weights become the weights."""
    if len(parameters) == len(bound.parameters):
        return parameters
    if not bound.weights or len(parameters) != len(bound.parameters) - bound.weights + 1:
        raise TypeError(f"{bound.name} takes {len(bound.parameters)} tensors, and {len(parameters)} were given.")
    logits, *own = parameters
    if logits.numel() != bound.weights:  # kernels would read beyond the weights that there are
        raise ShapeError(
            f"a mixture of {bound.weights} candidates has as many logits, and these have shape {tuple(logits.shape)}."
        )
    return [*softmax(logits).unbind(), *own]


def softmax(logits: Tensor) -> Tensor:
    """The weights of logits, at least in float32."""
    return at_least_float32(logits).softmax(-1)


def gradient_of_logits(by_weight: Tensor, weights: Tensor) -> Tensor:
    """The gradient of logits from those of the weights that are their softmax, (weights, channels)."""
    summed = by_weight.sum(1, dtype=weights.dtype)
    return torch._softmax_backward_data(summed, weights, -1, weights.dtype)
