"""A network without convolutions."""

from __future__ import annotations

from torch import Tensor, nn

from limen.lab.networks.layers import ImageShape


class MLP(nn.Module):
    """Two hidden layers of 256 units."""

    WIDTH = 256

    def __init__(self, image_shape: ImageShape, num_classes: int) -> None:
        super().__init__()
        channels, height, width = image_shape
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels * height * width, self.WIDTH),
            nn.ReLU(),
            nn.Linear(self.WIDTH, self.WIDTH),
            nn.ReLU(),
            nn.Linear(self.WIDTH, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (N, classes)."""
        logits: Tensor = self.layers(images)
        return logits
