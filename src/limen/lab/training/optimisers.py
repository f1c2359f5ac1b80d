"""The optimiser that a study asks for."""

from __future__ import annotations

from inspect import unwrap
from typing import Any

import torch
from torch import nn

from limen.lab.settings import StudySettings
from limen.training import param_groups

SMALL = 1_000_000
"""Parameters that take a step together, in a fifth less time of a small network. Of more each takes its own, which
computes the same and needs no memory for all at once."""


class _Eager(torch.optim.Optimizer):
    """Torch's optimisers without what they do around each call for torch.compile, which translates none here.

    It imports the compiler, with SymPy: 1.6 s of a command.
    """

    add_param_group = unwrap(torch.optim.Optimizer.add_param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, or fill them with zeros."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if set_to_none:
                    parameter.grad = None
                elif parameter.grad is not None:
                    parameter.grad = torch.zeros_like(parameter.grad)


class SGD(_Eager, torch.optim.SGD):
    """Torch's own step."""

    step = torch.no_grad()(unwrap(torch.optim.SGD.step))


class Adam(_Eager, torch.optim.Adam):
    """Torch's own step."""

    step = torch.no_grad()(unwrap(torch.optim.Adam.step))


class AdamW(_Eager, torch.optim.AdamW):
    """Torch's own step."""

    step = torch.no_grad()(unwrap(torch.optim.AdamW.step))


def optimiser_of(network: nn.Module, settings: StudySettings, **of_adam: Any) -> torch.optim.Optimizer:
    """Of all parameters that learn, torch's own; weights decay as it does it, activation parameters never.

    Args:
        network: what learns.
        settings: which optimiser, and its rates.
        of_adam: further arguments of either Adam.
    """
    groups = param_groups(network, settings.learning_rate, settings.weight_decay, activation_lr=settings.activation_lr)
    count = sum(parameter.numel() for group in groups for parameter in group["params"])
    # None leaves it to torch, which has them step together on a GPU.
    foreach = True if count <= SMALL and settings.device == "cpu" else None
    if settings.optimizer == "sgd":
        return SGD(groups, momentum=settings.momentum, nesterov=settings.nesterov, foreach=foreach)
    kind = Adam if settings.optimizer == "adam" else AdamW
    return kind(groups, foreach=foreach, **of_adam)
