"""Divide images with masks: the splits they come in, or at random, or by blocks of consecutive names."""

from __future__ import annotations

from typing import TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray

from limen.errors import DataError
from limen.lab.data.base import Samples
from limen.lab.tasks.segmentation.masks import MaskData, MaskSplit

S = TypeVar("S", bound=Samples)

FEWEST = 5


def divide_masks(
    name: str,
    classes: tuple[str, ...],
    splits: dict[str, MaskSplit],
    notes: tuple[str, ...],
    *,
    blocks: bool,
    validation_fraction: float,
    test_fraction: float,
    seed: int,
    with_validation: bool,
    limit_train: int | None = None,
    limit_test: int | None = None,
) -> MaskData:
    """Make the splits that a study needs, out of those that there are.

    In blocks, the last images by name are tested and those before them validated: slices of one scan or frames of one
    film are nearly alike, and a random draw would test on what training has all but seen.
    """
    train, validation, test = divide_parts(
        name,
        splits,
        blocks=blocks,
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        seed=seed,
        with_validation=with_validation,
        limit_train=limit_train,
        limit_test=limit_test,
    )
    return MaskData(name, classes, train, validation, test, notes)


def divide_parts(
    name: str,
    splits: dict[str, S],
    *,
    blocks: bool,
    validation_fraction: float,
    test_fraction: float,
    seed: int,
    with_validation: bool,
    limit_train: int | None = None,
    limit_test: int | None = None,
) -> tuple[S, S | None, S]:
    """Training, validation and test images of any kind, from the splits that there are."""
    train = splits.get("train") or splits["whole"]
    test, validation = splits.get("test"), splits.get("validation")
    if test is None:
        train, test = _cut(name, train, test_fraction, seed, blocks)
    train, test = _limited(train, limit_train, seed), _limited(test, limit_test, seed)
    if not with_validation:
        validation = None
    elif validation is None:
        train, validation = _cut(name, train, validation_fraction, seed + 1, blocks)
    return train, validation, test


def _cut(name: str, split: S, fraction: float, seed: int, blocks: bool) -> tuple[S, S]:
    groups = getattr(split, "groups", ())
    if groups:
        return _cut_groups(name, split, np.asarray(groups), fraction, seed, blocks)
    if len(split) < FEWEST:
        raise DataError(f"{name} has {len(split)} images to divide; {FEWEST} or more are needed: add some.")
    count = min(max(1, round(fraction * len(split))), len(split) - 1)
    order = np.arange(len(split)) if blocks else _permuted(np.arange(len(split)), seed)
    kept, taken = (torch.from_numpy(np.sort(part)) for part in (order[: len(split) - count], order[-count:]))
    return cast("S", split.take(kept)), cast("S", split.take(taken))


def _cut_groups(
    name: str, split: S, groups: NDArray[np.int64], fraction: float, seed: int, blocks: bool
) -> tuple[S, S]:
    """As :func:`_cut`, with all slices of a scan in the same part."""
    scans = np.unique(groups)
    if len(scans) < 2:
        raise DataError(
            f"{name} has too few scans: training, validation and test need one each, because the slices of a patient "
            "are never divided; add some."
        )
    order = scans if blocks else _permuted(scans, seed)
    taken = np.isin(groups, order[-min(max(1, round(fraction * len(scans))), len(scans) - 1) :])
    kept, others = (torch.from_numpy(np.flatnonzero(part)) for part in (~taken, taken))
    return cast("S", split.take(kept)), cast("S", split.take(others))


def _permuted(values: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    return np.random.RandomState(seed % 2**32).permutation(values)  # the largest seed has a next one, too


def _limited(split: S, limit: int | None, seed: int) -> S:
    if limit is None or limit >= len(split):
        return split
    chosen = np.sort(np.random.RandomState(seed).permutation(len(split))[:limit])
    return cast("S", split.take(torch.from_numpy(chosen)))
