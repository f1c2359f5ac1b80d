"""Vision transformers. Dosovitskiy et al. 2021, arXiv 2010.11929; small ones after Touvron et al. 2021, 2012.12877."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limen.lab.networks.layers import ImageShape, filled_up

PATCH, PATCHES = 16, 8
"""The published side of a patch, and how many smaller ones are along the shorter side of a small image."""
HEAD, HEADS = 64, 3
"""Channels of an attention head where that makes so many heads at least."""
EXPANSION = 4
DEVIATION = 0.02
"""Of the weights that a network starts with, cut off at two of them."""


class VisionTransformer(nn.Module):
    """Blocks of attention and of an MLP with GELU, each behind a LayerNorm, on patches and a token that classifies.

    12x192 has 5.7 M parameters at 1000 classes and 224 pixels, 12x384 has 22.1 M, 12x768 has 86.6 M: Ti, S and B. The
    places of patches are learned. Images that patches do not divide repeat their last row and column.
    """

    def __init__(
        self, image_shape: ImageShape, num_classes: int, depth: int = 12, width: int = 192, patch: int = 0
    ) -> None:
        super().__init__()
        channels, *sides = image_shape
        self.patch = patch or fitting_patch(min(sides))
        self.patches = nn.Conv2d(channels, width, self.patch, self.patch)
        count = (-(-sides[0] // self.patch)) * (-(-sides[1] // self.patch))
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.places = nn.Parameter(torch.zeros(1, 1 + count, width))
        self.blocks = nn.Sequential(*(TransformerBlock(width) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.classifier = nn.Linear(width, num_classes)
        self._start()

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (N, classes)."""
        patches = self.patches(filled_up(images, self.patch)).flatten(2).mT
        x = torch.cat([self.token.expand(len(images), -1, -1), patches], 1) + self.places
        logits: Tensor = self.classifier(self.norm(self.blocks(x))[:, 0])
        return logits

    def _start(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=DEVIATION, a=-2 * DEVIATION, b=2 * DEVIATION)
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        for parameter in (self.token, self.places):
            nn.init.trunc_normal_(parameter, std=DEVIATION, a=-2 * DEVIATION, b=2 * DEVIATION)


class TransformerBlock(nn.Module):
    """Attention between positions, then an MLP at each, both added to what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // head_of(width)
        self.norm1, self.norm2 = (nn.LayerNorm(width, eps=1e-6) for _ in range(2))
        self.queries_keys_values, self.mixed = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, EXPANSION * width), nn.GELU(), nn.Linear(EXPANSION * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """The same shape, (N, positions, width)."""
        x = x + self._attended(self.norm1(x))
        output: Tensor = x + self.mlp(self.norm2(x))
        return output

    def _attended(self, x: Tensor) -> Tensor:
        split = self.queries_keys_values(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        found = F.scaled_dot_product_attention(*split.unbind(0))
        mixed: Tensor = self.mixed(found.transpose(1, 2).flatten(2))
        return mixed


def fitting_patch(side: int) -> int:
    """The side of a patch for images of this shorter side: the published one, less for small images.

    >>> [fitting_patch(side) for side in (224, 64, 32, 28, 8)]
    [16, 8, 4, 4, 1]
    """
    return max(1, min(PATCH, round(side / PATCHES)))


def head_of(width: int) -> int:
    """Channels of an attention head: 64 as published; 32 or 16 in narrow networks, which would have few heads.

    >>> [head_of(width) for width in (768, 192, 128, 80)]
    [64, 64, 32, 16]
    """
    fitting = (size for size in (HEAD, HEAD // 2, HEAD // 4) if not width % size)
    return next((size for size in fitting if width >= HEADS * size), HEAD // 4)
