"""C for rows with statistics of their own, whose places have parameters of their own: a norm of layers.

``outer`` rows of ``channels`` elements. Of the parameters ``single`` have one value. Each row is visited once, forward
and backward; the sums for places are made in float32 over the rows of a block, in float64 over the blocks in order.
"""

from __future__ import annotations

from limen.formula.factors import unfactored_sums
from limen.kernels.bound import BoundFormula, Derivation
from limen.kernels.c.body import Body
from limen.kernels.c.parts import BLOCK, Task, arguments, header, partial_sums, preamble, signature
from limen.kernels.c.samples import MOMENTS_OF_SAMPLE

_STATISTICS = ", const float mean_, const float std_"


def forward_source(bound: BoundFormula, derivation: Derivation, dtype: str, layout: str) -> str:
    """The C source with one function, ``forward``."""
    body = Body(bound, dtype, layout, derivation.forward, [derivation.value], ("x",))
    body.targets = ("y",)
    body.finish = lambda results, at, lane: [f"y[{at}] = STORE({results[0]});"]
    task = Task("forward_part", arguments(False), f"""{body.unpacked}
  for (int64_t s = begin; s < end; s++) {{
    const T *from = x + s * channels;
    float *own = statistics + 2 * s;
    moments_of_sample(from, channels, own);
    for (int64_t at = 0; at < channels; at += SPAN)
      span(from + at, y + s * channels + at, smaller(SPAN, channels - at), 0{_passed(body)}, own[0], own[1]);
  }}""")  # fmt: skip
    return f"""{preamble(dtype)}{header("moments.h")}{MOMENTS_OF_SAMPLE}
static inline void span(const T *restrict x, T *restrict y, int n, int64_t c{body.pointers}{_STATISTICS}) {{
  {body.before}
  {body.loops()}
}}
{task.definition}
{signature(False)} {{
  {task.shared("outer")}
  return 0;
}}
"""


def backward_source(bound: BoundFormula, derivation: Derivation, dtype: str, layout: str) -> str:
    """The C source with one function, ``backward``, for the derivatives that were derived."""
    (_, slope), *others = derivation.slopes
    placed = [index for index, (name, _) in enumerate(others) if index > 1 and name not in bound.single]
    nodes = [node for _, node in others]
    body = Body(bound, dtype, layout, derivation.backward, [slope, *nodes], ("x", "g"))
    body.sums = unfactored_sums(derivation.backward, nodes)
    body.targets = ("slope_",)
    whole = [index for index in range(len(nodes)) if index not in placed]

    def finish(results: list[str], at: str, lane: str) -> list[str]:
        g, by_x, *others = results
        return [
            f"slope_[{at}] = {g} * {by_x};",
            *(f"a{k}[{at if k in placed else lane}] += {g} * {other};" for k, other in enumerate(others)),
        ]

    body.finish = finish
    return f"""{preamble(dtype)}{_backward_span(body, placed, whole)}{_backward(body, placed, whole)}"""


def _passed(body: Body) -> str:
    """The parameters from a place on, or themselves where there is one value."""
    return "".join(f", p{index}{'' if name in body.single else ' + at'}" for index, name in enumerate(body.parameters))


def _backward_span(body: Body, placed: list[int], whole: list[int]) -> str:
    arrays = "".join(f", float *restrict a{k}" for k in placed)
    declared = "".join(f", a{k}[LANES] = {{0}}" for k in whole)[2:]
    store = "\n".join(f"sums[{place}] += (double)sum_of_lanes(a{k});" for place, k in enumerate(whole))
    return f"""
static inline void span(
    const T *restrict g, const T *restrict x, float *restrict slope_, double *restrict sums, int n,
    int64_t c{body.pointers}{arrays}{_STATISTICS}) {{
  float {declared};
  {body.before}
  {body.loops()}
  {store}
}}
"""


def _backward(body: Body, placed: list[int], whole: list[int]) -> str:
    """``partial`` is block × sum × place, ``totals`` block × sum of what is no place's."""
    rest, count = len(whole) - 2, len(placed)
    task = Task("backward_part", f"{arguments(True)}, {_OF_BLOCKS}", _backward_part(body, rest, count, len(whole)))
    of_places = f"blocks, {count} * channels"
    grads = [
        f"grads[{k - 2} * channels + c] = (float)sum_of(partial + {index} * channels + c, {of_places});"
        for index, k in enumerate(placed)
    ]
    grads += [
        f"grads[{k - 2} * channels + c] = c ? 0 : (float)sum_of_doubles(totals + {index}, blocks, {rest});"
        for index, k in enumerate(whole[2:])
    ]
    lines = "\n    ".join(grads)
    return f"""
static double sum_of(const float *from, int64_t blocks, int64_t apart) {{
  double sum = 0;
  for (int64_t b = 0; b < blocks; b++) sum += (double)from[b * apart];
  return sum;
}}
static inline double sum_of_doubles(const double *from, int64_t blocks, int64_t apart) {{
  double sum = 0;
  for (int64_t b = 0; b < blocks; b++) sum += from[b * apart];
  return sum;
}}
{task.definition}
{signature(True)} {{
  const int64_t each = larger(64, {BLOCK} / channels), blocks = blocks_of(outer, each);
  {partial_sums("float", f"blocks * channels * {count}")}
  double *totals = calloc((size_t)(blocks * {max(1, rest)}), sizeof(double));
  if (!totals) {{ free(partial); return 1; }}
  int none = 0, *failed = &none;
  {task.shared("blocks")}
  for (int64_t c = 0; !none && c < channels; c++) {{
    {lines}
  }}
  free(partial);
  free(totals);
  return none;
}}
"""


_OF_BLOCKS = "int64_t each, float *partial, double *totals, int *failed"


def _backward_part(body: Body, rest: int, count: int, sums: int) -> str:
    """Row after row of each block: the slopes first, then what mean and deviation hand on."""
    arrays = "".join(f", partial + (b * {count} + {index}) * channels + at" for index in range(count))
    return f"""{body.unpacked}
  for (int64_t b = begin; b < end; b++) {{
    float *slopes = malloc((size_t)channels * sizeof(float));
    if (!slopes) {{ FAIL(failed); continue; }}
    for (int64_t s = b * each; s < smaller(outer, (b + 1) * each); s++) {{
      const float mean = statistics[2 * s], deviation = statistics[2 * s + 1];
      const T *restrict from = x + s * channels;
      T *restrict to = gx + s * channels;
      double found[{sums}] = {{0}};
      for (int64_t at = 0; at < channels; at += SPAN)
        span(g + s * channels + at, from + at, slopes + at, found, smaller(SPAN, channels - at), 0{_passed(body)}
             {arrays}, mean, deviation);
      for (int k = 0; k < {rest}; k++) totals[b * {rest} + k] += found[2 + k];
      const float level = (float)(found[0] / (double)channels);
      const float tilt = deviation == 0 ? 0 : (float)(found[1] / ((double)channels * (double)deviation));
      #pragma omp simd
      for (int64_t i = 0; i < channels; i++) to[i] = STORE(slopes[i] + level + tilt * (LOAD(from[i]) - mean));
    }}
    free(slopes);
  }}"""
