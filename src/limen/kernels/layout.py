"""How an input's memory is walked, and how the parameters meet it: the same for every compiled path."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from limen.errors import LimenError
from limen.kernels.bound import BoundFormula
from limen.kernels.plain import check_channels


class Plan(NamedTuple):
    """How an input's memory is walked: the layout and the sizes that a kernel takes.

    A named tuple, as one is made in every call without a short one: a frozen dataclass takes twice as long to make.
    """

    layout: str
    outer: int = 1
    channels: int = 1
    inner: int = 1
    rows: int = 1
    every: int = 1

    @property
    def sizes(self) -> tuple[int, int, int, int, int]:
        """The sizes in the kernel's order."""
        return self[1:]


def plan_elementwise(x: Tensor, channels: int, channel_dim: int) -> Plan:
    """The plan for a dense input whose parameters have ``channels`` values each (1: shared).

    >>> plan_elementwise(torch.empty(2, 3, 4, 5), 3, 1)
    Plan(layout='row', outer=2, channels=3, inner=20, rows=1, every=1)
    """
    if channels == 1:
        return Plan("shared", inner=x.numel())
    check_channels(channels, x, channel_dim)
    axis = channel_dim % x.ndim
    strides = x.stride()
    inside = [a for a in range(x.ndim) if a != axis and x.shape[a] > 1 and strides[a] < strides[axis]]
    inner = math.prod(x.shape[a] for a in inside)
    outer = x.numel() // (inner * channels)
    if inner == 1:
        return Plan("lane", outer, channels)
    return Plan("row", outer, channels, inner)


def plan_samples(x: Tensor, channels: int, channel_dim: int, axes: tuple[int, ...]) -> Plan | None:
    """The plan for a contiguous input with statistics over ``axes``; None if its memory does not suit.

    The axes must be the last ones, so that a sample is one piece of memory. With one parameter a channel, the
    channel must not be the fastest axis of a sample.
    """
    first = x.ndim - len(axes)
    if axes != tuple(range(first, x.ndim)):
        return None
    outer, size = math.prod(x.shape[:first]), math.prod(x.shape[first:])
    if channels == 1:
        return Plan("sample", outer, 1, size)
    check_channels(channels, x, channel_dim)
    axis = channel_dim % x.ndim
    after = math.prod(x.shape[axis + 1 :])
    if axis < first:
        return Plan("sample", outer, channels, size, 1, after // size)
    if after == 1:
        return None
    return Plan("sample", outer, channels, after, size // after, 1)


ORDINARY = (Tensor, torch.nn.Parameter)
"""The classes that mean their elements; any other may mean something by its operations."""


def is_plain(x: Tensor) -> bool:
    """Whether there are elements in memory as they are: not sparse, no zeros without any, no opposite signs."""
    return has_memory(x) and not x.is_neg() and x.numel() > 0


def has_memory(tensor: Tensor) -> bool:
    """Whether a tensor of an ordinary class lies in memory, as it is or with the opposite sign."""
    return torch._C._has_storage(tensor) and tensor.data_ptr() != 0


def is_dense(x: Tensor) -> bool:
    """Whether the elements fill one piece of memory without gaps or overlaps, in whatever order of axes."""
    if x.is_contiguous():
        return True
    expected = 1
    for stride, size in sorted((stride, size) for stride, size in zip(x.stride(), x.shape, strict=True) if size > 1):
        if stride != expected:
            return False
        expected *= size
    return True


def planned(
    bound: BoundFormula, x: Tensor, parameters: Sequence[Tensor], channel_dim: int
) -> tuple[Tensor, Plan | None]:
    """The input, made dense if it has to be, and how to walk it; no plan where only the plain path can."""
    channels = 1
    for parameter in parameters:
        if (values := parameter.numel()) not in (1, channels):
            check_channels(values, x, channel_dim)
            channels = values
    if not bound.contexts:
        x = x if is_dense(x) else x.clone()
        return x, plan_elementwise(x, channels, channel_dim)
    (context,) = bound.contexts
    axes = context.axes(tuple(x.shape))
    if not axes:
        axes = (x.ndim,)  # samples of one element
        x = x.contiguous()
        return x, plan_samples(x.unsqueeze(-1), channels, channel_dim % x.ndim, axes)
    whole_samples = axes == tuple(range(1, x.ndim))
    if channels == 1 and whole_samples and is_dense(x) and x.stride(0) == max(x.stride()):
        return x, Plan("sample", x.shape[0], 1, x.numel() // x.shape[0])  # any order within a sample will do
    x = x.contiguous()
    return x, plan_samples(x, channels, channel_dim, axes)


def are_alike(x: Tensor, other: Tensor) -> bool:
    """Whether two tensors of one shape are laid out in the same way, whatever the strides of axes of one place."""
    if x.stride() == other.stride():
        return True
    return all(a == b for a, b, size in zip(x.stride(), other.stride(), x.shape, strict=True) if size > 1)


def pitch_of(x: Tensor) -> int:
    """How far apart the rows of an input begin whose last axis is one piece of memory; 0 where that is not so.

    >>> pitch_of(torch.empty(4, 3, 10)[..., :5])
    10
    """
    if x.ndim < 2 or x.stride(-1) != 1:
        return 0
    pitch = expected = 0
    for size, stride in zip(reversed(x.shape[:-1]), reversed(x.stride()[:-1]), strict=True):
        if size > 1:
            if pitch and stride != expected:
                return 0
            pitch = pitch or stride
            expected = stride * size
    return pitch if pitch >= x.shape[-1] else 0


def plan_rows(dense: Plan, length: int) -> Plan | None:
    """The plan of rows that lie apart, from that of the same rows without gaps; None if it crosses them."""
    if dense.layout == "shared":
        return Plan("row", dense.inner // length, 1, length)
    if dense.layout == "lane":
        return dense if dense.channels == length else None
    if dense.layout == "row" or dense.inner % length:
        return dense if dense.inner == length else None
    times = dense.inner // length
    return dense._replace(inner=length, rows=dense.rows * times, every=dense.every * times)


def counted_as(x: Tensor, strides: tuple[int, ...]) -> Tensor:
    """The input in a layout in which noise counts its elements as it did when it had these strides."""
    if x.stride() == strides:
        return x
    then = torch.empty_like(torch.empty_strided(x.shape, strides, device="meta"))
    return torch.empty_strided(x.shape, then.stride(), dtype=x.dtype, device=x.device).copy_(x)


def values_of(x: Tensor, parameters: Sequence[Tensor], channels: int) -> list[Tensor] | None:
    """The parameters as the kernels read them: float32, contiguous, one value a channel; None if one has no memory."""
    values = []
    device = x.device
    for parameter in parameters:
        if parameter.device != device:
            raise LimenError(
                f"the input is on {device} and the activation's parameters are on {parameter.device}; "
                "move one to the other."
            )
        if type(parameter) not in ORDINARY or parameter.data_ptr() == 0:
            return None
        ready = parameter.dtype is torch.float32 and parameter.numel() == channels and parameter.is_contiguous()
        if ready and not parameter.is_neg():
            values.append(parameter)  # as it is: a detached alias takes as long as all these questions
            continue
        value = parameter.detach().resolve_neg()
        if value.dtype != torch.float32:
            value = value.float()
        if value.numel() != channels:
            value = value.reshape(1).expand(channels)
        values.append(value if value.is_contiguous() else value.contiguous())
    return values


def as_parameter(gradient: Tensor, parameter: Tensor) -> Tensor:
    """The gradient of a parameter from that of its values; a shared one among others a channel sums over them.

    It is laid out as torch promises: as the parameter, or contiguous where that has gaps.
    """
    if gradient.shape != parameter.shape or gradient.dtype is not parameter.dtype:
        if parameter.numel() == 1 and gradient.numel() > 1:
            gradient = gradient.sum()
        gradient = gradient.reshape(parameter.shape).to(parameter.dtype)
    return gradient if gradient.stride() == parameter.stride() else laid_out_as(parameter, gradient)


def laid_out_as(x: Tensor, result: Tensor) -> Tensor:
    """The result in the layout that torch's own activations give for such an input."""
    target = torch.empty_like(x)
    return result if result.stride() == target.stride() else target.copy_(result)


def rejoined(like: Tensor, samples: list[Tensor]) -> Tensor:
    """Samples as a jagged tensor of the very structure of another, so that both can be added."""
    jagged: Any = like
    axis = jagged._ragged_idx - 1
    starts = jagged.offsets()[:-1].tolist()
    total = jagged.values().shape[axis]
    parts, at = [], 0
    for sample, start in zip(samples, starts, strict=True):
        parts += [_gap(sample, axis, start - at), sample]
        at = start + sample.shape[axis]
    parts.append(_gap(samples[-1], axis, total - at))
    values = torch.cat(parts, dim=axis)
    return torch.nested.nested_tensor_from_jagged(
        values, jagged.offsets(), lengths=jagged.lengths(), jagged_dim=axis + 1
    )


def _gap(sample: Tensor, axis: int, length: int) -> Tensor:
    """Zeros where a jagged tensor holds memory between its samples."""
    shape = list(sample.shape)
    shape[axis] = length
    return sample.new_zeros(shape)
