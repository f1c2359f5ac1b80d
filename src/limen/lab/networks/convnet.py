"""The convolutional network of the AdAct paper."""

from __future__ import annotations

from torch import Tensor, nn

from limen.lab.networks.layers import ImageShape


class ConvNet(nn.Module):
    """The network of the AdAct paper: four convolutions with batch normalisation and 2×2 pooling, one linear layer.

    Maiti 2024, appendix A.1. Its table of widths is missing from the text; 32, 64, 128, 256 channels with 3×3 kernels
    and the activation between normalisation and pooling are ours. Images too small for four poolings are pooled less.
    """

    WIDTHS = (32, 64, 128, 256)

    def __init__(self, image_shape: ImageShape, num_classes: int) -> None:
        super().__init__()
        channels, height, width = image_shape
        layers: list[nn.Module] = []
        for out_channels in self.WIDTHS:
            convolution = nn.Conv2d(channels, out_channels, 3, padding=1, bias=False)
            nn.init.kaiming_uniform_(convolution.weight, nonlinearity="relu")
            layers.append(_ConvBlock(convolution, pool=min(height, width) >= 2))
            channels = out_channels
            if min(height, width) >= 2:
                height, width = height // 2, width // 2
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels * height * width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (N, classes)."""
        logits: Tensor = self.classifier(self.features(images).flatten(1))
        return logits


class _ConvBlock(nn.Module):
    def __init__(self, convolution: nn.Conv2d, pool: bool) -> None:
        super().__init__()
        self.convolution = convolution
        self.normalisation = nn.BatchNorm2d(convolution.out_channels)
        self.activation = nn.ReLU()
        self.pooling = nn.MaxPool2d(2) if pool else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.pooling(self.activation(self.normalisation(self.convolution(x))))
        return output
