"""Learned shapes: the function that each site computes, over the inputs it really sees."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from helpers import ELEMENTWISE
from torch import nn

import limen
from limen.inspect import binning
from limen.inspect.binning import BINS
from limen.lab.records import LayerShape
from limen.lab.training.shapes import layer_shapes, sites


def shape_of(activation: limen.Activation, x: torch.Tensor) -> LayerShape:
    (shape,) = layer_shapes(nn.Sequential(activation), x)
    return shape


DETERMINISTIC = tuple(name for name in ELEMENTWISE if name != "rrelu")


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_bin_means_lie_on_the_function(name: str) -> None:
    activation = limen.create(name).eval()
    x = torch.randn(20_000)
    shape = shape_of(activation, x)
    centres, found = torch.tensor(shape.x), torch.tensor(shape.y)
    with torch.no_grad():
        expected = activation(centres)
        # Within a bin the function moves by its slope times the bin's width, and the mean cannot leave that range.
        width = (centres[-1] - centres[0]) / (BINS - 1)
        around = torch.stack([activation(centres + shift * width) for shift in torch.linspace(-1, 1, 21)])
    slack = (around.max(0).values - around.min(0).values) + 1e-4
    assert len(found) > 0.9 * BINS
    assert ((found - expected).abs() <= slack).all()
    assert (found - expected).abs().median() < 0.01


@pytest.mark.parametrize("name", ["ash", "hard_ash", "top_percentile", "adact"])
def test_functions_of_the_sample_are_described_too(name: str) -> None:
    shape = shape_of(limen.create(name).eval(), torch.randn(50, 200))
    assert all(torch.tensor(values).isfinite().all() for values in (shape.x, shape.y, shape.density))


@pytest.mark.parametrize("x", [torch.randn(10_000), torch.rand(64, 3, 8, 8), torch.full((100,), 0.5), torch.zeros(1)])
def test_density_is_a_share_of_the_inputs(x: torch.Tensor) -> None:
    shape = shape_of(limen.ASAU(), x)
    assert 0.99 < sum(shape.density) <= 1 + 1e-6
    assert len(shape.x) == len(shape.y) == len(shape.density) <= BINS
    assert all(share > 0 for share in shape.density)
    assert all(a < b for a, b in pairwise(shape.x))


def test_density_by_hand() -> None:
    shape = shape_of(limen.ReLU(), torch.tensor([-1.0] * 30 + [2.0] * 70))
    assert shape.density == (0.3, 0.7)
    assert shape.x == (-1.0, 2.0)
    assert shape.y == (0.0, 2.0)


def test_outliers_do_not_stretch_the_picture() -> None:
    x = torch.randn(10_000)
    x[0], x[1] = 1e6, -1e6
    shape = shape_of(limen.ReLU(), x)
    assert shape.x[0] > -5
    assert shape.x[-1] < 5


def test_many_inputs_are_thinned_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(50_000)
    whole = shape_of(limen.ASAU(), x)
    monkeypatch.setattr(binning, "MOST_VALUES", 10_000)
    thinned = shape_of(limen.ASAU(), x)
    assert thinned.density != whole.density
    assert 0.99 < sum(thinned.density) <= 1 + 1e-6
    middle = len(thinned.x) // 2
    expected = limen.ASAU()(torch.tensor(thinned.x[middle])).item()
    assert thinned.y[middle] == pytest.approx(expected, abs=0.01)


def test_mixture_weights_sum_to_one() -> None:
    activation = limen.AdAct(("relu", "silu", "prelu"))
    with torch.no_grad():
        activation.logits.copy_(torch.tensor([0.0, 1.0, 2.0]))
    shape = shape_of(activation, torch.randn(100, 4))
    expected = torch.tensor([0.0, 1.0, 2.0]).softmax(0)
    assert list(shape.weights) == ["relu", "silu", "prelu"]
    assert list(shape.weights.values()) == pytest.approx(expected.tolist())
    assert sum(shape.weights.values()) == pytest.approx(1)
    assert shape.parameters == {"prelu.weight": (0.25,)}


def test_mixture_a_channel_shows_the_mean_weights() -> None:
    activation = limen.AdAct(("relu", "silu"), num_parameters=2)
    with torch.no_grad():
        activation.logits.copy_(torch.tensor([[0.0, 0.0], [0.0, 50.0]]))
    shape = shape_of(activation, torch.randn(100, 2))
    assert shape.weights == pytest.approx({"relu": 0.25, "silu": 0.75}, abs=1e-6)


def test_parameters_a_channel_and_only_the_learned() -> None:
    activation = limen.ASAU(num_parameters=3)
    with torch.no_grad():
        activation.alpha.copy_(torch.tensor([1.0, 2.0, 3.0]))
    shape = shape_of(activation, torch.randn(50, 3, 2, 2))
    assert shape.parameters == {"alpha": (1.0, 2.0, 3.0), "beta": (1.0, 1.0, 1.0)}
    assert shape.weights == {}
    assert shape_of(limen.ReLU(), torch.randn(50)).parameters == {}
    assert list(shape_of(limen.ASAU(learned="beta"), torch.randn(50)).parameters) == ["beta"]


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(4, 4), limen.ASAU())
        self.mixture = limen.AdAct(("relu", "asau"))
        self.unused = limen.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mixture(self.first(x))


def test_paths_count_a_mixture_once_and_leave_out_the_unused() -> None:
    network = Nested()
    assert [path for path, _ in sites(network)] == ["first.1", "mixture", "unused"]
    shapes = layer_shapes(network, torch.randn(10, 4))
    assert [shape.path for shape in shapes] == ["first.1", "mixture"]
    assert shapes[0].activation == "ASAU(a=0.01, b=1, alpha=1, beta=1)"


@pytest.mark.parametrize("training", [True, False])
def test_nothing_is_left_behind(training: bool) -> None:
    network = nn.Sequential(nn.BatchNorm1d(4), limen.RReLU()).train(training)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    layer_shapes(network, torch.randn(10, 4, generator=torch.Generator().manual_seed(1)))
    assert all(module.training is training for module in network.modules())
    assert not any(module._forward_hooks for module in network.modules())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_an_error_leaves_nothing_behind_either() -> None:
    network = nn.Sequential(limen.ASAU(), nn.Linear(4, 4)).train()
    with pytest.raises(RuntimeError):
        layer_shapes(network, torch.randn(10, 5))
    assert network.training
    assert not network[0]._forward_hooks
