"""Residual networks whose activations stand before the convolutions: ResNet-164 and the wide residual networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor, nn

from limen.lab.networks.layers import ImageShape, convolution

ConvolutionsOf = Callable[[int, int, int], list[nn.Conv2d]]
"""From the channels that come in, the stage and the stride: those of a block."""


class PreActivationBlock(nn.Module):
    """Normalisation, activation, convolution, repeated; the shortcut stays untouched.

    Where the shape changes, the shortcut is a 1×1 convolution of what the first activation gave.
    """

    def __init__(self, channels: int, convolutions: Sequence[nn.Conv2d], stride: int) -> None:
        super().__init__()
        self.norm, self.act = nn.BatchNorm2d(channels), nn.ReLU()
        first, *others = convolutions
        body: list[nn.Module] = [first]
        for made in others:
            body += [nn.BatchNorm2d(made.in_channels), nn.ReLU(), made]
        self.body = nn.Sequential(*body)
        width = convolutions[-1].out_channels
        self.shortcut = convolution(channels, width, 1, stride) if stride != 1 or width != channels else None

    def forward(self, x: Tensor) -> Tensor:
        """Both paths, added."""
        active = self.act(self.norm(x))
        output: Tensor = self.body(active) + (x if self.shortcut is None else self.shortcut(active))
        return output


class _PreActivationNet(nn.Module):
    """A 3×3 stem of 16 channels, three stages, the second and third at half the size of the one before."""

    def __init__(
        self, image_shape: ImageShape, num_classes: int, blocks_a_stage: int, convolutions_of: ConvolutionsOf
    ) -> None:
        super().__init__()
        self.stem = convolution(image_shape[0], 16)
        blocks: list[PreActivationBlock] = []
        channels = 16
        for stage in range(3):
            for index in range(blocks_a_stage):
                stride = 2 if stage > 0 and index == 0 else 1
                convolutions = convolutions_of(channels, stage, stride)
                blocks.append(PreActivationBlock(channels, convolutions, stride))
                channels = convolutions[-1].out_channels
        self.blocks = nn.Sequential(*blocks)
        self.norm, self.act = nn.BatchNorm2d(channels), nn.ReLU()
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (N, classes)."""
        logits: Tensor = self.classifier(self.act(self.norm(self.blocks(self.stem(images)))).mean((2, 3)))
        return logits


class PreActivationResNet(_PreActivationNet):
    """9n + 2 layers of bottleneck blocks (164: 1.7 M parameters). He et al. 2016, arXiv 1603.05027."""

    def __init__(self, image_shape: ImageShape, num_classes: int, depth: int = 164) -> None:
        super().__init__(image_shape, num_classes, (depth - 2) // 9, _bottleneck)


class WideResNet(_PreActivationNet):
    """6n + 4 layers of 3×3 blocks, k times as wide (28-10: 36.5 M parameters). Zagoruyko 2016, arXiv 1605.07146.

    Without the dropout that the paper tries as an addition.
    """

    def __init__(self, image_shape: ImageShape, num_classes: int, depth: int = 28, factor: int = 10) -> None:
        super().__init__(image_shape, num_classes, (depth - 4) // 6, partial(_wide, factor))


def _bottleneck(channels: int, stage: int, stride: int) -> list[nn.Conv2d]:
    """1×1 to a quarter of the width, 3×3, 1×1 to the whole."""
    inner = 16 * 2**stage
    return [convolution(channels, inner, 1), convolution(inner, inner, 3, stride), convolution(inner, 4 * inner, 1)]


def _wide(factor: int, channels: int, stage: int, stride: int) -> list[nn.Conv2d]:
    """Two of 3×3."""
    width = 16 * 2**stage * factor
    return [convolution(channels, width, 3, stride), convolution(width, width)]
