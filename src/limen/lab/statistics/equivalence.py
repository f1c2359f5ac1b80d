"""Equivalence within a margin: two one-sided tests, and how often they find it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from limen.lab.statistics.power import deviations, normal_below
from limen.lab.statistics.student import beyond, critical, standard_error


def tost(differences: Sequence[float], margin: float) -> float:
    """The p value of equivalence: the larger of two one-sided paired t tests (Schuirmann 1987).

    One tests that the true difference is -margin or less, the other that it is margin or more; both must be rejected.
    Each at 5 %: the null hypothesis is their union, so neither is corrected for the other (Berger 1982).

    >>> round(tost([0.1, -0.1, 0.0, 0.05], 0.5), 4)
    0.0007

    Differences that are all the same give no spread for a t test; each then lies on one side of either end, and the
    exact sign test is left.

    >>> tost([0.1, 0.1, 0.1, 0.1], 0.5), tost([0.6, 0.6], 0.5)
    (0.0625, 1.0)
    """
    sample = np.asarray(differences, dtype=np.float64)
    nearest = margin - abs(float(sample.mean()))
    if len(set(differences)) == 1:
        return 0.5 ** len(sample) if nearest > 0 else 1.0
    error = standard_error(sample)
    return beyond(nearest / error if error else math.copysign(math.inf, nearest), len(sample) - 1)


def equivalence_power(effect: float, margin: float, pairs: int, level: float) -> float:
    """How often :func:`tost` finds a true difference equivalent; difference and margin in standard deviations.

    >>> round(equivalence_power(0.0, 1.0, 11, 0.05), 3)
    0.849
    """
    root = math.sqrt(pairs)
    inside = margin * root - critical(pairs - 1, level) * deviations(pairs - 1)
    between = normal_below(inside - effect * root) - normal_below(-inside - effect * root)
    return float(np.mean(np.where(inside > 0, between, 0.0)))
