"""A graph of elementary operations as C statements."""

from __future__ import annotations

from collections.abc import Iterable

from limen.formula.graph import Graph


class Statements:
    """C statements, and the names of their results."""

    def __init__(self, text: str, results: list[str]) -> None:
        self.text, self.results = text, results


def arithmetic(graph: Graph, outputs: Iterable[int], names: dict[str, str]) -> Statements:
    """One C statement for each operation that the outputs need."""
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
            kind = "int" if node.op in _CONDITIONS else "float"
            operands = [written[operand] for operand in node.operands]
            written[index] = f"v{index}"
            lines.append(f"const {kind} v{index} = {_C[node.op].format(*operands)};")
    return Statements("\n".join(lines), [written[output] for output in outputs])


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


_CONDITIONS = frozenset({"ge", "gt", "eq", "ne", "and", "or", "not"})

_C: dict[str, str] = {
    "add": "{} + {}", "sub": "{} - {}", "mul": "{} * {}", "div": "{} / {}", "neg": "-{}",
    "min": "vm_min({}, {})", "max": "vm_max({}, {})", "abs": "__builtin_fabsf({})", "sign": "vm_sign({})",
    "sqrt": "__builtin_sqrtf({})", "ge": "{} >= {}", "gt": "{} > {}", "eq": "{} == {}", "ne": "{} != {}",
    "and": "{} & {}", "or": "{} | {}", "not": "!{}", "select": "{} ? {} : {}",
    "exp_neg": "vm_exp_np({})", "expm1_neg": "vm_expm1_np({})", "log1p_unit": "vm_log1p_01({})",
    "exp": "vm_exp({})", "log": "vm_log({})", "log1p": "vm_log1p({})", "sin": "vm_sin({})", "cos": "vm_cos({})",
    "erf": "vm_erf({})",
}  # fmt: skip
