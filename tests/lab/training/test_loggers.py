"""Runs told to other programs, in addition to what the study stores."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from helpers_lab import Recorder, data_of, experiment_of, tiny

from limen.errors import MissingExtraError
from limen.lab.records import EpochRow
from limen.lab.study.checks import check
from limen.lab.study.compare import compare
from limen.lab.tasks import registry as tasks
from limen.lab.training import loggers
from limen.lab.training import run as train
from limen.lab.training.experiment import Experiment


@dataclass
class StandIn:
    """In the place of one of Lightning's loggers."""

    name: str
    told: list[tuple[str, Any]] = field(default_factory=list)

    def log_hyperparams(self, params: dict[str, Any]) -> None:
        self.told.append(("settings", params))

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.told.append((f"epoch {step}", metrics))

    def finalize(self, status: str) -> None:
        self.told.append(("end", status))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[StandIn]:
    """The loggers of all runs."""
    found: list[StandIn] = []

    def logger(kind: str, experiment: Experiment, name: str) -> StandIn:
        found.append(StandIn(f"{kind} {name}"))
        return found[-1]

    monkeypatch.setattr(loggers, "_logger", logger)
    return found


def test_every_logger_hears_of_every_epoch_of_every_run(made: list[StandIn]) -> None:
    chosen = tiny(log=("tensorboard", "mlflow"), learning_rate=0.01)
    records = [train.run(experiment_of(chosen, data_of(tiny())), name, 1) for name in ("relu", "asau")]
    assert [one.name for one in made] == [f"{kind} {name}-seed1" for name in ("relu", "asau")
                                          for kind in ("tensorboard", "mlflow")]  # fmt: skip
    for one in made:
        assert [what for what, _ in one.told] == ["settings", "epoch 1", "epoch 2", "end"]
        assert one.told[0][1].items() >= {"seed": 1, "learning_rate": 0.01, "network": "mlp"}.items()
        assert one.told[-1][1] == "success"
    for record, one in zip(records, made[::2], strict=True):
        assert [values["heldout_loss"] for _, values in one.told[1:3]] == [row.heldout_loss for row in record.curves]


def test_a_run_that_is_stopped_is_logged_as_failed(made: list[StandIn]) -> None:
    def stop(row: EpochRow) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train.run(experiment_of(tiny(log=("tensorboard",)), data_of(tiny())), "relu", 0, stop)
    assert made[0].told[-1] == ("end", "failed")


@pytest.mark.parametrize("name", loggers.PACKAGES)
def test_what_is_not_installed_is_said_before_anything_is_trained(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    with pytest.raises(MissingExtraError, match=rf"--log {name} needs {name}; .*pip install 'limen\[{name}\]'"):
        check(tasks.find("classification"), tiny(log=(name,)))


def test_logging_changes_no_number(made: list[StandIn]) -> None:
    logged = train.run(experiment_of(tiny(log=("tensorboard",)), data_of(tiny())), "asau", 0)
    assert logged.curves == train.run(experiment_of(tiny(), data_of(tiny())), "asau", 0).curves


def test_tensorboard_reads_what_was_logged(tmp_path: Path) -> None:
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    experiment = replace(experiment_of(tiny(log=("tensorboard",)), data_of(tiny())), place=tmp_path)
    record = train.run(experiment, "relu", 0)
    (folder,) = (tmp_path / "logs" / "tensorboard").iterdir()
    assert folder.name == "relu-seed0"
    events = reading.EventAccumulator(str(folder)).Reload()
    found = [event.value for event in events.Scalars("heldout_loss")]
    assert found == pytest.approx([row.heldout_loss for row in record.curves])


def test_mlflow_writes_into_the_studys_folder(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    compare(tiny(log=("mlflow",), activations=("relu",), seeds=(0,), epochs=1), tmp_path, Recorder())
    assert list((tmp_path / "logs" / "mlflow").glob("*/*/metrics/*"))
