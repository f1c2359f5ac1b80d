"""Fewer operations where a formula has branches: one selection a condition, one exponential for two branches.

Vector code computes both branches of a selection and then chooses. So a sum of selections by one condition,
``w·(x > 0 ? x : a) + v·(x > 0 ? x : b)``, is better as one of sums, ``x > 0 ? (w + v)·x : w·a + v·b``, and two
exponentials of which each is needed in one branch only are one of a selected argument.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from limen.formula.graph import Graph, keeps_nan

Terms = dict[int, list[int]]
"""A sum: the coefficients, the same for all elements, by which each node is multiplied."""


def merge_branches(graph: Graph, outputs: list[int], varying: Iterable[str]) -> tuple[Graph, list[int]]:
    """Rewrite sums of selections as selections of sums, then share exponentials between branches.

    ``varying`` names the inputs that differ from element to element.
    """
    merging = _Merging(graph, outputs, frozenset(varying))
    merged = [merging.copy(output) for output in outputs]
    return _share_exponentials(merging.rebuilt, merged)


class _Sum:
    """Terms that are always there, and by condition those of either branch."""

    def __init__(self) -> None:
        self.always: Terms = {}
        self.branches: dict[int, tuple[Terms, Terms]] = {}


class _Merging:
    """Copies a graph, node by node, into one in which sums of selections are merged."""

    def __init__(self, graph: Graph, outputs: list[int], varying: frozenset[str]) -> None:
        self.graph, self.rebuilt = graph, Graph()
        self.done: dict[int, int] = {}
        self.varies: dict[int, bool] = {}
        self.selects: dict[int, bool] = {}
        live = graph.live(outputs)
        self.uses = Counter([*outputs, *(operand for index in live for operand in graph.nodes[index].operands)])
        for index in live:
            node = graph.nodes[index]
            self.varies[index] = node.value in varying or any(self.varies[operand] for operand in node.operands)
            self.selects[index] = self._is_selecting(index)

    def _is_selecting(self, index: int) -> bool:
        """Whether a node is a sum in which there is a selection that nothing else uses."""
        node = self.graph.nodes[index]
        if node.op == "select":
            return self.varies[node.operands[0]]
        if node.op in ("add", "sub", "neg"):
            return any(self._merges(operand) for operand in node.operands)
        return node.op == "mul" and self._scaled(index) is not None

    def _merges(self, index: int) -> bool:
        """Whether a node can become part of a sum; one that is needed by itself as well would be computed twice."""
        return self.selects[index] and self.uses[index] == 1

    def _scaled(self, index: int) -> tuple[int, int] | None:
        """The coefficient and the sum with selections whose product a node is."""
        one, other = self.graph.nodes[index].operands
        for coefficient, term in ((one, other), (other, one)):
            if not self.varies[coefficient] and self._merges(term):
                return coefficient, term
        return None

    def copy(self, index: int) -> int:
        """The node in the rebuilt graph that has the value of a node of the first."""
        if index not in self.done:
            node = self.graph.nodes[index]
            if self.selects[index] and node.op != "select":
                self.done[index] = self._written(self._sum(index))
            else:
                self.done[index] = self.rebuilt.carry(node, map(self.copy, node.operands))
        return self.done[index]

    def _sum(self, index: int) -> _Sum:
        found = _Sum()
        self._collect(index, [], found, whole=True)
        self._join_complements(found)
        return found

    def _collect(self, index: int, factors: list[int], found: _Sum, whole: bool = False) -> None:
        """Add a node times coefficients to a sum."""
        node = self.graph.nodes[index]
        if not (whole or self._merges(index)):
            self._enter(found.always, index, factors)
        elif node.op == "select":
            condition, *operands = node.operands
            branches = found.branches.setdefault(self.copy(condition), ({}, {}))
            for terms, operand in zip(branches, operands, strict=True):
                self._enter(terms, operand, factors)
        elif node.op == "mul":
            scaled = self._scaled(index)
            assert scaled is not None
            self._collect(scaled[1], [*factors, self.copy(scaled[0])], found)
        else:
            minus = self.rebuilt.constant(-1)
            for place, operand in enumerate(node.operands):
                negated = node.op == "neg" or (node.op == "sub" and place == 1)
                self._collect(operand, [*factors, minus] if negated else factors, found)

    def _enter(self, terms: Terms, index: int, factors: list[int]) -> None:
        """Split a term into what varies and its coefficient; terms that vary alike share one entry."""
        node = self.graph.nodes[index]
        if node.op == "mul" and self.varies[index]:
            one, other = node.operands
            for coefficient, term in ((one, other), (other, one)):
                if not self.varies[coefficient]:
                    self._enter(terms, term, [*factors, self.copy(coefficient)])
                    return
        if self.graph.number(index) == 0:
            return
        if self.varies[index]:
            terms.setdefault(self.copy(index), []).append(self._product(factors))
        else:
            terms.setdefault(self.rebuilt.constant(1), []).append(self._product([*factors, self.copy(index)]))

    def _join_complements(self, found: _Sum) -> None:
        """Join the branches of ``0 ≥ x`` to those of ``x > 0``.

        The two differ for NaN, where the former takes what is for x > 0 and the latter takes the rest. So they are
        joined only where the joined rest is NaN as well.
        """
        for condition in list(found.branches):
            opposite = self._opposite(condition)
            if opposite in found.branches:
                when, otherwise = found.branches[condition]
                if any(keeps_nan(self.rebuilt, basis) for basis in otherwise):
                    small, large = found.branches.pop(opposite)
                    for terms, others in ((when, large), (otherwise, small)):
                        for basis, coefficients in others.items():
                            terms.setdefault(basis, []).extend(coefficients)

    def _opposite(self, condition: int) -> int | None:
        node = self.rebuilt.nodes[condition]
        return self.rebuilt.add("ge", *reversed(node.operands)) if node.op == "gt" else None

    def _written(self, found: _Sum) -> int:
        parts = [self._total(found.always)] if found.always else []
        for condition, (when, otherwise) in found.branches.items():
            parts.append(self.rebuilt.add("select", condition, self._total(when), self._total(otherwise)))
        return self._added(parts)

    def _total(self, terms: Terms) -> int:
        return self._added(
            [
                self.rebuilt.add("mul", self._added(coefficients), basis)  # which for the basis 1 adds no node
                for basis, coefficients in terms.items()
            ]
        )

    def _added(self, nodes: list[int]) -> int:
        total = self.rebuilt.constant(0)
        for node in nodes:
            total = self.rebuilt.add("add", total, node)
        return total

    def _product(self, factors: list[int]) -> int:
        product = self.rebuilt.constant(1)
        for factor in factors:
            product = self.rebuilt.add("mul", product, factor)
        return product


_EXPONENTIALS = frozenset({"exp_neg", "expm1_neg"})


def _share_exponentials(graph: Graph, outputs: list[int]) -> tuple[Graph, list[int]]:
    """Give two exponentials one selected argument where each is needed in one branch of the same condition only."""
    # Each step leaves one argument fewer; where branches exclude themselves, which never run, a step may leave as many.
    for _ in range(sum(node.op in _EXPONENTIALS for node in graph.nodes)):
        pair = _exclusive_arguments(graph, outputs)
        if pair is None:
            break
        graph, outputs = _with_argument(graph, outputs, *pair)
    return graph, outputs


def _exclusive_arguments(graph: Graph, outputs: list[int]) -> tuple[int, int, int] | None:
    """A condition with the argument of an exponential for where it holds and that of another for where it fails."""
    guards = _guards(graph, outputs)
    arguments: dict[int, frozenset[tuple[int, bool]]] = {}
    for index in graph.live(outputs):
        node = graph.nodes[index]
        if node.op in _EXPONENTIALS:
            (argument,) = node.operands
            arguments[argument] = arguments.get(argument, guards[index]) & guards[index]
    for when, holding in arguments.items():
        for condition, holds in holding:
            for otherwise, failing in arguments.items():
                if holds and when != otherwise and (condition, False) in failing:
                    needed = set(graph.live([condition, when, otherwise]))
                    if not any(i in needed for i in range(len(graph.nodes)) if graph.nodes[i].op in _EXPONENTIALS):
                        return condition, when, otherwise
    return None


def _guards(graph: Graph, outputs: list[int]) -> dict[int, frozenset[tuple[int, bool]]]:
    """For each node, the conditions and branches outside which nobody uses it."""
    live = graph.live(outputs)
    guards: dict[int, frozenset[tuple[int, bool]]] = {output: frozenset() for output in outputs}
    for index in reversed(live):
        node, own = graph.nodes[index], guards[index]
        for place, operand in enumerate(node.operands):
            extra = {(node.operands[0], place == 1)} if node.op == "select" and place > 0 else set()
            here = own | extra
            guards[operand] = guards[operand] & here if operand in guards else here
    return guards


def _with_argument(
    graph: Graph, outputs: list[int], condition: int, when: int, otherwise: int
) -> tuple[Graph, list[int]]:
    """Copy a graph, the exponentials of either argument taking the selected one."""
    rebuilt = Graph()
    done: dict[int, int] = {}

    def copy(index: int) -> int:
        if index not in done:
            node = graph.nodes[index]
            if node.op in _EXPONENTIALS and node.operands[0] in (when, otherwise):
                argument = rebuilt.add("select", copy(condition), copy(when), copy(otherwise))
                done[index] = rebuilt.add(node.op, argument)
            else:
                done[index] = rebuilt.carry(node, map(copy, node.operands))
        return done[index]

    return rebuilt, [copy(output) for output in outputs]
