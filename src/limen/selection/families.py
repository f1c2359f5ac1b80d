"""Candidates that differ in one slope only: two lines through 0, the identity above it."""

from __future__ import annotations

import torch
from torch import Tensor

from limen.activations.base import Activation

_POINTS = (-64.0, -8.0, -1.0, -0.125, 0.0, 0.125, 1.0, 8.0, 64.0)


@torch.no_grad()
def negative_slope(candidate: Activation) -> float | None:
    """The slope below 0 of a function that is x above 0 and a line below, averaged over channels; else None.

    It is asked of the function's values in evaluation, so that activations of one's own are recognised too. ReLU,
    LeakyReLU, PReLU and RReLU are of this family, and an argmax among them chooses a slope and nothing else.

    >>> from limen.activations import Mish, PReLU
    >>> negative_slope(PReLU()), negative_slope(Mish())
    (0.25, None)
    """
    if not candidate.elementwise:
        return None
    values = _values(candidate)
    x = torch.tensor(_POINTS, dtype=torch.float64).unsqueeze(-1)
    slope = -values[2]
    lines = torch.where(x > 0, x, slope * x)
    if not torch.allclose(values, lines, rtol=1e-5, atol=1e-6):
        return None
    return float(f"{slope.mean().item():.9g}")


def _values(candidate: Activation) -> Tensor:
    """The function at the points, (points, channels)."""
    channels, dim = candidate.num_parameters, candidate.channel_dim
    dims = max(2, dim + 1, -dim)
    channel_axis = dim % dims
    point_axis = 1 if channel_axis == 0 else 0
    reference = next(iter([*candidate.parameters(), *candidate.buffers()]), torch.empty(0))
    points = torch.tensor(_POINTS, device=reference.device).unsqueeze(-1).expand(-1, channels)
    x = points.reshape(*points.shape, *[1] * (dims - 2)).movedim((0, 1), (point_axis, channel_axis)).contiguous()
    training = candidate.training
    candidate.eval()
    try:
        y = candidate(x)
    finally:
        candidate.train(training)
    found: Tensor = y.movedim((point_axis, channel_axis), (0, 1)).reshape(points.shape).double().cpu()
    return found
