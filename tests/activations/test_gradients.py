"""First and second derivatives of every registered activation, with respect to the input and every parameter."""

from __future__ import annotations

import pytest
import torch
from helpers import ALL, BUILT_IN, JUMPING, KEEPING_SHAPE, LEARNING, activation, sample_input
from torch.func import functional_call, jvp, vmap

DIFFERENTIABLE = [name for name in ALL if name not in JUMPING]
TWICE = [name for name in DIFFERENTIABLE if name != "maxout"]


def as_function(module):
    names = [name for name, _ in module.named_parameters()]

    def function(x, *parameters):
        return functional_call(module, dict(zip(names, parameters, strict=True)), (x,))

    inputs = [parameter.detach().clone().requires_grad_() for parameter in module.parameters()]
    return function, inputs


@pytest.mark.parametrize("num_parameters", [1, 4])
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradcheck(name, num_parameters):
    module = activation(name, num_parameters=num_parameters, dtype=torch.float64)
    function, parameters = as_function(module)
    x = sample_input(2, 4, 3).requires_grad_()
    assert torch.autograd.gradcheck(function, (x, *parameters))


@pytest.mark.parametrize("name", TWICE)
def test_gradgradcheck(name):
    function, parameters = as_function(activation(name, dtype=torch.float64))
    x = sample_input(2, 5).requires_grad_()
    assert torch.autograd.gradgradcheck(function, (x, *parameters))


@pytest.mark.parametrize("name", KEEPING_SHAPE)
def test_forward_mode_agrees_with_reverse_mode(name):
    module = activation(name, dtype=torch.float64)
    x, tangent = sample_input(3, 4), sample_input(3, 4)
    _, forward = jvp(module, (x,), (tangent,))
    leaf = x.clone().requires_grad_()
    numerical = torch.autograd.functional.jvp(module, leaf, tangent)[1]
    assert forward.abs().max() > 0
    torch.testing.assert_close(forward, numerical)


@pytest.mark.parametrize("name", [name for name in KEEPING_SHAPE if name != "top_percentile"])
def test_per_sample_gradients_by_vmap(name):
    module = activation(name, dtype=torch.float64)
    x = sample_input(3, 2, 5)
    by_vmap = vmap(torch.func.grad(lambda sample: module(sample[None]).sum()))(x)
    one_by_one = torch.stack([torch.func.grad(lambda sample: module(sample[None]).sum())(sample) for sample in x])
    torch.testing.assert_close(by_vmap, one_by_one)


@pytest.mark.parametrize("name", [name for name in BUILT_IN if name != "rrelu"])
def test_slope_at_zero_is_torchs(name):
    ours, theirs = (torch.zeros(1, dtype=torch.float64, requires_grad=True) for _ in range(2))
    activation(name, dtype=torch.float64)(ours).sum().backward()
    BUILT_IN[name].double()(theirs).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("name", LEARNING)
def test_every_parameter_gets_a_gradient(name):
    module = activation(name)
    module(torch.randn(4, 6)).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
