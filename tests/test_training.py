"""Parameter groups for training models whose activations learn."""

from __future__ import annotations

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
