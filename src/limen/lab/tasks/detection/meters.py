"""What measures the output of a network: the precision of its boxes, and how well its default boxes are labelled."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric as Meter

from limen.lab.tasks.detection import default_boxes
from limen.lab.tasks.detection.average_precision import AveragePrecision


class Precision(AveragePrecision):
    """Average precision of a network's output."""

    def update(self, outputs: Tensor, objects: Tensor) -> None:
        """Judge the boxes of the answer to some images."""
        super().update(default_boxes.detections(outputs), objects)


class LabelAccuracy(Meter):
    """How many of the default boxes with an object have its class for the likeliest."""

    higher_is_better = True
    full_state_update = False
    right: Tensor
    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("right", "total"):
            self.add_state(name, default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, outputs: Tensor, objects: Tensor) -> None:
        """Count in a batch."""
        logits, _, defaults = default_boxes.parts(outputs)
        label, _ = default_boxes.assign(defaults, objects)
        positive = label > default_boxes.NO_OBJECT
        self.right += (logits[positive].argmax(-1) == label[positive]).sum()
        self.total += positive.sum()

    def compute(self) -> Tensor:
        """The part that is right; 0 where there was none."""
        return self.right / self.total.clamp(min=1)
