"""C for a derived formula: straight-line arithmetic in loops that the compiler turns into vector code.

Three ways parameters meet the input's memory, and one for formulas with statistics:

========= ======================================================== =============================================
layout    memory                                                   parameters
========= ======================================================== =============================================
shared    ``inner`` elements                                       one value
row       ``outer`` × ``channels`` rows of ``inner`` elements      one value a row, by channel
lane      ``outer`` rows of ``channels`` elements                  one value a place in the row
sample    ``outer`` samples of ``rows`` rows of ``inner`` elements one value a row: row // ``every`` % ``channels``
========= ======================================================== =============================================

The sums for parameters and statistics are made in blocks whose size depends on the shape alone, in float32 within a
block and in float64 over the blocks in order: the same bits for any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable

from limen.formula.factors import factored_sums, unfactored_sums
from limen.kernels.bound import BoundFormula, Derivation
from limen.kernels.c.arithmetic import arithmetic
from limen.kernels.c.body import COPIES, Body
from limen.kernels.c.parts import BLOCK, SEED, Task, arguments, backward_by_blocks, forward_short, preamble, signature
from limen.kernels.c.samples import backward_sample, forward_sample

LAYOUTS = ("shared", "row", "lane", "sample")


def forward_source(bound: BoundFormula, derivation: Derivation, dtype: str, layout: str) -> str:
    """The C source with one function, ``forward``."""
    body = Body(bound, dtype, layout, derivation.forward, [derivation.value], ("x",))
    body.targets = ("y",)
    body.finish = lambda results, at, lane: [f"y[{at}] = STORE({results[0]});"]
    return "\n".join([preamble(dtype, body), _forward_span(body), _FORWARD[layout](body)])


def backward_source(bound: BoundFormula, derivation: Derivation, dtype: str, layout: str) -> str:
    """The C source with one function, ``backward``, for the derivatives that were derived."""
    slope, *others = [node for _, node in derivation.slopes]
    if layout == "lane":  # every place in the row has its own parameters and its own sums
        sums = unfactored_sums(derivation.backward, others)
    else:
        sums = factored_sums(derivation.backward, others, {"x", *bound.noise})
    body = Body(bound, dtype, layout, sums.graph, [slope, *sums.bases], ("x", "g"))
    body.sums, body.slopes = sums, (slope, *others)
    body.targets = ("slope_" if layout == "sample" else "gx",)
    target = "slope_[{}] = {}" if layout == "sample" else "gx[{}] = STORE({})"

    def finish(results: list[str], at: str, lane: str) -> list[str]:
        upstream, slope, *others = results
        accumulators = [f"a{k}[{lane}]" for k in range(len(others))]
        return [
            f"{target.format(at, f'{upstream} * {slope}')};",
            *(f"{a} += {upstream} * {other};" for a, other in zip(accumulators, others, strict=True)),
        ]

    body.finish = finish
    return "\n".join([preamble(dtype, body), _backward_span(body), _BACKWARD[layout](body)])


_STATISTICS = ", const float mean_, const float std_"


def _forward_span(body: Body) -> str:
    statistics = _STATISTICS if body.layout == "sample" else ""
    return f"""
static inline void span(
    const T *restrict x, T *restrict y, {body.extent}, uint64_t place, uint32_t seed,
    int64_t c{body.pointers}{statistics}) {{
  {body.before}
  {body.loops()}
}}
"""


def _forward_shared(body: Body) -> str:
    spans = f"""for (int64_t at = 0; at < inner; at += SPAN)
    span(x + at, y + at, smaller(SPAN, inner - at), at, 0, 0{body.passed});"""
    return _forward(body, "blocks_of(inner, SPAN)", f"""for (int64_t b = begin; b < end; b++) {{
    const int64_t at = b * SPAN;
    span(x + at, y + at, smaller(SPAN, inner - at), at, seed, 0{body.passed});
  }}""", forward_short(body, spans))  # fmt: skip


def _forward_row(body: Body) -> str:
    return _forward(
        body,
        "outer * channels",
        f"""for (int64_t row = begin; row < end; row++)
    for (int64_t at = 0; at < inner; at += SPAN) {{
      const int64_t first = row * inner + at;
      span(x + first, y + first, smaller(SPAN, inner - at), first, seed, row % channels{body.passed});
    }}""",
    )


def _forward_lane(body: Body) -> str:
    each = f"larger(1, SPAN / larger(1, {COPIES} * channels)) * {COPIES}"
    return _forward(
        body,
        f"blocks_of(outer, {each})",
        f"""const int64_t each = {each};
  for (int64_t b = begin; b < end; b++) {{
    const int64_t row = b * each, first = row * channels;
    span(x + first, y + first, smaller(each, outer - row), channels, first, seed, 0{body.passed});
  }}""",
    )


def _forward(body: Body, count: str, lines: str, before: str = "") -> str:
    """The function that has lines done for so many pieces."""
    task = Task("forward_part", arguments(False), f"{body.unpacked}\n  {SEED}\n  {lines}")
    return f"""
{before}
{task.definition}
{signature(False)} {{
  {task.shared(count)}
  return 0;
}}
"""


def _backward_span(body: Body) -> str:
    """Adds to ``sums``: in doubles for one channel, or for lanes in floats for all channels."""
    lane, sample = body.layout == "lane", body.layout == "sample"
    accumulators = [f"a{k}" for k in range(len(body.sums.bases))]
    declare, store = "", ""
    if accumulators and lane:
        declare = "\n".join(f"float *restrict {a} = sums + {k} * (int64_t)n;" for k, a in enumerate(accumulators))
    elif accumulators:
        declare = f"float {', '.join(f'{a}[LANES] = {{0}}' for a in accumulators)};"
        statements, factors = arithmetic(body.graph, body.sums.coefficients, body.uniform_names, "_")
        results = iter(factors)
        added = [
            f"sums[{k}] += {' + '.join(f'(double){next(results)} * (double)a{basis}[0]' for basis, _ in parts)};"
            for k, parts in enumerate(body.sums.parts)
        ]
        gathered = [f"{a}[0] = sum_of_lanes({a});" for a in accumulators]
        store = "\n".join([*gathered, *statements, *added])
    out = "float *restrict slope_" if sample else "T *restrict gx"
    return f"""
static inline void span(
    const T *restrict g, const T *restrict x, {out}, {"float" if lane else "double"} *restrict sums, {body.extent},
    uint64_t place, uint32_t seed, int64_t c{body.pointers}{_STATISTICS if sample else ""}) {{
  {body.before}
  {declare}
  {body.loops()}
  {store}
}}
"""


def _backward_shared(body: Body) -> str:
    return _backward(
        body,
        "double",
        "SPAN",
        f"""for (int64_t b = begin; b < end; b++) {{
    const int64_t at = b * SPAN;
    span(g + at, x + at, gx + at, partial + b * {body.count}, smaller(SPAN, inner - at), at, seed, 0{body.passed});
  }}""",
    )


def _backward_row(body: Body) -> str:
    """``partial`` is block × channel × sum."""
    each = f"larger(1, {BLOCK} / larger(1, channels * inner))"
    return _backward(
        body,
        "double",
        each,
        f"""for (int64_t b = begin; b < end; b++)
    for (int64_t row = b * each * channels; row < smaller(outer, (b + 1) * each) * channels; row++) {{
      const int64_t c = row % channels;
      for (int64_t at = 0; at < inner; at += SPAN) {{
        const int64_t first = row * inner + at;
        span(g + first, x + first, gx + first, partial + b * sums + c * {body.count}, smaller(SPAN, inner - at),
             first, seed, c{body.passed});
      }}
    }}""",
    )


def _backward_lane(body: Body) -> str:
    """``partial`` is block × sum × channel, in floats that hold the rows of one block."""
    each = f"larger(64, {BLOCK} / larger(1, {COPIES} * channels) * {COPIES})"
    return _backward(
        body,
        "float",
        each,
        f"""for (int64_t b = begin; b < end; b++) {{
    const int64_t first = b * each * channels;
    span(g + first, x + first, gx + first, partial + b * sums, smaller(each, outer - b * each), channels,
         first, seed, 0{body.passed});
  }}""",
    )


def _backward(body: Body, kind: str, each: str, lines: str) -> str:
    return backward_by_blocks(body, kind, each, lines, arguments(True), signature(True))


_FORWARD: dict[str, Callable[[Body], str]] = {
    "shared": _forward_shared, "row": _forward_row, "lane": _forward_lane, "sample": forward_sample,
}  # fmt: skip
_BACKWARD: dict[str, Callable[[Body], str]] = {
    "shared": _backward_shared, "row": _backward_row, "lane": _backward_lane, "sample": backward_sample,
}  # fmt: skip
