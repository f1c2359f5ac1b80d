"""What a network that tells anomalies is: images to a map of how strange each pixel is."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from limen.lab.training.batches import Batches


class AnomalyNetwork(nn.Module):
    """Learns from normal images alone. Higher in its map is stranger, and the maximum is the image's score.

    The maximum, and not the mean, because a defect is small: a mean over the image would dilute it.
    """

    def prepare(self, normal: Batches) -> None:
        """What it must know before it is trained, kept in buffers and frozen parameters."""

    def settle(self, normal: Batches) -> None:
        """What it must know before it is measured, after every epoch; kept in buffers."""

    def objective(self, images: Tensor) -> Tensor:
        """What training minimises, and by which held-out normal images choose the epoch: a scalar."""
        mean: Tensor = self(images).mean()
        return mean

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """The map, (N, H, W), of images (N, C, H, W)."""


def normalised(images: Tensor) -> Tensor:
    """Mean 0 and mean absolute deviation 1 in each image, so that its exposure says nothing.

    As Deep SVDD does it. In MVTec's screws the background of the normal test images is darker by 15 of 255 levels than
    that of all others, at a deviation of 1.4: without this, exposure alone decides.
    """
    centred = images - images.mean((1, 2, 3), keepdim=True)
    return centred / centred.abs().mean((1, 2, 3), keepdim=True).clamp_min(1e-4)
