"""Baking and applying: no bit changes, and models may call, share, overwrite, hook and freeze their activations."""

from __future__ import annotations

import copy

import pytest
import torch
from helpers_selection import MIXABLE, PAPER, all_on, alone, edges, network, same_bits, with_logits
from torch import nn

import limen
from limen.errors import PlanError


@pytest.mark.parametrize("winner", MIXABLE)
@pytest.mark.parametrize("backend", ["auto", "plain"])
def test_baking_changes_no_bit_when_one_weight_is_1(winner, backend):
    candidates = (winner, *(name for name in ("silu", "relu", "mish") if name != winner))
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        model = nn.Sequential(nn.Identity(), nn.ReLU()).to(dtype)
        limen.swap_(model, lambda: limen.AdAct(candidates))
        with_logits(model, alone(candidates, winner)).eval()
        x = edges(dtype)
        with limen.use_backend(backend):
            mixed = model(x)
            report = limen.bake_(model)
            assert not isinstance(model[1], limen.AdAct)
            assert same_bits(mixed, model(x))
            assert same_bits(mixed.detach(), torch.no_grad()(model)(x))
        report.undo()
        assert isinstance(model[1], limen.AdAct)


def test_a_weight_of_1_still_has_gradients():
    model = with_logits(network(("relu", "silu")), [1e4, -1e4], [1e4, -1e4]).eval()
    model(torch.randn(3, 4)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert model[1].logits.grad.eq(0).all()


def test_prelu_keeps_its_slope_and_rrelu_becomes_what_evaluation_used():
    model = with_logits(network(), alone(PAPER, "prelu"), alone(PAPER, "rrelu"))
    with torch.no_grad():
        model[1].candidates[3].weight.fill_(0.123)
    before = model[0].weight.clone()
    limen.bake_(model)
    assert isinstance(model[1], limen.PReLU)
    assert model[1].weight.item() == pytest.approx(0.123)
    assert model[1].weight.requires_grad
    assert isinstance(model[3], limen.LeakyReLU)
    assert model[3].negative_slope == pytest.approx(11 / 48, abs=1e-15)
    assert torch.equal(model[0].weight, before)


def test_a_mixture_at_two_places_stays_one_module():
    shared = limen.AdAct(("prelu", "mish"))
    model = nn.ModuleDict({"a": nn.Sequential(shared), "b": nn.Sequential(shared)})
    plan = limen.select(model)
    limen.bake_(model, plan)
    assert model["a"][0] is model["b"][0]
    assert isinstance(model["a"][0], limen.PReLU)


def test_apply_builds_the_choice_into_a_fresh_model():
    searched = with_logits(network(), alone(PAPER, "prelu"), alone(PAPER, "mish"))
    with torch.no_grad():
        searched[1].candidates[3].weight.fill_(0.4)
    plan = limen.select(searched)
    fresh = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 2)).to(torch.bfloat16)
    report = limen.apply_(fresh, plan)
    assert isinstance(fresh[1], limen.PReLU)
    assert fresh[1].weight.dtype == torch.float32
    assert fresh[1].weight.item() == 0.25
    assert isinstance(fresh[3], limen.Mish)
    report.undo()
    assert isinstance(fresh[3], nn.GELU)
    limen.apply_(fresh.float(), plan, keep_learned=True)
    assert fresh[1].weight.item() == pytest.approx(0.4)


def test_a_mixture_with_all_the_weight_in_one_place_can_be_traced():
    model = with_logits(network(("relu", "silu")), [1e4, -1e4], [0.0, 0.1]).eval()
    x = torch.randn(3, 4)
    traced = torch.fx.symbolic_trace(model)
    assert torch.equal(traced(x), model(x))
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    assert torch.allclose(compiled(x), model(x), atol=1e-6)
    grads = torch.func.vmap(torch.func.grad(lambda row: model(row).sum()))(x)
    assert grads.shape == x.shape


class Calling(nn.Module):
    """Activations called as functions, which a swap turns into modules."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(nn.functional.relu(self.first(x)).sigmoid())


def test_activations_called_as_functions_are_selected_too():
    searched, fresh = Calling(), Calling()
    limen.swap_(searched, lambda: limen.AdAct(("silu", "prelu")))
    plan = limen.select(searched)
    assert len(plan.sites) == 1
    limen.bake_(searched, plan)
    x = torch.randn(3, 4)
    before = fresh(x)
    report = limen.apply_(fresh, plan)
    fresh.load_state_dict(searched.state_dict())
    assert torch.equal(fresh(x), searched(x))
    silu = fresh.second(nn.functional.silu(fresh.first(x)).sigmoid())
    assert torch.allclose(fresh(x), silu, atol=1e-6)
    report.undo()
    assert not [m for m in fresh.modules() if isinstance(m, limen.Activation)]
    assert before.shape == fresh(x).shape


class Overwriting(nn.Module):
    """The sum is of what the activation left in its input."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


def overwriting_network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 4), Overwriting(), Overwriting()).eval()


def test_what_overwrites_its_input_still_does_after_baking_and_applying():
    original = overwriting_network()
    searched = copy.deepcopy(original)
    limen.swap_(searched, lambda: limen.AdAct(("silu", "relu")))
    x = torch.randn(5, 4)
    plan = limen.select(all_on(searched, "relu"))
    limen.bake_(searched, plan)
    assert torch.equal(searched(x), original(x))
    fresh = copy.deepcopy(original)
    limen.apply_(fresh, plan)
    assert torch.equal(fresh(x), original(x))
    grouped = all_on(copy.deepcopy(original), "relu")
    limen.swap_(grouped, lambda: limen.AdAct(("leaky_relu", "relu")))
    limen.bake_(all_on(grouped, "relu"), limen.select(grouped, rule="grouped"))
    assert torch.allclose(grouped(x), original(x), atol=1e-6)


def test_mixtures_tied_within_one_parent_are_all_baked():
    act = nn.ReLU()
    model = nn.Sequential(nn.Linear(4, 4), act, nn.Linear(4, 4), act, nn.Sequential(act))
    fresh = copy.deepcopy(model)
    limen.swap_(model, lambda: limen.AdAct(("prelu", "silu")), share="instance")
    plan = limen.select(model)
    assert [site.path for site in plan.sites] == ["1", "3", "4.0"]
    mixture = model[1]
    report = limen.bake_(model, limen.Plan(plan.sites[:1]))  # one place stands for all
    assert model[1] is model[3] is model[4][0]
    assert isinstance(model[1], limen.PReLU)
    assert [site.path for site in report.sites] == ["1", "3", "4.0"]
    report.undo()
    assert model[1] is model[3] is model[4][0] is mixture
    limen.apply_(fresh, plan, share="instance")
    assert fresh[1] is fresh[3] is fresh[4][0]


class Table(nn.Module):
    """Activations in a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.table = {"r": nn.functional.relu}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.table["r"](self.layer(x))


def test_a_mixture_held_in_a_dictionary_is_baked_there_too():
    model = Table()
    limen.swap_(model, lambda: limen.AdAct(("silu", "relu")))
    mixture = model.table["r"]
    report = limen.bake_(all_on(model, "silu"))
    assert isinstance(model.table["r"], limen.SiLU)
    x = torch.randn(3, 4)
    assert torch.allclose(model(x), nn.functional.silu(model.layer(x)), atol=1e-6)
    report.undo()
    assert model.table["r"] is mixture


def test_baking_takes_hooks_and_frozenness_over_and_its_undo_the_state_of_the_model():
    model = network(("prelu", "silu"))
    model[3].requires_grad_(False)
    calls: list[str] = []
    handle = model[1].register_forward_hook(lambda *_: calls.append("called"))
    report = limen.bake_(all_on(model, "prelu"))
    model(torch.randn(2, 4))
    assert calls == ["called"]
    handle.remove()
    assert not model[1]._forward_hooks
    assert [model[1].weight.requires_grad, model[3].weight.requires_grad] == [True, False]
    report.undo()
    report = limen.bake_(all_on(model, "silu"))  # SiLU has no parameter of its own to settle by
    model.eval().double()
    report.undo()
    assert model[1].logits.dtype == torch.float64
    model.train()
    report = limen.bake_(model)
    model.eval()
    report.undo()
    assert not model[1].training
    model(torch.randn(2, 4, dtype=torch.float64))


def test_undone_a_mixture_has_the_type_it_had_where_the_model_did_not_move():
    model = network(("silu", "mish"))
    model[1].double()
    limen.bake_(model).undo()
    assert [model[1].logits.dtype, model[3].logits.dtype] == [torch.float64, torch.float32]
    alone = nn.Sequential(limen.AdAct(("silu", "mish")))  # no other parameter says where the model is
    limen.bake_(alone).undo()
    assert isinstance(alone[0], limen.AdAct)


def test_applying_takes_hooks_and_frozenness_over():
    plan = limen.select(all_on(network(("prelu", "silu")), "prelu"))
    fresh = nn.Sequential(nn.Linear(4, 8), nn.PReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    fresh[1].requires_grad_(False)
    calls: list[str] = []
    fresh[1].register_forward_hook(lambda *_: calls.append("called"))
    limen.apply_(fresh, plan)
    fresh(torch.randn(2, 4))
    assert calls == ["called"]
    assert isinstance(fresh[1], limen.PReLU)
    assert [fresh[1].weight.requires_grad, fresh[3].weight.requires_grad] == [False, True]


def test_a_weight_layer_is_not_replaced_by_an_activation():
    plan = limen.select(network(("silu", "relu")))
    other = nn.Sequential(nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    with pytest.raises(PlanError, match="at '1' the model has Linear, which is not an activation"):
        limen.apply_(other, plan)
    assert [type(module) for module in other] == [nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]


class Reused(nn.Module):
    """One activation called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.relu = nn.Linear(4, 4), nn.Linear(4, 4), nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(self.b(self.relu(self.a(x))))


@pytest.mark.parametrize("share", ["site", "instance"])
def test_a_reused_activation_is_applied_as_it_was_searched(share):
    searched, fresh = Reused(), Reused()
    limen.swap_(searched, lambda: limen.AdAct(("prelu", "silu")), share=share)
    plan = limen.select(all_on(searched, "prelu"))
    limen.bake_(searched, plan)
    limen.apply_(fresh, plan, share=share)
    fresh.load_state_dict(searched.state_dict())
    x = torch.randn(3, 4)
    assert torch.equal(fresh(x), searched(x))
    assert len([m for m in fresh.modules() if isinstance(m, limen.PReLU)]) == (2 if share == "site" else 1)
