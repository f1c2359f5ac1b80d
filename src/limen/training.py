"""Helpers for training models whose activations learn."""

from __future__ import annotations

from typing import Any

from torch import nn

from limen.activations.base import Activation

__all__ = ["activation_parameters", "param_groups"]


def activation_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that belong to limen activations, each once, in the order of the modules.

    >>> import limen
    >>> len(activation_parameters(nn.Sequential(nn.Linear(2, 2), limen.ASAU())))
    2
    """
    found = {
        id(parameter): parameter
        for module in model.modules()
        if isinstance(module, Activation)
        for parameter in module.parameters()
    }
    return list(found.values())


def param_groups(
    model: nn.Module, lr: float, weight_decay: float = 0.0, *, activation_lr: float | None = None
) -> list[dict[str, Any]]:
    """Parameter groups for an optimiser in which activations are not decayed and may learn at their own rate.

    Weight decay pulls a, b, α, β and z towards 0, which is a different function, not less of it. Frozen parameters
    are left out, and so are empty groups.

    >>> import limen, torch
    >>> model = nn.Sequential(nn.Linear(2, 2), limen.ASAU())
    >>> optimiser = torch.optim.AdamW(param_groups(model, 1e-3, 0.05, activation_lr=1e-2))
    >>> [(group["lr"], group["weight_decay"]) for group in optimiser.param_groups]
    [(0.001, 0.05), (0.01, 0.0)]
    """
    ours = activation_parameters(model)
    ours_ids = {id(parameter) for parameter in ours}
    others = [parameter for parameter in model.parameters() if id(parameter) not in ours_ids]
    groups = [
        {"params": [p for p in others if p.requires_grad], "lr": lr, "weight_decay": weight_decay},
        {
            "params": [p for p in ours if p.requires_grad],
            "lr": lr if activation_lr is None else activation_lr,
            "weight_decay": 0.0,
        },
    ]
    return [group for group in groups if group["params"]]
