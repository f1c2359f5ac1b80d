"""Batches from a data set that lives whole on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from limen.lab.data import Samples
from limen.lab.data.base import Augment
from limen.lab.training.augmentation import draws
from limen.lab.training.mosaic import fours, mosaic


class Batches:
    """Batches of a split as its network takes them, shuffled anew in each epoch by ``seed`` alone.

    A last batch of a single example is left out of a shuffled pass, because batch normalisation has no variance there.
    Where several processes share a batch, each takes its ``part``: which of how many. With ``augment`` inputs are
    changed by numbers that depend on seed, epoch and the example alone; a mosaic is made of four examples.

    >>> from limen.lab.data import Split
    >>> split = Split(torch.zeros(5, 1, 2, 2, dtype=torch.uint8), torch.arange(5))
    >>> [labels.tolist() for _, labels in Batches(split, 2)]
    [[0, 1], [2, 3], [4]]
    >>> len(Batches(split, 2, seed=0))
    2
    """

    def __init__(
        self,
        split: Samples,
        batch_size: int,
        *,
        seed: int | None = None,
        device: str = "cpu",
        part: tuple[int, int] = (0, 1),
        augment: Augment | None = None,
    ) -> None:
        self.inputs, self.targets = (tensor.to(device) for tensor in split.tensors)
        self.batch, self.augmented = split.batch, split.augmented
        self.batch_size = batch_size
        self.seed = seed
        self.part = part
        self.augment = augment
        self.epoch = 0

    def __len__(self) -> int:
        full, rest = divmod(len(self.targets), self.batch_size)
        lonely = rest == 1 and self.seed is not None and full > 0
        return full + (rest > 0 and not lonely)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        changed = self._changes()
        order = self._order()
        for index in range(len(self)):
            chosen = order[index * self.batch_size : (index + 1) * self.batch_size]
            if self.part[1] > 1:
                # Where there are fewer examples than processes some take one that counts nothing.
                mine = chosen[self.part[0] :: self.part[1]]
                chosen = mine if len(mine) else chosen[:1]
            yield self.batch(*changed(chosen))

    def _changes(self) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        """From the places of examples to what they are in this epoch."""
        inputs, targets, augment = self.inputs, self.targets, self.augment
        if augment is None or self.seed is None:
            return lambda chosen: (inputs[chosen], targets[chosen])
        drawn = draws(self.seed, self.epoch, len(inputs)).to(inputs.device)
        if augment is not mosaic:
            return lambda chosen: self.augmented(inputs[chosen], targets[chosen], drawn[chosen], augment)

        def of_four(chosen: Tensor) -> tuple[Tensor, Tensor]:
            places = fours(chosen, drawn[chosen], len(inputs))
            return self.augmented(inputs[places], targets[places], drawn[chosen], augment)

        return of_four

    def size(self, index: int) -> int:
        """Examples of a batch, of all processes."""
        return min(self.batch_size, len(self.targets) - index * self.batch_size)

    def own(self, index: int) -> int:
        """Examples of a batch that are this process's."""
        which, of = self.part
        return len(range(which, self.size(index), of))

    def _order(self) -> Tensor:
        if self.seed is None:
            return torch.arange(len(self.targets), device=self.targets.device)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        self.epoch += 1
        return torch.randperm(len(self.targets), generator=generator).to(self.targets.device)
