"""Numbers to learn from: inputs and targets as float tensors, with what turns a network's answer into the unit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from limen.lab.data.base import Data, Samples
from limen.lab.data.csv_file import Table


@dataclass(frozen=True, eq=False)
class NumberSplit(Samples):
    """Inputs as float32 of shape (N, …) and targets as float32 of shape (N, K).

    The first column of the targets is what the network is to give; the others are what its unit is found by.
    """

    inputs: Tensor
    targets: Tensor
    times: tuple[str, ...] = ()
    """When each target was, for a forecast; empty: at no time."""


@dataclass(frozen=True, eq=False, kw_only=True)
class NumberData(Data[NumberSplit]):
    """A divided set of numbers with one target."""

    target: str
    description: tuple[str, ...]
    names: tuple[str, ...] = ()
    """What the columns of its inputs are called."""
    encode: Callable[[Table], NumberSplit] | None = None
    """Another table's rows as these were encoded, where they depend on the training rows."""
    centre: float = 0.0
    """What was subtracted from the target; its unit is the second column of the targets."""

    @property
    def columns(self) -> tuple[str, ...]:
        """As the file calls them; of a text, one for each value."""
        return self.names

    def describe(self) -> tuple[str, ...]:
        """As it was read."""
        return self.description
