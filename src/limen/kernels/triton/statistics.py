"""Mean and deviation of samples in Triton: of a sample that one program holds, and of one spread over several.

Everything is taken about the sample's first element: a constant sample has exactly its value as mean and 0 as
deviation, and no square of a large mean is subtracted from another. Squares beyond float32 are taken in units of 2^70.
No ``from __future__ import annotations``: Triton reads them.
"""

import triton
import triton.language as tl

from limen.kernels.triton.math import extent

UNIT = tl.constexpr(2.0**-70)
"""Brings the squares of the largest numbers into float32, 3·10^38 · 2^-70 = 3·10^17."""


@triton.jit
def total(v, WHOLE: tl.constexpr):
    """The sum of a tile over all its elements, or over each row, to be broadcast against the tile."""
    rows = tl.sum(v, axis=1)
    if WHOLE:
        return tl.sum(rows, axis=0)
    else:
        return rows[:, None]


@triton.jit
def root_mean_square(squares, in_units, size):
    """The deviation, from the sum of squares and the same in units of ``UNIT``."""
    overflowed = squares == float("inf")
    root = tl.sqrt_rn(tl.where(overflowed, in_units, squares) / size)
    return tl.where(overflowed, root / UNIT, root)


@triton.jit
def moments_of_tile(x, first, mask, size, WHOLE: tl.constexpr):
    """Mean and deviation in two passes over registers, of the whole tile or of each row."""
    apart = tl.where(mask, x - first, 0.0)
    middle = total(apart, WHOLE) / size
    apart = tl.where(mask, apart - middle, 0.0)
    in_units = apart * UNIT
    deviation = root_mean_square(total(apart * apart, WHOLE), total(in_units * in_units, WHOLE), size)
    return first + middle, deviation


@triton.jit
def welford(apart, count, mean, squares, in_units):
    """One more value in every lane, the ``count``-th."""
    before = apart - mean
    mean += before / count
    after = apart - mean
    return mean, squares + before * after, in_units + (before * UNIT) * (after * UNIT)


@triton.jit
def part_moments(
    x,
    parts,
    size_in_units,
    tiles,
    SIZE_UNIT: tl.constexpr,
    WIDE: tl.constexpr,
    PARTS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Mean about the first element, deviation and number of elements, of one part of a sample by lanes of Welford's.

    Program ``PARTS``·s + p takes every ``PARTS``-th tile of sample s from the p-th on.
    """
    size = extent(size_in_units, SIZE_UNIT, WIDE)
    part = tl.program_id(0) % PARTS
    start = x + tl.cast(tl.program_id(0) // PARTS, tl.int64) * size
    first = tl.load(start).to(tl.float32)
    lanes = tl.arange(0, BLOCK)
    mean = tl.zeros([BLOCK], tl.float32)
    squares = tl.zeros([BLOCK], tl.float32)
    in_units = tl.zeros([BLOCK], tl.float32)
    whole = size // BLOCK
    count = 0.0
    for tile in range(part, whole, PARTS):
        count += 1.0
        apart = tl.load(start + tl.cast(tile, tl.int64) * BLOCK + lanes).to(tl.float32) - first
        mean, squares, in_units = welford(apart, count, mean, squares, in_units)
    counts = tl.zeros([BLOCK], tl.float32) + count
    if (whole % PARTS == part) & (whole < tiles):
        mask = lanes < size - whole * BLOCK
        last = tl.load(start + tl.cast(whole, tl.int64) * BLOCK + lanes, mask=mask, other=0.0).to(tl.float32) - first
        new_mean, new_squares, new_in_units = welford(last, count + 1.0, mean, squares, in_units)
        mean = tl.where(mask, new_mean, mean)
        squares = tl.where(mask, new_squares, squares)
        in_units = tl.where(mask, new_in_units, in_units)
        counts = tl.where(mask, counts + 1.0, counts)
    number = tl.sum(counts, axis=0)
    middle = tl.sum(counts * mean, axis=0) / number
    apart = mean - middle
    squares = tl.sum(squares + counts * apart * apart, axis=0)
    in_units = tl.sum(in_units + counts * (apart * UNIT) * (apart * UNIT), axis=0)
    at = parts + tl.program_id(0) * 3
    tl.store(at, middle)
    tl.store(at + 1, root_mean_square(squares, in_units, number))
    tl.store(at + 2, number)


@triton.jit
def join_moments(x, parts, statistics, size, PARTS: tl.constexpr, ROOM: tl.constexpr):
    """The parts of each sample joined exactly (Chan et al. 1979), a program a sample; ``ROOM`` ≥ ``PARTS``."""
    sample = tl.program_id(0)
    first = tl.load(x + tl.cast(sample, tl.int64) * size).to(tl.float32)
    lanes = tl.arange(0, ROOM)
    mask = lanes < PARTS
    at = parts + (tl.cast(sample, tl.int64) * PARTS + lanes) * 3
    mean = tl.load(at, mask=mask, other=0.0)
    deviation = tl.load(at + 1, mask=mask, other=0.0)
    counts = tl.load(at + 2, mask=mask, other=0.0)
    share = counts / tl.sum(counts, axis=0)
    middle = tl.sum(share * mean, axis=0)
    apart = tl.where(mask, mean - middle, 0.0)
    squares = tl.sum(share * (deviation * deviation + apart * apart), axis=0)
    deviation, apart = deviation * UNIT, apart * UNIT
    in_units = tl.sum(share * (deviation * deviation + apart * apart), axis=0)
    tl.store(statistics + sample * 2, first + middle)
    tl.store(statistics + sample * 2 + 1, root_mean_square(squares, in_units, 1.0))
