"""A batch norm and an activation as one recorded step. Kept: the norm's input, its statistics, the parameters."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from limen.kernels.autograd import by_autograd, is_ordinary
from limen.kernels.bound import BoundFormula
from limen.kernels.c import calls, normed
from limen.kernels.call import Prepared
from limen.kernels.layout import Plan, are_alike, as_parameter, is_dense, laid_out_as, plan_elementwise, values_of
from limen.kernels.remade import remade

MEAN, SCALE, SHIFT = "mean of norm", "scale of norm", "shift of norm"
"""What the norm's part of a formula is called; no parameter can have such names."""


class Norm(NamedTuple):
    """What of a norm is fixed for one call."""

    bound: BoundFormula
    """The formula of (x − MEAN)·SCALE + SHIFT, with the activation's parameters after these."""
    learning: bool
    """Whether the statistics are the batch's own."""
    plainly: Callable[..., Tensor]
    """The same on torch's operators, of the recorded tensors."""


def plan_channels(x: Tensor) -> tuple[Tensor, Plan]:
    """The input without gaps, and how its channels, on axis 1, are walked."""
    x = x if is_dense(x) else x.clone()
    plan = plan_elementwise(x, x.shape[1], 1)
    return x, Plan("row", 1, 1, x.numel()) if plan.layout == "shared" else plan


def record(
    norm: Norm, x: Tensor, mean: Tensor, inverse: Tensor, affine: Sequence[Tensor], own: Sequence[Tensor]
) -> Any:
    """The result, recorded where a tensor requires a gradient.

    ``affine`` are weight and bias, or nothing; ``own`` the activation's parameters.
    """
    y = _apply(norm, len(affine), x, mean, inverse, *affine, *own)
    if norm.bound.memory == "exact" or not y.requires_grad:
        return y
    return remade(y, functools.partial(_result, norm, len(affine)), (x, mean, inverse, *affine, *own))


def _result(norm: Norm, affine: int, x: Tensor, mean: Tensor, inverse: Tensor, *tensors: Tensor) -> Tensor:
    given = _prepared(norm, x, mean, inverse, tensors[:affine], tensors[affine:])
    return laid_out_as(x, calls.run_forward(given)[0])


class _Recorded(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, norm: Norm, affine: int, x: Tensor, mean: Tensor, inverse: Tensor, *tensors: Tensor
    ) -> Tensor:
        ctx.settled = norm, affine
        ctx.save_for_backward(x, mean, inverse, *tensors)
        return _result(norm, affine, x, mean, inverse, *tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        """By kernels, or by torch's operators where the gradient is differentiated."""
        (g,) = gradients
        norm, affine = ctx.settled
        x, mean, inverse, *tensors = ctx.saved_tensors
        wanted = (ctx.needs_input_grad[2], *ctx.needs_input_grad[5:])
        if torch.is_grad_enabled() or not is_ordinary(g):
            gx, *rest = by_autograd(functools.partial(norm.plainly, mean, inverse), (x, *tensors), g, wanted)
        else:
            gx, *rest = _by_kernels(norm, g, x, mean, inverse, tensors[:affine], tensors[affine:], wanted[1 + affine :])
        found = [gradient if want else None for gradient, want in zip([gx, *rest], wanted, strict=True)]
        return None, None, found[0], None, None, *found[1:]


def _prepared(
    norm: Norm, x: Tensor, mean: Tensor, inverse: Tensor, affine: Sequence[Tensor], own: Sequence[Tensor]
) -> Prepared:
    walked, plan = plan_channels(x)
    weight, bias = affine or (torch.ones_like(mean), torch.zeros_like(mean))
    values = values_of(x, [mean, inverse * weight.detach(), bias, *own], plan.channels)
    assert values is not None  # asked of all tensors before
    return Prepared(norm.bound, walked, values, plan, None)


def _by_kernels(
    norm: Norm,
    g: Tensor,
    x: Tensor,
    mean: Tensor,
    inverse: Tensor,
    affine: Sequence[Tensor],
    own: Sequence[Tensor],
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    given = _prepared(norm, x, mean, inverse, affine, own)
    like = given.x
    if not are_alike(g, like) or g.is_neg():
        g = torch.empty_like(like).copy_(g)
    names = [name for name, want in zip(norm.bound.parameters[3:], wanted, strict=True) if want]
    gx, sums = calls.run_backward(given, g, None, (SCALE, SHIFT, *names))
    by_scale, by_shift, *rows = sums.unbind()
    if norm.learning:
        scale, count = given.values[1], x.numel() // x.shape[1]
        level = by_shift * scale / -count
        tilt = by_scale * inverse * inverse * scale / -count
        normed.add_tilt_(gx, like, given.plan, mean, level, tilt)
    found = iter(rows)
    of_own = [as_parameter(next(found), p) if want else None for p, want in zip(own, wanted, strict=True)]
    of_affine = [as_parameter(of, p) for of, p in zip((by_scale * inverse, by_shift), affine, strict=False)]
    return [laid_out_as(x, gx), *of_affine, *of_own]


class Sampled(NamedTuple):
    """What of a norm by statistics of pieces of its input, each walked at once, is fixed for one call."""

    bound: BoundFormula
    """The formula with statistics, of SCALE, SHIFT and the activation's parameters."""
    plan: Plan
    plainly: Callable[..., Tensor]
    """The same on torch's operators, of the recorded tensors."""
    affine: tuple[str, ...]
    """Which parameters the norm has."""


def record_sampled(norm: Sampled, x: Tensor, affine: Sequence[Tensor], own: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The result, recorded, and mean and deviation of each piece; ``x`` is contiguous."""
    y, statistics = _apply_sampled(norm, len(affine), x, *affine, *own)
    if norm.bound.memory == "exact" or not y.requires_grad:
        return y, statistics
    return remade(y, lambda *given: _results_sampled(norm, len(affine), *given)[0], (x, *affine, *own)), statistics


def _results_sampled(norm: Sampled, affine: int, x: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor | None]:
    run = calls.run_forward_several if norm.plan.layout == "channel" else calls.run_forward
    return run(_prepared_sampled(norm, x, tensors[:affine], tensors[affine:]))


class _RecordedSampled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, norm: Sampled, affine: int, x: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        y, statistics = _results_sampled(norm, affine, x, *tensors)
        assert statistics is not None
        ctx.settled = norm, affine
        ctx.save_for_backward(x, statistics, *tensors)
        ctx.mark_non_differentiable(statistics)
        return y, statistics

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        """By kernels, or by torch's operators where the gradient is differentiated."""
        g = gradients[0]
        norm, affine = ctx.settled
        x, statistics, *tensors = ctx.saved_tensors
        wanted = ctx.needs_input_grad[2:]
        if torch.is_grad_enabled() or not is_ordinary(g):
            found = by_autograd(norm.plainly, (x, *tensors), g, wanted)
        else:
            found = _by_sampled(norm, g, x, statistics, tensors[:affine], tensors[affine:], wanted[1 + affine :])
        return None, None, *(gradient if want else None for gradient, want in zip(found, wanted, strict=True))


def _prepared_sampled(norm: Sampled, x: Tensor, affine: Sequence[Tensor], own: Sequence[Tensor]) -> Prepared:
    channels, single = norm.plan.channels, len(own) if norm.bound.single else 0
    there = dict(zip(norm.affine, affine, strict=True))
    parts = [
        there[name] if name in there else torch.full((channels,), float(name == SCALE), device="cpu")
        for name in norm.bound.parameters[: len(norm.bound.parameters) - len(own)]
    ]
    values = values_of(x, [*parts, *own[single:]], channels)
    alone = values_of(x, own[:single], 1)
    assert values is not None  # asked of all tensors before
    assert alone is not None
    values += alone
    return Prepared(norm.bound, x.contiguous(), values, norm.plan, None, (), norm.plan.inner)


def _by_sampled(
    norm: Sampled,
    g: Tensor,
    x: Tensor,
    statistics: Tensor,
    affine: Sequence[Tensor],
    own: Sequence[Tensor],
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    given, g = _prepared_sampled(norm, x, affine, own), g.contiguous().resolve_neg()
    of_own = norm.bound.parameters[len(norm.bound.parameters) - len(own) :]
    names = (*norm.affine, *(name for name, want in zip(of_own, wanted, strict=True) if want))
    if norm.plan.layout == "channel":
        gx = torch.empty_like(given.x)
        sums = calls.run_backward_several(given, g, statistics, names, (gx,), norm.plan.inner)
    else:
        gx, sums = calls.run_backward(given, g, statistics, names)
    rows = iter(sums.unbind())
    by_affine = [as_parameter(next(rows), p) for p in affine]
    return [
        gx,
        *by_affine,
        *(as_parameter(next(rows), p) if want else None for p, want in zip(own, wanted, strict=True)),
    ]


# Past functorch's wrappers, as in ``autograd``.
_apply: Any = super(torch.autograd.Function, _Recorded).apply
_apply_sampled: Any = super(torch.autograd.Function, _RecordedSampled).apply
