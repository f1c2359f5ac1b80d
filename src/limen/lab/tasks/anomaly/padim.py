"""PaDiM: a Gaussian of normal features at every place. Defard et al. 2021, arXiv 2011.08785.

There the features come from a network that has learned from ImageNet. Here the network learns from the normal images
to find what was pasted into them, so that its activation matters; the Gaussians are fitted anew after every epoch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from limen.lab.tasks.anomaly.features import WIDTHS, Features, Pretext, enlarged, together
from limen.lab.tasks.anomaly.network import AnomalyNetwork
from limen.lab.training.batches import Batches

ImageShape = tuple[int, int, int]
KEPT = 48
"""Features at a place, drawn from all stages' 112."""
RIDGE = 0.01
"""Added to the variances, as published."""


class PaDiM(AnomalyNetwork):
    """The Mahalanobis distance of a place's features from those of normal images at the same place.

    Places are those of the second stage, a quarter of the image's sides. All of the network carries the swapped
    activation.
    """

    def __init__(self, image_shape: ImageShape) -> None:
        super().__init__()
        channels, height, width = image_shape
        self.pretext = Pretext(Features(channels))
        self.grid = torch.Size((-(-height // 4), -(-width // 4)))
        places = self.grid.numel()
        self.register_buffer("chosen", torch.randperm(sum(WIDTHS))[:KEPT].sort().values)
        self.register_buffer("mean", torch.zeros(places, KEPT))
        self.register_buffer("precision", torch.eye(KEPT).repeat(places, 1, 1))
        self.chosen: Tensor
        self.mean: Tensor
        self.precision: Tensor
        self.pieces: torch.Generator | None = None

    def objective(self, images: Tensor) -> Tensor:
        """How badly pasted pieces are found; on held-out images the same pieces every time.

        The pieces of training are drawn by a generator of their own, begun with torch's at the first step, so that for
        one seed every activation sees the same, whatever else it draws.
        """
        if not self.training:
            return self.pretext.loss(images, torch.Generator().manual_seed(len(images)))
        if self.pieces is None:
            self.pieces = torch.Generator()
            self.pieces.set_state(torch.get_rng_state())
        return self.pretext.loss(images, self.pieces)

    @torch.no_grad()
    def settle(self, normal: Batches) -> None:
        """Fit the Gaussians."""
        training = self.training
        self.eval()
        total = torch.zeros_like(self.mean, dtype=torch.float64)
        products = torch.zeros_like(self.precision, dtype=torch.float64)
        count = 0
        for images, _ in normal:
            found = self._at_places(images).double()
            count += len(found)
            total += found.sum(0)
            products += torch.einsum("npi,npj->pij", found, found)
        mean = total / count
        spread = (products - count * mean[:, :, None] * mean[:, None, :]) / max(count - 1, 1)
        ridge = RIDGE * torch.eye(KEPT, dtype=torch.float64, device=mean.device)
        self.mean.copy_(mean)
        self.precision.copy_(torch.linalg.inv(spread + ridge))
        self.train(training)

    def forward(self, images: Tensor) -> Tensor:
        """The distance at every place, in the size of the image."""
        offset = self._at_places(images) - self.mean
        squared = torch.einsum("npi,pij,npj->np", offset, self.precision, offset)
        return enlarged(squared.clamp_min(0).sqrt().view(-1, *self.grid), images.shape[2:])

    def _at_places(self, images: Tensor) -> Tensor:
        """(N, places, features)."""
        found = together(self.pretext.features(images), self.grid)
        return found[:, self.chosen].flatten(2).transpose(1, 2)
