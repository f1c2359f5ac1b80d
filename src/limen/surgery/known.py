"""What counts as an activation and what as a gate: torch's module classes, and its functions beside them.

Every function is described by the module that computes the same, so that the rest of the surgery knows modules only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limen.activations.base import Activation

UNKNOWN: Any = type("Unknown", (), {"__repr__": lambda _: "UNKNOWN"})()
"""Stands for a value that cannot be told without running the model."""

ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish,
    nn.Softplus, nn.Hardswish, nn.Hardtanh, nn.Tanh, nn.Tanhshrink, nn.Softsign, nn.Softshrink, nn.Hardshrink,
    nn.LogSigmoid, nn.Threshold, Activation,
)  # fmt: skip
"""Module classes that count as activations, subclasses included."""

GATES = (nn.Sigmoid, nn.Hardsigmoid, nn.Softmax, nn.Softmax2d, nn.LogSoftmax, nn.Softmin, nn.GLU)
"""Module classes that bound or normalise; kept unless ``where`` names them."""

BOUNDED = (nn.Tanh, nn.Softplus, nn.Softsign, nn.Hardtanh, nn.LogSigmoid)
"""Activations whose range is part of the answer when they stand at a model's output."""

SHAPE_CHANGING = (nn.GLU,)

FUSED = {
    nn.MultiheadAttention: "a softmax inside torch's fused attention",
    nn.RNNBase: "gates inside torch's fused recurrent layer",
    nn.RNNCellBase: "gates inside torch's fused recurrent cell",
}
"""torch modules with activations that no call of theirs shows, and what those are."""

_SIGNATURES: Mapping[str, tuple[type[nn.Module], tuple[str, ...]]] = {
    "relu": (nn.ReLU, ()),
    "relu6": (nn.ReLU6, ()),
    "leaky_relu": (nn.LeakyReLU, ("negative_slope",)),
    "prelu": (nn.PReLU, ("weight",)),
    "rrelu": (nn.RReLU, ("lower", "upper")),
    "elu": (nn.ELU, ("alpha",)),
    "selu": (nn.SELU, ()),
    "celu": (nn.CELU, ("alpha",)),
    "gelu": (nn.GELU, ("approximate",)),
    "silu": (nn.SiLU, ()),
    "mish": (nn.Mish, ()),
    "softplus": (nn.Softplus, ("beta", "threshold")),
    "hardswish": (nn.Hardswish, ()),
    "hardtanh": (nn.Hardtanh, ("min_val", "max_val")),
    "tanh": (nn.Tanh, ()),
    "tanhshrink": (nn.Tanhshrink, ()),
    "softsign": (nn.Softsign, ()),
    "softshrink": (nn.Softshrink, ("lambd",)),
    "hardshrink": (nn.Hardshrink, ("lambd",)),
    "logsigmoid": (nn.LogSigmoid, ()),
    "threshold": (nn.Threshold, ("threshold", "value")),
    "sigmoid": (nn.Sigmoid, ()),
    "expit": (nn.Sigmoid, ()),
    "hardsigmoid": (nn.Hardsigmoid, ()),
    "softmax": (nn.Softmax, ("dim",)),
    "log_softmax": (nn.LogSoftmax, ("dim",)),
    "softmin": (nn.Softmin, ("dim",)),
    "glu": (nn.GLU, ("dim",)),
}
"""Function name → module class that computes the same, and the arguments after the input that it takes."""

_CLAMPS = ("clamp", "clip", "clamp_min")


def _functions() -> dict[Any, str]:
    found: dict[Any, str] = {}
    for name in (*_SIGNATURES, *_CLAMPS):
        for spelled in (name, f"{name}_"):
            for namespace in (F, torch, torch.special):
                function = getattr(namespace, spelled, None)
                if callable(function):
                    found[function] = spelled
    return found


FUNCTIONS: Mapping[Any, str] = _functions()
"""torch's activation functions, by object."""

METHODS = frozenset(
    spelled for name in (*_SIGNATURES, *_CLAMPS) for spelled in (name, f"{name}_") if hasattr(Tensor, spelled)
)
"""Those that are methods of a tensor, too."""


def all_known(values: Iterable[Any]) -> bool:
    """Whether none is :data:`UNKNOWN`; by identity, since tensors compare by element."""
    return all(value is not UNKNOWN for value in values)


NAMES = frozenset(FUNCTIONS.values())


def function_name(value: Any) -> str:
    """The name of an activation function of torch's, or nothing."""
    try:
        return FUNCTIONS.get(value, "")
    except TypeError:  # unhashable
        return ""


def equivalent(name: str, values: Sequence[Any] = (), named: Mapping[str, Any] | None = None) -> nn.Module | None:
    """The module that computes ``name(x, *values, **named)``; nothing where that is no activation or gate.

    A value that is :data:`UNKNOWN` falls back to the default.

    >>> equivalent("leaky_relu_", [0.2])
    LeakyReLU(negative_slope=0.2)
    >>> equivalent("clamp", named={"min": 0})
    ReLU()
    """
    named = dict(named or {})
    base = name.rstrip("_") if name not in _SIGNATURES else name
    if base in _CLAMPS:
        return _clamp(base, values, named)
    cls, arguments = _SIGNATURES[base]
    given = {**dict(zip(arguments, values, strict=False)), **named}
    known = {key: value for key, value in given.items() if key in arguments and value is not UNKNOWN}
    if base == "prelu":
        return _prelu(known.get("weight"))
    if base == "threshold" and len(known) < 2:
        known = {"threshold": 0.0, "value": 0.0}
    try:
        return cls(**known)
    except (TypeError, ValueError):
        return cls()


def is_in_place(name: str, values: Sequence[Any], named: Mapping[str, Any]) -> bool:
    """Whether a call of this function overwrites its input."""
    if name.endswith("_"):
        return True
    base = name.rstrip("_")
    after = len(_SIGNATURES[base][1]) + (1 if base == "rrelu" else 0) if base in _SIGNATURES else len(values)
    inplace = named.get("inplace", values[after] if len(values) > after else False)
    return bool(inplace) and base not in ("gelu", "softplus", "softmax", "log_softmax")


def _clamp(base: str, values: Sequence[Any], named: Mapping[str, Any]) -> nn.Module | None:
    """ReLU or ReLU6 where the bounds say so; any other clamp bounds a quantity."""
    low, high = (*values, None, None)[:2]
    low, high = named.get("min", low), named.get("max", high) if base != "clamp_min" else None
    if not isinstance(low, (int, float)) or low != 0:
        return None
    if high is None:
        return nn.ReLU()
    return nn.ReLU6() if isinstance(high, (int, float)) and high == 6 else None


def _prelu(weight: Any) -> nn.Module:
    module = nn.PReLU(weight.numel() if isinstance(weight, Tensor) else 1)
    if isinstance(weight, Tensor):
        module.weight = weight if isinstance(weight, nn.Parameter) else nn.Parameter(weight.detach().reshape(-1))
    return module
