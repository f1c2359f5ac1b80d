"""A run that was interrupted goes on as if it had not been, bit for bit."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import thoroughly
from helpers_lab import Recorder, data_of, experiment_of, tiny
from helpers_tasks import made
from torch import nn

from limen.lab.records import EpochRow, RunRecord
from limen.lab.settings import SEARCHED, SelectSettings, StudySettings
from limen.lab.study.compare import compare
from limen.lab.study.searching import Selection
from limen.lab.tasks import registry as tasks
from limen.lab.training import notes
from limen.lab.training import run as train
from limen.lab.training.checkpoint import Checkpoints
from limen.lab.training.experiment import Experiment

TIMES = {"seconds", "ms_per_step"}


class Interrupting:
    """Ctrl-C when an epoch has ended."""

    def __init__(self, after: int) -> None:
        self.after, self.heard = after, list[int]()

    def __call__(self, row: EpochRow) -> None:
        self.heard.append(row.epoch)
        if row.epoch == self.after:
            raise KeyboardInterrupt


def same(one: RunRecord, other: RunRecord) -> bool:
    return repr(one.model_dump(exclude=TIMES)) == repr(other.model_dump(exclude=TIMES))  # NaN is itself


def interrupted(experiment: Experiment, activation: str, after: int = 3) -> tuple[RunRecord, list[int]]:
    """The record of a run that was stopped and begun again, and the epochs of its second part."""
    with pytest.raises(KeyboardInterrupt):
        train.run(experiment, activation, 0, Interrupting(after), extra=notes.extra(experiment))
    torch.rand(3), np.random.rand(3), random.random()
    heard = Interrupting(0)
    return train.run(experiment, activation, 0, heard, extra=notes.extra(experiment)), heard.heard


@pytest.mark.parametrize("name", thoroughly(tasks.names(), usual=("regression", "generation")))
def test_a_run_of_any_task_goes_on_where_it_was(name: str, tmp_path: Path) -> None:
    common = {"task": name, "activations": ("rrelu",), "baseline": "rrelu", "seeds": (0,), "epochs": 4}
    chosen = StudySettings(**{**tasks.find(name).defaults, **common, **made(name, tmp_path), "checkpoint_every": 2,
                              "observe": ("gradients",)})  # fmt: skip
    experiment = replace(experiment_of(chosen), place=tmp_path / "study")
    found, heard = interrupted(experiment, "rrelu")
    assert heard == [3, 4]
    assert same(found, train.run(experiment_of(chosen), "rrelu", 0, extra=notes.extra(experiment)))
    assert not list((tmp_path / "study").rglob("*.pt"))


class Drawing(nn.Module):
    """A network that draws from every generator there is."""

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3),
                                    nn.Linear(16, num_classes))  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layers(x)
        return found * (1 + random.random() + np.random.rand()) if self.training else found


def test_every_generator_goes_on(tmp_path: Path) -> None:
    chosen = tiny(network="test_checkpoints:Drawing", epochs=4, checkpoint_every=1)
    random.seed(0), np.random.seed(0)
    whole = train.run(experiment_of(chosen), "rrelu", 0)
    random.seed(0), np.random.seed(0)
    found, heard = interrupted(replace(experiment_of(chosen), place=tmp_path), "rrelu")
    assert heard == [3, 4]
    assert same(found, whole)


STEERED: dict[str, dict[str, Any]] = {
    "cooled and dropped": {"temperature": (1.0, 0.1), "entropy": (0.0, 0.5), "sampling": "gumbel", "drop_below": 0.142},
    "on held-out batches": {"weights_from": 0.3, "entropy": (0.0, 0.5), "activation_lr": 0.05, "drop_below": 0.14},
}


@pytest.mark.thorough
@pytest.mark.parametrize("how", STEERED)
def test_a_search_goes_on_where_it_was(how: str, tmp_path: Path) -> None:
    chosen = SelectSettings(
        kind="select",
        data="digits",
        network="mlp",
        activations=("relu", "adact", "optimized"),
        baseline="relu",
        candidates=("relu", "rrelu", "silu", "elu", "mish", "prelu", "leaky_relu"),
        seeds=(0,),
        epochs=4,
        limit_train=200,
        limit_test=60,
        checkpoint_every=1,
        **STEERED[how],
    )
    for _ in range(2):  # the first evaluation of such a mixture in a process may round otherwise than all later ones
        whole = Selection(experiment_of(chosen), chosen)._search(0, lambda row: None)
    kept = Selection(replace(experiment_of(chosen), place=tmp_path), chosen)
    with pytest.raises(KeyboardInterrupt):
        kept._search(0, Interrupting(3))
    heard = Interrupting(0)
    found = kept._search(0, heard)
    assert heard.heard == [3, 4]
    assert same(found, whole)
    assert [row.epoch for row in found.weights] == [row.epoch for row in whole.weights]
    assert found.activation == SEARCHED


@pytest.mark.parametrize("broken", [b"", b"PK\x03\x04 half a file", b"no checkpoint at all"])
def test_what_cannot_be_read_begins_anew(broken: bytes, tmp_path: Path) -> None:
    experiment = replace(experiment_of(tiny(epochs=3, checkpoint_every=1)), place=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train.run(experiment, "relu", 0, Interrupting(2))
    (path,) = tmp_path.rglob("*.pt")
    path.write_bytes(broken)
    heard = Interrupting(0)
    train.run(experiment, "relu", 0, heard)
    assert heard.heard == [1, 2, 3]


def test_another_runs_checkpoint_is_not_gone_on_from(tmp_path: Path) -> None:
    experiment = replace(experiment_of(tiny(epochs=3, checkpoint_every=1)), place=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train.run(experiment, "relu", 0, Interrupting(2))
    other = replace(experiment, settings=tiny(epochs=3, checkpoint_every=1, learning_rate=0.1))
    assert Checkpoints(experiment, "relu", 0).read() is not None
    for of, activation, seed in ((other, "relu", 0), (experiment, "asau", 0), (experiment, "relu", 1)):
        assert Checkpoints(of, activation, seed).read() is None


def test_a_study_keeps_checkpoints_in_its_folder_while_a_run_lasts(tmp_path: Path) -> None:
    class Stopped(Recorder):
        def epoch(self, activation: str, seed: int, row: EpochRow) -> None:
            super().epoch(activation, seed, row)
            if len(self.epochs) == 5:
                raise KeyboardInterrupt

    chosen = tiny(activations=("relu",), epochs=4, checkpoint_every=2, seeds=(0, 1))
    with pytest.raises(KeyboardInterrupt):
        compare(chosen, tmp_path, Stopped())
    assert not list(tmp_path.rglob("*.pt"))  # the second run has not come so far
    listener = Recorder()
    found = compare(chosen.model_copy(update={"checkpoint_every": 1}), tmp_path, listener)  # no other study for that
    assert [row.epoch for row in listener.epochs] == [1, 2, 3, 4]
    whole = train.run(experiment_of(chosen, data_of(tiny())), "relu", 1)
    assert same(found.runs[1].model_copy(update={"origin": None}), whole)


WAYS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd", "momentum": 0.9, "nesterov": True, "schedule": "cosine", "warmup": 1, "ema": 0.8,
            "augment": "randaugment-like", "label_smoothing": 0.1, "clip": 1.0},
    "one cycle": {"optimizer": "adam", "weight_decay": 0.1, "schedule": "one-cycle", "augment": "flip"},
    "steps": {"schedule": "step", "warmup": 0.5, "milestones": (1, 3), "factor": 0.5, "ema": 0.5},
}  # fmt: skip


@pytest.mark.parametrize("how", thoroughly(WAYS, usual=("sgd",)))
def test_whatever_it_is_trained_by_goes_on_where_it_was(how: str, tmp_path: Path) -> None:
    chosen = tiny(epochs=4, checkpoint_every=1, **WAYS[how])
    whole = train.run(experiment_of(chosen), "asau", 0)
    found, heard = interrupted(replace(experiment_of(chosen), place=tmp_path), "asau", after=3)
    assert heard == [3, 4]
    assert same(found, whole)
