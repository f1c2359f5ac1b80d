"""The optimisers of runs: torch's own steps, to the last bit, without torch's compiler."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from helpers_lab import tiny
from torch import Tensor, nn

from limen.lab.training import optimisers
from limen.lab.training.optimisers import optimiser_of

STEPS = 40
THEIRS: dict[str, Any] = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}
WITHOUT_COMPILER = """
import sys
from limen.cli import main
try:
    main()
finally:
    print(sorted({"torch._dynamo", "lightning", "torchmetrics"} & set(sys.modules)))
"""


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(63, 127), nn.ReLU(), nn.Linear(127, 33), nn.ReLU(), nn.Linear(33, 3))


def gradients(of: nn.Module) -> Iterator[list[Tensor]]:
    generator = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        scale = 10 ** (torch.rand(1, generator=generator) * 6 - 4)
        yield [torch.randn(parameter.shape, generator=generator) * scale for parameter in of.parameters()]


def trained(of: nn.Module, optimiser: torch.optim.Optimizer) -> list[Tensor]:
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    for found in gradients(of):
        optimiser.zero_grad()
        assert all(parameter.grad is None for parameter in of.parameters())
        for parameter, gradient in zip(of.parameters(), found, strict=True):
            parameter.grad = gradient
        optimiser.step()
        schedule.step()
    return [parameter.detach() for parameter in of.parameters()]


@pytest.mark.parametrize("small", [True, False], ids=["together", "each"])
@pytest.mark.parametrize("decay", [0.0, 0.05])
@pytest.mark.parametrize("name", THEIRS)
def test_a_step_is_torchs_to_the_last_bit(monkeypatch: Any, name: str, decay: float, small: bool) -> None:
    monkeypatch.setattr(optimisers, "SMALL", 10**6 if small else 1)
    mine = network()
    theirs = copy.deepcopy(mine)
    momentum = {"momentum": 0.9, "nesterov": True} if name == "sgd" else {}
    settings = tiny(optimizer=name, weight_decay=decay, learning_rate=1e-2, **momentum)
    optimiser = optimiser_of(mine, settings)
    assert optimiser.defaults["foreach"] is (True if small else None)
    wanted = THEIRS[name](theirs.parameters(), lr=1e-2, weight_decay=decay, **momentum)
    for one, other in zip(trained(mine, optimiser), trained(theirs, wanted), strict=True):
        assert torch.equal(one, other)


def test_gradients_can_be_filled_with_zeros() -> None:
    mine = network()
    optimiser = optimiser_of(mine, tiny())
    weight, bias = [*mine.parameters()][:2]
    weight.grad = torch.ones_like(weight)
    optimiser.zero_grad(set_to_none=False)
    assert weight.grad is not None
    assert weight.grad.abs().max() == 0
    assert bias.grad is None


@pytest.mark.slow
def test_a_study_imports_no_compiler(tmp_path: Any) -> None:
    words = ["--data=digits", "--network=mlp", "--seeds=1", "--epochs=1", "--activations=relu,asau", "--jobs=1"]
    command = [sys.executable, "-c", WITHOUT_COMPILER, "compare", *words, f"--out={tmp_path / 'study'}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
