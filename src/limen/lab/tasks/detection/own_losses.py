"""How detectors learn that have losses of their own."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from limen.lab.tasks.detection.yolo import YOLO
from limen.lab.training.learner import Mean
from limen.lab.training.supervised import ByObjective


@runtime_checkable
class WithLosses(Protocol):
    """A network that knows what it is to learn."""

    def losses(self, images: Tensor, objects: Tensor) -> Tensor:
        """The loss of a training batch: images, and rows of class and corners."""


class ByOwnLosses(ByObjective):
    """Minimises the network's own losses; those of a YOLO are also what is measured of held-out images."""

    def measure(self, batch: tuple[Tensor, Tensor], losses: Mean) -> None:
        """Take a batch into the loss and into the meters."""
        if not isinstance(self.network, YOLO):
            super().measure(batch, losses)
            return
        images, objects = batch
        raw = self.network.raw(images)
        losses.add(self.network.loss_of(raw, objects), len(images))
        self.take_in(self.network.stated(raw), objects)
