"""The discretisation gap: what is lost when a mixture is replaced by its winner."""

from __future__ import annotations

import copy

import pytest
import torch
from helpers_selection import network, with_logits
from torch import nn

import limen
from limen.selection import Gap, discretisation_gap


def test_gap_of_mixture_and_baked():
    model = with_logits(network(("relu", "silu")), [0.2, 0.0], [0.0, 0.1])
    x = torch.randn(16, 4)
    baked = copy.deepcopy(model)
    limen.bake_(baked)
    found = discretisation_gap(model, lambda m: m(x).sum().item())
    with torch.no_grad():
        assert found == Gap(model.eval()(x).sum().item(), baked.eval()(x).sum().item())
    assert found.gap == found.mixture - found.baked
    assert isinstance(model[1], limen.AdAct)


def test_the_gap_leaves_every_module_in_its_mode():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 4))
    limen.swap_(model, "adact")
    model[1].eval()
    x = torch.randn(6, 4)
    discretisation_gap(model, lambda m: float(m(x).sum()) if not m[3].training else pytest.fail("not in evaluation"))
    assert [module.training for module in model] == [True, False, True, True]
