"""Activations by name: register, list, look up and build them from a spec such as ``asau:beta=2``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, TypeVar, overload

import torch

from limen.activations.base import Activation
from limen.errors import SpecError, suggest
from limen.naming import check_argument, check_name, parse

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""The types of parameters that a spec can ask for."""
_CLASSES: dict[str, type[Activation]] = {}

A = TypeVar("A", bound=type[Activation])


@overload
def register(item: A) -> A: ...
@overload
def register(item: str) -> Callable[[A], A]: ...
def register(item: Any) -> Any:
    """Make an activation class known by name, as a decorator.

    Args:
        item: the name, for ``@register("name")``; or the class itself, for ``@register``, whose own name is then used
            in snake case.

    Raises:
        SpecError: for a name that is taken, or is not of lower-case letters, digits and ``_``.

    >>> @register("linear_for_a_test")
    ... class Linear(Activation):
    ...     @staticmethod
    ...     def formula(x):
    ...         return x
    >>> create("linear_for_a_test")
    Linear()
    >>> unregister("linear_for_a_test")
    """
    if isinstance(item, str):
        return lambda cls: _add(item, cls)
    return _add(_snake_case(item.__name__), item)


def unregister(name: str) -> None:
    """Forget a registered name, for example at the end of a test.

    Raises:
        SpecError: for a name that is not registered.

    >>> _ = register("linear_for_a_test")(type("Linear", (Activation,), {}))
    >>> unregister("linear_for_a_test")
    >>> "linear_for_a_test" in names()
    False
    """
    find(name)
    del _CLASSES[name]


def _add(name: str, cls: A) -> A:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise SpecError(f"an activation's name is lower-case letters, digits and '_', and {name!r} was given.")
    if name in _CLASSES:
        raise SpecError(f"the name {name!r} already belongs to {_CLASSES[name].__name__}; choose another.")
    _CLASSES[name] = cls
    return cls


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def names() -> tuple[str, ...]:
    """The names of all registered activations, in the order they were registered.

    >>> "asau" in names()
    True
    """
    return tuple(_CLASSES)


def find(name: str) -> type[Activation]:
    """The class registered under ``name``.

    >>> find("asua")
    Traceback (most recent call last):
    limen.errors.SpecError: no activation is called 'asua'. Did you mean 'asau'?
    """
    check_name(name, _CLASSES)
    return _CLASSES[name]


def name_of(activation: Activation | type[Activation]) -> str:
    """The name an activation is registered under, or its class's name.

    A class that surgery derived from a registered one, under the same name, stands for that.
    """
    cls = activation if isinstance(activation, type) else type(activation)
    home = cls.__module__, cls.__qualname__
    same = ((name, issubclass(cls, known) and home == (known.__module__, known.__qualname__)) for name, known in
            _CLASSES.items())  # fmt: skip
    return next((name for name, is_it in same if is_it), cls.__name__)


def create(spec: str, **named: Any) -> Activation:
    """Build an activation from its spec: ``name``, or ``name:argument=value,argument=value``.

    Values are numbers, ``true``, ``false``, ``none``, words, or several joined by ``+``. Further arguments may be
    given by keyword. ``learned=none`` learns nothing, as ``learned=false`` does.

    Raises:
        SpecError: for a name or an argument that does not exist, a value that is not allowed, or a spec that cannot be
            read.

    >>> create("asau:beta=2,learned=alpha+beta", num_parameters=64)
    ASAU(a=0.01, b=1, alpha=1, beta=2, num_parameters=64)
    """
    name, arguments = parse(spec)
    if "device" in arguments:
        raise SpecError(f"the spec {spec!r} names a device, which is its model's; give it as create(..., device=...).")
    if "dtype" in arguments:
        arguments["dtype"] = _dtype(spec, arguments["dtype"])
    if "learned" in arguments and arguments["learned"] is None:
        arguments["learned"] = False  # to the constructor None is the default, which nobody writes out
    cls = find(name)
    try:
        _check_arguments(cls, {**arguments, **named})
        return cls(**{**arguments, **named})
    except SpecError as error:
        raise SpecError(f"{error} (in the spec {spec!r})") from None


def _check_arguments(cls: type[Activation], given: dict[str, Any]) -> None:
    """Name an argument that a constructor of its own does not take; the common constructor does so itself."""
    known = inspect.signature(cls).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
        return
    for argument in given:
        check_argument(cls.__name__, argument, known)


def _dtype(spec: str, value: Any) -> torch.dtype:
    if value in DTYPES:
        return DTYPES[value]
    raise SpecError(f"in the spec {spec!r}, dtype={value!r} is not a type of parameters. {suggest(str(value), DTYPES)}")
