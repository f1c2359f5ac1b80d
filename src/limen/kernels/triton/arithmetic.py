"""A graph of elementary operations as statements of Triton."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable

from limen.formula.graph import Graph, Node
from limen.kernels.straight_line import write_out


def arithmetic(graph: Graph, outputs: Iterable[int], names: dict[str, str]) -> tuple[list[str], list[str]]:
    """One statement for each operation that the outputs need, and the expressions of the outputs."""

    def statement(node: Node, name: str, operands: list[str]) -> str:
        template = _TRITON.get(node.op, f"{node.op}({{}})")
        return f"{name} = {template.format(*operands)}"

    return write_out(graph, outputs, names, literal, statement)


def literal(value: float) -> str:
    """A float32 constant, rounded once and exact: Triton takes a number that float32 cannot hold for a float64.

    >>> literal(0.1), literal(-1.0), literal(1e39)
    ('0.10000000149011612', '(-1.0)', 'float("inf")')
    """
    try:
        bits = struct.pack("<f", value)
    except OverflowError:
        bits = struct.pack("<f", math.copysign(math.inf, value))
    (rounded,) = struct.unpack("<f", bits)
    if not math.isfinite(rounded):
        text = f'float("{abs(rounded)}")'
    elif 0 < abs(rounded) < 2.0**-126:
        # A subnormal number is one of those.
        text = f"tl.full((), {struct.unpack('<I', struct.pack('<f', abs(rounded)))[0]}, tl.int32)"
        text += ".to(tl.float32, bitcast=True)"
    else:
        text = repr(abs(rounded))
    return f"(-{text})" if math.copysign(1, rounded) < 0 else text


_TRITON: dict[str, str] = {
    "add": "{} + {}", "sub": "{} - {}", "mul": "{} * {}", "div": "{} / {}", "neg": "-{}",
    "min": "smaller({}, {})", "max": "larger({}, {})", "abs": "tl.abs({})", "sqrt": "tl.sqrt_rn({})",
    "copysign": "copysign({}, {})", "exp": "tl.exp({})",
    "ge": "{} >= {}", "gt": "{} > {}", "eq": "{} == {}", "ne": "{} != {}",
    "and": "{} & {}", "or": "{} | {}", "not": "~{}", "select": "tl.where({}, {}, {})",
}  # fmt: skip
"""Every other operation is the function of its name in ``math``."""
