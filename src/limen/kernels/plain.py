"""The plain path: the formula itself, on torch operators, differentiated by autograd.

It is right in every context (float64, forward-mode AD, ``torch.func``, higher derivatives, export, meta tensors) and
is what every other path is compared with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from limen.errors import ShapeError
from limen.formula import Context
from limen.kernels.bound import BoundFormula
from limen.kernels.noise import noise_like, seed_like
from limen.kernels.precision import working_dtype
from limen.kernels.weights import spread


def evaluate(
    bound: BoundFormula,
    x: Tensor,
    parameters: Sequence[Tensor],
    channel_dim: int,
    seed: Tensor | None = None,
    beside: Sequence[Tensor] = (),
    walked: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Run the formula in the working type and round the result once to the type of ``x``.

    With a ``seed`` the noise is that of the compiled kernels, which count the elements as they lie in the memory of
    ``walked``; without one it has a seed of its own. With a ``mask`` statistics are taken of what it lets count.
    """
    work = working_dtype(x)
    arguments: dict[str, Any] = dict(bound.constants)
    if mask is not None:
        arguments |= {name: v._replace(mask=mask) for name, v in bound.constants if isinstance(v, Context)}
    for name, parameter in zip(bound.parameters, spread(bound, parameters), strict=True):
        arguments[name] = broadcast(parameter, x, channel_dim).to(work)
    for name, tensor in zip(bound.beside, beside, strict=True):
        arguments[name] = tensor.to(work)
    if bound.noise and seed is None:
        seed = seed_like(x)
    for stream, name in enumerate(bound.noise):
        arguments[name] = noise_like(x if walked is None else walked, seed, stream).to(work)
    result: Tensor = bound.function(x.to(work), **arguments)
    return result.to(x.dtype)


def broadcast(parameter: Tensor, x: Tensor, channel_dim: int) -> Tensor:
    """Shape a parameter of one value, or of one value a channel, to broadcast against ``x``; one of more axes does.

    >>> import torch
    >>> broadcast(torch.ones(3), torch.ones(2, 3, 5), 1).shape
    torch.Size([1, 3, 1])
    """
    if parameter.numel() == 1:
        return parameter.reshape(())
    if parameter.ndim > 1:
        return parameter
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
