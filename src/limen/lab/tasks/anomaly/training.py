"""How a network learns from normal images alone."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torchmetrics import MetricCollection

from limen.lab.training.supervised import ByObjective


class OneClass(ByObjective):
    """Minimises the network's own objective. The held-out loss, which chooses the epoch, is that of normal images."""

    def _evaluate(self, batch: tuple[Tensor, Tensor], split: str, measures: MetricCollection) -> None:
        images, masks = batch
        measures.update(*self.task.answer(self.network(images), masks, self.data))
        normal = ~(masks != 0).flatten(1).any(1)
        named: dict[str, Any] = {"on_epoch": True, "batch_size": int(normal.sum())}
        if named["batch_size"]:
            self.log(f"{split}_loss", self.task.objective(self.network, images[normal], masks[normal]), **named)
        self.log_dict(measures, on_epoch=True, batch_size=len(images))
