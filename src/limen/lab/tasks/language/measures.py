"""Bits per byte, perplexity and accuracy of predicted tokens, as far as there are any."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from limen.lab.training.meter import Meter

NATS, HITS, BYTES, COUNT = range(4)
"""What is added up: the loss, tokens that were predicted right, their bytes, how many there are."""


class TextScore(Meter):
    """A score of the sums over all tokens; ``answer`` and ``truth`` are (…, 2): nats and hits, bytes and count."""

    state = ("sums",)
    sums: Tensor

    def __init__(self, score: Callable[[Tensor], Tensor]) -> None:
        self.score = score
        super().__init__()

    def reset(self) -> None:
        """No token yet; an Apple GPU has no double precision."""
        where = "cpu" if self.device.type == "mps" else self.device
        self.sums = torch.zeros(4, dtype=torch.float64, device=where)

    def update(self, answer: Tensor, truth: Tensor) -> None:
        """Add up."""
        both = torch.cat([answer.detach().to(self.sums), truth.to(self.sums)], -1)
        self.sums += both.reshape(-1, 4).sum(0)

    def compute(self) -> Tensor:
        """The score."""
        return self.score(self.sums)


def bits_per_byte(sums: Tensor) -> Tensor:
    """The length of the text as the network would write it, in bits, over its bytes.

    >>> float(bits_per_byte(torch.tensor([8 * math.log(2), 0.0, 4.0, 8.0])))
    2.0
    """
    return sums[NATS] / math.log(2) / sums[BYTES]


def perplexity(sums: Tensor) -> Tensor:
    """Among how many equally likely tokens the network is as unsure."""
    return torch.exp(sums[NATS] / sums[COUNT])


def accuracy(sums: Tensor) -> Tensor:
    """How often the likeliest token comes next."""
    return sums[HITS] / sums[COUNT]
