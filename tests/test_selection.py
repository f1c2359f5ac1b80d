"""From mixture to plan to optimised network."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import KEEPING_SHAPE
from torch import nn

import limen
from limen.errors import PlanError, SpecError
from limen.selection import Gap, discretisation_gap, merge
from limen.selection.choice import TWO_LINES
from limen.selection.families import negative_slope

PAPER = ("relu", "elu", "leaky_relu", "prelu", "rrelu", "silu", "mish")
MIXABLE = tuple(name for name in KEEPING_SHAPE if name != "adact")
BITS = {torch.float32: torch.int32, torch.float64: torch.int64, torch.bfloat16: torch.int16, torch.float16: torch.int16}


def network(candidates: tuple[str, ...] = PAPER, **named: object) -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    limen.swap_(model, lambda: limen.AdAct(candidates, **named))
    return model


def with_logits(model: nn.Module, *logits: list[float]) -> nn.Module:
    mixtures = [module for module in model.modules() if isinstance(module, limen.AdAct)]
    with torch.no_grad():
        for mixture, values in zip(mixtures, logits, strict=True):
            mixture.logits.copy_(torch.tensor(values))
    return model


def alone(candidates: tuple[str, ...], winner: str) -> list[float]:
    return [1e4 if name == winner else -1e4 for name in candidates]


def edges(dtype: torch.dtype) -> torch.Tensor:
    torch.manual_seed(0)
    special = torch.tensor([0.0, -0.0, 30.0, -30.0, 200.0, -200.0, 1e-6, -1e-6])
    return torch.cat([3 * torch.randn(4088), special]).to(dtype).reshape(8, 512)


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.equal(a.view(BITS[a.dtype]), b.view(BITS[b.dtype]))


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


def test_plan_says_winner_weights_margin_entropy():
    model = with_logits(network(("relu", "silu", "mish")), [0.0, 2.0, 1.0], [0.0, 0.0, 0.0])
    first, second = limen.select(model).sites
    shares = torch.tensor([0.0, 2.0, 1.0]).softmax(0).tolist()
    assert (first.path, first.winner, first.runner_up, first.activation) == ("1", "silu", "mish", "silu")
    assert list(first.weights.values()) == pytest.approx(shares)
    assert first.margin == pytest.approx(shares[1] - shares[2])
    entropy = -sum(s * torch.tensor(s).log().item() for s in shares) / torch.tensor(3.0).log().item()
    assert first.entropy == pytest.approx(entropy, abs=1e-6)
    assert second.entropy == pytest.approx(1.0)
    assert second.winner == "relu"
    assert first.verdict == "one seed"
    assert "One seed cannot tell" in str(limen.select(model))


def test_several_seeds_agree_or_are_noise():
    def seed(first: float, second: float) -> nn.Module:
        return with_logits(network(("silu", "mish")), [first, 0.0], [second, 0.0])

    plan = limen.select([seed(1.0, 0.1), seed(1.1, -0.2), seed(0.9, 0.15)])
    clear, noisy = plan.sites
    assert (clear.verdict, clear.agreement) == ("clear", 1.0)
    assert noisy.verdict == "noise"
    assert noisy.agreement == pytest.approx(2 / 3)
    assert noisy.winners.count("silu") == 2
    low, high = noisy.margin_interval
    # Student's t with 2 degrees of freedom, by hand.
    margins = torch.tensor(noisy.margins, dtype=torch.float64)
    reach = 4.302653 * margins.std().item() / 3**0.5
    assert (low, high) == pytest.approx((margins.mean().item() - reach, margins.mean().item() + reach), abs=1e-5)
    assert ["order is noise" in warning for warning in plan.warnings()] == [True]
    assert plan.seeds == 3


def test_only_slopes_are_told_apart_from_shapes():
    slopes = {name: negative_slope(limen.create(name)) for name in MIXABLE}
    lines = {name: slope for name, slope in slopes.items() if slope is not None}
    assert lines == pytest.approx({"relu": 0.0, "leaky_relu": 0.01, "prelu": 0.25, "rrelu": 11 / 48})
    for channel_dim in (1, -1, 0, 2, -2):
        many = limen.PReLU(0.5, num_parameters=3, channel_dim=channel_dim)
        assert negative_slope(many) == pytest.approx(0.5)


def test_slope_only_candidates_are_grouped_on_request():
    logits = [0.5, 0.0, 0.5, 0.5, 0.5, 0.0, 0.7]
    model = with_logits(network(), logits, logits)
    single = limen.select(model).sites[0]
    assert single.winner == "mish"
    assert "weigh 0.6" in single.warnings()[0]
    grouped = limen.select(model, rule="grouped").sites[0]
    assert grouped.winner == TWO_LINES
    slope = (0.0 + 0.01 + 0.25 + 11 / 48) / 4
    assert grouped.joint_slope == pytest.approx(slope, abs=1e-6)
    x = torch.tensor([[-2.0, 3.0, -1.0, 0.5, 0.0, -8.0, 1.0, 2.0]])
    limen.bake_(model, limen.select(model, rule="grouped"))
    assert isinstance(model[1], limen.PReLU)
    assert torch.allclose(model[1](x), torch.where(x > 0, x, slope * x))
    fresh = network()
    limen.apply_(fresh, limen.Plan((grouped,), "grouped"))
    assert fresh[1].weight.item() == pytest.approx(slope, abs=1e-6)


def test_a_winner_among_slopes_says_so():
    model = with_logits(network(), [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0], [0.0] * 7)
    choice = limen.select(model).sites[0]
    assert choice.winner == "leaky_relu"
    assert "in the negative slope only" in choice.warnings()[0]
    assert "prelu 0.25" in choice.warnings()[0]


def test_plan_survives_the_file(tmp_path: Path):
    plan = limen.select([network(), with_logits(network(), [1.0] + [0.0] * 6, [0.0] * 7)])
    plan.save(tmp_path / "plan.json")
    assert limen.Plan.load(tmp_path / "plan.json") == plan
    stored = json.loads((tmp_path / "plan.json").read_text())
    assert stored["format"] == "limen.plan"
    assert stored["version"] == 1
    assert stored["sites"][0]["candidates"]["prelu"] == "prelu"
    assert not [path for path in tmp_path.iterdir() if path.name != "plan.json"]


def damaged(change) -> dict:
    stored = limen.select(network(("relu", "silu"))).as_dict()
    change(stored)
    return stored


DAMAGES = {
    "lacks the field 'sites'": lambda p: p.pop("sites"),
    "unknown field 'colour'": lambda p: p.update(colour="red"),
    "version 2": lambda p: p.update(version=2),
    "is not a plan": lambda p: p.update(format="other"),
    "'version' must be a whole number": lambda p: p.update(version="1"),
    "the rule 'best'": lambda p: p.update(rule="best"),
    "the winner 'mish' is not among": lambda p: p["sites"][0].update(winner="mish"),
    "must hold finite numbers": lambda p: p["sites"][0]["seeds"][0]["weights"].update(relu="much"),
    "between 0 and 1": lambda p: p["sites"][0]["seeds"][0]["weights"].update(relu=1.5),
    "unknown field 'weigths'": lambda p: p["sites"][0].update(weigths={}),
    "the same candidates": lambda p: p["sites"][0]["seeds"][0]["logits"].pop("relu"),
    "there must be seeds": lambda p: p["sites"][0].update(seeds=[]),
    "named twice": lambda p: p["sites"].append(p["sites"][0]),
    "there must be sites": lambda p: p.update(sites=[]),
    "must be a JSON object": lambda p: p["sites"].append(3),
}


@pytest.mark.parametrize("sentence", DAMAGES)
def test_a_damaged_plan_is_one_sentence(sentence, tmp_path: Path):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(damaged(DAMAGES[sentence])))
    with pytest.raises(PlanError, match=sentence.replace("(", r"\(")) as caught:
        limen.Plan.load(path)
    assert str(path) in str(caught.value)


def test_what_is_no_json_is_one_sentence(tmp_path: Path):
    (tmp_path / "plan.json").write_bytes(b"\xff\xfe not json")
    with pytest.raises(PlanError, match="is not JSON"):
        limen.Plan.load(tmp_path / "plan.json")


def test_apply_builds_the_choice_into_a_fresh_model():
    searched = with_logits(network(), alone(PAPER, "prelu"), alone(PAPER, "mish"))
    with torch.no_grad():
        searched[1].candidates[3].weight.fill_(0.4)
    plan = limen.select(searched)
    fresh = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 2)).to(torch.bfloat16)
    report = limen.apply_(fresh, plan)
    assert isinstance(fresh[1], limen.PReLU)
    assert fresh[1].weight.dtype == torch.bfloat16
    assert fresh[1].weight.item() == 0.25
    assert isinstance(fresh[3], limen.Mish)
    report.undo()
    assert isinstance(fresh[3], nn.GELU)
    limen.apply_(fresh.float(), plan, keep_learned=True)
    assert fresh[1].weight.item() == pytest.approx(0.4)


def test_per_channel_mixtures_are_chosen_by_their_mean():
    model = nn.Sequential(nn.Linear(4, 3), limen.AdAct(("prelu", "silu"), num_parameters=3))
    with torch.no_grad():
        model[1].logits.copy_(torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 0.5]]))
        model[1].candidates[0].weight.copy_(torch.tensor([0.1, 0.2, 0.3]))
    plan = limen.select(model)
    assert plan.sites[0].winner == "prelu"
    assert plan.sites[0].activation == "prelu:num_parameters=3"
    limen.bake_(model, plan)
    assert model[1].weight.tolist() == pytest.approx([0.1, 0.2, 0.3])


def test_a_plan_of_another_model_changes_nothing():
    plan = limen.select(network())
    other = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
    with pytest.raises(PlanError, match="no module at '3'"):
        limen.apply_(other, plan)
    assert isinstance(other[1], nn.ReLU)
    with pytest.raises(PlanError, match="no mixture"):
        limen.bake_(other, limen.Plan(plan.sites[:1]))
    with pytest.raises(PlanError, match="no mixture to select from"):
        limen.select(other)
    with pytest.raises(PlanError, match="no candidate 'mish'"):
        limen.bake_(
            network(("relu", "silu")), limen.select(with_logits(network(), alone(PAPER, "mish"), alone(PAPER, "mish")))
        )
    with pytest.raises(PlanError, match="built alike"):
        limen.select([network(), network(("relu", "silu"))])
    with pytest.raises(SpecError, match="rule"):
        limen.select(network(), rule="best")
    with pytest.raises(PlanError, match="at least one"):
        merge([])


def test_an_unregistered_candidate_is_refused_by_name():
    class Odd(limen.Activation):
        @staticmethod
        def formula(x):
            return -x

    model = nn.Sequential(nn.Linear(2, 2), limen.AdAct((Odd(), limen.SiLU())))
    with pytest.raises(SpecError, match=r"Odd has no name .* @limen.register"):
        limen.select(model)


def test_specs_of_candidates_with_arguments_build_them_again():
    chosen = (limen.ASAU(beta=2.0, learned=("alpha",)), limen.ASH(context="channel"), limen.GELU(approximate="tanh"))
    model = nn.Sequential(nn.Linear(2, 2), limen.AdAct(chosen))
    specs = limen.select(model).sites[0].specs
    rebuilt = [limen.create(spec) for spec in specs.values()]
    assert [repr(module) for module in rebuilt] == [repr(module) for module in chosen]
    assert isinstance(rebuilt[0].alpha, nn.Parameter)
    assert not isinstance(rebuilt[0].beta, nn.Parameter)


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


def test_any_candidates_are_one_kernel(monkeypatch: pytest.MonkeyPatch):
    from limen.kernels import c, dispatch

    mixture = limen.AdAct(("ash", "asau", "apalu", "silu"))
    if dispatch.why_no_kernel(mixture._bound[0]):
        pytest.skip("no compiler here")
    calls: list[object] = []
    original = c.run_forward

    def counted(bound, *args):
        calls.append(bound)
        return original(bound, *args)

    monkeypatch.setattr(c, "run_forward", counted)
    x = torch.randn(4, 8, 16, 16)
    with limen.use_backend("c"):
        fused = mixture(x)
        assert calls == [mixture._bound[True]]
        one_by_one = sum(w * f(x) for w, f in zip(mixture.weights, mixture.members, strict=True))
    assert torch.allclose(fused, one_by_one, atol=1e-6)


PLANTED = ("elu", "silu", "selu", "softplus", "leaky_relu:negative_slope=0.4")


@pytest.mark.parametrize("seed", range(10))
def test_a_planted_activation_is_found(seed):
    """A teacher of the student's build, with one candidate's activation: only that candidate alone is right."""
    torch.manual_seed(seed)
    candidates = PLANTED
    planted = candidates[seed % len(candidates)]
    teacher = nn.Sequential(nn.Linear(4, 16), limen.create(planted), nn.Linear(16, 4), limen.create(planted))
    student = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 4), nn.ReLU())
    limen.swap_(student, lambda: limen.AdAct(candidates))
    x = torch.randn(512, 4) * 4  # wide enough for the candidates to differ
    with torch.no_grad():
        y = teacher(x)
        student[2].load_state_dict(teacher[2].state_dict())
        student[0].load_state_dict(teacher[0].state_dict())
        for layer in (student[0], student[2]):  # near the teacher's weights, which are learned again too
            layer.weight.add_(0.05 * torch.randn_like(layer.weight))
    optimiser = torch.optim.Adam(limen.param_groups(student, 1e-2, activation_lr=1e-1))
    for _ in range(300):
        optimiser.zero_grad()
        loss = (student(x) - y).square().mean()
        loss.backward()
        optimiser.step()
    plan = limen.select(student)
    assert set(plan.winners.values()) == {planted}, str(plan)
    assert loss.item() < 1e-2 * y.var().item()


def test_selection_needs_torch_alone(tmp_path: Path):
    """Without any package of the lab: search, plan, file, bake, apply."""
    script = f"""
import sys
for name in ("pydantic", "lightning", "scipy", "sklearn", "numpy.testing", "rich", "typer", "matplotlib"):
    sys.modules[name] = None
import torch, limen
model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU())
limen.swap_(model, "adact")
limen.selection.drop_hopeless_(model, 0.01)
limen.select(model).save({str(tmp_path / "plan.json")!r})
plan = limen.Plan.load({str(tmp_path / "plan.json")!r})
limen.bake_(model, plan)
limen.apply_(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU()), plan)
assert not any(name.startswith("limen.lab") for name in sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


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


def all_on(model: nn.Module, winner: str) -> nn.Module:
    for module in model.modules():
        if isinstance(module, limen.AdAct):
            with torch.no_grad():
                module.logits.copy_(torch.tensor(alone(module.names, winner)))
    return model


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


def test_the_gap_leaves_every_module_in_its_mode():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 4))
    limen.swap_(model, "adact")
    model[1].eval()
    x = torch.randn(6, 4)
    discretisation_gap(model, lambda m: float(m(x).sum()) if not m[3].training else pytest.fail("not in evaluation"))
    assert [module.training for module in model] == [True, False, True, True]


def edited(tmp_path: Path, change) -> limen.Plan:
    """The plan of two seeds whose PReLU won, as a file that a person has edited at its first site."""
    searched = all_on(network(("prelu", "silu", "relu")), "prelu")
    stored = limen.select([searched, searched]).as_dict()
    change(stored["sites"][0])
    (tmp_path / "plan.json").write_text(json.dumps(stored))
    return limen.Plan.load(tmp_path / "plan.json")


EDITS = {
    r"'prelu.weight' must have as many values in every seed, and it has none in seed 0 and 1 in seed 1": lambda site: (
        site["seeds"][0]["parameters"].clear()
    ),
    "it has 1 in seed 0 and none in seed 1": lambda site: site["seeds"][1]["parameters"].clear(),
    "it has 1 in seed 0 and 2 in seed 1": lambda site: site["seeds"][1]["parameters"].update({"prelu.weight": [1, 2]}),
    "'mish' is not that of the winner 'prelu', 'prelu'": lambda site: site.update(activation="mish"),
    "'silu' is not that of the winner 'prelu', 'prelu'": lambda site: site.update(activation="silu"),
    "'maxout' is not that of the winner": lambda site: site.update(activation="maxout", winner="silu"),
}


@pytest.mark.parametrize("sentence", EDITS)
def test_a_plan_edited_into_disagreement_is_refused(sentence, tmp_path: Path):
    with pytest.raises(PlanError, match=sentence) as caught:
        edited(tmp_path, EDITS[sentence])
    assert "plan.json" in str(caught.value)


def test_a_winner_changed_by_hand_is_built(tmp_path: Path):
    plan = edited(tmp_path, lambda site: site.update(winner="silu"))
    assert plan.sites[0].activation == "silu"
    fresh = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    limen.apply_(fresh, plan, keep_learned=True)
    assert [type(fresh[1]), type(fresh[3])] == [limen.SiLU, limen.PReLU]


def test_learned_values_that_do_not_fit_are_refused_and_nothing_is_changed(tmp_path: Path):
    def fresh() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))

    for values, had in (([0.1, 0.2], "2"), (None, "none")):
        parameters = {} if values is None else {"prelu.weight": values}
        plan = edited(tmp_path, lambda site, p=parameters: [seed.update(parameters=p) for seed in site["seeds"]])
        model = fresh()
        with pytest.raises(PlanError, match=f"must have 1 learned values of 'weight' in the plan, and it has {had}"):
            limen.apply_(model, plan, keep_learned=True)
        assert isinstance(model[3], nn.ReLU)
        limen.apply_(model, plan)
    shaped = edited(
        tmp_path,
        lambda site: site.update(activation="maxout", candidates={**site["candidates"], "prelu": "maxout"}),
    )
    with pytest.raises(PlanError, match="'maxout' changes the shape"):
        limen.apply_(model := fresh(), shaped)
    assert isinstance(model[1], nn.ReLU)


def test_a_plan_that_is_not_there_is_one_sentence(tmp_path: Path):
    for path in (tmp_path / "nope.json", tmp_path):
        with pytest.raises(PlanError, match=r"cannot be read .*give a file that Plan\.save wrote"):
            limen.Plan.load(path)


def test_a_grouped_plan_survives_the_file(tmp_path: Path):
    plan = limen.select(with_logits(network(), [0.1] * 7, [0.2, *[0.0] * 6]), rule="grouped")
    assert plan.sites[0].winner == TWO_LINES
    plan.save(tmp_path / "plan.json")
    assert limen.Plan.load(tmp_path / "plan.json") == plan
    limen.apply_(network(), plan, keep_learned=True)
