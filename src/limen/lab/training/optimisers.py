"""The optimiser that a study asks for."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from limen.lab.settings import StudySettings
from limen.training import param_groups


def optimiser_of(network: nn.Module, settings: StudySettings, **of_adam: Any) -> torch.optim.Optimizer:
    """Of all parameters that learn, torch's own; weights decay as it does it, activation parameters never.

    Args:
        network: what learns.
        settings: which optimiser, and its rates.
        of_adam: further arguments of either Adam.
    """
    groups = param_groups(network, settings.learning_rate, settings.weight_decay, activation_lr=settings.activation_lr)
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=settings.momentum, nesterov=settings.nesterov)
    kind = torch.optim.Adam if settings.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, **of_adam)
