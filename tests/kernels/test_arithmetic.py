"""Each machine has every elementary function under its own name, and each is tried over its whole domain."""

from __future__ import annotations

import ast
from importlib import resources

import pytest
from helpers_functions import OF_ONE_NUMBER

from limen.formula.symbolic import Elementary

NAMES = [function.__name__ for function in Elementary.__subclasses__()]


@pytest.mark.parametrize("name", NAMES)
def test_c_has_it(name):
    assert f"float vm_{name}(" in resources.files("limen.kernels.c").joinpath("vector_math.h").read_text("utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_triton_has_it(name):
    tree = ast.parse(resources.files("limen.kernels.triton").joinpath("math.py").read_text("utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_each_has_a_domain():
    assert set(NAMES) - {"sign"} <= set(OF_ONE_NUMBER)
