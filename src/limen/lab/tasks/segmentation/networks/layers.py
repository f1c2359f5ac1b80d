"""What the segmentation networks are made of; activations are modules, so that each can be replaced."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def conv(channels: int, width: int, kernel: int = 3, *, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation, activation; the size kept but for the stride."""
    return nn.Sequential(normalised(channels, width, kernel, stride=stride, dilation=dilation), nn.ReLU())


def normalised(channels: int, width: int, kernel: int = 3, *, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """Convolution and batch normalisation."""
    padding = dilation * (kernel // 2)
    layer = nn.Conv2d(channels, width, kernel, stride, padding, dilation, bias=False)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return nn.Sequential(layer, nn.BatchNorm2d(width))


def separable(channels: int, width: int, *, dilation: int = 1) -> nn.Sequential:
    """An (atrous) convolution of each channel by itself, then one over channels, both normalised and activated."""
    layer = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, groups=channels, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(channels), nn.ReLU(), *conv(channels, width, 1))


def upsampled(x: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear, to a height and width."""
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


class Residual(nn.Module):
    """Two 3×3 convolutions and a shortcut, projected where the shape changes. He et al. 2016, arXiv 1512.03385."""

    def __init__(self, channels: int, width: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.first = conv(channels, width, stride=stride, dilation=dilation)
        self.second = normalised(width, width, dilation=dilation)
        same = channels == width and stride == 1
        self.shortcut = nn.Identity() if same else normalised(channels, width, 1, stride=stride)
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps, (N, width, H / stride, W / stride)."""
        output: Tensor = self.activation(self.second(self.first(x)) + self.shortcut(x))
        return output


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: a 1×1 convolution, atrous ones and the image's mean, side by side, then mixed.

    Chen et al. 2017, arXiv 1706.05587; depthwise separable as in DeepLabV3+, arXiv 1802.02611. The rates of the paper
    (6, 12, 18) are for maps of 32 pixels and more a side; on the small maps here most of their taps would be padding.
    """

    def __init__(self, channels: int, width: int, rates: Sequence[int] = (2, 4, 6)) -> None:
        super().__init__()
        self.points = conv(channels, width, 1)
        self.atrous = nn.ModuleList(separable(channels, width, dilation=rate) for rate in rates)
        self.image = conv(channels, width, 1)
        self.mix = conv(width * (2 + len(rates)), width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps, (N, width, H, W)."""
        mean = self.image(x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[2:])
        output: Tensor = self.mix(torch.cat([self.points(x), *(layer(x) for layer in self.atrous), mean], dim=1))
        return output


class SqueezeExcite(nn.Module):
    """Channels weighed by a gate of their means. Hu et al. 2018, arXiv 1709.01507; the gate stays a sigmoid."""

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, max(4, channels // reduction), bias=False)
        self.activation = nn.ReLU()
        self.excite = nn.Linear(self.squeeze.out_features, channels, bias=False)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps of the same shape."""
        output: Tensor = x * self.gate(self.excite(self.activation(self.squeeze(x.mean((2, 3))))))[:, :, None, None]
        return output
