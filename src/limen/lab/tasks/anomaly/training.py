"""How a network learns from normal images alone."""

from __future__ import annotations

from torch import Tensor

from limen.lab.training.learner import Mean
from limen.lab.training.supervised import ByObjective


class OneClass(ByObjective):
    """Minimises the network's own objective. The held-out loss, which chooses the epoch, is that of normal images."""

    def measure(self, batch: tuple[Tensor, Tensor], losses: Mean) -> None:
        """Maps of all images, the loss of the normal ones."""
        images, masks = batch
        self.take_in(self.network(images), masks)
        normal = ~(masks != 0).flatten(1).any(1)
        if count := int(normal.sum()):
            losses.add(self.task.objective(self.network, images[normal], masks[normal]), count)
