"""C for formulas with statistics: those of a sample first, then its results; the slopes first, then what all get."""

from __future__ import annotations

from limen.kernels.c.body import Body
from limen.kernels.c.few import backward_few, call_few, forward_few
from limen.kernels.c.parts import BLOCK, SEED, Task, arguments, forward_short, header, join, partial_sums, signature

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
_THREADS = "within ? 1 : threads"
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
    given = f"{arguments(False)}, int64_t size, int64_t across"
    moments = Task(
        "moments_of_spans",
        "const T *from, int64_t size, double *found",
        """for (int64_t b = begin; b < end; b++)
    moments_of_span(from + b * SPAN, smaller(SPAN, size - b * SPAN), found + 2 * b, found + 2 * b + 1);""",
    )
    spans = Task("forward_spans", f"{given}, int64_t s, float *own", f"""{body.unpacked}
  {SEED}
  for (int64_t k = begin; k < end; k++) {{
    {_PLACE}
    span(x + first, y + first, smaller(SPAN, inner - at), first, seed, c{body.passed}, own[0], own[1]);
  }}""")  # fmt: skip
    each = Task("forward_part", f"{given}, int64_t spans, double *found, int within", f"""{body.unpacked}
  {SEED}
  for (int64_t s = begin; s < end; s++) {{
    const T *from = x + s * size;
    float *own = statistics + 2 * s;
    if (within) {{
      moments all = {{0, 0, 0}};
      {moments.shared("spans")}
      for (int64_t b = 0; b < spans; b++) join(&all, smaller(SPAN, size - b * SPAN), found[2 * b], found[2 * b + 1]);
      finish(&all, own);
      {spans.shared("rows * across")}
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
  }}""")  # fmt: skip
    return f"""{header("moments.h")}{MOMENTS_OF_SAMPLE}
{forward_few(body)}
{forward_short(body, samples)}
{moments.definition}
{spans.definition}
{each.definition}
{signature(False)} {{
  {call_few(body, "x, y")}
  const int64_t size = rows * inner, spans = blocks_of(size, SPAN), across = blocks_of(inner, SPAN);
  {_WITHIN}
  double *found = within ? malloc((size_t)spans * 2 * sizeof(double)) : 0;
  if (within && !found) return 1;
  {each.shared("outer", _THREADS)}
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
    spans = Task("backward_spans", f"{arguments(True)}, {_OF_SAMPLE}", f"""{body.unpacked}
  {SEED}
  for (int64_t k = begin; k < end; k++) {{
    {_PLACE}
    double *here = chunks + k * {body.count};
    for (int j = 0; j < {body.count}; j++) here[j] = 0;
    span(g + first, x + first, slopes + row * inner + at, here, smaller(SPAN, inner - at),
         first, seed, c{body.passed}, mean, deviation);
  }}""")  # fmt: skip
    task = Task("backward_part", f"{arguments(True)}, {_OF_BLOCKS}", _backward_part(body, spans))
    return f"""
{backward_few(body)}
{spans.definition}
{_HANDED_ON.definition}
{task.definition}
{signature(True)} {{
  {call_few(body, "g, x, gx, grads")}
  const int64_t size = rows * inner, each = larger(1, {BLOCK} / larger(1, size)), across = blocks_of(inner, SPAN);
  {_WITHIN}
  const int64_t blocks = blocks_of(outer, each), sums = channels * {sums};
  {partial_sums("double", "blocks * sums")}
  int none = 0, *failed = &none;
  double *chunks = within ? malloc((size_t)(rows * across * {body.count}) * sizeof(double)) : 0;
  if (within && !chunks) {{ free(partial); return 1; }}
  {task.shared("blocks", _THREADS)}
  free(chunks);
  if (none) {{ free(partial); return 1; }}
  {join(sums)}
}}
"""


_OF_SAMPLE = "int64_t across, int64_t s, float mean, float deviation, float *slopes, double *chunks"
_OF_BLOCKS = (
    "int64_t size, int64_t across, int64_t each, int64_t sums, double *partial, double *chunks, int within, int *failed"
)
_HANDED_ON = Task(
    "hand_on",
    "const T *from, T *to, const float *slopes, int64_t size, float level, float tilt, float mean",
    """for (int64_t b = begin; b < end; b++)
    #pragma omp simd
    for (int64_t i = b * SPAN; i < smaller(size, (b + 1) * SPAN); i++)
      to[i] = STORE(slopes[i] + level + tilt * (LOAD(from[i]) - mean));""",
)


def _backward_part(body: Body, spans: Task) -> str:
    """Sample after sample of each block: the slopes first, then what mean and deviation hand on."""
    sums = body.count - 2
    return f"""{body.unpacked}
  {SEED}
  for (int64_t b = begin; b < end; b++) {{
    {"float *slopes;" if body.in_place else "float *slopes = malloc((size_t)size * sizeof(float));"}
    {"" if body.in_place else "if (!slopes) { FAIL(failed); continue; }"}
    for (int64_t s = b * each; s < smaller(outer, (b + 1) * each); s++) {{
      const float mean = statistics[2 * s], deviation = statistics[2 * s + 1];
      {"slopes = gx + s * size;" if body.in_place else ""}
      double by_mean = 0, by_deviation = 0;
      if (within) {spans.shared("rows * across")}
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
      const T *from = x + s * size;
      T *to = gx + s * size;
      {_HANDED_ON.shared("blocks_of(size, SPAN)", "within ? threads : 1")}
    }}
    {"" if body.in_place else "free(slopes);"}
  }}"""
