"""What measures the output of a network: the precision of its boxes, and how well its default boxes are labelled."""

from __future__ import annotations

import torch
from torch import Tensor

from limen.lab.tasks.detection import default_boxes
from limen.lab.tasks.detection.average_precision import THRESHOLDS, AveragePrecision
from limen.lab.tasks.detection.kinds import NOTHING
from limen.lab.tasks.detection.masks import shared, unpacked
from limen.lab.training.meter import Meter


class Precision(AveragePrecision):
    """Average precision of a network's output."""

    def update(self, outputs: Tensor, objects: Tensor) -> None:
        """Judge the boxes of the answer to some images."""
        boxes, truth = without_masks(outputs, objects)
        super().update(default_boxes.detections(boxes), truth)


class MaskPrecision(AveragePrecision):
    """Average precision of the masks in a network's output, which are those of its boxes, in their order.

    Args:
        classes: how many there are.
        size: height and width of the masks.
        thresholds: which of the overlaps are averaged.
    """

    def __init__(
        self, classes: int, size: tuple[int, int], thresholds: tuple[int, ...] = tuple(range(len(THRESHOLDS)))
    ) -> None:
        self.size = size
        super().__init__(classes, thresholds)

    def update(self, outputs: Tensor, objects: Tensor) -> None:
        """Judge the masks of the answer to some images."""
        boxes, _ = without_masks(outputs, objects)
        best, label = boxes[..., :-8].softmax(-1)[..., 1:].max(-1)
        rows = zip(best.cpu(), label.cpu(), outputs[..., boxes.shape[-1] :].cpu(), objects.cpu(), strict=True)
        for scores, labels, masks, truth in rows:
            said, there = scores >= default_boxes.FAINTEST, truth[:, 0] != NOTHING
            found = unpacked(masks[said], self.size)
            overlaps, within = shared(found, unpacked(truth[there, 5:], self.size))
            self.take(scores[said], labels[said], truth[there, 0].long(), overlaps.double(), within.double())


def without_masks(outputs: Tensor, objects: Tensor) -> tuple[Tensor, Tensor]:
    """A network's output and the truth as far as both are boxes: masks stand behind them."""
    numbers = objects.shape[-1] - 5
    return (outputs[..., :-numbers], objects[..., :5]) if numbers else (outputs, objects)


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
