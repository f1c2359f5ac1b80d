"""``--task forecasting``: windows without leakage, the naive forecast, networks whose activation can be replaced."""

from __future__ import annotations

import csv
import random as randomness
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_lab import Command, command
from torch import nn

import limen
from limen.errors import DataError, SpecError
from limen.lab.data import Division
from limen.lab.settings import StudySettings
from limen.lab.tasks import registry as tasks
from limen.lab.tasks.numbers.recurrent import LSTM, RNN
from limen.lab.tasks.numbers.time_series import load_time_series

SPLITS = {"time": None, "window": 4, "division": Division(validation_fraction=0.1, test_fraction=0.2)}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return command(monkeypatch, capsys)


def prices(folder: Path, rows: int = 104, *, shuffled: bool = False, heading: str = "Date") -> Path:
    """One row a day: the price is the day's square, so every value says which day it is."""
    lines = [[f"2020-{1 + day // 28:02d}-{1 + day % 28:02d}", day**2, day % 7, "ACME"] for day in range(rows)]
    if shuffled:
        randomness.Random(0).shuffle(lines)
    path = folder / "prices.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([[heading, "Close", "Weekday", "Name"], *lines])
    return path


def days(targets: torch.Tensor) -> list[int]:
    """The day that each target is of: last value and change make the day's square."""
    values = targets[:, 2] + targets[:, 0] * targets[:, 1]
    return [round(value**0.5) for value in values.tolist()]


def test_windows_belong_to_the_split_of_their_target(tmp_path: Path) -> None:
    data = load_time_series(str(prices(tmp_path)), "Close", **SPLITS)
    train, validation, test = (days(part.targets) for part in (data.train, data.validation, data.test))
    assert train + validation + test == list(range(4, 104))
    assert (len(train), len(validation), len(test)) == (72, 8, 20)
    assert data.test.times[0] == "2020-04-01"
    assert data.test.times[-1] == "2020-04-20"
    assert data.input_shape == (4, 2)  # Close and Weekday; Name is text
    assert "Name was left out: it is not numeric." in data.notes


def test_columns_are_left_out(tmp_path: Path) -> None:
    path = str(prices(tmp_path))
    data = load_time_series(path, "Close", drop=("Name", "Weekday"), **SPLITS)
    assert data.columns == ("Close",)
    assert data.input_shape == (4, 1)
    assert data.notes == ("Name was left out, as --drop says.", "Weekday was left out, as --drop says.")
    with pytest.raises(SpecError, match="--drop 'Date' is the column of --time, which is needed"):
        load_time_series(path, "Close", drop=("Date",), **{**SPLITS, "time": "Date"})
    with pytest.raises(DataError, match="no column of dates"):
        load_time_series(path, "Close", drop=("Date",), **SPLITS)


def test_what_comes_later_changes_no_window_before_it(tmp_path: Path) -> None:
    whole = load_time_series(str(prices(tmp_path)), "Close", **SPLITS)
    text = prices(tmp_path).read_text().splitlines()
    spoilt = [*text[:85], *(line.replace(line.split(",")[1], "999999") for line in text[85:])]
    (tmp_path / "spoilt.csv").write_text("\n".join(spoilt))
    other = load_time_series(str(tmp_path / "spoilt.csv"), "Close", **SPLITS)
    for one, two in ((whole.train, other.train), (whole.validation, other.validation)):
        assert torch.equal(one.inputs, two.inputs)
        assert torch.equal(one.targets, two.targets)
    assert not torch.equal(whole.test.targets, other.test.targets)


def test_rows_in_any_order_are_put_in_time(tmp_path: Path) -> None:
    ordered = load_time_series(str(prices(tmp_path)), "Close", **SPLITS)
    shuffled = load_time_series(str(prices(tmp_path, shuffled=True)), "Close", **SPLITS)
    assert torch.equal(ordered.train.inputs, shuffled.train.inputs)
    named = load_time_series(str(prices(tmp_path, heading="when")), "Close", **SPLITS)
    assert torch.equal(ordered.test.targets, named.test.targets)


def test_a_window_is_normalised_by_itself(tmp_path: Path) -> None:
    data = load_time_series(str(prices(tmp_path)), "Close", **SPLITS)
    for part in (data.train, data.test):
        assert part.inputs.mean(1).abs().max() < 1e-5
        assert torch.allclose(part.inputs[:, :, 0].std(1, correction=0), torch.ones(len(part)), atol=1e-5)
    past = np.array([day**2 for day in range(4)], dtype=float)
    assert data.train.targets[0].tolist() == pytest.approx([(16 - 9) / past.std(), past.std(), 9.0])


def test_blanks_are_filled_from_the_past_only(tmp_path: Path) -> None:
    text = prices(tmp_path).read_text().splitlines()
    text[1] = "2020-01-01,,0,ACME"
    text[40] = ",".join(["?" if index == 1 else cell for index, cell in enumerate(text[40].split(","))])
    (tmp_path / "gaps.csv").write_text("\n".join(text))
    data = load_time_series(str(tmp_path / "gaps.csv"), "Close", **SPLITS)
    assert "the first 1 rows were left out: a column is still blank there." in data.notes
    assert "1 blank Close were filled with the value before." in data.notes
    assert days(data.train.targets)[34:36] == [38, 40]  # the blank of day 39 repeats day 38
    assert data.train.targets[34, 0] == 0


def test_the_reference_is_the_last_value(tmp_path: Path) -> None:
    task = tasks.find("forecasting")
    chosen = StudySettings(
        task="forecasting", data=str(prices(tmp_path)), target="Close", window=4, network="rnn",
        activations=("relu",), baseline="relu", seeds=(0,),
    )  # fmt: skip
    found = task.reference_metrics(task.load(chosen))
    changes = np.array([day**2 - (day - 1) ** 2 for day in range(84, 104)], dtype=float)
    truth = np.array([day**2 for day in range(84, 104)], dtype=float)
    assert found["rmse"] == pytest.approx(np.sqrt((changes**2).mean()), rel=1e-4)
    assert found["mae"] == pytest.approx(np.abs(changes).mean(), rel=1e-4)
    assert found["r2"] == pytest.approx(1 - (changes**2).sum() / ((truth - truth.mean()) ** 2).sum(), rel=1e-3)


@pytest.mark.parametrize(("network", "sites"), [(RNN, {"activation"}), (LSTM, {"candidate", "output"})])
def test_the_cells_activations_are_replaced_and_its_gates_kept(network: type[nn.Module], sites: set[str]) -> None:
    cell = network(3, 1)
    report = limen.swap_(cell, "asau")
    assert {site.path for site in report.sites} == sites
    assert all(isinstance(getattr(cell, name), limen.ASAU) for name in sites)
    assert not report.unreached
    x = torch.randn(5, 7, 3, requires_grad=True)
    cell(x).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum((0, 2)).min() > 0  # every step is remembered


def test_the_lstm_is_torchs_where_both_use_tanh() -> None:
    ours, theirs = LSTM(3, 1).double(), nn.LSTM(3, LSTM.WIDTH, batch_first=True).double()
    ours.candidate, ours.output = nn.Tanh(), nn.Tanh()
    # torch's order of parts is input, forget, candidate, output.
    order = torch.cat([torch.arange(LSTM.WIDTH) + part * LSTM.WIDTH for part in (0, 1, 3, 2)])
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(ours.input.weight[order])
        theirs.weight_hh_l0.copy_(ours.recurrent.weight[order])
        theirs.bias_ih_l0.copy_(ours.input.bias[order])
        theirs.bias_hh_l0.zero_()
    x = torch.randn(4, 9, 3, dtype=torch.float64)
    assert torch.allclose(ours(x), ours.head(theirs(x)[0][:, -1]), atol=1e-12)


BROKEN = {
    "Date,Close\n2020-01-01,1\n2020-01-01,2\n": "'2020-01-01' twice",
    "Date,Close\n2020-01-01,1\nsoon,2\n": "no column of dates",
    "Date,Close\n2020-01-01,1\n2020-01-02,high\n": "line 3: Close is 'high'",
    "Date,Close\n2020-01-01,1\n2020-01-02,2\n": "makes 0 windows",
    "a,Close\n1,1\n2,2\n": "no column of dates",
}


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_series_is_one_sentence(text: str, run: Command, tmp_path: Path) -> None:
    (tmp_path / "series.csv").write_text(text)
    task = ("compare", "--task", "forecasting", "--data", tmp_path / "series.csv", "--out", tmp_path / "out")
    outcome = run(*task, "--target", "Close")
    assert outcome.code == 2
    assert BROKEN[text] in outcome.sentence
    if "soon" in text:
        assert "line 3: Date is 'soon'" in run(*task, "--target", "Close", "--time", "Date").sentence
        assert "no column 'day' for --time" in run(*task, "--target", "Close", "--time", "day").sentence


def test_a_study_of_a_series_from_file_to_report(run: Command, tmp_path: Path) -> None:
    options = ("--task", "forecasting", "--data", prices(tmp_path), "--target", "Close", "--activations", "relu,apalu")
    outcome = run("compare", *options, "--window", "6", "--epochs", "3", "--out", tmp_path / "out", "--json")
    assert outcome.code == 0, outcome.err
    summary = {row["activation"]: row for row in outcome.json["summary"]}
    assert list(summary) == ["relu", "apalu", "last value"]
    assert summary["last value"]["verdict"] == "reference"
    for row in outcome.json["runs"]:
        assert row["reference_rmse"] == pytest.approx(summary["last value"]["mean"])
    page = Path(outcome.json["report"]).read_text(encoding="utf-8")
    for said in ("Forecast of the test span", "Without any network, <code>last value</code>", "2020-04-20", "Test MAE"):
        assert said in page
