"""Replacing the activations of a model."""

from __future__ import annotations

import pytest
import torch
from helpers import KEEPING_SHAPE
from torch import nn
from torch.nn import functional as F

import limen
from limen.errors import SpecError


class Block(nn.Module):
    """One ReLU called twice, a gate, and a functional activation."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.relu = nn.ReLU(inplace=True)
        self.gate = nn.Sigmoid()

    def forward(self, x):
        x = self.relu(self.first(x))
        x = F.gelu(x)
        return x * self.gate(self.relu(self.second(x)))


def model() -> nn.Sequential:
    shared = nn.ReLU()
    return nn.Sequential(nn.Linear(3, 4), shared, Block(), shared, nn.ModuleDict({"act": nn.GELU()})["act"])


@pytest.mark.parametrize("name", KEEPING_SHAPE)
def test_swaps_every_module_and_leaves_the_weights(name):
    net = model()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    report = limen.swap_(net, name)
    assert [site.path for site in report.sites] == ["1", "3", "4", "2.relu", "2.gelu_1", "2.relu_2"]
    assert [site.path for site in report.skipped] == ["2.gate"]
    for key, value in before.items():
        assert torch.equal(net.state_dict()[key], value)
    net(torch.randn(5, 3)).sum().backward()
    ours = [m for m in net.modules() if isinstance(m, limen.Activation)]
    assert all(p.grad is not None for m in ours for p in m.parameters())


def test_a_shared_instance_becomes_one_object_a_site():
    net = model()
    limen.swap_(net, "asau")
    assert net[1] is not net[3]


def test_functional_calls_are_sites_with_file_and_line():
    report = limen.swap_(model(), "asau")
    assert report.unreached == []
    (call,) = [site for site in report.sites if site.path == "2.gelu_1"]
    assert call.location.startswith(f"{__file__}:")


def test_undo_restores_the_very_objects():
    net = model()
    originals = dict(net.named_modules(remove_duplicate=False))
    x = torch.randn(2, 3)
    before = net(x)
    report = limen.swap_(net, "asau")
    assert not torch.equal(net(x), before)
    report.undo()
    report.undo()
    assert {path: id(m) for path, m in net.named_modules(remove_duplicate=False)} == {
        path: id(m) for path, m in originals.items()
    }
    assert torch.equal(net(x), before)


def test_where_and_keep():
    net = model()
    report = limen.swap_(net, "swish", where=["2.*", nn.GELU], keep=lambda path, module: path == "2.relu")
    assert [site.path for site in report.sites] == ["4", "2.gate", "2.gelu_1", "2.relu_2"]
    assert {site.path: site.reason for site in report.skipped} == {
        "1": "not named by where",
        "3": "not named by where",
        "2.relu": "named by keep",
    }


def test_type_and_mode_follow_the_model():
    net = model().to(torch.bfloat16).eval()
    limen.swap_(net, "adact")
    mixtures = [m for m in net.modules() if isinstance(m, limen.AdAct)]
    of_mixtures = {id(p) for m in mixtures for p in m.parameters()}
    assert all((p.dtype == torch.float32) == (id(p) in of_mixtures) for p in net.parameters())
    assert not any(m.training for m in net.modules())


def test_swapping_twice_replaces_mixtures_whole():
    net = model()
    limen.swap_(net, "adact")
    report = limen.swap_(net, "relu")
    assert len(report.sites) == 6
    assert not any(isinstance(m, limen.AdAct) for m in net.modules())


def test_errors_come_before_anything_is_replaced():
    net = model()
    for wrong in ("asua", "asau:betta=1", "maxout"):
        with pytest.raises(SpecError):
            limen.swap_(net, wrong)
    assert not any(isinstance(m, limen.Activation) for m in net.modules())


def test_functions_held_as_attributes_are_sites():
    report = limen.swap_(nn.TransformerEncoderLayer(8, 2), "asau")
    assert [(site.path, site.before) for site in report.sites] == [("activation", "ReLU()")]
    assert [(site.path, site.reason) for site in report.skipped] == [
        ("self_attn", "a softmax inside torch's fused attention")
    ]


@pytest.mark.parametrize("wrong", [3, torch.relu, lambda: "asau"])
def test_what_makes_no_module_is_refused(wrong):
    with pytest.raises(SpecError, match="swap_"):
        limen.swap_(model(), wrong)


def test_layers_that_have_no_sizes_yet_are_no_activations():
    model = nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyBatchNorm1d())
    assert [site.path for site in limen.swap_(model, "asau").sites] == ["1"]
    assert model(torch.randn(2, 3)).shape == (2, 4)
