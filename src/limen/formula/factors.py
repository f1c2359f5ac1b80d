"""What is the same for all elements leaves a sum over them: Σ c·v = c·Σ v."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from limen.formula.graph import Graph


@dataclass(frozen=True)
class FactoredSums:
    """Sums over elements as coefficients times fewer sums."""

    graph: Graph
    bases: tuple[int, ...]
    """The nodes to sum over the elements, each different."""
    parts: tuple[tuple[int, int], ...]
    """For each sum the place in ``bases`` and the node of the coefficient, which is the same for all elements."""


def factored_sums(graph: Graph, outputs: Iterable[int], varying: Iterable[str]) -> FactoredSums:
    """Split the factors that do not vary off each output; ``varying`` names the inputs that do.

    >>> graph = Graph()
    >>> x, a, b = (graph.input(name) for name in "xab")
    >>> sums = factored_sums(graph, [graph.add("mul", a, x), graph.add("mul", x, b)], "x")
    >>> len(sums.bases)
    1
    """
    rebuilt = Graph(list(graph.nodes), dict(graph._index))
    names = frozenset(varying)
    bases: list[int] = []
    parts = []
    for output in outputs:
        coefficient, basis = _split(rebuilt, output, names)
        if basis not in bases:
            bases.append(basis)
        parts.append((bases.index(basis), coefficient))
    return FactoredSums(rebuilt, tuple(bases), tuple(parts))


def unfactored_sums(graph: Graph, outputs: Iterable[int]) -> FactoredSums:
    """Each output as a sum of its own."""
    bases = tuple(outputs)
    return FactoredSums(graph, bases, tuple((place, graph.constant(1)) for place in range(len(bases))))


def _split(graph: Graph, index: int, varying: frozenset[str]) -> tuple[int, int]:
    """The coefficient and what varies, whose product a node is."""
    node = graph.nodes[index]
    if node.op == "neg":
        coefficient, basis = _split(graph, node.operands[0], varying)
        return graph.add("neg", coefficient), basis
    if node.op == "mul":
        for one, other in (node.operands, node.operands[::-1]):
            if not graph.inputs([one]) & varying:
                coefficient, basis = _split(graph, other, varying)
                return graph.add("mul", one, coefficient), basis
    if node.op == "select":
        condition, *branches = node.operands
        for place, branch in enumerate(branches):
            if graph.number(branches[1 - place]) == 0:
                coefficient, basis = _split(graph, branch, varying)
                masked = (basis, branches[1]) if place == 0 else (branches[0], basis)
                return coefficient, graph.add("select", condition, *masked)
    return graph.constant(1), index
