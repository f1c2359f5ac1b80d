"""Learned parameters of trained models, averaged into a plan and built in again."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional as F

import limen
from limen.errors import PlanError
from limen.selection.learned import learned


class Net(nn.Module):
    """An activation as a module, one as a function, and a nested one."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
        self.middle = nn.Linear(4, 4)
        self.head = nn.Sequential(nn.GELU(), nn.Linear(4, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.middle(self.inner(x))))


def trained(activation: Any, seed: int) -> nn.Module:
    """A network whose activations have parameters that no other seed has."""
    torch.manual_seed(seed)
    model = Net()
    limen.swap_(model, activation)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, limen.Activation):
                for parameter in module.parameters():
                    parameter.add_(0.1 * torch.rand_like(parameter) + 0.1)
    return model


EVERY = [name for name in limen.names() if limen.create(name).keeps_shape]
BUILDS: dict[str, Any] = {
    **{name: name for name in EVERY},
    "per channel": lambda: limen.ASAU(num_parameters=4, channel_dim=-1),
    "in groups": lambda: limen.ASAU(num_parameters=2, group_size=2, channel_dim=-1),
    "learned otherwise": "asau:learned=a+b",
    "mixture per channel": lambda: limen.AdAct(("relu", "prelu"), num_parameters=4, channel_dim=-1),
}


@pytest.mark.parametrize("name", BUILDS)
def test_what_is_built_in_is_the_mean_of_every_model(name: str, tmp_path: Path) -> None:
    models = [trained(BUILDS[name], seed) for seed in range(3)]
    plan = limen.harvest(models)
    plan.save(tmp_path / "plan.json")
    kept = limen.Plan.load(tmp_path / "plan.json")
    assert kept == plan
    fresh = Net()
    report = limen.apply_(fresh, kept)
    assert {site.path for site in report.sites} == {site.path for site in plan.sites}
    assert len(plan.sites) == 3
    for site in plan.sites:
        new = fresh.get_submodule(site.path)
        for key, value in new.state_dict().items():
            mean = torch.stack([model.get_submodule(site.path).state_dict()[key].double() for model in models]).mean(0)
            torch.testing.assert_close(value.double(), mean, atol=1e-6, rtol=1e-6)
        assert all(parameter.requires_grad for parameter in new.parameters())
    report.undo()
    assert isinstance(fresh.inner[1], nn.ReLU)


@pytest.mark.parametrize("name", ["asau", "adact", "ash", "prelu"])
def test_one_model_fixed_computes_what_it_was_harvested_from(name: str) -> None:
    model = trained(name, 0)
    fresh = Net()
    limen.apply_(fresh, limen.harvest(model), fixed=True)
    own = {key: value for key, value in model.state_dict().items() if key in dict(Net().named_parameters())}
    fresh.load_state_dict(own, strict=False)
    x = torch.randn(5, 3)
    assert torch.equal(fresh.eval()(x), model.eval()(x))
    fresh(x).sum().backward()
    activations = [module for module in fresh.modules() if isinstance(module, limen.Activation)]
    assert activations
    assert not any(parameter.requires_grad for module in activations for parameter in module.parameters())
    assert fresh.middle.weight.grad is not None


def test_a_selection_may_be_fixed_too() -> None:
    searched = nn.Sequential(nn.Linear(2, 2), limen.AdAct(("swish", "relu")))
    fresh = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    limen.apply_(fresh, limen.select(searched), fixed=True)
    assert isinstance(fresh[1], limen.Swish)
    assert not fresh[1].beta.requires_grad


def test_intervals_are_students_over_models_and_a_layer_is_the_mean_of_its_channels() -> None:
    models = [nn.Sequential(limen.Swish(num_parameters=2)) for _ in range(3)]
    values = [(1.0, 2.0), (1.5, 1.7), (2.0, 2.2)]
    with torch.no_grad():
        for model, value in zip(models, values, strict=True):
            model[0].beta.copy_(torch.tensor(value))
    (found,) = learned(limen.harvest(models).sites[0])
    means = [sum(value) / 2 for value in values]
    low, high = stats.ttest_1samp(means, 0).confidence_interval()
    assert (found.name, found.start) == ("beta", 1.0)
    assert found.models == pytest.approx(means)
    assert found.interval == pytest.approx((low, high), rel=1e-4)
    (alone,) = learned(limen.harvest(models[0]).sites[0])
    assert alone.interval is None
    assert not alone.disagrees


def swishes(*betas: float) -> list[nn.Module]:
    models = [nn.Sequential(limen.Swish()) for _ in betas]
    with torch.no_grad():
        for model, beta in zip(models, betas, strict=True):
            model[0].beta.fill_(beta)
    return models


def test_where_models_disagree_it_is_said() -> None:
    assert limen.harvest(swishes(1.5, 1.6, 1.55)).warnings() == []
    assert limen.harvest(swishes(1.0, 1.0, 1.0)).warnings() == []
    assert limen.harvest(swishes(1.5)).warnings() == []
    (said,) = limen.harvest(swishes(0.5, 1.5, 1.2)).warnings()
    assert said == "0: the models disagree about beta, which began at 1 and is 0.5, 1.5, 1.2."
    assert said in str(limen.harvest(swishes(0.5, 1.5, 1.2)))


def test_mixtures_say_whether_the_same_candidate_leads() -> None:
    models = [nn.Sequential(limen.AdAct(("relu", "silu"))) for _ in range(3)]
    with torch.no_grad():
        for model, logit in zip(models, (1.0, 1.2, -1.0), strict=True):
            model[0].logits[0] = logit
    plan = limen.harvest(models)
    assert plan.warnings() == ["0: the models disagree about the candidate that weighs most: relu in 2, silu in 1."]
    relu, silu = learned(plan.sites[0])
    assert relu.name == "weight of relu"
    assert relu.models == pytest.approx([1 / (1 + math.exp(-logit)) for logit in (1.0, 1.2, -1.0)], rel=1e-6)
    assert relu.mean + silu.mean == pytest.approx(1)


def test_what_steered_a_search_is_kept_as_weights() -> None:
    mixture = limen.AdAct(("relu", "silu"))
    with torch.no_grad():
        mixture.logits[0] = 1.0
    limen.selection.set_temperature_(mixture, 0.5)
    fresh = nn.Sequential(nn.ReLU())
    limen.apply_(fresh, limen.harvest(nn.Sequential(mixture)))
    assert fresh[0].weights.tolist() == pytest.approx(mixture.weights.tolist(), rel=1e-5)


def test_torchs_prelu_is_harvested_as_ours() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.PReLU(2, init=0.4))
    (site,) = limen.harvest(model).sites
    assert (site.path, site.activation, site.learned["weight"]) == (
        "1",
        "prelu:num_parameters=2",
        pytest.approx((0.4, 0.4)),
    )


BAD: dict[str, tuple[Any, str]] = {
    "no model": (lambda: [], "there is no model to harvest; give at least one."),
    "no activation": (lambda: nn.Linear(2, 2), "Linear has no activation of limen to harvest"),
    "other activations": (
        lambda: [nn.Sequential(limen.ASAU()), nn.Sequential(limen.ASH())],
        "at '0' model 0 has asau, and model 1 has ash.",
    ),
    "other sizes": (
        lambda: [nn.Sequential(limen.ASAU()), nn.Sequential(limen.ASAU(num_parameters=4))],
        "at '0' model 0 has asau, and model 1 has asau:num_parameters=4.",
    ),
    "other candidates": (
        lambda: [nn.Sequential(limen.AdAct(("relu", "silu"))), nn.Sequential(limen.AdAct(("relu", "mish")))],
        "at '0' model 0 has adact:candidates=relu+silu",
    ),
    "more sites": (
        lambda: [nn.Sequential(limen.ASAU()), nn.Sequential(limen.ASAU(), limen.ASAU())],
        "model 1 has asau at '1', and model 0 has no activation there.",
    ),
    "not finite": (lambda: swishes(math.nan), "at '0' swish.beta is not finite"),
}


@pytest.mark.parametrize("case", BAD)
def test_models_that_cannot_be_harvested_together(case: str) -> None:
    make, sentence = BAD[case]
    with pytest.raises(PlanError) as caught:
        limen.harvest(make())
    assert sentence in str(caught.value)


def test_a_harvested_plan_is_no_selection() -> None:
    plan = limen.harvest(nn.Sequential(limen.AdAct()))
    with pytest.raises(PlanError, match="chose no candidate to bake"):
        limen.bake_(nn.Sequential(limen.AdAct()), plan)
    with pytest.raises(PlanError, match="harvest all models together"):
        limen.selection.merge([plan, plan])
    with pytest.raises(PlanError, match="no module at '0'"):
        limen.apply_(nn.ModuleDict({"a": nn.ReLU()}), plan)


def test_its_version_is_2_and_older_plans_keep_theirs() -> None:
    harvested = limen.harvest(nn.Sequential(limen.ASAU())).as_dict()
    selected = limen.select(nn.Sequential(limen.AdAct())).as_dict()
    assert (harvested["version"], selected["version"]) == (2, 1)
    for plan, version in ((harvested, 1), (selected, 2), (harvested, 3)):
        with pytest.raises(
            PlanError, match=f"has version {version}, and this limen reads version 1, and 2 of harvested"
        ):
            limen.Plan.from_dict(json.loads(json.dumps({**plan, "version": version})))


def test_a_class_that_is_not_here_leaves_its_values_readable() -> None:
    held = json.loads(limen.harvest(nn.Sequential(limen.Swish(beta=2.0))).as_json().replace("swish", "gone"))
    plan = limen.Plan.from_dict(held)
    assert plan.sites[0].learned == {"beta": (2.0,)}
    assert "beta 2" in str(plan)


def test_a_mixture_that_is_not_here_names_its_candidates_by_their_places() -> None:
    plan = limen.harvest(nn.Sequential(limen.AdAct(("prelu", "silu"))))
    gone = limen.Plan.from_dict(json.loads(plan.as_json().replace("adact", "gone")))
    assert [one.name for one in learned(gone.sites[0])] == ["logits", "candidates.0.weight"]
    assert [one.name for one in learned(plan.sites[0])] == ["weight of prelu", "weight of silu", "prelu.weight"]
