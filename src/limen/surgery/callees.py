"""What a value stands for that a ``forward`` calls, holds or looks up: an activation, a table, code with one."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from types import FunctionType
from typing import Any

import torch
from torch import nn

from limen.surgery import formulas
from limen.surgery.known import ACTIVATIONS, GATES, NAMES, equivalent, function_name
from limen.surgery.recognise import LIBRARIES, Called, is_library_activation, recognise, recognise_module, takes_one

_LARGEST_TABLE = 500
_PASSED = ("sigmoid", "softmax", "log_softmax", "threshold", "clamp", "clip", "clamp_min", "glu", "softmin", "expit")
_TELLING = NAMES - {f"{name}{ending}" for name in _PASSED for ending in ("", "_")}
"""Names by which a function of a table is more than a loss, which bounds and normalises too."""
_LIBRARIES_PASSED = ("torch", "limen", "numpy", "math", "functools", "typing", "warnings", "collections", "einops")


def is_activation(module: nn.Module) -> bool:
    """Whether a module as a whole is an activation or a gate."""
    if isinstance(module, (*ACTIVATIONS, *GATES)):
        return True
    return is_library_activation(module) or recognise_module(module) is not None


def as_module(value: Any) -> nn.Module | None:
    """The module that computes what a callable held or named somewhere computes, if that is an activation."""
    described = described_as(value)
    if described:
        return equivalent(*described)
    is_plain = isinstance(value, FunctionType) and bool(formulas.TRIGGERS & names_in(value.__code__))
    is_opaque = isinstance(value, torch.jit.ScriptFunction) or _is_apply(value)
    if not (is_opaque or (is_plain and takes_one(value))):
        return None
    found = recognise(value)
    if found is None or found.like is None:
        return None
    name = getattr(value, "__name__", type(value).__name__)
    return FormulaModule(value, found.like, "lambda" if name == "<lambda>" else name, found.in_place)


class FormulaModule(Called):
    """A written-out formula as a module; ``like`` is the known function it equals."""

    def __init__(self, function: Any, like: nn.Module, text: str, in_place: bool = False) -> None:
        super().__init__(function)
        self.like = like
        self.text = text
        self.in_place = in_place

    def __repr__(self) -> str:
        return self.text


def is_table(value: Any) -> bool:
    """Whether a list, tuple or dictionary holds activations or functions that name some."""
    if isinstance(value, (dict, nn.ModuleDict)):
        items: Iterable[Any] = value.values()
    elif isinstance(value, (list, tuple, nn.ModuleList)):
        items = value
    else:
        return False
    return len(value) <= _LARGEST_TABLE and any(_names_activation(item) for item in items)


def _names_activation(item: Any) -> bool:
    first = item[0] if isinstance(item, tuple) and item else item
    if isinstance(first, type):
        return issubclass(first, (*ACTIVATIONS, *GATES)) or first.__module__ in LIBRARIES
    if isinstance(first, nn.Module):
        return is_activation(first)
    if isinstance(first, FunctionType):
        return bool(names_in(first.__code__) & _TELLING)
    return bool(described_as(first))


def code_names_activation(cls: type, name: str) -> bool:
    """Whether a method that someone else wrote names an activation."""
    home = cls.__module__.partition(".")[0]
    code = getattr(getattr(cls, name, None), "__code__", None)
    return code is not None and home not in _LIBRARIES_PASSED and bool(names_in(code) & NAMES)


def names_in(code: Any) -> frozenset[str]:
    """The global names and attributes that a function and those within it use."""
    inner = [constant for constant in code.co_consts if hasattr(constant, "co_names")]
    return frozenset(code.co_names).union(*(names_in(constant) for constant in inner))


def is_of_the_user(function: FunctionType) -> bool:
    """Whether no well-known library wrote it."""
    return (function.__module__ or "").partition(".")[0] not in _LIBRARIES_PASSED


def described_as(value: Any) -> tuple[str, tuple[Any, ...], dict[str, Any]] | None:
    """Name and arguments of an activation function of torch's, itself or under ``functools.partial``."""
    if isinstance(value, functools.partial):
        name = function_name(value.func)
        return (name, (), dict(value.keywords)) if name and not value.args else None
    name = function_name(value)
    return (name, (), {}) if name else None


def _is_apply(value: Any) -> bool:
    owner = getattr(value, "__self__", None)
    return isinstance(owner, type) and issubclass(owner, torch.autograd.Function)
