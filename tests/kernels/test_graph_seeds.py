"""Noise in compiled programs: one seed forward and backward, whatever is computed again, and none of torch's draws."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import thoroughly
from torch import Tensor, nn
from torch._functorch import config
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import limen

QUICK = "aot_eager_decomp_partition"
"""Divides a program between forward and backward as Inductor does, and compiles nothing."""


def only_rrelu() -> limen.AdAct:
    mixture = limen.AdAct(("rrelu", "relu")).train()
    with torch.no_grad():
        mixture.logits.copy_(torch.tensor([30.0, -30.0]))
    return mixture


def compiled(function: Any, backend: str = QUICK) -> Any:
    torch._dynamo.reset()
    return torch.compile(function, fullgraph=True, backend=backend)


def error_of_gradient(step: Any, dtype: torch.dtype = torch.float32) -> float:
    """The largest error of the input's gradient, from the slopes that the forward pass had.

    ``step`` gives an activation of cos(x) − 1.5, which is below 0.
    """
    x = torch.randn(16, 32, dtype=dtype, requires_grad=True)
    y = step(x)
    y.sum().backward()
    slopes = y.detach() / (torch.cos(x.detach()) - 1.5)
    assert slopes.std() > 1e-3
    assert x.grad is not None
    return float((x.grad + slopes * torch.sin(x.detach())).abs().max())


@pytest.mark.parametrize(
    ("backend", "budget"),
    [
        (QUICK, 0.0),
        (QUICK, 1.0),
        *thoroughly([(QUICK, 0.5), *(("inductor", budget) for budget in (0.0, 0.5, 1.0))], usual=()),
    ],
)
def test_recomputed_noise_is_the_same(backend: str, budget: float) -> None:
    layers = nn.Sequential(limen.RReLU(), only_rrelu()).train()
    step = compiled(lambda x: layers(torch.cos(x) - 1.5), backend)
    with config.patch(activation_memory_budget=budget):
        assert error_of_gradient(step) < 1e-5
        assert error_of_gradient(step) < 1e-5


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["rrelu", "adact"])
@config.patch(activation_memory_budget=0.0)
def test_recomputed_noise_of_the_plain_formula(name: str) -> None:
    module = only_rrelu() if name == "adact" else limen.RReLU().train()
    with limen.use_backend("plain"):
        assert error_of_gradient(compiled(lambda x: module(torch.cos(x) - 1.5))) < 1e-5
    assert error_of_gradient(compiled(lambda x: module(torch.cos(x) - 1.5)), torch.float64) < 1e-12


def test_checkpointed_within_and_around() -> None:
    module = limen.RReLU().train()

    def body(x: Tensor) -> Tensor:
        return module(torch.cos(x) - 1.5)

    within = compiled(lambda x: checkpoint(body, x, use_reentrant=False) * 1.0)
    assert error_of_gradient(within) < 1e-6
    program = compiled(body)
    for reentrant in (True, False):
        around = lambda x: checkpoint(program, x, use_reentrant=reentrant)  # noqa: B023, E731
        assert error_of_gradient(around) < 1e-6


def test_every_call_and_every_run_draws_anew_and_manual_seed_repeats() -> None:
    module, x = limen.RReLU().train(), -torch.ones(50)
    program = compiled(lambda x: (module(x), module(x)), "aot_eager")
    torch.manual_seed(5)
    found = [*program(x), *program(x)]
    assert len({tuple(y.tolist()) for y in found}) == 4
    torch.manual_seed(5)
    assert all(map(torch.equal, [*program(x), *program(x)], found))


def test_a_run_for_inference_leaves_the_next_one_a_cell_to_train_with() -> None:
    program = compiled(limen.RReLU().train(), "aot_eager")
    with torch.inference_mode(), torch.device("meta"):
        program(torch.ones(3, device="cpu"))
    x = torch.ones(3, requires_grad=True)
    program(x).sum().backward()
    assert torch.equal(x.grad, torch.ones(3))


def test_moves_nothing_that_torch_draws() -> None:
    def drawn(module: nn.Module) -> list[Tensor]:
        program = compiled(lambda x: F.dropout(module(x) * 0 + 1), "aot_eager")
        torch.manual_seed(2)
        return [program(torch.ones(60)), program(torch.ones(60)), torch.rand(3)]

    sampled = limen.AdAct(("relu", "rrelu")).train()
    sampled.shape_weights().gumbel = True
    reference = drawn(limen.ReLU())
    for module in (limen.RReLU().train(), sampled):
        assert all(map(torch.equal, drawn(module), reference))


@pytest.mark.slow
def test_samples_of_vmap_as_randomness_says() -> None:
    module, x = limen.RReLU().train(), -torch.ones(2, 50)
    for randomness, alike in (("same", True), ("different", False)):
        program = compiled(torch.func.vmap(module, randomness=randomness), "aot_eager")
        assert torch.equal(*program(x)) == alike
