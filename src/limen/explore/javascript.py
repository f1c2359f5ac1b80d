"""A graph of elementary operations as JavaScript, whose numbers are float64."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

from limen.formula.graph import Graph, Node
from limen.kernels.straight_line import write_out

ELEMENTARY = Path(__file__).with_name("elementary.js")
"""The operations that JavaScript has not by itself."""


def arithmetic(graph: Graph, outputs: Iterable[int], names: dict[str, str]) -> tuple[list[str], list[str]]:
    """One statement for each operation that the outputs need, and the expressions of the outputs.

    >>> from limen.formula.stable import lower
    >>> from limen.formula.symbolic import symbol
    >>> graph, outputs = lower([symbol("k") * symbol("x") + 1])
    >>> arithmetic(graph, outputs, {"x": "x", "k": "p[0]"})
    (['const v3=x*p[0];', 'const v4=1.0+v3;'], ['v4'])
    """

    def statement(node: Node, name: str, operands: list[str]) -> str:
        template = _JAVASCRIPT.get(node.op, f"Math.{node.op}({{}})")
        return f"const {name}={template.format(*operands)};"

    return write_out(graph, outputs, names, literal, statement)


def literal(value: float) -> str:
    """A float64 constant, exact.

    >>> literal(0.1), literal(-1.0), literal(float("-inf"))
    ('0.1', '(-1.0)', '(-Infinity)')
    """
    if value != value:
        return "NaN"
    text = "Infinity" if math.isinf(value) else repr(abs(value))
    return f"(-{text})" if math.copysign(1, value) < 0 else text


_JAVASCRIPT: dict[str, str] = {
    "add": "{}+{}", "sub": "{}-{}", "mul": "{}*{}", "div": "{}/{}", "neg": "-{}", "copysign": "copysign({}, {})",
    "min": "Math.min({}, {})", "max": "Math.max({}, {})", "erf": "erf({})",
    "ge": "{}>={}", "gt": "{}>{}", "eq": "{}==={}", "ne": "{}!=={}",
    "and": "{}&&{}", "or": "{}||{}", "not": "!{}", "select": "{}?{}:{}",
    "exp_neg": "Math.exp(-{})", "expm1_neg": "Math.expm1(-{})", "log1p_unit": "Math.log1p({})",
}  # fmt: skip
"""Every other operation is JavaScript's own, under its name."""
