"""What measures the output of a network: the precision of its boxes, and how well its default boxes are labelled."""

from __future__ import annotations

import torch
from torch import Tensor

from limen.lab.tasks.detection import default_boxes
from limen.lab.tasks.detection.average_precision import AveragePrecision
from limen.lab.training.meter import Meter


class Precision(AveragePrecision):
    """Average precision of a network's output."""

    def update(self, outputs: Tensor, objects: Tensor) -> None:
        """Judge the boxes of the answer to some images."""
        super().update(default_boxes.detections(outputs), objects)


class LabelAccuracy(Meter):
    """How many of the default boxes with an object have its class for the likeliest."""

    state = ("right", "total")
    right: Tensor
    total: Tensor

    def reset(self) -> None:
        """No box yet."""
        self.right, self.total = torch.zeros(2, dtype=torch.long, device=self.device).unbind()

    def update(self, outputs: Tensor, objects: Tensor) -> None:
        """Count in a batch."""
        logits, _, defaults = default_boxes.parts(outputs)
        label, _ = default_boxes.assign(defaults, objects)
        positive = label > default_boxes.NO_OBJECT
        self.right = self.right + (logits[positive].argmax(-1) == label[positive]).sum()
        self.total = self.total + positive.sum()

    def compute(self) -> Tensor:
        """The part that is right; 0 where there was none."""
        return self.right / self.total.clamp(min=1)
