"""A formula with everything fixed but its tensors: what a kernel is derived from."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from limen.formula import Context
from limen.formula.composed import ComposedFormula

if TYPE_CHECKING:
    from limen.formula.graph import Graph  # SymPy is imported when a kernel is derived, not before


Memory = Literal["exact", "recompute"]
"""What is kept for the backward pass beside what torch's own would keep."""


@dataclass(frozen=True)
class BoundFormula:
    """A formula and what it is called with: tensors by name, constants by value, noise by name."""

    function: Callable[..., Any]
    parameters: tuple[str, ...] = ()
    constants: tuple[tuple[str, Any], ...] = ()
    noise: tuple[str, ...] = ()
    plain_only: str = ""
    """Why this formula is known to have no kernel; empty if it may have one."""
    weights: int = 0
    """How many of the first parameters are the softmax of one tensor of logits, which may stand in their place."""
    beside: tuple[str, ...] = ()
    """The tensors that the formula takes beside x, each of its shape: other inputs than parameters."""
    single: tuple[str, ...] = ()
    """The parameters of one value where others have one for each place of a row."""
    short_calls: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)
    """By element type, the call for few elements: kept here to be found without hashing the formula."""
    memory: Memory = field(default="exact", compare=False, repr=False)
    """What is kept for the backward pass; formulas that differ in it alone are equal, and have the same kernels."""
    contexts: frozenset[Context] = field(init=False, compare=False, repr=False)
    """The contexts over which the formula takes statistics."""

    def __post_init__(self) -> None:
        # Asked for in every call, and a frozen dataclass would work them out each time.
        object.__setattr__(self, "_hash", hash(self._identity))
        object.__setattr__(self, "contexts", frozenset(v for _, v in self.constants if isinstance(v, Context)))

    def __deepcopy__(self, memo: Any) -> BoundFormula:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self._identity, self.memory)

    @property
    def _identity(self) -> tuple[Any, ...]:
        fixed = self.function, self.parameters, self.constants, self.noise, self.plain_only, self.weights
        return (*fixed, self.beside, self.single)

    def __hash__(self) -> int:
        value: int = self._hash  # type: ignore[attr-defined]  # set once, past the frozen dataclass
        return value

    @property
    def name(self) -> str:
        """A readable name, not unique."""
        return getattr(self.function, "__qualname__", type(self.function).__name__)


def _restored(identity: tuple[Any, ...], memory: Memory) -> BoundFormula:
    return keeping(BoundFormula(*identity), memory)


def keeping(bound: BoundFormula, memory: Memory) -> BoundFormula:
    """The same formula, of which something else is kept; what is known of it for short calls is shared.

    >>> keeping(BoundFormula(abs), "recompute") == BoundFormula(abs)
    True
    """
    return bound if memory == bound.memory else replace(bound, memory=memory)


MEAN, STD = "mean(x)", "std(x)"
"""What the statistics are called among the inputs; no parameter can have such a name."""


@functools.lru_cache(maxsize=4096)
def shared(bound: BoundFormula) -> BoundFormula:
    """The one object that stands for all equal bound formulas, so that what is kept on it is found again."""
    return bound


_BY_KEY: dict[str, BoundFormula] = {}
_KEYS: dict[BoundFormula, str] = {}
_LOCK = threading.Lock()


def key_of(bound: BoundFormula) -> str:
    """A short text that stands for the formula in this process, where only text can be passed: in torch operators."""
    with _LOCK:
        if bound not in _KEYS:
            key = f"{bound.name}#{len(_KEYS)}"
            _KEYS[bound], _BY_KEY[key] = key, bound
        return _KEYS[bound]


INTERPRETED = "interpreted "
"""Before a key: the formula's Triton kernels, in the interpreter, where the tensors are on a CPU."""
ALWAYS = "recompute "
"""Before a key: a compiled program computes the result again in its backward pass, whatever needs it there."""


def of_key(key: str) -> BoundFormula:
    """The formula that :func:`key_of` named."""
    return _BY_KEY[key.removeprefix(INTERPRETED).removeprefix(ALWAYS)]


@dataclass(frozen=True)
class Derivation:
    """The expression of a formula with its derivatives, lowered to elementary operations."""

    forward: Graph
    value: int
    """The node of the result in ``forward``."""
    statistics: bool
    """Whether the formula uses the mean or deviation of its input, as the inputs ``MEAN`` and ``STD``."""
    backward: Graph
    slopes: tuple[tuple[str, int], ...]
    """The node in ``backward`` of the derivative by ``x``, ``MEAN``, ``STD`` and each wanted parameter."""
    beside: tuple[int, ...] = ()
    """The node in ``backward`` of the derivative by each input beside x."""
    factor: int | None = None
    """The node in ``backward`` by which ``slopes`` are still to be multiplied: what only inputs beside x make up."""


@functools.cache
def derive(bound: BoundFormula, wanted: tuple[str, ...]) -> Derivation:
    """Derive the formula by ``x``, by the statistics it uses and by the wanted parameters.

    Raises:
        UntraceableError: if it does not become an expression, or uses what has no kernel.
    """
    from limen.formula import symbolic
    from limen.formula.stable import lower

    if bound.plain_only:
        raise symbolic.UntraceableError(bound.plain_only)
    if len(bound.contexts) > 1:
        raise symbolic.UntraceableError("it takes statistics over several contexts at once")
    if isinstance(bound.function, ComposedFormula):
        return _derived_composed(bound, bound.function, wanted)
    names = (*bound.parameters, *bound.noise, *bound.beside)
    expression, used = _traced(bound.function, names, dict(bound.constants), of_a_context=bool(bound.contexts))
    if used != bool(bound.contexts):
        raise symbolic.UntraceableError(
            "it takes statistics without a context among its arguments, or a context in vain"
        )
    if bound.beside:
        return _derived_beside(bound, expression, used, wanted)
    forward, (value,) = lower([expression], bound.noise)
    by = ("x", *((MEAN, STD) if used else ()), *wanted)
    backward, nodes = lower([expression.diff(symbolic.symbol(name)) for name in by], bound.noise)
    return Derivation(forward, value, used, backward, tuple(zip(by, nodes, strict=True)))


def _traced(
    function: Callable[..., Any], names: Iterable[str], constants: dict[str, Any], *, of_a_context: bool = False
) -> tuple[Any, bool]:
    """The expression, in which statistics are symbols, and whether there are any."""
    from limen.formula import symbolic

    traced = symbolic.trace(function, constants, tuple(names))
    x = symbolic.symbol("x")
    statistics = {symbolic.mean(x): symbolic.symbol(MEAN), symbolic.std(x): symbolic.symbol(STD)}
    if of_a_context and traced.has(symbolic.rms):
        raise symbolic.StatisticError("it takes a root mean square, and kernels have mean and deviation alone")
    expression = traced.subs(statistics)
    if expression.has(symbolic.mean, symbolic.std, symbolic.rms, symbolic.uniform):
        raise symbolic.UntraceableError("it takes statistics of something other than its input, or draws noise itself")
    return expression, bool(traced.has(symbolic.mean, symbolic.std))


def _derived_composed(bound: BoundFormula, function: ComposedFormula, wanted: tuple[str, ...]) -> Derivation:
    """f(z): the derivative of f by z once, times those of z, in which what is the same for all elements is a factor.

    So that sums over elements of what differs in such factors are one.
    """
    from limen.formula import symbolic
    from limen.formula.stable import lower

    constants = dict(bound.constants)
    given = {name: constants.pop(name) for name in function.given if name in constants}
    names = [name for name in function.given if name not in given]
    z, used = _traced(function.inner, names, given)
    own = [name for name in bound.parameters if name not in names]
    f, _ = _traced(function.activation, (*own, *bound.noise), constants)
    by = ("x", *((MEAN, STD) if used else ()), *wanted)
    varying = [symbolic.symbol(name) for name in ("x", *bound.beside)]
    parts = {
        name: z.diff(symbolic.symbol(name)).as_independent(*varying, as_Add=False)
        for name in (*by, *bound.beside)
        if name not in own
    }
    of_own = [name for name in wanted if name in own]

    forward, (value, *_) = lower([z])
    outer, (result,) = lower([f], bound.noise)
    (value,) = forward.graft(outer, [result], {"x": value})

    backward, (point, *nodes) = lower([z, *(part for pair in parts.values() for part in pair)], bound.beside)
    outer, found = lower([f.diff(symbolic.symbol(name)) for name in ("x", *of_own)], bound.noise)
    slope, *rest = backward.graft(outer, found, {"x": point})
    slopes = dict(zip(of_own, rest, strict=True))
    for name, factor, other in zip(parts, nodes[::2], nodes[1::2], strict=True):
        slopes[name] = backward.add("mul", factor, backward.add("mul", slope, other))
    beside = tuple(slopes[name] for name in bound.beside)
    return Derivation(forward, value, used, backward, tuple((name, slopes[name]) for name in by), beside)


def _derived_beside(bound: BoundFormula, expression: Any, used: bool, wanted: tuple[str, ...]) -> Derivation:
    """The same for a formula of several inputs, of which those beside x leave the rest as a factor where they can.

    So a gate f(x)·u is differentiated as f is alone, and is one multiplication more.
    """
    from limen.formula import symbolic
    from limen.formula.stable import lower

    own = [symbolic.symbol(name) for name in ("x", *_uniform(bound, used))]
    taken, rest = expression.as_independent(*own, as_Add=False)
    varying = (*bound.noise, *bound.beside)
    forward, (factor, alone) = lower([taken, rest], varying)
    by = ("x", *((MEAN, STD) if used else ()), *wanted)
    slopes = [rest.diff(symbolic.symbol(name)) for name in by]
    partial = [(taken.diff(u), rest.diff(u)) for u in map(symbolic.symbol, bound.beside)]
    backward, nodes = lower([*slopes, taken, rest, *(part for pair in partial for part in pair)], varying)
    scale, value, *parts = nodes[len(by) :]
    beside = []
    for (of_factor, of_rest), of in zip(partial, zip(parts[::2], parts[1::2], strict=True), strict=True):
        terms = [backward.add("mul", one, other) for part, one, other in
                 ((of_factor, value, of[0]), (of_rest, scale, of[1])) if part != 0]  # fmt: skip
        beside.append(functools.reduce(functools.partial(backward.add, "add"), terms, backward.constant(0)))
    whole = forward.add("mul", alone, factor)
    return Derivation(forward, whole, used, backward, tuple(zip(by, nodes, strict=False)), tuple(beside), scale)


def _uniform(bound: BoundFormula, used: bool) -> tuple[str, ...]:
    """What a formula takes that is no input beside x: parameters, noise, statistics."""
    return (*bound.parameters, *bound.noise, *((MEAN, STD) if used else ()))
