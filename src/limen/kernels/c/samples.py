"""C for formulas with statistics: those of a sample first, then its results; the slopes first, then what all get."""

from __future__ import annotations

from limen.kernels.c.body import Body
from limen.kernels.c.few import backward_few, call_few, forward_few
from limen.kernels.c.parts import BLOCK, PARALLEL, SEED, forward_short, header, join, partial_sums, signature

WITHIN = 65536
"""Elements of a sample from which its own spans are shared among the threads, where there are fewer samples than
threads."""

MOMENTS_OF_SAMPLE = """
static inline void moments_of_sample(const T *from, int64_t size, float *own) {
  moments all = {0, 0, 0};
  for (int64_t at = 0; at < size; at += SPAN) {
    double mean, spread;
    moments_of_span(from + at, smaller(SPAN, size - at), &mean, &spread);
    join(&all, smaller(SPAN, size - at), mean, spread);
  }
  finish(&all, own);
}"""

_WITHIN = f"const int within = outer < threads && size >= {WITHIN};"
_PARALLEL_SAMPLES = PARALLEL.replace("if (threads > 1)", "if (threads > 1 && !within)")
_PLACE = """const int64_t row = k / across, at = k % across * SPAN;
        const int64_t c = (s * rows + row) / every % channels, first = (s * rows + row) * inner + at;"""


def forward_sample(body: Body) -> str:
    """The statistics of each sample, then its results while it is in the cache."""
    samples = f"""const int64_t channels = 1, rows = 1, every = 1;
  const int threads = 1;
  {call_few(body, "x, y")}
  for (int64_t s = 0; s < outer; s++) {{
    const T *from = x + s * inner;
    float here[2], *own = statistics ? statistics + 2 * s : here;
    moments_of_sample(from, inner, own);
    for (int64_t at = 0; at < inner; at += SPAN)
      span(from + at, y + s * inner + at, smaller(SPAN, inner - at), 0, 0, 0{body.passed}, own[0], own[1]);
  }}"""
    return f"""{header("moments.h")}{MOMENTS_OF_SAMPLE}
{forward_few(body)}
{forward_short(body, samples)}
{signature(body, False)} {{
  {call_few(body, "x, y")}
  {body.unpacked}
  {SEED}
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
      {PARALLEL}
      for (int64_t b = 0; b < spans; b++)
        moments_of_span(from + b * SPAN, smaller(SPAN, size - b * SPAN), found + 2 * b, found + 2 * b + 1);
      for (int64_t b = 0; b < spans; b++) join(&all, smaller(SPAN, size - b * SPAN), found[2 * b], found[2 * b + 1]);
      finish(&all, own);
      {PARALLEL}
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


def backward_sample(body: Body) -> str:
    """First g·∂f/∂x and all sums, then what the mean and the deviation hand on to every element of the sample.

    With A = Σ g·∂f/∂μ and B = Σ g·∂f/∂sd, an element's gradient is g·∂f/∂x + A/N + B·(x − μ)/(N·sd); ∂sd/∂x is 0
    where sd is 0. The slopes wait in float32 until the sums are known, in the result itself if that is float32, so
    that half types are rounded once.
    """
    sums = body.count - 2
    return f"""
{backward_few(body)}
{signature(body, True)} {{
  {call_few(body, "g, x, gx, grads")}
  {body.unpacked}
  {SEED}
  const int64_t size = rows * inner, each = larger(1, {BLOCK} / larger(1, size)), across = blocks_of(inner, SPAN);
  {_WITHIN}
  const int64_t blocks = blocks_of(outer, each), sums = channels * {sums};
  {partial_sums("double", "blocks * sums")}
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
        {PARALLEL}
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
  {join(sums)}
}}
"""
