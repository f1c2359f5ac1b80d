"""A function's source compiled again gives the very bytecode that runs, wherever and however it is written."""

from __future__ import annotations

import argparse
import collections
import inspect
import sys
import tarfile
import typing
import zipfile
from types import FunctionType

import nasty
import pytest
import torch
from torch import nn

from limen.surgery.scope import _loaded
from limen.surgery.source import NoSourceError, read, redecorated, remake, undecorated

MODULES = (
    argparse,
    collections,
    inspect,
    tarfile,
    typing,
    zipfile,
    nn.modules.transformer,
    nasty,
    torch.hub,
)


def functions(module):
    """Functions and methods that are defined in a file of Python."""
    for value in vars(module).values():
        held = vars(value).values() if isinstance(value, type) else [value]
        yield from (f for f in held if isinstance(f, FunctionType) and f.__code__.co_filename == module.__file__)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_the_same_bytecode(module):
    count = 0
    for function in functions(module):
        inner = undecorated(function)
        if inner.__name__ == "<lambda>" or inner.__code__.co_filename != module.__file__:
            continue
        source = read(inner)
        made = remake(source, source.node)
        assert made.__code__.co_code == inner.__code__.co_code
        assert made.__defaults__ == inner.__defaults__
        assert made.__globals__ is inner.__globals__
        count += 1
    assert count > 10


def test_decorators_stay():
    method = nasty.Child.forward
    inner = undecorated(method)
    assert inner is not method
    made = redecorated(method, remake(read(inner), read(inner).node))
    assert made.__code__ is method.__code__
    model = nasty.Child()
    x = torch.randn(2, nasty.WIDTH)
    assert torch.equal(made(model, x), method(model, x))


def test_a_source_that_changed_is_refused(tmp_path, monkeypatch):
    file = tmp_path / "changing.py"
    file.write_text("def f(x):\n    return x + 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    import changing

    assert read(changing.f).node.name == "f"
    file.write_text("def f(x):\n    return x + 2\n")
    with pytest.raises(NoSourceError, match="not the code that runs"):
        read(changing.f)


def test_code_is_compiled_as_its_own_file_says(tmp_path, monkeypatch):
    """Not as ours does, which leave annotations unevaluated."""
    (tmp_path / "evaluating.py").write_text("def f(x: int) -> int:\n    return x + 1\n")
    (tmp_path / "leaving.py").write_text(
        "from __future__ import annotations\n\ndef f(x: int) -> int:\n    return x + 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import evaluating
    import leaving

    assert remake(read(evaluating.f), read(evaluating.f).node).__annotations__["x"] is int
    assert remake(read(leaving.f), read(leaving.f).node).__annotations__["x"] == "int"


def test_functions_within_are_made_as_their_file_says_too(tmp_path, monkeypatch):
    (tmp_path / "nested.py").write_text("def f():\n    def g(x: int):\n        return x\n\n    return g\n")
    monkeypatch.syspath_prepend(tmp_path)
    import nested

    assert remake(read(nested.f), read(nested.f).node)().__annotations__["x"] is int


@pytest.mark.parametrize(
    ("module", "package", "found"),
    [
        ("limen.errors", "", "limen.errors"),
        (".errors", "limen", "limen.errors"),
        ("..errors", "limen.surgery", "limen.errors"),
        (".", "limen.surgery", "limen.surgery"),
        ("..", "limen.surgery", "limen"),
    ],
)
def test_imports_within_functions_name_modules_as_python_does(module, package, found):
    assert _loaded(module, "", package) is sys.modules[found]


def hidden_in(first, second):
    """A decorator's work that says nothing of what it wraps."""

    def wrapper(self, x):
        return first(self, x) + second(self, x)

    return wrapper


def forward(self, x):
    return x + 1


def test_a_decorator_that_does_not_say_what_it_wraps():
    assert undecorated(hidden_in(forward, lambda self, x: x)) is forward
    for wrapper in (hidden_in(forward, forward), hidden_in(lambda self, x: x, None)):
        assert undecorated(wrapper) is wrapper
