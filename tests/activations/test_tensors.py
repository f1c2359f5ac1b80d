"""Element types, shapes, layouts and extreme values, for every registered activation."""

from __future__ import annotations

import math

import pytest
import torch
from helpers import (
    ALL,
    BUILT_IN,
    ELEMENTWISE,
    KEEPING_SHAPE,
    OF_SAMPLES,
    QUICK_IN_HALF,
    activation,
    sample_input,
    thoroughly,
    with_halves,
)

import limen

HALF = pytest.mark.parametrize(("name", "dtype"), with_halves(KEEPING_SHAPE), ids=str)


def reference_half(name: str, x: torch.Tensor) -> torch.Tensor:
    """Torch's own module in half precision where there is one, else the formula rounded once."""
    if name in BUILT_IN:
        return BUILT_IN[name].to(x.dtype)(x)
    return activation(name)(x.float()).to(x.dtype)


@HALF
def test_half_error_is_below_twice_torchs_own(name, dtype):
    x = torch.linspace(-10, 10, 2001).to(dtype)[None]
    exact = activation(name, dtype=torch.float64)(x.double())
    ours = activation(name)(x)
    assert ours.dtype == dtype
    our_error = (ours.double() - exact).abs().max()
    its_error = (reference_half(name, x).double() - exact).abs().max()
    assert our_error <= 2 * its_error + 1e-6


@HALF
def test_half_parameters_learn_too(name, dtype):
    module = activation(name, dtype=dtype)
    x = torch.randn(3, 5, dtype=dtype, requires_grad=True)
    module(x).sum().backward()
    assert x.grad.dtype == dtype
    assert all(p.grad.dtype == dtype and p.grad.isfinite().all() for p in module.parameters())


@pytest.mark.parametrize("name", thoroughly(KEEPING_SHAPE, usual=QUICK_IN_HALF))
def test_autocast_keeps_the_inputs_type(name):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert activation(name)(torch.randn(2, 3, dtype=torch.bfloat16)).dtype == torch.bfloat16
        assert activation(name)(torch.randn(2, 3)).dtype == torch.float32


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 4)], ids=str)
@pytest.mark.parametrize("name", KEEPING_SHAPE)
def test_empty(name, shape):
    module = activation(name)
    x = torch.empty(shape, requires_grad=True)
    y = module(x)
    y.sum().backward()
    assert y.shape == x.shape
    assert all(parameter.grad.abs().sum() == 0 for parameter in module.parameters())


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_zero_dimensional(name):
    x = sample_input(1)
    module = activation(name, dtype=torch.float64)
    assert module(x[0]).shape == ()
    torch.testing.assert_close(module(x[0]), module(x)[0])


@pytest.mark.parametrize("name", OF_SAMPLES)
def test_samples_need_a_batch_axis(name):
    with pytest.raises(limen.errors.ShapeError, match="batch axis"):
        activation(name)(torch.tensor(1.0))


@pytest.mark.parametrize("name", KEEPING_SHAPE)
def test_layout_changes_nothing(name):
    module = activation(name, num_parameters=3, dtype=torch.float64)
    x = sample_input(2, 3, 5, 7)
    expected = module(x)
    channels_last = module(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(channels_last, expected)
    assert channels_last.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(module(x.mT.contiguous().mT), expected)
    padded = torch.zeros(4, 3, 5, 14, dtype=torch.float64)
    padded[::2, :, :, ::2] = x
    torch.testing.assert_close(module(padded[::2, :, :, ::2]), expected)


@pytest.mark.parametrize("name", KEEPING_SHAPE)
def test_the_input_is_not_changed(name):
    x = torch.randn(3, 4)
    before = x.clone()
    activation(name)(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("name", KEEPING_SHAPE)
def test_large_finite_values_stay_finite_forward_and_backward(name):
    if name == "gelu":
        x = torch.tensor([[-1e30, -100.0, 0.0, 100.0, 1e30]], requires_grad=True)
    elif name == "poly_relu":  # a cube
        x = torch.tensor([[-1e30, -100.0, 0.0, 100.0, 1e12]], requires_grad=True)
    else:
        x = torch.tensor([[-1e18, -1e4, -100.0, 0.0, 1e-40, 100.0, 1e4, 1e18]], requires_grad=True)
    module = activation(name)
    y = module(x)
    y.sum().backward()
    assert y.isfinite().all()
    assert x.grad.isfinite().all()
    if name != "ash" and name != "leaky_ash":  # their parameters' gradients hold x², and 1e36·1e18 overflows
        assert all(parameter.grad.isfinite().all() for parameter in module.parameters())


@pytest.mark.parametrize("name", KEEPING_SHAPE)
def test_nan_stays_nan(name):
    x = torch.tensor([[1.0, math.nan]])
    assert activation(name)(x)[0, 1].isnan()


@pytest.mark.parametrize("name", ALL)
def test_integers_are_refused(name):
    with pytest.raises(limen.errors.DtypeError, match=r"x\.float\(\)"):
        activation(name)(torch.arange(4)[None])


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2], ids=str)
def test_a_type_without_arithmetic_is_explained(dtype):
    for name in ("swish", "ash", "adact"):
        with pytest.raises(limen.errors.DtypeError, match=rf"bfloat16 and float16, and the input is {dtype}"):
            activation(name)(torch.ones(2, 3).to(dtype))
