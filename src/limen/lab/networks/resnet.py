"""The residual networks for ImageNet. He et al. 2016, arXiv 1512.03385, Table 1."""

from __future__ import annotations

from torch import Tensor, nn

from limen.lab.networks.catalogue import IMAGENET_BLOCKS
from limen.lab.networks.layers import ImageShape, convolution, is_small, normalised

FIRST_WITH_BOTTLENECKS = 50


class ResNet(nn.Module):
    """Four stages after a 7×7 stem with pooling (18: 11.7 M parameters at 1000 classes; 50: 25.6 M).

    Images below 64 pixels have a 3×3 stem that keeps their size, without pooling. A bottleneck's stride is that of its
    3×3 convolution, as everywhere since 2016. ``width`` is that of the first stage.
    """

    def __init__(self, image_shape: ImageShape, num_classes: int, depth: int = 18, width: int = 64) -> None:
        super().__init__()
        if is_small(image_shape):
            self.stem = normalised(convolution(image_shape[0], width))
        else:
            self.stem = normalised(convolution(image_shape[0], width, 7, 2)).append(nn.MaxPool2d(3, 2, padding=1))
        bottleneck = depth >= FIRST_WITH_BOTTLENECKS
        blocks: list[nn.Module] = []
        channels = width
        for stage, count in enumerate(IMAGENET_BLOCKS[depth]):
            for index in range(count):
                block = _Block(channels, width * 2**stage, 2 if stage and index == 0 else 1, bottleneck)
                blocks.append(block)
                channels = block.out_channels
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (N, classes)."""
        logits: Tensor = self.classifier(self.blocks(self.stem(images)).mean((2, 3)))
        return logits


class _Block(nn.Module):
    """Two 3×3 convolutions, or 1×1, 3×3 and 1×1 to four times the width, beside a shortcut."""

    def __init__(self, channels: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        self.out_channels = 4 * width if bottleneck else width
        if bottleneck:
            inner = [normalised(convolution(channels, width, 1)), normalised(convolution(width, width, 3, stride))]
            last = convolution(width, self.out_channels, 1)
        else:
            inner, last = [normalised(convolution(channels, width, 3, stride))], convolution(width, width)
        self.body = nn.Sequential(*inner, last, nn.BatchNorm2d(self.out_channels))
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != self.out_channels:
            self.shortcut = nn.Sequential(
                convolution(channels, self.out_channels, 1, stride), nn.BatchNorm2d(self.out_channels)
            )
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Both paths, added, activated."""
        output: Tensor = self.act(self.body(x) + self.shortcut(x))
        return output
