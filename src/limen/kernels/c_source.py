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

import functools
from collections.abc import Callable
from importlib import resources

from limen.formula.factors import factored_sums, unfactored_sums
from limen.kernels.bound import BoundFormula, Derivation
from limen.kernels.c_arithmetic import arithmetic
from limen.kernels.c_body import AHEAD, COPIES, LANES, Body
from limen.kernels.plain import ALL

LAYOUTS = ("shared", "row", "lane", "sample")
ELEMENT_TYPES = {"float32": "float", "bfloat16": "uint16_t", "float16": "uint16_t"}
_LOAD = {"float32": "({})", "bfloat16": "vm_load_bf16({})", "float16": "vm_load_f16_soft({})"}
_STORE = {"float32": "({})", "bfloat16": "vm_store_bf16({})", "float16": "vm_store_f16_soft({})"}

SPAN = 2048
"""Elements summed in float32 at a time: 8 KiB, in the first cache. With twice as many nothing is faster, and the sums
are a seventh less accurate; with half as many backward passes take 5 % longer."""
BLOCK = 16384
"""Elements at least in a block of rows, so that the partial sums of blocks stay few."""


def forward_source(bound: BoundFormula, derivation: Derivation, dtype: str, layout: str) -> str:
    """The C source with one function, ``forward``."""
    body = Body(bound, dtype, layout, derivation.forward, [derivation.value], ("x",))
    body.target = "y"
    body.finish = lambda results, at, lane: [f"y[{at}] = STORE({results[0]});"]
    return "\n".join([_preamble(dtype), _forward_span(body), _FORWARD[layout](body)])


def backward_source(bound: BoundFormula, derivation: Derivation, dtype: str, layout: str) -> str:
    """The C source with one function, ``backward``, for the derivatives that were derived."""
    slope, *others = [node for _, node in derivation.slopes]
    if layout == "lane":  # every place in the row has its own parameters and its own sums
        sums = unfactored_sums(derivation.backward, others)
    else:
        sums = factored_sums(derivation.backward, others, {"x", *bound.noise})
    body = Body(bound, dtype, layout, sums.graph, [slope, *sums.bases], ("x", "g"))
    body.sums = sums
    body.target = "slope_" if layout == "sample" else "gx"
    target = "slope_[{}] = {}" if layout == "sample" else "gx[{}] = STORE({})"

    def finish(results: list[str], at: str, lane: str) -> list[str]:
        upstream, slope, *others = results
        accumulators = [f"a{k}[{lane}]" for k in range(len(others))]
        return [
            f"{target.format(at, f'{upstream} * {slope}')};",
            *(f"{a} += {upstream} * {other};" for a, other in zip(accumulators, others, strict=True)),
        ]

    body.finish = finish
    return "\n".join([_preamble(dtype), _backward_span(body), _BACKWARD[layout](body)])


@functools.cache
def _header(name: str) -> str:
    return resources.files("limen.kernels").joinpath(name).read_text(encoding="utf-8")


def _preamble(dtype: str) -> str:
    return f"""{_header("vector_math.h")}
#include <stdlib.h>
#include <string.h>
typedef {ELEMENT_TYPES[dtype]} T;
#define LOAD(v) {_LOAD[dtype].format("v")}
#define STORE(v) {_STORE[dtype].format("v")}
#define EXPORT __attribute__((visibility("default")))
#define SPAN {SPAN}
#define LANES {LANES[dtype]}
#define GROUP ({COPIES} * LANES)
/* Ask for memory that comes {AHEAD} bytes after so many elements at a place; it may lie past the end. */
#define AHEAD(place, elements, write) \\
  for (uintptr_t at_ = 0; at_ < (elements) * sizeof *(place); at_ += 64) \\
    __builtin_prefetch((const void *)((uintptr_t)(place) + {AHEAD} + at_), write)
static inline float sum_of_lanes(float *a) {{
  for (int j = 0; j < LANES - 16; j++) a[j] += a[j + 16];
  for (int j = 0; j < 8; j++) a[j] += a[j + 8];
  for (int j = 0; j < 4; j++) a[j] += a[j + 4];
  return (a[0] + a[2]) + (a[1] + a[3]);
}}
static inline int64_t smaller(int64_t a, int64_t b) {{ return a < b ? a : b; }}
static inline int64_t larger(int64_t a, int64_t b) {{ return a > b ? a : b; }}
static inline int64_t blocks_of(int64_t n, int64_t size) {{ return (n + size - 1) / size; }}
"""


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


def _signature(body: Body, backward: bool) -> str:
    """``rows`` and ``every`` matter to samples only; ``statistics`` has the mean and deviation of each."""
    tensors = "const T *g, const T *x, T *gx, float *grads" if backward else "const T *x, T *y"
    return (
        f"EXPORT int {'backward' if backward else 'forward'}({tensors}, float *statistics, int64_t outer, "
        "int64_t channels, int64_t inner, int64_t rows, int64_t every, const int64_t *seeds, "
        "int threads, const float *const *parameters)"
    )


def _forward_few(body: Body, lines: str) -> str:
    """Beside the general function one for few elements: less to pass costs a third of the time of a small call."""
    own = "const T *x, T *y, float *statistics, int64_t outer, int64_t inner, const float *const *parameters"
    few = f"""
EXPORT int forward_few({own}) {{
  {body.unpacked}
  {lines}
  return 0;
}}
"""
    return few + _few_of_logits(own, body.weights, len(body.parameters)) if body.weights else few


def _few_of_logits(own: str, weights: int, parameters: int) -> str:
    """The same from logits in the weights' place; it gives 1 and does nothing where one weight is as good as all.

    Then that candidate's own formula has to be evaluated.
    """
    return f"""
EXPORT int forward_few_of_logits({own}) {{
  float weights[{weights}], most = parameters[0][0], sum = 0;
  const float *all[{parameters}];
  int near = 0;
  for (int k = 1; k < {weights}; k++) most = vm_max(most, parameters[0][k]);
  for (int k = 0; k < {weights}; k++) near += parameters[0][k] > most - {ALL:g};
  if (near == 1) return 1;
  for (int k = 0; k < {weights}; k++) sum += weights[k] = vm_exp_np(most - parameters[0][k]);
  for (int k = 0; k < {weights}; k++) {{ weights[k] /= sum; all[k] = weights + k; }}
  for (int k = {weights}; k < {parameters}; k++) all[k] = parameters[k - {weights} + 1];
  return forward_few(x, y, statistics, outer, inner, all);
}}
"""


_PARALLEL = "#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)"
_SEED = "const uint32_t seed = seeds ? (uint32_t)*seeds : 0;"


def _forward_shared(body: Body) -> str:
    spans = f"""for (int64_t at = 0; at < inner; at += SPAN)
    span(x + at, y + at, smaller(SPAN, inner - at), at, 0, 0{body.passed});"""
    return f"""
{_forward_few(body, spans)}
{_signature(body, False)} {{
  {body.unpacked}
  {_SEED}
  const int64_t blocks = blocks_of(inner, SPAN);
  {_PARALLEL}
  for (int64_t b = 0; b < blocks; b++) {{
    const int64_t at = b * SPAN;
    span(x + at, y + at, smaller(SPAN, inner - at), at, seed, 0{body.passed});
  }}
  return 0;
}}
"""


def _forward_row(body: Body) -> str:
    return f"""
{_signature(body, False)} {{
  {body.unpacked}
  {_SEED}
  {_PARALLEL}
  for (int64_t row = 0; row < outer * channels; row++)
    for (int64_t at = 0; at < inner; at += SPAN) {{
      const int64_t first = row * inner + at;
      span(x + first, y + first, smaller(SPAN, inner - at), first, seed, row % channels{body.passed});
    }}
  return 0;
}}
"""


def _forward_lane(body: Body) -> str:
    return f"""
{_signature(body, False)} {{
  {body.unpacked}
  {_SEED}
  const int64_t each = larger(1, SPAN / larger(1, {COPIES} * channels)) * {COPIES};
  {_PARALLEL}
  for (int64_t row = 0; row < outer; row += each) {{
    const int64_t first = row * channels;
    span(x + first, y + first, smaller(each, outer - row), channels, first, seed, 0{body.passed});
  }}
  return 0;
}}
"""


WITHIN = 65536
"""Elements of a sample from which its own spans are shared among the threads, where there are fewer samples than
threads."""

_WITHIN = f"const int within = outer < threads && size >= {WITHIN};"
_PARALLEL_SAMPLES = _PARALLEL.replace("if (threads > 1)", "if (threads > 1 && !within)")
_PLACE = """const int64_t row = k / across, at = k % across * SPAN;
        const int64_t c = (s * rows + row) / every % channels, first = (s * rows + row) * inner + at;"""


def _forward_sample(body: Body) -> str:
    samples = f"""for (int64_t s = 0; s < outer; s++) {{
    const T *from = x + s * inner;
    float here[2], *own = statistics ? statistics + 2 * s : here;
    moments_of_sample(from, inner, own);
    for (int64_t at = 0; at < inner; at += SPAN)
      span(from + at, y + s * inner + at, smaller(SPAN, inner - at), 0, 0, 0{body.passed}, own[0], own[1]);
  }}"""
    return f"""{_header("moments.h")}
static inline void moments_of_sample(const T *from, int64_t size, float *own) {{
  moments all = {{0, 0, 0}};
  for (int64_t at = 0; at < size; at += SPAN) {{
    double mean, spread;
    moments_of_span(from + at, smaller(SPAN, size - at), &mean, &spread);
    join(&all, smaller(SPAN, size - at), mean, spread);
  }}
  finish(&all, own);
}}
{_forward_few(body, samples)}
{_signature(body, False)} {{
  {body.unpacked}
  {_SEED}
  const int64_t size = rows * inner, spans = blocks_of(size, SPAN), across = blocks_of(inner, SPAN);
  {_WITHIN}
  double *found = within ? malloc((size_t)spans * 2 * sizeof(double)) : 0;
  if (within && !found) return 1;
  {_PARALLEL_SAMPLES}
  for (int64_t s = 0; s < outer; s++) {{
    const T *from = x + s * size;
    float *own = statistics + 2 * s;
    if (within) {{
      moments all = {{0, 0, 0}};
      {_PARALLEL}
      for (int64_t b = 0; b < spans; b++)
        moments_of_span(from + b * SPAN, smaller(SPAN, size - b * SPAN), found + 2 * b, found + 2 * b + 1);
      for (int64_t b = 0; b < spans; b++) join(&all, smaller(SPAN, size - b * SPAN), found[2 * b], found[2 * b + 1]);
      finish(&all, own);
      {_PARALLEL}
      for (int64_t k = 0; k < rows * across; k++) {{
        {_PLACE}
        span(x + first, y + first, smaller(SPAN, inner - at), first, seed, c{body.passed}, own[0], own[1]);
      }}
    }} else {{
      moments_of_sample(from, size, own);
      for (int64_t row = 0; row < rows; row++) {{
        const int64_t c = (s * rows + row) / every % channels;
        for (int64_t at = 0; at < inner; at += SPAN) {{
          const int64_t first = (s * rows + row) * inner + at;
          span(x + first, y + first, smaller(SPAN, inner - at), first, seed, c{body.passed}, own[0], own[1]);
        }}
      }}
    }}
  }}
  free(found);
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


def _partial_sums(kind: str, count: str) -> str:
    """Zeroed partial sums, one set a block; at least one, so that a null pointer means there is no memory."""
    return f"""{kind} *partial = calloc((size_t)larger(1, {count}), sizeof({kind}));
  if (!partial) return 1;"""


def _join(count: str) -> str:
    """The sums of all blocks, in order."""
    return f"""for (int64_t k = 0; k < {count}; k++) {{
    double sum = 0;
    for (int64_t b = 0; b < blocks; b++) sum += partial[b * {count} + k];
    grads[k] = (float)sum;
  }}
  free(partial);
  return 0;"""


def _backward_shared(body: Body) -> str:
    return f"""
{_signature(body, True)} {{
  {body.unpacked}
  {_SEED}
  const int64_t blocks = blocks_of(inner, SPAN);
  {_partial_sums("double", f"blocks * {body.count}")}
  {_PARALLEL}
  for (int64_t b = 0; b < blocks; b++) {{
    const int64_t at = b * SPAN;
    span(g + at, x + at, gx + at, partial + b * {body.count}, smaller(SPAN, inner - at), at, seed, 0{body.passed});
  }}
  {_join(str(body.count))}
}}
"""


def _backward_row(body: Body) -> str:
    """``partial`` is block × channel × sum; ``grads`` too, so that they join place by place."""
    return f"""
{_signature(body, True)} {{
  {body.unpacked}
  {_SEED}
  const int64_t each = larger(1, {BLOCK} / larger(1, channels * inner));
  const int64_t blocks = blocks_of(outer, each), sums = channels * {body.count};
  {_partial_sums("double", "blocks * sums")}
  {_PARALLEL}
  for (int64_t b = 0; b < blocks; b++)
    for (int64_t row = b * each * channels; row < smaller(outer, (b + 1) * each) * channels; row++) {{
      const int64_t c = row % channels;
      for (int64_t at = 0; at < inner; at += SPAN) {{
        const int64_t first = row * inner + at;
        span(g + first, x + first, gx + first, partial + b * sums + c * {body.count}, smaller(SPAN, inner - at),
             first, seed, c{body.passed});
      }}
    }}
  {_join("sums")}
}}
"""


def _backward_lane(body: Body) -> str:
    """``partial`` is block × sum × channel, in floats that hold the rows of one block."""
    return f"""
{_signature(body, True)} {{
  {body.unpacked}
  {_SEED}
  const int64_t each = larger(64, {BLOCK} / larger(1, {COPIES} * channels) * {COPIES});
  const int64_t blocks = blocks_of(outer, each), sums = channels * {body.count};
  {_partial_sums("float", "blocks * sums")}
  {_PARALLEL}
  for (int64_t b = 0; b < blocks; b++) {{
    const int64_t first = b * each * channels;
    span(g + first, x + first, gx + first, partial + b * sums, smaller(each, outer - b * each), channels,
         first, seed, 0{body.passed});
  }}
  {_join("sums")}
}}
"""


def _backward_sample(body: Body) -> str:
    """First g·∂f/∂x and all sums, then what the mean and the deviation hand on to every element of the sample.

    With A = Σ g·∂f/∂μ and B = Σ g·∂f/∂sd, an element's gradient is g·∂f/∂x + A/N + B·(x − μ)/(N·sd); ∂sd/∂x is 0
    where sd is 0. The slopes wait in float32 until the sums are known, in the result itself if that is float32, so
    that half types are rounded once.
    """
    sums = body.count - 2
    return f"""
{_signature(body, True)} {{
  {body.unpacked}
  {_SEED}
  const int64_t size = rows * inner, each = larger(1, {BLOCK} / larger(1, size)), across = blocks_of(inner, SPAN);
  {_WITHIN}
  const int64_t blocks = blocks_of(outer, each), sums = channels * {sums};
  {_partial_sums("double", "blocks * sums")}
  int failed = 0;
  double *chunks = within ? malloc((size_t)(rows * across * {body.count}) * sizeof(double)) : 0;
  if (within && !chunks) {{ free(partial); return 1; }}
  {_PARALLEL_SAMPLES} reduction(|:failed)
  for (int64_t b = 0; b < blocks; b++) {{
    {"float *slopes;" if body.in_place else "float *slopes = malloc((size_t)size * sizeof(float));"}
    {"" if body.in_place else "if (!slopes) { failed = 1; continue; }"}
    for (int64_t s = b * each; s < smaller(outer, (b + 1) * each); s++) {{
      const float mean = statistics[2 * s], deviation = statistics[2 * s + 1];
      {"slopes = gx + s * size;" if body.in_place else ""}
      double by_mean = 0, by_deviation = 0;
      if (within) {{
        {_PARALLEL}
        for (int64_t k = 0; k < rows * across; k++) {{
          {_PLACE}
          double *here = chunks + k * {body.count};
          for (int j = 0; j < {body.count}; j++) here[j] = 0;
          span(g + first, x + first, slopes + row * inner + at, here, smaller(SPAN, inner - at),
               first, seed, c{body.passed}, mean, deviation);
        }}
      }}
      for (int64_t row = 0; row < rows; row++) {{
        const int64_t c = (s * rows + row) / every % channels;
        double found[{body.count}] = {{0}};
        for (int64_t at = 0; within && at < inner; at += SPAN)
          for (int j = 0; j < {body.count}; j++) found[j] += chunks[(row * across + at / SPAN) * {body.count} + j];
        for (int64_t at = 0; !within && at < inner; at += SPAN) {{
          const int64_t first = (s * rows + row) * inner + at;
          span(g + first, x + first, slopes + row * inner + at, found, smaller(SPAN, inner - at),
               first, seed, c{body.passed}, mean, deviation);
        }}
        by_mean += found[0];
        by_deviation += found[1];
        for (int64_t k = 0; k < {sums}; k++) partial[b * sums + c * {sums} + k] += found[2 + k];
      }}
      const float level = (float)(by_mean / (double)size);
      const float tilt = deviation == 0 ? 0 : (float)(by_deviation / ((double)size * (double)deviation));
      const T *restrict from = x + s * size;
      T *to = gx + s * size;
      if (within) {{
        #pragma omp parallel for simd schedule(static) num_threads(threads)
        for (int64_t i = 0; i < size; i++)
          to[i] = STORE(slopes[i] + level + tilt * (LOAD(from[i]) - mean));
      }} else {{
        #pragma omp simd
        for (int64_t i = 0; i < size; i++)
          to[i] = STORE(slopes[i] + level + tilt * (LOAD(from[i]) - mean));
      }}
    }}
    {"" if body.in_place else "free(slopes);"}
  }}
  free(chunks);
  if (failed) {{ free(partial); return 1; }}
  {_join("sums")}
}}
"""


_FORWARD: dict[str, Callable[[Body], str]] = {
    "shared": _forward_shared, "row": _forward_row, "lane": _forward_lane, "sample": _forward_sample,
}  # fmt: skip
_BACKWARD: dict[str, Callable[[Body], str]] = {
    "shared": _backward_shared, "row": _backward_row, "lane": _backward_lane, "sample": _backward_sample,
}  # fmt: skip
