"""From an input and its plan to launches of kernels: what each is given, for how many programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from limen.kernels import triton_build, triton_launch
from limen.kernels.bound import BoundFormula
from limen.kernels.layout import Plan
from limen.kernels.triton_launch import VECTOR, Device, Launch, ceil_div, next_power, unit_of

WIDE_FROM = 2**31
"""Elements from which sizes and places in memory need more than 31 bits."""


@dataclass(frozen=True)
class Call:
    """One launch of a kernel: what it is given, by position, and the constants that it is compiled for."""

    kernel: Any
    arguments: tuple[Any, ...]
    constants: dict[str, Any]
    programs: int
    warps: int

    def run(self) -> None:
        """Launch it on the current device and stream."""
        self.kernel[(self.programs,)](*self.arguments, **self.constants, num_warps=self.warps)


def forward_calls(
    bound: BoundFormula,
    x: Tensor,
    y: Tensor,
    statistics: Tensor | None,
    values: Sequence[Tensor],
    plan: Plan,
    seed: Tensor | None,
    device: Device,
) -> list[Call]:
    """The result into ``y``, and the statistics of samples into ``statistics``."""
    kernels = triton_build.forward_kernels(bound, plan.layout)
    given = _given(values, seed)
    if statistics is None:
        launch = triton_launch.elementwise(plan, device, x.element_size(), backward=False)
        sizes, constants = _elementwise_sizes(x, plan, launch)
        return [Call(kernels.forward, (x, y, *given, *sizes), constants, launch.programs, launch.warps)]
    sizes, constants = _sample_sizes(x, plan)
    visit = triton_launch.one_visit(plan, device, x.element_size(), backward=False)
    if visit is not None:
        return [_visit(kernels.forward, (x, y, statistics, *given, *sizes), constants, plan, visit)]
    launch = triton_launch.spread(plan, device, x.element_size(), backward=False)
    result = Call(
        kernels.forward_rows,
        (x, y, statistics, *given, *sizes),
        {**constants, "ROWS": launch.rows, "COLS": launch.cols},
        launch.programs,
        launch.warps,
    )
    return [*_statistics_calls(x, statistics, plan, device), result]


def backward_calls(
    bound: BoundFormula,
    g: Tensor,
    x: Tensor,
    gx: Tensor,
    partial: Tensor,
    values: Sequence[Tensor],
    plan: Plan,
    seed: Tensor | None,
    wanted: tuple[str, ...],
    launch: Launch,
) -> list[Call]:
    """The gradient of an input without samples into ``gx``, and each program's sums into ``partial``."""
    kernel = triton_build.backward_kernels(bound, plan.layout, wanted).backward
    sizes, constants = _elementwise_sizes(x, plan, launch)
    arguments = (g, x, gx, partial, *_given(values, seed), *sizes)
    return [Call(kernel, arguments, constants, launch.programs, launch.warps)]


def visit_calls(
    bound: BoundFormula,
    g: Tensor,
    x: Tensor,
    gx: Tensor,
    partial: Tensor,
    statistics: Tensor,
    values: Sequence[Tensor],
    plan: Plan,
    seed: Tensor | None,
    wanted: tuple[str, ...],
    launch: Launch,
) -> list[Call]:
    """The gradient of samples that a program holds into ``gx``, and each row's sums into ``partial``."""
    kernel = triton_build.backward_kernels(bound, plan.layout, wanted).backward
    sizes, constants = _sample_sizes(x, plan)
    arguments = (g, x, gx, statistics, partial, *_given(values, seed), *sizes)
    return [_visit(kernel, arguments, constants, plan, launch)]


def spread_calls(
    bound: BoundFormula,
    g: Tensor,
    x: Tensor,
    gx: Tensor,
    partial: Tensor,
    statistics: Tensor,
    values: Sequence[Tensor],
    plan: Plan,
    seed: Tensor | None,
    wanted: tuple[str, ...],
    launch: Launch,
) -> tuple[Call, Callable[[Tensor], Call]]:
    """The sums of each part of each row into ``partial``; and, once a sample's are known, its gradient into ``gx``."""
    kernels = triton_build.backward_kernels(bound, plan.layout, wanted)
    sizes, constants = _sample_sizes(x, plan)
    constants |= {"ROWS": launch.rows, "COLS": launch.cols}
    given = _given(values, seed)
    sums = Call(
        kernels.row_sums,
        (g, x, partial, statistics, *given, *sizes),
        {**constants, "PARTS": launch.parts, "FOLD": _fold(x, launch.cols)},
        ceil_div(plan.outer * plan.rows, launch.rows) * launch.parts,
        launch.warps,
    )

    def result(pulls: Tensor) -> Call:
        arguments = (g, x, gx, statistics, pulls, *given, *sizes)
        return Call(kernels.backward_rows, arguments, constants, launch.programs, launch.warps)

    return sums, result


def _statistics_calls(x: Tensor, statistics: Tensor, plan: Plan, device: Device) -> list[Call]:
    from limen.kernels import triton_statistics

    launch = triton_launch.moments(plan, device, x.element_size())
    size = plan.rows * plan.inner
    unit = unit_of(size)
    parts = x.new_empty((plan.outer, launch.parts, 3), dtype=statistics.dtype)
    constants = {"SIZE_UNIT": unit, "WIDE": x.numel() >= WIDE_FROM, "PARTS": launch.parts, "BLOCK": launch.cols}
    arguments = (x, parts, size // unit, ceil_div(size, launch.cols))
    joined = {"PARTS": launch.parts, "ROOM": next_power(launch.parts)}
    return [
        Call(triton_statistics.part_moments, arguments, constants, launch.programs, launch.warps),
        Call(triton_statistics.join_moments, (x, parts, statistics, size), joined, plan.outer, 1),
    ]


def _given(values: Sequence[Tensor], seed: Tensor | None) -> tuple[Tensor, ...]:
    return tuple(values) if seed is None else (*values, seed)


def _elementwise_sizes(x: Tensor, plan: Plan, launch: Launch) -> tuple[tuple[int, ...], dict[str, Any]]:
    """What the kernels of a layout without statistics are given beside tensors, and compiled for."""
    constants = {"WIDE": x.numel() >= WIDE_FROM, "FOLD": _fold(x, launch.rows * launch.cols)}
    if plan.layout == "shared":
        return (plan.inner,), {**constants, "BLOCK": launch.cols}
    constants |= {"ROWS": launch.rows, "COLS": launch.cols}
    if plan.layout == "row":
        unit = unit_of(plan.inner)
        return (plan.outer, plan.channels, plan.inner // unit), {**constants, "INNER_UNIT": unit}
    unit = unit_of(plan.channels)
    return (plan.outer, plan.channels // unit), {**constants, "INNER_UNIT": unit}


def _sample_sizes(x: Tensor, plan: Plan) -> tuple[tuple[int, ...], dict[str, Any]]:
    unit = unit_of(plan.inner)
    sizes = (plan.outer, plan.rows, plan.every, plan.channels, plan.inner // unit)
    return sizes, {"INNER_UNIT": unit, "WIDE": x.numel() >= WIDE_FROM}


def _visit(kernel: Any, arguments: tuple[Any, ...], constants: dict[str, Any], plan: Plan, launch: Launch) -> Call:
    tile = {"WHOLE": plan.rows > 1, "ROWS": launch.rows, "COLS": launch.cols}
    return Call(kernel, arguments, {**constants, **tile}, launch.programs, launch.warps)


def _fold(x: Tensor, elements: int) -> int:
    """Neighbours whose sums one thread adds first: what it reads at once."""
    return min(VECTOR // x.element_size(), elements)
