"""GoogLeNet. Szegedy et al. 2014, arXiv 1409.4842, Table 1."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from limen.lab.networks.layers import ImageShape, convolution, is_small, normalised, scaled

STAGES = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)
"""Widths of each inception: 1×1; 1×1 before 3×3, 3×3; 1×1 before 5×5, 5×5; 1×1 after pooling."""


class GoogLeNet(nn.Module):
    """Nine inceptions in three stages, all widths times ``factor``.

    With batch normalisation, which is younger than the paper, and without its auxiliary classifiers and local response
    normalisation. Images below 64 pixels have a 3×3 stem that keeps their size, the usual CIFAR form.
    """

    def __init__(self, image_shape: ImageShape, num_classes: int, factor: float = 1.0) -> None:
        super().__init__()
        narrow, channels = scaled(64, factor), scaled(192, factor)
        if is_small(image_shape):
            parts: list[nn.Module] = [normalised(convolution(image_shape[0], channels))]
        else:
            parts = [
                normalised(convolution(image_shape[0], narrow, 7, 2)),
                nn.MaxPool2d(3, 2, padding=1),
                normalised(convolution(narrow, narrow, 1)),
                normalised(convolution(narrow, channels)),
                nn.MaxPool2d(3, 2, padding=1),
            ]
        for index, stage in enumerate(STAGES):
            if index:
                parts.append(nn.MaxPool2d(3, 2, padding=1))
            for published in stage:
                inception = Inception(channels, [scaled(width, factor) for width in published])
                parts.append(inception)
                channels = inception.out_channels
        self.features = nn.Sequential(*parts)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (N, classes)."""
        logits: Tensor = self.classifier(self.features(images).mean((2, 3)))
        return logits


class Inception(nn.Module):
    """1×1, 3×3, 5×5 convolutions and pooling side by side."""

    def __init__(self, channels: int, widths: list[int]) -> None:
        super().__init__()
        one, before_three, three, before_five, five, pooled = widths
        self.out_channels = one + three + five + pooled
        self.branches = nn.ModuleList(
            [
                normalised(convolution(channels, one, 1)),
                nn.Sequential(
                    normalised(convolution(channels, before_three, 1)), normalised(convolution(before_three, three))
                ),
                nn.Sequential(
                    normalised(convolution(channels, before_five, 1)), normalised(convolution(before_five, five, 5))
                ),
                nn.Sequential(nn.MaxPool2d(3, 1, padding=1), normalised(convolution(channels, pooled, 1))),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        """The channels of all branches."""
        return torch.cat([branch(x) for branch in self.branches], 1)
