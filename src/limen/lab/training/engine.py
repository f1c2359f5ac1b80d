"""What computes a step: here one device in full precision, as torch does it by itself."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn


class Engine:
    """One device, full precision. :class:`.fabric.FabricEngine` is for everything else."""

    def prepare(
        self, module: nn.Module, optimisers: list[torch.optim.Optimizer]
    ) -> tuple[nn.Module, list[torch.optim.Optimizer]]:
        """The module and its optimisers as they are used from now on."""
        return module, optimisers

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
