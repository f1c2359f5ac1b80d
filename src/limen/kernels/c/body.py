"""The loops of a C source: the arithmetic of several vectors of elements, interleaved, for all elements of a span."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from limen.formula.factors import FactoredSums
from limen.formula.graph import Graph
from limen.kernels.bound import MEAN, STD, BoundFormula
from limen.kernels.c.arithmetic import arithmetic
from limen.kernels.noise import STREAM_STEP

LANES = {"float32": 16, "bfloat16": 32, "float16": 32}
"""Elements in the widest vectors there are."""
COPIES = 4
"""Vectors whose arithmetic is interleaved. The arithmetic of one is a chain in which each operation waits for the one
before, and a processor looks ahead only about a hundred operations to fill the gaps: with four chains a forward pass of
AdAct takes 0.75 of the time and one of ASAU 0.77. The four are neighbours in memory; with their places a quarter of a
span apart, as many streams were too much for the processor's own prefetching, and from memory ASAU took 1.6 times as
long."""
AHEAD = 2048
"""Bytes ahead of the arithmetic that memory is asked for, also where results will be written. A processor's own
prefetching ends with each page; beyond the caches a pass of Swish takes 0.75 of the time with this. Between 1 and 6 KiB
there is little difference, with AVX-512 2 KiB take 0.92 to 1.01 of the time of 4; 512 bytes and 16 KiB are worse."""

HORNER = frozenset({"erf", "log", "log1p", "log1p_unit"})
"""Functions with a polynomial in Horner's form, in which each operation waits for the one before."""
LONG = 6
"""Operations of a backward pass from which its loops are scheduled."""


class Body:
    """What the loops of one source share: how inputs are called, what is loaded before and within the loop."""

    def __init__(
        self, bound: BoundFormula, dtype: str, layout: str, graph: Graph, outputs: list[int], tensors: tuple[str, ...]
    ) -> None:
        self.parameters, self.weights, self.noise = bound.parameters, bound.weights, bound.noise
        self.layout, self.single = layout, bound.single
        self.in_place = dtype == "float32"
        self.graph, self.outputs, self.tensors = graph, outputs, tensors
        self.sums = FactoredSums(graph, (), ())
        self.slopes: tuple[int, ...] = ()
        """The nodes of the derivatives by x, by the statistics and by the wanted parameters."""
        self.beside = {name: f"u{index}" for index, name in enumerate(bound.beside)}
        """What the inputs beside x are called."""
        self.targets: tuple[str, ...] = ()
        """The arrays that are written."""
        self.next: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
        """Of tiles, which arrays of the caller's they are read from, and written to."""
        self.finish: Callable[[list[str], str, str], list[str]] = lambda results, at, lane: []
        """From the upstream gradient, where there is one, and the results: what is stored and summed at a place."""

    @property
    def extent(self) -> str:
        """How many elements a span has, as it takes that."""
        return {"lane": "int64_t rows, int64_t n", "tile": "int64_t rows"}.get(self.layout, "int n")

    @property
    def count(self) -> int:
        """How many sums there are: statistics and parameters."""
        return len(self.sums.parts)

    @property
    def is_long(self) -> bool:
        """Whether the chain of one vector is so long that a processor does not look ahead to the next one's.

        Of each operation all copies are written before the next operation, but a function's own operations are one
        copy's. GCC's scheduler puts them in turns. With AVX2 (GCC 12) a forward pass of GELU takes 0.83 of the time so,
        of ASAU 0.87, of what has no such function 0.96 to 1.45 (ELU); a backward pass of GELU 0.73, of AdAct 0.78, of
        Swish 0.90, of ELU, the shortest, 1.14.
        """
        operations = [self.graph.nodes[index].op for index in self.graph.live([*self.outputs, *self.sums.coefficients])]
        if "g" in self.tensors:
            return sum(op not in ("constant", "input") for op in operations) >= LONG
        return not HORNER.isdisjoint(operations)

    @property
    def used(self) -> set[str]:
        """The inputs that the arithmetic needs."""
        return self.graph.inputs([*self.outputs, *self.sums.coefficients])

    @property
    def before(self) -> str:
        """What is loaded before the loop."""
        return "\n".join(self._before())

    @property
    def uniform_names(self) -> dict[str, str]:
        """What the inputs that are the same for all elements are called."""
        return {MEAN: "mean_", STD: "std_", **{name: f"p{index}_" for index, name in enumerate(self.parameters)}}

    def by_lane(self, lane: str, tag: str, at: str = "") -> dict[str, tuple[str, str]]:
        """Of those inputs, but tensors, of which every lane has its own: what it is called, and its value."""
        found = {}
        if self.layout == "single":  # NaN where an infinite value has no mean
            found = {MEAN: (f"mean{tag}_", f"x{tag}_"), STD: (f"std{tag}_", f"x{tag}_ - x{tag}_")}
        elif self.layout in ("lane", "tile", "place"):
            place = at if self.layout == "place" else lane
            found = {name: (f"p{k}{tag}_", f"p{k}[{place}]") for k, name in enumerate(self.parameters)}
        if self.layout == "tile":
            found |= {MEAN: (f"mean{tag}_", f"mean[{lane}]"), STD: (f"std{tag}_", f"std[{lane}]")}
        return {name: own for name, own in found.items() if name in self.used and not self._is_single(name)}

    def _is_single(self, name: str) -> bool:
        return self.layout == "place" and name in self.single

    def _before(self) -> Iterator[str]:
        for index, name in enumerate(self.parameters):
            # Parameters are read into locals first: a read through a pointer inside a conditional expression
            # keeps GCC from vectorising the loop.
            shared = self.layout not in ("lane", "tile", "place") or self._is_single(name)
            if name in self.used and shared:
                yield f"const float p{index}_ = p{index}[c];"
        for stream, name in enumerate(self.noise):
            if name in self.used:
                # The counter is 64 bits wide, and its low half advances with i: a span never crosses 2^32.
                step = (stream * STREAM_STEP) & 0xFFFFFFFF
                yield f"const uint32_t seed{stream}_ = vm_mix((seed + {step}u) ^ (uint32_t)(place >> 32));"

    def element(self, at: str, lane: str, tag: str) -> list[str]:
        """The statements for the element at a place, the names of their results ending in a tag.

        ``lane`` is its channel where every place in a row has its own parameters, else its place in a vector.
        """
        names = {"x": f"x{tag}_", **self.uniform_names}
        names |= {name: f"{tensor}{tag}_" for name, tensor in self.beside.items()}
        load = "{}[{}]" if self.layout == "tile" else "LOAD({}[{}])"
        lines = [
            f"const float {tensor}{tag}_ = {load.format(tensor, self.place(tensor, at))};" for tensor in self.tensors
        ]
        for name, (local, value) in self.by_lane(lane, tag, at).items():
            names[name] = local
            lines.append(f"const float {local} = {value};")
        for stream, name in enumerate(self.noise):
            names[name] = f"noise{stream}{tag}_"
            if name in self.used:
                lines.append(
                    f"const float {names[name]} = vm_uniform((uint32_t)place + (uint32_t)({at}), seed{stream}_);"
                )
        statements, results = arithmetic(self.graph, self.outputs, names, tag)
        upstream = [f"g{tag}_"] if "g" in self.tensors else []
        return [*lines, *statements, *self.finish([*upstream, *results], at, lane)]

    def place(self, tensor: str, at: str) -> str:
        """Where an element lies in a tensor: inputs of which there are several may have rows that lie apart."""
        if not self.beside or tensor in ("g", "y"):
            return at
        return at.replace("* n", "* pitch_out" if tensor in self.targets else "* pitch")

    def loops(self) -> str:
        """The loops over the elements of a span. The inner ones are over ``j``, a place in a vector."""
        loops = {"lane": self._over_rows, "tile": self._over_tile, "single": self._over_vectors}
        return loops.get(self.layout, self._over_elements)()

    def _over_elements(self) -> str:
        """Over groups of neighbouring vectors, then over vectors, the last of which may be short.

        A loop of its own for the short one is no faster, and takes a third longer to compile.
        """
        alone = self.element("i + j", "j", "")
        return f"""int i = 0;
  for (; i + GROUP <= n; i += GROUP) {{
    {self._ahead("i", "GROUP")}
    {_over_lanes("LANES", self._interleaved([f"i + j + {copy} * LANES" for copy in range(COPIES)], "j"))}
  }}
  for (; i < n; i += LANES) {{
    const int left = n - i < LANES ? n - i : LANES;
    {_over_lanes("left", alone)}
  }}"""

    def _over_rows(self) -> str:
        """Over several of ``rows`` rows of ``n`` lanes at a time, whose parameters are the same, then row by row."""
        together = self._interleaved([f"(r + {copy}) * n + i + j" for copy in range(COPIES)], "i + j")
        alone = self.element("r * n + i + j", "i + j", "")
        ahead = "\n".join(self._ahead(f"(r + {copy}) * n + i", "LANES") for copy in range(COPIES))
        return f"""int64_t r = 0;
  for (; r + {COPIES} <= rows; r += {COPIES}) {{
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {{
      {ahead}
      {_over_lanes("LANES", together)}
    }}
    {_over_lanes("n - i", together)}
  }}
  for (; r < rows; r++) {{
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {{
      {_over_lanes("LANES", alone)}
    }}
    {_over_lanes("n - i", alone)}
  }}"""

    def _over_vectors(self) -> str:
        """Over whole vectors: one loop, so that every element has the same bits wherever it stands."""
        return f"""for (int i = 0; i < n; i += LANES) {{
    {_over_lanes("LANES", self.element("i + j", "j", ""))}
  }}"""

    def _over_tile(self) -> str:
        """Row by row: two at a time or four are no faster, and take twice as long to compile."""
        ahead = "\n".join(f"NEXT(next_{array}, r, {int(array in self.next[1])});" for array in sum(self.next, ()))
        return f"""for (int64_t r = 0; r < rows; r++) {{
    {ahead}
    {_over_lanes("WIDE", self.element("r * WIDE + j", "j", ""))}
  }}"""

    def _interleaved(self, places: list[str], lane: str) -> list[str]:
        """The statements for the elements at several places, those of one operation beside one another."""
        copies = [self.element(at, lane, f"_{copy}") for copy, at in enumerate(places)]
        return [line for lines in zip(*copies, strict=True) for line in lines]

    def _ahead(self, at: str, elements: str) -> str:
        """Ask for the memory that comes after so many elements at a place, of all tensors read and written."""
        tensors = (*self.tensors, *self.targets)
        return "\n".join(
            f"AHEAD({tensor} + {self.place(tensor, at)}, {elements}, {int(tensor in self.targets)});"
            for tensor in tensors
        )

    @property
    def unpacked(self) -> str:
        """The parameters by name, from the array that a kernel takes."""
        return " ".join(f"const float *p{index} = parameters[{index}];" for index in range(len(self.parameters)))

    @property
    def pointers(self) -> str:
        """The parameters as a span takes them."""
        return "".join(f", const float *restrict p{index}" for index in range(len(self.parameters)))

    @property
    def passed(self) -> str:
        """The parameters as a call passes them on."""
        return "".join(f", p{index}" for index in range(len(self.parameters)))


def _over_lanes(count: str, lines: list[str]) -> str:
    body = "\n".join(lines)
    return f"#pragma omp simd\nfor (int j = 0; j < {count}; j++) {{\n{body}\n}}"
