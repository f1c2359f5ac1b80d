"""Noise from a counter: the same for an element whenever it is asked for, so that nothing needs to be saved."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling, is_exporting

from limen.formula import uniform
from limen.kernels.graph_seeds import is_transformed, seed_in_graph
from limen.stream import next_seed, reaches

STREAM_STEP = 0x9E3779B9
"""The golden ratio in 32 bits, by which the seeds of two noise fields of one call differ."""
_MASK = 0xFFFFFFFF
_CPU = torch.device("cpu")


def new_seed(device: torch.device = _CPU) -> Tensor:
    """A seed from the activations' own stream.

    A GPU's is written by a kernel that has it as an argument, so that nothing waits for a copy. A captured graph draws
    it from torch's generator of the device, anew in each replay, in which nothing on the host runs.
    """
    if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        return torch.randint(0, 2**31 - 1, (1,), dtype=torch.int64, device=device)
    return torch.full((1,), next_seed(), dtype=torch.int64, device=device)


def seed_like(x: Tensor) -> Tensor | None:
    """A seed for noise as large as ``x``, in a compiled program too; None where torch's own operators draw it.

    Those know what stands for many samples under ``vmap``, whose ``randomness`` they heed.
    """
    if is_compiling():
        # Dynamo does not follow is_traceable_wrapper_subclass.
        by_torch = is_exporting() or is_transformed() or type(x) not in (Tensor, nn.Parameter)
        return None if by_torch else seed_in_graph(x.device)
    return new_seed(x.device) if reaches(x) and not is_transformed() else None


def noise_like(x: Tensor, seed: Tensor | None, stream: int) -> Tensor:
    """Noise for every element of ``x`` by a seed that :func:`seed_like` gave; float32 in [0, 1)."""
    return uniform(x) if seed is None else counter_noise(x, seed, stream)


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
