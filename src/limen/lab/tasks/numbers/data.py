"""Numbers to learn from: inputs and targets as float tensors, with what turns a network's answer into the unit."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from limen.lab.data.base import fingerprint
from limen.lab.records import DataFacts


@dataclass(frozen=True, eq=False)
class NumberSplit:
    """Inputs as float32 of shape (N, …) and targets as float32 of shape (N, K).

    The first column of the targets is what the network is to give; the others are what its unit is found by.
    """

    inputs: Tensor
    targets: Tensor

    @property
    def tensors(self) -> tuple[Tensor, Tensor]:
        """Both."""
        return self.inputs, self.targets

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, indices: Tensor) -> NumberSplit:
        """Return a copy with only the examples at ``indices``, in that order."""
        return NumberSplit(self.inputs[indices], self.targets[indices])

    @staticmethod
    def batch(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """As they are."""
        return inputs, targets


@dataclass(frozen=True, eq=False)
class NumberData:
    """A divided set of numbers with one target."""

    name: str
    target: str
    train: NumberSplit
    validation: NumberSplit | None
    test: NumberSplit
    unit: str
    description: tuple[str, ...]
    notes: tuple[str, ...]
    centre: float = 0.0
    """What was subtracted from the target; its unit is the second column of the targets."""
    test_times: tuple[str, ...] = ()
    """When the test examples' targets were, for a forecast."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.train.inputs.shape[1:])

    def facts(self) -> DataFacts:
        """Describe the data for a study's records."""
        return DataFacts(
            name=self.name,
            classes=(),
            image_shape=self.input_shape,
            train=len(self.train),
            validation=0 if self.validation is None else len(self.validation),
            test=len(self.test),
            fingerprint=fingerprint({"train": self.train, "validation": self.validation, "test": self.test}),
            unit=self.unit,
            description=self.description,
            notes=self.notes,
        )
