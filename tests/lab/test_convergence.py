"""Epochs until a held-out loss is reached."""

from __future__ import annotations

import math

import pytest

from limen.lab.convergence import epochs_saved, epochs_to_reach, reached_by_all
from limen.lab.records import EpochRow, RunRecord


def run(activation: str, seed: int, *losses: float, status: str = "finished") -> RunRecord:
    rows = tuple(
        EpochRow(epoch=epoch, train_loss=9.0, train_score=0.5, heldout_loss=loss, heldout_score=0.5)
        for epoch, loss in enumerate(losses, start=1)
    )
    return RunRecord(
        activation=activation, seed=seed, status=status, epochs=len(rows), seconds=1, ms_per_step=1, peak_memory_mb=1,
        parameters=1, activation_parameters=0, curves=rows,
    )  # fmt: skip


RUNS = (
    run("relu", 0, 3.0, 2.0, 1.0, 1.2), run("relu", 1, 3.0, 2.5, 2.0, 0.5),  # all reach 1.0: in epochs 3 and 4
    run("ash", 0, 1.0, 0.9, 0.8, 0.7), run("ash", 1, 3.0, 0.9, 0.8, 0.7),  # in epochs 1 and 2
    run("elu", 0, 3.0, 3.0, 3.0, 3.0), run("elu", 1, 3.0, 3.0, 1.0, 3.0),  # never and in epoch 3
    run("ash", 2, 0.1), run("relu", 3, 0.0, status="failed"),
)  # fmt: skip


def test_the_first_epoch_that_reaches_a_loss() -> None:
    assert epochs_to_reach(RUNS[0], 2.0) == 2
    assert epochs_to_reach(RUNS[0], 1.0) == 3
    assert epochs_to_reach(RUNS[0], 0.9) is None
    assert epochs_to_reach(run("relu", 0, math.nan, 1.0), 1.0) == 2


def test_the_baseline_sets_the_mark() -> None:
    assert reached_by_all(RUNS, "relu") == 1.0
    with pytest.raises(ValueError, match="no run of the baseline 'gelu' is finished"):
        reached_by_all(RUNS, "gelu")


def test_epochs_saved_are_paired_by_seed() -> None:
    saved = epochs_saved(RUNS, "relu")
    assert set(saved) == {"ash", "elu"}
    assert saved["ash"].mean == 2.0
    assert saved["ash"].low == saved["ash"].high == 2.0
    assert saved["elu"].mean == -0.5  # 3 - 5, as never is later than the last epoch, and 4 - 3
