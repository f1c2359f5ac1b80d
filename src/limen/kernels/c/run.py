"""The C path: calls on CPU tensors, the short ones first."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from limen.kernels import autograd
from limen.kernels.bound import BoundFormula
from limen.kernels.c import calls, short_calls
from limen.kernels.c.calls import SERIAL_BELOW, run_backward, run_backward_several, run_forward_several
from limen.kernels.call import Call, Prepared
from limen.kernels.weights import spread

__all__ = ["forward", "generally", "run_backward", "run_backward_several", "run_forward_several"]


def forward(
    bound: BoundFormula, x: Tensor, parameters: Sequence[Tensor], channel_dim: int, seed: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """The result, and the statistics of each sample if the formula takes any."""
    short = bound.short_calls.get(x.dtype)
    if short is not None and x.numel() < SERIAL_BELOW:
        statistics = torch.empty(len(x), 2, dtype=torch.float32, device="cpu") if bound.contexts and x.ndim else None
        if (y := short(x, parameters, statistics)) is not None:
            return y, statistics
    found = generally(Call(bound, x, spread(bound, parameters), channel_dim, seed))
    if bound.weights and short is None and x.numel() < SERIAL_BELOW and x.dtype in bound.short_calls:
        # The first call, which has made the short one, whose softmax may differ from torch's in the last bit: the same
        # numbers twice are to give the same bits.
        y = bound.short_calls[x.dtype](x, parameters, found[1])
        return found if y is None else (y, found[1])
    return found


def generally(call: Call) -> tuple[Tensor, Tensor | None]:
    """:func:`forward` for inputs of any size and layout, with one tensor a parameter."""
    return autograd.forward(_run_forward, call)


def _run_forward(given: Prepared) -> tuple[Tensor, Tensor | None]:
    bound, dtype = given.bound, given.x.dtype
    if dtype not in bound.short_calls and short_calls.suits(bound):
        bound.short_calls[dtype] = short_calls.short_call(bound, dtype)
    return calls.run_forward(given)
