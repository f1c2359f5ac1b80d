"""How well scores put what is looked for before all else: areas under two curves, exactly, of the order alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]
Truth = NDArray[np.bool_]


def auroc(scores: Numbers, truth: Truth) -> float:
    """How often a score of what is true is above one of what is not, and half of how often it is the same.

    That is the area under the receiver operating characteristic, exactly: no size of the scores makes ties of what
    differs. NaN where all are of one kind, or a score is NaN.

    >>> auroc(np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, False, True, True]))
    0.875
    """
    true = int(truth.sum())
    pairs = true * (len(truth) - true)
    if not pairs or np.isnan(scores).any():
        return float("nan")
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (counts.cumsum() - (counts - 1) / 2)[places]
    return float((ranks[truth].sum() - true * (true + 1) / 2) / pairs)


def average_precision(scores: Numbers, truth: Truth) -> float:
    """The mean over what is true of the precision among all that is scored as high or higher.

    NaN where nothing is true, or a score is NaN.

    >>> average_precision(np.array([0.9, 0.8, 0.7, 0.1]), np.array([True, False, True, False])).__round__(4)
    0.8333
    """
    if not truth.any() or np.isnan(scores).any():
        return float("nan")
    _, places = np.unique(-scores, return_inverse=True)
    right = np.bincount(places, weights=truth)
    precision = right.cumsum() / np.bincount(places).cumsum()
    return float((precision * right).sum() / truth.sum())
