"""Divide by labels: every part has each label's share, as nearly as images with several labels allow.

Iterative stratification: Sechidis et al. 2011, On the stratification of multi-label data. The rarest label is shared
out first, because its images are the fewest to choose from.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limen.lab.data.division import Draw, check_enough
from limen.lab.data.strategies import FEWEST, AtRandom, permuted, share
from limen.lab.tasks.multilabel.data import LabelSplit


class ByLabels(AtRandom):
    """What is taken has its share of the images of every label; a limit draws at random."""

    def taken(self, split: LabelSplit, fraction: float, draw: Draw) -> Tensor:  # type: ignore[override]
        """Images of the rarest label first, each to the part that lacks it most."""
        check_enough(len(split), FEWEST, self.what, draw)
        order = permuted(np.arange(len(split)), draw)
        chosen = _shared(split.there.numpy()[order], share(fraction, len(split)))
        return torch.from_numpy(np.sort(order[chosen]))


def _shared(there: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    """Which of the images, with their labels (images, labels), are among so many that are taken.

    >>> _shared(np.array([[True], [True], [False], [False]]), 2).tolist()
    [True, False, True, False]
    """
    room = np.array([count, len(there) - count], dtype=float)
    lacking = np.outer(room / len(there), there.sum(0))
    place = np.full(len(there), -1)
    while (labels := there[place < 0].sum(0)).any():
        rarest = int(np.where(labels > 0, labels, len(there) + 1).argmin())
        for image in np.flatnonzero((place < 0) & there[:, rarest]):
            part = _part(lacking[:, rarest], room)
            place[image] = part
            room[part] -= 1
            lacking[part] -= there[image]
    unlabelled = np.flatnonzero(place < 0)
    place[unlabelled] = 1
    place[unlabelled[: max(0, int(room[0]))]] = 0
    taken: NDArray[np.bool_] = place == 0
    return taken


def _part(lacking: NDArray[np.float64], room: NDArray[np.float64]) -> int:
    """The part that lacks a label most and has room; of two that lack it alike, the one with more room."""
    if not (room > 0).all():
        return int(room.argmax())
    if lacking[0] == lacking[1]:
        return int(room.argmax())
    return int(lacking.argmax())
