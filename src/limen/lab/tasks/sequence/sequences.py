"""Sequences with a class each: class folders of ``.npy`` arrays, or of images read row by row.

The folders lie as those of images do, in a folder or an archive, with split folders or without. An array has a step
along its first axis and the step's features along the others, such as (30, 1662) or (30, 21, 3) keypoints; lengths
may differ. Where the folders hold images, or the name of a built-in set is given, every image is read as a sequence:
its rows from top to bottom are the steps, the pixels of a row are the features.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from limen.errors import DataError
from limen.lab.data import names
from limen.lab.data.base import Data, Samples
from limen.lab.data.by_class import ByClass
from limen.lab.data.class_folders import common_classes, labels_of, name_of
from limen.lab.data.division import Division, divide
from limen.lab.data.files import open_files
from limen.lab.data.images import ImageData, Split
from limen.lab.data.layout import ClassFolders, Kind, find_splits, only_archive, split_archives
from limen.lab.data.members import path_kind
from limen.lab.data.source import load

ARRAYS = Kind("sequence", "1.npy", lambda: frozenset({".npy"}))
LARGEST = 2**31
"""Bytes of all sequences together, each padded to the longest."""
AS_ROWS = "Every image is read as a sequence: its rows from top to bottom are the steps, a row's pixels the features."

Array = NDArray[np.float32]
"""One sequence: (steps, features)."""


@dataclass(frozen=True, eq=False)
class SequenceSplit(Samples):
    """Padded sequences as float32 (N, T, F + 1) and labels as int64 (N,).

    The last feature says which steps there are: 1 at a step of the sequence, 0 where it was padded (with zeros, at
    its end).
    """

    inputs: Tensor
    labels: Tensor

    def relabelled(self, places: Tensor, classes: int) -> SequenceSplit:
        """Each label by its place."""
        return replace(self, labels=places[self.labels])

    def per_class(self, classes: int) -> tuple[int, ...]:
        """Examples of each class."""
        return tuple(torch.bincount(self.labels, minlength=classes).tolist())


@dataclass(frozen=True, eq=False)
class SequenceData(Data[SequenceSplit]):
    """A set of sequences with a class each.

    An input has the steps of the longest sequence, and the features with the one that says which steps there are.
    """

    unit: str = "sequences"
    image_size: tuple[int, int] | None = None
    """Of images that are read as sequences."""
    scale: tuple[Tensor, Tensor] | None = None
    """Mean and deviation of every feature over the training steps, once they are standardised."""

    def describe(self) -> tuple[str, ...]:
        """Classes, steps, features."""
        steps, features = self.input_shape
        shortest = int(self.train.inputs[:, :, -1].sum(1).min())
        return (
            f"{len(self.classes)} classes",
            f"{steps} steps" if shortest == steps else f"{shortest} to {steps} steps",
            f"{features - 1} features",
        )


def read_sequences(
    source: str, *, data_dir: Path | None, image_size: tuple[int, int] | None, grey: bool
) -> SequenceData:
    """Read the sequences of all parts, their features as they are stored."""
    if _has_arrays(source):
        if image_size is not None or grey:
            option = "--grey" if image_size is None else "--image-size"
            raise DataError(f"{source} holds .npy arrays, which {option} cannot change; leave it out.")
        return _read_arrays(Path(source).expanduser())
    return _as_rows(load(source, data_dir=data_dir, image_size=image_size, grey=grey))


def divided(data: SequenceData, division: Division) -> SequenceData:
    """Divided by class, every feature with the training steps' mean 0 and deviation 1."""
    found = divide(data, division, ByClass())
    return standardised(found, _scale(found.train))


def _has_arrays(source: str) -> bool:
    path = Path(source).expanduser()
    if source in names() or path_kind(path) == "missing":
        return False
    files = open_files(path)
    nested = [*split_archives(files).values()]
    if not nested and (archive := only_archive(files)):
        nested = [archive]
    return any(name.lower().endswith(".npy") for found in (files, *map(open_files, nested)) for name in found.files)


def _as_rows(images: ImageData) -> SequenceData:
    def rows(split: Split) -> SequenceSplit:
        values = split.images.permute(0, 2, 1, 3).flatten(2).float() / 255  # (N, H, C·W)
        return SequenceSplit(torch.cat([values, torch.ones_like(values[:, :, :1])], 2), split.labels)

    validation, test = (None if split is None else rows(split) for split in (images.validation, images.test))
    return SequenceData(
        images.name,
        images.classes,
        rows(images.train),
        validation,
        test,
        (AS_ROWS,),
        image_size=images.image_shape[1:],
    )


def _read_arrays(path: Path) -> SequenceData:
    splits = find_splits(path, ARRAYS)
    classes = common_classes(splits, path)
    reader = _Reader()
    arrays = {split: reader.read(found) for split, found in splits.items()}
    longest = max(len(array) for found in arrays.values() for array in found)
    count, features = sum(map(len, arrays.values())), reader.features + 1
    if 4 * count * longest * features > LARGEST:
        raise DataError(
            f"{path} would take {4 * count * longest * features:,} bytes with every sequence padded to the longest, "
            f"{reader.longest} with {longest} steps; the limit is {LARGEST:,}: cut or thin out the long ones."
        )
    made = {split: SequenceSplit(_padded(arrays[split], longest), labels_of(found)) for split, found in splits.items()}
    return SequenceData(name_of(path), classes, made["train"], made.get("validation"), made.get("test"))


class _Reader:
    """Reads the arrays of all splits, and holds what must agree over them: the features of a step."""

    def __init__(self) -> None:
        self.first: tuple[str, tuple[int, ...]] | None = None
        self.longest, self.most = "", 0

    @property
    def features(self) -> int:
        """Features of a step."""
        assert self.first is not None
        return int(np.prod(self.first[1]))

    def read(self, found: ClassFolders) -> list[Array]:
        """The arrays of a split, in the order of its classes and names."""
        ordered = [name for names in found.members.values() for name in names]
        arrays = {}
        for name, content in found.files.read(ordered):
            arrays[name] = self._checked(_decoded(content, found.files.where(name)), found.files.where(name))
        return [arrays[name] for name in ordered]

    def _checked(self, array: NDArray[np.generic], where: str) -> Array:
        if self.first is None:
            self.first = where, array.shape[1:]
        first, expected = self.first
        if array.shape[1:] != expected:
            raise DataError(
                f"sequences differ in the features of a step: {first} has {_size(expected)}, {where} has "
                f"{_size(array.shape[1:])}; they must be the same, only the number of steps may differ."
            )
        if len(array) > self.most:
            self.longest, self.most = where, len(array)
        return array.reshape(len(array), -1).astype(np.float32)


def _decoded(content: bytes, where: str) -> NDArray[np.generic]:
    """An array as it is stored; nothing is unpickled."""
    try:
        array: NDArray[np.generic] = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    except Exception as error:  # whatever a damaged header raises in Python's parser
        reason = " ".join(str(error).split()).rstrip(".")[:200] or type(error).__name__
        raise DataError(f"{where} does not read as an .npy array ({reason}); replace or remove it.") from error
    if array.dtype.kind not in "fiub":
        raise DataError(f"{where} holds {array.dtype}; a sequence holds numbers (float or integer).")
    if array.ndim < 2 or 0 in array.shape:
        raise DataError(f"{where} has the shape {array.shape}; a sequence has (steps, features), at least one of each.")
    if not np.isfinite(array).all() or (array.dtype.kind == "f" and np.abs(array).max() > np.finfo(np.float32).max):
        raise DataError(f"{where} holds NaN or infinity; fill such values or remove the sequence.")
    return array


def _size(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _padded(arrays: list[Array], longest: int) -> Tensor:
    padded = np.zeros((len(arrays), longest, arrays[0].shape[1] + 1), dtype=np.float32)
    for row, array in zip(padded, arrays, strict=True):
        row[: len(array), :-1], row[: len(array), -1] = array, 1
    return torch.from_numpy(padded)


def of_length(data: SequenceData, steps: int) -> SequenceData:
    """Padded with zeros at the end to so many steps, or cut there where that is padding in every sequence."""

    def change(split: SequenceSplit | None) -> SequenceSplit | None:
        if split is None:
            return None
        inputs = split.inputs[:, :steps]
        if split.inputs[:, steps:, -1].any():
            inputs = split.inputs  # longer ones stay whole, and are refused
        return replace(split, inputs=F.pad(inputs, (0, 0, 0, max(0, steps - inputs.shape[1]))))

    train = change(data.train)
    assert train is not None
    return replace(data, train=train, validation=change(data.validation), test=change(data.test))


def _scale(split: SequenceSplit) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each feature over the steps that there are; none of what never changes."""
    steps = split.inputs[split.inputs[:, :, -1] > 0][:, :-1].double()
    centre, spread = steps.mean(0), steps.std(0, correction=0)
    spread = torch.where(spread > 1e-6 * centre.abs().clamp(min=1e-6), spread, torch.inf)
    return centre.float(), spread.float()


def standardised(data: SequenceData, scale: tuple[Tensor, Tensor]) -> SequenceData:
    """Features that never change in training are left at 0; padding stays 0."""
    centre, spread = scale

    def change(split: SequenceSplit | None) -> SequenceSplit | None:
        if split is None:
            return None
        values, mask = split.inputs[:, :, :-1], split.inputs[:, :, -1:]
        return replace(split, inputs=torch.cat([(values - centre) / spread * mask, mask], 2))

    train = change(data.train)
    assert train is not None
    return replace(data, train=train, validation=change(data.validation), test=change(data.test), scale=scale)
