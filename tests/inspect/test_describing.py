"""``limen.inspect.statistics``: each number against a plain computation, and nothing left behind."""

from __future__ import annotations

import math

import pytest
import torch
from helpers_inspect import IMAGES, network
from scipy import stats
from torch import nn

import limen
from limen.activations import percentile_to_z
from limen.errors import SampleError, SpecError
from limen.inspect import curves, gradient_norms, statistics, watch
from limen.inspect.describing import normal_distance
from limen.inspect.sites import sites


def test_sites_are_limens_and_torchs_each_once():
    shared = nn.ReLU()
    model = nn.ModuleDict({"a": shared, "b": nn.Sequential(nn.Linear(1, 1), shared, limen.AdAct(("relu", "silu")))})
    assert [path for path, _ in sites(model)] == ["a", "b.2"]
    assert sites(nn.Linear(1, 1)) == []


# Statistics


@pytest.mark.parametrize("name", ["relu", "asau", "ash", "apalu", "adact", "prelu"])
def test_moments_are_those_of_scipy(name: str):
    model = network(name).eval()
    with torch.no_grad():
        received = [model[:2](IMAGES), model[:5](IMAGES)]
        given = [model[:3](IMAGES), model[:6](IMAGES)]
    found = statistics(model, IMAGES)
    assert [site.path for site in found] == ["2", "5"]
    for site, x, y in zip(found, received, given, strict=True):
        values = x.flatten().double().numpy()
        assert site.values == values.size
        assert site.mean == pytest.approx(values.mean(), abs=1e-6)
        assert site.deviation == pytest.approx(values.std(), rel=1e-6)
        assert site.skewness == pytest.approx(stats.skew(values), abs=1e-5)
        assert site.kurtosis == pytest.approx(stats.kurtosis(values), abs=1e-5)
        expected = stats.kstest((values - values.mean()) / values.std(), "norm").statistic
        assert site.normal_distance == pytest.approx(expected, abs=1e-6)
        assert site.output_zero == pytest.approx(float((y.abs() <= 1e-3 * values.std()).double().mean()))


def test_distance_within_samples():
    x = torch.cat([torch.randn(1, 5000) * 3 + 7, torch.rand(1, 5000)])
    (site,) = statistics(nn.Sequential(limen.ReLU()), x)
    each = [stats.kstest((row - row.mean()) / row.std(), "norm").statistic for row in x.double().numpy()]
    assert site.sample_distance == pytest.approx(sum(each) / 2, abs=1e-5)
    assert site.sample_distance < site.normal_distance
    assert math.isnan(statistics(nn.Sequential(limen.ReLU()), torch.ones(3))[0].sample_distance)


def test_a_constant_input_has_no_shape():
    (site,) = statistics(nn.Sequential(limen.ReLU()), torch.ones(4, 4))
    assert (site.mean, site.deviation) == (1.0, 0.0)
    assert all(math.isnan(value) for value in (site.skewness, site.kurtosis, site.normal_distance))
    assert math.isnan(normal_distance(torch.ones(1)))


def test_where_nothing_passes():
    x = torch.tensor([[-3.0, -1.0, 0.5, 2.0]])
    (relu,) = statistics(nn.Sequential(nn.Identity(), nn.ReLU(inplace=True)), x.clone())
    assert (relu.flat, relu.output_zero) == (0.5, 0.5)
    (leaky,) = statistics(nn.Sequential(nn.LeakyReLU(0.2)), x)
    assert (leaky.flat, leaky.output_zero) == (0.0, 0.0)
    (bounded,) = statistics(nn.Sequential(nn.Tanh()), 2 * x)
    assert bounded.flat == 0.5  # at -6 and 4


@pytest.mark.parametrize("context", ["sample", "channel", "token"])
def test_what_ash_keeps(context: str):
    ash = limen.ASH(z_k=0.4, context=context)
    x = torch.randn(6, 3, 20) ** 3
    (site,) = statistics(nn.Sequential(ash), x)
    axes = (1, 2) if context == "sample" else (2,)
    above = x >= x.mean(axes, keepdim=True) + 0.4 * x.std(axes, correction=0, keepdim=True)
    assert site.kept == pytest.approx(100 * above.double().mean().item())
    assert site.z == pytest.approx(0.4)
    assert site.percentile == pytest.approx(100 * (1 - stats.norm.cdf(0.4)), abs=1e-4)
    hard = statistics(nn.Sequential(limen.HardASH(percentile=30, context=context)), x)[0]
    assert hard.percentile == pytest.approx(30)
    assert hard.kept == pytest.approx(100 * (1 - hard.output_zero), abs=1.0)


def test_ash_a_channel_and_no_ash():
    ash = limen.ASH(num_parameters=3)
    with torch.no_grad():
        ash.z_k.copy_(torch.tensor([-1.0, 0.0, 1.0]))
    x = torch.randn(4, 3, 50)
    (site,) = statistics(nn.Sequential(ash), x)
    threshold = x.mean((1, 2), keepdim=True) + ash.z_k.reshape(1, 3, 1) * x.std((1, 2), correction=0, keepdim=True)
    assert site.kept == pytest.approx(100 * (x >= threshold).double().mean().item(), abs=1e-6)
    assert site.z == pytest.approx(0.0)
    grouped = limen.ASH(num_parameters=2, group_size=3)
    assert statistics(nn.Sequential(grouped), torch.randn(2, 6, 9))[0].kept > 0
    assert math.isnan(statistics(nn.Sequential(limen.Swish()), x)[0].kept)


def test_parameters_and_weights():
    (mixture,) = statistics(nn.Sequential(limen.AdAct(("relu", "prelu"))), torch.randn(3, 4))
    assert mixture.parameters == {"relu": 0.5, "prelu": 0.5, "prelu.weight": 0.25}
    (torchs,) = statistics(nn.Sequential(nn.PReLU(2)), torch.randn(3, 2))
    assert torchs.parameters == {"weight": 0.25}
    assert torchs.as_dict()["path"] == "0"


def test_a_site_called_twice_counts_both_calls():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = limen.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.act(self.act(x) - 1.0)

    (site,) = statistics(Twice(), torch.tensor([[2.0, -2.0]]))
    assert site.values == 4
    assert site.mean == pytest.approx((2.0 - 2.0 + 1.0 - 1.0) / 4)


@pytest.mark.parametrize("batch", [IMAGES, (IMAGES, torch.zeros(16)), {"input": IMAGES}])
def test_batches_and_nothing_left_behind(batch: object):
    model = network().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    statistics(model, batch)
    curves(model, batch)
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_what_cannot_be_inspected_is_said():
    with pytest.raises(SampleError, match="the model has none"):
        statistics(nn.Linear(2, 2), torch.randn(1, 2))
    with pytest.raises(SampleError, match="no activation module to draw"):
        curves(nn.Linear(2, 2))
    with pytest.raises(SampleError, match="no activation module to watch"):
        watch(nn.Linear(2, 2))
    with pytest.raises(SpecError, match="every=0"):
        watch(network(), every=0)
    with pytest.raises(SampleError, match=r"call backward\(\)"):
        gradient_norms(network())


def test_normal_inputs_keep_their_percentile():
    """Proposition 2 of the ASH paper, by the same measure as networks are inspected with."""
    x = torch.randn(4, 100_000, generator=torch.Generator().manual_seed(0))
    for percentile in (2.5, 50.0, 90.0):
        (site,) = statistics(nn.Sequential(limen.ASH(z_k=percentile_to_z(percentile))), x)
        assert site.kept == pytest.approx(percentile, abs=0.3)
        assert site.normal_distance < 0.005
