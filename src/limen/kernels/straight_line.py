"""A graph of elementary operations written out, one statement an operation, in whatever language."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from limen.formula.graph import Graph, Node

Statement = Callable[[Node, str, list[str]], str]
"""Called as ``statement(node, name, operands)``: the statement that gives the node's value that name."""


def write_out(
    graph: Graph,
    outputs: Iterable[int],
    names: dict[str, str],
    literal: Callable[[float], str],
    statement: Statement,
    tag: str = "",
) -> tuple[list[str], list[str]]:
    """The statements that the outputs need, and the expressions of the outputs; new names end in ``tag``."""
    outputs = list(outputs)
    lines: list[str] = []
    written: dict[int, str] = {}
    for index in graph.live(outputs):
        node = graph.nodes[index]
        if node.op == "constant":
            assert isinstance(node.value, float)
            written[index] = literal(node.value)
        elif node.op == "input":
            written[index] = names[str(node.value)]
        else:
            written[index] = f"v{index}{tag}"
            lines.append(statement(node, written[index], [written[operand] for operand in node.operands]))
    return lines, [written[output] for output in outputs]
