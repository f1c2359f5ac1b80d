"""Straight-line arithmetic as a graph: a few elementary operations, equal parts being one node.

The operations, over numbers or vectors of them:

===================== ==========================================================================
input, constant       a symbol; a number
add sub mul div neg   arithmetic
min max abs sign sqrt as named; min and max keep NaN
copysign              the size of the first operand with the sign of the second
ge gt eq ne           comparisons, false for NaN (ne: true), as conditions of ``select``
and or not            of conditions
select                the second operand where the first holds, else the third
exp_neg expm1_neg     e^−a and e^−a − 1 for a ≥ 0
log1p_unit            ln(1 + t) for 0 ≤ t ≤ 1
exp                   for every argument
log log1p sin …       the functions derived from ``symbolic.Elementary``, for every argument
===================== ==========================================================================
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

COMMUTATIVE = frozenset({"add", "mul", "min", "max", "and", "or"})


@dataclass(frozen=True)
class Node:
    """One operation; ``value`` is a symbol's name or a constant."""

    op: str
    operands: tuple[int, ...] = ()
    value: str | float | None = None


@dataclass
class Graph:
    """Nodes in an order in which each comes after its operands; equal nodes are one."""

    nodes: list[Node] = field(default_factory=list)
    _index: dict[Node, int] = field(default_factory=dict)

    def constant(self, value: float) -> int:
        """A number."""
        return self._intern(Node("constant", value=float(value)))

    def input(self, name: str) -> int:
        """A symbol."""
        return self._intern(Node("input", value=name))

    def copy(self) -> Graph:
        """A graph of the same nodes, to which others can be added."""
        return Graph(list(self.nodes), dict(self._index))

    def add(self, op: str, *operands: int) -> int:
        """An operation, simplified where that is exact."""
        simplified = self._simplified(op, operands)
        if simplified is not None:
            return simplified
        ordered = tuple(sorted(operands)) if op in COMMUTATIVE else operands
        return self._intern(Node(op, ordered))

    def carry(self, node: Node, operands: Iterable[int]) -> int:
        """A node of another graph over operands of this one."""
        given = tuple(operands)
        return self.add(node.op, *given) if given else self._intern(node)

    def graft(self, other: Graph, outputs: Iterable[int], inputs: dict[str, int]) -> list[int]:
        """What another graph computes, of nodes of this one in the place of some of its inputs."""
        outputs = list(outputs)
        places: dict[int, int] = {}
        for index in other.live(outputs):
            node = other.nodes[index]
            own = inputs.get(str(node.value)) if node.op == "input" else None
            places[index] = self.carry(node, map(places.__getitem__, node.operands)) if own is None else own
        return [places[output] for output in outputs]

    def _intern(self, node: Node) -> int:
        if node not in self._index:
            self._index[node] = len(self.nodes)
            self.nodes.append(node)
        return self._index[node]

    def number(self, index: int) -> float | None:
        """The value of a constant node, else None."""
        node = self.nodes[index]
        return node.value if node.op == "constant" and isinstance(node.value, float) else None

    def _simplified(self, op: str, operands: tuple[int, ...]) -> int | None:
        rule = _RULES.get(op)
        return rule(self, *operands) if rule else None

    def inputs(self, outputs: Iterable[int]) -> set[str]:
        """The names of the symbols that the outputs depend on."""
        return {str(self.nodes[i].value) for i in self.live(outputs) if self.nodes[i].op == "input"}

    def live(self, outputs: Iterable[int]) -> list[int]:
        """The nodes that the outputs need, in order."""
        needed: set[int] = set()
        stack = list(outputs)
        while stack:
            index = stack.pop()
            if index not in needed:
                needed.add(index)
                stack.extend(self.nodes[index].operands)
        return sorted(needed)


_CHOOSING = frozenset({"select", "ge", "gt", "eq", "ne", "and", "or", "not"})


def keeps_nan(graph: Graph, index: int) -> bool:
    """Whether a node is NaN wherever x is."""
    node = graph.nodes[index]
    if node.op == "input":
        return node.value == "x"
    return node.op not in _CHOOSING and any(keeps_nan(graph, operand) for operand in node.operands)


def _mul(graph: Graph, a: int, b: int) -> int | None:
    for one, other in ((a, b), (b, a)):
        if graph.number(one) == 1:
            return other
        if graph.number(one) == -1:
            return graph.add("neg", other)
        if graph.nodes[one].op == "neg":
            return graph.add("neg", graph.add("mul", graph.nodes[one].operands[0], other))
    x, y = graph.number(a), graph.number(b)
    return None if x is None or y is None else graph.constant(x * y)


def _add(graph: Graph, a: int, b: int) -> int | None:
    for one, other in ((a, b), (b, a)):
        if graph.number(one) == 0:
            return other
        if graph.nodes[one].op == "neg":
            return graph.add("sub", other, graph.nodes[one].operands[0])
    x, y = graph.number(a), graph.number(b)
    return None if x is None or y is None else graph.constant(x + y)


def _sub(graph: Graph, a: int, b: int) -> int | None:
    if graph.number(b) == 0:
        return a
    if graph.number(a) == 0:
        return graph.add("neg", b)
    if graph.nodes[b].op == "neg":
        return graph.add("add", a, graph.nodes[b].operands[0])
    x, y = graph.number(a), graph.number(b)
    return None if x is None or y is None else graph.constant(x - y)


def _neg(graph: Graph, a: int) -> int | None:
    node, value = graph.nodes[a], graph.number(a)
    if value is not None:
        return graph.constant(-value)
    if node.op == "neg":
        return node.operands[0]
    return graph.add("sub", node.operands[1], node.operands[0]) if node.op == "sub" else None


def _abs(graph: Graph, a: int) -> int | None:
    """|−u| is |u| and |v − u| is |u − v|: what makes f(u) and g(−u) share."""
    node, value = graph.nodes[a], graph.number(a)
    if value is not None:
        return graph.constant(abs(value))
    if node.op == "neg":
        return graph.add("abs", node.operands[0])
    if node.op == "sub" and node.operands[0] > node.operands[1]:
        return graph.add("abs", graph._intern(Node("sub", (node.operands[1], node.operands[0]))))
    return None


def _select(graph: Graph, condition: int, a: int, b: int) -> int | None:
    if a == b:
        return a
    value = graph.number(condition)
    return None if value is None else (a if value else b)


_RULES: dict[str, Callable[..., int | None]] = {
    "mul": _mul, "add": _add, "sub": _sub, "neg": _neg, "abs": _abs, "select": _select,
}  # fmt: skip


def share_divisions(graph: Graph, outputs: list[int], reciprocals: set[int]) -> tuple[Graph, list[int]]:
    """Get two reciprocals of small numbers from one division: 1/d and 1/e are e/(d·e) and d/(d·e).

    A division costs a vector unit as much as ten multiplications. Only pairs of which neither needs the other. A
    reciprocal that is used once, in a product, becomes a division by itself.
    """
    waiting = [index for index in graph.live(outputs) if index in reciprocals]
    partner: dict[int, int] = {}
    for index in waiting:
        for other in waiting:
            free = index not in partner and other not in partner and other > index
            if free and index not in graph.live([other]):
                partner[index], partner[other] = other, index
    uses = Counter(operand for index in graph.live(outputs) for operand in graph.nodes[index].operands)
    rebuilt = Graph()
    done: dict[int, int] = {}

    def copy(index: int) -> int:
        if index not in done:
            node = graph.nodes[index]
            lone = [o for o in node.operands if o in reciprocals and o not in partner and uses[o] == 1]
            if node.op == "mul" and lone:
                # a·(1/d), where nothing else needs 1/d.
                (other,) = [operand for operand in node.operands if operand != lone[0]]
                done[index] = rebuilt.add("div", copy(other), copy(graph.nodes[lone[0]].operands[1]))
            elif index in partner:
                own, its = (copy(graph.nodes[i].operands[1]) for i in (index, partner[index]))
                both = rebuilt.add("div", rebuilt.constant(1), rebuilt.add("mul", own, its))
                done[index] = rebuilt.add("mul", both, its)
            else:
                done[index] = rebuilt.carry(node, map(copy, node.operands))
        return done[index]

    return rebuilt, [copy(output) for output in outputs]
