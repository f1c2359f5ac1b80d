"""Divide by class: every part has each class's share."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limen.errors import DataError, SpecError
from limen.lab.data.division import Draw, Strategy

Counts = NDArray[np.int64]


class Labelled(Protocol):
    """Examples with a class each."""

    @property
    def labels(self) -> Tensor:
        """Class indices, int64 of shape (N,)."""


class ByClass(Strategy[Labelled]):
    """Every draw keeps each class's share as nearly as whole examples allow, at least one example a class."""

    def taken(self, split: Labelled, fraction: float, draw: Draw) -> Tensor:
        """The fraction of every class."""
        counts, names = _counts(split, draw), draw.data.classes
        if counts.min() < 2:
            few = int(counts.argmin())
            raise DataError(
                f"Class {names[few]!r} of {draw.data.name} has {counts[few]} training image(s) left, too few to take "
                f"a {draw.part} split out of; every class needs at least 2: add images, raise the limit on training "
                f"images, or give a {draw.part} split."
            )
        total = int(np.clip(round(fraction * len(split.labels)), len(counts), (counts - 1).sum()))
        return _drawn(split, allot(counts, total, counts - 1), _random(draw.seed, f"carve {draw.part}"))

    def kept(self, split: Labelled, limit: int, draw: Draw) -> Tensor:
        """So many of all classes together."""
        counts = _counts(split, draw)
        if limit < len(counts):
            raise SpecError(
                f"The limit of {limit} {draw.part} images is below one for each of the {len(counts)} classes "
                f"of {draw.data.name}; raise it to {len(counts)} or more."
            )
        if limit >= len(split.labels):
            return torch.arange(len(split.labels))
        return _drawn(split, allot(counts, limit, counts), _random(draw.seed, f"limit {draw.part}"))


def _counts(split: Labelled, draw: Draw) -> Counts:
    return np.bincount(split.labels.numpy(), minlength=len(draw.data.classes)).astype(np.int64)


def allot(counts: Counts, total: int, most: Counts) -> Counts:
    """Share ``total`` examples among classes by their counts: at least 1 each if it has any, never over ``most``.

    >>> allot(np.array([50, 30, 1]), 8, np.array([50, 30, 1])).tolist()
    [4, 3, 1]
    """
    ideal = counts * (total / counts.sum())
    least = np.minimum(1, most)
    shares: Counts = np.clip(np.floor(ideal), least, most).astype(np.int64)
    # Rounding leaves a few examples over or short: they go to, or come from, the classes furthest from their share.
    while (missing := total - shares.sum()) != 0:
        step = 1 if missing > 0 else -1
        movable = shares < most if step > 0 else shares > least
        shares[np.argmax(np.where(movable, step * (ideal - shares), -np.inf))] += step
    return shares


def _drawn(split: Labelled, shares: Counts, random: np.random.RandomState) -> Tensor:
    """So many examples of each class, at random."""
    drawn = []
    for label, share in enumerate(shares):
        members = torch.nonzero(split.labels == label)[:, 0]
        # Drawn for every class, even for a share of 0, so that a larger draw contains a smaller one.
        drawn.append(members[torch.from_numpy(random.permutation(len(members)))[:share]])
    return torch.cat(drawn).sort().values


def _random(seed: int, purpose: str) -> np.random.RandomState:
    """Return a stream of its own for each draw, so that no draw depends on which others are made.

    RandomState, because NumPy guarantees that its stream never changes; a split stays the same for years.
    """
    return np.random.RandomState([seed, *purpose.encode()])
