"""What a formula's arguments are made of: learned parameters, fixed constants, a statistics context, noise."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, get_args

from torch import Tensor, nn

from limen.errors import SpecError, suggest
from limen.formula import Context
from limen.formula.context import ContextKind, check_kind
from limen.kernels.bound import BoundFormula


class Field:
    """One argument of a formula beside ``x``, declared on the activation's class under the argument's name."""

    default: Any
    settable: ClassVar[bool] = True
    """Whether the constructor takes a value for it."""
    keyword_only: ClassVar[bool] = True

    @property
    def allowed(self) -> str:
        """What values the constructor takes, in words."""
        return "any value"

    def current(self, module: nn.Module, name: str) -> Any:
        """The field's value in a module."""
        return getattr(module, name)

    def check(self, owner: str, name: str, value: Any) -> Any:
        """Return ``value`` as stored, or raise an error that names what is allowed."""
        return value

    def argument(self, value: Any, channel_dim: int) -> Any:
        """What the formula receives for a value; not asked of parameters, which it receives as tensors."""
        return value


@dataclass(frozen=True)
class Param(Field):
    """A quantity that can be learned: one number for the whole input, or one for each channel.

    ``learned=False`` keeps it fixed by default; it is then a buffer, saved with the model all the same. On an
    activation the field's name holds the tensor, float, of shape (num_parameters,); with ``shared=True`` of shape (1,),
    whatever ``num_parameters`` is.

    >>> import limen
    >>> class Bent(limen.Activation):
    ...     k = Param(0.5, learned=False)
    ...     @staticmethod
    ...     def formula(x, k):
    ...         return x + k * abs(x)
    >>> Bent().k
    tensor([0.5000])
    """

    default: float
    learned: bool = True
    shared: bool = False
    keyword_only: ClassVar[bool] = False

    if TYPE_CHECKING:
        # On an instance the name holds the parameter or buffer itself.
        def __get__(self, module: Any, owner: Any) -> Tensor: ...

    @property
    def allowed(self) -> str:
        """A finite number, and whether it is learned."""
        return f"a finite number, {'learned' if self.learned else 'not learned unless named'}"

    def check(self, owner: str, name: str, value: Any) -> float:
        """Return a finite number as a float.

        Raises:
            SpecError: for anything else; ``owner`` and ``name`` stand in its message.

        >>> Param(1.0).check("Bent", "k", 2)
        2.0
        """
        return _finite_number(owner, name, value)


@dataclass(frozen=True)
class Constant(Field):
    """A number of the formula that is never learned, such as the slope of a Leaky ReLU.

    The value must lie strictly between ``above`` and ``below`` (``inclusive=True``: or on them).

    >>> import limen
    >>> class Shifted(limen.Activation):
    ...     by = Constant(1.0, above=0.0)
    ...     @staticmethod
    ...     def formula(x, by):
    ...         return x + by
    >>> Shifted(2.0)
    Shifted(by=2)
    """

    default: float
    above: float = -math.inf
    below: float = math.inf
    inclusive: bool = False
    keyword_only: ClassVar[bool] = False

    @property
    def allowed(self) -> str:
        """A finite number, and its bounds."""
        bounded = math.isfinite(self.above) or math.isfinite(self.below)
        return f"a finite number {self._bounds()}, never learned" if bounded else "a finite number, never learned"

    def _bounds(self) -> str:
        bounds = "from {} to {}" if self.inclusive else "between {} and {}, both excluded"
        return bounds.format(self.above, self.below)

    def check(self, owner: str, name: str, value: Any) -> float:
        """Return a finite number within the bounds as a float.

        Raises:
            SpecError: for anything else; ``owner`` and ``name`` stand in its message.

        >>> Constant(1.0, above=0.0).check("Shifted", "by", 2)
        2.0
        """
        number = _finite_number(owner, name, value)
        inside = self.above < number < self.below
        if inside or (self.inclusive and number in (self.above, self.below)):
            return number
        raise SpecError(f"{owner}: {name}={value!r} must lie {self._bounds()}.")


@dataclass(frozen=True)
class Choice(Field):
    """A choice between forms of the formula, by name."""

    default: str
    options: tuple[str, ...]

    @property
    def allowed(self) -> str:
        """The options."""
        return " or ".join(map(repr, self.options))

    def check(self, owner: str, name: str, value: Any) -> str:
        """Accept one of the options; a spec has None where it says none."""
        if value in self.options:
            return str(value)
        if value is None and "none" in self.options:
            return "none"
        raise SpecError(f"{owner}: {name}={value!r} is not a choice. {suggest(str(value), self.options)}")


@dataclass(frozen=True)
class Count(Field):
    """A whole number of at least ``least``."""

    default: int
    least: int = 1
    keyword_only: ClassVar[bool] = False

    @property
    def allowed(self) -> str:
        """A whole number, and the least."""
        return f"a whole number of at least {self.least}"

    def check(self, owner: str, name: str, value: Any) -> int:
        """Accept a whole number."""
        if is_count(value, self.least):
            return int(value)
        raise SpecError(f"{owner}: {name}={value!r} must be a whole number of at least {self.least}.")


@dataclass(frozen=True)
class StatisticsContext(Field):
    """The axes over which the formula's ``mean``, ``std`` and ``rms`` are taken; the formula receives a ``Context``."""

    default: str = "sample"

    @property
    def allowed(self) -> str:
        """The kinds of context."""
        return " or ".join(map(repr, get_args(ContextKind)))

    def check(self, owner: str, name: str, value: Any) -> str:
        """Accept the name of a context."""
        return check_kind(value)

    def argument(self, value: Any, channel_dim: int) -> Context:
        """The context, with the channel axis filled in."""
        return Context(check_kind(value), channel_dim)


@dataclass(frozen=True)
class ChannelAxis(Field):
    """The channel axis itself, for formulas that work across channels."""

    default: None = None
    settable: ClassVar[bool] = False

    def current(self, module: nn.Module, name: str) -> None:
        """Nothing: the axis belongs to the sharing rule, not to the field."""

    def argument(self, value: Any, channel_dim: int) -> int:
        """The axis."""
        return channel_dim


@dataclass(frozen=True)
class Noise(Field):
    """Noise from U(0, 1) for every element in training; its mean ½ in evaluation. The value is ``training``."""

    default: bool = False
    settable: ClassVar[bool] = False

    def current(self, module: nn.Module, name: str) -> bool:
        """Whether the module is training."""
        return module.training

    def argument(self, value: Any, channel_dim: int) -> float:
        """The mean of the noise: what stands for it in evaluation."""
        return 0.5


def bind(
    function: Callable[..., Any],
    fields: Mapping[str, Field],
    values: Mapping[str, Any],
    channel_dim: int,
    plain_only: str = "",
) -> BoundFormula:
    """Fix everything of a formula but its tensors, from each field's current value."""
    parameters = tuple(name for name, field in fields.items() if isinstance(field, Param))
    noise = tuple(name for name, field in fields.items() if isinstance(field, Noise) and values[name])
    constants = tuple(
        (name, field.argument(values[name], channel_dim))
        for name, field in fields.items()
        if name not in parameters and name not in noise
    )
    return BoundFormula(function, parameters, constants, noise, plain_only)


def is_count(value: Any, least: int, most: float = math.inf) -> bool:
    """Whether it is a whole number within the bounds, and no truth value."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _finite_number(owner: str, name: str, value: Any) -> float:
    with contextlib.suppress(OverflowError):  # a whole number beyond every float
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    raise SpecError(f"{owner}: {name}={value!r} must be a finite number.")
