"""Noise from a counter: the same bits by kernel and by torch, uniform, and anew in every call."""

from __future__ import annotations

import pytest
import torch

import limen
from limen.kernels import plain
from limen.kernels.c import run
from limen.kernels.noise import counter_noise, new_seed, uniform_of


def test_kernel_and_torch_draw_the_same():
    seed = torch.tensor([123_456_789])
    module = limen.RReLU().train()
    bound = module.bind(training=True)
    for x in (-torch.ones(5000), -torch.ones(3, 4, 5, 6).to(memory_format=torch.channels_last)):
        ours, _ = run.forward(bound, x, (), 1, seed)
        torch.testing.assert_close(ours, plain.evaluate(bound, x, (), 1, seed), rtol=1e-6, atol=0)


def test_is_uniform_and_uncorrelated():
    noise = counter_noise(torch.empty(200_000), torch.tensor([7]), 0)
    other = counter_noise(torch.empty(200_000), torch.tensor([8]), 0)
    assert 0 <= noise.min() < 1e-4
    assert 1 - 1e-4 < noise.max() < 1
    assert noise.mean().item() == pytest.approx(0.5, abs=3e-3)
    assert noise.var().item() == pytest.approx(1 / 12, abs=1e-3)
    for pair in (torch.stack([noise[1:], noise[:-1]]), torch.stack([noise, other])):
        assert abs(torch.corrcoef(pair)[0, 1].item()) < 0.01


def test_every_call_draws_anew_and_manual_seed_repeats():
    module, x = limen.RReLU().train(), -torch.ones(100)
    torch.manual_seed(5)
    first, second = module(x), module(x)
    torch.manual_seed(5)
    assert not torch.equal(first, second)
    assert torch.equal(module(x), first)


def test_candidates_of_a_mixture_draw_apart():
    module = limen.AdAct(("rrelu", "rrelu")).train()
    bound = module.bind(training=True)
    assert len(bound.noise) == 2
    x, seed = torch.randn(50, 7), new_seed()
    mine, _ = run.forward(bound, x, module.tensors(), 1, seed)
    torch.testing.assert_close(mine, plain.evaluate(bound, x, module.tensors(), 1, seed))


def test_elements_beyond_two_to_the_32_have_noise_of_their_own():
    index, seed = torch.arange(64), torch.tensor(7)
    drawn = [uniform_of(index + offset, seed) for offset in (0, 2**32, 2**33, 2**32 + 2**33)]
    for place, one in enumerate(drawn):
        assert 0 <= one.min() <= one.max() < 1
        for other in drawn[place + 1 :]:
            assert (one != other).sum() > 60
