"""Every public name of limen, with its methods, for the tests of what its documentation says."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

import limen

MODULES = {"adapters": limen.adapters, "formula": limen.formula, "functional": limen.functional,
           "inspect": limen.inspect, "selection": limen.selection}  # fmt: skip
VALUES = {"limen.__version__", "limen.adapters.PREFIX", "limen.formula.ContextKind"}
"""Public names of plain values, which have no docstring of their own."""


def names_of(module: ModuleType) -> list[str]:
    """What a sub-package offers: ``selection`` offers more than it lends to ``limen`` itself."""
    if module is limen.selection:
        return dir(module)
    return list(getattr(module, "__all__", None) or dir(module))


def public() -> Iterator[tuple[str, Any]]:
    for name in dir(limen):
        if name not in MODULES:
            yield f"limen.{name}", getattr(limen, name)
    for short, module in MODULES.items():
        for name in names_of(module):
            yield f"limen.{short}.{name}", getattr(module, name)
    for library in ("captum", "monai", "opacus", "timm", "torch_pruning", "transformers"):
        adapter = importlib.import_module(f"limen.adapters.{library}")
        for name in ("register", "unregister"):
            yield f"limen.adapters.{library}.{name}", getattr(adapter, name)


def methods(path: str, cls: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties that a class defines itself, without a formula: its class tells of that."""
    for name, item in vars(cls).items():
        function = item.__func__ if isinstance(item, (classmethod, staticmethod)) else item
        if name[0] != "_" and name != "formula" and isinstance(function, (FunctionType, property)):
            yield f"{path}.{name}", function


NAMED = dict(public())
DOCUMENTED = {path: item for path, item in NAMED.items() if path not in VALUES}
CLASSES = {path: item for path, item in DOCUMENTED.items() if isinstance(item, type)}
METHODS = {path: item for owner, cls in CLASSES.items() for path, item in methods(owner, cls)}


def told_by_its_base(path: str) -> bool:
    """Whether a method does what the same method of a public base class says."""
    owner, _, name = path.rpartition(".")
    return any(name in vars(base) for base in CLASSES[owner].__mro__[1:])


EVERYTHING = {**DOCUMENTED, **METHODS}
OPERATIONS = {path: item for path, item in EVERYTHING.items() if not isinstance(item, property)}


def doc_of(item: Any) -> str:
    return inspect.getdoc(item) or ""


FUNCTIONS = [getattr(limen.functional, name) for name in dir(limen.functional)]
"""The functions beside the activations."""
