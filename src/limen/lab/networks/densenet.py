"""DenseNet for CIFAR. Huang et al. 2017, arXiv 1608.06993, section 3."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from limen.lab.networks.layers import ImageShape, convolution


class DenseNet(nn.Module):
    """Three dense blocks of growth rate k, without dropout.

    Plain with 3n + 4 layers (depth 40, k = 12: 1.0 M parameters; depth 100: 7.0 M), or with bottlenecks and halving
    transitions (BC) with 6n + 4 (depth 100, k = 12: 0.8 M): the sizes of the paper's Table 2.
    """

    def __init__(
        self, image_shape: ImageShape, num_classes: int, depth: int = 100, growth: int = 12, compact: bool = False
    ) -> None:
        super().__init__()
        channels = 2 * growth if compact else 16
        parts: list[nn.Module] = [convolution(image_shape[0], channels)]
        for block in range(3):
            if block:
                width = channels // 2 if compact else channels
                parts.append(_transition(channels, width))
                channels = width
            for _ in range((depth - 4) // (6 if compact else 3)):
                parts.append(DenseLayer(channels, growth, compact))
                channels += growth
        self.features = nn.Sequential(*parts, nn.BatchNorm2d(channels), nn.ReLU())
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (N, classes)."""
        logits: Tensor = self.classifier(self.features(images).mean((2, 3)))
        return logits


class DenseLayer(nn.Module):
    """Adds ``growth`` channels to its input: normalisation, activation, 3×3, behind a 1×1 bottleneck if compact."""

    def __init__(self, channels: int, growth: int, compact: bool) -> None:
        super().__init__()
        steps: list[nn.Module] = []
        for width, kernel in [(4 * growth, 1), (growth, 3)] if compact else [(growth, 3)]:
            steps += [nn.BatchNorm2d(channels), nn.ReLU(), convolution(channels, width, kernel)]
            channels = width
        self.body = nn.Sequential(*steps)

    def forward(self, x: Tensor) -> Tensor:
        """The input with the new channels behind it."""
        return torch.cat([x, self.body(x)], 1)


def _transition(channels: int, width: int) -> nn.Sequential:
    """Half the size; a side of odd length keeps its last pixel."""
    return nn.Sequential(
        nn.BatchNorm2d(channels), nn.ReLU(), convolution(channels, width, 1), nn.AvgPool2d(2, ceil_mode=True)
    )
