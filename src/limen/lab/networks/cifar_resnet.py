"""The residual networks for CIFAR. He et al. 2016, arXiv 1512.03385, section 4.2."""

from __future__ import annotations

from torch import Tensor, nn

from limen.lab.networks.layers import ImageShape, convolution, normalised


class CifarResNet(nn.Module):
    """6n + 2 layers (20: 0.27 M parameters, 56: 0.85 M, 110: 1.7 M) with parameter-free shortcuts."""

    WIDTHS = (16, 32, 64)

    def __init__(self, image_shape: ImageShape, num_classes: int, depth: int = 20) -> None:
        super().__init__()
        self.stem = normalised(convolution(image_shape[0], 16))
        blocks: list[nn.Module] = []
        channels = 16
        for width in self.WIDTHS:
            for index in range((depth - 2) // 6):
                blocks.append(ResidualBlock(channels, width, 2 if index == 0 and width != 16 else 1))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (N, classes)."""
        logits: Tensor = self.classifier(self.blocks(self.stem(images)).mean((2, 3)))
        return logits


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions around a shortcut without parameters."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.norm1, self.act1 = convolution(channels, width, 3, stride), nn.BatchNorm2d(width), nn.ReLU()
        self.conv2, self.norm2, self.act2 = convolution(width, width), nn.BatchNorm2d(width), nn.ReLU()
        self.stride, self.new_channels = stride, width - channels

    def forward(self, x: Tensor) -> Tensor:
        """Both paths, added."""
        out = self.norm2(self.conv2(self.act1(self.norm1(self.conv1(x)))))
        output: Tensor = self.act2(out + self._shortcut(x))
        return output

    def _shortcut(self, x: Tensor) -> Tensor:
        """Option A of the paper: subsample, and pad the new channels with zeros."""
        x = x[:, :, :: self.stride, :: self.stride]
        return nn.functional.pad(x, (0, 0, 0, 0, 0, self.new_channels)) if self.new_channels else x
