"""How a detector with losses of its own learns."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from limen.lab.supervised import NonFiniteLossError, Supervised


class TwoStage(Supervised):
    """Minimises what the network says; it answers nothing while it is trained, so there is no training score."""

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """The network's losses on a batch; one that is not finite ends the run."""
        images, objects = batch
        loss = self.task.objective(self.network, images, objects)
        if not torch.isfinite(loss):
            raise NonFiniteLossError(
                f"the loss became {loss.item()} in epoch {self.current_epoch + 1}, step {index + 1}"
            )
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(images))
        self.log("train_score", math.nan, on_step=False, on_epoch=True, batch_size=len(images))
        return loss
