"""Area under the receiver operating characteristic of images and of pixels, from maps and masks (N, H, W)."""

from __future__ import annotations

import torch
from torch import Tensor

from limen.lab.tasks.anomaly.data import UNKNOWN
from limen.lab.training.meter import Meter
from limen.lab.training.ranking import auroc


class _ScoreAUROC(Meter):
    """How often a score of an anomaly is above a normal one, and half of how often it is the same."""

    state = ("scores", "truth")
    scores: list[Tensor]
    truth: list[Tensor]

    def reset(self) -> None:
        """Keep nothing."""
        self.scores, self.truth = [], []

    def add(self, scores: Tensor, truth: Tensor) -> None:
        """Take in scores and which of them are anomalous."""
        self.scores.append(scores.detach().cpu())
        self.truth.append(truth.cpu() != 0)

    def compute(self) -> Tensor:
        """NaN where all that was seen is of one kind, such as held-out images, which are all normal, or a score is."""
        scores, truth = (torch.cat(state).numpy() for state in (self.scores, self.truth))
        return torch.tensor(auroc(scores, truth))


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
        self.stride = stride
        super().__init__()

    def update(self, maps: Tensor, masks: Tensor) -> None:
        """Pixels in reading order."""
        scores, truth = maps.flatten()[:: self.stride], masks.flatten()[:: self.stride]
        known = truth != UNKNOWN
        self.add(scores[known], truth[known])
