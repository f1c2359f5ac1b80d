"""Every public name says what it is in one sentence, shows itself in use, and names its shapes and its errors."""

from __future__ import annotations

import ast
import builtins
import doctest
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest
import torch

import limen
from limen import errors

SOURCE = Path(limen.__file__).parent
MODULES = {"adapters": limen.adapters, "formula": limen.formula, "functional": limen.functional,
           "inspect": limen.inspect, "selection": limen.selection}  # fmt: skip
VALUES = {"limen.__version__", "limen.adapters.PREFIX", "limen.formula.ContextKind"}
"""Public names of plain values, which have no docstring of their own."""


def names_of(module: ModuleType) -> list[str]:
    """What a sub-package offers: ``selection`` offers more than it lends to ``limen`` itself."""
    if module is limen.selection:
        return [name for name, item in vars(module).items() if getattr(item, "__module__", "").startswith("limen.")]
    return list(getattr(module, "__all__", None) or dir(module))


def public() -> Iterator[tuple[str, Any]]:
    for name in dir(limen):
        if name not in MODULES:
            yield f"limen.{name}", getattr(limen, name)
    for short, module in MODULES.items():
        for name in names_of(module):
            yield f"limen.{short}.{name}", getattr(module, name)
    for library in ("monai", "timm", "transformers"):
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


def test_nothing_but_values_is_without_a_docstring():
    plain = {path for path, item in NAMED.items() if not (isinstance(item, type) or inspect.isroutine(item))}
    assert plain == VALUES


@pytest.mark.parametrize("path", EVERYTHING)
def test_the_first_line_is_one_sentence(path):
    own = EVERYTHING[path].__doc__
    assert own, f"{path} has no docstring of its own"
    first, _, rest = inspect.cleandoc(own).partition("\n")
    assert first.endswith("."), first
    assert not re.search(r"[a-z)][.] [A-Z]", first), f"more than one sentence: {first}"
    assert not rest or rest.startswith("\n"), f"the first sentence of {path} ends on another line"


@pytest.mark.parametrize("path", [path for path in OPERATIONS if path not in METHODS or not told_by_its_base(path)])
def test_there_is_an_example(path):
    assert ">>> " in doc_of(OPERATIONS[path])


@pytest.mark.parametrize("name", dir(limen.functional))
def test_the_examples_of_the_derived_functions_run(name):
    """Those of all else run where they stand."""
    function = getattr(limen.functional, name)
    (example,) = doctest.DocTestFinder(recurse=False).find(
        function, name, module=False, globs=dict(vars(limen.functional))
    )
    runner = doctest.DocTestRunner(verbose=False)
    report: list[str] = []
    runner.run(example, out=report.append)
    assert not runner.failures, "".join(report)


# Shapes

TENSORS = re.compile(r"\bTensor\b")
SHAPES = re.compile(r"\bshapes?\b|\b1-D\b")


def takes_tensors(item: Any) -> bool:
    if isinstance(item, type):
        return issubclass(item, torch.nn.Module)
    if getattr(item, "__module__", "") == "limen.formula.primitives":
        return True
    own = item.fget if isinstance(item, property) else item
    return any(TENSORS.search(str(hint)) for hint in own.__annotations__.values()) or item in FUNCTIONS


FUNCTIONS = [getattr(limen.functional, name) for name in dir(limen.functional)]


@pytest.mark.parametrize("path", [path for path, item in EVERYTHING.items() if takes_tensors(item)])
def test_what_takes_or_gives_tensors_tells_their_shapes(path):
    assert SHAPES.search(doc_of(EVERYTHING[path]))


@pytest.mark.parametrize("path", [path for path, item in CLASSES.items() if issubclass(item, limen.Activation)])
def test_help_of_an_activation_needs_no_other_page(path):
    """Every argument of the constructor with type and default, the shapes of what goes in and comes out, the errors."""
    cls, doc = CLASSES[path], doc_of(CLASSES[path])
    for argument in ("num_parameters", "channel_dim", "group_size", "device, dtype", *cls.fields):
        if argument in cls.fields and not cls.fields[argument].settable:
            continue
        assert re.search(rf"^ +{argument}: ", doc, re.MULTILINE), argument
    if cls is not limen.Activation:
        assert f"Source: {cls.source}." in doc
        assert re.search(r"Shape:\n    input: .*\n    output: ", doc)
    assert re.search(r"Raises:\n    SpecError: .*(\n {8}.*)*\n    DtypeError: ", doc)


def test_an_activation_of_ones_own_is_documented_too():
    class Bent(limen.Activation):
        """x + k·x³."""

        k = limen.Param(0.5, learned=False)
        power = limen.Constant(3.0, above=1.0)
        source = "a notebook"

        @staticmethod
        def formula(x, k, power):
            return x + k * x**power

    class Undescribed(Bent):
        pass

    for cls, first in ((Bent, "x + k·x³."), (Undescribed, "The activation Undescribed.")):
        assert cls.__doc__.startswith(f"{first}\n\nSource: a notebook.\n\n")
        assert "    k: a finite number, not learned unless named; 0.5 by default.\n" in cls.__doc__
        assert "    power: a finite number between 1.0 and inf, both excluded, never learned; 3.0" in cls.__doc__
        assert "    k: float, 1-D, of num_parameters values; an nn.Parameter if learned, else a buffer." in cls.__doc__


# Errors


@cache
def raised_in(function: FunctionType) -> frozenset[str]:
    """The errors that a function of limen raises by name, itself or in functions of its package that it calls."""
    return frozenset(_raised(function, set()))


def _raised(function: Any, seen: set[Any]) -> Iterator[str]:
    function = inspect.unwrap(function)
    if not isinstance(function, FunctionType) or function in seen or function.__code__.co_filename.startswith("<"):
        return
    seen.add(function)
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            raised = function.__globals__.get(node.exc.func.id, getattr(builtins, node.exc.func.id, None))
            yield raised.__name__ if isinstance(raised, type) else raised.__annotations__["return"]
        elif isinstance(node, ast.Call):
            called = callee(node.func, function)
            if (getattr(called, "__module__", None) or "").startswith(PACKAGES):
                yield from _raised(called.__init__ if isinstance(called, type) else called, seen)


def callee(expression: ast.expr, function: FunctionType) -> Any:
    """What a call in a function's source calls: ``name(…)``, ``Class.name(…)`` or ``self.name(…)``."""
    if isinstance(expression, ast.Name):
        return function.__globals__.get(expression.id)
    if isinstance(expression, ast.Attribute) and isinstance(expression.value, ast.Name):
        own = function.__qualname__.partition(".")[0]
        owner = function.__globals__.get(own if expression.value.id in ("self", "cls") else expression.value.id)
        return getattr(owner, expression.attr, None) if isinstance(owner, type) else None
    return None


PACKAGES = tuple(
    f"limen.{name}"
    for name in ("activations", "adapters", "errors", "formula", "functional", "initialization", "inspect",
                 "kernels.dispatch", "selection", "surgery.report", "surgery.swapping", "training", "warmstart")
)  # fmt: skip


def documented_errors(item: Any) -> set[str]:
    """The names in the section ``Raises:``."""
    section = re.search(r"Raises:\n((?:(?: {4}.*)?(?:\n|$))+)", doc_of(item))
    return set(re.findall(r"^ {4}(\w+): ", section[1], re.MULTILINE)) if section else set()


FAILING = {
    path: item
    for path, item in OPERATIONS.items()
    if item not in FUNCTIONS and raised_in(item.__init__ if isinstance(item, type) else item)
}


def test_the_rule_of_errors_finds_some():
    assert len(FAILING) > 50


ELSEWHERE = {
    # The percentile is that of a module, which has checked it.
    "limen.inspect.statistics": {"SpecError"},
    # Raised by what is registered, when a model asks for it.
    "limen.adapters.monai.register": {"SpecError"},
}


def error(name: str) -> type[Exception]:
    return getattr(errors, name, None) or getattr(builtins, name)


@pytest.mark.parametrize("path", FAILING)
def test_what_raises_says_what(path):
    """Every error in the source of a function, and of what it calls, or a base class of it."""
    item = FAILING[path]
    told = tuple(map(error, documented_errors(item)))
    raised = raised_in(item.__init__ if isinstance(item, type) else item) - ELSEWHERE.get(path, set())
    untold = {name for name in raised if not issubclass(error(name), told)}
    assert not untold


@pytest.mark.parametrize("path", [path for path, item in EVERYTHING.items() if "Raises:" in doc_of(item)])
def test_the_errors_named_exist(path):
    found = documented_errors(EVERYTHING[path])
    assert found
    for name in found:
        assert issubclass(error(name), Exception)


def outcome(function: Any, *arguments: Any) -> str:
    """The name of the error that a call ends with; empty if it ends well."""
    try:
        function(*arguments)
    except errors.LimenError as found:
        return type(found).__name__
    return ""


def raises(with_wrong_value: Any, on: Any) -> set[str]:
    """The errors of a call with a wrong value, and of calls on integers and on inputs of other shapes."""
    integers = torch.zeros(2, 4, dtype=torch.int64)
    shapes = (2, 5), (2, 3), ()
    return {outcome(with_wrong_value), *(outcome(on, x) for x in (integers, *map(torch.zeros, shapes)))} - {""}


@pytest.mark.parametrize("name", limen.names())
def test_activations_raise_the_errors_that_their_docstrings_name_and_no_others(name):
    module = limen.create(name, num_parameters=4)
    assert raises(lambda: type(module)(num_parameters=0), module) == documented_errors(type(module))


@pytest.mark.parametrize("name", limen.names())
def test_their_functions_do_so_too(name):
    function = getattr(limen.functional, name)
    parameters = {key: torch.ones(4) for key in limen.create(name).params}
    if function is limen.functional.adact:
        parameters = {"logits": torch.zeros(4, 7)}
    wrong = {**parameters, "candidates" if function is limen.functional.adact else "nothing": ["relu"]}
    found = raises(lambda: function(torch.zeros(2, 4), **wrong), lambda x: function(x, **parameters))
    assert found == documented_errors(function)


# Private names


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_module_imports_a_private_name_of_another(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("limen"):
            assert not [alias.name for alias in node.names if alias.name.startswith("_")]
