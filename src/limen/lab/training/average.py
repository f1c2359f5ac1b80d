"""The moving average of a network's weights, which is measured in their place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn


class Average:
    """Of all parameters and buffers that are floating-point numbers, as torch's ``AveragedModel`` makes it of them.

    After the first step it is the weights themselves, after each further one ``decay`` times itself and ``1 - decay``
    times the weights. The statistics of batch normalisation are buffers, and are averaged with the weights that they
    belong to. What is counted or masked stays as the network has it.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network, self.decay = network, decay
        self.values: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(self) -> None:
        """A step is done."""
        now = _numbers(self.network)
        known = [name for name in now if name in self.values]
        if known:
            torch._foreach_lerp_([self.values[name] for name in known], [now[name] for name in known], 1 - self.decay)
        self.values |= _copied({name: value for name, value in now.items() if name not in self.values})

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The network has the averages, and then its own weights again."""
        own = _copied(_numbers(self.network))
        self._give(self.values)
        try:
            yield
        finally:
            self._give(own)

    @contextmanager
    def read(self) -> Iterator[None]:
        """What the network is given here are the averages; then it has its own weights again."""
        own = _copied(_numbers(self.network))
        yield
        self.values = _copied(_numbers(self.network))
        self._give(own)

    @torch.no_grad()
    def _give(self, values: Mapping[str, Tensor]) -> None:
        now = _numbers(self.network)
        for name, value in values.items():
            now[name].copy_(value)


def _numbers(network: nn.Module) -> dict[str, Tensor]:
    named = chain(network.named_parameters(), network.named_buffers())
    return {name: tensor.detach() for name, tensor in named if tensor.is_floating_point()}


def _copied(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in values.items()}
