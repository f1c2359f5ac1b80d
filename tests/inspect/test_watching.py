"""``limen.inspect.watch`` and ``gradient_norms``: gradients and parameters against plain computations."""

from __future__ import annotations

import math

import pytest
import torch
from helpers_inspect import IMAGES, network
from torch import nn

import limen
from limen.errors import SpecError
from limen.inspect import gradient_norms, watch


def losses(model: nn.Module, steps: int, every: int = 1) -> tuple[object, list[list[float]], list[float]]:
    """Train while watching, and note the same by hand."""
    optimizer = torch.optim.SGD(limen.param_groups(model, 0.1))
    gradients, alphas = [], []
    with watch(model, every) as seen:
        for step in range(steps):
            optimizer.zero_grad()
            first = model[:3](IMAGES)
            first.retain_grad()
            second = model[3:6](first)
            second.retain_grad()
            model[6](second).square().mean().backward()
            if step % every == 0:
                gradients.append([float(first.grad.norm()), float(second.grad.norm())])
            optimizer.step()
            if step % every == 0:
                alphas.append(float(model[2].alpha.detach()))
    return seen, gradients, alphas


@pytest.mark.parametrize("every", [1, 2])
def test_gradients_and_parameters_over_training(every: int):
    model = network()
    seen, gradients, alphas = losses(model, 5, every)
    found = seen.gradients()
    assert found["2"] == pytest.approx([one for one, _ in gradients], rel=1e-5)
    assert found["5"] == pytest.approx([other for _, other in gradients], rel=1e-5)
    assert [row["alpha"] for row in seen.rows() if row["path"] == "2"] == pytest.approx(alphas)
    assert len(set(alphas)) == len(alphas)
    assert [step.step for step in seen.steps if step.path == "2"] == list(range(1, 6, every))
    axes = seen.plot()
    assert axes.get_yscale() == "log"
    assert len(axes.get_lines()) == 2
    assert list(seen.plot("alpha").get_lines()[0].get_ydata()) == pytest.approx(alphas)
    with pytest.raises(SpecError, match="possible are gradients, alpha, beta"):
        seen.plot("gamma")


def test_only_the_optimiser_of_the_model_counts_and_nothing_stays():
    model, other = network(), nn.Linear(1, 1)
    with watch(model) as seen:
        other(torch.ones(1, 1)).sum().backward()
        torch.optim.SGD(other.parameters(), lr=0.1).step()
        assert seen.steps == []
        seen.note()
    assert [math.isnan(step.gradient) for step in seen.steps] == [True, True]
    assert not any(module._forward_hooks for module in model.modules())
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert len(seen.steps) == 2


def test_gradients_of_a_closure_belong_to_its_step():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)

    def closure() -> float:
        loss = model(IMAGES).square().mean()
        loss.backward()
        return float(loss.detach())

    with watch(model.eval()) as seen:
        optimizer.step(closure)
        model(IMAGES).square().mean().backward()
        optimizer.step()
    first, second = seen.gradients()["2"]
    assert first == pytest.approx(second)


def test_accumulated_gradients_add_up():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)

    def norm(*parts: torch.Tensor) -> float:
        with watch(model.eval()) as seen:
            for part in parts:
                model(part).sum().backward()
            optimizer.step()
        return seen.gradients()["2"][0]

    together, apart = norm(IMAGES), norm(IMAGES[:8], IMAGES[8:])
    ash_free = together == pytest.approx(apart, rel=1e-5)
    assert ash_free


def test_weights_gradients_by_hand():
    model = network()
    model(IMAGES).square().mean().backward()
    found = gradient_norms(model)
    assert list(found) == ["0.weight", "0.bias", "1.weight", "1.bias", "4.weight", "4.bias", "6.weight", "6.bias"]
    assert found["4.weight"] == pytest.approx(float(model[4].weight.grad.norm()), rel=1e-6)
