"""The C path in eager mode: tensors in, tensors out, with gradients.

Saved for the backward pass: the input, the parameters, two numbers a sample for formulas with statistics, and the seed
of the noise. Second derivatives run on the plain formula.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from limen.errors import LimenError
from limen.kernels import c, plain
from limen.kernels.bound import BoundFormula
from limen.kernels.build import NoCompilerError
from limen.kernels.c import SERIAL_BELOW, Plan
from limen.kernels.noise import new_seed


def evaluate(bound: BoundFormula, x: Tensor, parameters: Sequence[Tensor], channel_dim: int) -> Tensor:
    """Run the compiled formula, recording it for autograd if anything requires a gradient."""
    if not torch.is_grad_enabled() and (y := _forward_few(bound, x, parameters)) is not None:
        return y
    seed = new_seed() if bound.noise else None
    if torch.is_grad_enabled() and _requires_grad(x, parameters):
        result: Tensor = _apply(bound, channel_dim, seed, x, *parameters)
        return result
    return forward(bound, x, parameters, channel_dim, seed)[0]


def _requires_grad(x: Tensor, parameters: Sequence[Tensor]) -> bool:
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
    y = _forward_few(bound, x, parameters)
    if y is not None:
        return y, None
    if bound.prepared and (found := _forward_prepared(bound, x, parameters)) is not None:
        return found
    try:
        if bound.simple and x.dtype not in bound.few:
            bound.few[x.dtype] = c.few_function(bound, x.dtype)
        walked, plan = planned(bound, x, parameters, channel_dim)
        if plan is not None:
            if plan.layout == "sample" and plan.channels == 1 and seed is None and walked is x:
                _remember(bound, x, plan)
            return c.run_forward(bound, walked, _values(parameters, plan.channels), plan, seed)
    except NoCompilerError as error:
        _say_once(bound, error)
    return plain.evaluate(bound, x, parameters, channel_dim, seed), None


def _forward_few(bound: BoundFormula, x: Tensor, parameters: Sequence[Tensor]) -> Tensor | None:
    """The result for a small contiguous input with shared float32 parameters, by the shortest way; else None."""
    elements = x.numel()
    function = bound.few.get(x.dtype)
    if function is None or elements >= SERIAL_BELOW or not x.is_contiguous():
        return None
    pointers = _pointers(parameters)
    if pointers is None:
        return None
    y = torch.empty_like(x)
    function(x.data_ptr(), y.data_ptr(), elements, *pointers)
    return y


def _pointers(parameters: Sequence[Tensor]) -> list[int] | None:
    """Where float32 parameters of one value each are; None if some are of another kind."""
    pointers = []
    for parameter in parameters:
        if parameter.dtype is not torch.float32 or parameter.numel() != 1 or not parameter.is_cpu:
            return None
        pointers.append(parameter.data_ptr())
    return pointers


PREPARED_SHAPES = 64
"""Shapes that are remembered for a formula; from then on it starts anew, as inputs of ever new sizes would fill it."""


def _remember(bound: BoundFormula, x: Tensor, plan: Plan) -> None:
    if len(bound.prepared) >= PREPARED_SHAPES:
        bound.prepared.clear()
    bound.prepared[x.shape, x.stride(), x.dtype] = c.prepare(bound, x, plan)


def _forward_prepared(
    bound: BoundFormula, x: Tensor, parameters: Sequence[Tensor]
) -> tuple[Tensor, Tensor | None] | None:
    """The result for an input of a shape that has been seen, with shared float32 parameters; else None."""
    call = bound.prepared.get((x.shape, x.stride(), x.dtype))
    pointers = None if call is None else _pointers(parameters)
    if call is None or pointers is None:
        return None
    found: tuple[Tensor, Tensor | None] = call(x, pointers)
    return found


def backward(
    bound: BoundFormula,
    g: Tensor,
    x: Tensor,
    parameters: Sequence[Tensor],
    channel_dim: int,
    statistics: Tensor | None,
    seed: Tensor | None,
    wanted: Sequence[bool],
) -> tuple[Tensor, list[Tensor | None]]:
    """The gradients of the input and of each wanted parameter, in their own types and shapes."""
    walked, plan = planned(bound, x, parameters, channel_dim)
    if plan is not None and (statistics is None) == (plan.layout != "sample"):
        names = tuple([name for name, want in zip(bound.parameters, wanted, strict=True) if want])
        if g.stride() != walked.stride():
            g = torch.empty_like(walked).copy_(g)
        values = _values(parameters, plan.channels)
        try:
            gx, sums = c.run_backward(bound, g, walked, values, plan, statistics, seed, names)
        except NoCompilerError as error:
            _say_once(bound, error)
        else:
            rows = iter(sums.unbind(0))
            return gx, [
                _as_parameter(next(rows), parameter) if want else None
                for parameter, want in zip(parameters, wanted, strict=True)
            ]
    gx_plain, *rest = by_plain(bound, g, x, parameters, channel_dim, seed, [True, *wanted])
    assert gx_plain is not None
    return gx_plain, rest


_said: set[str] = set()


def _say_once(bound: BoundFormula, error: NoCompilerError) -> None:
    """The compiler works, but not for this kernel or not any more."""
    if bound.name not in _said:
        _said.add(bound.name)
        warnings.warn(f"{bound.name} runs on torch's operators, without a kernel: {error}", stacklevel=4)


def planned(
    bound: BoundFormula, x: Tensor, parameters: Sequence[Tensor], channel_dim: int
) -> tuple[Tensor, Plan | None]:
    """The input, made dense if it has to be, and how to walk it; no plan where only the plain path can."""
    channels = max((p.numel() for p in parameters), default=1)
    for parameter in parameters:
        if parameter.numel() != 1:
            plain.check_channels(parameter.numel(), x, channel_dim)
    if not bound.contexts:
        x = x if c.is_dense(x) else x.contiguous()
        return x, c.plan_elementwise(x, channels, channel_dim)
    (context,) = bound.contexts
    axes = context.axes(tuple(x.shape))
    if not axes:
        axes = (x.ndim,)  # samples of one element
        x = x.contiguous()
        return x, c.plan_samples(x.unsqueeze(-1), channels, channel_dim % x.ndim, axes)
    whole_samples = axes == tuple(range(1, x.ndim))
    if channels == 1 and whole_samples and c.is_dense(x) and x.stride(0) == max(x.stride()):
        return x, Plan("sample", x.shape[0], 1, x.numel() // x.shape[0])  # any order within a sample will do
    x = x.contiguous()
    return x, c.plan_samples(x, channels, channel_dim, axes)


def _values(parameters: Sequence[Tensor], channels: int) -> list[Tensor]:
    """The parameters as the kernels read them: float32, contiguous, one value a channel."""
    values = []
    for parameter in parameters:
        value = parameter.detach()
        if not value.is_cpu:
            raise LimenError(
                f"the input is on cpu and the activation's parameters are on {value.device}; move one to the other."
            )
        if value.dtype != torch.float32:
            value = value.float()
        if value.numel() != channels:
            value = value.reshape(1).expand(channels)
        values.append(value if value.is_contiguous() else value.contiguous())
    return values


def _as_parameter(gradient: Tensor, parameter: Tensor) -> Tensor:
    """The gradient of a parameter from that of its values; a shared one among others a channel sums over them."""
    if parameter.numel() == 1 and gradient.numel() > 1:
        gradient = gradient.sum()
    return gradient.reshape(parameter.shape).to(parameter.dtype)


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
        (g,) = gradients
        x, statistics, seed, *parameters = ctx.saved_tensors
        wants_x, *wanted = ctx.needs_input_grad[3:]
        if torch.is_grad_enabled() or not _has_memory(g):
            found = by_plain(ctx.bound, g, x, parameters, ctx.channel_dim, seed, [wants_x, *wanted])
            return None, None, None, *found
        gx, by_parameter = backward(ctx.bound, g, x, parameters, ctx.channel_dim, statistics, seed, wanted)
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
