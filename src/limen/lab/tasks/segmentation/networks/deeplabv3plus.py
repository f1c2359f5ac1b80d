"""DeepLabV3+ with a small residual encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from limen.lab.networks.full_size import FullSize
from limen.lab.tasks.segmentation.networks.layers import ASPP, Residual, conv, separable, upsampled


class DeepLabV3Plus(FullSize):
    """DeepLabV3+: an atrous encoder, spatial pyramid pooling, and a decoder that adds low-level features.

    Chen et al. 2018, arXiv 1802.02611. Smaller than theirs, and untrained: 6 residual blocks of 32 to 128 channels for
    Xception or ResNet-101, 64 channels for 256 in the pyramid and the decoder, 24 for 48 low-level ones, and an output
    stride of 8 with rates 2, 4, 6 for maps of a dozen pixels.
    """

    WIDTHS, PYRAMID, LOW = (32, 64, 128), 64, 24

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        low, middle, high = self.WIDTHS
        self.stem = conv(in_channels, low, stride=2)
        self.low = nn.Sequential(Residual(low, low, stride=2), Residual(low, low))
        self.high = nn.Sequential(
            Residual(low, middle, stride=2),
            Residual(middle, middle),
            Residual(middle, high, dilation=2),
            Residual(high, high, dilation=2),
        )
        self.pyramid = ASPP(high, self.PYRAMID)
        self.reduce = conv(low, self.LOW, 1)
        self.decoder = nn.Sequential(
            separable(self.PYRAMID + self.LOW, self.PYRAMID), separable(self.PYRAMID, self.PYRAMID)
        )
        self.head = nn.Conv2d(self.PYRAMID, num_classes, 1)

    def logits(self, images: Tensor) -> Tensor:
        """Logits of padded images."""
        low = self.low(self.stem(images))
        reduced = self.reduce(low)
        pyramid = upsampled(self.pyramid(self.high(low)), low.shape[2:])
        return upsampled(self.head(self.decoder(torch.cat([pyramid, reduced], dim=1))), images.shape[2:])
