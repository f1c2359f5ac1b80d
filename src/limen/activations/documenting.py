"""The part of an activation's docstring that is the same for all, written out for its own fields."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import ClassVar, Protocol

from limen.activations.fields import ChannelAxis, Field, Noise, Param, StatisticsContext

NUMBER_OR_TENSOR = "a number, or a floating tensor of one value or of one a channel, 0-D or 1-D"
"""What the functions take for a parameter."""


class Declared(Protocol):
    """What an activation's class says of itself."""

    source: ClassVar[str]
    fields: ClassVar[Mapping[str, Field]]
    params: ClassVar[tuple[str, ...]]
    keeps_shape: ClassVar[bool]


def documented(cls: type[Declared]) -> str:
    """The docstring as its author wrote it, then source, arguments with types and defaults, shapes and errors."""
    written = inspect.cleandoc(vars(cls).get("__doc__") or f"The activation {cls.__name__}.")
    return "\n\n".join(filter(None, [written, _source(cls), _arguments(cls), _shapes(cls), _errors(cls)]))


def documented_function(cls: type[Declared], name: str) -> str:
    """The docstring of the function beside an activation, ``limen.functional.NAME``."""
    summary = (inspect.getdoc(cls) or "").partition("\n")[0]
    values = [
        f"{key}: {NUMBER_OR_TENSOR if isinstance(field, Param) else field.allowed}; {field.default!r} by default."
        for key, field in cls.fields.items()
        if field.settable
    ]
    axis = ["channel_dim: the channel axis of ``x``, a whole number; 1 by default."]
    training = ["training: draw the noise instead of taking its mean; False by default."] if _has(cls, Noise) else []
    errors = [
        "SpecError: for an argument that is unknown, given twice or left out, or a value that is not allowed.",
        "DtypeError: for an ``x`` of another type.",
        *(["ShapeError: for parameters or an ``x`` of shapes that do not fit."] if _needs_axes(cls) else []),
    ]
    result = "shape\ntorch.Size([2, 6])" if cls.keeps_shape else "dtype\ntorch.float32"
    parts = [
        f"{summary}\n\nThe function of :class:`limen.{cls.__name__}`, which says more, without its state.",
        _source(cls),
        _section("Args", [f"x: {_input(cls)}.", *values, *axis, *training]),
        _section("Returns", [f"A tensor of {_output(cls, '``x``')}."]),
        _section("Raises", errors),
        f">>> import torch, limen\n>>> limen.functional.{name}(torch.zeros(2, 6)).{result}",
    ]
    return "\n\n".join(filter(None, parts))


def _section(title: str, lines: Iterable[str]) -> str:
    return "\n    ".join([f"{title}:", *lines])


def _has(cls: type[Declared], *kinds: type[Field]) -> bool:
    return any(isinstance(field, kinds) for field in cls.fields.values())


def _needs_axes(cls: type[Declared]) -> bool:
    return _has(cls, Param, StatisticsContext, ChannelAxis)


def _source(cls: type[Declared]) -> str:
    return f"Source: {cls.source}." if cls.source else ""


def _input(cls: type[Declared]) -> str:
    shape = "(samples, …), at least 1-D" if _has(cls, StatisticsContext) else "any shape"
    return f"{shape}, float64, float32, bfloat16 or float16"


def _output(cls: type[Declared], of: str) -> str:
    return f"the shape and type of {of}" if cls.keeps_shape else f"another shape, and the type of {of}"


def _arguments(cls: type[Declared]) -> str:
    known = inspect.signature(cls).parameters
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
    own = {
        name: f"{field.allowed}; {field.default!r} by default." for name, field in cls.fields.items() if field.settable
    }
    described = {**own, **_shared(cls)}
    lines = [f"{name}: {said}" for name, said in described.items() if takes_all or name in known]
    return _section(
        "Types and defaults", [*lines, "device, dtype: of the parameters, as torch takes them; torch's own by default."]
    )


def _shared(cls: type[Declared]) -> dict[str, str]:
    """What the arguments that all activations have mean for this one."""
    params = ", ".join(cls.params)
    shared = {
        "num_parameters": "1, the default, to share each parameter; or the number of channels, for one a channel.",
        "group_size": "how many neighbouring channels share a value; the input then has num_parameters × group_size.",
    }
    if not params and "__init__" not in vars(cls):
        shared = dict.fromkeys(shared, "taken and without effect: there are no parameters.")
    learned = {"learned": f"``True``, ``False``, or names among {params}; by default as said above."} if params else {}
    axis = "the channel axis of the input, a whole number; 1 by default."
    memory = "what training keeps, ``'exact'`` or ``'recompute'``; ``'exact'`` by default."
    return {**learned, **shared, "channel_dim": axis, "memory": memory}


def _shapes(cls: type[Declared]) -> str:
    lines = [
        f"input: {_input(cls)}; half types are computed in float32 and rounded once.",
        f"output: {_output(cls, 'the input')}.",
    ]
    if cls.params:
        held = "float, 1-D, of num_parameters values; an nn.Parameter if learned, else a buffer"
        lines.append(f"{', '.join(cls.params)}: {held}.")
    return _section("Shape", lines)


def _errors(cls: type[Declared]) -> str:
    lines = [
        "SpecError: when made, for an argument's value that is not allowed.",
        "DtypeError: when called, for an input of another type.",
    ]
    if _needs_axes(cls) or "__init__" in vars(cls):
        lines.append("ShapeError: when called, for an input without the axes or channels that are needed.")
    return _section("Raises", lines)
