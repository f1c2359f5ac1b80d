"""Polynomials composed with a ReLU and with root mean squares, held against formulas written plainly in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import limen
from limen.activations.describe import describe
from limen.activations.fields import StatisticsContext
from limen.formula import rms


def over(u: Tensor) -> Tensor:
    return u * torch.rsqrt(u.pow(2).mean(-1, keepdim=True) + 1e-6)


def poly_norm(x: Tensor, a1: Tensor, a2: Tensor, a3: Tensor, b: Tensor) -> Tensor:
    return a3 * over(x**3) + a2 * over(x**2) + a1 * over(x) + b


def gated_poly_norm(x: Tensor, alpha_1: Tensor, alpha_2: Tensor) -> Tensor:
    return alpha_1.abs() * over(x) + alpha_2.abs() * over(x * x)


PLAINLY = {"poly_norm": (poly_norm, (0.3, -0.5, 0.7, 0.1)), "gated_poly_norm": (gated_poly_norm, (-0.3, 0.4))}
ROWS = pytest.mark.parametrize("name", PLAINLY)


@ROWS
@pytest.mark.parametrize("size", [1e-3, 1.0, 50.0])
def test_values_and_gradients_are_the_formulas(name, size):
    formula, start = PLAINLY[name]
    module = limen.create(name, dtype=torch.float64)
    for tensor, value in zip(module.tensors(), start, strict=True):
        tensor.data.fill_(value)
    x = (size * torch.randn(2, 3, 8, dtype=torch.float64)).requires_grad_()
    got, want = module(x), formula(x, *module.tensors())
    torch.testing.assert_close(got, want)
    g, leaves = torch.randn_like(got), [x, *module.parameters()]
    torch.testing.assert_close(torch.autograd.grad(got, leaves, g), torch.autograd.grad(want, leaves, g))


def test_published_starts():
    assert [round(p.item(), 6) for p in limen.PolyNorm().parameters()] == [0.333333] * 3 + [0.0]
    assert [round(p.item(), 6) for p in limen.PolyReLU().parameters()] == [0.333333] * 3 + [0.0]
    assert [round(p.item(), 6) for p in limen.GatedPolyNorm().parameters()] == [0.2, 0.2]
    assert (limen.PolyNorm().eps, limen.PolyNorm().context) == (1e-6, "token")


@ROWS
def test_rows_do_not_see_each_other_and_their_scale_cancels(name):
    module = limen.create(name, dtype=torch.float64)
    x = torch.randn(3, 4, 6, dtype=torch.float64)
    torch.testing.assert_close(module(x)[1, 2], module(x[1, 2]))
    torch.testing.assert_close(module(1000 * x), module(x), rtol=1e-3, atol=1e-3)


@ROWS
def test_a_gated_layer_takes_it(name):
    layer, (gate, up) = limen.GLU(name), torch.randn(2, 3, 4, 8)
    torch.testing.assert_close(layer(gate, up), limen.create(name)(gate) * up)


def test_the_compiled_backend_says_why_not():
    with limen.use_backend("c"), pytest.raises(limen.LimenError, match="root mean squares are of powers"):
        limen.PolyNorm()(torch.ones(2, 3))


class Rooted(limen.Activation):
    """x/(1 + rms(x)): someone's own, over a context."""

    context = StatisticsContext("token")
    elementwise = False

    @staticmethod
    def formula(x, context):
        return x / (1 + rms(x, context))


def test_ones_own_formula_runs_without_a_kernel_and_heeds_masks():
    module, x = Rooted(), torch.randn(2, 5)
    with pytest.warns(UserWarning, match="takes a root mean square, and kernels have mean and deviation alone"):
        found = module(x)
    torch.testing.assert_close(found, x / (1 + x.square().mean(1, keepdim=True).sqrt()))
    mask = torch.tensor([3, 5])
    counting = torch.arange(5) < mask[:, None]
    torch.testing.assert_close(module(x, counting)[0, :3], module(x[:1, :3])[0])
    assert not module(x, counting)[0, 3:].any()


def test_written_as_mathematics():
    written = describe("poly_norm").formula
    assert written == "a1*x/rms(x, eps) + a2*x**2/rms(x**2, eps) + a3*x**3/rms(x**3, eps) + b"
