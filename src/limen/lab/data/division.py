"""Divide a data set into training, validation and test examples, the same for the same seed.

How many become what is a :class:`Division`; which ones, a :class:`Strategy` (:mod:`.by_class`, :mod:`.strategies`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar

import torch
from torch import Tensor

from limen.errors import DataError, SpecError
from limen.lab.data.base import Data, Samples
from limen.lab.settings import StudySettings

Part = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Division:
    """How many examples become what.

    >>> Division(test_fraction=20)
    Traceback (most recent call last):
    limen.errors.SpecError: test_fraction is 20, but must lie between 0 and 1, for example 0.1.
    """

    validation_fraction: float = 0.1
    test_fraction: float = 0.2
    seed: int = 0
    with_validation: bool = True
    """Whether any examples are held out of the training to choose the epoch."""
    limit_train: int | None = None
    """Before validation examples are held out of them."""
    limit_test: int | None = None

    def __post_init__(self) -> None:
        for name in ("validation_fraction", "test_fraction"):
            fraction = getattr(self, name)
            if not 0 < fraction < 1:
                raise SpecError(f"{name} is {fraction}, but must lie between 0 and 1, for example 0.1.")
        if not 0 <= self.seed < 2**32:
            raise SpecError(f"The seed of the splits is {self.seed}, but must be an integer from 0 to {2**32 - 1}.")

    @classmethod
    def of(cls, settings: StudySettings) -> Division:
        """As the settings of a study say it."""
        return cls(
            validation_fraction=settings.validation_fraction,
            test_fraction=settings.test_fraction,
            seed=settings.split_seed,
            with_validation=not settings.test_chooses,
            limit_train=settings.limit_train,
            limit_test=settings.limit_test,
        )


@dataclass(frozen=True)
class Draw:
    """One draw out of a data set: for which of its parts, and by which seed."""

    data: Data[Any]
    part: Part
    seed: int


T = TypeVar("T", contravariant=True)


class Strategy(ABC, Generic[T]):
    """Which examples are drawn.

    The indices that a strategy gives for a seed never change: a study that is resumed, or run again years later, must
    find the same examples in the same parts.
    """

    def arranged(self, count: int, seed: int) -> Tensor | None:
        """The order in which so many examples are divided; None: as they come."""
        return None

    @abstractmethod
    def taken(self, split: T, fraction: float, draw: Draw) -> Tensor:
        """Which examples of ``split`` become the test or validation part, in ascending order."""

    @abstractmethod
    def kept(self, split: T, limit: int, draw: Draw) -> Tensor:
        """Which examples of ``split`` a limit leaves, in ascending order."""


D = TypeVar("D", bound=Data[Any])
S = TypeVar("S", bound=Samples)


def divide(data: D, division: Division, by: Strategy[Any]) -> D:
    """Make the splits that a study needs, out of those that the data have.

    A test split that is missing is taken out of the training examples first. Then the limits draw fewer examples, and
    last a missing validation split is taken out of the training examples that are left. Without validation, all of
    them stay for training.

    >>> from limen.lab.data import ByClass, ImageData, Split
    >>> labels = torch.arange(2).repeat(50)
    >>> data = ImageData("d", ("a", "b"), Split(torch.zeros(100, 1, 4, 4, dtype=torch.uint8), labels), None, None)
    >>> done = divide(data, Division(validation_fraction=0.1, test_fraction=0.2), ByClass())
    >>> len(done.train), len(done.validation), len(done.test)
    (72, 8, 20)
    """
    train, validation, test = data.train, data.validation, data.test
    order = by.arranged(len(train), division.seed)
    if order is not None:
        train = train.take(order)
    if test is None:
        train, test = cut(train, division.test_fraction, by, Draw(data, "test", division.seed))
    train = _limited(train, division.limit_train, by, Draw(data, "train", division.seed))
    test = _limited(test, division.limit_test, by, Draw(data, "test", division.seed))
    if not division.with_validation:
        validation = None
    elif validation is None:
        train, validation = cut(train, division.validation_fraction, by, Draw(data, "validation", division.seed))
    return replace(data, train=train, validation=validation, test=test)


def cut(split: S, fraction: float, by: Strategy[Any], draw: Draw) -> tuple[S, S]:
    """What is left of ``split``, and the part taken out of it."""
    taken = by.taken(split, fraction, draw)
    left = torch.ones(len(split), dtype=torch.bool)
    left[taken] = False
    return split.take(torch.nonzero(left)[:, 0]), split.take(taken)


def _limited(split: S, limit: int | None, by: Strategy[Any], draw: Draw) -> S:
    kept = torch.arange(len(split)) if limit is None else by.kept(split, limit, draw)
    return split if len(kept) == len(split) else split.take(kept)


def check_enough(count: int, fewest: int, what: str, draw: Draw) -> None:
    """Raise where so many examples cannot be divided."""
    if count < fewest:
        limited = "" if draw.part == "test" else ", or raise --limit-train"  # which takes effect after the test part
        raise DataError(
            f"{draw.data.name} has {count} {what} to divide; {fewest} or more are needed: add some{limited}."
        )
