"""What a data set is in memory, whatever its examples are: two tensors a split, in up to three splits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor
from typing_extensions import Self

from limen.lab.records import DataFacts

Augment = Callable[[Tensor, Tensor], Tensor]
"""From uint8 images (N, C, H, W) and rows of numbers from 0 to 1, one for each, to images of the same shape."""
Progress = Callable[[int, int], None]
"""Called as ``progress(done, total)`` while images are read."""


@dataclass(frozen=True, eq=False)
class Samples:
    """The examples of one split.

    The first two fields of a subclass are its inputs and targets, with the examples along the first axis. All others
    are tuples with an entry for each example, or empty.
    """

    @property
    def tensors(self) -> tuple[Tensor, Tensor]:
        """Inputs and targets as they are kept."""
        inputs, targets, *_ = (getattr(self, field.name) for field in fields(self))
        return inputs, targets

    def __len__(self) -> int:
        return len(self.tensors[0])

    def take(self, indices: Tensor) -> Self:
        """Return a copy with only the examples at ``indices``, in that order."""
        chosen = indices.tolist()

        def of(value: Any) -> Any:
            return value[indices] if isinstance(value, Tensor) else tuple(value[i] for i in chosen) if value else ()

        return replace(self, **{field.name: of(getattr(self, field.name)) for field in fields(self)})

    def relabelled(self, places: Tensor, classes: int) -> Self:
        """The same with other class indices: for every class now its place among so many; here there are none."""
        return self

    def per_class(self, classes: int) -> tuple[int, ...]:
        """How much there is of each class; empty where examples have none."""
        return ()

    @staticmethod
    def batch(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Some of the tensors as the network and the loss take them; here as they are."""
        return inputs, targets

    @staticmethod
    def augmented(inputs: Tensor, targets: Tensor, drawn: Tensor, augment: Augment) -> tuple[Tensor, Tensor]:
        """Some of the tensors with the inputs changed; here the targets do not change with them."""
        return augment(inputs, drawn), targets


S = TypeVar("S", bound=Samples)


def joined(parts: Sequence[S]) -> S:
    """The examples of several splits, one after the other."""
    first = parts[0]
    columns = {field.name: [getattr(part, field.name) for part in parts] for field in fields(first)}

    def of(values: list[Any]) -> Any:
        return torch.cat(values) if isinstance(values[0], Tensor) else tuple(one for value in values for one in value)

    return replace(first, **{name: of(values) for name, values in columns.items()})


@dataclass(frozen=True, eq=False)
class Data(Generic[S]):
    """A named data set of any task. A split that the source does not have is None until the data are divided."""

    name: str
    classes: tuple[str, ...]
    """Empty where examples have none."""
    train: S
    validation: S | None
    test: S | None
    notes: tuple[str, ...] = ()
    """What was done to the data that a reader must know."""
    unit: str = "images"
    """What is counted."""
    transfer: S | None = None
    """Examples of other data that are tested too."""
    transfer_name: str = ""
    """What those are called."""
    counted: ClassVar[str] = ""
    """What :meth:`Samples.per_class` counts, where that is not the unit."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.train.tensors[0].shape[1:])

    @property
    def tested(self) -> S:
        """The test examples, which divided data have."""
        assert self.test is not None
        return self.test

    @property
    def columns(self) -> tuple[str, ...]:
        """What one input is made of, where that has names."""
        return ()

    def describe(self) -> tuple[str, ...]:
        """The data in a few words; empty where classes and shape say it."""
        return ()

    def facts(self) -> DataFacts:
        """Describe the data for a study's records. A missing split counts as 0 examples."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        counts = {name: 0 if split is None else len(split) for name, split in splits.items()}
        return DataFacts(
            name=self.name,
            classes=self.classes,
            image_shape=self.input_shape,
            **counts,
            fingerprint=fingerprint(splits if self.transfer is None else {**splits, "transfer": self.transfer}),
            unit=self.unit,
            description=self.describe(),
            notes=self.notes,
            counts=self._counts(splits),
            counted=self.counted,
            columns=self.columns,
            transfer=0 if self.transfer is None else len(self.transfer),
            transfer_name=self.transfer_name,
        )

    def _counts(self, splits: Mapping[str, S | None]) -> dict[str, tuple[int, ...]]:
        found = {name: split.per_class(len(self.classes)) for name, split in splits.items() if split is not None}
        return {name: counts for name, counts in found.items() if counts}


def evenly(split: S, count: int) -> S:
    """Some examples of every kind: evenly spaced, because a split may be ordered by class."""
    return split.take(torch.linspace(0, len(split) - 1, min(count, len(split))).long())


def fingerprint(parts: Mapping[str, Samples | None]) -> str:
    """SHA-256 over the tensors of every split."""
    digest = hashlib.sha256()
    for part, split in parts.items():
        # The shape is hashed too, so that the same bytes divided otherwise give another fingerprint.
        digest.update(f"{part}:{None if split is None else tuple(split.tensors[0].shape)};".encode())
        if split is not None:
            for tensor in split.tensors:
                values = tensor.contiguous().numpy().reshape(-1)
                digest.update(values.astype(values.dtype.newbyteorder("<"), copy=False).data)
    return digest.hexdigest()
