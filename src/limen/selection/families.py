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
    channels = candidate.num_parameters
    reference = next(iter([*candidate.parameters(), *candidate.buffers()]), torch.empty(0))
    x = torch.tensor(_POINTS, device=reference.device, dtype=torch.float32)
    training = candidate.training
    candidate.eval()
    try:
        y = candidate(_placed(x.unsqueeze(-1).expand(-1, channels), candidate.channel_dim))
    finally:
        candidate.train(training)
    found: Tensor = y.reshape(len(_POINTS), channels).double().cpu()
    return found


def _placed(x: Tensor, channel_dim: int) -> Tensor:
    """Points by channels as an input whose channel axis is where the candidate wants it."""
    if channel_dim in (1, -1):
        return x.contiguous()
    dims = channel_dim + 1 if channel_dim > 1 else -channel_dim
    if channel_dim > 1:
        return x.reshape(x.shape[0], *[1] * (dims - 2), x.shape[1]).contiguous()
    if channel_dim == 0:
        return x.t().contiguous()
    return x.reshape(*x.shape, *[1] * (dims - 1)).contiguous()
