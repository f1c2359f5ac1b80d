"""What there is to say about each registered activation: its formula in writing, its parameters, its source."""

from __future__ import annotations

import inspect
import json
from dataclasses import asdict
from typing import Any

from limen.activations.base import Activation
from limen.activations.fields import Choice, Constant, Noise, Param, StatisticsContext
from limen.activations.registry import create, find, names
from limen.catalogue import FILE, Description, Entry
from limen.formula import Context


def describe(name: str) -> Description:
    """Describe a registered activation.

    >>> describe("swish").formula
    'x*sigmoid(beta*x)'
    """
    cls = find(name)
    example = create(name)
    learned = {key: tensor.flatten()[0].item() for key, tensor in example.named_parameters()}
    settings = {key: field.default for key, field in cls.fields.items() if field.settable and key not in learned}
    summary = (inspect.getdoc(cls) or "").partition("\n")[0]
    return Description(name, formula_text(cls), learned, settings, cls.source, summary)


def describe_all() -> tuple[Description, ...]:
    """Describe every registered activation."""
    return tuple(describe(name) for name in names())


def entry(name: str) -> Entry:
    """A registered activation as the table of those that come with limen has it."""
    cls = find(name)
    return Entry(describe(name), cls.__name__, tuple(inspect.signature(cls).parameters))


def formula_text(cls: type[Activation]) -> str:
    """The formula as SymPy prints it, or in the class's own words where it does not become an expression."""
    return cls.written or str(expression(cls))


def expression(cls: type[Activation]) -> Any:
    """The formula as a SymPy expression in ``x``, the parameters, the numeric constants and the noise."""
    from limen.formula.symbolic import trace

    symbols = tuple(name for name, field in cls.fields.items() if isinstance(field, (Param, Constant, Noise)))
    constants: dict[str, Any] = {}
    for name, field in cls.fields.items():
        if isinstance(field, Choice):
            constants[name] = field.default
        elif isinstance(field, StatisticsContext):
            constants[name] = Context()
    return trace(cls.formula, constants, symbols)


if __name__ == "__main__":
    table = [asdict(entry(name)) for name in names()]
    FILE.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
