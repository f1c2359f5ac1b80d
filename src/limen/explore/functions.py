"""An activation as functions of JavaScript: value, slope, second derivative, and the derivative by each parameter."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from limen.activations.base import Activation
from limen.activations.fields import Constant
from limen.activations.mixture import AdAct
from limen.activations.registry import create, name_of
from limen.errors import SpecError
from limen.explore.javascript import arithmetic
from limen.kernels.bound import MEAN, STD, BoundFormula

MEAN_NAME, STD_NAME = "mean of the input", "deviation of the input"
"""What the statistics are called on a page."""
NARROWEST = 0.05
"""How near a slider comes to a bound that the number itself must not reach."""


@dataclass(frozen=True)
class Input:
    """A number of the formula that a slider moves."""

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Traced:
    """An activation as an expression in ``x``, the symbols of its inputs, and its statistics."""

    name: str
    expression: Any
    inputs: tuple[Input, ...]
    symbols: tuple[str, ...]
    """What the inputs are called in the expression."""

    @property
    def statistics(self) -> bool:
        """Whether the mean or the deviation of the input stands in the expression."""
        from limen.formula.symbolic import symbol

        return bool(self.expression.has(symbol(MEAN), symbol(STD)))


def traced(spec: str) -> Traced:
    """The formula of an activation, in evaluation, as an expression; numbers that are not learned are symbols too.

    Raises:
        SpecError: for a spec that names nothing, and for what is no function of one number.

    >>> traced("leaky_relu").inputs
    (Input(name='negative_slope', value=0.01, low=-2.0, high=2.0),)
    """
    activation = create(spec).eval()
    bound = activation.bind(training=False)
    if bound.plain_only:
        raise SpecError(f"{spec!r} has no curve: {bound.plain_only}, so it is no function of one number.")
    free = [name for name, field in activation.fields.items() if isinstance(field, Constant)]
    return _with_free(spec, activation, bound, free) or _with_free(spec, activation, bound, []) or _refused(spec)


def _refused(spec: str) -> Traced:
    raise SpecError(
        f"{spec!r} has no formula that can be printed; one written with the functions of limen.formula has."
    )


def _with_free(spec: str, activation: Activation, bound: BoundFormula, free: list[str]) -> Traced | None:
    """The formula with these constants as symbols; None where it does not become an expression so."""
    from limen.formula import symbolic
    from limen.formula.stable import lower

    fixed = {name: value for name, value in bound.constants if name not in free}
    x, symbols = symbolic.symbol("x"), (*bound.parameters, *free)
    try:
        found = symbolic.trace(bound.function, fixed, symbols)
        found = found.subs({symbolic.mean(x): symbolic.symbol(MEAN), symbolic.std(x): symbolic.symbol(STD)})
        found, symbols = _by_logits(found, bound, symbols)
        lower([found])
    except symbolic.UntraceableError:
        return None
    return Traced(name_of(activation) if spec.isidentifier() else spec, found, _inputs(activation, free), symbols)


def _by_logits(expression: Any, bound: BoundFormula, symbols: tuple[str, ...]) -> tuple[Any, tuple[str, ...]]:
    """The weights of a mixture written out as the softmax of its logits."""
    if not bound.weights:
        return expression, symbols
    from limen.formula import symbolic

    names = tuple(f"logit {index}" for index in range(bound.weights))
    powers = [symbolic.exp(symbolic.symbol(name)) for name in names]
    total = sum(powers)
    shares = {symbolic.symbol(w): power / total for w, power in zip(symbols, powers, strict=False)}
    return expression.subs(shares), (*names, *symbols[bound.weights :])


def _inputs(activation: Activation, free: Iterable[str]) -> tuple[Input, ...]:
    if isinstance(activation, AdAct):
        logits = [(f"logit of {name}", value) for name, value in zip(activation.names, activation.logits, strict=True)]
        own = [
            (f"{name}’s {key}", tensor.flatten()[0])
            for name, member in zip(activation.names, activation.members, strict=True)
            for key, tensor in zip(member.bind(training=False).parameters, member.tensors(), strict=True)
        ]
        return tuple(_input(name, float(value.detach())) for name, value in (*logits, *own))
    learned = zip(activation.bind(training=False).parameters, activation.tensors(), strict=True)
    found = [_input(name, float(tensor.detach().flatten()[0])) for name, tensor in learned]
    for name in free:
        field: Any = activation.fields[name]
        found.append(_input(name, float(getattr(activation, name)), field.above, field.below, field.inclusive))
    return tuple(found)


def _input(name: str, value: float, above: float = -math.inf, below: float = math.inf, to: bool = True) -> Input:
    """An input with a range around its value, within what it may be."""
    reach, margin = max(2.0, 3 * abs(value)), 0.0 if to else NARROWEST
    value = float(f"{value:.6g}")
    low, high = (-2.0, 2.0) if abs(value) < 0.5 else (value - reach, value + reach)
    return Input(name, value, max(low, above + margin), min(high, below - margin))


def printed(spec: str) -> str:
    """An activation as an object of JavaScript.

    It has the functions ``value``, ``slope`` and ``curvature`` of ``(x, p, m, s)``: the input, a list of its ``inputs``
    in their order, the mean and the deviation that statistics have; and in ``by`` such a function for each input.

    Raises:
        SpecError: as :func:`traced`.

    >>> print(printed("relu2"))
    {"name": "relu2", "inputs": [], "statistics": false,
    value(x,p,m,s){const v2=0.0>=x;const v3=x*x;const v4=v2?0.0:v3;return v4;},
    slope(x,p,m,s){...},
    curvature(x,p,m,s){const v2=0.0>=x;const v4=v2?0.0:2.0;return v4;},
    by:[]}
    """
    from limen.formula.symbolic import symbol

    found = traced(spec)
    x, by = symbol("x"), [*zip((one.name for one in found.inputs), found.symbols, strict=True)]
    if found.statistics:
        by += [(MEAN_NAME, MEAN), (STD_NAME, STD)]
    write = _writer(found)
    about = {"name": found.name, "inputs": [asdict(one) for one in found.inputs], "statistics": found.statistics}
    derivatives = ",".join(
        f"\n{{name:{json.dumps(name, ensure_ascii=False)},{write('value', found.expression.diff(symbol(own)))}}}"
        for name, own in by
    )
    parts = [
        json.dumps(about, ensure_ascii=False)[:-1],
        write("value", found.expression),
        write("slope", found.expression.diff(x)),
        write("curvature", found.expression.diff(x, 2)),
        f"by:[{derivatives}]",
    ]
    return ",\n".join(parts) + "}"


def _writer(found: Traced) -> Callable[[str, Any], str]:
    from limen.formula.stable import lower

    names: Mapping[str, str] = {
        "x": "x", MEAN: "m", STD: "s", **{name: f"p[{place}]" for place, name in enumerate(found.symbols)}
    }  # fmt: skip

    def write(name: str, expression: Any) -> str:
        graph, outputs = lower([expression])
        lines, (result,) = arithmetic(graph, outputs, dict(names))
        return f"{name}(x,p,m,s){{{''.join(lines)}return {result};}}"

    return write
