"""Merging branches and factoring sums: fewer operations, the same values."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import limen
from limen.formula.branches import merge_branches
from limen.formula.factors import factored_sums
from limen.formula.graph import Graph
from limen.kernels.bound import derive


def value(graph: Graph, output: int, inputs: dict[str, float]) -> float:
    """The value of a node, by the plainest arithmetic."""
    found: dict[int, float] = {}
    for index in graph.live([output]):
        node = graph.nodes[index]
        operands = [found[operand] for operand in node.operands]
        if node.op == "constant":
            found[index] = float(node.value)
        elif node.op == "input":
            found[index] = inputs[str(node.value)]
        else:
            found[index] = _OPERATIONS[node.op](*operands)
    return found[output]


_OPERATIONS = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "neg": lambda a: -a,
    "abs": abs,
    "exp_neg": lambda a: math.exp(-a),
    "expm1_neg": lambda a: math.expm1(-a),
    "gt": lambda a, b: float(a > b),
    "ge": lambda a, b: float(a >= b),
    "or": lambda a, b: float(bool(a) or bool(b)),
    "select": lambda c, a, b: a if c else b,
}


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Graph, int]:
    """Sums, products and selections over x, a noise and two parameters, with exponentials within."""
    graph = Graph()
    x, noise, a, b = (graph.input(name) for name in ("x", "noise", "a", "b"))
    zero = graph.constant(0)
    conditions = [graph.add("gt", x, zero), graph.add("ge", zero, x), graph.add("ge", x, zero)]
    nodes = [x, noise, a, b, zero, graph.constant(1), graph.constant(0.25)]
    for _ in range(draw(st.integers(3, 12))):
        op = draw(st.sampled_from(["add", "sub", "mul", "neg", "select", "select", "exp_neg", "expm1_neg"]))
        one, other = (draw(st.sampled_from(nodes)) for _ in range(2))
        if op == "select":
            nodes.append(graph.add(op, draw(st.sampled_from(conditions)), one, other))
        elif op in ("exp_neg", "expm1_neg"):
            nodes.append(graph.add(op, graph.add("abs", one)))
        else:
            nodes.append(graph.add(op, one) if op == "neg" else graph.add(op, one, other))
    return graph, nodes[-1]


numbers = st.floats(-3, 3)


@given(graphs(), st.one_of(numbers, st.just(0.0), st.just(math.nan)), numbers, numbers, numbers)
def test_merging_keeps_the_value(built: tuple[Graph, int], x: float, noise: float, a: float, b: float) -> None:
    graph, output = built
    inputs = {"x": x, "noise": noise, "a": a, "b": b}
    want = value(graph, output, inputs)
    merged, (same,) = merge_branches(graph, [output], ("x", "noise"))
    assert value(merged, same, inputs) == pytest.approx(want, rel=1e-9, abs=1e-6, nan_ok=True)


def test_constant_branches_of_opposite_conditions_stay_apart_for_nan() -> None:
    graph = Graph()
    x = graph.input("x")
    zero, two, three, five, seven = map(graph.constant, (0, 2, 3, 5, 7))
    above = graph.add("select", graph.add("gt", x, zero), two, three)
    below = graph.add("select", graph.add("ge", zero, x), five, seven)
    merged, (same,) = merge_branches(graph, [graph.add("add", above, below)], ("x",))
    assert [value(merged, same, {"x": x}) for x in (1.0, -1.0, math.nan)] == [9.0, 8.0, 10.0]


def test_an_exponential_in_a_condition_is_needed_whatever_else_holds() -> None:
    graph = Graph()
    x, a, b = (graph.input(name) for name in ("x", "a", "b"))
    holds = graph.add("gt", x, graph.constant(0))
    beside = graph.add("gt", graph.add("exp_neg", graph.add("abs", a)), graph.constant(0.25))
    within = graph.add("select", holds, graph.constant(0), graph.add("exp_neg", graph.add("abs", b)))
    output = graph.add("select", graph.add("or", holds, beside), within, graph.constant(9))
    merged, (same,) = merge_branches(graph, [output], ("x", "a", "b"))
    for inputs in ({"x": -1.0, "a": 0.5, "b": 3.0}, {"x": -1.0, "a": 3.0, "b": 0.5}, {"x": 1.0, "a": 0.5, "b": 3.0}):
        assert value(merged, same, inputs) == pytest.approx(value(graph, output, inputs))


def test_an_exponential_that_is_used_outside_its_branch_too_keeps_its_argument() -> None:
    graph = Graph()
    x, a, b = (graph.input(name) for name in ("x", "a", "b"))
    one, other = (graph.add("exp_neg", graph.add("abs", of)) for of in (a, b))
    chosen = graph.add("select", graph.add("gt", x, graph.constant(0)), one, other)
    output = graph.add("add", graph.add("mul", chosen, x), one)
    merged, (same,) = merge_branches(graph, [output], ("x", "a", "b"))
    for x_ in (-1.0, 1.0):
        inputs = {"x": x_, "a": 0.5, "b": 3.0}
        assert value(merged, same, inputs) == pytest.approx(value(graph, output, inputs))


def test_opposite_conditions_are_one_selection_where_the_rest_is_nan_by_any_of_its_terms() -> None:
    graph = Graph()
    x, a = graph.input("x"), graph.input("a")
    zero, one = graph.constant(0), graph.constant(1)
    positive, negative = graph.add("gt", x, zero), graph.add("ge", zero, x)
    above = graph.add("add", graph.add("select", positive, zero, one), graph.add("select", positive, one, x))
    output = graph.add("add", graph.add("mul", a, above), graph.add("select", negative, x, one))
    merged, (same,) = merge_branches(graph, [output], ("x",))
    assert sum(merged.nodes[index].op == "select" for index in merged.live([same])) == 1
    for x_ in (-2.0, 0.0, 2.0, math.nan):
        inputs = {"x": x_, "a": 3.0}
        assert value(merged, same, inputs) == pytest.approx(value(graph, output, inputs), nan_ok=True)


@pytest.mark.parametrize("own", [1, 2])
def test_exponentials_in_a_branch_that_excludes_itself_come_to_an_end(own: int) -> None:
    graph = Graph()
    x, a, b = (graph.input(name) for name in ("x", "a", "b"))
    holds = graph.add("gt", x, graph.constant(0))
    never = [graph.add("exp_neg", graph.add("abs", of)) for of in (a, b)[:own]]
    for exponential in never:
        within = graph.add("select", holds, x, exponential)
        x = graph.add("select", holds, within, graph.add("add", x, a))
    inputs = {"x": -0.5, "a": 2.0, "b": 3.0}
    merged, (same,) = merge_branches(graph, [x], ("x",))
    assert value(merged, same, inputs) == pytest.approx(value(graph, x, inputs))


@given(graphs(), st.data(), st.one_of(numbers, st.just(0.0), st.just(math.nan)), numbers, numbers, numbers)
def test_factored_sums_are_combinations_of_their_bases(
    built: tuple[Graph, int], data: st.DataObject, x: float, noise: float, a: float, b: float
) -> None:
    graph, last = built
    inputs = {"x": x, "noise": noise, "a": a, "b": b}
    numeric = [i for i, node in enumerate(graph.nodes) if node.op not in ("gt", "ge")]
    outputs = [last, *data.draw(st.lists(st.sampled_from(numeric), max_size=4))]
    sums = factored_sums(graph, outputs, ("x", "noise"))
    assert not sums.graph.inputs(sums.coefficients) & {"x", "noise"}
    for output, parts in zip(outputs, sums.parts, strict=True):
        combined = sum(
            value(sums.graph, c, inputs) * value(sums.graph, sums.bases[place], inputs) for place, c in parts
        )
        assert combined == pytest.approx(value(graph, output, inputs), rel=1e-9, abs=1e-9, nan_ok=True)


def operations(name: str, op: str, backward: bool = False) -> int:
    bound = limen.create(name).train().bind(training=True)
    derivation = derive(bound, bound.parameters if backward else ())
    graph, outputs = (
        (derivation.backward, [node for _, node in derivation.slopes])
        if backward
        else (derivation.forward, [derivation.value])
    )
    return sum(graph.nodes[index].op == op for index in graph.live(outputs))


def test_two_branches_share_one_exponential() -> None:
    assert operations("apalu", "exp_neg") == 1
    assert operations("apalu", "exp_neg", backward=True) == 1


def test_the_five_piecewise_candidates_of_a_mixture_are_one_selection() -> None:
    # One for them, two within mish, one within silu.
    assert operations("adact", "select") == 4


def test_statistics_and_threshold_share_a_sum() -> None:
    bound = limen.ASH().bind(training=True)
    derivation = derive(bound, bound.parameters)
    sums = factored_sums(derivation.backward, [node for _, node in derivation.slopes[1:]], {"x"})
    assert len(sums.parts) == 4
    assert len(sums.bases) == 2


def test_six_gradients_of_a_mixture_share_four_sums() -> None:
    bound = limen.AdAct().train().bind(training=True)
    derivation = derive(bound, bound.parameters)
    varying = {"x", *bound.noise}
    sums = factored_sums(derivation.backward, [node for _, node in derivation.slopes[1:]], varying)
    assert len(sums.parts) == 8
    assert len(sums.bases) == 6
