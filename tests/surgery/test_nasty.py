"""Every way of calling an activation is reached, and the model still compiles, exports and shows its source."""

from __future__ import annotations

import inspect
import traceback

import nasty
import pytest
import torch
from checks import check_swap, evaluated
from helpers import thoroughly
from torch import nn

import limen

IDLE = {"Branches": 2}
"""Sites in branches that the examples do not take."""


@pytest.mark.parametrize("network", nasty.ALL, ids=lambda cls: cls.__name__)
def test_every_call_is_a_site(network, inputs):
    idle = IDLE.get(network.__name__, 0)
    report = check_swap(network, inputs, sites=network.sites - idle)
    assert len(report.skipped) == getattr(network, "kept", 0) + idle


@pytest.mark.parametrize("network", nasty.ALL, ids=lambda cls: cls.__name__)
def test_a_relu_for_a_relu_changes_nothing(network, inputs):
    """Every nn.ReLU, F.relu, x.relu_() and clamp(min=0) replaced by limen's ReLU: the same network, in place or not."""
    torch.manual_seed(0)
    model, x = network().double(), inputs.double()
    before = evaluated(model, x)
    with limen.swapped(model, "relu", where=nn.ReLU) as report:
        assert report.sites
        now = evaluated(model, x)
    for a, b in zip(before, now, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "network",
    thoroughly(nasty.ALL, usual=(nasty.Functions, nasty.Branches, nasty.Child, nasty.Formulas, nasty.Gates)),
    ids=lambda cls: cls.__name__,
)
def test_compile_without_graph_breaks(network, inputs):
    model = network().eval()
    limen.swap_(model, "asau")
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(inputs), model(inputs))


@pytest.mark.parametrize("strict", [False, pytest.param(True, marks=pytest.mark.thorough)])
@pytest.mark.parametrize(
    "network", thoroughly(nasty.ALL, usual=(nasty.Child, nasty.Functions)), ids=lambda cls: cls.__name__
)
def test_export(network, strict, inputs):
    model = network().eval()
    if network is nasty.Child and strict:
        with pytest.raises(RuntimeError):  # checkpoint: no better before the swap
            torch.export.export(model, (inputs,), strict=strict)
        return
    limen.swap_(model, "asau")
    program = torch.export.export(model, (inputs,), strict=strict)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(inputs), model(inputs))


def test_locations_name_file_and_line(inputs):
    model = nasty.Functions()
    report = limen.swap_(model, "asau")
    lines = inspect.getsource(nasty).splitlines()
    for site in report.sites:
        file, _, line = site.location.rpartition(":")
        assert file == nasty.__file__
        assert "self." in lines[int(line) - 1]
    assert "F.relu(self.a(x))" in lines[int(report.sites[0].location.rpartition(":")[2]) - 1]


def test_tracebacks_and_source_stay_right():
    model = nasty.Functions()
    limen.swap_(model, "asau")
    with pytest.raises(RuntimeError) as caught:
        model(torch.randn(3, 5))
    frame = next(f for f in traceback.extract_tb(caught.value.__traceback__) if f.filename == nasty.__file__)
    assert frame.line == "x = F.relu(self.a(x))"
    assert inspect.getsource(type(model).forward) == inspect.getsource(nasty.Functions.forward)
    assert isinstance(model, nasty.Functions)
    assert type(model).__name__ == "Functions"


def test_share_instance_keeps_the_tie(inputs):
    model = nasty.Instances()
    report = limen.swap_(model, "asau", share="instance", example_inputs=inputs)
    assert [site.path for site in report.sites] == ["relu", "loop", "acts.gelu"]
    tied = nn.ReLU()
    pair = nn.Sequential(tied, nn.Linear(2, 2), tied)
    limen.swap_(pair, "asau", share="instance")
    assert pair[0] is pair[2]


def test_one_class_may_be_swapped_in_one_place_only(inputs):
    model = nn.Sequential(nasty.Functions(), nasty.Functions())
    report = limen.swap_(model, "asau", where="0.*", example_inputs=inputs)
    assert len(report.sites) == 9
    assert {site.reason for site in report.skipped} == {"not named by where"}
    assert type(model[1]) is nasty.Functions
    second = limen.swap_(model, "swish", where=["1.relu*", "0.relu_1"])
    assert {site.path for site in second.sites} == {"0.relu_1", "1.relu_1", "1.relu_2", "1.relu_3", "1.relu_4",
                                                    "1.relu_5"}  # fmt: skip
    assert isinstance(model[0].relu_1, limen.Swish)
    second.undo()
    report.undo()
    assert type(model[0]) is nasty.Functions
