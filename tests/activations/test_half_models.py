"""Activations in models of a half type: parameters that learn, types that were asked for, copies and states."""

from __future__ import annotations

import copy

import pytest
import torch
from helpers import LEARNING
from torch import nn

import limen

HALVES = pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)


def types(module: nn.Module) -> set[torch.dtype]:
    return {tensor.dtype for tensor in (*module.parameters(), *module.buffers()) if tensor.is_floating_point()}


@HALVES
@pytest.mark.parametrize("name", LEARNING)
class TestInAModelThatBecomesHalf:
    def test_parameters_stay_float32(self, name, half):
        model = nn.Sequential(nn.Linear(3, 3), limen.create(name), nn.Sequential(limen.create(name, num_parameters=3)))
        before = copy.deepcopy(model[1].state_dict())
        for convert in (lambda m: m.to(half), lambda m: m.bfloat16(), lambda m: m.half(), lambda m: m.double().half()):
            moved = convert(copy.deepcopy(model))
            assert types(moved[0]) < {torch.bfloat16, torch.float16}
            assert types(moved[1:]) == {torch.float32}
            assert all(torch.equal(value, before[key]) for key, value in moved[1].state_dict().items())
            assert types(copy.deepcopy(moved)[1:]) == {torch.float32}

    def test_the_result_is_half_and_gradients_are_float32(self, name, half):
        activation = limen.create(name).to(half)
        x = torch.randn(2, 3, dtype=half, requires_grad=True)
        for backend in ("auto", "plain"):
            with limen.use_backend(backend):
                y = activation(x)
            gradients = torch.autograd.grad(y.sum(), [x, *activation.parameters()])
            assert y.dtype == gradients[0].dtype == half
            assert {gradient.dtype for gradient in gradients[1:]} == {torch.float32}

    def test_a_half_type_that_was_asked_for_is_kept(self, name, half):
        activation = limen.create(name, dtype=half)
        assert types(activation) == {half}
        assert types(activation.float()) == {torch.float32}
        assert types(copy.deepcopy(activation).to(half)) == {half}

    def test_half_states_load_and_float32_ones_fit_half_modules(self, name, half):
        rounded, kept = limen.create(name, dtype=half), limen.create(name).to(half)
        kept.load_state_dict(rounded.state_dict())
        assert types(kept) == {torch.float32}
        rounded.load_state_dict(kept.state_dict())
        assert types(rounded) == {half}


def test_made_where_a_half_type_is_the_default():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        made = [limen.ASAU(), limen.AdAct(), limen.ASAU(dtype=torch.bfloat16)]
    finally:
        torch.set_default_dtype(before)
    assert [types(module) for module in made] == [{torch.float32}, {torch.float32}, {torch.bfloat16}]


def test_steps_of_a_usual_rate_move_them():
    model = nn.Sequential(nn.Identity(), nn.ReLU()).bfloat16()
    limen.swap_(model, "asau")
    x = torch.randn(256, dtype=torch.bfloat16)
    target = limen.ASAU(beta=2.0)(x.float()).detach()
    optimiser = torch.optim.AdamW(limen.param_groups(model.bfloat16(), 1e-3))
    for _ in range(20):
        optimiser.zero_grad()
        (model(x).float() - target).square().mean().backward()
        optimiser.step()
    assert model[1].beta.item() == pytest.approx(1.02, abs=2e-3)


class TestSwapped:
    @pytest.mark.parametrize("model_type", [torch.bfloat16, torch.float32, torch.float64], ids=str)
    @pytest.mark.parametrize("asked", [torch.bfloat16, torch.float32, torch.float64], ids=str)
    def test_a_type_that_was_asked_for_stays(self, model_type, asked):
        for to in (lambda: limen.ASAU(dtype=asked), limen.AdAct(("prelu", "mish"), dtype=asked)):
            model = nn.Sequential(nn.Linear(2, 2), nn.ReLU()).to(model_type)
            limen.swap_(model, to)
            assert types(model[1]) == {asked}
            assert types(model[0]) == {model_type}

    def test_modules_of_torch_get_the_type_of_the_model_around_float32_activations(self):
        model = nn.Sequential(nn.Linear(2, 2), nn.ReLU()).bfloat16()
        limen.swap_(model, "asau")
        limen.swap_(model, nn.PReLU)
        assert types(model) == {torch.bfloat16}

    def test_an_original_comes_back_in_the_type_of_its_model(self):
        for later, want in ((None, torch.bfloat16), (torch.float64, torch.float64), (torch.float32, torch.float32)):
            model = nn.Sequential(nn.Linear(2, 2), nn.PReLU()).bfloat16()
            report = limen.swap_(model, "asau")
            if later is not None:
                model.to(later)
            report.undo()
            assert types(model) == {want}
