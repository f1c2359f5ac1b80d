"""Statistics of a sample on tensors: exact for a constant, without overflow, and for one element."""

from __future__ import annotations

import pytest
import torch

from limen.formula import Context, mean, over_rms, rms, std

LARGEST = torch.finfo(torch.float32).max


@pytest.mark.parametrize("value", [LARGEST, -LARGEST, 1e25, 0.1, -0.1])
def test_the_mean_of_a_constant_sample_is_that_constant(value: float) -> None:
    sample = torch.full((2, 7), value)
    assert torch.equal(mean(sample), sample[:, :1])
    assert torch.equal(std(sample), torch.zeros(2, 1))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_no_sum_overflows(sign: float) -> None:
    sample = sign * torch.tensor([[0.9, 0.8, 0.7, 0.1]]) * LARGEST
    assert torch.allclose(mean(sample).double(), sample.double().mean(1, keepdim=True))
    wanted = sample.double().std(1, correction=0, keepdim=True)
    assert torch.allclose(std(sample).double(), wanted, rtol=1e-6)


def test_an_element_that_stands_alone_is_its_own_mean_and_deviates_by_nothing() -> None:
    x = torch.tensor([-2.0, 3.0], requires_grad=True)
    assert Context().axes(tuple(x.shape)) == ()
    assert torch.equal(mean(x), x)
    assert torch.equal(std(x), torch.zeros(2))


def known_rms(u: torch.Tensor, eps: float) -> torch.Tensor:
    return (u.pow(2).mean(-1, keepdim=True) + eps).sqrt()


@pytest.mark.parametrize("eps", [0.0, 1e-6, 0.5])
def test_root_mean_square_is_torchs_with_its_derivatives(eps: float) -> None:
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    g = torch.randn(3, 5, dtype=torch.float64)
    context = Context("token")
    for found, wanted in (
        (x * rms(x**2, context, eps), x * known_rms(x**2, eps)),
        (over_rms(x, 3, context, eps), x**3 / known_rms(x**3, eps)),
    ):
        torch.testing.assert_close(found, wanted)
        slopes = [torch.autograd.grad((y * g).sum(), x, create_graph=True)[0] for y in (found, wanted)]
        torch.testing.assert_close(*slopes)
        torch.testing.assert_close(*(torch.autograd.grad(slope.square().sum(), x)[0] for slope in slopes))


def test_root_mean_square_over_each_context() -> None:
    x = torch.randn(2, 3, 4, 5)
    for kind, axes in (("sample", (1, 2, 3)), ("channel", (2, 3)), ("token", (3,))):
        found = rms(x, Context(kind))
        torch.testing.assert_close(found, x.square().mean(axes, keepdim=True).sqrt())
        torch.testing.assert_close(over_rms(x, 1, Context(kind)), x / found)


def test_no_power_overflows_or_divides_by_nothing() -> None:
    x = torch.tensor([[0.9, -0.1], [1e-30, -2e-30], [0.0, 0.0]])
    x[0] *= LARGEST
    for power in (1, 2, 3):
        for eps in (0.0, 1e-6):
            leaf = x.clone().requires_grad_()
            found = over_rms(leaf, power, Context("token"), eps)
            (slope,) = torch.autograd.grad(found.sum(), leaf)
            exact = x.double()
            exact[exact == 0] = 1e-300  # for which x/rms(x) is the limit's 0/0
            wanted = (exact**power) / known_rms(exact**power, eps)
            wanted[2] = 0.0
            torch.testing.assert_close(found.double(), wanted, rtol=1e-6, atol=1e-12)
            assert slope.isfinite().all()
    torch.testing.assert_close(rms(x), x.double().square().mean(1, keepdim=True).sqrt().float())


def test_alone_and_empty() -> None:
    x = torch.tensor([-3.0, 4.0])
    assert torch.equal(rms(x), x.abs())
    assert torch.equal(over_rms(x, 1), x.sign())
    assert torch.equal(rms(torch.zeros(2, 0), Context("token"), 0.25), torch.full((2, 1), 0.5))
    assert rms(torch.zeros(0, 3), Context("token")).shape == (0, 1)
    assert over_rms(torch.zeros(0, 3), 2).shape == (0, 3)
