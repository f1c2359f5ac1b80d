"""A graph of elementary operations as C statements."""

from __future__ import annotations

import math
from collections.abc import Iterable

from limen.formula.graph import Graph, Node
from limen.kernels.straight_line import write_out


def arithmetic(
    graph: Graph, outputs: Iterable[int], names: dict[str, str], tag: str = ""
) -> tuple[list[str], list[str]]:
    """One C statement for each operation that the outputs need, and the expressions of the outputs."""

    def statement(node: Node, name: str, operands: list[str]) -> str:
        template = _C.get(node.op, f"vm_{node.op}({{}})")
        limit = _finite_constant(graph, node) if node.op in _AGAINST_CONSTANT else None
        if limit is not None:
            template = _AGAINST_CONSTANT[node.op]
            operands = [operands[limit], operands[1 - limit]]
        kind = "int" if node.op in _CONDITIONS else "float"
        return f"const {kind} {name} = {template.format(*operands)};"

    return write_out(graph, outputs, names, literal, statement, tag)


def _finite_constant(graph: Graph, node: Node) -> int | None:
    """Which of the operands is a finite number."""
    values = [graph.number(operand) for operand in node.operands]
    return next((place for place, value in enumerate(values) if value is not None and math.isfinite(value)), None)


def literal(value: float) -> str:
    """A float32 constant in C, exact.

    >>> literal(0.5), literal(-1.0)
    ('0x1.0000000000000p-1f', '(-0x1.0000000000000p+0f)')
    """
    if value != value:
        return "VM_NAN"
    if value in (float("inf"), float("-inf")):
        return "VM_INFINITY" if value > 0 else "(-VM_INFINITY)"
    text = f"{value.hex()}f"
    return f"({text})" if value < 0 else text


# The limit first: false for NaN, which is so handed on, in the one instruction that a processor has for it.
_AGAINST_CONSTANT = {"min": "{0} < {1} ? {0} : {1}", "max": "{0} > {1} ? {0} : {1}"}

_CONDITIONS = frozenset({"ge", "gt", "eq", "ne", "and", "or", "not"})

_C: dict[str, str] = {
    "add": "{} + {}", "sub": "{} - {}", "mul": "{} * {}", "div": "{} / {}", "neg": "-{}",
    "min": "vm_min({}, {})", "max": "vm_max({}, {})", "abs": "__builtin_fabsf({})", "sqrt": "__builtin_sqrtf({})",
    "copysign": "__builtin_copysignf({}, {})", "ge": "{} >= {}", "gt": "{} > {}", "eq": "{} == {}", "ne": "{} != {}",
    "and": "{} & {}", "or": "{} | {}", "not": "!{}", "select": "{} ? {} : {}",
    "exp_neg": "vm_exp_np({})", "expm1_neg": "vm_expm1_np({})", "log1p_unit": "vm_log1p_01({})",
}  # fmt: skip
"""Every other operation is the function of its name in ``vector_math.h``."""
