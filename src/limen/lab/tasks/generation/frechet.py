"""A small Fréchet distance between sets of images: FID's formula on a small embedding learned from the data itself.

The published FID (Heusel et al. 2017, arXiv 1706.08500) uses an Inception network trained on ImageNet; its weights are
a download of 90 MB, and its numbers say little about grey images of 28 pixels. Distances on
:mod:`limen.lab.tasks.generation.embedding` compare activations within one study; they are not comparable with any
published FID, nor between data sets.
"""

from __future__ import annotations

import copy

from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance


class SmallFID(FrechetInceptionDistance):
    """‖μ − ν‖² + tr(S + T − 2·(S·T)^½) of the embedded images' means μ, ν and covariances S, T. Lower is better.

    It takes generated images and as many real ones. Few images make it larger, the same for every activation. The
    embedding is copied, because a metric that goes to a device takes it along.
    """

    def __init__(self, embedding: nn.Module) -> None:
        super().__init__(feature=copy.deepcopy(embedding), normalize=True)

    def update(self, fake: Tensor, real: Tensor) -> None:  # type: ignore[override]  # both at once, as the lab gives them
        """Add generated and real images, from −1 to 1."""
        super().update(fake, real=False)
        super().update(real, real=True)

    def compute(self) -> Tensor:
        """The distance; rounding may leave it just below 0."""
        return super().compute().clamp(min=0)
