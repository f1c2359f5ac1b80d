"""Divide examples without classes: at random, by blocks, by groups, shuffled once, by time.

RandomState throughout, because NumPy guarantees that its stream never changes; a split stays the same for years.
"""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limen.errors import DataError
from limen.lab.data.division import Draw, Strategy, check_enough

FEWEST = 5
"""Images that can be divided."""
Indices = NDArray[np.int64]


def share(fraction: float, count: int) -> int:
    """So many of ``count``, one at least, and one at least is left."""
    return min(max(1, round(fraction * count)), count - 1)


def permuted(values: Indices, draw: Draw) -> Indices:
    """In an order drawn for a part: validation has another seed than the test."""
    # Modulo, because the largest seed has a next one, too.
    return np.random.RandomState((draw.seed + (draw.part == "validation")) % 2**32).permutation(values)


def first(values: Indices, count: int) -> Tensor:
    """The first so many, in ascending order."""
    return torch.from_numpy(np.sort(values[:count]))


class AtRandom(Strategy[Sized]):
    """Any example is as likely as another."""

    what = "images"

    def order(self, values: Indices, draw: Draw) -> Indices:
        """Examples or groups, those to be taken last."""
        return permuted(values, draw)

    def taken(self, split: Sized, fraction: float, draw: Draw) -> Tensor:
        """The last of the order."""
        check_enough(len(split), FEWEST, self.what, draw)
        return first(self.order(np.arange(len(split)), draw)[::-1], share(fraction, len(split)))

    def kept(self, split: Sized, limit: int, draw: Draw) -> Tensor:
        """Any so many."""
        return first(permuted(np.arange(len(split)), draw), limit)


class InBlocks(AtRandom):
    """The last examples by name are tested and those before them validated.

    Slices of one scan or frames of one film are nearly alike, and a random draw would test on what training has all but
    seen. A limit still draws at random.
    """

    def order(self, values: Indices, draw: Draw) -> Indices:
        """As they come."""
        return values


ORDERS: dict[Literal["random", "blocks"], AtRandom] = {"random": AtRandom(), "blocks": InBlocks()}
"""By the setting ``split``."""


class Grouped(Sized, Protocol):
    """Examples some of which belong together."""

    @property
    def groups(self) -> tuple[int, ...]:
        """The group of each example."""


@dataclass(frozen=True)
class InGroups(Strategy[Grouped]):
    """All examples of a group, as all slices of a scan, are in the same part; a limit only thins the groups out."""

    by: AtRandom

    def taken(self, split: Grouped, fraction: float, draw: Draw) -> Tensor:
        """The examples of the last groups of the order."""
        groups = np.asarray(split.groups)
        scans = np.unique(groups)
        if len(scans) < 2:
            raise DataError(
                f"{draw.data.name} has too few scans: training, validation and test need one each, because the slices "
                "of a patient are never divided; add some."
            )
        chosen = self.by.order(scans, draw)[-share(fraction, len(scans)) :]
        return torch.from_numpy(np.flatnonzero(np.isin(groups, chosen)))

    def kept(self, split: Grouped, limit: int, draw: Draw) -> Tensor:
        """Any so many examples."""
        return self.by.kept(split, limit, draw)


class Shuffled(Strategy[Sized]):
    """Examples are shuffled once; the first of them are tested, the next validated, the next trained on."""

    def arranged(self, count: int, seed: int) -> Tensor:
        """One permutation for all parts."""
        return torch.from_numpy(np.random.RandomState(seed).permutation(count))

    def taken(self, split: Sized, fraction: float, draw: Draw) -> Tensor:
        """The first: two where two or more are left."""
        check_enough(len(split), 3, draw.data.unit, draw)
        return torch.arange(min(max(2, round(fraction * len(split))), len(split) - 2))

    def kept(self, split: Sized, limit: int, draw: Draw) -> Tensor:
        """The first so many."""
        return torch.arange(min(limit, len(split)))


class InTime(Strategy[Sized]):
    """Training, then validation, then test: no part reaches forward into the next."""

    def taken(self, split: Sized, fraction: float, draw: Draw) -> Tensor:
        """The last, two at least, and two at least are left."""
        count = max(2, round(fraction * len(split)))
        if len(split) < count + 2:
            raise DataError(
                f"{draw.data.name} has {len(split)} {draw.data.unit}, of which --{draw.part}-fraction {fraction} "
                "leaves fewer than 2; add some, or give a smaller fraction."
            )
        return torch.arange(len(split) - count, len(split))

    def kept(self, split: Sized, limit: int, draw: Draw) -> Tensor:
        """The latest to train on, the earliest to test on: those nearest to one another."""
        every = torch.arange(len(split))
        if draw.part == "test":
            return every[:limit]
        check_enough(min(limit, len(split)), 2, draw.data.unit, draw)
        return every[-limit:]
