"""Helpers for training models whose activations learn."""

from __future__ import annotations

from typing import Any

from torch import nn

from limen.activations.base import Activation

__all__ = ["activation_parameters", "param_groups"]

LEARNING = (Activation, nn.PReLU)
NORMALISING = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def activation_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that belong to activations (limen's and ``nn.PReLU``), each once, in the order of the modules.

    Args:
        model: any module; frozen parameters are listed too.

    >>> import limen
    >>> len(activation_parameters(nn.Sequential(nn.Linear(2, 2), limen.ASAU())))
    2
    """
    return _parameters_in(model, LEARNING)


def param_groups(
    model: nn.Module,
    lr: float,
    weight_decay: float = 0.0,
    *,
    activation_lr: float | None = None,
    decay_all: bool = True,
) -> list[dict[str, Any]]:
    """Parameter groups for an optimiser, by role; activations are not decayed and may learn at their own rate.

    Weight decay pulls a, b, α, β and z towards 0, which is a different function, not less of it. Each group has its
    ``role``: ``weights``, ``norms and biases``, ``activations``. Frozen parameters are left out, as are empty groups.

    Args:
        model: any module.
        lr, weight_decay: of the weights, as torch's optimisers take them: per step.
        activation_lr: learning rate of the activations; ``lr`` if not given.
        decay_all: decay normalisations and biases with the weights, in one group, as torch's optimisers do. ``False``
            keeps every other parameter of fewer than two dimensions out, the practice for transformers.

    Returns:
        What a torch optimiser takes: a list of dictionaries with ``params``, ``lr``, ``weight_decay`` and ``role``.

    >>> import limen, torch
    >>> model = nn.Sequential(nn.Linear(2, 2), limen.ASAU())
    >>> optimiser = torch.optim.AdamW(param_groups(model, 1e-3, 0.05, activation_lr=1e-2))
    >>> [(group["role"], group["lr"], group["weight_decay"]) for group in optimiser.param_groups]
    [('weights', 0.001, 0.05), ('activations', 0.01, 0.0)]
    """
    ours = activation_parameters(model)
    exempt: list[nn.Parameter] = []
    if not decay_all:
        small = [parameter for parameter in model.parameters() if parameter.ndim < 2]
        exempt = _without([*_parameters_in(model, NORMALISING), *small], ours)
    weights = _without(list(model.parameters()), [*ours, *exempt])
    groups = [
        _group("weights", weights, lr, weight_decay),
        _group("norms and biases", exempt, lr, 0.0),
        _group("activations", ours, lr if activation_lr is None else activation_lr, 0.0),
    ]
    return [group for group in groups if group["params"]]


def _group(role: str, parameters: list[nn.Parameter], lr: float, weight_decay: float) -> dict[str, Any]:
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    return {"params": trained, "lr": lr, "weight_decay": weight_decay, "role": role}


def _parameters_in(model: nn.Module, classes: tuple[type[nn.Module], ...]) -> list[nn.Parameter]:
    return _without([p for module in model.modules() if isinstance(module, classes) for p in module.parameters()], [])


def _without(parameters: list[nn.Parameter], others: list[nn.Parameter]) -> list[nn.Parameter]:
    """Each parameter once, and none of the others."""
    left_out = {id(parameter) for parameter in others}
    return list({id(p): p for p in parameters if id(p) not in left_out}.values())
