"""What a study says on standard error: what was found before training, a line a run, and no long silence."""

from __future__ import annotations

import io
import re
import time
from pathlib import Path

import pytest
import torch
from helpers_commands import FAST, refused
from helpers_lab import Command, experiment_of, tiny
from helpers_tasks import made
from rich.console import Console

from limen.commands import progress
from limen.commands.progress import ProgressListener, found_lines
from limen.lab.records import DataFacts, EpochRow, failed_run
from limen.lab.study.preparing import prepare
from limen.lab.tasks import registry
from limen.lab.tasks.detection.boxes import BoxSplit
from limen.lab.tasks.detection.kinds import NOTHING, ignored
from limen.lab.tasks.segmentation.masks import IGNORED, MaskSplit
from limen.lab.training.task import Task


def test_what_was_found_is_said_before_anything_is_trained(run: Command) -> None:
    outcome = run(*FAST, "--seeds", "1", "--out", "out", "--json")
    assert outcome.code == 0
    assert outcome.json["runs"]
    lines = outcome.err.splitlines()
    assert lines[0] == "digits: 10 classes, images of 1×8×8; 180 training, 20 validation, 60 test images"
    assert lines[1].startswith("of each class (training/validation/test): 0 18/2/6, 1 18/2/6, 2 ")
    assert re.fullmatch(r"mlp on cpu \(.*\)", lines[2])
    assert lines[3] == "2 runs of 1 epoch: relu and asau, each 1 time"
    assert [line.partition(":")[0] for line in lines[4:]] == ["1/2 relu · seed 0", "2/2 asau · seed 0"]


def test_a_refusal_says_nothing_else(run: Command) -> None:
    refused(run, *FAST, "--activations", "relu,asua", "--out", "out")


@pytest.mark.parametrize("task", registry.ALL, ids=lambda task: task.name)
def test_every_task_says_what_it_found(task: Task, tmp_path: Path) -> None:
    settings = tiny(
        **{"task": task.name, "limit_train": None, "limit_test": None, **task.defaults, **made(task.name, tmp_path)}
    )
    data = prepare(task, settings).data
    facts = data.facts()
    first, *more = found_lines(facts)
    assert first.startswith(f"{facts.name}: ")
    assert f"{facts.train:,} training, {facts.validation:,} validation, {facts.test:,} test {facts.unit}" in first
    if facts.classes and task.name != "generation":
        assert facts.counts.keys() == {"train", "validation", "test"}
        assert all(len(counts) == len(facts.classes) for counts in facts.counts.values())
        assert any(line.startswith("of each class (") and facts.classes[0] in line for line in more)
        if not facts.counted:
            assert [sum(facts.counts[name]) for name in ("train", "validation", "test")] == [
                facts.train, facts.validation, facts.test
            ]  # fmt: skip
    if task.name in ("regression", "forecasting"):
        assert len(facts.columns) == data.input_shape[-1]
        assert any(line == f"columns: {', '.join(facts.columns)}" for line in more)


def test_what_is_not_learned_is_not_counted() -> None:
    images = torch.zeros(2, 1, 2, 2, dtype=torch.uint8)
    masks = torch.tensor([[[0, 0], [1, IGNORED]], [[0, 0], [0, 0]]], dtype=torch.uint8)
    assert MaskSplit(images, masks, ("a", "b")).per_class(3) == (2, 1, 0)
    objects = torch.zeros(2, 3, 5)
    objects[..., 0] = torch.tensor([[0, 1, NOTHING], [1, ignored(0), NOTHING]])
    assert BoxSplit(images, objects, ("a", "b")).per_class(2) == (1, 2)


def test_many_names_are_counted() -> None:
    names = tuple(f"c{n}" for n in range(25))
    facts = DataFacts(name="d", classes=names, image_shape=(1,), train=25, validation=0, test=0, fingerprint="",
                      counts={"train": (1,) * 25})  # fmt: skip
    assert [*found_lines(facts)][1].endswith("c18 1, c19 1 and 5 more")


def listening(monkeypatch: pytest.MonkeyPatch, *, terminal: bool) -> tuple[ProgressListener, io.StringIO]:
    monkeypatch.setattr(progress, "QUIET", 0.05)
    told = io.StringIO()
    console = Console(file=told, force_terminal=terminal, force_interactive=terminal, width=200)
    monkeypatch.setattr(progress, "Console", lambda **_: console)
    settings = tiny(epochs=3)
    return ProgressListener(experiment_of(settings).task, settings), told


def test_a_long_silence_is_broken_where_nothing_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    listener, told = listening(monkeypatch, terminal=False)
    said = []
    with listener:
        for step in (
            lambda: None,
            lambda: listener.run_started("asau:beta=2", 3),
            lambda: listener.epoch(
                "asau:beta=2", 3, EpochRow(epoch=1, train_loss=1, train_score=0.5, heldout_loss=1, heldout_score=0.875)
            ),
            lambda: listener.timing(2, 23),
        ):
            step()
            told.truncate(0)
            time.sleep(0.2)
            said.append(told.getvalue().strip("\0").splitlines()[-1])
    for line, doing in zip(said, (
        "reading the data",
        "asau:beta=2, seed 3, epoch 1 of 3",
        "asau:beta=2, seed 3, epoch 2 of 3 (validation 87.50 %)",
        "the cost of a step, round 3 of 23",
    ), strict=True):  # fmt: skip
        assert re.fullmatch(rf"after 0:0\d: {re.escape(doing)}", line), line
    told.truncate(0)
    time.sleep(0.15)
    assert told.getvalue().strip("\0") == ""  # and it ends with the study


def test_all_runs_that_are_computed_are_said_with_their_place_and_what_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listener, told = listening(monkeypatch, terminal=False)
    row = EpochRow(epoch=1, train_loss=1, train_score=0.5, heldout_loss=1, heldout_score=0.875)
    with listener:
        listener.planned(20, 4, ["mind this"])
        for seed in range(progress.MOST_SHOWN + 2):
            listener.run_started("asau", seed, f"process {seed}")
        listener.epoch("asau", 0, row)
        listener.run_lost("asau", 1, "by SIGKILL")
        listener.run_ended(failed_run("asau", 2, "it had not ended."))
        doing = listener.doing
    assert "mind this" in told.getvalue()
    assert "asau · seed 1: its process ended by SIGKILL; it is begun again" in told.getvalue()
    assert "5/20 asau · seed 2: failed: it had not ended." in told.getvalue()
    assert doing.startswith("5 of 20 runs done, about 0:0")
    assert " left; asau, seed 0 in process 0, epoch 2 of 3 (validation 87.50 %); asau, seed 3 in process 3, " in doing
    assert "asau, seed 9 in process 9, epoch 1 of 3" in doing
    listener.run_started("relu", 0, "")
    assert listener.doing.endswith("; and 1 more")


def test_a_terminal_has_bars_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    listener, told = listening(monkeypatch, terminal=True)
    with listener:
        time.sleep(0.2)
    assert "after 0:" not in told.getvalue()


def test_the_promise_is_kept() -> None:
    assert progress.QUIET < 30
