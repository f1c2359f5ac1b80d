"""``limen.inspect.curves``: the functions themselves, drawn where asked, as Axes."""

from __future__ import annotations

import pytest
import torch
from helpers_inspect import F64
from torch import nn

import limen
from limen.inspect import curves


@pytest.mark.parametrize("name", limen.names())
def test_every_activation_is_drawn(name: str):
    activation = limen.create(name)
    if not activation.keeps_shape:
        pytest.skip("it takes several channels for one")
    axes = curves(nn.Sequential(activation))
    line, relu = axes.get_lines()
    x, y = (torch.tensor(values, dtype=F64) for values in line.get_data())
    assert y.isfinite().all()
    assert relu.get_label() == "ReLU"
    if activation.elementwise:
        with torch.no_grad():
            assert torch.allclose(y, activation.eval().double()(x), atol=1e-5)


@pytest.mark.parametrize(
    "shape", [{"num_parameters": 3}, {"num_parameters": 3, "channel_dim": -1}, {"num_parameters": 2, "group_size": 2}]
)
def test_curves_of_channels_are_their_mean(shape: dict[str, int]):
    activation = limen.PReLU(**shape)
    with torch.no_grad():
        activation.weight.copy_(torch.linspace(0.1, 0.5, activation.num_parameters))
    line = curves(nn.Sequential(activation)).get_lines()[0]
    x, y = line.get_data()
    assert y[0] == pytest.approx(0.3 * x[0], rel=1e-5)
    assert (x[0], x[-1]) == (-4.0, 4.0)


def test_curves_are_drawn_where_asked_and_change_with_training():
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    model = nn.Sequential(limen.ASAU(), nn.PReLU(), limen.ASH())
    assert curves(model, ax=axes) is axes
    first = axes.get_lines()[0].get_ydata()
    with torch.no_grad():
        model[0].alpha.fill_(3.0)
    assert list(curves(model).get_lines()[0].get_ydata()) != list(first)
    over = curves(model, torch.rand(100, 3) * 2)
    assert min(over.get_lines()[0].get_xdata()) > -0.1
    assert len(curves(nn.Sequential(*[limen.ReLU() for _ in range(20)])).get_legend().get_texts()) == 3
