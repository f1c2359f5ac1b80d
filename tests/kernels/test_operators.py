"""Kernels as torch operators, which ``torch.compile`` sees as one step each."""

from __future__ import annotations

import pytest
import torch
from helpers import COMPILED, LAYOUTS, activation, perturbed

import limen
from limen.kernels.bound import key_of


@pytest.mark.parametrize("name", COMPILED)
def test_opcheck(name):
    module = perturbed(name, num_parameters=3)
    x = torch.randn(4, 3, 5, requires_grad=True)
    arguments = (key_of(module._bound[False]), x, list(module.tensors()), 1, None)
    if any(t.grad_fn is not None for t in module.tensors()):
        arguments = (*arguments[:2], [t.detach().requires_grad_() for t in module.tensors()], 1, None)
    torch.library.opcheck(torch.ops.limen.forward.default, arguments)


@pytest.mark.parametrize("name", COMPILED)
def test_compiled_programs_call_the_kernel(name):
    torch._dynamo.reset()
    graphs = []

    def note(graph, _):
        graphs.append(graph)
        return graph.forward

    torch.compile(activation(name), fullgraph=True, backend=note)(torch.randn(2, 6))
    assert "limen.forward" in graphs[0].code


@pytest.mark.slow
@pytest.mark.parametrize("name", ["asau", "ash", "adact"])
def test_inductor(name):
    torch._dynamo.reset()
    module = perturbed(name)
    compiled = torch.compile(torch.nn.Sequential(torch.nn.Linear(8, 8), module), fullgraph=True)
    x = torch.randn(4, 8, requires_grad=True)
    compiled(x).square().sum().backward()
    ours = [x.grad.clone(), *(p.grad.clone() for p in compiled.parameters())]
    x.grad = None
    compiled.zero_grad()
    with limen.use_backend("plain"):
        compiled._orig_mod(x).square().sum().backward()
    for mine, its in zip(ours, [x.grad, *(p.grad for p in compiled.parameters())], strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-4, atol=1e-5)


def test_training_noise_under_compile():
    torch._dynamo.reset()
    compiled = torch.compile(limen.RReLU().train(), fullgraph=True, backend="aot_eager")
    x = -torch.ones(1000)
    first, second = compiled(x), compiled(x)
    assert not torch.equal(first, second)
    assert (-first).min() >= 1 / 8
    assert (-first).max() <= 1 / 3


def test_memory_is_counted_through_the_operator():
    from limen.lab.training.memory import peak_memory

    x, module = torch.randn(1000, requires_grad=True), limen.ASAU()
    assert peak_memory(lambda: module(x)) < 20_000  # the plain path holds seven tensors of 4000 bytes and more


@pytest.mark.parametrize("layout", ["channels last", "with gaps", "transposed"])
def test_operators_promise_the_layout_they_give(layout):
    x = LAYOUTS[layout][0]()
    for module in (limen.ASAU(), limen.ASH(context="channel"), limen.ASH(num_parameters=5)):
        key = key_of(module._bound[False])
        y, _ = torch.ops.limen.forward(key, x, list(module.tensors()), 1, None)
        assert y.stride() == torch.empty_like(x).stride()


@pytest.mark.slow
def test_inductor_on_channels_last_samples():
    torch._dynamo.reset()
    module = limen.ASH(context="channel")
    x = torch.randn(2, 8, 4, 6).contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(torch.compile(module)(x), module(x))
