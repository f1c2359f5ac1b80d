"""How much an error changes, as a part of the baseline's: what problems of different units have in common."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def relative_changes(errors: Sequence[float], baseline: Sequence[float]) -> list[float] | None:
    """By seed, changes whose mean is (mean error - the baseline's) / the baseline's; None where that has no error.

    The baseline's mean error is itself an estimate. So the spread is that of errors less the ratio of the means times
    the baseline's (the linearised ratio: Cochran 1977, chapter 6), and not that of the plain differences.

    >>> relative_changes([0.04, 0.06], [0.08, 0.12])
    [-0.5, -0.5]
    """
    mine, theirs = np.asarray(errors, dtype=np.float64), np.asarray(baseline, dtype=np.float64)
    mean = theirs.mean()
    if not mean > 0:
        return None
    ratio = mine.mean() / mean
    found: list[float] = (ratio - 1 + (mine - ratio * theirs) / mean).tolist()
    return found
