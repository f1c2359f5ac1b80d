"""Detection by default boxes: which of them an object is learned from, the loss, and the answer. SSD, 1512.02325.

A network gives one tensor (N, boxes, 1 + classes + 4 + 4): for each default box the logits of no object and of every
class, four offsets, and the default box itself (centre, width, height, as fractions of the image).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from limen.lab.tasks.detection import geometry
from limen.lab.tasks.detection.kinds import NOTHING

MATCHED = 0.5
"""Overlap from which a default box learns an object (§2.2)."""
NEGATIVES = 3
"""Default boxes without object that are learned from, for each with one (§2.2, hard negative mining)."""
FAINTEST = 0.01
"""Probability below which no box is looked at (§2.2, inference)."""
COVERED = 0.45
"""Overlap above which only the better of two boxes of a class stays."""
MOST_OF_A_CLASS = 200
MOST = 100
"""Boxes in the answer for one image, as COCO counts them."""
NO_OBJECT, LEFT_OUT = 0, -1
CERTAIN, IMPOSSIBLE = 1e-4, -100.0
"""No probability is nearer to 0 or 1 than this when it is written as a logit, but for that of classes never meant."""


class Parts(NamedTuple):
    """A network's output, taken apart."""

    logits: Tensor
    """(N, boxes, 1 + classes), no object first."""
    offsets: Tensor
    defaults: Tensor


def parts(outputs: Tensor) -> Parts:
    """Take a network's output apart."""
    return Parts(outputs[..., :-8], outputs[..., -8:-4], outputs[..., -4:])


def assign(defaults: Tensor, objects: Tensor) -> tuple[Tensor, Tensor]:
    """What each default box learns: its label (N, boxes) and the object that it is of, by index.

    An object is learned by its best default box, and by all that overlap it by 0.5 or more. The label is
    :data:`NO_OBJECT`, the class + 1, or :data:`LEFT_OUT` at an object that is not learned.
    """
    classes = objects[..., 0].long()
    found = geometry.overlap(objects[..., 1:], geometry.corners(defaults))  # (N, objects, boxes)
    counted = found.masked_fill((classes < 0)[..., None], -1)
    best, index = counted.max(1)
    image, number = (classes >= 0).nonzero(as_tuple=True)
    own = counted[image, number].argmax(-1)
    index[image, own] = number
    best[image, own] = 1
    label = torch.where(best >= MATCHED, classes.gather(1, index) + 1, NO_OBJECT)
    if (classes < NOTHING).any():
        unlearned = (found * (classes < NOTHING)[..., None]).amax(1) >= MATCHED
        label.masked_fill_(unlearned & (label == NO_OBJECT), LEFT_OUT)
    return label, index


def loss(outputs: Tensor, objects: Tensor) -> Tensor:
    """Cross-entropy of the default boxes with an object and of the worst without, plus smooth L1 of the offsets.

    Divided by the number of default boxes with an object (eq. 1). An image without objects learns from three boxes.
    """
    logits, offsets, defaults = parts(outputs)
    with torch.no_grad():
        label, index = assign(defaults, objects)
        positive = label > NO_OBJECT
        boxes = objects[..., 1:].gather(1, index[..., None].expand(-1, -1, 4))
        wanted = geometry.offsets(boxes[positive], defaults[positive])
    entropy = F.cross_entropy(logits.movedim(-1, 1), label.clamp(min=0), reduction="none")
    with torch.no_grad():
        chosen = positive | _hardest(entropy, label)
    place = F.smooth_l1_loss(offsets[positive], wanted, reduction="sum")
    return ((entropy * chosen).sum() + place) / positive.sum().clamp(min=1)


def _hardest(entropy: Tensor, label: Tensor) -> Tensor:
    """The boxes without object that are most taken for one, three for each with one in the image."""
    count = NEGATIVES * (label > NO_OBJECT).sum(1, keepdim=True).clamp(min=1)
    without = entropy.masked_fill(label != NO_OBJECT, -torch.inf)
    order = without.argsort(1, descending=True)
    rank = torch.empty_like(order).scatter_(
        1, order, torch.arange(label.shape[1], device=label.device).expand_as(order)
    )
    return (rank < count) & (label == NO_OBJECT)


def stated(score: Tensor, label: Tensor, boxes: Tensor, classes: int) -> Tensor:
    """Boxes that were found otherwise as a network's output: each is a default box that needs no more moving.

    Args:
        score: (…, boxes), from 0 to 1; boxes of a score of 0 are not answered.
        label: (…, boxes), the class of each.
        boxes: (…, boxes, 4), corners.
        classes: how many there are.
    """
    logits = boxes.new_full((*score.shape, 1 + classes), IMPOSSIBLE)
    sure = score.to(boxes.dtype).clamp(CERTAIN, 1 - CERTAIN)
    logits[..., 0] = (1 - sure).log()
    logits.scatter_(-1, 1 + label[..., None], sure.log()[..., None])
    places = torch.cat([(boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]).clamp(min=1e-6)], -1)
    return torch.cat([logits, torch.zeros_like(boxes), places], -1)


@torch.no_grad()
def detections(outputs: Tensor, most: int = MOST) -> Tensor:
    """The answer: (N, most, 6) of score, class, left, top, right, bottom, the best first; score 0 for none."""
    logits, offsets, defaults = parts(outputs)
    scores = logits.softmax(-1)[..., 1:]
    boxes = geometry.moved(offsets, defaults).clamp(0, 1)
    return torch.stack([_of_one(own, places, most) for own, places in zip(scores, boxes, strict=True)])


def _of_one(scores: Tensor, boxes: Tensor, most: int) -> Tensor:
    """The answer for one image from (boxes, classes) and (boxes, 4)."""
    best, index = scores.topk(min(MOST_OF_A_CLASS, len(scores)), dim=0)
    places = boxes[index.mT]  # (classes, candidates, 4)
    kept = geometry.unsuppressed(places, COVERED) & (best.mT >= FAINTEST)
    kept &= geometry.area(places) > 0
    label = torch.arange(scores.shape[1], device=scores.device)[:, None].expand_as(kept)
    rows = torch.cat([best.mT[..., None], label[..., None].to(places.dtype), places], -1)[kept]
    rows = rows[rows[:, 0].argsort(descending=True)[:most]]
    return F.pad(rows, (0, 0, 0, most - len(rows)))
