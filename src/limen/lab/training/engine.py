"""What computes a step: here one device in full precision, as torch does it by itself."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

MakeOptimisers = Callable[[], list[torch.optim.Optimizer]]
"""Makes the optimisers of a network's parameters as they are now."""


class Engine:
    """One device, full precision. :class:`.fabric.FabricEngine` is for everything else."""

    sharded = False
    """Whether each process holds a part of the weights only."""

    def prepare(
        self, module: nn.Module, make_optimisers: MakeOptimisers
    ) -> tuple[nn.Module, list[torch.optim.Optimizer]]:
        """The module and its optimisers as they are used from now on."""
        return module, make_optimisers()

    def precision(self) -> AbstractContextManager[object]:
        """Around everything that a network computes."""
        return nullcontext()

    def failed(self, loss: float) -> bool:
        """Whether the loss of any process is not finite."""
        return not math.isfinite(loss)

    def backward(self, loss: Tensor) -> None:
        """Its gradients."""
        torch.autograd.backward(loss)

    def unscale(self, optimiser: torch.optim.Optimizer) -> None:
        """Give gradients their own size, which half precision may have changed."""

    def own(self, optimiser: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """Torch's, where it is wrapped."""
        return optimiser

    def weights(self, network: nn.Module) -> dict[str, Any]:
        """A copy of what the network has learned."""
        return copy.deepcopy(network.state_dict())

    def load_weights(self, network: nn.Module, state: dict[str, Any]) -> None:
        """Undo :meth:`weights`."""
        network.load_state_dict(state)

    def learned(self, network: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
        """What an optimiser knows beside the weights."""
        return optimiser.state_dict()

    def load_learned(self, network: nn.Module, optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
        """Undo :meth:`learned`."""
        optimiser.load_state_dict(state)
