"""The activation that stands beside something: made from what a user names, and how it is called in one pass."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.compiler import is_compiling

from limen.activations.base import Activation
from limen.activations.mixture import AdAct
from limen.activations.registry import create, names
from limen.errors import SpecError
from limen.kernels.bound import BoundFormula

NAMES = {"swiglu": "silu", "geglu": "gelu", "reglu": "relu"}
"""The gated units that have names of their own, with the activation of their gate."""
SUFFIX = "_glu"
"""After an activation's name: the unit that it is the gate of."""
Called = tuple[BoundFormula, tuple[Tensor, ...], int]
"""A bound formula, the tensors it takes, and the channel axis."""


def made(activation: Any, owner: str, named: dict[str, Any]) -> nn.Module:
    """The module that a user names: by spec, by class, or itself.

    Raises:
        SpecError: for a name that does not exist, an activation that changes the shape of its input, or anything else.
    """
    module = _module_of(activation, owner, named)
    if isinstance(module, Activation) and not module.keeps_shape:
        raise SpecError(f"{owner}: {type(module).__name__} changes the shape of its input; name another activation.")
    return module


def _module_of(activation: Any, owner: str, named: dict[str, Any]) -> nn.Module:
    if isinstance(activation, str):
        return create(_activation_name(activation), **named)
    if isinstance(activation, type) and issubclass(activation, nn.Module):
        return activation(**named)
    if not isinstance(activation, nn.Module):
        raise SpecError(f"{owner} takes a spec, a class or a module, and {activation!r} was given.")
    if named:
        raise SpecError(f"{owner}: {', '.join(named)} belongs to a spec or a class, and a module was given.")
    return activation


def _activation_name(spec: str) -> str:
    """The activation's own spec, where a gated unit is named."""
    name, colon, rest = spec.strip().partition(":")
    if name in names():
        return spec
    return f"{NAMES.get(name, name.removesuffix(SUFFIX))}{colon}{rest}"


def one_pass_of(module: nn.Module) -> Called | None:
    """What a call of an activation computes now, for a kernel that does more at once; None where it must be called.

    It must be called where someone watches it by a hook, where it has a ``forward`` of its own, and if it is unknown.
    """
    if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks:
        return None
    activation = module if isinstance(module, Activation) else _twin(module)
    if activation is None or type(activation).forward not in (Activation.forward, AdAct.forward):
        return None
    if isinstance(activation, AdAct) and not activation.training and not is_compiling():
        alone = None if activation._learns() else activation._alone()
        if alone is not None:
            return one_pass_of(alone)
    tensors = activation.tensors() if activation.group_size == 1 else activation._by_channel()
    return activation._bound[activation.training], tensors, activation.channel_dim


_TWINS = {nn.ReLU: "relu", nn.SiLU: "silu", nn.Mish: "mish"}
_made: dict[str, Activation] = {}


def _twin(module: nn.Module) -> Activation | None:
    """Our own activation that computes what one of torch's does, if there is one without parameters."""
    spec = f"gelu:approximate={module.approximate}" if type(module) is nn.GELU else _TWINS.get(type(module), "")
    if spec and spec not in _made:
        _made[spec] = create(spec)
    return _made.get(spec)
