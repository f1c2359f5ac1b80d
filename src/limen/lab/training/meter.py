"""What is measured batch by batch: counts that are added, or values that are kept, and a number made of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import Self

from limen.lab.training import processes


class Meter(ABC):
    """A measure of all that :meth:`update` has taken in since :meth:`reset`.

    A subclass names its state and makes it anew in :meth:`reset`: tensors that are added up, or lists of tensors with
    an entry for each example. torchmetrics' classes would do, but take four seconds to import, and a step of a small
    network notices their bookkeeping.
    """

    state: ClassVar[tuple[str, ...]]

    def __init__(self) -> None:
        self.device = torch.device("cpu")
        self.reset()

    def to(self, device: str | torch.device) -> Self:
        """Count on another device, from the beginning."""
        self.device = torch.device(device)
        self.reset()
        return self

    def pool(self) -> None:
        """Take in what the other processes have, where there are several."""
        if processes.count() > 1:
            for name in self.state:
                held = getattr(self, name)
                setattr(self, name, processes.joined(held) if isinstance(held, list) else processes.summed(held))

    @abstractmethod
    def reset(self) -> None:
        """Begin again."""

    @abstractmethod
    def update(self, answer: Tensor, truth: Tensor) -> None:
        """Take in a batch; there may be none in it."""

    @abstractmethod
    def compute(self) -> Tensor:
        """The measure, a scalar."""

    def of_each(self) -> Sequence[float]:
        """The measure of each class, where it is one of classes; NaN where what was seen leaves a class without."""
        return ()

    def __call__(self, answer: Tensor, truth: Tensor) -> Tensor:
        """Take in a batch, and measure."""
        self.update(answer, truth)
        return self.compute()
