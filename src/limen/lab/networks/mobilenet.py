"""MobileNet, the first version. Howard et al. 2017, arXiv 1704.04861, Table 1."""

from __future__ import annotations

from torch import Tensor, nn

from limen.lab.networks.layers import ImageShape, convolution, is_small, normalised, scaled

LAYERS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
"""Width and stride of each depthwise separable convolution."""


class MobileNet(nn.Module):
    """Thirteen depthwise separable convolutions (4.2 M parameters at 1000 classes), all widths times ``factor``.

    The first convolution halves the size, but for images below 64 pixels.
    """

    def __init__(self, image_shape: ImageShape, num_classes: int, factor: float = 1.0) -> None:
        super().__init__()
        channels = scaled(32, factor)
        parts = [normalised(convolution(image_shape[0], channels, 3, 1 if is_small(image_shape) else 2))]
        for width, stride in LAYERS:
            parts.append(normalised(convolution(channels, channels, 3, stride, groups=channels)))
            parts.append(normalised(convolution(channels, scaled(width, factor), 1)))
            channels = scaled(width, factor)
        self.features = nn.Sequential(*parts)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (N, classes)."""
        logits: Tensor = self.classifier(self.features(images).mean((2, 3)))
        return logits
