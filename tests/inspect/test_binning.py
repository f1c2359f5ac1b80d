"""Bins: which inputs they take in, and what is said of each."""

import pytest
import torch

from limen.inspect.binning import BINS, TAILS, _between_tails, binned


def test_a_thousandth_of_the_inputs_is_left_out_at_each_end():
    x = torch.arange(10_001.0)[torch.randperm(10_001)]
    found = binned(x, 3 * x)
    assert len(found.x) == BINS
    assert found.density.sum().item() == pytest.approx((10_001 - 2 * 10_000 * TAILS) / 10_001)
    width = 10_000 * (1 - 2 * TAILS) / BINS
    assert found.x[0].item() == pytest.approx(10_000 * TAILS + width / 2, abs=1)
    assert found.x[-1].item() == pytest.approx(10_000 * (1 - TAILS) - width / 2, abs=1)
    torch.testing.assert_close(found.y, 3 * found.x)


@pytest.mark.parametrize("count", [1, 2, 3, 500, 999, 1000, 1001, 1002, 2500, 18_433])
def test_tails_end_where_torchs_quantiles_are_to_the_last_bit(count: int):
    drawn = torch.randn(count, dtype=torch.float64, generator=torch.Generator().manual_seed(count))
    for values in (drawn, drawn.relu(), drawn.exp()):
        wanted = torch.quantile(values, values.new_tensor([TAILS, 1 - TAILS]))
        assert list(_between_tails(values)) == wanted.tolist()
