"""A network whose layers learn their sizes from their first input is built as any other."""

from __future__ import annotations

import pytest
import torch
from helpers_lab import experiment_of, tiny
from torch import nn

from limen.lab.training import run


def test_lazy_layers_have_sizes_and_weights_by_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = experiment_of(tiny())

    def made(*_: object) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.LazyLinear(12), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(10))

    monkeypatch.setattr(type(experiment.task), "build", made)
    state = torch.get_rng_state()
    one, same, other = (run.bare(experiment, seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert one["1.weight"].shape == (12, 64)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["1.weight"], other["1.weight"])
    assert torch.equal(one["2.running_mean"], torch.zeros(12))
    record = run.run(experiment, "asau", 0)
    assert record.status == "finished"
