"""The plain path: the formula itself, on torch operators, differentiated by autograd.

It is right in every context (float64, forward-mode AD, ``torch.func``, higher derivatives, export, meta tensors) and
is what every other path is compared with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from limen.errors import DtypeError, ShapeError
from limen.formula import uniform
from limen.kernels.bound import BoundFormula
from limen.kernels.noise import counter_noise

HALF_TYPES = (torch.float16, torch.bfloat16)
ALL = 16.0
"""How far one logit lies above the others where its weight is as good as all: e^-16 is more than float32 rounds away
beside 1."""


def working_dtype(x: Tensor) -> torch.dtype:
    """The type to compute in: float32 for half types, else the input's own."""
    if not x.is_floating_point():
        raise DtypeError(
            f"activations take floating-point tensors, and the input is {x.dtype}; convert it with x.float()."
        )
    return torch.float32 if x.dtype in HALF_TYPES else x.dtype


def evaluate(
    bound: BoundFormula, x: Tensor, parameters: Sequence[Tensor], channel_dim: int, seed: Tensor | None = None
) -> Tensor:
    """Run the formula in the working type and round the result once to the type of ``x``.

    With a ``seed`` the noise is that of the compiled kernels, else it comes from torch's generator.
    """
    work = working_dtype(x)
    arguments: dict[str, Any] = dict(bound.constants)
    for name, parameter in zip(bound.parameters, spread(bound, parameters), strict=True):
        arguments[name] = broadcast(parameter, x, channel_dim).to(work)
    for stream, name in enumerate(bound.noise):
        arguments[name] = (uniform(x) if seed is None else counter_noise(x, seed, stream)).to(work)
    result: Tensor = bound.function(x.to(work), **arguments)
    return result.to(x.dtype)


def spread(bound: BoundFormula, parameters: Sequence[Tensor]) -> Sequence[Tensor]:
    """One tensor for each parameter of the formula: logits that stand for weights become the weights."""
    if len(parameters) == len(bound.parameters):
        return parameters
    if not bound.weights or len(parameters) != len(bound.parameters) - bound.weights + 1:
        raise TypeError(f"{bound.name} takes {len(bound.parameters)} tensors, and {len(parameters)} were given.")
    logits, *own = parameters
    return [*softmax(logits).unbind(), *own]


def softmax(logits: Tensor) -> Tensor:
    """The weights of logits, at least in float32."""
    return at_least_float32(logits).softmax(-1)


def at_least_float32(tensor: Tensor) -> Tensor:
    """A half type as float32, any other as it is."""
    return tensor.float() if tensor.dtype in HALF_TYPES else tensor


def broadcast(parameter: Tensor, x: Tensor, channel_dim: int) -> Tensor:
    """Shape a parameter of one value, or of one value a channel, to broadcast against ``x``.

    >>> broadcast(torch.ones(3), torch.ones(2, 3, 5), 1).shape
    torch.Size([1, 3, 1])
    """
    if parameter.numel() == 1:
        return parameter.reshape(())
    check_channels(parameter.numel(), x, channel_dim)
    view = [1] * x.ndim
    view[channel_dim] = -1
    return parameter.reshape(view)


def check_channels(channels: int, x: Tensor, channel_dim: int) -> None:
    """Raise unless ``x`` has so many channels along its channel axis."""
    if not -x.ndim <= channel_dim < x.ndim or x.shape[channel_dim] != channels:
        raise ShapeError(
            f"{channels} parameters, one a channel, need {channels} channels in dimension {channel_dim} of the "
            f"input, and the input has shape {tuple(x.shape)}; set num_parameters or channel_dim to match."
        )
