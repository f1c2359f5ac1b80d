"""Noise from a counter: the same for an element whenever it is asked for, so that nothing needs to be saved."""

from __future__ import annotations

import torch
from torch import Tensor

STREAM_STEP = 0x9E3779B9
"""The golden ratio in 32 bits, by which the seeds of two noise fields of one call differ."""
_MASK = 0xFFFFFFFF


def new_seed(device: torch.device | str = "cpu") -> Tensor:
    """A seed from torch's generator of the device, so that checkpointing and ``manual_seed`` reproduce it.

    It is drawn where it is used: a GPU's seed needs no copy, and a captured graph draws a new one in each replay.
    """
    return torch.randint(0, 2**31 - 1, (1,), dtype=torch.int64, device=device)


def counter_noise(x: Tensor, seed: Tensor, stream: int) -> Tensor:
    """The kernels' noise for every element of ``x``, in torch's integer arithmetic; float32 in [0, 1).

    The counter is the element's place in memory; see ``vm_uniform`` in ``vector_math.h`` for how it is mixed.
    """
    places = torch.arange(x.numel(), dtype=torch.int64, device=x.device)
    mixed_seed = (seed.to(x.device) + stream * STREAM_STEP) & _MASK
    return in_memory_order(uniform_of(places, mixed_seed), x)


def uniform_of(index: Tensor, seed: Tensor) -> Tensor:
    """The float in [0, 1) that ``vm_uniform`` makes of an index and a seed."""
    first = _mix((_mix(seed ^ (index >> 32)) + STREAM_STEP) & _MASK)
    second = _mix((first + STREAM_STEP) & _MASK)
    h = (((index & _MASK) ^ first) * 0x9E3779B1) & _MASK
    h = h ^ (h >> 15)
    h = (h * 0x21F0AAAD + second) & _MASK
    h = ((h ^ (h >> 16)) * 0xD35A2D97) & _MASK
    return (h >> 8).to(torch.float32) * 2.0**-24


def in_memory_order(values: Tensor, x: Tensor) -> Tensor:
    """Arrange flat values, given in the order of ``x`` in memory, as ``x`` is."""
    strides = tuple(x.stride())
    order = sorted(range(x.ndim), key=lambda axis: (-strides[axis], axis))
    inverse = [order.index(axis) for axis in range(x.ndim)]
    return values.reshape([x.shape[axis] for axis in order]).permute(inverse)


def _mix(h: Tensor) -> Tensor:
    h = h ^ (h >> 16)
    h = (h * 0x21F0AAAD) & _MASK
    h = h ^ (h >> 15)
    h = (h * 0xD35A2D97) & _MASK
    return h ^ (h >> 15)
