"""From an expression to straight-line arithmetic that is stable, shares its parts, and suits any printer.

An expression and its derivatives become one graph of a few elementary operations. Equal parts are one node. Sigmoid,
softplus, tanh, expm1 and exp are all written over e^−|u| and its companions, which never overflow: functions of the
same argument share that one exponential, and tanh(softplus(u)) needs nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import sympy

from limen.formula import symbolic as s
from limen.formula.branches import merge_branches
from limen.formula.graph import Graph, share_divisions
from limen.formula.symbolic import UntraceableError

DECAYING = (s.exp, s.sigmoid_slope, s.tanh_slope)
"""Factors that vanish where others grow: multiplied first, so that 0·x·x is 0 where 0·(x·x) would be 0·∞."""
LARGEST_POWER = 64


def lower(expressions: Iterable[Any], noise: Iterable[str] = ()) -> tuple[Graph, list[int]]:
    """Turn expressions into one graph; return it with the node of each expression.

    ``noise`` names the symbols that differ from element to element, as x does.

    Raises:
        UntraceableError: for a function or power that has no elementary form here.

    >>> from limen.formula.symbolic import sigmoid, symbol
    >>> x = symbol("x")
    >>> graph, _ = lower([x * sigmoid(x), (x * sigmoid(x)).diff(x)])
    >>> sum(node.op == "exp_neg" for node in graph.nodes)
    1
    """
    lowering = _Lowering(Graph())
    outputs = [lowering.lower(expression) for expression in expressions]
    graph, outputs = share_divisions(lowering.graph, outputs, lowering.reciprocals)
    return merge_branches(graph, outputs, ("x", *noise))


class _Lowering:
    """Lowers expressions, remembering what it has lowered and which symbols are known to be of one sign."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.memo: dict[Any, int] = {}
        self.reciprocals: set[int] = set()
        """Divisions of 1 by a number between 1 and 5."""
        self.known: frozenset[tuple[Any, str]] = frozenset()
        """(expression, "nonpositive" | "nonnegative") that hold in the branch being lowered."""

    def lower(self, e: Any) -> int:
        key = (e, self.known)
        if key not in self.memo:
            self.memo[key] = self._lower(e)
        return self.memo[key]

    def _lower(self, e: Any) -> int:
        if e.is_Symbol:
            return self.graph.input(e.name)
        if e.is_number:
            return self.graph.constant(float(e))
        handler = _HANDLERS.get(e.func)
        if handler is None and isinstance(e, s.Elementary):
            return self.op(e.func.__name__, self.lower(e.args[0]))
        if handler is None:
            raise UntraceableError(f"there is no kernel for {e.func.__name__!r}, in {e}")
        return handler(self, e)

    def op(self, name: str, *operands: int) -> int:
        return self.graph.add(name, *operands)

    def const(self, value: float) -> int:
        return self.graph.constant(value)

    # Arithmetic

    def sum(self, e: Any) -> int:
        """Positive terms first, so that a difference is one subtraction; the sign of the whole is made canonical."""
        terms = sorted(e.args, key=sympy.default_sort_key)
        symbolic = [term for term in terms if not term.is_number]
        if symbolic and _is_negative(symbolic[0]) and not any(term.is_number for term in terms):
            return self.op("neg", self.sum(sympy.Add(*[-term for term in terms])))
        total: int | None = None
        for term in sorted(terms, key=_is_negative):
            if total is None:
                total = self.lower(term)
            elif _is_negative(term):
                total = self.op("sub", total, self.lower(-term))
            else:
                total = self.op("add", total, self.lower(term))
        assert total is not None
        return total

    def product(self, e: Any) -> int:
        """Decaying factors first, then x, then what is the same for all elements, grouped; one division at most."""
        above, below = [], []
        for factor in e.args:
            base, power = factor.as_base_exp()
            if power.is_Integer and power < 0:
                below.append(base**-power)
            else:
                above.append(factor)
        if below:
            numerator = self._multiplied(above) if above else self.const(1)
            return self.op("div", numerator, self._multiplied(below))
        return self._multiplied(above)

    def _multiplied(self, factors: list[Any]) -> int:
        factors = _expanded(factors)
        decays = any(factor.has(*DECAYING) for factor in factors)
        polynomial = next((factor for factor in factors if decays and _is_polynomial(factor)), None)
        if polynomial is not None:  # each of its powers of x is to meet the decaying factor
            rest = sympy.Mul(*[factor for factor in factors if factor != polynomial])
            return self.lower(sympy.Add(*[term * rest for term in polynomial.args]))
        factors, fused = self._fused(factors)
        uniform = [factor for factor in factors if not factor.has(_X) and not factor.has(s.uniform)]
        varying = [factor for factor in factors if factor not in uniform]
        growing = [factor for factor in varying if factor == _X or isinstance(factor, (s.maximum, s.minimum))]
        varying = [factor for factor in varying if factor not in growing]
        varying.sort(key=lambda factor: (not factor.has(*DECAYING), sympy.default_sort_key(factor)))
        bounded = fused + [self.lower(factor) for factor in varying]
        large = [self.lower(factor) for factor in growing]
        groups = [self._chain(self.lower(factor) for factor in uniform)] if uniform else []
        # A small or vanishing group comes before what it keeps from overflowing: x·x, and x times a sum such as 1 + σ.
        first = 0 if not decays and any(factor.is_Add for factor in varying) else 1
        return self._chain([*bounded, *large[:first], *groups, *large[first:]])

    def _chain(self, nodes: Iterable[int]) -> int:
        product: int | None = None
        for node in nodes:
            product = node if product is None else self.op("mul", product, node)
        assert product is not None
        return product

    def _fused(self, factors: list[Any]) -> tuple[list[Any], list[int]]:
        """Two factors as one node, where that is better, and the other factors."""
        for factor in factors:
            if isinstance(factor, s.tanh_slope) and isinstance(factor.args[0], s.softplus):
                # σ(u)·(1 − tanh²(softplus(u))) in one closed form with one division: the slope of Mish's gate.
                gate = s.sigmoid(factor.args[0].args[0])
                if gate in factors:
                    return _without(factors, factor, gate), [self._mish_gate_slope(factor.args[0].args[0])]
            if isinstance(factor, s.softplus):
                sharpness, u = factor.args[0].as_coeff_Mul()
                scale = next((f for f in factors if f.is_number and abs(float(f * sharpness) - 1) < 1e-12), None)
                if scale is not None:
                    return _without(factors, factor, scale), [self._sharp_softplus(u, sharpness)]
        return factors, []

    def _sharp_softplus(self, u: Any, sharpness: Any) -> int:
        """ln(1 + e^(ku))/k for k > 0, in which ku may overflow and u not."""
        bend = self.op("log1p_unit", self.exponential(sharpness * u))
        return self.op("add", self.op("mul", self.const(1 / float(sharpness)), bend), self._rectified(u))

    def power(self, e: Any) -> int:
        base, exponent = e.args
        if not (2 * exponent).is_Integer or abs(exponent) > LARGEST_POWER:
            raise UntraceableError(
                f"there is no kernel for the power {e}; whole and half powers up to {LARGEST_POWER} have one"
            )
        if exponent < 0:
            return self.op("div", self.const(1), self.lower(base**-exponent))
        if exponent.is_Integer:
            return self._whole_power(self.lower(base), int(exponent))
        return self._whole_power(self.op("sqrt", self.lower(base)), int(2 * exponent))

    def _whole_power(self, base: int, exponent: int) -> int:
        if exponent == 1:
            return base
        half = self._whole_power(base, exponent // 2)
        square = self.op("mul", half, half)
        return self.op("mul", square, base) if exponent % 2 else square

    # Branches

    def piecewise(self, e: Any) -> int:
        (value, condition), *rest = e.args
        if condition == sympy.true:
            return self.lower(value)
        otherwise = sympy.Piecewise(*rest, evaluate=False) if len(rest) > 1 else rest[0][0]
        if not rest or (len(rest) == 1 and rest[0][1] != sympy.true):
            raise UntraceableError(f"not every case of {e} has a value")
        holds, fails = _signs(condition)
        return self.op("select", self.condition(condition), self._under(holds, value), self._under(fails, otherwise))

    def _under(self, facts: frozenset[tuple[Any, str]], e: Any) -> int:
        before, self.known = self.known, self.known | facts
        try:
            return self.lower(e)
        finally:
            self.known = before

    def condition(self, c: Any) -> int:
        if c == sympy.true or self._is_known(c):
            return self.const(1.0)
        if c == sympy.false:
            return self.const(0.0)
        if isinstance(c, (sympy.And, sympy.Or)):
            name = "and" if isinstance(c, sympy.And) else "or"
            first, *others = sorted(self.condition(part) for part in c.args)
            for other in others:
                first = self.op(name, first, other)
            return first
        if isinstance(c, sympy.Not):
            return self.op("not", self.condition(c.args[0]))
        swapped = {sympy.StrictLessThan: "gt", sympy.LessThan: "ge"}
        direct = {sympy.StrictGreaterThan: "gt", sympy.GreaterThan: "ge", sympy.Equality: "eq", sympy.Unequality: "ne"}
        if c.func in swapped:
            return self.op(swapped[c.func], self.lower(c.rhs), self.lower(c.lhs))
        if c.func in direct:
            return self.op(direct[c.func], self.lower(c.lhs), self.lower(c.rhs))
        raise UntraceableError(f"there is no kernel for the condition {c}")

    def _is_known(self, c: Any) -> bool:
        """Whether a comparison with 0 holds in the branch being lowered. For NaN it may not, and need not be asked:
        what is lowered there is NaN as well."""
        facts = {sympy.GreaterThan: "nonnegative", sympy.LessThan: "nonpositive"}
        return c.func in facts and c.rhs == 0 and self._has_sign(c.lhs, facts[c.func])

    def _has_sign(self, u: Any, sign: str) -> bool:
        coefficient, rest = u.as_coeff_Mul()
        if coefficient < 0:
            return False
        clipped: Any = {"nonnegative": s.maximum, "nonpositive": s.minimum}[sign]
        always = isinstance(rest, clipped) and rest.args[1] == 0
        return always or (rest, sign) in self.known or (u, sign) in self.known

    def maximum(self, e: Any) -> int:
        return self._extreme("max", e, "nonnegative", "nonpositive")

    def minimum(self, e: Any) -> int:
        return self._extreme("min", e, "nonpositive", "nonnegative")

    def _extreme(self, op: str, e: Any, keeps: str, clips: str) -> int:
        u, v = e.args
        if v == 0 and self._has_sign(u, keeps):
            return self.lower(u)
        if v == 0 and self._has_sign(u, clips):
            return self.const(0)
        return self.op(op, self.lower(u), self.lower(v))

    # Functions over e^-|u|

    def exponential(self, u: Any) -> int:
        """e^−|u|: at most 1, whatever u."""
        return self.op("exp_neg", self.op("abs", self.lower(u)))

    def is_nonnegative(self, u: Any) -> int:
        if self._has_sign(u, "nonnegative"):
            return self.const(1)
        return self.op("ge", self.lower(u), self.const(0))

    def reciprocal(self, small: int) -> int:
        """1/d for 1 ≤ d ≤ 5."""
        quotient = self.op("div", self.const(1), small)
        self.reciprocals.add(quotient)
        return quotient

    def reciprocal_of_one_plus(self, t: int) -> int:
        return self.reciprocal(self.op("add", self.const(1), t))

    def sigmoid(self, e: Any) -> int:
        t = self.exponential(e.args[0])
        r = self.reciprocal_of_one_plus(t)
        return self.op("select", self.is_nonnegative(e.args[0]), r, self.op("mul", t, r))

    def sigmoid_slope(self, e: Any) -> int:
        t = self.exponential(e.args[0])
        r = self.reciprocal_of_one_plus(t)
        return self.op("mul", self.op("mul", t, r), r)

    def softplus(self, e: Any) -> int:
        return self.op("add", self.op("log1p_unit", self.exponential(e.args[0])), self._rectified(e.args[0]))

    def _rectified(self, u: Any) -> int:
        return self.op("max", self.lower(u), self.const(0))

    def tanh(self, e: Any) -> int:
        if isinstance(e.args[0], s.softplus):
            numerator, denominator, _ = self._mish_gate(e.args[0].args[0])
            return self.op("mul", numerator, self.reciprocal(denominator))
        em, r = self._tanh_parts(e.args[0])
        return self.op("copysign", self.op("mul", em, r), self.lower(e.args[0]))

    def tanh_slope(self, e: Any) -> int:
        if isinstance(e.args[0], s.softplus):
            return self._mish_tanh_slope(e.args[0].args[0])
        t = self._doubled_exponential("exp_neg", e.args[0])
        _, r = self._tanh_parts(e.args[0])
        return self.op("mul", self.op("mul", self.op("mul", self.const(4), t), r), r)

    def _tanh_parts(self, v: Any) -> tuple[int, int]:
        """e^−2|v| − 1 and 1/(1 + e^−2|v|)."""
        t = self._doubled_exponential("exp_neg", v)
        return self._doubled_exponential("expm1_neg", v), self.reciprocal_of_one_plus(t)

    def _doubled_exponential(self, op: str, v: Any) -> int:
        size = self.op("abs", self.lower(v))
        return self.op(op, self.op("mul", self.const(2), size))

    def _mish_gate(self, u: Any) -> tuple[int, int, int]:
        """tanh(softplus(u)) = n/(n + 2) with n = e^u(e^u + 2), over t = e^−|u|: numerator, denominator, t."""
        t, op, const = self.exponential(u), self.op, self.const
        up = self.is_nonnegative(u)
        t_squared, one_plus_2t = op("mul", t, t), op("add", const(1), op("mul", const(2), t))
        above = op("select", up, one_plus_2t, op("add", t_squared, op("mul", const(2), t)))
        rest = op("select", up, op("mul", const(2), t_squared), const(2))
        return above, op("add", above, rest), t

    def _mish_tanh_slope(self, u: Any) -> int:
        """1 − tanh²(softplus(u)) = 4(1 + e^u)²/(n + 2)²."""
        _, denominator, t = self._mish_gate(u)
        r = self.reciprocal(denominator)
        one_plus_t = self.op("add", self.const(1), t)
        scale = self.op("select", self.is_nonnegative(u), t, self.const(1))
        root = self.op("mul", self.op("mul", self.op("mul", one_plus_t, scale), r), self.const(2))
        return self.op("mul", root, root)

    def _mish_gate_slope(self, u: Any) -> int:
        """σ(u)·4(1 + e^u)²/(n + 2)², in which 1 + e^u cancels once."""
        _, denominator, t = self._mish_gate(u)
        r = self.reciprocal(denominator)
        one_plus_t = self.op("add", self.const(1), t)
        scale = self.op("select", self.is_nonnegative(u), self.op("mul", t, t), t)
        fraction = self.op("mul", self.op("mul", scale, r), self.op("mul", one_plus_t, r))
        return self.op("mul", self.const(4), fraction)

    def exp(self, e: Any) -> int:
        u = e.args[0]
        if self._is_nonpositive(u):
            return self.exponential(u)
        clipped = self._clipped(u)
        if clipped is not None:
            return self.op(
                "select", self.op("gt", self.lower(clipped), self.const(0)), self.const(1), self.exponential(clipped)
            )
        return self.op("exp", self.lower(u))

    def expm1(self, e: Any) -> int:
        u = e.args[0]
        clipped = u if self._is_nonpositive(u) else self._clipped(u)
        if clipped is not None:
            value = self.op("expm1_neg", self.op("abs", self.lower(clipped)))
            if clipped is u:
                return value
            return self.op("select", self.op("gt", self.lower(clipped), self.const(0)), self.const(0), value)
        # e^u − 1 = (1 − e^−u)·e^u for u > 0.
        value = self.op("expm1_neg", self.op("abs", self.lower(u)))
        up = self.op("neg", self.op("mul", value, self.op("exp", self.lower(u))))
        return self.op("select", self.op("gt", self.lower(u), self.const(0)), up, value)

    def _clipped(self, u: Any) -> Any:
        """v where u is minimum(v, 0), so that e^u shares e^−|v| with other functions of v."""
        return u.args[0] if isinstance(u, s.minimum) and u.args[1] == 0 else None

    def _is_nonpositive(self, u: Any) -> bool:
        if isinstance(u, s.minimum) and u.args[1] == 0:
            return self._has_sign(u.args[0], "nonpositive")
        coefficient, rest = u.as_coeff_Mul()
        if coefficient < 0 and rest.is_Pow and rest.args[1].is_Integer and rest.args[1] % 2 == 0:
            return True
        return (u, "nonpositive") in self.known

    # Others

    def absolute(self, e: Any) -> int:
        return self.op("abs", self.lower(e.args[0]))

    def step(self, e: Any) -> int:
        u = self.lower(e.args[0])
        jump = self.op("select", self.op("ge", u, self.const(0)), self.const(1), self.const(0))
        return self.op("select", self.op("eq", u, u), jump, u)


_X = s.symbol("x")

_HANDLERS: dict[Any, Callable[[_Lowering, Any], int]] = {
    sympy.Add: _Lowering.sum,
    sympy.Mul: _Lowering.product,
    sympy.Pow: _Lowering.power,
    sympy.Piecewise: _Lowering.piecewise,
    s.exp: _Lowering.exp,
    s.expm1: _Lowering.expm1,
    s.sigmoid: _Lowering.sigmoid,
    s.sigmoid_slope: _Lowering.sigmoid_slope,
    s.softplus: _Lowering.softplus,
    s.tanh: _Lowering.tanh,
    s.tanh_slope: _Lowering.tanh_slope,
    s.maximum: _Lowering.maximum,
    s.minimum: _Lowering.minimum,
    s.step: _Lowering.step,
    s.absolute: _Lowering.absolute,
}


def _is_negative(term: Any) -> bool:
    return bool(term.as_coeff_Mul()[0] < 0)


def _without(factors: list[Any], *taken: Any) -> list[Any]:
    """The factors that are left when each of these is taken once: of σ·σ one σ is left."""
    left = list(factors)
    for factor in taken:
        left.remove(factor)
    return left


def _is_polynomial(factor: Any) -> bool:
    """Whether a factor is a sum with squares or higher powers of x and nothing else of x."""
    return bool(factor.is_Add and factor.is_polynomial(_X) and sympy.degree(factor, _X) > 1)


def _expanded(factors: list[Any]) -> list[Any]:
    """Powers of x as repeated factors, so that each meets the decaying factor by itself, and 2x + 2y as 2·(x + y)."""
    expanded: list[Any] = []
    parts = [part for factor in factors for part in (factor.primitive() if factor.is_Add else (factor,)) if part != 1]
    for factor in parts:
        base, power = factor.as_base_exp()
        repeat = base.has(_X) and power.is_Integer and 1 < power <= LARGEST_POWER
        expanded += [base] * int(power) if repeat else [factor]
    return expanded


def _signs(condition: Any) -> tuple[frozenset[tuple[Any, str]], frozenset[tuple[Any, str]]]:
    """What is known of x where a comparison of x with 0 holds, and where it fails."""
    nothing: frozenset[tuple[Any, str]] = frozenset()
    if not condition.is_Relational or condition.rhs != 0:
        return nothing, nothing
    up = frozenset({(condition.lhs, "nonnegative")})
    down = frozenset({(condition.lhs, "nonpositive")})
    if condition.func in (sympy.StrictGreaterThan, sympy.GreaterThan):
        return up, down
    if condition.func in (sympy.StrictLessThan, sympy.LessThan):
        return down, up
    return nothing, nothing
