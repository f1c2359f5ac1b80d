"""Bins: which inputs they take in, and what is said of each."""

import pytest
import torch

from limen.inspect.binning import BINS, TAILS, binned


def test_a_thousandth_of_the_inputs_is_left_out_at_each_end():
    x = torch.arange(10_001.0)[torch.randperm(10_001)]
    found = binned(x, 3 * x)
    assert len(found.x) == BINS
    assert found.density.sum().item() == pytest.approx((10_001 - 2 * 10_000 * TAILS) / 10_001)
    width = 10_000 * (1 - 2 * TAILS) / BINS
    assert found.x[0].item() == pytest.approx(10_000 * TAILS + width / 2, abs=1)
    assert found.x[-1].item() == pytest.approx(10_000 * (1 - TAILS) - width / 2, abs=1)
    torch.testing.assert_close(found.y, 3 * found.x)
