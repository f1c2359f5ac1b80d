"""The plan as a file: kept, damaged, edited by a person."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers_selection import all_on, network, with_logits
from torch import nn

import limen
from limen.errors import PlanError
from limen.selection.choice import TWO_LINES


def test_plan_survives_the_file(tmp_path: Path):
    plan = limen.select([network(), with_logits(network(), [1.0] + [0.0] * 6, [0.0] * 7)])
    for path in (tmp_path / "plan.json", tmp_path / "plan.json", tmp_path / "in" / "folders" / "plan.json"):
        plan.save(path)
        assert limen.Plan.load(path) == plan
    stored = json.loads((tmp_path / "plan.json").read_text())
    assert stored["format"] == "limen.plan"
    assert stored["version"] == 1
    assert stored["sites"][0]["candidates"]["prelu"] == "prelu"
    assert not [path for path in tmp_path.iterdir() if path.name not in ("plan.json", "in")]


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
    "there must be seeds, each with a weight for prelu, silu, relu": lambda site: [
        site["seeds"][1][held].pop("relu") for held in ("weights", "logits", "slopes")
    ],
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
