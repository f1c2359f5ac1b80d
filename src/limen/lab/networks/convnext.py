"""ConvNeXt. Liu et al. 2022, arXiv 2201.03545; the small sizes after Woo et al. 2023, arXiv 2301.00808."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from limen.lab.networks.layers import ImageShape, filled_up, is_small

EXPANSION = 4
SCALE = 1e-6
"""What each block's own path is multiplied by at first."""
DEVIATION = 0.02


class ConvNeXt(nn.Module):
    """Four stages of blocks behind patches of 4×4 (tiny: 28.6 M parameters at 1000 classes), without stochastic depth.

    Each stage is twice as wide as the one before. Images below 64 pixels are cut into patches of 2×2. Images that the
    network cannot halve repeat their last row and column.
    """

    def __init__(
        self, image_shape: ImageShape, num_classes: int, depths: Sequence[int] = (3, 3, 9, 3), width: int = 96
    ) -> None:
        super().__init__()
        stem = 2 if is_small(image_shape) else 4
        self.multiple = stem * 2 ** (len(depths) - 1)
        stages: list[nn.Module] = [nn.Conv2d(image_shape[0], width, stem, stem), ChannelNorm(width)]
        for stage, depth in enumerate(depths):
            if stage:
                stages += [ChannelNorm(width), nn.Conv2d(width, 2 * width, 2, 2)]
                width *= 2
            stages += [ConvNeXtBlock(width) for _ in range(depth)]
        self.features = nn.Sequential(*stages)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.classifier = nn.Linear(width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=DEVIATION, a=-2 * DEVIATION, b=2 * DEVIATION)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (N, classes)."""
        features = self.features(filled_up(images, self.multiple))
        logits: Tensor = self.classifier(self.norm(features.mean((2, 3))))
        return logits


class ConvNeXtBlock(nn.Module):
    """A depthwise 7×7, LayerNorm, four times the width and back with GELU between, scaled, added to what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(width, EXPANSION * width), nn.GELU(), nn.Linear(EXPANSION * width, width))
        self.scale = nn.Parameter(torch.full((width,), SCALE))

    def forward(self, x: Tensor) -> Tensor:
        """The same shape, (N, channels, H, W)."""
        found = self.mlp(self.norm(self.depthwise(x).permute(0, 2, 3, 1)))
        output: Tensor = x + (self.scale * found).permute(0, 3, 1, 2)
        return output


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of images."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape, (N, channels, H, W)."""
        normed: Tensor = super().forward(x.permute(0, 2, 3, 1))
        return normed.permute(0, 3, 1, 2)


def evenly_deep(image_shape: ImageShape, num_classes: int, depth: int, width: int) -> ConvNeXt:
    """6n blocks: n in each stage, 3n in the third, as tiny and atto have them."""
    part = depth // 6
    return ConvNeXt(image_shape, num_classes, (part, part, 3 * part, part), width)
