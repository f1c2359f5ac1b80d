"""A small Fréchet distance between sets of images: FID's formula on a small embedding learned from the data itself.

The published FID (Heusel et al. 2017, arXiv 1706.08500) uses an Inception network trained on ImageNet; its weights are
a download of 90 MB, and its numbers say little about grey images of 28 pixels. Distances on
:mod:`limen.lab.tasks.generation.embedding` compare activations within one study; they are not comparable with any
published FID, nor between data sets.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from typing_extensions import Self

from limen.lab.training import processes
from limen.lab.training.meter import Meter


class SmallFID(Meter):
    """‖μ − ν‖² + tr(S + T − 2·(S·T)^½) of the embedded images' means μ, ν and covariances S, T. Lower is better.

    It takes generated images and as many real ones. Few images make it larger, the same for every activation. The
    embedding is copied, because a metric that goes to a device takes it along.
    """

    state = tuple(f"{kind}_features_{what}" for kind in ("real", "fake") for what in ("sum", "cov_sum", "num_samples"))

    def __init__(self, embedding: nn.Module) -> None:
        self.distance = FrechetInceptionDistance(
            feature=copy.deepcopy(embedding), normalize=True, sync_on_compute=False
        )
        super().__init__()

    def to(self, device: str | torch.device) -> Self:
        """Embed on another device."""
        self.distance.to(device)
        return super().to(device)

    def reset(self) -> None:
        """No image yet."""
        self.distance.reset()

    def pool(self) -> None:
        """The sums over all processes."""
        for name in self.state:
            setattr(self.distance, name, processes.summed(getattr(self.distance, name)))

    def update(self, fake: Tensor, real: Tensor) -> None:
        """Add generated and real images, from −1 to 1."""
        self.distance.update(fake, real=False)
        self.distance.update(real, real=True)

    def compute(self) -> Tensor:
        """The distance; rounding may leave it just below 0."""
        distance: Tensor = self.distance.compute()
        return distance.clamp(min=0)
