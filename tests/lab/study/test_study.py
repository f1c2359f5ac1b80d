"""Whole studies in this process: what is written, what is reused, what failing runs and the protocols do."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers_lab import STEPS_AN_EPOCH, Recorder, briefly, data_of, experiment_of, stored, tiny

import limen
from limen.activations.base import Activation
from limen.errors import StudyError
from limen.lab.metric import ACCURACY
from limen.lab.records import EpochRow, RunRecord
from limen.lab.settings import StudySettings
from limen.lab.study.compare import compare
from limen.lab.study.result import Result, report
from limen.lab.tasks.numbers.dense import DNN
from limen.lab.training import cost, experiment
from limen.lab.training import run as train
from limen.lab.training.batches import Batches
from limen.lab.training.checkpoint import Checkpoints
from limen.lab.training.engine import Engine
from limen.lab.training.loop import Best, Loop


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Recorder, Path]:
    """A study of two activations and two seeds, complete. Tests must not write to its folder."""
    out, listener = tmp_path_factory.mktemp("studies") / "study", Recorder()
    torch.manual_seed(0)
    with briefly():
        return compare(tiny(), out, listener, command="limen compare --data digits"), listener, out


def test_a_study_writes_a_row_a_run(done: tuple[Result, Recorder, Path]) -> None:
    result, _, out = done
    found = rows(out / "runs.csv")
    assert [(row["activation"], row["seed"]) for row in found] == [
        ("relu", "0"), ("relu", "1"), ("asau", "0"), ("asau", "1")
    ]  # fmt: skip
    for row, run in zip(found, result.runs, strict=True):
        assert row["status"] == "finished"
        assert row["epochs"] == "2"
        assert float(row["test_accuracy"]) == run.metrics["test_accuracy"]
        assert {"val_accuracy", "val_f1", "val_loss", "test_f1", "test_loss", "seconds"} <= row.keys()
        assert row["failure"] == ""
        assert float(row["ms_per_step"]) > 0
        assert float(row["peak_memory_mb"]) > 0.3
    assert int(found[0]["activation_parameters"]) == 0
    assert int(found[2]["activation_parameters"]) == 4  # alpha and beta at two sites
    assert int(found[2]["parameters"]) == int(found[0]["parameters"]) + 4


def test_a_study_summarises_each_activation(done: tuple[Result, Recorder, Path]) -> None:
    result, _, out = done
    relu, asau = rows(out / "summary.csv")
    assert (relu["activation"], relu["verdict"], relu["baseline"]) == ("relu", "baseline", "relu")
    assert asau["activation"] == "asau"
    assert asau["runs"] == "2"
    accuracy = {(run.activation, run.seed): run.metrics["test_accuracy"] for run in result.runs}
    assert float(asau["mean"]) == pytest.approx((accuracy["asau", 0] + accuracy["asau", 1]) / 2)
    differences = [accuracy["asau", seed] - accuracy["relu", seed] for seed in (0, 1)]
    assert float(asau["difference"]) == pytest.approx(sum(differences) / 2)
    assert 0 < float(asau["ms_ratio"]) < 1000
    assert float(asau["peak_memory_mb"]) > 0.3


def test_a_study_learns_something(done: tuple[Result, Recorder, Path]) -> None:
    result, _, _ = done
    assert all(run.metrics["test_accuracy"] > 0.3 for run in result.runs)  # 0.1 is chance


def test_a_study_has_a_report(done: tuple[Result, Recorder, Path]) -> None:
    result, _, out = done
    assert result.report == out / "report.html"
    page = result.report.read_text(encoding="utf-8")
    assert page.rstrip().endswith("</html>")
    assert "limen compare --data digits" in page
    assert all(name in page for name in ("relu", "asau", "digits"))


def test_nothing_else_is_left_in_the_folder(done: tuple[Result, Recorder, Path]) -> None:
    _, _, out = done
    runs = {f"runs/{name}-seed{seed}.json" for name in ("relu", "asau") for seed in (0, 1)}
    logs = {name.replace("runs/", "logs/").replace(".json", ".log") for name in runs}
    assert stored(out).keys() == runs | logs | {
        ".lock", "study.json", "cost.json", "runs.csv", "summary.csv", "report.html"
    }  # fmt: skip


def test_the_listener_hears_everything_in_order(done: tuple[Result, Recorder, Path]) -> None:
    result, heard, _ = done
    assert heard.plans == [(4, 0, ())]
    assert heard.started == [("relu", 0), ("asau", 0), ("relu", 1), ("asau", 1)]  # seeds outermost
    assert [(run.activation, run.seed) for run in heard.ended] == heard.started
    assert sorted(heard.ended, key=lambda run: run.seed) == sorted(result.runs, key=lambda run: run.seed)
    assert [row.epoch for row in heard.epochs] == [1, 2] * 4
    done_of, total = heard.timings[-1]
    assert done_of == total == len(heard.timings)


def test_a_record_has_its_curves_and_shapes(done: tuple[Result, Recorder, Path]) -> None:
    result, _, _ = done
    for run in result.runs:
        assert [row.epoch for row in run.curves] == [1, 2]
        best = max(run.curves, key=lambda row: (row.heldout_score, -row.heldout_loss))
        assert run.best_epoch == best.epoch
        assert run.metrics["val_accuracy"] == pytest.approx(best.heldout_score, abs=1e-6)
        assert run.metrics["val_loss"] == pytest.approx(best.heldout_loss, rel=1e-4)
        assert [layer.path for layer in run.layers] == ["layers.2", "layers.4"]
    asau = result.runs[-1]
    assert any(layer.parameters["alpha"] != (1.0,) for layer in asau.layers)


def copied(out: Path, to: Path) -> Path:
    """The study's folder again, times included, for a test that writes to it."""
    to.mkdir()
    (to / "runs").mkdir()
    (to / "logs").mkdir()
    for name in stored(out):
        (to / name).write_bytes((out / name).read_bytes())
    return to


def test_a_second_time_trains_nothing(
    done: tuple[Result, Recorder, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, _, original = done
    out = copied(original, tmp_path / "study")
    before = stored(out)
    monkeypatch.setattr(train, "run", lambda *arguments: pytest.fail("a run that is stored was trained again"))
    monkeypatch.setattr(cost, "measure", lambda *arguments: pytest.fail("the cost was measured again"))
    listener = Recorder()
    again = compare(tiny(), out, listener, command="limen compare --data digits")
    assert listener.plans == [(4, 4, ())]
    assert listener.started == []
    assert again.runs == result.runs
    after = stored(out)
    for name in before:
        assert after[name][0] == before[name][0], name
        if name.startswith("runs/") or name == "cost.json":
            assert after[name][1] == before[name][1], name


def test_report_makes_the_same_tables_and_page_again(done: tuple[Result, Recorder, Path], tmp_path: Path) -> None:
    _, _, original = done
    out = copied(original, tmp_path / "study")
    before = stored(out)
    for name in ("runs.csv", "summary.csv", "report.html"):
        (out / name).unlink()
    report(out)
    assert {name: content for name, (content, _) in stored(out).items()} == {
        name: content for name, (content, _) in before.items()
    }


def test_one_more_seed_and_one_more_activation_reuse_the_runs(
    done: tuple[Result, Recorder, Path], tmp_path: Path
) -> None:
    _, _, original = done
    out = copied(original, tmp_path / "study")
    before, listener = stored(out), Recorder()
    result = compare(tiny(activations=("relu", "asau", "silu"), seeds=(0, 1, 2)), out, listener)
    assert listener.plans == [(9, 4, ())]
    assert sorted(listener.started) == [("asau", 2), ("relu", 2), ("silu", 0), ("silu", 1), ("silu", 2)]
    after = stored(out)
    assert all(after[name] == before[name] for name in before if name.startswith("runs/"))
    assert [row.runs for row in result.summary] == [3, 3, 3]
    assert len(rows(out / "runs.csv")) == 9
    assert {row.activation for row in result.costs} == {"torch.nn.ReLU", "relu", "asau", "silu"}


def test_tables_are_whole_while_a_study_is_extended(done: tuple[Result, Recorder, Path], tmp_path: Path) -> None:
    """Whoever looks at, or is left with, a study in the middle sees every run that is stored, and its summary."""
    _, _, original = done
    out = copied(original, tmp_path / "study")
    seen = []

    class Looking(Recorder):
        def run_started(self, activation: str, seed: int, where: str = "") -> None:
            look()

    def look() -> None:
        seen.append((len(rows(out / "runs.csv")), [row["runs"] for row in rows(out / "summary.csv")]))

    compare(tiny(activations=("relu", "silu")), out, Looking())
    look()
    assert seen == [(4, ["2", "2"]), (5, ["2", "2", "1"]), (6, ["2", "2", "2"])]


# --- failing runs ---


class Explodes(Activation):
    """ReLU, until its fifth step in training."""

    written = "max(x, 0), then NaN"

    def __init__(self, **named: Any) -> None:
        super().__init__(**named)
        self.steps = 0

    @staticmethod
    def formula(x: Any) -> Any:
        return x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.steps += self.training
        return x.relu() * (math.nan if self.steps > 4 else 1.0)


def test_a_loss_that_explodes_is_a_failed_run_and_the_others_go_on(tmp_path: Path) -> None:
    limen.register("explodes")(Explodes)
    settings, listener = tiny(activations=("relu", "explodes", "asau")), Recorder()
    result = compare(settings, tmp_path, listener)
    assert STEPS_AN_EPOCH == 3  # so that step 5 is the second of epoch 2
    failed = [run for run in result.runs if run.activation == "explodes"]
    assert [run.status for run in failed] == ["failed", "failed"]
    assert result.failed == tuple(failed)
    for run in failed:
        assert run.failure == "the loss became nan in epoch 2, step 2."
        assert run.epochs == len(run.curves) == 1
        assert run.best_epoch == 0
        assert run.metrics == {}
    assert all(run.status == "finished" for run in result.runs if run.activation != "explodes")
    by_name = {row.activation: row for row in result.summary}
    assert (by_name["explodes"].runs, by_name["explodes"].failed) == (0, 2)
    assert by_name["explodes"].verdict == "not tested: no finished pair"
    assert by_name["asau"].p_holm == by_name["asau"].p or math.isnan(by_name["asau"].p)
    assert "epoch 2, step 2" in result.report.read_text(encoding="utf-8")
    table = rows(tmp_path / "runs.csv")
    assert {row["failure"] for row in table if row["activation"] == "explodes"} == {failed[0].failure}

    again = Recorder()  # a failed run is a result: it is not tried again
    compare(settings, tmp_path, again)
    assert again.started == []


def test_a_learning_rate_too_large_fails_in_words(tmp_path: Path) -> None:
    result = compare(tiny(learning_rate=1e30, activations=("relu",), seeds=(0,), epochs=1), tmp_path, Recorder())
    assert [run.status for run in result.runs] == ["failed"]
    assert "in epoch 1, step " in result.runs[0].failure
    assert math.isnan(result.summary[0].mean)
    assert result.report.exists()


def test_a_held_out_measure_that_is_never_finite_fails_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "table.csv"
    file.write_text("x,y\n" + "".join(f"{number},{number % 7}\n" for number in range(60)))
    settings = StudySettings(task="regression", data=str(file), target="y", network="dnn", activations=("relu",),
                             baseline="relu", seeds=(0,), epochs=2)  # fmt: skip
    monkeypatch.setattr(DNN, "forward", lambda self, x: self.layers(x) * (1.0 if self.training else math.nan))
    record = train.run(experiment_of(settings), "relu", 0)
    assert record.status == "failed"
    assert record.failure == "no epoch could be chosen: val_rmse was never a finite number."
    assert record.epochs == 2


def test_weights_that_explode_leave_no_trace_in_the_next_run(tmp_path: Path) -> None:
    alone = train.run(experiment_of(tiny()), "asau", 0)
    limen.register("explodes")(Explodes)
    train.run(experiment_of(tiny()), "explodes", 0)
    assert train.run(experiment_of(tiny()), "asau", 0).metrics == alone.metrics


# --- protocols ---


class Spying(Batches):
    """Batches that write down which split is passed over, and in which mode."""

    passes: list[tuple[str, bool]]
    names: dict[int, str]

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        self.passes.append((self.names.get(len(self.targets), "?"), self.seed is not None))
        yield from super().__iter__()  # reached when the first batch is asked for


def passes(protocol: str, monkeypatch: pytest.MonkeyPatch) -> tuple[list[tuple[str, bool]], RunRecord]:
    settings = tiny(protocol=protocol, epochs=3)
    data = data_of(settings)
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    Spying.names = {len(split): name for name, split in splits.items() if split is not None}
    Spying.passes = []
    for module in (train, experiment):
        monkeypatch.setattr(module, "Batches", Spying)
    return Spying.passes, train.run(experiment_of(settings, data), "asau", 0)


def test_honest_reads_the_test_set_once_and_last(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, run = passes("honest", monkeypatch)
    assert run.curves[0].epoch == 1
    names = [name for name, _ in seen]
    assert names.count("test") == 1
    assert [name for name, shuffled in seen if shuffled] == ["train"] * 3
    # Three epochs, each watched on validation; then validation with the best weights, and test.
    assert names[:8] == ["train", "validation"] * 3 + ["validation", "test"]
    assert "test" not in names[8:]


def test_honest_trains_with_batches_that_do_not_hold_the_test_set(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tiny(epochs=1)
    data = data_of(settings)

    def fit(loop: Loop, checkpoints: Checkpoints) -> None:
        assert torch.equal(loop.batches.targets, data.train.labels)
        assert torch.equal(loop.heldout.targets, data.validation.labels)
        raise StudyError("seen enough")

    monkeypatch.setattr(Loop, "run", fit)
    with pytest.raises(StudyError, match="seen enough"):
        train.run(experiment_of(settings, data), "relu", 0)


def test_the_paper_protocol_picks_the_epoch_by_the_test_set(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tiny(protocol="paper", epochs=3)
    data = data_of(settings)
    assert data.validation is None
    assert len(data.train) == 200  # nothing is held out
    seen, run = passes("paper", monkeypatch)
    assert [name for name, _ in seen][:7] == ["train", "test"] * 3 + ["test"]
    best = max(run.curves, key=lambda row: (row.heldout_score, -row.heldout_loss))
    assert run.best_epoch == best.epoch
    assert run.metrics["test_accuracy"] == pytest.approx(best.heldout_score, abs=1e-6)
    assert not any(name.startswith("val_") for name in run.metrics)


def test_the_paper_protocol_is_noted_in_the_report(tmp_path: Path) -> None:
    settings = tiny(protocol="paper", epochs=1, activations=("relu",), seeds=(0,))
    result = compare(settings, tmp_path, Recorder())
    assert result.study.data.validation == 0
    assert "test accuracy" in result.report.read_text(encoding="utf-8").lower()
    assert "optimistic" in result.report.read_text(encoding="utf-8").lower()


@pytest.mark.parametrize(
    ("epochs", "best"),
    [
        ([(0.5, 1.0), (0.7, 2.0), (0.6, 0.5)], 2),
        ([(0.5, 1.0), (0.5, 0.8), (0.5, 0.9)], 2),  # among equal accuracies the lower loss
        ([(0.5, 1.0), (0.5, 1.0)], 1),  # among equals the earliest
        ([(0.0, math.inf), (0.0, math.inf)], 1),
        ([(0.0, math.nan)], 1),
    ],
)
def test_the_best_epoch_and_its_weights_are_kept(epochs: list[tuple[float, float]], best: int) -> None:
    network = torch.nn.Linear(1, 1)
    keeper = Best(ACCURACY, Engine())
    for index, (accuracy, loss) in enumerate(epochs):
        torch.nn.init.constant_(network.weight, index + 1)
        keeper.compare(network, index + 1, {"val_accuracy": accuracy, "val_loss": loss})
    torch.nn.init.constant_(network.weight, 99)
    assert keeper.epoch == best
    assert keeper.state["weight"].item() == best


@pytest.mark.parametrize("protocol", ["honest", "paper"])
def test_the_weights_of_the_best_epoch_are_tested(protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    train_epoch = Loop._epoch

    def ruin_the_last_epoch(loop: Loop, epoch: int) -> None:
        if epoch == 3:
            for parameter in loop.network.parameters():
                torch.nn.init.zeros_(parameter)
        train_epoch(loop, epoch)

    monkeypatch.setattr(Loop, "_epoch", ruin_the_last_epoch)
    settings = tiny(protocol=protocol, epochs=3)
    run = train.run(experiment_of(settings), "relu", 0)
    assert run.best_epoch in (1, 2)
    assert run.curves[2].heldout_score < 0.3
    assert run.metrics["test_accuracy"] > 0.5
    best = run.curves[run.best_epoch - 1]
    heldout = run.metrics["test_accuracy" if protocol == "paper" else "val_accuracy"]
    assert heldout == pytest.approx(best.heldout_score, abs=1e-6)


# --- interruptions ---


class Interrupting(Recorder):
    """Ctrl-C in the third run's first epoch."""

    def epoch(self, activation: str, seed: int, row: EpochRow) -> None:
        if len(self.ended) == 2:
            raise KeyboardInterrupt


def test_ctrl_c_while_training_keeps_what_is_done(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        compare(tiny(), tmp_path, Interrupting())
    kept = {name for name in stored(tmp_path) if name.startswith("runs/")}
    assert kept == {"runs/relu-seed0.json", "runs/asau-seed0.json"}
    partial = report(tmp_path)  # 'limen report' works on half a study
    assert [row.runs for row in partial.summary] == [1, 1]
    assert partial.summary[1].verdict == "not tested: needs 2 seeds"
    listener = Recorder()
    compare(tiny(), tmp_path, listener)
    assert listener.started == [("relu", 1), ("asau", 1)]


def test_ctrl_c_while_testing_is_ctrl_c_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "_test", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train.run(experiment_of(tiny(epochs=1), data_of(tiny())), "relu", 0)


def test_report_of_a_study_without_any_run(tmp_path: Path) -> None:
    class AtOnce(Recorder):
        def run_started(self, activation: str, seed: int) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(tiny(), tmp_path, AtOnce())
    result = report(tmp_path)
    assert result.runs == ()
    assert [row.runs for row in result.summary] == [0, 0]


def test_report_of_no_study(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"there is no study in .*study\.json is missing"):
        report(tmp_path / "none")
    assert not (tmp_path / "none").exists()
