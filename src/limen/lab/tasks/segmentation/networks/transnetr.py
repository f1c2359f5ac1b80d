"""TransNetR: a residual encoder, and a decoder whose blocks attend over patches."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from limen.lab.networks.full_size import FullSize
from limen.lab.tasks.segmentation.networks.layers import Residual, conv, upsampled


class TransNetR(FullSize):
    """TransNetR. Jha et al. 2023, Transformer-based residual network for polyp segmentation, MIDL, arXiv 2303.07428.

    Smaller than theirs, and untrained: a residual encoder of 16 to 96 channels for ResNet-50, skips and decoder of 32
    channels, attention over patches of 64 numbers in one layer of 2 heads. Three decoder blocks as there, each a
    doubling, a skip and a residual transformer block; the last doubling is bilinear.
    """

    MULTIPLE = 16
    WIDTHS, WIDTH = (16, 32, 64, 96), 32
    PATCHES = (1, 2, 4)
    """Sides of the patches at 1/8, 1/4 and 1/2 of the image, so that there are as many at each."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        first, *deeper = self.WIDTHS
        self.stem = conv(in_channels, first, stride=2)
        stages, channels = [], first
        for width in deeper:
            stages.append(nn.Sequential(Residual(channels, width, stride=2), Residual(width, width)))
            channels = width
        self.stages = nn.ModuleList(stages)
        self.skips = nn.ModuleList(conv(width, self.WIDTH, 1) for width in self.WIDTHS)
        self.blocks = nn.ModuleList(ResidualTransformer(2 * self.WIDTH, self.WIDTH, side) for side in self.PATCHES)
        self.head = nn.Conv2d(self.WIDTH, num_classes, 1)

    def logits(self, images: Tensor) -> Tensor:
        """Logits of padded images."""
        features = [self.stem(images)]
        for stage in self.stages:
            features.append(stage(features[-1]))
        *skips, x = (skip(feature) for skip, feature in zip(self.skips, features, strict=True))
        for block, skip in zip(self.blocks, reversed(skips), strict=True):
            x = block(torch.cat([upsampled(x, skip.shape[2:]), skip], dim=1))
        return upsampled(self.head(x), images.shape[2:])


class ResidualTransformer(nn.Module):
    """A convolution, self-attention over patches added to it, and a residual block; the normalisation comes first."""

    EMBEDDED, HEADS = 64, 2

    def __init__(self, channels: int, width: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.enter = conv(channels, width)
        self.embed = nn.Linear(width * side * side, self.EMBEDDED)
        self.before_attention, self.before_layers = nn.LayerNorm(self.EMBEDDED), nn.LayerNorm(self.EMBEDDED)
        self.attention = nn.MultiheadAttention(self.EMBEDDED, self.HEADS, batch_first=True)
        self.layers = nn.Sequential(
            nn.Linear(self.EMBEDDED, 2 * self.EMBEDDED), nn.ReLU(), nn.Linear(2 * self.EMBEDDED, self.EMBEDDED)
        )
        self.restore = nn.Linear(self.EMBEDDED, width * side * side)
        self.leave = Residual(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps, (N, width, H, W)."""
        x = self.enter(x)
        patches = self.embed(_patches(x, self.side))
        normal = self.before_attention(patches)
        patches = patches + self.attention(normal, normal, normal, need_weights=False)[0]
        patches = patches + self.layers(self.before_layers(patches))
        output: Tensor = self.leave(x + _joined(self.restore(patches), x, self.side))
        return output


def _patches(x: Tensor, side: int) -> Tensor:
    """(N, C, H, W) to (N, patches, C · side²)."""
    n, channels, height, width = x.shape
    cut = x.reshape(n, channels, height // side, side, width // side, side)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(n, -1, channels * side * side)


def _joined(patches: Tensor, like: Tensor, side: int) -> Tensor:
    """What :func:`_patches` has cut, put together again."""
    n, channels, height, width = like.shape
    cut = patches.reshape(n, height // side, width // side, channels, side, side)
    return cut.permute(0, 3, 1, 4, 2, 5).reshape(n, channels, height, width)
