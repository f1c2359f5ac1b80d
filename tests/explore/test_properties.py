"""What a page says of a function: its formula as TeX, its limits, its slopes, where it rises and falls."""

from __future__ import annotations

import math

import pytest
import sympy
import torch
from helpers import ELEMENTWISE

import limen
from limen.activations.registry import find
from limen.explore.properties import _runs, properties
from limen.explore.tex import formula, tex


@pytest.mark.parametrize(
    ("name", "left", "right", "steepest", "pieces"),
    [
        ("relu6", "0", "6", 1.0, ("level below 0", "rises from 0 to 6", "level above 6")),
        ("selu", "−1.758", "1.051·x", 1.758, ("rises throughout",)),
        ("mish", "0", "x", 1.088, ("falls below −1.192", "rises above −1.192")),
        ("leaky_relu2", "grows as 0.25·x²", "grows as x²", math.inf, ("falls below 0", "rises above 0")),
        ("xielu", "−0.3·x − 0.8", "grows as 0.8·x²", math.inf, ("falls below −0.9808", "rises above −0.9808")),
        ("snake", "no limit: it oscillates", "no limit: it oscillates", 2.0, ("rises throughout",)),
        ("ash", "0", "x", 1.1, ("falls below −0.639", "rises above −0.639")),
    ],
)
def test_properties_are_those_that_are_known(name, left, right, steepest, pieces):
    found = properties(name)
    assert (found.left, found.right, found.steepest, found.pieces) == (left, right, steepest, pieces)


@pytest.mark.parametrize("name", ["tanh", "asau", "hardswish"])
def test_no_slope_is_steeper(name):
    x = torch.linspace(-9, 9, 7001, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(limen.create(name).double()(x).sum(), x)
    assert slope.abs().max().item() == pytest.approx(properties(name).steepest, abs=1e-3)


def test_a_formula_is_written_as_mathematics():
    assert formula("asau") == (
        r"a\,x + x\,\left(b - a\right)\,"
        r"\tanh\left(\alpha\,\mathrm{softplus}\left(\beta\,x\,\left(b - a\right)\right)\right)"
    )
    assert formula("relu") == r"\begin{cases} 0 & \text{for } x \leq 0 \\ x & \text{otherwise} \end{cases}"
    assert formula("top_percentile") == ""
    assert tex(sympy.Float(math.sqrt(2 / math.pi))) == "0.79788"


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_every_function_has_a_name_in_tex(name):
    assert r"\operatorname" not in formula(name)
    assert bool(formula(name)) != bool(find(name).written)


@pytest.mark.parametrize(
    ("signs", "pieces"),
    [([1, 1, 1, 0, 0, -1, -1], [1, -1]), ([1, 1, 0, 0, 0, -1, -1], [1, 0, -1]), ([1, -1, -1, 1, 0, 1, 1], [1, -1, 1])],
)
def test_a_slope_of_0_at_two_points_is_no_level_piece_and_at_three_it_is(signs, pieces):
    x = torch.arange(-3, 4) / 100
    found = _runs(x, torch.tensor(signs).float())
    assert [sign for sign, _ in found] == pieces
    assert found[-1][1] == float(x[-1])
