"""What every C source has: its preamble, how its functions are declared, how partial sums are kept and joined."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import resources

from limen.kernels.c.body import AHEAD, COPIES, LANES, Body
from limen.kernels.weights import ALL

ELEMENT_TYPES = {"float32": "float", "bfloat16": "uint16_t", "float16": "uint16_t"}
_LOAD = {"float32": "({})", "bfloat16": "vm_load_bf16({})", "float16": "vm_load_f16_soft({})"}
_STORE = {"float32": "({})", "bfloat16": "vm_store_bf16({})", "float16": "vm_store_f16_soft({})"}

SPAN = 2048
"""Elements summed in float32 at a time: 8 KiB, in the first cache. With twice as many nothing is faster, and the sums
are a seventh less accurate; with half as many backward passes take 5 % longer."""
BLOCK = 16384
"""Elements at least in a block of rows, so that the partial sums of blocks stay few."""


@functools.cache
def header(name: str) -> str:
    """The text of a header of ours."""
    return resources.files("limen.kernels.c").joinpath(name).read_text(encoding="utf-8")


def preamble(dtype: str, body: Body | None = None) -> str:
    """What precedes the functions of a source for one element type, whose loops are those of a body."""
    return f"""{_SCHEDULED if body is not None and body.is_long else ""}{header("vector_math.h")}
#include <stdlib.h>
#include <string.h>
typedef {ELEMENT_TYPES[dtype]} T;
#define LOAD(v) {_LOAD[dtype].format("v")}
#define STORE(v) {_STORE[dtype].format("v")}
#define EXPORT __attribute__((visibility("default")))
#define APART __attribute__((noinline)) /* compiled once */
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
{header("threads.h")}
"""


_SCHEDULED = """/* The chains of several vectors beside one another, before registers are given out. With AVX-512
   nothing gains; for other processors GCC does it anyway, and Clang always. */
#if defined(__x86_64__) && !defined(__AVX512F__) && !defined(__clang__)
#pragma GCC optimize("schedule-insns", "sched-pressure")
#endif
"""


def arguments(backward: bool) -> str:
    """``rows`` and ``every`` matter to samples only; ``statistics`` has the mean and deviation of each."""
    tensors = "const T *g, const T *x, T *gx, float *grads" if backward else "const T *x, T *y"
    return (
        f"{tensors}, float *statistics, int64_t outer, int64_t channels, int64_t inner, int64_t rows, int64_t every, "
        "const int64_t *seeds, int threads, const float *const *parameters"
    )


def signature(backward: bool) -> str:
    """The function of a kernel as it is declared."""
    return f"EXPORT int {'backward' if backward else 'forward'}({arguments(backward)})"


@dataclass(frozen=True)
class Task:
    """A loop that threads share, as a function of where it begins and ends: what OpenMP's pragma would make of it."""

    name: str
    given: str
    """What it takes of the function that shares it out, as declarations."""
    lines: str
    """What is done from ``begin`` to ``end``."""

    @property
    def definition(self) -> str:
        """The function, which stands before the one that shares it out."""
        declared = self.given.split(", ")
        taken = " ".join(f"{one} = own_->{_name(one)};" for one in declared)
        return f"""
typedef struct {{ {"; ".join(declared)}; }} {self.name}_given;
static APART void {self.name}(const void *given_, int64_t begin, int64_t end) {{
  const {self.name}_given *own_ = given_;
  {taken}
  {self.lines}
}}"""

    def shared(self, count: str, threads: str = "threads") -> str:
        """The statement that has it done ``count`` times."""
        values = ", ".join(map(_name, self.given.split(", ")))
        return f"share({threads}, {count}, {self.name}, &({self.name}_given){{{values}}});"


def _name(declaration: str) -> str:
    return declaration.rpartition(" ")[2].lstrip("*")


def backward_by_blocks(body: Body, kind: str, each: str, lines: str, arguments: str, signature: str) -> str:
    """The function that has lines done for each block of so many rows (elements, in one piece), and joins the sums."""
    counted = "inner" if body.layout == "shared" else "outer"
    task = Task(
        "backward_part",
        f"{arguments}, int64_t each, int64_t sums, {kind} *partial",
        f"{body.unpacked}\n  {SEED}\n  {lines}",
    )
    return f"""
{task.definition}
{signature} {{
  const int64_t each = {each}, sums = channels * {body.count}, blocks = blocks_of({counted}, each);
  {partial_sums(kind, "blocks * sums")}
  {task.shared("blocks")}
  {join(body.count, by_sum=kind == "float")}
}}
"""


def forward_short(body: Body, lines: str) -> str:
    """Beside the general function one for few elements: less to pass costs a third of the time of a small call."""
    own = "const T *x, T *y, float *statistics, int64_t outer, int64_t inner, const float *const *parameters"
    short = f"""
EXPORT int forward_short({own}) {{
  {body.unpacked}
  {lines}
  return 0;
}}
"""
    return short + _short_of_logits(own, body.weights, len(body.parameters)) if body.weights else short


def _short_of_logits(own: str, weights: int, parameters: int) -> str:
    """The same from logits in the weights' place; it gives 1 and does nothing where one weight is as good as all.

    Then that candidate's own formula has to be evaluated.
    """
    return f"""
EXPORT int forward_short_of_logits({own}) {{
  float weights[{weights}], most = parameters[0][0], sum = 0;
  const float *all[{parameters}];
  int near = 0;
  for (int k = 1; k < {weights}; k++) most = vm_max(most, parameters[0][k]);
  for (int k = 0; k < {weights}; k++) near += parameters[0][k] > most - {ALL:g};
  if (near == 1) return 1;
  for (int k = 0; k < {weights}; k++) sum += weights[k] = vm_exp_np(most - parameters[0][k]);
  for (int k = 0; k < {weights}; k++) {{ weights[k] /= sum; all[k] = weights + k; }}
  for (int k = {weights}; k < {parameters}; k++) all[k] = parameters[k - {weights} + 1];
  return forward_short(x, y, statistics, outer, inner, all);
}}
"""


SEED = "const uint32_t seed = seeds ? (uint32_t)*seeds : 0;"


def partial_sums(kind: str, count: str) -> str:
    """Zeroed partial sums, one set a block; at least one, so that a null pointer means there is no memory."""
    return f"""{kind} *partial = calloc((size_t)larger(1, {count}), sizeof({kind}));
  if (!partial) return 1;"""


def join(sums: int, by_sum: bool = False) -> str:
    """The sums of all blocks, in order: channel after channel in each block, sum after sum in ``grads``.

    ``by_sum``: in each block sum after sum, too.
    """
    place = "k" if by_sum else f"k % {max(1, sums)} * channels + k / {max(1, sums)}"
    return f"""for (int64_t k = 0; k < channels * {sums}; k++) {{
    double sum = 0;
    for (int64_t b = 0; b < blocks; b++) sum += partial[b * channels * {sums} + k];
    grads[{place}] = (float)sum;
  }}
  free(partial);
  return 0;"""
