"""Divide a data set into training, validation and test images: stratified, and the same for the same seed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray

from limen.errors import DataError, SpecError
from limen.lab.data.base import Samples

Counts = NDArray[np.int64]


class Labelled(Samples, Protocol):
    """A split with a class for every example."""

    @property
    def labels(self) -> torch.Tensor:
        """Class indices, int64 of shape (N,)."""


class Classes(Protocol):
    """What can be divided by class: a dataclass such as :class:`limen.lab.data.ImageData`."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def classes(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def train(self) -> Any: ...  # noqa: D102
    @property
    def validation(self) -> Any: ...  # noqa: D102
    @property
    def test(self) -> Any: ...  # noqa: D102


D = TypeVar("D", bound=Classes)
L = TypeVar("L", bound=Labelled)


def divide(
    data: D,
    *,
    validation_fraction: float,
    test_fraction: float,
    seed: int,
    with_validation: bool,
    limit_train: int | None = None,
    limit_test: int | None = None,
) -> D:
    """Make the splits that a study needs, out of those that the data has.

    A test split that is missing is taken out of the training images first (``test_fraction`` of them). Then the
    limits draw fewer images, and last a missing validation split is taken out of the training images that are
    left. Without validation, all of them stay for training. Every draw keeps each class's share as nearly as
    whole images allow, at least one image a class, and the images stay in their order.

    >>> from limen.lab.data import ImageData, Split
    >>> labels = torch.arange(2).repeat(50)
    >>> data = ImageData("d", ("a", "b"), Split(torch.zeros(100, 1, 4, 4, dtype=torch.uint8), labels), None, None)
    >>> done = divide(data, validation_fraction=0.1, test_fraction=0.2, seed=0, with_validation=True)
    >>> len(done.train), len(done.validation), len(done.test)
    (72, 8, 20)
    """
    _check(seed, validation_fraction=validation_fraction, test_fraction=test_fraction)
    train, test, validation = data.train, data.test, data.validation
    if test is None:
        train, test = _carve(train, test_fraction, data, seed, "test")
    if limit_train is not None:
        train = _limit(train, limit_train, data, seed, "train")
    if limit_test is not None:
        test = _limit(test, limit_test, data, seed, "test")
    if not with_validation:
        validation = None
    elif validation is None:
        train, validation = _carve(train, validation_fraction, data, seed, "validation")
    divided = replace(cast("Any", data), train=train, validation=validation, test=test)
    return cast("D", divided)


def _check(seed: int, **fractions: float) -> None:
    for name, fraction in fractions.items():
        if not 0 < fraction < 1:
            raise SpecError(f"{name} is {fraction}, but must lie between 0 and 1, for example 0.1.")
    if not 0 <= seed < 2**32:
        raise SpecError(f"The seed of the splits is {seed}, but must be an integer from 0 to {2**32 - 1}.")


def _carve(split: L, fraction: float, data: Classes, seed: int, purpose: str) -> tuple[L, L]:
    """Return what is left of ``split``, and the part taken out of it."""
    counts = _counts(split, data)
    if counts.min() < 2:
        few = int(counts.argmin())
        raise DataError(
            f"Class {data.classes[few]!r} of {data.name} has {counts[few]} training image(s) left, too few to take "
            f"a {purpose} split out of; every class needs at least 2: add images, raise the limit on training "
            f"images, or give a {purpose} split."
        )
    total = int(np.clip(round(fraction * len(split)), len(counts), (counts - 1).sum()))
    taken = _draw(split, allot(counts, total, counts - 1), _random(seed, f"carve {purpose}"))
    return _take(split, ~taken), _take(split, taken)


def _limit(split: L, limit: int, data: Classes, seed: int, purpose: str) -> L:
    counts = _counts(split, data)
    if limit < len(data.classes):
        raise SpecError(
            f"The limit of {limit} {purpose} images is below one for each of the {len(data.classes)} classes "
            f"of {data.name}; raise it to {len(data.classes)} or more."
        )
    if limit >= len(split):
        return split
    taken = _draw(split, allot(counts, limit, counts), _random(seed, f"limit {purpose}"))
    return _take(split, taken)


def _take(split: L, mask: torch.Tensor) -> L:
    return cast("L", split.take(torch.nonzero(mask)[:, 0]))


def _counts(split: Labelled, data: Classes) -> Counts:
    return np.bincount(split.labels.numpy(), minlength=len(data.classes)).astype(np.int64)


def allot(counts: Counts, total: int, most: Counts) -> Counts:
    """Share ``total`` images among classes by their counts: at least 1 each if it has any, never over ``most``.

    >>> allot(np.array([50, 30, 1]), 8, np.array([50, 30, 1])).tolist()
    [4, 3, 1]
    """
    ideal = counts * (total / counts.sum())
    least = np.minimum(1, most)
    shares: Counts = np.clip(np.floor(ideal), least, most).astype(np.int64)
    # Rounding leaves a few images over or short: they go to, or come from, the classes furthest from their share.
    while (missing := total - shares.sum()) != 0:
        step = 1 if missing > 0 else -1
        movable = shares < most if step > 0 else shares > least
        shares[np.argmax(np.where(movable, step * (ideal - shares), -np.inf))] += step
    return shares


def _draw(split: Labelled, shares: Counts, random: np.random.RandomState) -> torch.Tensor:
    """Return a mask of the images drawn: so many of each class, at random."""
    taken = torch.zeros(len(split), dtype=torch.bool)
    for label, share in enumerate(shares):
        members = torch.nonzero(split.labels == label)[:, 0]
        # Drawn for every class, even for a share of 0, so that a larger draw contains a smaller one.
        taken[members[torch.from_numpy(random.permutation(len(members)))[:share]]] = True
    return taken


def _random(seed: int, purpose: str) -> np.random.RandomState:
    """Return a stream of its own for each draw, so that no draw depends on which others are made.

    RandomState, because NumPy guarantees that its stream never changes; a split stays the same for years.
    """
    return np.random.RandomState([seed, *purpose.encode()])
