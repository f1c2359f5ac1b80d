"""C for small samples with statistics: a tile of them at a time, each in a lane of its own.

A sample shorter than a vector leaves most of that empty, and one of a few vectors is mostly overhead: its loops begin,
its lanes are added up. In a tile of as many samples as there are lanes every operation is as wide as the machine. A
sample of one value is its own mean and deviates by 0: its formula is one of an element.
"""

from __future__ import annotations

import copy

from limen.formula.factors import unfactored_sums
from limen.kernels.c.arithmetic import arithmetic
from limen.kernels.c.body import Body
from limen.kernels.c.parts import BLOCK, Task, header, join, partial_sums

FEW = 127
"""Elements of a sample up to which it is one of a tile: one of 64 takes 0.6 to 0.9 of the time so, one of 128 backward
1.1 to 1.3 (AVX2 and AVX-512, from memory)."""

_SIZES = (
    "float *statistics, int64_t outer, int64_t channels, int64_t inner, int64_t rows, int64_t every, int threads, "
    "const float *const *parameters"
)
_PASSED = "statistics, outer, channels, inner, rows, every, threads, parameters"
_BLOCK = f"larger(1, {BLOCK} / (size * WIDE)) * WIDE"
_IF_SINGLE = "if (size == 1 && channels == 1) return"


def suits(body: Body) -> bool:
    """Whether a formula has tiles: not with noise, which counts elements as they lie in memory."""
    return not body.noise


def call_few(body: Body, tensors: str) -> str:
    """What calls the function of small samples, and returns, where they are some."""
    if not suits(body):
        return ""
    which = "backward" if "g" in body.tensors else "forward"
    return f"if (rows * inner <= FEW && (rows == 1 || every == 1)) return {which}_few({tensors}, {_PASSED});"


def forward_few(body: Body) -> str:
    """The function ``forward_few``, for all samples of a call; nothing where the formula has no tiles."""
    if not suits(body):
        return ""
    body = _of_layout(body, "tile")
    body.next = ("x",), ("y",)
    body.finish = lambda results, at, lane: [f"y[{at}] = {results[0]};"]
    task = Task("forward_tiles", f"const T *x, T *y, {_SIZES}, int64_t size, int64_t each", _forward_tiles(body))
    return f"""{_beginning()}
static inline void span_of_tile(
    const float *x, float *y, int64_t rows, const float *restrict mean,
    const float *restrict std{body.pointers}, const T *next_x, const T *next_y) {{
  {body.loops()}
}}
{_forward_single(body)}
{task.definition}
static int forward_few(const T *x, T *y, {_SIZES}) {{
  const int64_t size = rows * inner, each = {_BLOCK};
  {_IF_SINGLE} forward_single(x, y, statistics, outer, threads, parameters);
  {task.shared("blocks_of(outer, each)")}
  return 0;
}}
"""


def _forward_tiles(body: Body) -> str:
    """Tile after tile of each block of samples."""
    return f"""for (int64_t b = begin; b < end; b++) {{
    {_lanes(body)}
    for (int64_t s = b * each; s < smaller(outer, (b + 1) * each); s += WIDE) {{
      const int64_t samples = smaller(WIDE, outer - s);
      float room[ROOM], in[ROOM], mean[WIDE], std[WIDE];
      {_channels(body)}
      take(x + s * size, samples, size, s + WIDE >= outer, room, in);
      moments_of_tile(in, size, mean, std);
      for (int64_t j = 0; statistics && j < samples; j++) {{
        statistics[2 * (s + j)] = mean[j];
        statistics[2 * (s + j) + 1] = std[j];
      }}
      for (int64_t row = 0; row < rows; row++) {{
        {_next_row(body)}
        const int64_t at = (s + WIDE) * size + row * inner * WIDE;
        span_of_tile(in + row * inner * WIDE, in + row * inner * WIDE, inner, mean, std{body.passed}, x + at, y + at);
      }}
      give(in, samples, size, room, y + s * size);
    }}
  }}"""


def backward_few(body: Body) -> str:
    """The function ``backward_few``, as ``samples.backward_sample``; nothing where the formula has no tiles."""
    if not suits(body):
        return ""
    body = _of_layout(body, "tile")
    body.next = ("g", "x"), ("gx",)
    sums = body.count - 2
    given = f"const T *g, const T *x, T *gx, {_SIZES}, int64_t size, int64_t each, int64_t sums, double *partial"
    task = Task("backward_tiles", given, _backward_tiles(body))
    return f"""{_beginning()}
{_backward_span(body)}
{_backward_single(body)}
{task.definition}
static int backward_few(const T *g, const T *x, T *gx, float *grads, {_SIZES}) {{
  const int64_t size = rows * inner, each = {_BLOCK}, blocks = blocks_of(outer, each), sums = channels * {sums};
  {_IF_SINGLE} backward_single(g, x, gx, grads, outer, threads, parameters);
  {partial_sums("double", "blocks * sums")}
  {task.shared("blocks")}
  {join(sums)}
}}
"""


def _backward_tiles(body: Body) -> str:
    """Tile after tile of each block of samples, and the sums of the block."""
    sums = body.count - 2
    return f"""for (int64_t b = begin; b < end; b++) {{
    double total[{max(1, sums)} * WIDE] = {{0}};
    {_lanes(body)}
    for (int64_t s = b * each; s < smaller(outer, (b + 1) * each); s += WIDE) {{
      const int64_t samples = smaller(WIDE, outer - s);
      float room[ROOM], in[ROOM], up[ROOM], mean[WIDE] = {{0}}, std[WIDE] = {{0}};
      double handed[2 * WIDE] = {{0}};
      {_channels(body)}
      take(x + s * size, samples, size, s + WIDE >= outer, room, in);
      take(g + s * size, samples, size, s + WIDE >= outer, room, up);
      for (int64_t j = 0; j < samples; j++) {{
        mean[j] = statistics[2 * (s + j)];
        std[j] = statistics[2 * (s + j) + 1];
      }}
      for (int64_t row = 0; row < rows; row++) {{
        double found[{body.count} * WIDE];
        {_next_row(body)}
        const int64_t at = (s + WIDE) * size + row * inner * WIDE;
        span_of_tile(up + row * inner * WIDE, in + row * inner * WIDE, found, inner, mean, std{body.passed},
                     g + at, x + at, gx + at);
        for (int j = 0; j < 2 * WIDE; j++) handed[j] += found[j];
        {_kept(sums)}
      }}
      tilt(up, in, size, mean, std, handed);
      give(up, samples, size, room, gx + s * size);
    }}
    for (int64_t k = 0; channels == 1 && k < {sums}; k++)
      for (int j = 0; j < WIDE; j++) partial[b * sums + k] += total[k * WIDE + j];
  }}"""


def _forward_single(body: Body) -> str:
    """The function for samples of one value with shared parameters."""
    body = _of_layout(body, "single")
    body.finish = lambda results, at, lane: [f"y[{at}] = STORE({results[0]});"]
    spans = Task(
        "forward_singles",
        "const T *x, T *y, int64_t whole, const float *const *parameters",
        f"""{body.unpacked}
  for (int64_t b = begin; b < end; b++)
    span_single(x + b * SPAN, y + b * SPAN, smaller(SPAN, whole - b * SPAN), 0{body.passed});""",
    )
    own = Task(
        "moments_of_singles",
        "const T *x, float *statistics",
        """for (int64_t i = begin; i < end; i++) {
    statistics[2 * i] = LOAD(x[i]);
    statistics[2 * i + 1] = LOAD(x[i]) - LOAD(x[i]);
  }""",
    )
    return f"""
static inline void span_single(const T *restrict x, T *restrict y, int n, int64_t c{body.pointers}) {{
  {body.before}
  {body.loops()}
}}
{spans.definition}
{own.definition}
static int forward_single(
    const T *x, T *y, float *statistics, int64_t outer, int threads, const float *const *parameters) {{
  {body.unpacked}
  const int64_t whole = outer / LANES * LANES, left = outer - whole;
  {spans.shared("blocks_of(whole, SPAN)")}
  if (left) {{
    T in[LANES], out[LANES];
    last(x + whole, left, in);
    span_single(in, out, LANES, 0{body.passed});
    memcpy(y + whole, out, (size_t)left * sizeof(T));
  }}
  if (statistics) {own.shared("outer")}
  return 0;
}}
"""


def _backward_single(body: Body) -> str:
    """The same backward: what the mean hands on is the element's own, and the deviation of one value does not move."""
    by_x, by_mean, _, *wanted = body.slopes
    body = _of_layout(body, "single")
    body.outputs, body.sums = [by_x, by_mean, *wanted], unfactored_sums(body.graph, wanted)
    body.targets = ("gx",)
    body.finish = lambda results, at, lane: [
        f"gx[{at}] = STORE({results[0]} * ({results[1]} + {results[2]}));",
        *(f"a{k}[{lane}] += {results[0]} * {other};" for k, other in enumerate(results[3:])),
    ]
    count = len(wanted)
    task = Task(
        "backward_singles",
        "const T *g, const T *x, T *gx, int64_t whole, double *partial, const float *const *parameters",
        f"""{body.unpacked}
  for (int64_t b = begin; b < end; b++) {{
    const int64_t at = b * SPAN;
    span_single(g + at, x + at, gx + at, partial + b * {count}, smaller(SPAN, whole - at), 0{body.passed});
  }}""",
    )
    declared = "\n  ".join(f"float a{k}[LANES] = {{0}};" for k in range(count))
    store = "\n  ".join(f"sums[{k}] += (double)sum_of_lanes(a{k});" for k in range(count))
    return f"""
static inline void span_single(
    const T *restrict g, const T *restrict x, T *restrict gx, double *restrict sums, int n, int64_t c{body.pointers}) {{
  {body.before}
  {declared}
  {body.loops()}
  {store}
}}
{task.definition}
static int backward_single(
    const T *g, const T *x, T *gx, float *grads, int64_t outer, int threads, const float *const *parameters) {{
  {body.unpacked}
  const int64_t channels = 1, blocks = blocks_of(outer, SPAN), whole = outer / LANES * LANES, left = outer - whole;
  {partial_sums("double", f"blocks * {count}")}
  {task.shared("blocks")}
  if (left) {{
    T in[LANES], up[LANES], out[LANES];
    last(x + whole, left, in);
    last(g + whole, left, up);
    for (int64_t j = left; j < LANES; j++) up[j] = 0;
    span_single(up, in, out, partial + (blocks - 1) * {count}, LANES, 0{body.passed});
    memcpy(gx + whole, out, (size_t)left * sizeof(T));
  }}
  {join(count)}
}}
"""


def _of_layout(body: Body, layout: str) -> Body:
    body = copy.copy(body)
    body.layout = layout
    return body


def _beginning() -> str:
    return f"#define FEW {FEW}\n{header('few.h')}"


def _lanes(body: Body) -> str:
    """Room for the parameters of each lane's sample, which are read once where all share them."""
    if not body.parameters:
        return ""
    arrays = ", ".join(f"p{index}[WIDE]" for index in range(len(body.parameters)))
    shared = " ".join(f"p{index}[j] = parameters[{index}][0];" for index in range(len(body.parameters)))
    return f"""int64_t channel[WIDE];
    float {arrays};
    for (int j = 0; j < WIDE; j++) {{ {shared} }}"""


def _channels(body: Body) -> str:
    """The channel of the first row of each lane's sample."""
    if not body.parameters:
        return ""
    return """if (channels > 1)
        for (int j = 0; j < WIDE; j++) channel[j] = (s + j) * rows / every % channels;"""


def _next_row(body: Body) -> str:
    """The parameters of the next row of each lane's sample."""
    if not body.parameters:
        return ""
    own = " ".join(f"p{index}[j] = parameters[{index}][channel[j]];" for index in range(len(body.parameters)))
    return f"""if (channels > 1)
          for (int j = 0; j < WIDE; j++) {{
            if (row > 0 && ++channel[j] == channels) channel[j] = 0;
            {own}
          }}"""


def _backward_span(body: Body) -> str:
    """Slopes in the place of the upstream gradient; the sums of each lane in doubles."""
    accumulators = [f"a{k}" for k in range(len(body.sums.bases))]
    own = body.by_lane("j", "").values()
    statements, factors = arithmetic(
        body.graph, body.sums.coefficients, {name: local for name, (local, _) in body.by_lane("j", "").items()}, "_"
    )
    results = iter(factors)
    added = [
        f"sums[{k} * WIDE + j] = {' + '.join(f'(double){next(results)} * (double)a{basis}[j]' for basis, _ in parts)};"
        for k, parts in enumerate(body.sums.parts)
    ]
    store = "\n".join([*(f"const float {local} = {value};" for local, value in own), *statements, *added])
    return f"""
static inline void span_of_tile(
    float *g, const float *restrict x, double *restrict sums, int64_t rows, const float *restrict mean,
    const float *restrict std{body.pointers}, const T *next_g, const T *next_x, const T *next_gx) {{
  float *slope_ = g;
  float {", ".join(f"{a}[WIDE] = {{0}}" for a in accumulators)};
  {body.loops()}
  #pragma omp simd
  for (int j = 0; j < WIDE; j++) {{
    {store}
  }}
}}
"""


def _kept(sums: int) -> str:
    """Where the sums for parameters go: lane by lane where all share them, else to each lane's channel."""
    if not sums:
        return ""
    return f"""if (channels == 1 && samples == WIDE)
          for (int j = 0; j < {sums} * WIDE; j++) total[j] += found[2 * WIDE + j];
        else for (int j = 0; j < samples; j++)
          for (int k = 0; k < {sums}; k++)
            if (channels == 1) total[k * WIDE + j] += found[(2 + k) * WIDE + j];
            else partial[b * sums + channel[j] * {sums} + k] += found[(2 + k) * WIDE + j];"""
