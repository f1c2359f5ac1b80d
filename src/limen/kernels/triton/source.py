"""Triton for a derived formula: the same straight-line arithmetic as in C, in kernels for each layout.

The layouts are those of ``layout.Plan``. In each source ``value`` or ``slopes`` is the formula for a tile of elements,
and the kernels around it bring the tiles:

========= ============================== ==========================================================================
layout    tile                           who sums the gradients of parameters
========= ============================== ==========================================================================
shared    BLOCK neighbours               each program its blocks, in registers
row       ROWS × COLS of one channel     each program its tiles; programs are dealt to channels
lane      ROWS × COLS of neighbouring    each program its rows, for COLS channels
          channels
sample    see ``samples``         each row of the input by itself
========= ============================== ==========================================================================

Programs walk the tiles in a fixed stride, so that the launch is sized from the device. Each stores its sums at a place
of its own; what is stored is summed in a fixed order afterwards. Tiles begin at 64-bit offsets. Whole tiles are read
without a mask, and sizes are passed as a multiple of a power of two that the compiler knows (``INNER_UNIT``): otherwise
it could not prove that 16 bytes may be read at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from limen.kernels.bound import MEAN, STD, BoundFormula, Derivation
from limen.kernels.noise import STREAM_STEP
from limen.kernels.triton.arithmetic import arithmetic

PREAMBLE = """import triton
import triton.language as tl

from limen.kernels.triton.math import *
from limen.kernels.triton.statistics import moments_of_tile, total
"""


@dataclass(frozen=True)
class Body:
    """What the kernels of one source share: the formula's function, and how its inputs are loaded."""

    bound: BoundFormula
    function: str
    """The formula as a function of one tile."""
    used: tuple[str, ...]
    """The local names that it takes, ``x_`` first."""
    results: int

    @property
    def call(self) -> str:
        """The function's call."""
        return f"{'value' if self.results == 0 else 'slopes'}({', '.join(self.used)})"

    @property
    def sums(self) -> range:
        """The derivatives that are summed: all but that by x."""
        return range(max(0, self.results - 1))

    @property
    def beside(self) -> tuple[str, ...]:
        """What the inputs beside x are called, as their pointers."""
        return tuple(f"u{index}" for index in range(len(self.bound.beside)))

    @property
    def upstream(self) -> str:
        """What the slopes are multiplied by."""
        return "h_" if self.beside else "g_"

    @property
    def slopes(self) -> str:
        """What the results of ``slopes`` that follow those of sums are called."""
        return "".join(f", g{name}_" for name in self.beside) + (", factor_" if self.beside else "")

    def load_beside(self, at: str = "at") -> list[str]:
        """The inputs beside x, as a tile."""
        return [f"{name}_ = tl.load({name} + {at}, mask=mask, other=0.0).to(tl.float32)" for name in self.beside]

    def store_beside(self, at: str = "at") -> list[str]:
        """The gradients of the inputs beside x."""
        return [
            f"tl.store(g{name} + {at}, rounded(g_ * g{name}_, g{name}.dtype.element_ty), mask=mask)"
            for name in self.beside
        ]

    def scaled(self) -> list[str]:
        """The upstream gradient times what only inputs beside x make up."""
        return ["h_ = g_ * factor_"] if self.beside else []

    def head(self, before: str, *after: str) -> str:
        """The tensors of a kernel: inputs beside x after ``before``, their gradients after the first of ``after``."""
        gradients = [f"g{name}" for name in self.beside] if len(after) > 1 else []
        return ", ".join([before, *self.beside, after[0], *gradients, *after[1:], ""])

    @property
    def pointers(self) -> str:
        """The parameters, and the seed of the noise, as a kernel takes them."""
        names = [f"p{index}" for index in range(len(self.bound.parameters))] + (["seed"] if self.bound.noise else [])
        return "".join(f"{name}, " for name in names)

    def parameters(self, place: str, mask: str = "", spread: str = "") -> list[str]:
        """The values of the parameters in use: at ``place`` of each, shaped by ``spread``."""
        guard = f", mask={mask}, other=0.0" if mask else ""
        return [
            f"p{index}_ = tl.load(p{index}{place}{guard}).to(tl.float32){spread}"
            for index in range(len(self.bound.parameters))
            if f"p{index}_" in self.used
        ]

    def seeds(self) -> list[str]:
        """The seed of each stream of noise in use."""
        return [
            f"seed{stream}_ = tl.load(seed).to(tl.uint32) + {(stream * STREAM_STEP) & 0xFFFFFFFF}"
            for stream in range(len(self.bound.noise))
            if f"noise{stream}_" in self.used
        ]

    def noise(self) -> list[str]:
        """The noise of a tile whose places are known."""
        return [
            f"noise{stream}_ = uniform(place, seed{stream}_, WIDE)"
            for stream in range(len(self.bound.noise))
            if f"noise{stream}_" in self.used
        ]


def forward_body(bound: BoundFormula, derivation: Derivation) -> Body:
    """``value``: the result for a tile."""
    used = derivation.forward.inputs([derivation.value])
    names = _local_names(bound)
    statements, (result,) = arithmetic(derivation.forward, [derivation.value], names)
    if not used & {"x", *bound.noise}:
        result = f"tl.zeros_like(x_) + {result}"  # one number for all elements
    return _body(bound, "value", used, statements, result, 0)


def backward_body(bound: BoundFormula, derivation: Derivation) -> Body:
    """``slopes``: the derivatives for a tile, by x first."""
    nodes = [node for _, node in derivation.slopes]
    others = [] if derivation.factor is None else [*derivation.beside, derivation.factor]
    used = derivation.backward.inputs([*nodes, *others])
    statements, results = arithmetic(derivation.backward, [*nodes, *others], _local_names(bound))
    return _body(bound, "slopes", used, statements, ", ".join(results), len(nodes))


def _body(bound: BoundFormula, name: str, used: set[str], statements: list[str], result: str, results: int) -> Body:
    taken = ("x_", *(local for known, local in _local_names(bound).items() if known in used and known != "x"))
    lines = [*statements, f"return {result}"]
    text = f"@triton.jit\ndef {name}({', '.join(taken)}):\n{indented(lines, 4)}\n"
    return Body(bound, text, taken, results)


def _local_names(bound: BoundFormula) -> dict[str, str]:
    return {
        "x": "x_",
        **{name: f"p{index}_" for index, name in enumerate(bound.parameters)},
        **{name: f"noise{stream}_" for stream, name in enumerate(bound.noise)},
        **{name: f"u{index}_" for index, name in enumerate(bound.beside)},
        MEAN: "mean_",
        STD: "std_",
    }


def indented(lines: list[str], by: int) -> str:
    """Lines as a block of Python."""
    return "\n".join(" " * by + line for line in lines)


def forward_source(bound: BoundFormula, derivation: Derivation, layout: str) -> str:
    """The source with one kernel, ``forward``, for a layout without statistics."""
    body = forward_body(bound, derivation)
    place = "src" if body.beside else "at"
    tile = [
        *_rows_apart(body, layout, "src", "pitch"),
        f"x_ = tl.load(x + {place}, mask=mask, other=0.0).to(tl.float32)",
        *body.load_beside(place),
        *body.noise(),
        f"y_ = {body.call}",
    ]
    store = "tl.store(y + at, rounded(y_, y.dtype.element_ty), mask=mask)"
    return _source(body, layout, f"forward({body.head('x', 'y')}{_pitches(body)}", [*tile, store], [])


def backward_source(bound: BoundFormula, derivation: Derivation, layout: str) -> str:
    """The source with one kernel, ``backward``, for the derivatives that were derived."""
    body = backward_body(bound, derivation)
    slopes = "".join(f", s{k}_" for k in body.sums)
    place, into = ("src", "dst") if body.beside else ("at", "at")
    tile = [
        *_rows_apart(body, layout, "src", "pitch"),
        *_rows_apart(body, layout, "dst", "pitch_out"),
        f"x_ = tl.load(x + {place}, mask=mask, other=0.0).to(tl.float32)",
        *body.load_beside(place),
        "g_ = tl.load(g + at, mask=mask, other=0.0).to(tl.float32)",
        *body.noise(),
        f"slope_{slopes}{body.slopes} = {body.call}",
        *body.scaled(),
        f"tl.store(gx + {into}, rounded({body.upstream} * slope_, gx.dtype.element_ty), mask=mask)",
        *body.store_beside(into),
    ]
    # Where the mask fails g is 0, but a slope there may be infinite.
    sums = [f"a{k} += {_FOLD[layout].format(f'tl.where(mask, {body.upstream} * s{k}_, 0.0)')}" for k in body.sums]
    head = f"backward(g, {body.head('x', 'gx', 'partial')}{_pitches(body)}"
    return _source(body, layout, head, tile, sums)


def _pitches(body: Body) -> str:
    """How far apart rows begin in inputs, of which there are several, and in their gradients."""
    return "pitch, pitch_out, " if body.beside else ""


def _rows_apart(body: Body, layout: str, name: str, pitch: str) -> list[str]:
    """The places of a tile in inputs whose rows may lie apart, as those of the halves of one tensor do."""
    if not body.beside:
        return []
    rows = {"row": f"((rows.to(tl.int64) * channels + c) * {pitch})", "lane": f"(rows.to(tl.int64) * {pitch})"}
    return [f"{name} = {rows[layout]}[:, None] + cols[None, :]" if layout in rows else f"{name} = at"]


# Eight sums for every element of a tile would fill the registers: neighbours that one thread holds are added first.
_FOLD = {
    "shared": "tl.sum(tl.reshape({}, [BLOCK // FOLD, FOLD]), axis=1)",
    "row": "tl.sum(tl.reshape({}, [ROWS * COLS // FOLD, FOLD]), axis=1)",
    "lane": "{}",
}


def _source(body: Body, layout: str, head: str, tile: list[str], sums: list[str]) -> str:
    kernel = {"shared": _shared, "row": _row, "lane": _lane}[layout](body, head, tile, sums)
    return "\n\n".join([PREAMBLE, body.function, kernel])


def _shared(body: Body, head: str, tile: list[str], sums: list[str]) -> str:
    place = ["place = start + lanes"] if body.noise() else []
    whole = [line.replace(", mask=mask, other=0.0", "").replace(", mask=mask", "") for line in tile]
    folded = [line.replace("tl.where(mask, ", "(").replace(", 0.0)", ")") for line in sums]
    begin = [*body.parameters(""), *body.seeds(), *(f"a{k} = tl.zeros([BLOCK // FOLD], tl.float32)" for k in _of(sums))]
    end = [f"tl.store(partial + tl.program_id(0) * {len(sums)} + {k}, tl.sum(a{k}, axis=0))" for k in _of(sums)]
    return f"""@triton.jit
def {head}{body.pointers}n, WIDE: tl.constexpr, BLOCK: tl.constexpr, FOLD: tl.constexpr):
{indented(begin, 4)}
    lanes = tl.arange(0, BLOCK)
    whole = n // BLOCK
    for block in range(tl.program_id(0), whole, tl.num_programs(0)):
        start = tl.cast(block, tl.int64) * BLOCK
        at = start + lanes
{indented([*place, *whole, *folded], 8)}
    if (whole % tl.num_programs(0) == tl.program_id(0)) & (n % BLOCK != 0):
        start = tl.cast(whole, tl.int64) * BLOCK
        at = start + lanes
        mask = at < n
{indented([*place, *tile, *sums], 8)}
{indented(end, 4)}
"""


def _row(body: Body, head: str, tile: list[str], sums: list[str]) -> str:
    """Program s·channels + c takes the tiles s, s + splits, … of channel c."""
    place = ["place = at"] if body.noise() else []
    zeros = "tl.zeros([ROWS * COLS // FOLD], tl.float32)"
    begin = [*body.parameters(" + c"), *body.seeds(), *(f"a{k} = {zeros}" for k in _of(sums))]
    end = [f"tl.store(partial + tl.program_id(0) * {len(sums)} + {k}, tl.sum(a{k}, axis=0))" for k in _of(sums)]
    return f"""@triton.jit
def {head}{body.pointers}outer, channels, inner_in_units, INNER_UNIT: tl.constexpr, WIDE: tl.constexpr,
        ROWS: tl.constexpr, COLS: tl.constexpr, FOLD: tl.constexpr):
    inner = extent(inner_in_units, INNER_UNIT, WIDE)
    c = tl.program_id(0) % channels
{indented(begin, 4)}
    col_blocks = tl.cdiv(inner, COLS)
    tiles = tl.cdiv(outer, ROWS) * col_blocks
    for tile in range(tl.program_id(0) // channels, tiles, tl.num_programs(0) // channels):
        rows = tile // col_blocks * ROWS + tl.arange(0, ROWS)
        cols = tile % col_blocks * COLS + tl.arange(0, COLS)
        first = (rows.to(tl.int64) * channels + c) * inner
        at = first[:, None] + cols[None, :]
        mask = (rows < outer)[:, None] & (cols < inner)[None, :]
{indented([*place, *tile, *sums], 8)}
{indented(end, 4)}
"""


def _lane(body: Body, head: str, tile: list[str], sums: list[str]) -> str:
    """Program s·col_blocks + b takes the row blocks s, s + splits, … of the b-th block of channels."""
    place = ["place = at"] if body.noise() else []
    load = body.parameters(" + cols", "cols < channels", "[None, :]")
    begin = [*load, *body.seeds(), *(f"a{k} = tl.zeros([ROWS, COLS], tl.float32)" for k in _of(sums))]
    end = ["split = tl.program_id(0) // col_blocks"] + [
        f"tl.store(partial + (split * {len(sums)} + {k}) * channels + cols, tl.sum(a{k}, axis=0), mask=cols < channels)"
        for k in _of(sums)
    ]
    return f"""@triton.jit
def {head}{body.pointers}outer, inner_in_units, INNER_UNIT: tl.constexpr, WIDE: tl.constexpr,
        ROWS: tl.constexpr, COLS: tl.constexpr, FOLD: tl.constexpr):
    channels = extent(inner_in_units, INNER_UNIT, WIDE)
    col_blocks = tl.cdiv(channels, COLS)
    cols = tl.program_id(0) % col_blocks * COLS + tl.arange(0, COLS)
{indented(begin, 4)}
    for block in range(tl.program_id(0) // col_blocks, tl.cdiv(outer, ROWS), tl.num_programs(0) // col_blocks):
        rows = block * ROWS + tl.arange(0, ROWS)
        at = rows.to(tl.int64)[:, None] * channels + cols[None, :]
        mask = (rows < outer)[:, None] & (cols < channels)[None, :]
{indented([*place, *tile, *sums], 8)}
{indented(end if sums else [], 4)}
"""


def _of(sums: list[str]) -> range:
    return range(len(sums))
