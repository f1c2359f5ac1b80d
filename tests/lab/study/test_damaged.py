"""What is read of a study is checked whole: numbers, lengths, and that each file is of this study and of its name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers_lab import Command, Recorder, command, experiment_of, stored, tiny

from limen.lab.records import RunRecord
from limen.lab.study.compare import compare
from limen.lab.tasks import registry
from limen.lab.training.run import run as train
from limen.lab.training.task import Task
from limen.selection import Plan

NAN, INFINITE = float("nan"), float("inf")
FIXTURES = Path(__file__).parents[2] / "fixtures/studies"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return command(monkeypatch, capsys)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    out = tmp_path_factory.mktemp("studies") / "finished"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("limen.lab.training.cost.ROUNDS", 1)
        compare(tiny(epochs=1), out, Recorder())
    return out


@pytest.fixture
def out(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished, tmp_path / "out")
    return Path("out")


def changed(path: Path, change: Callable[[Any], object]) -> None:
    held = json.loads(path.read_text())
    change(held)
    path.write_text(json.dumps(held))


RUN, COSTS, STUDY = "runs/asau-seed1.json", "cost.json", "study.json"
DAMAGE: dict[str, tuple[str, Callable[[Any], object], str]] = {
    "a measure that is NaN": (RUN, lambda r: r["metrics"].update(test_accuracy=NAN), "test_accuracy is nan"),
    "an infinite measure": (RUN, lambda r: r["metrics"].update(test_accuracy=-INFINITE), "test_accuracy is -inf"),
    "another metric that is NaN": (RUN, lambda r: r["metrics"].update(test_f1=NAN), "test_f1 is nan"),
    "a loss that is infinite": (RUN, lambda r: r["metrics"].update(val_loss=INFINITE), "val_loss is inf"),
    "a metric beyond its bounds": (RUN, lambda r: r["metrics"].update(val_mcc=-1.5), "val_mcc is -1.5, outside of -1 "),
    "no metrics": (RUN, lambda r: r["metrics"].clear(), "test_accuracy is missing"),
    "no measure": (RUN, lambda r: r["metrics"].pop("test_accuracy"), "test_accuracy is missing"),
    "bins of two lengths": (
        RUN, lambda r: r["layers"][1]["y"].pop(), "layers.1: x, y and density must be of one length, and have",
    ),
    "another seed": (RUN, lambda r: r.update(seed=0), "holds a run of 'asau' with seed 0, and by its name"),
    "another activation": (RUN, lambda r: r.update(activation="ash"), "holds a run of 'ash' with seed 1, and by its"),
    "an epoch too many": (RUN, lambda r: r.update(best_epoch=2), "epoch 2, and only 1 were completed"),
    "an epoch twice": (RUN, lambda r: r["curves"].append(r["curves"][0]), "do not follow one another"),
    "less than none": (RUN, lambda r: r.update(parameters=-1), "parameters: Input should be greater than or equal"),
    "no plan": (RUN, lambda r: r.update(plan={"format": "limen.plan"}), "plan"),
    "another study's run": (RUN, lambda r: r["origin"]["settings"].update(epochs=7), "to another study (epochs 7,"),
    "other data's run": (RUN, lambda r: r["origin"].update(fingerprint="0f" * 32), "of fingerprint 0f0f0f0f0f0f"),
    "other data's costs": (COSTS, lambda c: c["origin"].update(fingerprint="0f" * 32), "of fingerprint 0f0f0f0f0f0f"),
    "a baseline that is not listed": (
        STUDY, lambda s: s["settings"].update(baseline="gelu"), "baseline 'gelu' is not among the activations relu",
    ),
    "an activation twice": (
        STUDY, lambda s: s["settings"].update(activations=["relu", "relu"]), "the activation 'relu' is named twice",
    ),
    "a seed twice": (STUDY, lambda s: s["settings"].update(seeds=[0, 0]), "the seed 0 is named twice"),
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_a_sentence_with_the_file(what: str, out: Path, run: Command) -> None:
    file, change, found = DAMAGE[what]
    changed(out / file, change)
    before = stored(out)
    outcome = run("report", out)
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.sentence.startswith(f"limen: out/{file} ")
    assert found in outcome.sentence
    assert any(word in outcome.sentence for word in ("delete", "put"))
    assert stored(out) == before


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda s: s["data"].update(fingerprint="12" * 32), "data of fingerprint "),
        (lambda s: s["settings"].update(learning_rate=0.5), "learning rate 0.001, where study.json says 0.5"),
    ],
    ids=["data", "settings"],
)
def test_a_study_that_was_changed_after_its_runs(
    change: Callable[[Any], object], found: str, out: Path, run: Command
) -> None:
    changed(out / STUDY, change)
    outcome = run("report", out)
    assert outcome.code == 2
    assert "out/runs/relu-seed0.json belongs to another study" in outcome.sentence
    assert found in outcome.sentence


def test_a_run_that_lies_in_the_place_of_another(out: Path, run: Command) -> None:
    shutil.copy(out / "runs/asau-seed0.json", out / RUN)
    assert "by its name it must be of 'asau' with seed 1" in run("report", out).sentence


def test_stored_rows_with_nan_are_named_by_their_line(tmp_path: Path, run: Command) -> None:
    shutil.copytree(FIXTURES / "rows/digits", tmp_path / "digits")
    table = tmp_path / "digits/runs.csv"
    head, first, *others = table.read_text().splitlines()
    cells = first.split(",")
    cells[head.split(",").index("test_accuracy")] = "nan"
    table.write_text("\n".join([head, ",".join(cells), *others]) + "\n")
    outcome = run("claims", tmp_path)
    assert outcome.code == 2
    assert f"{table}, line 2, cannot be used: of a finished run test_accuracy is nan" in outcome.sentence


@pytest.mark.parametrize("task", registry.ALL, ids=lambda task: task.name)
def test_every_task_refuses_what_no_run_can_have(task: Task) -> None:
    good = {name: max(0.0, of.bounds[0]) for of in task.metrics for name in (of.on_heldout, of.on_test)}
    assert task.refused(good) == ""
    for of in task.metrics:
        for wrong in (NAN, INFINITE):
            may = of.on_test != task.measure.on_test and wrong is NAN and not of.always
            assert (task.refused({**good, of.on_test: wrong}) == "") == may
        assert (task.refused({**good, of.on_heldout: NAN}) == "") == (not of.always)
        assert not of.always or task.refused({**good, of.on_test: of.bounds[0] - 1}) or of.bounds[0] == -INFINITE


def test_a_network_that_cannot_be_measured_is_a_failed_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("limen.lab.training.run._test", lambda *_: {"test_accuracy": 0.5, "test_loss": NAN})
    found = train(experiment_of(tiny(epochs=1)), "relu", 0)
    assert (found.status, found.metrics) == ("failed", {})
    assert found.failure == "tested with the weights of epoch 1, test_loss is nan."
    RunRecord.model_validate(found.model_dump())


def test_plans_of_runs_are_read_whole(tmp_path: Path, run: Command) -> None:
    shutil.copytree(FIXTURES / "select", tmp_path / "select")
    path = tmp_path / "select/runs/adact-seed1.json"
    changed(path, lambda r: r["plan"]["sites"][0].pop("winner"))
    assert f"{path} cannot be read (plan: " in run("report", tmp_path / "select").sentence
    assert Plan.load(tmp_path / "select/plan.json")
