"""A performance profile: for every size of an error, in which part of runs it is no larger (Dolan and Moré 2002)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Profile:
    """Steps: the share of runs with an error of at most ``errors[i]`` is ``shares[i]``."""

    errors: tuple[float, ...]
    shares: tuple[float, ...]

    def at(self, error: float) -> float:
        """The share of runs with an error of at most this.

        >>> profile([[0.5, 1.0], [2.0, math.inf]]).at(1.0)
        0.5
        """
        below = [share for size, share in zip(self.errors, self.shares, strict=True) if size <= error]
        return below[-1] if below else 0.0


def profile(groups: Sequence[Sequence[float]]) -> Profile:
    """Over problems that count the same, each with the errors of its runs; a run that failed has an infinite one.

    >>> profile([[0.5, 1.0], [2.0, math.inf]])
    Profile(errors=(0.5, 1.0, 2.0), shares=(0.25, 0.5, 0.75))
    """
    weighted = sorted((error, 1 / (len(groups) * len(group))) for group in groups for error in group)
    errors, shares, sum_so_far = [], [], 0.0
    for error, weight in weighted:
        if not math.isfinite(error):
            break
        sum_so_far += weight
        errors.append(error)
        shares.append(min(1.0, sum_so_far))
    return Profile(tuple(errors), tuple(shares))
