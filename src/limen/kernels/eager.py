"""The C path in eager mode: tensors in, tensors out, with gradients.

Saved for the backward pass: the input, the parameters, two numbers a sample for formulas with statistics, and the seed
of the noise. Second derivatives run on the plain formula.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from limen.kernels import c, few, plain
from limen.kernels.bound import BoundFormula
from limen.kernels.build import NoCompilerError
from limen.kernels.layout import as_parameter, is_plain, planned, values_of
from limen.kernels.noise import new_seed
from limen.kernels.plain import softmax, spread

RunBackward = Callable[..., tuple[Tensor, Tensor]]
run_backward = c.run_backward


def record(bound: BoundFormula, x: Tensor, parameters: Sequence[Tensor], channel_dim: int) -> Tensor:
    """Run the compiled formula, recorded by autograd; logits may stand in the place of the weights."""
    seed = new_seed() if bound.noise else None
    result: Tensor = _apply(bound, channel_dim, seed, x, *parameters)
    return result


def requires_grad(x: Tensor, parameters: Sequence[Tensor]) -> bool:
    """Whether any of the tensors requires a gradient."""
    if x.requires_grad:
        return True
    for parameter in parameters:  # noqa: SIM110  # any() costs a generator, a fifth of a small call
        if parameter.requires_grad:
            return True
    return False


def forward(
    bound: BoundFormula, x: Tensor, parameters: Sequence[Tensor], channel_dim: int, seed: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """The result, and the statistics of each sample if the formula takes any."""
    short = bound.few.get(x.dtype)
    if short is not None and x.numel() < c.SERIAL_BELOW:
        statistics = torch.empty(len(x), 2, dtype=torch.float32, device="cpu") if bound.contexts and x.ndim else None
        if (y := short(x, parameters, statistics)) is not None:
            return y, statistics
    return generally(bound, x, parameters, channel_dim, seed)


def generally(
    bound: BoundFormula, x: Tensor, parameters: Sequence[Tensor], channel_dim: int, seed: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """:func:`forward` for inputs of any size, layout and parameters."""
    parameters = spread(bound, parameters)
    if not is_plain(x):
        return plain.evaluate(bound, x, parameters, channel_dim, seed), None
    try:
        if x.dtype not in bound.few and few.suits(bound):
            bound.few[x.dtype] = few.short_call(bound, x.dtype)
        walked, plan = planned(bound, x, parameters, channel_dim)
        if plan is not None:
            return c.run_forward(bound, walked, values_of(x, parameters, plan.channels), plan, seed)
    except NoCompilerError as error:
        say_once(bound, error)
    return plain.evaluate(bound, x, parameters, channel_dim, seed), None


def backward(
    bound: BoundFormula,
    g: Tensor,
    x: Tensor,
    parameters: Sequence[Tensor],
    channel_dim: int,
    statistics: Tensor | None,
    seed: Tensor | None,
    wanted: Sequence[bool],
    run: RunBackward = c.run_backward,
) -> tuple[Tensor, list[Tensor | None]]:
    """The gradients of the input and of each wanted parameter, in their own types and shapes, by ``run``."""
    weights, values, wanted_values = None, parameters, wanted
    if len(parameters) < len(bound.parameters):
        weights = softmax(parameters[0])
        values = [*weights.unbind(), *parameters[1:]]
        wanted_values = [*[wanted[0]] * bound.weights, *wanted[1:]]
    walked, plan = planned(bound, x, values, channel_dim) if is_plain(x) else (x, None)
    if plan is not None and (statistics is None) == (plan.layout != "sample"):
        names = tuple([name for name, want in zip(bound.parameters, wanted_values, strict=True) if want])
        if g.stride() != walked.stride():
            g = torch.empty_like(walked).copy_(g)
        try:
            gx, sums = run(bound, g, walked, values_of(x, values, plan.channels), plan, statistics, seed, names)
        except NoCompilerError as error:
            say_once(bound, error)
        else:
            if weights is None:
                return gx, _by_parameter(sums, parameters, wanted)
            by_weight, sums = torch.split_with_sizes(sums, (len(names) - sum(wanted[1:]), sum(wanted[1:])))
            of_logits = _of_logits(by_weight, weights, parameters[0]) if wanted[0] else None
            return gx, [of_logits, *_by_parameter(sums, parameters[1:], wanted[1:])]
    gx_plain, *rest = by_plain(bound, g, x, parameters, channel_dim, seed, [True, *wanted])
    assert gx_plain is not None
    return gx_plain, rest


def _by_parameter(sums: Tensor, parameters: Sequence[Tensor], wanted: Sequence[bool]) -> list[Tensor | None]:
    """The gradients of the wanted parameters, one row of the sums each."""
    rows = iter(sums.unbind())
    return [as_parameter(next(rows), p) if want else None for p, want in zip(parameters, wanted, strict=True)]


def _of_logits(by_weight: Tensor, weights: Tensor, logits: Tensor) -> Tensor:
    """The gradient of logits from those of the weights that are their softmax, (weights, channels)."""
    by_weight = by_weight.sum(1, dtype=weights.dtype)
    return as_parameter(torch._softmax_backward_data(by_weight, weights, -1, weights.dtype), logits)


_said: set[str] = set()


def say_once(bound: BoundFormula, error: NoCompilerError) -> None:
    """The compiler works, but not for this kernel or not any more."""
    if bound.name not in _said:
        _said.add(bound.name)
        warnings.warn(f"{bound.name} runs on torch's operators, without a kernel: {error}", stacklevel=4)


class _Compiled(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, bound: BoundFormula, channel_dim: int, seed: Tensor | None, x: Tensor, *parameters: Tensor
    ) -> Tensor:
        y, statistics = forward(bound, x, parameters, channel_dim, seed)
        ctx.bound, ctx.channel_dim = bound, channel_dim
        ctx.save_for_backward(x, statistics, seed, *parameters)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        return differentiate(ctx, gradients[0], c.run_backward)


def differentiate(ctx: Any, g: Tensor, run: RunBackward) -> tuple[Any, ...]:
    """What a recorded call hands on: by ``run``, or by the plain formula where the gradient is differentiated."""
    x, statistics, seed, *parameters = ctx.saved_tensors
    wants_x, *wanted = ctx.needs_input_grad[3:]
    if torch.is_grad_enabled() or not _has_memory(g):
        found = by_plain(ctx.bound, g, x, parameters, ctx.channel_dim, seed, [wants_x, *wanted])
        return None, None, None, *found
    gx, by_parameter = backward(ctx.bound, g, x, parameters, ctx.channel_dim, statistics, seed, wanted, run)
    return None, None, None, gx if wants_x else None, *by_parameter


def _has_memory(g: Tensor) -> bool:
    """Whether a gradient is an ordinary tensor, and not a batch of them that stands for one."""
    ordinary: bool = torch._C._has_storage(g)
    return ordinary and torch._C._functorch.peek_interpreter_stack() is None


# Function.apply looks for functorch's wrappers first, which dispatch has ruled out: two microseconds of a small call.
_apply: Any = super(torch.autograd.Function, _Compiled).apply


def by_plain(
    bound: BoundFormula,
    g: Tensor,
    x: Tensor,
    parameters: Sequence[Tensor],
    channel_dim: int,
    seed: Tensor | None,
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    """The gradients of the input and the parameters by autograd on the plain formula.

    They are differentiable themselves if gradients are being recorded.
    """
    recording = torch.is_grad_enabled()
    with torch.enable_grad():
        # Aliases, because the path from x back to the same parameters is not this call's to follow.
        leaves = [tensor.view_as(tensor) for tensor in (x, *parameters)]
        if not recording:
            leaves = [leaf.detach().requires_grad_(want) for leaf, want in zip(leaves, wanted, strict=True)]
        asked = [index for index, want in enumerate(wanted) if want]
        y = plain.evaluate(bound, leaves[0], leaves[1:], channel_dim, seed)
        found = torch.autograd.grad(y, [leaves[i] for i in asked], g, create_graph=recording, allow_unused=True)
    results: list[Tensor | None] = [None] * len(leaves)
    for index, gradient in zip(asked, found, strict=True):
        results[index] = gradient
    return results
