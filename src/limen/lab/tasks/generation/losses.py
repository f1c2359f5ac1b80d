"""What a discriminator and a generator minimise. Goodfellow et al. 2014, arXiv 1406.2661, §3."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy


def discriminator_loss(network: nn.Module, fake: Tensor, real: Tensor) -> Tensor:
    """Real images are to be called real, generated ones generated; each kind is normalised by itself."""
    right, wrong = _judged(network, real), _judged(network, fake)
    return cross_entropy(right, torch.ones_like(right)) + cross_entropy(wrong, torch.zeros_like(wrong))


def generator_loss(network: nn.Module, fake: Tensor) -> Tensor:
    """Generated images are to be called real: the loss that does not saturate."""
    logits = _judged(network, fake)
    return cross_entropy(logits, torch.ones_like(logits))


def _judged(network: nn.Module, images: Tensor) -> Tensor:
    logits: Tensor = network.get_submodule("discriminator")(images)
    return logits.flatten()
