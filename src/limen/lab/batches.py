"""Batches from a data set that lives whole on the device."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from limen.lab.data import Split


class Batches:
    """Normalised batches of a split, shuffled anew in each epoch by ``seed`` alone.

    Pixels are scaled to mean 0.5, deviation 0.5 (−1 to 1), as in the AdAct paper. A last batch of a single image is
    left out of a shuffled pass, because batch normalisation has no variance there.

    >>> split = Split(torch.zeros(5, 1, 2, 2, dtype=torch.uint8), torch.arange(5))
    >>> [labels.tolist() for _, labels in Batches(split, 2)]
    [[0, 1], [2, 3], [4]]
    >>> len(Batches(split, 2, seed=0))
    2
    """

    def __init__(self, split: Split, batch_size: int, *, seed: int | None = None, device: str = "cpu") -> None:
        self.images, self.labels = split.images.to(device), split.labels.to(device)
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        full, rest = divmod(len(self.labels), self.batch_size)
        lonely = rest == 1 and self.seed is not None and full > 0
        return full + (rest > 0 and not lonely)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = self._order()
        for index in range(len(self)):
            chosen = order[index * self.batch_size : (index + 1) * self.batch_size]
            yield self.images[chosen].float().sub_(127.5).div_(127.5), self.labels[chosen]

    def _order(self) -> Tensor:
        if self.seed is None:
            return torch.arange(len(self.labels), device=self.labels.device)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        self.epoch += 1
        return torch.randperm(len(self.labels), generator=generator).to(self.labels.device)
