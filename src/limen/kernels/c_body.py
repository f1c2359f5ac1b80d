"""The loops of a C source: the arithmetic of one element, or of several interleaved, for all elements of a span."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from limen.formula.factors import FactoredSums
from limen.formula.graph import Graph
from limen.kernels.bound import MEAN, STD, BoundFormula
from limen.kernels.c_arithmetic import NOISE_INSTRUCTIONS, arithmetic, instructions
from limen.kernels.noise import STREAM_STEP

LANES = 16
"""Elements in the widest vectors there are."""
COPIES = 4
"""Elements whose arithmetic is interleaved in a long kernel. One element's is a chain in which each operation waits
for the one before, and a processor looks ahead only about a hundred operations to fill the gaps: with four chains a
forward pass of AdAct takes 0.75 of the time and one of ASAU 0.77."""
LONG = 50
"""Instructions for an element from which a kernel is long. Shorter ones gain nothing."""


class Body:
    """What the loops of one source share: how inputs are called, what is loaded before and within the loop."""

    def __init__(
        self, bound: BoundFormula, dtype: str, layout: str, graph: Graph, outputs: list[int], tensors: tuple[str, ...]
    ) -> None:
        self.parameters, self.noise = bound.parameters, bound.noise
        self.layout = layout
        self.in_place = dtype == "float32"
        self.graph, self.outputs, self.tensors = graph, outputs, tensors
        self.sums = FactoredSums(graph, (), ())
        self.finish: Callable[[list[str], str], list[str]] = lambda results, at: []
        """From the upstream gradient, where there is one, and the results: what is stored and summed at a place."""

    @property
    def count(self) -> int:
        """How many sums there are: statistics and parameters."""
        return len(self.sums.parts)

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

    def _before(self) -> Iterator[str]:
        for index, name in enumerate(self.parameters):
            # Parameters are read into locals first: a read through a pointer inside a conditional expression
            # keeps GCC from vectorising the loop.
            if name in self.used and self.layout != "lane":
                yield f"const float p{index}_ = p{index}[c];"
        for stream, name in enumerate(self.noise):
            if name in self.used:
                # The counter is 64 bits wide, and its low half advances with i: a span never crosses 2^32.
                step = (stream * STREAM_STEP) & 0xFFFFFFFF
                yield f"const uint32_t seed{stream}_ = vm_mix((seed + {step}u) ^ (uint32_t)(place >> 32));"

    def element(self, at: str, tag: str) -> list[str]:
        """The statements for the element at a place, the names of their results ending in a tag."""
        names = {"x": f"x{tag}_", **self.uniform_names}
        lines = [f"const float {tensor}{tag}_ = LOAD({tensor}[{at}]);" for tensor in self.tensors]
        for index, name in enumerate(self.parameters):
            if name in self.used and self.layout == "lane":
                names[name] = f"p{index}{tag}_"
                lines.append(f"const float {names[name]} = p{index}[{at}];")
        for stream, name in enumerate(self.noise):
            names[name] = f"noise{stream}{tag}_"
            if name in self.used:
                lines.append(
                    f"const float {names[name]} = vm_uniform((uint32_t)place + (uint32_t)({at}), seed{stream}_);"
                )
        statements, results = arithmetic(self.graph, self.outputs, names, tag)
        upstream = [f"g{tag}_"] if "g" in self.tensors else []
        return [*lines, *statements, *self.finish([*upstream, *results], at)]

    def loops(self, clause: str = "") -> str:
        """The loop over the ``n`` elements of a span; in a long kernel one over groups and one over the rest."""
        noise = sum(name in self.used for name in self.noise)
        if instructions(self.graph, self.outputs) + noise * NOISE_INSTRUCTIONS < LONG:
            return _loop(clause, "0", "n", self.element("i", ""))
        copies = [self.element(f"i + {k} * part", f"_{k}") for k in range(COPIES)]
        interleaved = [line for lines in zip(*copies, strict=True) for line in lines]
        return "\n".join(
            [
                f"const int part = n / {COPIES * LANES} * {LANES};",
                _loop(clause, "0", "part", interleaved),
                _loop(clause, f"{COPIES} * part", "n", self.element("i", "")),
            ]
        )

    @property
    def pointers(self) -> str:
        """The parameters as a function takes them."""
        return "".join(f", const float *restrict p{index}" for index in range(len(self.parameters)))

    @property
    def passed(self) -> str:
        """The parameters as a call passes them on."""
        return "".join(f", p{index}" for index in range(len(self.parameters)))


def _loop(clause: str, first: str, end: str, lines: list[str]) -> str:
    body = "\n".join(lines)
    return f"#pragma omp simd{clause}\nfor (int i = {first}; i < {end}; i++) {{\n{body}\n}}"
