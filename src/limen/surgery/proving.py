"""Prove a swap before it is made: the old functions, as modules at their sites, must give the very bits they gave.

Like is compared with like. A stand-in computes on the tensor that it receives; where the old function overwrote its
input and the new one will not, on a copy of the same strides and alignment, since torch's kernels round the ends of
rows otherwise than their middles. What cannot be repeated bit by bit without any change proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from limen.surgery.observing import as_in_training, results_of
from limen.warmstart import Arguments

TRIES = 3
"""How often the model is run again, as it was, before a difference is laid to its swap."""

_ALIGNED = 64
"""Bytes to which torch aligns new memory on a CPU."""


def same_layout(x: Tensor) -> Tensor:
    """A copy with the strides of ``x`` that begins at the same place in its cache line."""
    ordinary = type(x) in (Tensor, nn.Parameter) and x.layout == torch.strided and not x.is_quantized
    if not ordinary or x.is_meta or 0 in x.stride() or x.numel() == 0:
        return x.clone()
    size = x.element_size()
    start = x.data_ptr() % _ALIGNED // size
    extent = 1 + sum((length - 1) * step for length, step in zip(x.shape, x.stride(), strict=True))
    memory = torch.empty(start + extent, dtype=x.dtype, device=x.device)
    return memory.as_strided(x.shape, x.stride(), start).copy_(x)


def differentiated(model: nn.Module, given: list[Arguments]) -> list[Tensor] | None:
    """The model's outputs as in training, and the gradients of a sum of them; nothing where it cannot be run so.

    No trace is left in modes, buffers, gradients and random states.
    """
    with as_in_training(model), torch.enable_grad():
        try:
            results = [tensor for batch in given for tensor in results_of(model, batch)]
        except Exception:  # a model may ask for more when it trains, as for targets
            return None
        learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
        kept = [tensor for tensor in results if tensor.requires_grad]
        if not learned or not kept:
            return [tensor.detach() for tensor in results]
        generator = torch.Generator().manual_seed(0)
        directions = [torch.randn(tensor.shape, generator=generator).to(tensor) for tensor in kept]
        found = torch.autograd.grad(kept, learned, directions, allow_unused=True)
        return [*(tensor.detach() for tensor in results), *(gradient for gradient in found if gradient is not None)]


class Standing(nn.Module):
    """An old function at its place, as a module: in place only where the new activation will be.

    Args:
        compute: the old function.
        was_in_place: whether it overwrites its input.
        overwrites: whether the new activation will, for others to see.
    """

    def __init__(self, compute: Callable[[Tensor], Tensor], was_in_place: bool, overwrites: bool) -> None:
        super().__init__()
        self.compute = compute
        self.was_in_place = was_in_place
        self.overwrites = overwrites

    def forward(self, x: Tensor) -> Tensor:
        """What the old function gives, in memory laid out as it would lay it out."""
        if not self.was_in_place:
            return self.compute(x)
        into = x if self.overwrites else same_layout(x)
        found = self.compute(into)
        # torch's modules beside a function such as F.elu_ are not in place themselves.
        return into if found is into else into.copy_(found)
