"""What every activation of a model receives: the range of its inputs, and their form."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from limen.surgery.observing import outputs
from limen.warmstart import Arguments


@dataclass
class Received:
    """The least and the largest input of a site, over all that it was given."""

    low: float = math.inf
    high: float = -math.inf
    axes: set[int] = field(default_factory=set)
    """How many axes its inputs have."""

    def note(self, x: Tensor) -> None:
        """Take in one more input."""
        if x.numel():
            low, high = torch.aminmax(x.detach())
            self.low, self.high = min(self.low, _least(low, -math.inf)), max(self.high, _least(high, math.inf))
            self.axes.add(x.ndim)


def _least(value: Tensor, instead: float) -> float:
    """NaN is beyond any range."""
    return instead if bool(value.isnan()) else float(value)


def received(model: nn.Module, sites: Iterable[nn.Module], given: list[Arguments]) -> dict[int, Received]:
    """Run the model in evaluation and note what each of these modules is called with, by its ``id``."""
    found: dict[int, Received] = {}

    def note(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        x = inputs[0] if inputs else named.get("x")
        if isinstance(x, Tensor):
            found.setdefault(id(module), Received()).note(x)

    handles = [site.register_forward_pre_hook(note, with_kwargs=True) for site in sites]
    try:
        outputs(model, given)
    finally:
        for handle in handles:
            handle.remove()
    return found
