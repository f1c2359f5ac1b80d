"""Fewer sums over elements: what is the same for all elements leaves a sum, and branches are summed by themselves.

Σ c·v is c·Σ v, so that sums which differ in c are one. And Σ (x > 0 ? x : a·x) with Σ (x > 0 ? x : b·x) are the sum
of the positive x and that of the others, in two proportions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from limen.formula.graph import Graph, keeps_nan

Part = tuple[int, int]
"""The place of a basis, and the node of its coefficient, which is the same for all elements."""


@dataclass(frozen=True)
class FactoredSums:
    """Sums over elements as combinations of fewer sums."""

    graph: Graph
    bases: tuple[int, ...]
    """The nodes to sum over the elements, each different."""
    parts: tuple[tuple[Part, ...], ...]
    """For each sum the parts that it is made of."""

    @property
    def coefficients(self) -> list[int]:
        """The nodes of all coefficients, part by part."""
        return [coefficient for parts in self.parts for _, coefficient in parts]


def factored_sums(graph: Graph, outputs: Iterable[int], varying: Iterable[str]) -> FactoredSums:
    """Split each output into what varies and its coefficients; ``varying`` names the inputs that do vary.

    >>> graph = Graph()
    >>> x, a, b = (graph.input(name) for name in "xab")
    >>> sums = factored_sums(graph, [graph.add("mul", a, x), graph.add("mul", x, b)], "x")
    >>> len(sums.bases)
    1
    """
    factoring = _Factoring(graph.copy(), frozenset(varying))
    whole = [factoring.split(output) for output in outputs]
    by_branch = [factoring.branches(basis) for _, basis in whole]
    masked = {basis for branches in by_branch for _, basis in branches}
    apart = len(masked) < sum(bool(branches) for branches in by_branch)
    bases: list[int] = []
    parts: list[tuple[Part, ...]] = []
    for (coefficient, basis), branches in zip(whole, by_branch, strict=True):
        terms = branches if branches and apart else [(factoring.graph.constant(1), basis)]
        bases += [node for _, node in terms if node not in bases]
        parts.append(
            tuple((bases.index(node), factoring.graph.add("mul", coefficient, factor)) for factor, node in terms)
        )
    return FactoredSums(factoring.graph, tuple(bases), tuple(parts))


def unfactored_sums(graph: Graph, outputs: Sequence[int]) -> FactoredSums:
    """Each output as a sum of its own."""
    one = graph.constant(1)
    return FactoredSums(graph, tuple(outputs), tuple(((place, one),) for place in range(len(outputs))))


class _Factoring:
    """Takes nodes apart, adding to a graph what that needs."""

    def __init__(self, graph: Graph, varying: frozenset[str]) -> None:
        self.graph, self.varying = graph, varying

    def split(self, index: int) -> tuple[int, int]:
        """The coefficient and what varies, whose product a node is."""
        graph, node = self.graph, self.graph.nodes[index]
        if node.op == "neg":
            coefficient, basis = self.split(node.operands[0])
            return graph.add("neg", coefficient), basis
        if node.op == "mul":
            for one, other in (node.operands, node.operands[::-1]):
                if not self._varies(one):
                    coefficient, basis = self.split(other)
                    return graph.add("mul", one, coefficient), basis
        if node.op == "select":
            condition, *branches = node.operands
            for place, branch in enumerate(branches):
                if graph.number(branches[1 - place]) == 0:
                    coefficient, basis = self.split(branch)
                    masked = (basis, branches[1]) if place == 0 else (branches[0], basis)
                    return coefficient, graph.add("select", condition, *masked)
        return graph.constant(1), index

    def branches(self, index: int) -> list[tuple[int, int]]:
        """The coefficients and bases of the branches of a selection by the sign of something; else nothing.

        A basis is a branch with 0 in place of the other, and NaN where the input is. So a selection is taken apart
        only if what it selects for NaN is NaN.
        """
        graph, node = self.graph, self.graph.nodes[index]
        if node.op != "select" or graph.nodes[node.operands[0]].op not in ("gt", "ge") or not self._varies(index):
            return []
        condition, when, otherwise = node.operands
        one, other = graph.nodes[condition].operands
        opposite = graph.add("ge" if graph.nodes[condition].op == "gt" else "gt", other, one)
        if not keeps_nan(graph, otherwise):
            return []
        found = []
        for masking, branch in ((opposite, when), (condition, otherwise)):
            if graph.number(branch) != 0:
                coefficient, basis = self.split(branch)
                if not keeps_nan(graph, basis):
                    return []
                found.append((coefficient, graph.add("select", masking, graph.constant(0), basis)))
        return found

    def _varies(self, index: int) -> bool:
        return bool(self.graph.inputs([index]) & self.varying)
