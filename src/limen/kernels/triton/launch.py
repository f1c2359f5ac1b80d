"""How many programs, of which tiles: from the device and the shape, by a small table rather than by trials at run time.

An elementwise kernel waits for memory. What counts is that each thread reads 16 bytes at once, and that enough reads
are under way on every multiprocessor. So the table has one line a family of devices, and ``benchmarks/gpu.py --sweep``
measures others.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from limen.kernels.layout import Plan

VECTOR = 16
"""Bytes that a thread reads at once."""
HELD = 16
"""Elements of a sample that a thread holds: with twice as many, gradients took 240 of its 255 registers."""
LARGEST_PROGRAM = 1024
"""Threads that a program may have, on any device."""


@dataclass(frozen=True)
class Family:
    """What is chosen for a family of devices."""

    threads: int
    """Threads a warp."""
    visit: int
    """Elements of a sample that one program holds."""
    backward_visit: int
    """The same with its gradient."""
    warps: int = 4
    """Warps a program of an elementwise kernel."""
    vectors: int = 2
    """16-byte reads a thread and tile."""
    backward_vectors: int = 1
    """The same for backward kernels, which read two tensors and keep every derivative in registers."""
    programs: int = 16
    """Programs on a multiprocessor: some more than it holds at once, so that none is idle at the end."""
    backward_programs: int = 12
    """The same for backward kernels; each leaves one row of partial sums."""


FAMILIES = {
    # Chosen by arithmetic, not yet by measurement: an H100 needs some 18 KiB of reads under way on each of its 132
    # multiprocessors (3.35 TB/s at 0.7 µs); 16 programs of 128 threads with 2 reads each have 64 KiB.
    "nvidia": Family(threads=32, visit=16384, backward_visit=8192),
    "amd": Family(threads=64, programs=8, backward_programs=8, visit=16384, backward_visit=8192),
    "intel": Family(threads=32, visit=8192, backward_visit=4096),
    # Small enough that tests see several tiles and programs.
    "interpreter": Family(threads=16, vectors=1, programs=3, backward_programs=3, visit=1024, backward_visit=1024),
}


@dataclass(frozen=True)
class Device:
    """What a launch needs to know of a device."""

    family: Family
    multiprocessors: int


@functools.cache
def _device(kind: str, index: int) -> Device:
    if kind == "cpu":
        return Device(FAMILIES["interpreter"], 1)
    if kind == "xpu":
        units = torch.xpu.get_device_properties(index).max_compute_units
        return Device(FAMILIES["intel"], units)
    properties = torch.cuda.get_device_properties(index)
    return Device(FAMILIES["amd" if torch.version.hip else "nvidia"], properties.multi_processor_count)


def device_of(x: Tensor) -> Device:
    """The device on which the tensor's kernels run."""
    return _device(x.device.type, x.device.index or 0)


@dataclass(frozen=True)
class Launch:
    """The shape of one launch: tiles of ``rows`` × ``cols``, and how many programs."""

    rows: int
    cols: int
    programs: int
    warps: int
    parts: int = 1
    """Programs that share one channel, block of channels, or sample."""


def elementwise(plan: Plan, device: Device, itemsize: int, backward: bool) -> Launch:
    """For the layouts without statistics."""
    family = device.family
    block, target = _block(family, itemsize, backward), _target(device, backward)
    if plan.layout == "shared":
        return Launch(1, block, max(1, min(target, ceil_div(plan.inner, block))), family.warps)
    if plan.layout == "row":
        cols = min(block, next_power(plan.inner))
        rows = min(block // cols, next_power(plan.outer))
        tiles = ceil_div(plan.outer, rows) * ceil_div(plan.inner, cols)
        parts = max(1, min(tiles, ceil_div(target, plan.channels)))
        return Launch(rows, cols, plan.channels * parts, family.warps, parts)
    cols = best_columns(plan.channels, block)
    rows = min(block // cols, next_power(plan.outer))
    blocks = ceil_div(plan.channels, cols)
    parts = max(1, min(ceil_div(plan.outer, rows), ceil_div(target, blocks)))
    return Launch(rows, cols, blocks * parts, family.warps, parts)


def one_visit(plan: Plan, device: Device, itemsize: int, backward: bool) -> Launch | None:
    """For samples that one program holds; None for larger ones."""
    family = device.family
    cols, rows = next_power(plan.inner), next_power(plan.rows)
    limit = family.backward_visit if backward else family.visit
    if cols * rows > limit:
        return None
    if plan.rows == 1:
        # Several small samples a program, a warp each at least.
        rows = min(next_power(plan.outer), max(1, family.warps * family.threads * (VECTOR // itemsize) // cols))
    warps = max(family.warps, min(LARGEST_PROGRAM // family.threads, rows * cols // (family.threads * HELD)))
    programs = plan.outer if plan.rows > 1 else ceil_div(plan.outer, rows)
    return Launch(rows, cols, programs, next_power(warps))


def spread(plan: Plan, device: Device, itemsize: int, backward: bool) -> Launch:
    """For the rows of samples that are spread over programs: tiles in a stride, or parts of each row's columns."""
    family = device.family
    block, target = _block(family, itemsize, backward), _target(device, backward)
    cols = min(block, next_power(plan.inner))
    all_rows = plan.outer * plan.rows
    rows = min(block // cols, next_power(all_rows))
    blocks, tiles = ceil_div(all_rows, rows), ceil_div(plan.inner, cols)
    parts = max(1, min(tiles, ceil_div(target, blocks)))
    return Launch(rows, cols, min(target, blocks * tiles), family.warps, parts)


def moments(plan: Plan, device: Device, itemsize: int) -> Launch:
    """For the statistics of samples that are spread over programs: ``parts`` of each."""
    family = device.family
    block, target = _block(family, itemsize, backward=False), _target(device, backward=False)
    tiles = ceil_div(plan.rows * plan.inner, block)
    parts = max(1, min(tiles, ceil_div(target, plan.outer)))
    return Launch(1, block, plan.outer * parts, family.warps, parts)


def _block(family: Family, itemsize: int, backward: bool) -> int:
    """Elements of a tile."""
    vectors = family.backward_vectors if backward else family.vectors
    return family.warps * family.threads * vectors * (VECTOR // itemsize)


def _target(device: Device, backward: bool) -> int:
    """Programs that fill the device."""
    return device.multiprocessors * (device.family.backward_programs if backward else device.family.programs)


def best_columns(channels: int, block: int) -> int:
    """The widest tile, of those of at least 64 channels that leave the fewest lanes without one.

    >>> best_columns(768, 1024), best_columns(100, 1024), best_columns(3, 1024)
    (256, 128, 4)
    """
    widths = [width for width in (64, 128, 256, 512, 1024) if width <= min(block, next_power(channels))]
    if not widths:
        return next_power(channels)
    return min(widths, key=lambda width: (ceil_div(channels, width) * width, -width))


def unit_of(size: int) -> int:
    """The largest power of two up to 16 that divides a size.

    >>> unit_of(196), unit_of(7), unit_of(64)
    (4, 1, 16)
    """
    return min(16, size & -size)


def next_power(number: int) -> int:
    """The smallest power of two that is at least ``number``.

    >>> next_power(5), next_power(8)
    (8, 8)
    """
    return 1 << (number - 1).bit_length()


def ceil_div(a: int, b: int) -> int:
    """How many of ``b`` hold ``a``."""
    return -(-a // b)
