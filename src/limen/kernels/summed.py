"""A batch norm, what is added to its result, and an activation, recorded. Kept: the inputs, statistics, parameters.

Each channel is walked at once, as in ``normed``; here formulas take a second input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from limen.kernels.autograd import by_autograd, is_ordinary
from limen.kernels.bound import BoundFormula
from limen.kernels.c import calls
from limen.kernels.call import Prepared
from limen.kernels.layout import Plan, as_parameter, values_of
from limen.kernels.normed import SCALE, SHIFT
from limen.kernels.remade import remade

OTHER = "other(x)"
"""What is added is called among the inputs; no parameter can have such a name."""


class Summed(NamedTuple):
    """What of a norm, a sum and an activation is fixed for one call."""

    bound: BoundFormula
    """The formula with statistics, of SCALE, SHIFT and the activation's parameters, with OTHER beside x."""
    plan: Plan
    """Of channels, each of a row of every sample."""
    plainly: Callable[..., Tensor]
    """The same on torch's operators, of x, what is added, weight and bias, the activation's tensors."""
    affine: int
    """How many of the tensors are weight and bias: 2 or none."""


def record(norm: Summed, inputs: Sequence[Tensor], affine: Sequence[Tensor], own: Sequence[Tensor]) -> Any:
    """The result, recorded, and mean and deviation of each channel; the inputs are contiguous."""
    y, statistics = _apply(norm, *inputs, *affine, *own)
    if norm.bound.memory == "exact" or not y.requires_grad:
        return y, statistics
    return remade(y, lambda *given: _results(norm, given)[0], (*inputs, *affine, *own)), statistics


def _results(norm: Summed, tensors: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    return calls.run_forward_several(_prepared(norm, tensors))


class _Recorded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, norm: Summed, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        y, statistics = _results(norm, tensors)
        assert statistics is not None
        ctx.settled = norm
        ctx.save_for_backward(statistics, *tensors)
        ctx.mark_non_differentiable(statistics)
        return y, statistics

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        """By kernels, or by torch's operators where the gradient is differentiated."""
        g, norm = gradients[0], ctx.settled
        statistics, *tensors = ctx.saved_tensors
        wanted = ctx.needs_input_grad[1:]
        if torch.is_grad_enabled() or not is_ordinary(g):
            found = by_autograd(norm.plainly, tensors, g, wanted)
        else:
            found = _by_kernel(norm, g, statistics, tensors, wanted)
        return None, *(gradient if want else None for gradient, want in zip(found, wanted, strict=True))


def _prepared(norm: Summed, tensors: Sequence[Tensor]) -> Prepared:
    inputs, rest = _parted(norm, tensors)
    x, *beside = (tensor.contiguous() for tensor in inputs)  # a hook on saved tensors may have laid them out anew
    channels = norm.plan.channels
    if not norm.affine:
        rest = [torch.ones(channels, device="cpu"), torch.zeros(channels, device="cpu"), *rest]
    values = values_of(x, rest, channels)
    assert values is not None  # asked of all tensors before
    return Prepared(norm.bound, x, values, norm.plan, None, beside, norm.plan.inner)


def _parted(norm: Summed, tensors: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """The inputs, and everything else."""
    count = 1 + len(norm.bound.beside)
    return tensors[:count], tensors[count:]


def _by_kernel(
    norm: Summed,
    g: Tensor,
    statistics: Tensor,
    tensors: Sequence[Tensor],
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    given = _prepared(norm, tensors)
    inputs, rest = _parted(norm, tensors)
    asked = _parted(norm, wanted)[1]  # type: ignore[arg-type]
    names = norm.bound.parameters[2 - norm.affine :]
    of_affine = (SCALE, SHIFT) if norm.affine else ()
    chosen = (*of_affine, *(name for name, want in zip(names, asked, strict=True) if want and name not in of_affine))
    into = [torch.empty_like(given.x) for _ in inputs]
    sums = calls.run_backward_several(given, g.contiguous().resolve_neg(), statistics, chosen, into, norm.plan.inner)
    rows = dict(zip(chosen, sums.unbind(), strict=True))
    of_rest = [as_parameter(rows[name], p) if name in rows else None for name, p in zip(names, rest, strict=True)]
    return [*into, *of_rest]


# Past functorch's wrappers, as in ``autograd``.
_apply: Any = super(torch.autograd.Function, _Recorded).apply
