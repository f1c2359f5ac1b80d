"""What the names in a function mean, as far as that can be told without running it."""

from __future__ import annotations

import ast
import builtins
import functools
import importlib
import inspect
import sys
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

from torch import nn

from limen.surgery.derive import Derived
from limen.surgery.known import UNKNOWN
from limen.surgery.source import Source

_DEEPEST = 12
_CHOOSING = (functools.partial, getattr, importlib.import_module)


@dataclass(frozen=True)
class Method:
    """A function that a class holds under a name."""

    owner: type
    name: str

    @property
    def of_class(self) -> bool:
        """Whether it is a class method."""
        return isinstance(vars(self.owner).get(self.name), classmethod)


def function_of(origin: Method | FunctionType) -> Any:
    """What a method or a function runs, without what makes it static, a class method or a property."""
    function: Any = vars(origin.owner)[origin.name] if isinstance(origin, Method) else origin
    if isinstance(function, property):
        return function.fget
    return function.__func__ if isinstance(function, (staticmethod, classmethod)) else function


class Scope:
    """The names of one function, seen from the instance whose method it is."""

    def __init__(self, source: Source, instance: nn.Module | None, owner: type | None) -> None:
        self.source = source
        self.instance = instance
        self.owner = owner
        arguments = source.node.args
        positional = [*arguments.posonlyargs, *arguments.args]
        self.self_name = positional[0].arg if positional and instance is not None and owner is not None else ""
        self.bindings = source.definition.bindings
        self._known: dict[int, Any] = {}

    def resolve(self, expression: ast.AST | None, depth: int = 0) -> Any:
        """The object an expression stands for, or :data:`UNKNOWN`."""
        if depth:
            return self._resolve(expression, depth)
        key = id(expression)
        if key not in self._known:
            self._known[key] = self._resolve(expression, 0)
        return self._known[key]

    def _resolve(self, expression: ast.AST | None, depth: int) -> Any:
        if depth > _DEEPEST:
            return UNKNOWN
        if isinstance(expression, ast.Constant):
            return expression.value
        if isinstance(expression, ast.Name):
            return self._name(expression.id, depth)
        if isinstance(expression, ast.Attribute):
            return self._attribute(expression, depth)
        if isinstance(expression, ast.UnaryOp) and isinstance(expression.op, ast.USub):
            value = self.resolve(expression.operand, depth + 1)
            return -value if isinstance(value, (int, float)) else UNKNOWN
        if isinstance(expression, ast.Subscript):
            return _item(self.resolve(expression.value, depth + 1), self.resolve(expression.slice, depth + 1))
        if isinstance(expression, ast.Call):
            return self._call(expression, depth)
        return UNKNOWN

    def _name(self, name: str, depth: int) -> Any:
        if name == self.self_name and self.bindings.get(name) is None:
            return self.instance
        if name in self.bindings:
            return self._local(self.bindings[name], depth)
        function = self.source.function
        if name in function.__code__.co_freevars:
            cell = (function.__closure__ or ())[function.__code__.co_freevars.index(name)]
            try:
                return cell.cell_contents
            except ValueError:
                return UNKNOWN
        return function.__globals__.get(name, getattr(builtins, name, UNKNOWN))

    def _local(self, binding: Any, depth: int) -> Any:
        if isinstance(binding, tuple):
            package = self.source.function.__globals__.get("__package__") or ""
            module, name = binding
            return _loaded(module, name, package)
        return UNKNOWN if binding is None else self.resolve(binding, depth + 1)

    def _attribute(self, expression: ast.Attribute, depth: int) -> Any:
        name = self._mangled(expression.attr)
        if is_super(expression.value) and self.owner is not None and self.instance is not None:
            return _above(type(self.instance), self.owner, name)
        return attribute(self.resolve(expression.value, depth + 1), name)

    def _mangled(self, name: str) -> str:
        """Private names as Python stores them."""
        home = self.source.definition.class_name.lstrip("_")
        return f"_{home}{name}" if home and name.startswith("__") and not name.endswith("__") else name

    def _call(self, call: ast.Call, depth: int) -> Any:
        """Only calls that choose a function: ``partial(F.elu, alpha=2)``, ``getattr(F, "relu")``, ``import_module``."""
        function = self.resolve(call.func, depth + 1)
        if function not in _CHOOSING if _hashable(function) else True:
            return UNKNOWN
        values = [self.resolve(argument, depth + 1) for argument in call.args]
        named = {key.arg: self.resolve(key.value, depth + 1) for key in call.keywords if key.arg}
        if any(value is UNKNOWN for value in (*values, *named.values())) or not values:
            return UNKNOWN
        if function is getattr:
            return attribute(values[0], values[1]) if len(values) > 1 and isinstance(values[1], str) else UNKNOWN
        if function is importlib.import_module:
            named_module = len(values) == 1 and not named and isinstance(values[0], str)
            return _loaded(values[0], "", "") if named_module else UNKNOWN
        chosen: Any = values[0]
        return functools.partial(chosen, *values[1:], **named) if callable(chosen) else UNKNOWN


def attribute(value: Any, name: str) -> Any:
    """An attribute, looked up without running a property."""
    if isinstance(value, nn.Module):
        for store in (value.__dict__, value._modules, value._parameters, value._buffers):
            if name in store:
                return store[name]
        return _of_class(type(value), name)
    if isinstance(value, ModuleType):
        # Not getattr: a module may import a part of itself when that is first asked for.
        return vars(value).get(name, sys.modules.get(f"{value.__name__}.{name}", UNKNOWN))
    if isinstance(value, type):
        return _of_class(value, name)
    return getattr(value, "__dict__", {}).get(name, UNKNOWN) if value is not UNKNOWN else UNKNOWN


def _of_class(cls: type, name: str) -> Any:
    for owner in plain_mro(cls):
        if name in vars(owner):
            found = vars(owner)[name]
            if isinstance(found, staticmethod):
                return found.__func__
            of_class = isinstance(found, classmethod) and isinstance(found.__func__, FunctionType)
            if isinstance(found, FunctionType) or (of_class and not owner.__module__.startswith("torch.")):
                return Method(owner, name)
            return UNKNOWN if hasattr(found, "__get__") and not inspect.isbuiltin(found) else found
    return UNKNOWN


def plain_mro(cls: type) -> list[type]:
    """The classes a class inherits from, without those that surgery has put in front."""
    return [owner for owner in cls.__mro__ if not issubclass(owner, Derived)]


def _above(cls: type, owner: type, name: str) -> Any:
    """What ``super().name`` is in a method written in ``owner``."""
    order = plain_mro(cls)
    for above in order[order.index(owner) + 1 :] if owner in order else ():
        if isinstance(vars(above).get(name), FunctionType):
            return Method(above, name)
    return UNKNOWN


def is_super(expression: ast.AST) -> bool:
    """Whether an expression is a call of ``super``."""
    is_call = isinstance(expression, ast.Call) and isinstance(expression.func, ast.Name)
    return is_call and expression.func.id == "super"  # type: ignore[attr-defined]


def _item(value: Any, key: Any) -> Any:
    if isinstance(value, (list, tuple, dict, nn.ModuleList, nn.Sequential, nn.ModuleDict)) and key is not UNKNOWN:
        try:
            return value[key]
        except (LookupError, TypeError):
            return UNKNOWN
    return UNKNOWN


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _loaded(module: str, name: str, package: str) -> Any:
    """What an ``import`` inside the function binds, if that module is loaded already; none is loaded for this."""
    full = module
    if module.startswith("."):
        up = len(module) - len(module.lstrip("."))
        parts = package.split(".")
        full = ".".join([*parts[: len(parts) - up + 1], *filter(None, [module.lstrip(".")])])
    found = sys.modules.get(full, UNKNOWN)
    if not name or found is UNKNOWN:
        return found
    return attribute(found, name)
