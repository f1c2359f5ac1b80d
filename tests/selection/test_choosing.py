"""From the weights of trained mixtures to a plan."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import thoroughly
from helpers_selection import MIXABLE, PAPER, alone, network, with_logits
from torch import nn

import limen
from limen.errors import PlanError, SpecError
from limen.formula import where
from limen.selection import Choice, Observation, merge
from limen.selection.choice import TWO_LINES
from limen.selection.families import negative_slope


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


@pytest.mark.parametrize("seeds", [*range(2, 32), 32, 200])
def test_a_margins_interval_is_students(seeds: int):
    """Against SciPy to the four decimals that are stored; beyond 30 degrees of freedom the normal distribution's."""
    stats = pytest.importorskip("scipy.stats")
    rng = torch.Generator().manual_seed(seeds)
    shares = (0.5 + 0.1 * torch.rand(seeds, generator=rng)).tolist()
    seen = tuple(Observation({"silu": w, "mish": 1 - w}, {"silu": 0.0, "mish": 0.0}, {}, {}) for w in shares)
    choice = Choice("1", "silu", "silu", seen, {"silu": "silu", "mish": "mish"})
    margins = torch.tensor([2 * w - 1 for w in shares], dtype=torch.float64)
    low, high = choice.margin_interval
    quantile = (high - low) / 2 / (margins.std().item() / seeds**0.5)
    wanted = stats.t.ppf(0.975, seeds - 1) if seeds < 32 else stats.norm.ppf(0.975)
    assert quantile == pytest.approx(wanted, abs=5.1e-5)
    assert (low + high) / 2 == pytest.approx(margins.mean().item())


@pytest.mark.parametrize(("shift", "slope"), [(1e-7, 0.25), (2e-5, None), (1e-3, None)])
@pytest.mark.parametrize("at", [0.0, 1.0, -0.125])
def test_what_is_nearly_two_lines_is_another_shape(shift: float, slope: float | None, at: float):
    class Nearly(limen.Activation):
        @staticmethod
        def formula(x):
            return where(x > 0, x, 0.25 * x) + where((x - at) * (x - at) < 0.001, shift * (1 + at), 0.0)

    with limen.use_backend("plain"):
        assert negative_slope(Nearly()) == slope


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


def test_lines_that_are_outweighed_leave_the_choice_to_the_others():
    """Shares of 1, 1, e and e² parts: two lines together weigh less than SiLU and less than Mish."""
    model = nn.Sequential(limen.AdAct(("relu", "leaky_relu", "silu", "mish")))
    with_logits(model, [0.0, 0.0, 1.0, 2.0])
    assert limen.select(model, rule="grouped").sites[0].winner == "mish"
    with_logits(model, [0.0, 0.0, 0.6, 0.5])  # e^0.6 is 1.82 of their 2
    assert limen.select(model, rule="grouped").sites[0].winner == TWO_LINES
    with_logits(model, [0.0, 0.0, 0.7, 0.5])
    assert limen.select(model, rule="grouped").sites[0].winner == "silu"
    alone = with_logits(nn.Sequential(limen.AdAct(("relu", "silu"))), [1.0, 0.0])  # one line is no group
    assert limen.select(alone, rule="grouped").sites[0].winner == "relu"


def test_a_slope_that_only_some_seeds_have_is_none_of_the_choice():
    both = {"relu": 0.5, "prelu": 0.5}
    seeds = (Observation(both, both, {"relu": 0.0, "prelu": 0.25}, {}), Observation(both, both, {"relu": 0.0}, {}))
    assert Choice("1", "relu", "relu", seeds, {name: name for name in both}).slopes == {"relu": 0.0}


@pytest.mark.parametrize("logits", [[math.nan, 0.0], [math.inf, 0.0], [-math.inf, 0.0]])
def test_weights_that_are_no_numbers_choose_nothing(logits: list[float]):
    with pytest.raises(PlanError, match="not finite"):
        limen.select(with_logits(nn.Sequential(limen.AdAct(("silu", "mish"))), logits))


def test_a_winner_among_slopes_says_so():
    model = with_logits(network(), [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0], [0.0] * 7)
    choice = limen.select(model).sites[0]
    assert choice.winner == "leaky_relu"
    assert "in the negative slope only" in choice.warnings()[0]
    assert "prelu 0.25" in choice.warnings()[0]


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


def test_any_candidates_are_one_kernel(monkeypatch: pytest.MonkeyPatch):
    from limen.kernels import dispatch
    from limen.kernels.c import calls as c_calls

    mixture = limen.AdAct(("ash", "asau", "apalu", "silu"))
    if dispatch.why_no_kernel(mixture._bound[0]):
        pytest.skip("no compiler here")
    calls: list[object] = []
    original = c_calls.run_forward

    def counted(given):
        calls.append(given.bound)
        return original(given)

    monkeypatch.setattr(c_calls, "run_forward", counted)
    x = torch.randn(16, 8, 32, 32)  # more than a short call takes
    with limen.use_backend("c"):
        fused = mixture(x)
        assert calls == [mixture._bound[True]]
        one_by_one = sum(w * f(x) for w, f in zip(mixture.weights, mixture.members, strict=True))
    assert torch.allclose(fused, one_by_one, atol=1e-6)


PLANTED = ("elu", "silu", "selu", "softplus", "leaky_relu:negative_slope=0.4")


@pytest.mark.parametrize("seed", thoroughly(range(10), usual=range(2)))
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


def test_a_line_is_one_far_out_too():
    class Ending(limen.Activation):
        @staticmethod
        def formula(x):
            return where(x > -32, where(x > 0, x, 0.25 * x), -8.0)

    with limen.use_backend("plain"):
        assert negative_slope(Ending()) is None


def test_a_choice_is_said_by_its_winner_or_by_what_two_lines_make_together():
    model = nn.Sequential(limen.AdAct(("relu", "leaky_relu", "silu")))
    with_logits(model, [0.0, 0.0, 0.5])
    (single,), (grouped,) = (limen.select(model, rule=rule).sites for rule in ("largest", "grouped"))
    assert str(single).startswith("0: silu 0.45, then ")
    assert str(grouped).startswith(f"0: {grouped.activation} 0.55, then silu ")
    assert grouped.activation.startswith("prelu:weight=0.00")
    (said,) = single.warnings()
    assert "(relu 0, leaky_relu 0.01) weigh 0.55 together" in said
    assert grouped.warnings() == []


def test_one_plan_merged_is_itself():
    plan = limen.select(with_logits(network(("relu", "silu")), [1.0, 0.0], [0.0, 2.0]))
    assert limen.selection.merge([plan]) == plan
