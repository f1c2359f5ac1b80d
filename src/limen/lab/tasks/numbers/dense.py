"""The network of tables: linear layers and activations in turn."""

from __future__ import annotations

from torch import Tensor, nn


class DNN(nn.Module):
    """Three hidden layers of 64 units."""

    WIDTHS = (64, 64, 64)

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in self.WIDTHS:
            layers += [nn.Linear(in_features, width), nn.ReLU()]
            in_features = width
        self.layers = nn.Sequential(*layers, nn.Linear(in_features, out_features))

    def forward(self, x: Tensor) -> Tensor:
        """Predictions, (N, out_features), of rows (N, in_features)."""
        predictions: Tensor = self.layers(x)
        return predictions
