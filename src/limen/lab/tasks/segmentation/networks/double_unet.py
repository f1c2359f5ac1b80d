"""DoubleU-Net: two U-Nets in sequence, the second sees the image through the first one's mask."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from limen.lab.networks.full_size import FullSize
from limen.lab.tasks.segmentation.networks.layers import ASPP, SqueezeExcite, conv, upsampled


class DoubleUNet(FullSize):
    """DoubleU-Net. Jha et al. 2020, arXiv 2006.04868.

    Smaller than theirs: 16 to 128 channels at 4 scales for 64 to 512 at 5, and a VGG-like first encoder with batch
    normalisation, untrained, for VGG-19. Theirs has one class, and the image times its probability goes into the second
    network; here the image times that of each class but the first, which for one class is the same. Both outputs are
    mixed by a 1×1 convolution, where theirs are two masks with a loss each.
    """

    WIDTHS = (16, 32, 64, 128)

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        widths = self.WIDTHS
        self.first = _Encoder(in_channels, widths, excited=False)
        self.first_pyramid = ASPP(widths[-1], widths[-2])
        self.first_decoder = _Decoder(widths, skips=1)
        self.mask = nn.Conv2d(widths[0], num_classes, 1)
        self.probability = nn.Softmax(dim=1)
        self.second = _Encoder(in_channels * (num_classes - 1), widths, excited=True)
        self.second_pyramid = ASPP(widths[-1], widths[-2])
        self.second_decoder = _Decoder(widths, skips=2)
        self.second_mask = nn.Conv2d(widths[0], num_classes, 1)
        self.head = nn.Conv2d(2 * num_classes, num_classes, 1)

    def logits(self, images: Tensor) -> Tensor:
        """Logits of padded images."""
        *skips, deep = self.first(images)
        mask = self.mask(self.first_decoder(self.first_pyramid(deep), [[skip] for skip in skips]))
        seen = self.probability(mask)[:, 1:, None] * images[:, None]
        *others, deep = self.second(seen.flatten(1, 2))
        both = [list(pair) for pair in zip(skips, others, strict=True)]
        second = self.second_mask(self.second_decoder(self.second_pyramid(deep), both))
        logits: Tensor = self.head(torch.cat([mask, second], dim=1))
        return logits


class _Encoder(nn.Module):
    """Two convolutions a scale, halved between scales; the feature maps of every scale."""

    def __init__(self, channels: int, widths: Sequence[int], *, excited: bool) -> None:
        super().__init__()
        scales = []
        for width in widths:
            scales.append(_block(channels, width, excited=excited))
            channels = width
        self.scales = nn.ModuleList(scales)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> list[Tensor]:
        found = [self.scales[0](x)]
        for scale in list(self.scales)[1:]:
            found.append(scale(self.pool(found[-1])))
        return found


class _Decoder(nn.Module):
    """Doubled, joined with the skips of that scale, convolved; from the deepest scale to the first."""

    def __init__(self, widths: Sequence[int], *, skips: int) -> None:
        super().__init__()
        channels, scales = widths[-2], []
        for width in reversed(widths[:-1]):
            scales.append(_block(channels + skips * width, width, excited=True))
            channels = width
        self.scales = nn.ModuleList(scales)

    def forward(self, x: Tensor, skips: Sequence[Sequence[Tensor]]) -> Tensor:
        for scale, joined in zip(self.scales, reversed(skips), strict=True):
            x = scale(torch.cat([upsampled(x, joined[0].shape[2:]), *joined], dim=1))
        return x


def _block(channels: int, width: int, *, excited: bool) -> nn.Sequential:
    layers: list[nn.Module] = [conv(channels, width), conv(width, width)]
    return nn.Sequential(*layers, *([SqueezeExcite(width)] if excited else []))
