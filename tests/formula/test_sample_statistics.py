"""The mean and the deviation of a sample on tensors: exact for a constant, without overflow, and for one element."""

from __future__ import annotations

import pytest
import torch

from limen.formula import Context, mean, std

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
