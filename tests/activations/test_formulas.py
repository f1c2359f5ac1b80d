"""Activations that are one formula more: values and slopes by other means, at kinks, far out, and one a channel."""

from __future__ import annotations

import math

import pytest
import torch
from helpers import ONE_MORE_FORMULA, thoroughly
from torch import Tensor
from torch.nn import functional as F

import limen

KNOWN = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu6": F.relu6,
    "hardswish": F.hardswish,
    "relu2": lambda x: F.relu(x).square(),
    "leaky_relu2": lambda x: F.leaky_relu(x, 0.5).square(),
    "xielu": lambda x: 0.5 * x + 0.8 * torch.where(x > 0, x * x, torch.expm1(x.clamp(max=0)) - x),
    "golu": lambda x: x * torch.exp(-torch.exp(-x)),
    "telu": lambda x: x * torch.tanh(torch.exp(x)),
    "gelusine": lambda x: F.gelu(x) + 0.1 * torch.sin(x),
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "laplace": lambda x: torch.special.ndtr((x - math.sqrt(0.5)) * math.sqrt(4 * math.pi)),
    "snake": lambda x: x + torch.sin(x) ** 2,
    "poly_relu": lambda x: sum(F.relu(x) ** power for power in (1, 2, 3)) / 3,
    "dyt": lambda x: torch.tanh(x / 2),
    "derf": lambda x: torch.erf(x / 2),
}


def test_all_are_here():
    assert KNOWN.keys() == ONE_MORE_FORMULA
    assert set(limen.names()) >= ONE_MORE_FORMULA


@pytest.mark.parametrize("name", KNOWN)
def test_values_and_slopes_at_the_start(name):
    x = torch.tensor([-30.0, -6, -3, -1, -0.3, 0, 0.3, 1, 3, 6, 20], dtype=torch.float64, requires_grad=True)
    want = KNOWN[name](x)
    y = limen.create(name, dtype=torch.float64)(x)
    torch.testing.assert_close(y, want, rtol=1e-12, atol=1e-12)
    slopes = [torch.autograd.grad(of.sum(), x)[0] for of in (y, want)]
    known = slopes[1].isfinite()  # written plainly, some are ∞ · 0 far out
    torch.testing.assert_close(slopes[0][known], slopes[1][known], rtol=1e-12, atol=1e-12)
    assert slopes[0].isfinite().all()


@pytest.mark.parametrize("name", thoroughly(KNOWN, usual=("relu2", "xielu", "golu", "telu", "snake", "derf")))
def test_far_out_is_no_nan(name):
    for x in (-1e4, -200.0, 200.0, 1e4):
        leaf = torch.tensor([x], requires_grad=True)
        y = limen.create(name)(leaf)
        (slope,) = torch.autograd.grad(y.sum(), leaf)
        assert y.isfinite().all()
        assert slope.isfinite().all()


def test_xielu_loads_what_transformers_stores():
    x = torch.linspace(-3, 3, 50)
    for rho_p, rho_n in ((0.2, -1.05), (1.0, 0.5)):
        ours = limen.XIELU()
        ours.load_state_dict({"alpha_p": torch.tensor([rho_p]), "alpha_n": torch.tensor([rho_n])})
        a_p, a_n = math.log1p(math.exp(rho_p)), 0.5 + math.log1p(math.exp(rho_n))
        want = torch.where(x > 0, a_p * x * x, a_n * (torch.expm1(x) - x)) + 0.5 * x
        torch.testing.assert_close(ours(x), want)
        torch.testing.assert_close(ours(torch.tensor([-math.inf])), torch.tensor([math.inf]))


def test_snake_without_a_wave_is_a_line():
    x = torch.linspace(-2, 2, 9, requires_grad=True)
    y = limen.Snake(alpha=0.0)(x)
    assert torch.equal(y, x)
    assert torch.equal(torch.autograd.grad(y.sum(), x)[0], torch.ones(9))


def test_what_is_fixed_learns_when_asked():
    assert [name for name, _ in limen.create("gelusine").named_parameters()] == []
    assert [name for name, _ in limen.create("gelusine:learned=true").named_parameters()] == ["c"]
    assert [name for name, _ in limen.create("leaky_relu2:learned=true").named_parameters()] == ["negative_slope"]


class TestSharedParameters:
    """``Param(shared=True)`` is one number beside others that are one a channel."""

    def test_shapes_and_state(self):
        module = limen.Derf(num_parameters=4, channel_dim=-1)
        assert {name: tuple(t.shape) for name, t in module.state_dict().items()} == {
            "alpha": (1,), "s": (1,), "weight": (4,), "bias": (4,)
        }  # fmt: skip
        assert limen.DyT().weight.shape == (1,)

    @pytest.mark.parametrize("backend", ["plain", "c"])
    @pytest.mark.parametrize(("shape", "axis"), [((3, 4), 1), ((2, 5, 4), -1), ((2, 4, 3, 3), 1)])
    def test_values_and_gradients(self, backend, shape, axis):
        module = limen.DyT(alpha=0.7, num_parameters=4, channel_dim=axis)
        with torch.no_grad():
            module.weight.copy_(torch.tensor([1.0, -2.0, 0.5, 3.0]))
            module.bias.copy_(torch.arange(4.0))
        x = torch.randn(shape, requires_grad=True)
        broadcast = [1] * len(shape)
        broadcast[axis] = 4

        def plainly(x: Tensor, alpha: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
            return weight.view(broadcast) * torch.tanh(alpha * x) + bias.view(broadcast)

        g = torch.randn(shape)
        leaves = (x, module.alpha, module.weight, module.bias)
        want = plainly(*leaves)
        with limen.use_backend(backend):
            y = module(x)
            torch.testing.assert_close(y, want)
            got = torch.autograd.grad(y, leaves, g)
        for mine, its in zip(got, torch.autograd.grad(want, leaves, g), strict=True):
            torch.testing.assert_close(mine, its)

    def test_groups_of_channels(self):
        module = limen.DyT(num_parameters=2, group_size=3)
        with torch.no_grad():
            module.weight.copy_(torch.tensor([1.0, 10.0]))
        y = module(torch.ones(1, 6))
        assert y.div(math.tanh(0.5)).round().tolist() == [[1, 1, 1, 10, 10, 10]]
