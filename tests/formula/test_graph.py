"""What is folded while a graph is built."""

from __future__ import annotations

import pytest

from limen.formula.graph import Graph, keeps_nan


@pytest.mark.parametrize("swapped", [False, True])
def test_products_with_one_and_minus_one(swapped: bool) -> None:
    graph = Graph()
    x = graph.input("x")

    def times(number: int) -> int:
        operands = (graph.constant(number), x)
        return graph.add("mul", *(reversed(operands) if swapped else operands))

    assert times(1) == x
    assert times(-1) == graph.add("neg", x)
    assert graph.nodes[times(2)].op == "mul"


def test_what_is_nan_wherever_x_is() -> None:
    graph = Graph()
    x, a = graph.input("x"), graph.input("a")
    one, positive = graph.constant(1), graph.add("gt", x, graph.constant(0))
    assert all(keeps_nan(graph, index) for index in (x, graph.add("mul", a, x), graph.add("neg", x)))
    chosen = graph.add("select", positive, x, one)
    assert not any(keeps_nan(graph, index) for index in (a, one, graph.add("add", a, one), positive, chosen))


def test_a_graph_of_what_another_gives() -> None:
    inner, outer = Graph(), Graph()
    z = inner.add("sub", inner.input("x"), inner.input("mean"))
    x, a = outer.input("x"), outer.input("a")
    product, both = outer.add("mul", x, a), outer.add("mul", x, x)
    place, square = inner.graft(outer, [product, both], {"x": z})
    assert inner.nodes[place].operands == tuple(sorted((z, inner.input("a"))))
    assert inner.nodes[square].operands == (z, z)
    assert inner.inputs([place, square]) == {"x", "mean", "a"}
