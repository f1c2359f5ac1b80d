"""Learns as any network does, and is measured at thresholds that validation images have chosen."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from limen.lab.tasks.multilabel.meters import Decided
from limen.lab.training.supervised import Supervised


class WithThresholds(Supervised):
    """Every label's threshold is the one with the highest F1 on the validation images.

    Without any, as where the test set chooses the epoch, it is a probability of a half.
    """

    def evaluate(self, split: str, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
        """Loss and the task's metrics."""
        for meter in self.meters.values():
            if isinstance(meter, Decided):
                meter.choosing = split == "val" and not self.settings.test_chooses
        return super().evaluate(split, batches)
