"""Triton for formulas with statistics of each sample.

The input is rows of ``inner`` elements with one parameter value each, row // ``every`` % ``channels``; ``rows`` of them
are a sample. Where a program can hold a sample, or several, it does all in one visit:

============= ================================================================= ==================================
kernel        what                                                              program
============= ================================================================= ==================================
forward       statistics and result in one visit                                ROWS rows: one sample (``WHOLE``),
                                                                                or samples of one row each
backward      the input's gradient and each row's sums in one visit             the same
============= ================================================================= ==================================

A larger sample is spread over programs: its statistics come first (``statistics``), then

============= ================================================================= ==================================
forward_rows  the result, from the statistics                                   tiles of ROWS × COLS, in a stride
row_sums      each row's sums of the derivatives by statistics and parameters   ROWS rows, a part of their columns
backward_rows the input's gradient, from the sums of the sample                 tiles of ROWS × COLS, in a stride
============= ================================================================= ==================================

With A = Σ g·∂f/∂μ and B = Σ g·∂f/∂sd over a sample, an element's gradient is g·∂f/∂x + A/N + B·(x − μ)/(N·sd);
∂sd/∂x is 0 where sd is 0.
"""

from __future__ import annotations

from limen.kernels.bound import BoundFormula, Derivation
from limen.kernels.triton.source import PREAMBLE, Body, backward_body, forward_body, indented

STATISTICS = 2
"""How many of the sums of ``row_sums`` belong to the statistics: A and B come first."""

_VISIT = "outer, rows, every, channels, inner_in_units, INNER_UNIT: tl.constexpr, WIDE: tl.constexpr,"
_LOAD_X = "x_ = tl.load(x + at, mask=mask, other=0.0).to(tl.float32)"
_LOAD_G = "g_ = tl.load(g + at, mask=mask, other=0.0).to(tl.float32)"
_STORE_Y = "tl.store(y + at, rounded(y_, y.dtype.element_ty), mask=mask)"
_STORE_GX = [
    "tilt_ = tl.where(std_ == 0.0, 0.0, by_std_ / size / std_)",
    "gx_ = g_ * slope_ + by_mean_ / size + tilt_ * (x_ - mean_)",
    "tl.store(gx + at, rounded(gx_, gx.dtype.element_ty), mask=mask)",
]


def forward_source(bound: BoundFormula, derivation: Derivation) -> str:
    """The source with the kernels ``forward`` and ``forward_rows``."""
    body = forward_body(bound, derivation)
    visit = [
        _LOAD_X,
        *body.load_beside(),
        "first_ = tl.load(x + head, mask=head_mask, other=0.0).to(tl.float32)",
        "mean_, std_ = moments_of_tile(x_, first_, mask, size, WHOLE)",
        "where_stored = statistics + sample.to(tl.int64) * 2",
        "tl.store(where_stored, mean_, mask=head_mask)",
        "tl.store(where_stored + 1, std_, mask=head_mask)",
        f"y_ = {body.call}",
        _STORE_Y,
    ]
    tile = [_LOAD_X, *body.load_beside(), *_load_statistics("statistics"), f"y_ = {body.call}", _STORE_Y]
    kernels = [
        _one_visit(body, f"forward({body.head('x', 'y')}statistics, ", visit),
        _in_tiles(body, f"forward_rows({body.head('x', 'y')}statistics, ", tile),
    ]
    return "\n\n".join([PREAMBLE, body.function, *kernels])


def backward_source(bound: BoundFormula, derivation: Derivation) -> str:
    """The source with the kernels ``backward``, ``row_sums`` and ``backward_rows``."""
    body = backward_body(bound, derivation)
    results = "slope_, by_mean_, by_std_" + "".join(f", s{k}_" for k in list(body.sums)[STATISTICS:]) + body.slopes
    up = body.upstream
    store = [_STORE_GX[0], _STORE_GX[1].replace("g_ *", f"{up} *"), *_STORE_GX[2:], *body.store_beside()]
    visit = [
        _LOAD_X,
        *body.load_beside(),
        _LOAD_G,
        "where_stored = statistics + sample.to(tl.int64) * 2",
        "mean_ = tl.load(where_stored, mask=head_mask, other=0.0)",
        "std_ = tl.load(where_stored + 1, mask=head_mask, other=0.0)",
        f"{results} = {body.call}",
        *body.scaled(),
        f"by_mean_ = total(tl.where(mask, {up} * by_mean_, 0.0), WHOLE)",
        f"by_std_ = total(tl.where(mask, {up} * by_std_, 0.0), WHOLE)",
        *store,
    ]
    for k in list(body.sums)[STATISTICS:]:
        at = f"partial + row.to(tl.int64) * {len(body.sums) - STATISTICS} + {k - STATISTICS}"
        visit.append(f"tl.store({at}, tl.sum(tl.where(mask, {up} * s{k}_, 0.0), axis=1), mask=row_mask)")
    tile = [
        _LOAD_X,
        *body.load_beside(),
        _LOAD_G,
        *_load_statistics("statistics"),
        f"{results} = {body.call}",
        *body.scaled(),
        "where_stored = pulls + sample.to(tl.int64) * 2",
        "by_mean_ = tl.load(where_stored, mask=row_mask, other=0.0)[:, None]",
        "by_std_ = tl.load(where_stored + 1, mask=row_mask, other=0.0)[:, None]",
        *store,
    ]
    kernels = [
        _one_visit(body, f"backward(g, {body.head('x', 'gx', 'statistics')}partial, ", visit),
        _row_sums(body),
        _in_tiles(body, f"backward_rows(g, {body.head('x', 'gx', 'statistics')}pulls, ", tile),
    ]
    return "\n\n".join([PREAMBLE, body.function, *kernels])


def _load_statistics(name: str) -> list[str]:
    return [
        f"where_stored = {name} + sample.to(tl.int64) * 2",
        "mean_ = tl.load(where_stored, mask=row_mask, other=0.0)[:, None]",
        "std_ = tl.load(where_stored + 1, mask=row_mask, other=0.0)[:, None]",
    ]


def _one_visit(body: Body, head: str, lines: list[str]) -> str:
    place = ["place = at"] if body.noise() else []
    return f"""@triton.jit
def {head}{body.pointers}{_VISIT}
        WHOLE: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr):
    inner = extent(inner_in_units, INNER_UNIT, WIDE)
    size = rows * inner
    lanes = tl.arange(0, ROWS)
    cols = tl.arange(0, COLS)
    if WHOLE:
        sample = tl.program_id(0)
        row = sample * rows + lanes
        row_mask = lanes < rows
        head = tl.cast(sample, tl.int64) * size
        head_mask = sample < outer
    else:
        row = tl.program_id(0) * ROWS + lanes
        row_mask = row < outer
        sample = row[:, None]
        head = sample.to(tl.int64) * size
        head_mask = row_mask[:, None]
    c = row // every % channels
    at = row.to(tl.int64)[:, None] * inner + cols[None, :]
    mask = row_mask[:, None] & (cols < inner)[None, :]
{indented([*body.parameters(" + c", "row_mask", "[:, None]"), *body.seeds(), *place, *body.noise(), *lines], 4)}
"""


def _rows_of_block(body: Body) -> list[str]:
    return [
        "row_mask = row < outer * rows",
        "sample = row // rows",
        "c = row // every % channels",
        *body.parameters(" + c", "row_mask", "[:, None]"),
        "first = row.to(tl.int64)[:, None] * inner",
    ]


def _in_tiles(body: Body, head: str, lines: list[str]) -> str:
    place = ["place = at"] if body.noise() else []
    return f"""@triton.jit
def {head}{body.pointers}{_VISIT} ROWS: tl.constexpr, COLS: tl.constexpr):
    inner = extent(inner_in_units, INNER_UNIT, WIDE)
    size = rows * inner
    col_blocks = tl.cdiv(inner, COLS)
{indented(body.seeds(), 4)}
    for tile in range(tl.program_id(0), tl.cdiv(outer * rows, ROWS) * col_blocks, tl.num_programs(0)):
        row = tile // col_blocks * ROWS + tl.arange(0, ROWS)
        cols = tile % col_blocks * COLS + tl.arange(0, COLS)
{indented(_rows_of_block(body), 8)}
        at = first + cols[None, :]
        mask = row_mask[:, None] & (cols < inner)[None, :]
{indented([*place, *body.noise(), *lines], 8)}
"""


def _row_sums(body: Body) -> str:
    """Program b·PARTS + p takes every ``PARTS``-th block of columns of the b-th block of rows from the p-th on."""
    place = ["place = at"] if body.noise() else []
    results = "slope_" + "".join(f", s{k}_" for k in body.sums) + body.slopes
    begin = [*_rows_of_block(body), *body.seeds(), *_load_statistics("statistics")]
    begin += [f"a{k} = tl.zeros([ROWS, COLS // FOLD], tl.float32)" for k in body.sums]
    fold = "tl.sum(tl.reshape({}, [ROWS, COLS // FOLD, FOLD]), axis=2)"
    loads = [_LOAD_X, *body.load_beside(), _LOAD_G]
    lines = [*loads, *place, *body.noise(), f"{results} = {body.call}", *body.scaled()]
    lines += [f"a{k} += {fold.format(f'tl.where(mask, {body.upstream} * s{k}_, 0.0)')}" for k in body.sums]
    at = f"partial + (row.to(tl.int64) * PARTS + part) * {len(body.sums)}"
    end = [f"tl.store({at} + {k}, tl.sum(a{k}, axis=1), mask=row_mask)" for k in body.sums]
    return f"""@triton.jit
def row_sums(g, {body.head("x", "partial")}statistics, {body.pointers}{_VISIT}
        PARTS: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, FOLD: tl.constexpr):
    inner = extent(inner_in_units, INNER_UNIT, WIDE)
    row = tl.program_id(0) // PARTS * ROWS + tl.arange(0, ROWS)
    part = tl.program_id(0) % PARTS
{indented(begin, 4)}
    for block in range(part, tl.cdiv(inner, COLS), PARTS):
        cols = block * COLS + tl.arange(0, COLS)
        at = first + cols[None, :]
        mask = row_mask[:, None] & (cols < inner)[None, :]
{indented(lines, 8)}
{indented(end, 4)}
"""
