"""How a network learns from normal images alone."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torchmetrics import MetricCollection

from limen.lab.supervised import NonFiniteLossError, Supervised


class OneClass(Supervised):
    """Minimises the network's own objective. The held-out loss, which chooses the epoch, is that of normal images."""

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """The objective of a batch; one that is not finite ends the run. Without anomalies there is no score."""
        images, masks = batch
        loss = self.task.objective(self.network, images, masks)
        if not torch.isfinite(loss):
            raise NonFiniteLossError(
                f"the loss became {loss.item()} in epoch {self.current_epoch + 1}, step {index + 1}"
            )
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(images))
        self.log("train_score", math.nan, on_step=False, on_epoch=True, batch_size=len(images))
        return loss

    def _evaluate(self, batch: tuple[Tensor, Tensor], split: str, measures: MetricCollection) -> None:
        images, masks = batch
        measures.update(*self.task.answer(self.network(images), masks, self.data))
        normal = ~(masks != 0).flatten(1).any(1)
        named: dict[str, Any] = {"on_epoch": True, "batch_size": int(normal.sum())}
        if named["batch_size"]:
            self.log(f"{split}_loss", self.task.objective(self.network, images[normal], masks[normal]), **named)
        self.log_dict(measures, on_epoch=True, batch_size=len(images))
