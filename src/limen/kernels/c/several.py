"""C for formulas of several inputs: the loops of ``source`` and ``samples``, over rows that may lie apart.

Inputs that are the halves of one tensor's last dimension are read where they lie: their rows begin ``pitch`` elements
apart, and those of their gradients ``pitch_out``. Results lie densely. The layouts are those of ``source``; ``shared``
is one row, ``row`` has rows of one channel each.
"""

from __future__ import annotations

from collections.abc import Callable

from limen.formula.factors import factored_sums, unfactored_sums
from limen.kernels.bound import BoundFormula, Derivation
from limen.kernels.c.arithmetic import arithmetic
from limen.kernels.c.body import COPIES, Body
from limen.kernels.c.parts import BLOCK, SEED, Task, backward_by_blocks, header, join, partial_sums, preamble
from limen.kernels.c.samples import WITHIN

_SIZES = (
    "float *statistics, int64_t outer, int64_t channels, int64_t inner, int64_t rows, int64_t every, int64_t pitch, "
    "int64_t pitch_out, const int64_t *seeds, int threads, const float *const *parameters"
)
_STATISTICS = ", const float mean_, const float std_"
SAMPLED = ("sample", "channel")
"""The layouts with statistics: of samples, each of neighbouring rows; of channels, each of a row of every sample."""


def names_beside(bound: BoundFormula) -> tuple[str, ...]:
    """What the inputs beside x are called in C."""
    return tuple(f"u{index}" for index in range(len(bound.beside)))


def forward_source(bound: BoundFormula, derivation: Derivation, dtype: str, layout: str) -> str:
    """The C source with one function, ``forward``."""
    body = Body(bound, dtype, layout, derivation.forward, [derivation.value], ("x", *names_beside(bound)))
    body.targets = ("y",)
    body.finish = lambda results, at, lane: [f"y[{at}] = STORE({results[0]});"]
    return "\n".join([preamble(dtype, body), _forward_span(body), _FORWARD[layout](body)])


def backward_source(bound: BoundFormula, derivation: Derivation, dtype: str, layout: str) -> str:
    """The C source with one function, ``backward``, for the derivatives that were derived."""
    slope, *others = [node for _, node in derivation.slopes]
    if layout == "lane":
        sums = unfactored_sums(derivation.backward, others)
    else:
        sums = factored_sums(derivation.backward, others, {"x", *bound.noise, *bound.beside})
    beside = names_beside(bound)
    factor = [] if derivation.factor is None else [derivation.factor]
    outputs = [*factor, slope, *derivation.beside, *sums.bases]
    body = Body(bound, dtype, layout, sums.graph, outputs, ("x", "g", *beside))
    body.sums = sums
    target = "slope_" if layout in SAMPLED else "gx"
    body.targets = (target, *(f"g{name}" for name in beside))
    whole = "{}[{}] = {};" if layout in SAMPLED else "{}[{}] = STORE({});"

    def finish(results: list[str], at: str, lane: str) -> list[str]:
        upstream, *others = results
        scaled = f"({upstream} * {others.pop(0)})" if factor else upstream
        slope, by_beside, others = others[0], others[1 : len(beside) + 1], others[len(beside) + 1 :]
        return [
            whole.format(target, body.place(target, at), f"{scaled} * {slope}"),
            *(
                f"g{u}[{body.place(f'g{u}', at)}] = STORE({upstream} * {by});"
                for u, by in zip(beside, by_beside, strict=True)
            ),
            *(f"a{k}[{lane}] += {scaled} * {other};" for k, other in enumerate(others)),
        ]

    body.finish = finish
    return "\n".join([preamble(dtype, body), _backward_span(body), _BACKWARD[layout](body)])


def _extent(body: Body, backward: bool) -> str:
    if body.layout != "lane":
        return body.extent
    return f"{body.extent}, int64_t pitch{', int64_t pitch_out' if backward else ''}"


def _inputs(body: Body, place: str, given: str = "") -> str:
    """The inputs as a call passes them on, from a place on; ``given``: as they are declared."""
    return ", ".join(f"{given}{name}{place}" for name in body.tensors if name != "g")


def _gradients(body: Body, place: str, given: str = "") -> str:
    """The gradients of inputs beside x, after that of x."""
    return "".join(f", {given}{name}{place}" for name in body.targets[1:])


def _arguments(body: Body, backward: bool) -> str:
    inputs = _inputs(body, "", "const T *")
    if backward:
        tensors = f"const T *g, {inputs}, T *gx{_gradients(body, '', 'T *')}, float *grads"
    else:
        tensors = f"{inputs}, T *y"
    return f"{tensors}, {_SIZES}"


def _signature(body: Body, backward: bool) -> str:
    return f"EXPORT int {'backward' if backward else 'forward'}({_arguments(body, backward)})"


def _forward_span(body: Body) -> str:
    return f"""
static inline void span(
    {_inputs(body, "", "const T *restrict ")}, T *restrict y, {_extent(body, False)}, uint64_t place, uint32_t seed,
    int64_t c{body.pointers}{_STATISTICS if body.layout in SAMPLED else ""}) {{
  {body.before}
  {body.loops()}
}}
"""


def _backward_span(body: Body) -> str:
    lane = body.layout == "lane"
    accumulators = [f"a{k}" for k in range(len(body.sums.bases))]
    declare, store = "", ""
    if accumulators and lane:
        declare = "\n".join(f"float *restrict {a} = sums + {k} * (int64_t)n;" for k, a in enumerate(accumulators))
    elif accumulators:
        declare = f"float {', '.join(f'{a}[LANES] = {{0}}' for a in accumulators)};"
        store = "\n".join(_gathered(body, accumulators))
    out = "float *restrict slope_" if body.layout in SAMPLED else "T *restrict gx"
    return f"""
static inline void span(
    const T *restrict g, {_inputs(body, "", "const T *restrict ")}, {out}{_gradients(body, "", "T *restrict ")},
    {"float" if lane else "double"} *restrict sums, {_extent(body, True)},
    uint64_t place, uint32_t seed, int64_t c{body.pointers}{_STATISTICS if body.layout in SAMPLED else ""}) {{
  {body.before}
  {declare}
  {body.loops()}
  {store}
}}
"""


def _gathered(body: Body, accumulators: list[str]) -> list[str]:
    """What adds the sums of a span, in their proportions, to ``sums``."""
    statements, factors = arithmetic(body.graph, body.sums.coefficients, body.uniform_names, "_")
    results = iter(factors)
    added = [
        f"sums[{k}] += {' + '.join(f'(double){next(results)} * (double)a{basis}[0]' for basis, _ in parts)};"
        for k, parts in enumerate(body.sums.parts)
    ]
    return [*(f"{a}[0] = sum_of_lanes({a});" for a in accumulators), *statements, *added]


def _forward_shared(body: Body) -> str:
    return _forward(
        body,
        "blocks_of(inner, SPAN)",
        f"""for (int64_t b = begin; b < end; b++) {{
    const int64_t at = b * SPAN;
    span({_inputs(body, " + at")}, y + at, smaller(SPAN, inner - at), at, seed, 0{body.passed});
  }}""",
    )


def _forward_row(body: Body) -> str:
    return _forward(
        body,
        "outer * channels",
        f"""for (int64_t row = begin; row < end; row++)
    for (int64_t at = 0; at < inner; at += SPAN) {{
      const int64_t first = row * inner + at, from = row * pitch + at;
      span({_inputs(body, " + from")}, y + first, smaller(SPAN, inner - at), first, seed, row % channels{body.passed});
    }}""",
    )


def _forward_lane(body: Body) -> str:
    each = f"larger(1, SPAN / larger(1, {COPIES} * channels)) * {COPIES}"
    return _forward(
        body,
        f"blocks_of(outer, {each})",
        f"""const int64_t each = {each};
  for (int64_t b = begin; b < end; b++) {{
    const int64_t row = b * each, first = row * channels, from = row * pitch;
    span({_inputs(body, " + from")}, y + first, smaller(each, outer - row), channels, pitch, first, seed,
         0{body.passed});
  }}""",
    )


def _forward(body: Body, count: str, lines: str) -> str:
    """The function that has lines done for so many pieces."""
    task = Task("forward_part", _arguments(body, False), f"{body.unpacked}\n  {SEED}\n  {lines}")
    return f"""
{task.definition}
{_signature(body, False)} {{
  {task.shared(count)}
  return 0;
}}
"""


def _backward_shared(body: Body) -> str:
    return _backward(
        body,
        "double",
        "SPAN",
        f"""for (int64_t b = begin; b < end; b++) {{
    const int64_t at = b * SPAN;
    span(g + at, {_inputs(body, " + at")}, gx + at{_gradients(body, " + at")}, partial + b * {body.count},
         smaller(SPAN, inner - at), at, seed, 0{body.passed});
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
        const int64_t first = row * inner + at, from = row * pitch + at, to = row * pitch_out + at;
        span(g + first, {_inputs(body, " + from")}, gx + to{_gradients(body, " + to")},
             partial + b * sums + c * {body.count}, smaller(SPAN, inner - at), first, seed, c{body.passed});
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
    const int64_t row = b * each, first = row * channels, from = row * pitch, to = row * pitch_out;
    span(g + first, {_inputs(body, " + from")}, gx + to{_gradients(body, " + to")}, partial + b * sums,
         smaller(each, outer - row), channels, pitch, pitch_out, first, seed, 0{body.passed});
  }}""",
    )


def _backward(body: Body, kind: str, each: str, lines: str) -> str:
    return backward_by_blocks(body, kind, each, lines, _arguments(body, True), _signature(body, True))


_WITHIN = f"const int within = outer < threads && rows * inner >= {WITHIN};"
_SAMPLES, _SPANS = "within ? 1 : threads", "within ? threads : 1"
"""Which threads share samples, and which the spans of one, as they do where there are fewer samples than threads."""
_FEW = 32
"""Spans of a sample whose sums stand on the stack: to ask for memory takes as long as hundreds of elements."""


def _row(body: Body, row: str) -> str:
    """Which of all rows is one of those of a sample, or of a channel."""
    return f"s * rows + {row}" if body.layout == "sample" else f"({row}) * outer + s"


def _place(body: Body) -> str:
    return f"""const int64_t row = k / across, at = k % across * SPAN, r = {_row(body, "row")};
      const int64_t c = r / every % channels, first = r * inner + at, from = r * pitch + at;
      const int64_t here = smaller(SPAN, inner - at);"""


def _forward_sample(body: Body) -> str:
    """The statistics of each sample, span by span of its rows, then its results while it is in the cache."""
    given = f"{_arguments(body, False)}, int64_t across, int64_t spans"
    found = f"{given}, int64_t s, double *found"
    moments = Task("moments_of_spans", found, f"""for (int64_t k = begin; k < end; k++) {{
    const int64_t at = k % across * SPAN;
    const T *from = x + ({_row(body, "k / across")}) * pitch + at;
    moments_of_span(from, smaller(SPAN, inner - at), found + 2 * k, found + 2 * k + 1);
  }}""")  # fmt: skip
    results = Task("forward_spans", f"{given}, int64_t s, float *own", f"""{body.unpacked}
  {SEED}
  for (int64_t k = begin; k < end; k++) {{
    {_place(body)}
    span({_inputs(body, " + from")}, y + first, here, first, seed, c{body.passed}, own[0], own[1]);
  }}""")  # fmt: skip
    each = Task("forward_part", f"{given}, int within, int *failed", f"""for (int64_t s = begin; s < end; s++) {{
    double few[{2 * _FEW}], *found = spans <= {_FEW} ? few : malloc((size_t)spans * 2 * sizeof(double));
    if (!found) {{ FAIL(failed); continue; }}
    {moments.shared("spans", _SPANS)}
    moments all = {{0, 0, 0}};
    for (int64_t k = 0; k < spans; k++)
      join(&all, smaller(SPAN, inner - k % across * SPAN), found[2 * k], found[2 * k + 1]);
    if (found != few) free(found);
    float *own = statistics + 2 * s;
    finish(&all, own);
    {results.shared("spans", _SPANS)}
  }}""")  # fmt: skip
    return f"""{header("moments.h")}
{moments.definition}
{results.definition}
{each.definition}
{_signature(body, False)} {{
  const int64_t across = blocks_of(inner, SPAN), spans = rows * across;
  {_WITHIN}
  int none = 0, *failed = &none;
  {each.shared("outer", _SAMPLES)}
  return none;
}}
"""


def _backward_sample(body: Body) -> str:
    """As in ``samples``: g·∂f/∂x and all sums first, then what mean and deviation hand on to every element."""
    sums = body.count - 2
    given = f"{_arguments(body, True)}, int64_t across, int64_t s, float *slopes, float mean"
    slopes = Task("backward_spans", f"{given}, double *chunks, float deviation", f"""{body.unpacked}
  {SEED}
  for (int64_t k = begin; k < end; k++) {{
    {_place(body)}
    const int64_t to = r * pitch_out + at;
    for (int j = 0; j < {body.count}; j++) chunks[k * {body.count} + j] = 0;
    span(g + first, {_inputs(body, " + from")}, slopes + row * inner + at{_gradients(body, " + to")},
         chunks + k * {body.count}, here, first, seed, c{body.passed}, mean, deviation);
  }}""")  # fmt: skip
    results = Task("hand_on", f"{given}, float level, float tilt", f"""for (int64_t row = begin; row < end; row++) {{
    const T *restrict from = x + ({_row(body, "row")}) * pitch;
    const float *restrict slope = slopes + row * inner;
    T *restrict to = gx + ({_row(body, "row")}) * pitch_out;
    #pragma omp simd
    for (int64_t i = 0; i < inner; i++) to[i] = STORE(slope[i] + level + tilt * (LOAD(from[i]) - mean));
  }}""")  # fmt: skip
    task = Task("backward_part", f"{_arguments(body, True)}, {_OF_BLOCKS}", _backward_samples(body, slopes, results))
    return f"""
{slopes.definition}
{results.definition}
{task.definition}
{_signature(body, True)} {{
  const int64_t size = rows * inner, across = blocks_of(inner, SPAN), spans = rows * across;
  const int64_t each = larger(1, {BLOCK} / larger(1, size)), blocks = blocks_of(outer, each), sums = channels * {sums};
  {_WITHIN}
  {partial_sums("double", "blocks * sums")}
  int none = 0, *failed = &none;
  {task.shared("blocks", _SAMPLES)}
  if (none) {{ free(partial); return 1; }}
  {join(sums)}
}}
"""


_OF_BLOCKS = (
    "int64_t size, int64_t across, int64_t spans, int64_t each, int64_t sums, double *partial, int within, int *failed"
)


def _backward_samples(body: Body, slopes: Task, results: Task) -> str:
    """Sample after sample of each block."""
    sums = body.count - 2
    return f"""for (int64_t b = begin; b < end; b++) {{
    float *slopes = malloc((size_t)larger(1, size) * sizeof(float));
    double *chunks = malloc((size_t)(spans * {body.count}) * sizeof(double));
    if (!slopes || !chunks) {{ free(slopes); free(chunks); FAIL(failed); continue; }}
    for (int64_t s = b * each; s < smaller(outer, (b + 1) * each); s++) {{
      const float mean = statistics[2 * s], deviation = statistics[2 * s + 1];
      {slopes.shared("spans", _SPANS)}
      double by_mean = 0, by_deviation = 0;
      for (int64_t k = 0; k < spans; k++) {{
        const int64_t c = ({_row(body, "k / across")}) / every % channels;
        by_mean += chunks[k * {body.count}];
        by_deviation += chunks[k * {body.count} + 1];
        for (int64_t j = 0; j < {sums}; j++) partial[b * sums + c * {sums} + j] += chunks[k * {body.count} + 2 + j];
      }}
      const float level = (float)(by_mean / (double)size);
      const float tilt = deviation == 0 ? 0 : (float)(by_deviation / ((double)size * (double)deviation));
      {results.shared("rows", _SPANS)}
    }}
    free(slopes);
    free(chunks);
  }}"""


_FORWARD: dict[str, Callable[[Body], str]] = {
    "shared": _forward_shared, "row": _forward_row, "lane": _forward_lane, "sample": _forward_sample,
    "channel": _forward_sample,
}  # fmt: skip
_BACKWARD: dict[str, Callable[[Body], str]] = {
    "shared": _backward_shared, "row": _backward_row, "lane": _backward_lane, "sample": _backward_sample,
    "channel": _backward_sample,
}  # fmt: skip
