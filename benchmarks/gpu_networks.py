"""The two networks whose training step ``benchmarks/gpu.py`` times: torchvision's are not needed for that."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ResNet18(nn.Module):
    """He et al. 2015, arXiv 1512.03385, table 1; ``width`` is 64 there."""

    def __init__(self, width: int = 64, num_classes: int = 1000) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
        )
        blocks: list[nn.Module] = []
        channels = width
        for stage in range(4):
            for index in range(2):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(_Residual(channels, width << stage, stride))
                channels = width << stage
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.blocks(self.stem(images)).mean((2, 3)))
        return logits


class _Residual(nn.Module):
    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.convolution1 = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        self.norm1, self.activation1 = nn.BatchNorm2d(width), nn.ReLU()
        self.convolution2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2, self.activation2 = nn.BatchNorm2d(width), nn.ReLU()
        same = stride == 1 and channels == width
        projection = nn.Sequential(nn.Conv2d(channels, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width))
        self.shortcut = nn.Identity() if same else projection

    def forward(self, x: Tensor) -> Tensor:
        y = self.activation1(self.norm1(self.convolution1(x)))
        result: Tensor = self.activation2(self.norm2(self.convolution2(y)) + self.shortcut(x))
        return result


class ViT(nn.Module):
    """A vision transformer (Dosovitskiy et al. 2020, arXiv 2010.11929) of ViT-S's sizes: width 384, 12 blocks."""

    def __init__(self, image: int = 224, width: int = 384, depth: int = 12, num_classes: int = 1000) -> None:
        super().__init__()
        patch = 16
        self.patches = nn.Conv2d(3, width, patch, stride=patch)
        self.position = nn.Parameter(0.02 * torch.randn(1, (image // patch) ** 2, width))
        self.blocks = nn.Sequential(*(_Block(width, heads=6) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.position
        logits: Tensor = self.head(self.norm(self.blocks(tokens)).mean(1))
        return logits


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm1(tokens)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        tokens = tokens + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        result: Tensor = tokens + self.mlp(self.norm2(tokens))
        return result
