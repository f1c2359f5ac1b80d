"""The C kernels against the plain formula: values, gradients, layouts, types, threads, extremes."""

from __future__ import annotations

import pytest
import torch
from helpers import (
    COMPILED,
    LAYOUTS,
    LEARNING,
    activation,
    assert_as_good_as_plain,
    assert_right_at,
    assert_same_for_any_threads,
    dense,
    gradients,
    perturbed,
    sample_input,
    thoroughly,
    with_halves,
)
from hypothesis import given, settings
from hypothesis import strategies as st

import limen
from limen.activations.registry import find
from limen.kernels.c import calls, run

LINEAR = ("relu", "leaky_relu", "rrelu", "hard_ash", "relu6")
"""Piecewise linear without parameters: their second derivatives are 0, and autograd records none."""


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", COMPILED)
def test_layouts(name, layout):
    make, channels, channel_dim = LAYOUTS[layout]
    x = make()
    assert_as_good_as_plain(perturbed(name, num_parameters=channels, channel_dim=channel_dim), x, torch.randn(x.shape))


@pytest.mark.parametrize("layout", ["odd", "channels last", "transposed"])
@pytest.mark.parametrize("name", COMPILED)
def test_the_result_is_laid_out_as_the_input(name, layout):
    x = LAYOUTS[layout][0]()
    for output in gradients(perturbed(name), x, torch.randn(x.shape), "c")[:2]:
        assert output.stride() == x.stride() or not find(name).elementwise


@pytest.mark.parametrize("channels", [1, 5])
@pytest.mark.parametrize(("name", "dtype"), with_halves(COMPILED), ids=str)
def test_half_types(name, dtype, channels):
    module = perturbed(name, num_parameters=channels)
    x, g = dense((3, 5, 67)).to(dtype), torch.randn(3, 5, 67).to(dtype)
    assert_as_good_as_plain(module, x, g)


@pytest.mark.parametrize("context", ["sample", "channel", "token"])
@pytest.mark.parametrize("channels", [1, 6])
@pytest.mark.parametrize("memory", ["contiguous", "channels last"])
def test_contexts(context, channels, memory):
    for name in ("ash", "leaky_ash", "fixed_ash", "hard_ash"):
        module = limen.create(name, context=context, num_parameters=channels, dtype=torch.float32).eval()
        reference = limen.create(name, context=context, num_parameters=channels, dtype=torch.float64).eval()
        x = dense((4, 6, 5, 9))
        x = x.to(memory_format=torch.channels_last) if memory == "channels last" else x
        g = torch.randn(x.shape)
        mine, truth = gradients(module, x, g, "c"), gradients(reference, x.double(), g.double(), "plain")
        for got, want in zip(mine, truth, strict=True):
            torch.testing.assert_close(got.double(), want, rtol=1e-4, atol=1e-5)


def test_a_large_mean_does_not_cancel_the_deviation():
    x = torch.randn(2, 10_000) + 30_000
    _, statistics = run.forward(limen.ASH()._bound[0], x, limen.ASH().tensors(), 1, None)
    torch.testing.assert_close(statistics[:, 0].double(), x.double().mean(1), rtol=1e-7, atol=0)
    torch.testing.assert_close(statistics[:, 1].double(), x.double().std(1, correction=0), rtol=1e-6, atol=0)
    constant = torch.full((2, 5000), 0.1, requires_grad=True)
    with limen.use_backend("c"):
        y = limen.ASH(z_k=3.0)(constant)
    (slope,) = torch.autograd.grad(y.sum(), constant)
    assert torch.equal(y, constant / 2)
    torch.testing.assert_close(slope, torch.full_like(slope, 0.5))


@pytest.mark.parametrize("size", [5, 300, 5000])
@pytest.mark.parametrize(
    "sample",
    [
        lambda n: torch.randn(n) * 1e37,
        lambda n: torch.tensor([3e37, -3e37]).repeat(n)[:n] * torch.rand(n),
        lambda n: torch.randn(n) * 1e-25,
        lambda n: torch.randn(n).exp().pow(4),
        lambda n: torch.randn(n).sort().values + 100,
        lambda n: torch.cat([torch.full((n // 2,), 1000.0), torch.randn(n - n // 2)]),
        lambda n: torch.cat([torch.full((1,), 1e6), torch.randn(n - 1)]),
    ],
    ids=["large", "large of both signs", "tiny", "skewed", "sorted", "constant in half", "outlier first"],
)
def test_statistics_of_awkward_samples(sample, size):
    x = sample(size)[None]
    _, statistics = run.forward(limen.ASH()._bound[0], x, limen.ASH().tensors(), 1, None)
    mean, deviation = x.double().mean(1), x.double().std(1, correction=0)
    torch.testing.assert_close(statistics[:, 1].double(), deviation, rtol=2e-6, atol=0)
    assert (statistics[:, 0].double() - mean).abs() <= 1e-6 * deviation + 1e-7 * mean.abs()


@pytest.mark.parametrize("shape", [(8, 20_000), (64, 32, 40), (2, 3, 25_000)], ids=str)
@pytest.mark.parametrize("channels", [1, "all"])
@pytest.mark.parametrize("name", [name for name in LEARNING if name in COMPILED])
def test_the_same_bits_for_any_number_of_threads(name, channels, shape):
    module = perturbed(name, num_parameters=shape[1] if channels == "all" and shape[1] < 100 else 1)
    x, g = torch.randn(shape), torch.randn(shape)
    assert_same_for_any_threads(lambda: gradients(module, x, g, "c"))


@pytest.mark.parametrize("name", COMPILED)
def test_saved_for_backward_is_the_input_and_little_else(name):
    from limen.bench import saved_bytes

    x = torch.randn(16, 4000, requires_grad=True)
    module = activation(name)
    with limen.use_backend("c"):
        saved = saved_bytes(module, x)
    few = 16 * 2 * 4 + 4 * sum(p.numel() for p in [*module.parameters(), *module.buffers()]) + 7 * 28 + 8
    assert saved <= x.numel() * 4 + few


@pytest.mark.parametrize("name", [name for name in COMPILED if name not in LINEAR])
def test_second_derivatives(name):
    module = perturbed(name)
    x = sample_input(3, 5, dtype=torch.float32).requires_grad_()
    second = []
    for backend in ("c", "plain"):
        with limen.use_backend(backend):
            y = module(x)
        (first,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        second.append(torch.autograd.grad(first.square().sum(), [x, *module.parameters()], allow_unused=True))
    for ours, theirs in zip(*second, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


VALUES = st.one_of(
    st.floats(width=32, allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, -0.0, 1e-45, -1e-45, 1e-38, 1e38, -1e38, 88.0, -88.0, 104.0, float("inf"), float("-inf")]),
)


# Waves hold to |x| = 1e6 (docs/accuracy.md), and the left tail of Laplace is 1 - 1, as torch's operators have it.
@pytest.mark.parametrize(
    "name", [name for name in COMPILED if find(name).elementwise and name not in ("snake", "gelusine", "laplace")]
)
@settings(deadline=None, max_examples=50)
@given(st.lists(VALUES, min_size=1, max_size=8))
def test_extreme_inputs(name, values):
    assert_right_at(activation(name), torch.tensor(values, dtype=torch.float32))


@pytest.mark.parametrize("name", thoroughly(LEARNING, usual=("prelu", "asau", "ash", "adact")))
def test_frozen_parameters_get_no_gradient(name):
    module = activation(name).requires_grad_(False)
    x = torch.randn(4, 5, requires_grad=True)
    module(x).sum().backward()
    assert x.grad is not None
    assert all(parameter.grad is None for parameter in module.parameters())
    module.requires_grad_(True)
    module(x.detach()).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


def test_shared_and_channel_parameters_together():
    x = dense((4, 3, 50)).requires_grad_()
    alpha = torch.tensor([1.0, 0.5, 2.0], requires_grad=True)
    beta = torch.tensor(1.5, requires_grad=True)
    found = []
    for backend in ("c", "plain"):
        with limen.use_backend(backend):
            y = limen.functional.asau(x, 0.01, 1.0, alpha, beta)
        found.append(torch.autograd.grad(y.square().sum(), [x, alpha, beta]))
    for ours, theirs in zip(*found, strict=True):
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "forward", "backward"),
    [("gelu", True, True), ("asau", True, True), ("swish", False, True), ("adact", False, True), ("elu", False, False)],
)
def test_loops_of_long_chains_are_scheduled(name, forward, backward):
    """Which of them GCC is asked to schedule, as measured with AVX2."""
    bound = activation(name).bind(training=False)
    found = [
        calls.forward_source(bound, "float32", "shared"),
        calls.backward_source(bound, "float32", "shared", ()),
    ]
    assert ["sched-pressure" in source for source in found] == [forward, backward]
