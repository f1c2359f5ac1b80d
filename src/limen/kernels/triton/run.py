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

from limen.kernels import autograd
from limen.kernels.bound import BoundFormula
from limen.kernels.call import Call, Prepared
from limen.kernels.errors import NoKernelError
from limen.kernels.layout import Plan
from limen.kernels.triton import launch
from limen.kernels.triton.calls import Backward, KernelCall, backward_calls, forward_calls, spread_calls, visit_calls
from limen.kernels.triton.launch import Launch, device_of


def forward(
    bound: BoundFormula, x: Tensor, parameters: Sequence[Tensor], channel_dim: int, seed: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """The result, and the statistics of each sample if the formula takes any."""
    return autograd.forward(_run_forward, Call(bound, x, parameters, channel_dim, seed))


def _run_forward(given: Prepared) -> tuple[Tensor, Tensor | None]:
    x, plan = given.x, given.plan
    y = torch.empty_like(x)
    statistics = x.new_empty((plan.outer, 2), dtype=torch.float32) if plan.layout == "sample" else None
    _run(x, forward_calls(given, y, statistics, device_of(x)))
    return y, statistics


def run_backward(
    given: Prepared, g: Tensor, statistics: Tensor | None, wanted: tuple[str, ...]
) -> tuple[Tensor, Tensor]:
    """The gradient of ``x``, and those of the wanted parameters as (wanted, channels) in float32.

    ``g`` is laid out as ``x``.
    """
    gx = torch.empty_like(given.x)
    return gx, _backward_into(given, g, statistics, wanted, (gx,), ())


def run_forward_several(given: Prepared) -> tuple[Tensor, Tensor | None]:
    """The same as forward, of a prepared call of a formula of several inputs; the result lies densely."""
    return _run_forward(_without_gaps(given))


def run_backward_several(
    given: Prepared, g: Tensor, statistics: Tensor | None, wanted: tuple[str, ...], into: Sequence[Tensor], pitch: int
) -> Tensor:
    """The gradients of the wanted parameters; those of all inputs go ``into`` tensors, with rows ``pitch`` apart."""
    if statistics is None or pitch == given.plan.inner:
        ready = _without_gaps(given)
        return _backward_into(ready, g, statistics, wanted, into, (ready.pitch, pitch))
    dense = [torch.empty_like(given.x) for _ in into]
    ready = _without_gaps(given)
    sums = _backward_into(ready, g, statistics, wanted, dense, (ready.pitch, ready.plan.inner))
    for place, gradient in zip(into, dense, strict=True):
        place.copy_(gradient)
    return sums


def _without_gaps(given: Prepared) -> Prepared:
    """The call with samples that are each one piece of memory, as the kernels of samples take them."""
    plan = given.plan
    if plan.layout != "sample" or given.pitch == plan.inner:
        return given
    x, *beside = (tensor.contiguous() for tensor in (given.x, *given.beside))
    return given._replace(x=x, beside=beside, pitch=plan.inner)


def _backward_into(
    given: Prepared,
    g: Tensor,
    statistics: Tensor | None,
    wanted: tuple[str, ...],
    into: Sequence[Tensor],
    pitches: tuple[int, ...],
) -> Tensor:
    """The gradients of the wanted parameters; that of the input goes into the first tensor, others beside it after."""
    x, plan, device = given.x, given.plan, device_of(given.x)
    gx, *beside = into

    def writing(*partial: int) -> Backward:
        sums = x.new_empty(partial, dtype=torch.float32)
        return Backward(given, g, gx, sums, statistics, wanted, tuple(beside), pitches)

    if statistics is None:
        shape = launch.elementwise(plan, device, x.element_size(), backward=True)
        back = writing(*_partial_shape(plan, shape, len(wanted)))
        _run(x, backward_calls(back, shape))
        return _by_channel(back.partial, plan)
    all_rows = plan.outer * plan.rows
    visit = launch.one_visit(plan, device, x.element_size(), backward=True)
    if visit is not None:
        back = writing(all_rows, 1, len(wanted))
        _run(x, visit_calls(back, visit))
        return _of_rows(back.partial, plan)
    shape = launch.spread(plan, device, x.element_size(), backward=True)
    back = writing(all_rows, shape.parts, 2 + len(wanted))
    sums_call, result_call = spread_calls(back, shape)
    _run(x, [sums_call])
    pulls = back.partial[:, :, :2].reshape(plan.outer, -1, 2).sum(1)
    _run(x, [result_call(pulls)])
    return _of_rows(back.partial[:, :, 2:], plan)


def _partial_shape(plan: Plan, shape: Launch, sums: int) -> tuple[int, ...]:
    """Who sums what: each program for all, for its channel, or for its block of channels."""
    if plan.layout == "shared":
        return shape.programs, 1, sums
    if plan.layout == "row":
        return shape.parts, plan.channels, sums
    return shape.parts, sums, plan.channels


def _by_channel(partial: Tensor, plan: Plan) -> Tensor:
    """What programs have summed, in the shape of :func:`_partial_shape`, as (sums, channels)."""
    return partial.sum(0) if plan.layout == "lane" else _transposed_sums(partial, 1)


def _of_rows(partial: Tensor, plan: Plan) -> Tensor:
    """Sums of each row, (rows, parts, sums), as those of each channel, (sums, channels)."""
    repeats = partial.shape[0] // (plan.channels * plan.every)
    by_channel = partial.reshape(repeats, plan.channels, plan.every, *partial.shape[1:])
    return _transposed_sums(by_channel, 1)


def _transposed_sums(partial: Tensor, channels: int) -> Tensor:
    """The sums over all axes but that of the channels and the last, which comes first, also in memory."""
    sums = partial.new_empty((partial.shape[-1], partial.shape[channels]))
    over = [axis for axis in range(partial.ndim - 1) if axis != channels]
    return torch.sum(partial.transpose(channels, -1), over, out=sums)


def _run(x: Tensor, calls: Sequence[KernelCall]) -> None:
    """Launch the calls on the device of ``x``.

    Raises:
        NoKernelError: if Triton cannot compile a kernel, or the device cannot hold it.
    """
    from triton.errors import TritonError

    try:
        with _on_device_of(x):
            for call in calls:
                call.run()
    except TritonError as error:
        raise NoKernelError(f"Triton cannot run it on {x.device}: {error}") from error


def _on_device_of(x: Tensor) -> contextlib.AbstractContextManager[Any]:
    """Triton launches on the current device, whatever device its arguments are on."""
    if x.is_cpu:
        import numpy as np

        return np.errstate(all="ignore")  # the interpreter's arithmetic is NumPy's, which would warn of every NaN
    guard: contextlib.AbstractContextManager[Any] = torch.get_device_module(x.device).device(x.device)
    return guard
