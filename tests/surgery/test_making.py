"""The new activations: what they may be given as, their parameters, and where they start."""

from __future__ import annotations

import nasty
import pytest
import torch
from checks import assert_same, evaluated
from torch import nn

import limen
from limen.errors import LimenError


@pytest.mark.parametrize("to", ["asau:beta=2", limen.ASAU(beta=2.0), lambda: limen.ASAU(beta=2.0), limen.ASAU])
def test_all_that_an_activation_may_be_given_as(to, inputs):
    model = nasty.Instances()
    report = limen.swap_(model, to, example_inputs=inputs)
    assert len({id(m) for m in model.modules() if isinstance(m, limen.ASAU)}) == len(report.sites) == 5


def test_a_parameter_a_channel(inputs):
    model = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(), nn.ReLU(), nn.Flatten(),
        nn.LazyLinear(5), nn.GELU(),
    )  # fmt: skip
    images = torch.randn(2, 1, 8, 8)
    model(images)
    limen.swap_(model, "asau", num_parameters="channel")
    shapes = [(m.num_parameters, m.channel_dim) for m in model if isinstance(m, limen.ASAU)]
    assert shapes == [(6, 1), (6, 1), (5, -1)]
    nested = nasty.Functions()
    limen.swap_(nested, "asau", num_parameters="channel")
    assert {(m.num_parameters, m.channel_dim) for m in nested.modules() if isinstance(m, limen.ASAU)} == {(4, -1)}
    nested(inputs).sum().backward()


def test_channels_that_cannot_be_told_stop_before_anything_is_replaced(inputs):
    model = nn.Sequential(nn.Flatten(), nn.ReLU())
    with pytest.raises(LimenError, match="example_inputs"):
        limen.swap_(model, "asau", num_parameters="channel")
    assert type(model[1]) is nn.ReLU
    limen.swap_(model, "asau", num_parameters="channel", example_inputs=inputs)
    assert model[1].num_parameters == 4


def test_warm_start_comes_near_and_says_how_far(inputs):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    x = torch.randn(256, 4)
    before = evaluated(model, x)
    with limen.swapped(model, "asau", example_inputs=x) as cold:
        pass
    assert_same(evaluated(model, x), before)
    warm = limen.swap_(model, "asau", warm_start=True, example_inputs=x)
    assert all(site.drift < site.fit_before for site in warm.sites)
    assert warm.drift < cold.drift / 3
    alone = nn.Sequential(nn.ReLU())
    assert limen.swap_(alone, "swish", warm_start=True).sites[0].drift < 0.05


def test_twins_share_no_buffer():
    @limen.register
    class Buffered(limen.Activation):
        def __init__(self):
            super().__init__()
            self.register_buffer("seen", torch.zeros(2))
            self.register_buffer("unset", None)

        @staticmethod
        def formula(x):
            return x

    model = nn.Sequential(nn.ReLU(), nn.ReLU())
    limen.swap_(model, "buffered")
    model[0].seen += 1
    assert model[1].seen.tolist() == [0.0, 0.0]
    assert model[1].unset is None
