"""Average precision by COCO's rules: boxes taken the best first, each to the unfound object that it overlaps most.

After the authors' evaluation (cocodataset.org/#detection-eval) over all sizes of objects, of the boxes that are given.
An object that does not count answers for any number of boxes, which then do not count either; a box overlaps it by the
part of the box that lies in it. Precision at 101 recalls from 0 to 1 is the best at that recall or a higher one;
classes without an object have none.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limen.lab.tasks.detection import geometry
from limen.lab.tasks.detection.kinds import NOTHING, ignored
from limen.lab.training.meter import Meter

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
FOUND, WRONG, UNCOUNTED = 1, 0, -1


def judge(detected: Tensor, objects: Tensor) -> NDArray[np.int8]:
    """For each box of one image, of one class, the best first, and each threshold: found, wrong or uncounted.

    Args:
        detected: (K, 4) corners.
        objects: (M, 5) class and corners of that class alone; a class below −1 does not count.

    Returns:
        (K, 10) of :data:`FOUND`, :data:`WRONG`, :data:`UNCOUNTED`.
    """
    counts = objects[:, 0] >= 0
    boxes, places = detected.double(), objects[:, 1:].double()
    return judged(geometry.overlap(boxes, places[counts]), geometry.covered(boxes, places[~counts]))


def judged(overlapping: Tensor, within: Tensor) -> NDArray[np.int8]:
    """The same from how much each of them overlaps every object that counts, and lies in every one that does not."""
    overlaps, swallowed = overlapping.numpy(), within.numpy()
    verdict = np.full((len(overlaps), len(THRESHOLDS)), WRONG, dtype=np.int8)
    verdict[swallowed.max(1, initial=0)[:, None] >= THRESHOLDS] = UNCOUNTED
    free = np.ones((len(THRESHOLDS), overlaps.shape[1]), dtype=bool)
    if not free.size:
        return verdict
    for number, row in enumerate(overlaps):
        # Of equal overlaps COCO takes the last.
        possible = np.where(free, row, -1.0)[:, ::-1]
        chosen = possible.shape[1] - 1 - possible.argmax(1)
        fits = possible.max(1) >= THRESHOLDS
        verdict[number, fits] = FOUND
        free[fits, chosen[fits]] = False
    return verdict


def interpolated(verdict: NDArray[np.int8], count: int) -> float:
    """Average precision of boxes in falling order of their scores, with ``count`` objects there.

    >>> interpolated(np.array([1, 0, 1], np.int8), 2)  # precision 1 up to recall 0.5, then 2/3
    0.834...
    """
    seen = verdict[verdict != UNCOUNTED] == FOUND
    true = np.cumsum(seen)
    recall, precision = true / count, true / np.arange(1, len(true) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    place = np.searchsorted(recall, RECALLS, side="left")
    return float(np.where(place < len(best), np.append(best, 0.0)[np.minimum(place, len(best))], 0.0).mean())


class AveragePrecision(Meter):
    """Mean average precision over classes, at one overlap or over ten of them.

    Args:
        classes: how many there are.
        thresholds: which of :data:`THRESHOLDS` are averaged, by index; all by default.

    :meth:`update` takes detections (N, K, 6) of score, class and corners, and objects (N, M, 5) of class and corners.
    The value is 0 where there is no object.

    >>> metric = AveragePrecision(1, thresholds=(0,))
    >>> metric.update(torch.tensor([[[0.9, 0, 0, 0, 1, 1]]]), torch.tensor([[[0.0, 0, 0, 1, 1]]]))
    >>> float(metric.compute())
    1.0
    """

    state = ("scores", "labels", "verdicts", "counts")
    scores: list[Tensor]
    labels: list[Tensor]
    verdicts: list[Tensor]
    counts: Tensor

    def __init__(self, classes: int, thresholds: tuple[int, ...] = tuple(range(len(THRESHOLDS)))) -> None:
        self.classes, self.thresholds = classes, thresholds
        super().__init__()

    def reset(self) -> None:
        """Nothing was seen."""
        self.scores, self.labels, self.verdicts = [], [], []
        self.counts = torch.zeros(self.classes, dtype=torch.long, device=self.device)

    def update(self, detected: Tensor, objects: Tensor) -> None:
        """Judge the boxes of some images."""
        for boxes, truth in zip(detected.detach().cpu(), objects.detach().cpu(), strict=True):
            boxes, truth = boxes[boxes[:, 0] > 0], truth[truth[:, 0] != NOTHING]
            found, places = boxes[:, 2:].double(), truth[:, 1:].double()
            overlaps, within = geometry.overlap(found, places), geometry.covered(found, places)
            self.take(boxes[:, 0], boxes[:, 1].long(), truth[:, 0].long(), overlaps, within)

    def take(self, scores: Tensor, labels: Tensor, truth: Tensor, overlaps: Tensor, within: Tensor) -> None:
        """Judge what was found in one image.

        Args:
            scores: (K,).
            labels: (K,) classes of what was found.
            truth: (M,) classes of the objects; below −1 of those that do not count.
            overlaps: (K, M) of each with each object.
            within: (K, M), the part of each that lies in each object.
        """
        order = scores.argsort(descending=True, stable=True)
        for label in range(self.classes):
            mine = order[labels[order] == label]
            counted, uncounted = truth == label, truth == ignored(label)
            self.counts[label] += int(counted.sum())
            self.scores.append(scores[mine])
            self.labels.append(labels[mine])
            self.verdicts.append(torch.from_numpy(judged(overlaps[mine][:, counted], within[mine][:, uncounted])))

    def by_class(self) -> dict[int, float]:
        """The average precision of every class that has an object."""
        if not self.scores:
            return {}
        scores, labels, verdicts = (torch.cat(state).numpy() for state in (self.scores, self.labels, self.verdicts))
        found = {}
        for label in self.counts.nonzero().flatten().tolist():
            mine = labels == label
            order = np.argsort(-scores[mine], kind="stable")
            judged, count = verdicts[mine][order], int(self.counts[label])
            found[label] = float(np.mean([interpolated(judged[:, index], count) for index in self.thresholds]))
        return found

    def compute(self) -> Tensor:
        """The mean over classes."""
        found = list(self.by_class().values())
        return torch.tensor(float(np.mean(found)) if found else 0.0, device=self.device)
