"""What torch asks of its own modules: every mode of differentiation, batched, of every layout and type."""

from __future__ import annotations

import pytest
import torch
from helpers import JUMPING, KEEPING_SHAPE, perturbed, sample_input, thoroughly
from torch.func import functional_call

import limen

FULL, HALF = (torch.float32, torch.float64), (torch.bfloat16, torch.float16)
SMOOTH = [name for name in KEEPING_SHAPE if name not in JUMPING]


def as_function(module):
    """The module as a function of its input and its parameters, and those."""
    named = dict(module.named_parameters())

    def function(x, *values):
        return functional_call(module, dict(zip(named, values, strict=True)), (x,))

    return function, [value.detach().clone().requires_grad_() for value in named.values()]


@pytest.mark.slow
@pytest.mark.parametrize("name", SMOOTH)
def test_every_mode_of_differentiation(name):
    function, parameters = as_function(perturbed(name, num_parameters=2, group_size=2, dtype=torch.float64))
    leaves = (sample_input(3, 4, 2).transpose(0, 2).requires_grad_(), *parameters)
    batched = {"check_batched_grad": True, "fast_mode": True}
    torch.autograd.gradcheck(function, leaves, check_forward_ad=True, check_batched_forward_grad=True, **batched)
    torch.autograd.gradgradcheck(function, leaves, gen_non_contig_grad_outputs=True, **batched)


@pytest.mark.parametrize(
    "dtype",
    [pytest.param(torch.float32, marks=pytest.mark.slow), pytest.param(torch.bfloat16, marks=pytest.mark.thorough)],
    ids=str,
)
@pytest.mark.parametrize("name", thoroughly(SMOOTH, usual=("asau", "adact", "ash", "prelu", "gelu")))
def test_batched_and_repeated_gradients_of_kernels(name, dtype):
    """Batched gradients are those one by one; the gradient's own graph has the gradient's values."""
    module = perturbed(name, num_parameters=4)
    for x in (sample_input(3, 4, 2).transpose(0, 2), sample_input(2, 8, 3)[:, ::2]):
        leaf = x.to(dtype).requires_grad_()
        leaves, y = [leaf, *module.parameters()], module(leaf)
        g = torch.randn(3, *y.shape, dtype=dtype)
        apart = [torch.autograd.grad(y, leaves, one, retain_graph=True) for one in g]
        recorded = [torch.autograd.grad(y, leaves, one, retain_graph=True, create_graph=True) for one in g]
        batched = torch.autograd.grad(y, leaves, g, is_grads_batched=True)
        tolerance = 1e-4 if dtype is torch.float32 else 0.05
        for mine, its, whole in zip(zip(*recorded, strict=True), zip(*apart, strict=True), batched, strict=True):
            want = torch.stack(its)
            for got in (torch.stack(mine), whole):
                torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance * want.abs().max().item())


@pytest.mark.parametrize("name", SMOOTH)
def test_forward_mode_and_batches_where_kernels_are(name):
    """In float32, where a kernel would run without them."""
    module = perturbed(name, num_parameters=4)
    x, tangent = (sample_input(2, 4, 3, dtype=torch.float32) for _ in range(2))
    y, along = torch.func.jvp(module, (x,), (tangent,))
    torch.testing.assert_close(y, module(x), rtol=1e-4, atol=1e-5)
    _, pulled = torch.func.vjp(module, x)
    torch.testing.assert_close((pulled(along)[0] * tangent).sum(), along.square().sum(), rtol=1e-3, atol=1e-3)
    batched = torch.func.vmap(module)(torch.stack([x, tangent]))
    torch.testing.assert_close(batched[1], module(tangent), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtypes", [FULL, pytest.param(HALF, marks=pytest.mark.thorough)], ids=["full", "half"])
@pytest.mark.parametrize("name", [name for name in KEEPING_SHAPE if name != "adact"])
def test_functions_are_their_modules_in_any_layout(name, dtypes):
    module, function = perturbed(name, num_parameters=4), getattr(limen.functional, name)
    for x in (sample_input(2, 4, 3), sample_input(3, 4, 2).transpose(0, 2), sample_input(2, 8, 3)[:, ::2]):
        own = module.parameter_values()
        for dtype in dtypes:
            torch.testing.assert_close(function(x.to(dtype), **own), module(x.to(dtype)))
