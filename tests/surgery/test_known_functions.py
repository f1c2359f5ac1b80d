"""Which function a call, a clamp or a formula is, and how far it may be from it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from limen.surgery.known import equivalent, is_in_place
from limen.surgery.recognise import recognise


@pytest.mark.parametrize(("values", "named", "known"), [
    ((0,), {}, nn.ReLU), ((0, 6), {}, nn.ReLU6), ((), {"min": 0.0, "max": 6.0}, nn.ReLU6), ((0, 7), {}, None),
    ((0, 5), {}, None), ((-1, 6), {}, None), ((1,), {}, None), ((None, 6), {}, None), ((), {}, None),
])  # fmt: skip
@pytest.mark.parametrize("name", ["clamp", "clip_"])
def test_only_a_clamp_from_0_on_is_a_relu_and_only_to_6_a_relu6(name, values, named, known):
    assert type(equivalent(name, values, named)) is (known or type(None))


def test_a_lower_bound_alone_is_a_relu_at_0_only():
    assert type(equivalent("clamp_min", (0,))) is nn.ReLU
    assert equivalent("clamp_min", (0.1,)) is None


@pytest.mark.parametrize("weight", [torch.tensor(0.3), torch.tensor([0.3]), torch.tensor([0.1, 0.2, 0.3])], ids=str)
def test_a_prelu_has_the_weights_of_the_call(weight):
    made = equivalent("prelu", (weight,))
    assert made.num_parameters == weight.numel()
    assert torch.equal(made.weight.detach(), weight.reshape(-1))
    own = nn.Parameter(weight)
    assert equivalent("prelu", (), {"weight": own}).weight is own


@pytest.mark.parametrize(
    ("name", "values", "named", "overwrites"),
    [
        *[("relu_", (), {}, True), ("relu", (True,), {}, True), ("relu", (False,), {}, False), ("relu", (), {}, False)],
        *[("elu", (1.0, True), {}, True), ("elu", (1.0,), {}, False), ("elu", (), {"inplace": True}, True)],
        *[("rrelu", (0.1, 0.3, False, True), {}, True), ("rrelu", (0.1, 0.3, True), {}, False)],
        *[("gelu", (True,), {}, False), ("unheard_of", (True,) * 8, {}, False)],
        ("unheard_of", (), {"inplace": True}, True),
    ],
)
def test_which_calls_overwrite_their_input(name, values, named, overwrites):
    assert is_in_place(name, values, named) is overwrites


def test_what_hardly_bends_is_a_line():
    assert recognise(lambda x: 1e-5 * torch.tanh(x)) is None
    assert recognise(lambda x: 10 * torch.tanh(x)) is not None


@pytest.mark.parametrize(("off", "seen"), [(0.0009, True), (0.0012, False), (0.005, False)])
def test_a_function_is_known_within_a_thousandth(off, seen):
    """Absolutely, where it is near 0, and relatively, where it is large."""
    above, beside = recognise(lambda x: F.silu(x) * (1 + off)), recognise(lambda x: F.relu(x) + off)
    assert (above.like is not None) == seen
    assert (beside.like is not None) == seen


def test_the_nearest_of_several_known_functions_is_taken():
    assert recognise(lambda x: F.gelu(x, approximate="tanh")).like.approximate == "tanh"
    assert recognise(F.gelu).like.approximate == "none"
    assert recognise(lambda x: 0.5 * x * (1 + torch.erf(x / 2**0.5))).like.approximate == "none"
