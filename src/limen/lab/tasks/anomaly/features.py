"""Features of images at several scales, learned from normal images by finding what was pasted into them.

No weights trained on other images are needed: the networks that the papers take their features from have seen
ImageNet, these have seen the training images only.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count, islice

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limen.lab.tasks.anomaly.cut_paste import cut_and_paste
from limen.lab.tasks.anomaly.network import normalised
from limen.lab.training.batches import Batches

WIDTHS = (16, 32, 64)


class Fixed(nn.Module):
    """max(x, 0) for a network that is not compared: :func:`limen.swap_` must leave it alone.

    It recognises every usual way to write ReLU, and modules without buffers by what they compute; hence the absolute
    value, and the buffer. Both halves are exact.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("one_half", torch.tensor(0.5), persistent=False)
        self.one_half: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """The larger of x and 0."""
        return self.one_half * (x + x.abs())


class Features(nn.Module):
    """Three stages of two 3×3 convolutions with batch normalisation, at a half, a quarter and an eighth of the size.

    Every image is normalised by itself first.
    """

    def __init__(self, channels: int, activation: Callable[[], nn.Module] = nn.ReLU) -> None:
        super().__init__()
        stages = []
        for width in WIDTHS:
            stages.append(nn.Sequential(*_block(channels, width, 2, activation), *_block(width, width, 1, activation)))
            channels = width
        self.stages = nn.ModuleList(stages)

    def forward(self, images: Tensor) -> list[Tensor]:
        """The features of every stage."""
        found, images = [], normalised(images)
        for stage in self.stages:
            images = stage(images)
            found.append(images)
        return found


def _block(channels: int, width: int, stride: int, activation: Callable[[], nn.Module]) -> list[nn.Module]:
    convolution = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    return [convolution, nn.BatchNorm2d(width), activation()]


class Pretext(nn.Module):
    """Features with a layer that says of every second pixel whether it was pasted."""

    def __init__(self, features: Features) -> None:
        super().__init__()
        self.features = features
        self.head = nn.Conv2d(sum(WIDTHS), 1, 1)

    def loss(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Cross-entropy of the pixels, those pasted counting as much as the others together."""
        changed, marks = cut_and_paste(images, generator)
        found = self.features(changed)
        logits = self.head(together(found, found[0].shape[2:]))[:, 0]
        wanted = F.adaptive_max_pool2d(marks[:, None], tuple(logits.shape[1:]))[:, 0]
        losses = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        return _mean(losses, wanted) + _mean(losses, 1 - wanted)

    def train_for(self, steps: int, learning_rate: float, normal: Batches, seed: int) -> None:
        """Learn from batches of normal images, the pieces drawn by ``seed``."""
        generator = torch.Generator().manual_seed(seed)
        self.requires_grad_(True).train()
        optimiser = torch.optim.Adam(self.parameters(), learning_rate)
        for images, _ in islice((batch for _ in count() for batch in normal), steps):
            optimiser.zero_grad()
            torch.autograd.backward(self.loss(images, generator))
            optimiser.step()


def together(features: list[Tensor], size: torch.Size) -> Tensor:
    """All stages' features in one size, (N, 112, h, w)."""
    sized = [
        F.interpolate(found, tuple(size), mode="bilinear", align_corners=False)
        if found.shape[2] < size[0]
        else F.adaptive_avg_pool2d(found, (size[0], size[1]))
        for found in features
    ]
    return torch.cat(sized, dim=1)


def enlarged(scores: Tensor, size: torch.Size) -> Tensor:
    """A map (N, h, w) in the size of the image."""
    return F.interpolate(scores[:, None], tuple(size), mode="bilinear", align_corners=False)[:, 0]


def _mean(losses: Tensor, weights: Tensor) -> Tensor:
    return (losses * weights).sum() / weights.sum().clamp_min(1)
