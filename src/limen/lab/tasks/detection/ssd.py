"""A single-shot detector (Liu et al. 2016, 1512.02325) small enough for a processor."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

SHAPES = (1.0, 2.0, 0.5)
"""Width through height of the default boxes of one scale; the first also at the scale halfway to the next (§2.2)."""


class SSD(nn.Module):
    """A convolutional body of VGG's kind, and 3×3 heads on its feature maps of strides 4, 8, 16 and 32.

    Convolutions are followed by batch normalisation, which the paper's VGG does not have: this one starts from
    scratch. The default boxes' scales, as a fraction of the image's shorter side, double with the stride.
    """

    STEM = 16
    WIDTHS = (32, 64, 128, 128)
    """Channels of the feature maps with a head."""
    SCALES = (0.1, 0.2, 0.4, 0.8, 1.1)
    """The last only serves as the next of the one before it."""

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        channels, height, width = image_shape
        self.stem = _convolution(channels, self.STEM, stride=2)
        channels, sizes = self.STEM, [_halved((height, width))]
        stages, heads = [], []
        for out_channels in self.WIDTHS:
            stages.append(
                nn.Sequential(_convolution(channels, out_channels, stride=2), _convolution(out_channels, out_channels))
            )
            heads.append(_head(out_channels, (len(SHAPES) + 1) * (1 + num_classes + 4)))
            channels = out_channels
            sizes.append(_halved(sizes[-1]))
        self.stages, self.heads = nn.ModuleList(stages), nn.ModuleList(heads)
        self.answers = 1 + num_classes + 4
        maps = [
            _default_boxes(size, scale, following, (height, width))
            for size, (scale, following) in zip(sizes[1:], itertools.pairwise(self.SCALES), strict=True)
        ]
        self.register_buffer("defaults", torch.cat(maps), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, offsets and default boxes, (N, boxes, 1 + classes + 4 + 4)."""
        features = self.stem(images)
        answers = []
        for stage, head in zip(self.stages, self.heads, strict=True):
            features = stage(features)
            answers.append(head(features).permute(0, 2, 3, 1).reshape(len(images), -1, self.answers))
        defaults = self.get_buffer("defaults").expand(len(images), -1, -1)
        return torch.cat([torch.cat(answers, 1), defaults], -1)


def _convolution(channels: int, width: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU())


def _head(channels: int, answers: int) -> nn.Conv2d:
    head = nn.Conv2d(channels, answers, 3, padding=1)
    nn.init.xavier_uniform_(head.weight)
    assert head.bias is not None
    nn.init.zeros_(head.bias)
    return head


def _halved(size: tuple[int, int]) -> tuple[int, int]:
    """What a 3×3 convolution of stride 2, padded by 1, leaves."""
    return math.ceil(size[0] / 2), math.ceil(size[1] / 2)


def _default_boxes(size: tuple[int, int], scale: float, following: float, image: tuple[int, int]) -> Tensor:
    """Four boxes in every cell of a feature map, cell by cell: centre, width, height as fractions of the image.

    ``scale`` is a fraction of the image's shorter side, so that the boxes of shape 1 are squares in pixels.
    """
    height, width = image
    short = min(height, width)
    shapes = [(scale * math.sqrt(shape), scale / math.sqrt(shape)) for shape in SHAPES]
    shapes.append((math.sqrt(scale * following),) * 2)
    down, across = torch.meshgrid(*((torch.arange(count) + 0.5) / count for count in size), indexing="ij")
    centres = torch.stack([across, down], -1)[:, :, None].expand(-1, -1, len(shapes), -1)
    extents = torch.tensor([(wide * short / width, high * short / height) for wide, high in shapes])
    return torch.cat([centres, extents.expand(*size, -1, -1)], -1).reshape(-1, 4)
