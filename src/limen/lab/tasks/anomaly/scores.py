"""Area under the receiver operating characteristic of images and of pixels, from maps and masks (N, H, W)."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics.classification import BinaryAUROC
from torchmetrics.utilities.data import dim_zero_cat

from limen.lab.tasks.anomaly.data import UNKNOWN


class _ScoreAUROC(BinaryAUROC):
    """For scores of any size, where torchmetrics expects probabilities. Exact: no binning.

    torchmetrics would squash by a sigmoid, which makes ties of all that is large.
    """

    def add(self, scores: Tensor, truth: Tensor) -> None:
        """Take in scores and which of them are anomalous."""
        wide = scores.detach().cpu().double()  # some devices have no float64
        super().update(0.5 + 0.5 * wide / (1 + wide.abs()), truth.cpu().int())  # increasing: every order is kept

    def compute(self) -> Tensor:  # type: ignore[override]  # its base's base draws the whole curve
        """NaN where all that was seen is of one kind, such as held-out images, which are all normal."""
        truth = dim_zero_cat(self.target)
        if not truth.any() or truth.all():
            return torch.tensor(float("nan"))
        return super().compute().float()


class ImageAUROC(_ScoreAUROC):
    """How well the maximum of an image's map tells anomalous images from normal ones.

    >>> metric = ImageAUROC()
    >>> metric.update(torch.tensor([[[1.0, 9.0]], [[2.0, 2.0]]]), torch.tensor([[[0, 1]], [[0, 0]]]))
    >>> float(metric.compute())
    1.0
    """

    def update(self, maps: Tensor, masks: Tensor) -> None:
        """An image is anomalous if anything in its mask is."""
        self.add(maps.flatten(1).amax(1), (masks != 0).flatten(1).any(1))


class PixelAUROC(_ScoreAUROC):
    """How well the map tells anomalous pixels from normal ones, over every ``stride``-th pixel of all images.

    Anomalous images without a mask do not count.
    """

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride

    def update(self, maps: Tensor, masks: Tensor) -> None:
        """Pixels in reading order."""
        scores, truth = maps.flatten()[:: self.stride], masks.flatten()[:: self.stride]
        known = truth != UNKNOWN
        self.add(scores[known], truth[known])
