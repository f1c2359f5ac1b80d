"""Whether a network sees what it is to predict."""

from __future__ import annotations

import torch
from torch import Tensor, nn

ROUNDING = 64
"""Units of the last place, of the largest logit, by which equal answers may differ."""


@torch.no_grad()
def looks_ahead(network: nn.Module, inputs: Tensor, vocabulary: int) -> bool:
    """Whether what a network gives for the first half of its inputs changes with the second, in evaluation."""
    half = inputs.shape[1] // 2
    other = inputs.clone()
    other[:, half:] = (other[:, half:] + 1) % vocabulary
    training = network.training
    network.eval()
    try:
        before, after = (network(tokens)[:, :half].float() for tokens in (inputs, other))
    finally:
        network.train(training)
    change = (after - before).abs().max()
    return bool(change > ROUNDING * torch.finfo(torch.float32).eps * before.abs().max())
