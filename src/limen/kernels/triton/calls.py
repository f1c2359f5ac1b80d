"""From a call and its plan to launches of kernels: what each is given, for how many programs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from limen.kernels.call import Prepared
from limen.kernels.layout import Plan
from limen.kernels.triton import build, launch
from limen.kernels.triton.launch import VECTOR, Device, Launch, ceil_div, next_power, unit_of

WIDE_FROM = 2**31
"""Elements from which sizes and places in memory need more than 31 bits."""


@dataclass(frozen=True)
class KernelCall:
    """One launch of a kernel: what it is given, by position, and the constants that it is compiled for."""

    kernel: Any
    arguments: tuple[Any, ...]
    constants: dict[str, Any]
    programs: int
    warps: int

    def run(self) -> None:
        """Launch it on the current device and stream."""
        self.kernel[(self.programs,)](*self.arguments, **self.constants, num_warps=self.warps)


@dataclass(frozen=True)
class Backward:
    """A backward pass: the call, what its kernels read beside it, and where they write."""

    given: Prepared
    g: Tensor
    gx: Tensor
    """The gradient of the input goes here."""
    partial: Tensor
    """What each program sums, or what is summed of each row or part of one, goes here."""
    statistics: Tensor | None
    wanted: tuple[str, ...]
    beside: tuple[Tensor, ...] = ()
    """The gradients of the inputs beside it go here."""
    pitches: tuple[int, ...] = ()
    """How far apart rows begin in inputs, of which there are several, and in their gradients; else nothing."""

    @property
    def kernels(self) -> Any:
        """The module of the kernels."""
        return build.backward_kernels(self.given.bound, self.given.plan.layout, self.wanted)


def forward_calls(given: Prepared, y: Tensor, statistics: Tensor | None, device: Device) -> list[KernelCall]:
    """The result into ``y``, and the statistics of samples into ``statistics``."""
    x, plan = given.x, given.plan
    kernels = build.forward_kernels(given.bound, plan.layout)
    if statistics is None:
        shape = launch.elementwise(plan, device, x.element_size(), backward=False)
        sizes, constants = _elementwise_sizes(x, plan, shape)
        pitches = (given.pitch, 0) if given.beside else ()
        arguments = (x, *given.beside, y, *pitches, *_inputs(given), *sizes)
        return [KernelCall(kernels.forward, arguments, constants, shape.programs, shape.warps)]
    sizes, constants = _sample_sizes(x, plan)
    arguments = (x, *given.beside, y, statistics, *_inputs(given), *sizes)
    visit = launch.one_visit(plan, device, x.element_size(), backward=False)
    if visit is not None:
        return [_visit(kernels.forward, arguments, constants, plan, visit)]
    shape = launch.spread(plan, device, x.element_size(), backward=False)
    constants |= {"ROWS": shape.rows, "COLS": shape.cols}
    result = KernelCall(kernels.forward_rows, arguments, constants, shape.programs, shape.warps)
    return [*_statistics_calls(x, statistics, plan, device), result]


def backward_calls(back: Backward, shape: Launch) -> list[KernelCall]:
    """The gradient of an input without samples, and each program's sums."""
    given = back.given
    sizes, constants = _elementwise_sizes(given.x, given.plan, shape)
    tensors = back.g, given.x, *given.beside, back.gx, *back.beside, back.partial
    arguments = (*tensors, *back.pitches, *_inputs(given), *sizes)
    return [KernelCall(back.kernels.backward, arguments, constants, shape.programs, shape.warps)]


def visit_calls(back: Backward, shape: Launch) -> list[KernelCall]:
    """The gradient of samples that a program holds, and each row's sums."""
    given = back.given
    sizes, constants = _sample_sizes(given.x, given.plan)
    tensors = back.g, given.x, *given.beside, back.gx, *back.beside, back.statistics, back.partial
    arguments = (*tensors, *_inputs(given), *sizes)
    return [_visit(back.kernels.backward, arguments, constants, given.plan, shape)]


def spread_calls(back: Backward, shape: Launch) -> tuple[KernelCall, Callable[[Tensor], KernelCall]]:
    """The sums of each part of each row; and, once a sample's are known, its gradient."""
    given, kernels = back.given, back.kernels
    x, plan = given.x, given.plan
    sizes, constants = _sample_sizes(x, plan)
    constants |= {"ROWS": shape.rows, "COLS": shape.cols}
    inputs = _inputs(given)
    sums = KernelCall(
        kernels.row_sums,
        (back.g, x, *given.beside, back.partial, back.statistics, *inputs, *sizes),
        {**constants, "PARTS": shape.parts, "FOLD": _fold(x, shape.cols)},
        ceil_div(plan.outer * plan.rows, shape.rows) * shape.parts,
        shape.warps,
    )

    def result(pulls: Tensor) -> KernelCall:
        tensors = back.g, x, *given.beside, back.gx, *back.beside, back.statistics, pulls
        arguments = (*tensors, *inputs, *sizes)
        return KernelCall(kernels.backward_rows, arguments, constants, shape.programs, shape.warps)

    return sums, result


def _statistics_calls(x: Tensor, statistics: Tensor, plan: Plan, device: Device) -> list[KernelCall]:
    from limen.kernels.triton.statistics import join_moments, part_moments  # which imports Triton

    shape = launch.moments(plan, device, x.element_size())
    size = plan.rows * plan.inner
    unit = unit_of(size)
    parts = x.new_empty((plan.outer, shape.parts, 3), dtype=statistics.dtype)
    constants = {"SIZE_UNIT": unit, "WIDE": x.numel() >= WIDE_FROM, "PARTS": shape.parts, "BLOCK": shape.cols}
    arguments = (x, parts, size // unit, ceil_div(size, shape.cols))
    joined = {"PARTS": shape.parts, "ROOM": next_power(shape.parts)}
    return [
        KernelCall(part_moments, arguments, constants, shape.programs, shape.warps),
        KernelCall(join_moments, (x, parts, statistics, size), joined, plan.outer, 1),
    ]


def _inputs(given: Prepared) -> tuple[Tensor, ...]:
    """The parameters, and the seed of the noise if there is any."""
    return tuple(given.values) if given.seed is None else (*given.values, given.seed)


def _elementwise_sizes(x: Tensor, plan: Plan, shape: Launch) -> tuple[tuple[int, ...], dict[str, Any]]:
    """What the kernels of a layout without statistics are given beside tensors, and compiled for."""
    constants = {"WIDE": x.numel() >= WIDE_FROM, "FOLD": _fold(x, shape.rows * shape.cols)}
    if plan.layout == "shared":
        return (plan.inner,), {**constants, "BLOCK": shape.cols}
    constants |= {"ROWS": shape.rows, "COLS": shape.cols}
    if plan.layout == "row":
        unit = unit_of(plan.inner)
        return (plan.outer, plan.channels, plan.inner // unit), {**constants, "INNER_UNIT": unit}
    unit = unit_of(plan.channels)
    return (plan.outer, plan.channels // unit), {**constants, "INNER_UNIT": unit}


def _sample_sizes(x: Tensor, plan: Plan) -> tuple[tuple[int, ...], dict[str, Any]]:
    unit = unit_of(plan.inner)
    sizes = (plan.outer, plan.rows, plan.every, plan.channels, plan.inner // unit)
    return sizes, {"INNER_UNIT": unit, "WIDE": x.numel() >= WIDE_FROM}


def _visit(kernel: Any, arguments: tuple[Any, ...], constants: dict[str, Any], plan: Plan, shape: Launch) -> KernelCall:
    tile = {"WHOLE": plan.rows > 1, "ROWS": shape.rows, "COLS": shape.cols}
    return KernelCall(kernel, arguments, {**constants, **tile}, shape.programs, shape.warps)


def _fold(x: Tensor, elements: int) -> int:
    """Neighbours whose sums one thread adds first: what it reads at once."""
    return min(VECTOR // x.element_size(), elements)
