"""What holds for every task, and that studies stored before there were tasks go on."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from helpers import thoroughly
from helpers_lab import Recorder, data_of, experiment_of, stored, tiny
from helpers_tasks import made

from limen.errors import SpecError
from limen.lab.settings import StudySettings
from limen.lab.study.compare import compare
from limen.lab.study.trials import goodness
from limen.lab.tasks import registry as tasks
from limen.lab.training import run as train
from limen.lab.training.batches import Batches
from limen.lab.training.task import ANY


def settings(name: str, folder: Path, **changed: object) -> StudySettings:
    common = {"task": name, "activations": ("relu", "asau"), "baseline": "relu", "seeds": (0,), "epochs": 2}
    return StudySettings(**{**tasks.find(name).defaults, **common, **made(name, folder), **changed})


@pytest.mark.parametrize(
    ("name", "protocol"),
    thoroughly(
        itertools.product(tasks.names(), ("honest", "paper", "both")),
        usual=[(name, "both") for name in tasks.names()] + [("classification", "honest"), ("regression", "paper")],
    ),
)
def test_every_task_runs_under_every_protocol(name: str, protocol: str, tmp_path: Path) -> None:
    task, chosen = tasks.find(name), settings(name, tmp_path, protocol=protocol)
    data = data_of(chosen)
    assert (data.validation is None) == (protocol == "paper")
    run = train.run(experiment_of(chosen, data), "asau", 0)
    assert run.status == "finished"
    measure, chooses = task.measure, task.measure if protocol == "paper" else task.chooses or task.measure
    # A measure that does not choose the epoch may not exist on held-out examples.
    assert all(math.isfinite(v) for n, v in run.metrics.items() if not (task.chooses and n.startswith("val_")))
    if protocol == "both":
        scores = [measure.goodness(row.test_score) for row in run.curves]
        assert measure.goodness(run.metrics[measure.best_on_test]) == max(scores)
        assert run.curves[run.best_epoch - 1].test_score == pytest.approx(run.metrics[measure.on_test], rel=1e-4)
    score = "heldout_loss" if chooses.name == "loss" else "heldout_score"
    best = max(run.curves, key=lambda row: (chooses.goodness(getattr(row, score)), -row.heldout_loss))
    assert run.best_epoch == best.epoch
    # Digits and these boxes have no masks, and pictures no millimetres.
    lacking = {
        "anomaly": {"pixel_auroc"}, "segmentation": {"hausdorff95", "surface_distance"},
        "detection": {"mask_map50", "mask_map"},
    }.get(name, set())  # fmt: skip
    assert {metric.on_test for metric in task.metrics if metric.name not in lacking} <= run.metrics.keys()
    assert run.layers


@pytest.mark.parametrize("name", thoroughly(tasks.names(), usual={"anomaly", "forecasting"}))
def test_a_trial_of_every_task_is_as_good_as_what_chooses_the_epoch_and_sees_no_test_example(
    name: str, tmp_path: Path
) -> None:
    task, chosen = tasks.find(name), settings(name, tmp_path)
    data = data_of(chosen)
    blank = {
        part.name: torch.zeros_like(value)
        for part in fields(data.tested)
        if isinstance(value := getattr(data.tested, part.name), torch.Tensor)
    }
    blanked = replace(data, test=replace(data.tested, **blank))
    trial, other = (train.attempt(experiment_of(chosen, one), "asau @ lr=0.01", 10_000) for one in (data, blanked))
    assert str(trial.curves) == str(other.curves)  # NaN is NaN
    score = "heldout_loss" if task.held_to.name == "loss" else "heldout_score"
    assert goodness([trial], task.held_to) == max(task.held_to.goodness(getattr(row, score)) for row in trial.curves)


# Those of images are many and large; tests of their own build each of them.
@pytest.mark.parametrize(
    "name",
    thoroughly(tasks.names(), usual=set(tasks.names()) - {"classification", "multilabel", "detection", "segmentation"}),
)
def test_networks_give_what_the_task_asks_for_and_depend_on_the_seed_alone(name: str, tmp_path: Path) -> None:
    task = tasks.find(name)
    data = data_of(settings(name, tmp_path))
    inputs, targets = next(iter(Batches(data.train, 4)))
    for network in task.networks:
        if ":" in network:  # of a library that may not be here
            continue
        first, second, other = (task.build(network, data, seed).eval() for seed in (0, 0, 1))
        outputs = first(inputs)
        wanted = (len(inputs), *task.output_shape(data))
        assert tuple(s if w == ANY else w for w, s in zip(wanted, outputs.shape, strict=True)) == outputs.shape
        assert torch.equal(outputs, second(inputs))
        assert not torch.equal(outputs, other(inputs))
        assert task.loss(outputs, targets).ndim == 0
    assert task.measure in task.metrics
    assert {*task.meters(data)} <= {metric.name for metric in task.metrics}
    assert task.defaults["network"] in task.networks


@pytest.mark.parametrize("name", tasks.names())
def test_facts_describe_the_data_and_another_division_is_other_data(name: str, tmp_path: Path) -> None:
    chosen = settings(name, tmp_path)
    facts = data_of(chosen).facts()
    assert facts.train > facts.validation > 0 < facts.test
    assert facts.fingerprint == data_of(chosen).facts().fingerprint
    other = data_of(chosen.model_copy(update={"test_fraction": 0.4})).facts()
    assert other.fingerprint != facts.fingerprint


def test_a_study_stored_before_there_were_tasks_goes_on(tmp_path: Path) -> None:
    compare(tiny(), tmp_path, Recorder())
    _age(tmp_path / "study.json", {"settings": ("task", "target", "time", "window", "ignore_label", "split",
                                                "normal_class"),
                                   "data": ("unit", "description", "notes")})  # fmt: skip
    for path in (tmp_path / "runs").glob("*.json"):
        run = json.loads(path.read_text())
        del run["shown"]
        for row in run["curves"]:
            for split in ("train", "heldout", "test"):
                row[f"{split}_accuracy"] = row.pop(f"{split}_score")
        path.write_text(json.dumps(run))
    before, table = stored(tmp_path / "runs"), (tmp_path / "runs.csv").read_text()
    listener = Recorder()
    result = compare(tiny(), tmp_path, listener)
    assert not listener.started
    assert stored(tmp_path / "runs") == before
    assert (tmp_path / "runs.csv").read_text() == table
    assert all(row.heldout_score > 0 for run in result.runs for row in run.curves)


def _age(path: Path, newer: dict[str, tuple[str, ...]]) -> None:
    """Take out of a stored file what older versions did not store."""
    held = json.loads(path.read_text())
    for part, names in newer.items():
        for name in names:
            del held[part][name]
    path.write_text(json.dumps(held))


def test_an_option_of_another_task_is_refused() -> None:
    with pytest.raises(
        SpecError, match="--target 'x' is not an option of --task classification, only of multilabel, regression"
    ):
        tasks.check_options(tasks.find("classification"), tiny(target="x"))
    with pytest.raises(SpecError, match=r"--split 'blocks' .* only of multilabel, segmentation"):
        tasks.check_options(tasks.find("classification"), tiny(split="blocks"))
