"""The Triton path: a formula's kernels on a GPU, or on CPU tensors in Triton's interpreter.

The kernels are launched on the tensor's device and its current stream. Nothing waits for the device, and all memory
comes from torch's allocator, so that a call can be captured in a CUDA graph once its kernels have run before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from limen.kernels import eager, plain, triton_launch
from limen.kernels.bound import BoundFormula
from limen.kernels.build import NoCompilerError
from limen.kernels.layout import Plan, planned, values_of
from limen.kernels.noise import new_seed
from limen.kernels.triton_calls import Call, backward_calls, forward_calls, spread_calls, visit_calls
from limen.kernels.triton_launch import Launch, device_of


def evaluate(bound: BoundFormula, x: Tensor, parameters: Sequence[Tensor], channel_dim: int) -> Tensor:
    """Run the formula's kernels, recording them for autograd if anything requires a gradient."""
    seed = new_seed(x.device) if bound.noise else None
    if torch.is_grad_enabled() and (x.requires_grad or any(parameter.requires_grad for parameter in parameters)):
        result: Tensor = _OnDevice.apply(bound, channel_dim, seed, x, *parameters)  # type: ignore[no-untyped-call]
        return result
    return forward(bound, x, parameters, channel_dim, seed)[0]


def forward(
    bound: BoundFormula, x: Tensor, parameters: Sequence[Tensor], channel_dim: int, seed: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """The result, and the statistics of each sample if the formula takes any."""
    walked, plan = planned(bound, x, parameters, channel_dim)
    if plan is not None:
        try:
            return run_forward(bound, walked, values_of(x, parameters, plan.channels), plan, seed)
        except NoCompilerError as error:
            eager.say_once(bound, error)
    return plain.evaluate(bound, x, parameters, channel_dim, seed), None


class _OnDevice(torch.autograd.Function):
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
        return eager.differentiate(ctx, gradients[0], run_backward)


def run_forward(
    bound: BoundFormula, x: Tensor, values: Sequence[Tensor], plan: Plan, seed: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """The result, laid out as ``x``, and the statistics of each sample if the formula takes any.

    ``x`` is dense; ``values`` are float32, contiguous, with as many values as the plan has channels.
    """
    y = torch.empty_like(x)
    statistics = x.new_empty((plan.outer, 2), dtype=torch.float32) if plan.layout == "sample" else None
    _run(x, forward_calls(bound, x, y, statistics, values, plan, seed, device_of(x)))
    return y, statistics


def run_backward(
    bound: BoundFormula,
    g: Tensor,
    x: Tensor,
    values: Sequence[Tensor],
    plan: Plan,
    statistics: Tensor | None,
    seed: Tensor | None,
    wanted: tuple[str, ...],
) -> tuple[Tensor, Tensor]:
    """The gradient of ``x``, and those of the wanted parameters as (wanted, channels) in float32.

    ``g`` is laid out as ``x``.
    """
    gx = torch.empty_like(x)
    device = device_of(x)
    if statistics is None:
        launch = triton_launch.elementwise(plan, device, x.element_size(), backward=True)
        partial = x.new_empty(_partial_shape(plan, launch, len(wanted)), dtype=torch.float32)
        _run(x, backward_calls(bound, g, x, gx, partial, values, plan, seed, wanted, launch))
        sums = partial.sum(0)
        return gx, sums if plan.layout == "lane" else sums.t()
    all_rows = plan.outer * plan.rows
    visit = triton_launch.one_visit(plan, device, x.element_size(), backward=True)
    if visit is not None:
        partial = x.new_empty((all_rows, 1, len(wanted)), dtype=torch.float32)
        _run(x, visit_calls(bound, g, x, gx, partial, statistics, values, plan, seed, wanted, visit))
        return gx, _by_channel(partial, plan)
    launch = triton_launch.spread(plan, device, x.element_size(), backward=True)
    partial = x.new_empty((all_rows, launch.parts, 2 + len(wanted)), dtype=torch.float32)
    sums_call, result_call = spread_calls(bound, g, x, gx, partial, statistics, values, plan, seed, wanted, launch)
    _run(x, [sums_call])
    pulls = partial[:, :, :2].reshape(plan.outer, -1, 2).sum(1)
    _run(x, [result_call(pulls)])
    return gx, _by_channel(partial[:, :, 2:], plan)


def _partial_shape(plan: Plan, launch: Launch, sums: int) -> tuple[int, ...]:
    """Who sums what: each program for all, for its channel, or for its block of channels."""
    if plan.layout == "shared":
        return launch.programs, 1, sums
    if plan.layout == "row":
        return launch.parts, plan.channels, sums
    return launch.parts, sums, plan.channels


def _by_channel(partial: Tensor, plan: Plan) -> Tensor:
    """Sums of each row, (rows, parts, sums), as those of each channel, (sums, channels)."""
    repeats = partial.shape[0] // (plan.channels * plan.every)
    by_channel = partial.reshape(repeats, plan.channels, plan.every, *partial.shape[1:])
    return by_channel.sum((0, 2, 3)).t()


def _run(x: Tensor, calls: Sequence[Call]) -> None:
    """Launch the calls on the device of ``x``.

    Raises:
        NoCompilerError: if Triton cannot compile a kernel, or the device cannot hold it.
    """
    from triton.errors import TritonError

    try:
        with _on_device_of(x):
            for call in calls:
                call.run()
    except TritonError as error:
        raise NoCompilerError(f"Triton cannot run it on {x.device}: {error}") from error


def _on_device_of(x: Tensor) -> contextlib.AbstractContextManager[Any]:
    """Triton launches on the current device, whatever device its arguments are on."""
    if x.is_cpu:
        import numpy as np

        return np.errstate(all="ignore")  # the interpreter's arithmetic is NumPy's, which would warn of every NaN
    guard: contextlib.AbstractContextManager[Any] = torch.get_device_module(x.device).device(x.device)
    return guard
