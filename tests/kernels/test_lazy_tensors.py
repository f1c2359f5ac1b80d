"""Tensors whose memory does not hold their values: of the opposite sign, zeros without memory, of other classes."""

from __future__ import annotations

import pytest
import torch
from helpers import COMPILED, perturbed
from torch.testing._internal.two_tensor import TwoTensor

import limen


def imaginary_of_conjugate(values: torch.Tensor) -> torch.Tensor:
    return torch.complex(torch.zeros_like(values), -values).conj().imag


def sliced_opposite(values: torch.Tensor) -> torch.Tensor:
    return torch._neg_view(torch.stack([-values, values], -1))[..., 0]


def functional(values: torch.Tensor) -> torch.Tensor:
    return torch._to_functional_tensor(values.clone())


def zeros(values: torch.Tensor) -> torch.Tensor:
    return torch._efficientzerotensor(values.shape)


class Own(torch.Tensor):
    """A class of its own, with torch's operations."""


LAZY = {
    "opposite sign": lambda values: torch._neg_view(-values),
    "imaginary part of a conjugate": imaginary_of_conjugate,
    "opposite sign, with gaps": sliced_opposite,
    "zeros": zeros,
    "functional": functional,
    "two tensors": lambda values: TwoTensor(values, values.clone()),
    "a class of its own": lambda values: values.clone().as_subclass(Own),
}


def ordinary(tensor: torch.Tensor) -> torch.Tensor:
    if isinstance(tensor, TwoTensor):
        return tensor.a
    if torch._is_functional_tensor(tensor):
        return torch._from_functional_tensor(tensor)
    return (tensor.resolve_neg() + 0).as_subclass(torch.Tensor)


def derivatives(
    module: limen.Activation, x: torch.Tensor, tensors: list[torch.Tensor], g: torch.Tensor, twice: bool
) -> list[torch.Tensor]:
    """The result, the gradients, and where they are differentiated the gradients of their sum."""
    leaves = [t.detach().requires_grad_() for t in (x, *tensors)]
    bound = module._bound[module.training]
    y = limen.kernels.dispatch.evaluate(bound, leaves[0], leaves[1:], module.channel_dim)
    first = torch.autograd.grad(y, leaves, g, create_graph=twice)
    recorded = [f for f in first if f.requires_grad]
    second = ()
    if recorded:
        second = torch.autograd.grad(recorded, leaves, list(map(torch.ones_like, recorded)), allow_unused=True)
    return [ordinary(t.detach()) for t in (y, *first, *second) if t is not None]


@pytest.mark.parametrize("kind", LAZY)
@pytest.mark.parametrize(("name", "shape"), [("swish", (9,)), ("ash", (3, 12_000)), ("adact", (2, 5))])
def test_as_its_values_in_memory(name, shape, kind):
    module = perturbed(name)
    x, g, tensors = torch.randn(shape), torch.randn(shape), [t.detach().clone() for t in module.tensors()]
    module(x)  # from now on there is a short call
    for place in (0, 1, 2, len(tensors) + 1):
        given = [g, x, *tensors]
        given[place] = LAZY[kind](given[place])
        for twice in (False, True):
            want_x, *want_tensors = (ordinary(t) for t in given[1:])
            got = derivatives(module, given[1], given[2:], given[0], twice)
            want = derivatives(module, want_x, want_tensors, ordinary(given[0]), twice)
            for mine, its in zip(got, want, strict=True):
                torch.testing.assert_close(mine, its, rtol=1e-4, atol=1e-4 * (1 + its.abs().max().item()))
        with torch.no_grad():
            got = limen.kernels.dispatch.evaluate(module._bound[False], given[1], given[2:], module.channel_dim)
        torch.testing.assert_close(ordinary(got), want[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", COMPILED)
def test_a_gradient_of_the_opposite_sign(name):
    """As the imaginary part of a complex result gives it, without anything private."""
    module = perturbed(name, num_parameters=5)
    x = torch.randn(3, 5, 4, requires_grad=True)
    z = torch.complex(torch.zeros(x.shape), module(x)).conj().resolve_conj()
    leaves = [x, *module.parameters()]
    got = torch.autograd.grad(torch.view_as_real(z)[..., 1].square().sum(), leaves)
    want = torch.autograd.grad(module(x).square().sum(), leaves)
    for mine, its in zip(got, want, strict=True):
        torch.testing.assert_close(mine, its)
