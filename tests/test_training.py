"""Parameter groups for training models whose activations learn."""

from __future__ import annotations

import torch
from torch import nn

import limen


def test_param_groups_keep_activations_from_decay():
    pairs = [(limen.ASAU(), nn.Sequential(nn.Linear(4, 4), limen.ASAU())) for _ in range(3)]
    net = nn.Sequential(*(module for pair in pairs for module in pair))
    net[1][0].weight.requires_grad_(False)
    others, ours = limen.param_groups(net, 1e-3, 0.1, activation_lr=1e-2)
    assert (others["lr"], others["weight_decay"]) == (1e-3, 0.1)
    assert (ours["lr"], ours["weight_decay"]) == (1e-2, 0.0)
    assert len(ours["params"]) == 12
    assert len(others["params"]) == 5
    assert len(limen.param_groups(nn.Linear(2, 2), 1e-3)) == 1


def test_a_report_has_the_new_parameters_for_an_optimizer_made_before():
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.PReLU())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    report = limen.swap_(model, "asau")
    assert "new parameters are in no optimizer made before" in str(report)
    optimizer.add_param_group({"params": report.parameters()})
    before = [parameter.clone() for parameter in report.parameters()]
    model(torch.randn(8, 4)).square().mean().backward()
    optimizer.step()
    assert all(not torch.equal(a, b) for a, b in zip(before, report.parameters(), strict=True))
    assert {id(p) for p in report.parameters()} <= {id(p) for p in limen.activation_parameters(model)}
    assert "optimizer" not in str(limen.swap_(model, "silu"))
