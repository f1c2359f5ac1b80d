"""A norm and an activation in C: one pass for the statistics of each channel, then the formula's own kernels.

With z = (x − μ)·s + b and y = f(z) the derivative by x is g·f′(z)·s + k₀ + k₁·(x − μ): what the formula's backward
kernel gives, and what a channel's mean and deviation hand on to each of its elements, which its sums by s and b tell.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import torch
from torch import Tensor

from limen.kernels.bound import BoundFormula
from limen.kernels.c import build, calls
from limen.kernels.c.body import LANES
from limen.kernels.c.calls import DTYPES
from limen.kernels.c.parts import BLOCK, Task, header, preamble
from limen.kernels.call import Prepared
from limen.kernels.layout import Plan

_OF_SPANS = Task(
    "moments_of_spans",
    "const T *x, double *found, int64_t across, int64_t inner",
    """for (int64_t k = begin; k < end; k++) {
    const int64_t at = k % across * SPAN;
    moments_of_span(x + k / across * inner + at, smaller(SPAN, inner - at), found + 2 * k, found + 2 * k + 1);
  }""",
)
_OF_BLOCKS = Task(
    "moments_of_blocks",
    "const T *x, double *found, float *room, int64_t each, int64_t outer, int64_t channels",
    """for (int64_t b = begin; b < end; b++)
    moments_of_lanes(x + b * each * channels, smaller(each, outer - b * each), channels, room + b * channels * 3,
                     found + b * channels * 2);""",
)

_SOURCE = """
{of_spans.definition}
/* Mean and variance of each channel of outer x channels rows of inner elements, span by span in a fixed order. */
EXPORT int of_rows(const T *x, float *means, float *variances, int64_t outer, int64_t channels, int64_t inner,
                   int threads) {{
  const int64_t across = blocks_of(inner, SPAN), spans = outer * channels * across;
  double *found = malloc((size_t)larger(1, spans) * 2 * sizeof(double));
  if (!found) return 1;
  {share_spans}
  for (int64_t c = 0; c < channels; c++) {{
    moments all = {{0, 0, 0}};
    for (int64_t row = c; row < outer * channels; row += channels)
      for (int64_t k = row * across; k < (row + 1) * across; k++)
        join(&all, smaller(SPAN, inner - k % across * SPAN), found[2 * k], found[2 * k + 1]);
    means[c] = (float)all.centre;
    variances[c] = (float)(all.spread / all.total);
  }}
  free(found);
  return 0;
}}

/* Sums over rows of the deviations of each lane from a number, and of their squares. */
static inline void deviations_of_lanes(
    const T *restrict from, int64_t rows, int64_t n, const float *restrict about, float *restrict first,
    float *restrict second) {{
  int64_t r = 0;
  for (int64_t j = 0; j < n; j++) first[j] = second[j] = 0;
  for (; r + 4 <= rows; r += 4) {{
    const T *restrict at = from + r * n;
    #pragma omp simd
    for (int64_t j = 0; j < n; j++) {{
      const float a = LOAD(at[j]) - about[j], b = LOAD(at[n + j]) - about[j];
      const float c = LOAD(at[2 * n + j]) - about[j], d = LOAD(at[3 * n + j]) - about[j];
      first[j] += (a + b) + (c + d);
      second[j] += (a * a + b * b) + (c * c + d * d);
    }}
  }}
  for (; r < rows; r++) {{
    #pragma omp simd
    for (int64_t j = 0; j < n; j++) {{
      const float a = LOAD(from[r * n + j]) - about[j];
      first[j] += a;
      second[j] += a * a;
    }}
  }}
}}

/* A block of rows about the mean of its first rows; from its own mean again, while it is in the cache, where that turns
   out to lie more than two deviations off in any lane. As moments_of_span. */
static void moments_of_lanes(const T *from, int64_t rows, int64_t n, float *room, double *found) {{
  float *about = room, *first = room + n, *second = room + 2 * n;
  const int64_t few = smaller(8, rows);
  for (int64_t j = 0; j < n; j++) about[j] = 0;
  for (int64_t r = 0; r < few; r++)
    for (int64_t j = 0; j < n; j++) about[j] += LOAD(from[r * n + j]) / (float)few;
  deviations_of_lanes(from, rows, n, about, first, second);
  int again = 0;
  for (int64_t j = 0; j < n; j++) {{
    const double apart = (double)first[j];
    const float nearer = (float)((double)about[j] + apart / (double)rows);
    if (!(apart * apart <= 0.8 * (double)rows * (double)second[j]) && nearer - nearer == 0) {{
      again = 1;
      about[j] = nearer;
    }}
  }}
  if (again) deviations_of_lanes(from, rows, n, about, first, second);
  for (int64_t j = 0; j < n; j++) {{
    double f = first[j], v = second[j];
    if (!(v < (double)VM_INFINITY) || (f != 0 && v < 1e-30 * (double)rows)) {{
      f = v = 0;
      for (int64_t r = 0; r < rows; r++) {{
        const double a = (double)LOAD(from[r * n + j]) - (double)about[j];
        f += a; v += a * a;
      }}
    }}
    const double own = v - f * f / (double)rows;
    found[2 * j] = (double)about[j] + f / (double)rows;
    found[2 * j + 1] = own < 0 ? 0 : own;
  }}
}}

{of_blocks.definition}
/* Mean and variance of each channel of outer rows of channels elements. */
EXPORT int of_lanes(const T *x, float *means, float *variances, int64_t outer, int64_t channels, int64_t inner,
                    int threads) {{
  const int64_t each = larger(64, {block} / channels), blocks = blocks_of(outer, each);
  double *found = malloc((size_t)(blocks * channels) * 2 * sizeof(double));
  float *room = malloc((size_t)(blocks * channels) * 3 * sizeof(float));
  if (!found || !room) {{ free(found); free(room); return 1; }}
  {share_blocks}
  for (int64_t c = 0; c < channels; c++) {{
    moments all = {{0, 0, 0}};
    for (int64_t b = 0; b < blocks; b++)
      join(&all, smaller(each, outer - b * each), found[2 * (b * channels + c)], found[2 * (b * channels + c) + 1]);
    means[c] = (float)all.centre;
    variances[c] = (float)(all.spread / all.total);
  }}
  free(found);
  free(room);
  return 0;
}}
"""


@functools.cache
def _library(dtype: str) -> Any:
    assert dtype in LANES
    text = _SOURCE.format(
        of_spans=_OF_SPANS,
        share_spans=_OF_SPANS.shared("spans"),
        of_blocks=_OF_BLOCKS,
        share_blocks=_OF_BLOCKS.shared("blocks"),
        block=BLOCK,
    )
    library = build.load("\n".join([preamble(dtype), header("moments.h"), text]), f"channels-{dtype}")
    pointer, whole = ctypes.c_void_p, ctypes.c_int64
    for function in (library.of_rows, library.of_lanes):
        function.argtypes = [pointer] * 3 + [whole] * 3 + [ctypes.c_int]
        function.restype = ctypes.c_int
    return library


def moments_of_channels(x: Tensor, plan: Plan) -> tuple[Tensor, Tensor]:
    """Mean and variance (divisor N) of each channel of a dense input, float32, the same bits for any number of threads.

    Raises:
        NoKernelError: if they cannot be compiled here.
    """
    found = torch.empty(2, plan.channels, dtype=torch.float32, device="cpu")
    means, variances = found.unbind()
    library = _library(DTYPES[x.dtype])
    function = library.of_lanes if plan.layout == "lane" else library.of_rows
    sizes = plan.outer, plan.channels, plan.inner
    if function(x.data_ptr(), means.data_ptr(), variances.data_ptr(), *sizes, calls.threads_for(x.numel())):
        raise MemoryError(f"no memory for the partial sums over {x.numel()} elements.")
    return means, variances


def _tilted(x: Any, **arguments: Any) -> Any:
    """d + k₀ + k₁·(x − μ)."""
    return arguments["d"] + (arguments["level"] + arguments["tilt"] * (x - arguments["mean"]))


_TILTED = BoundFormula(_tilted, ("mean", "level", "tilt"), beside=("d",))


def add_tilt_(gx: Tensor, x: Tensor, plan: Plan, mean: Tensor, level: Tensor, tilt: Tensor) -> None:
    """Add to a gradient, in place, what mean and deviation of each channel hand on to its elements."""
    pitch = plan.channels if plan.layout == "lane" else plan.inner
    given = Prepared(_TILTED, x, [mean, level, tilt], plan, None, (gx,), pitch)
    calls.run_forward_into(given, gx)
