"""``--task regression`` and ``--task forecasting``: anyone's CSV file, from the first byte to the report."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_lab import Command, command

from limen.errors import DataError, SpecError
from limen.lab.data import Division
from limen.lab.data.csv_file import read_table
from limen.lab.settings import StudySettings
from limen.lab.tasks import registry as tasks
from limen.lab.tasks.numbers.data import NumberData
from limen.lab.tasks.numbers.tabular import load_tabular

SPLITS = Division(validation_fraction=0.1, test_fraction=0.2, seed=0, with_validation=True)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return command(monkeypatch, capsys)


def houses(folder: Path, rows: int = 200, *, delimiter: str = ",") -> Path:
    """Price = 100·rooms + 50 in the north + a little noise; every tenth garden is blank."""
    random = np.random.default_rng(0)
    path = folder / "houses.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(["rooms", "side", "garden", "owner", "price"])
        for index in range(rows):
            rooms, side = random.uniform(1, 9), ("north", "south")[index % 2]
            garden = "" if index % 10 == 0 else f"{random.uniform(5, 50):.1f}"
            price = 100 * rooms + 50 * (side == "north") + random.normal()
            writer.writerow([f"{rooms:.4f}", side, garden, f"owner {index}", f"{price:.3f}"])
    return path


def settings(path: Path, **changed: object) -> StudySettings:
    values = {"task": "regression", "data": str(path), "target": "price", "network": "dnn"}
    return StudySettings(**{**values, "activations": ("relu",), "baseline": "relu", "seeds": (0,), **changed})


def test_columns_become_numbers_by_the_training_rows_alone(tmp_path: Path) -> None:
    data = load_tabular(str(houses(tmp_path)), "price", SPLITS)
    assert (len(data.train), len(data.validation), len(data.test)) == (144, 16, 40)
    assert data.input_shape == (4,)  # rooms, garden, side=north, side=south
    means, deviations = data.train.inputs[:, :2].mean(0), data.train.inputs[:, :2].std(0, correction=0)
    assert torch.allclose(means, torch.zeros(2), atol=1e-5)
    assert torch.allclose(deviations, torch.ones(2), atol=1e-5)
    assert data.test.inputs[:, :2].mean(0).abs().min() > 1e-4  # the test rows were not looked at
    assert torch.equal(data.train.inputs[:, 2] + data.train.inputs[:, 3], torch.ones(144))
    garden, owner = data.notes[0], data.notes[1]
    assert "20 blank garden were filled with the training median" in garden
    assert owner.startswith("owner was left out: 144 different texts")


def test_blanks_get_the_training_median_and_the_target_comes_back_in_its_unit(tmp_path: Path) -> None:
    path = houses(tmp_path)
    data = load_tabular(str(path), "price", SPLITS)
    prices = np.array(read_table(str(path)).numbers("price"))
    for part in (data.train, data.validation, data.test):
        back = part.targets[:, 0] * part.targets[:, 1] + data.centre
        assert np.abs(back.numpy()[:, None] - prices).min(1).max() < 1e-3  # float32
    gardens = data.train.inputs[:, 1]
    values, counts = gardens.unique(return_counts=True)
    assert counts.max() >= 10  # the blanks share one value
    assert abs(values[counts.argmax()] - gardens.median()) < 0.1


def test_every_row_is_in_one_split_and_another_seed_divides_otherwise(tmp_path: Path) -> None:
    path = str(houses(tmp_path))
    one, other = (load_tabular(path, "price", replace(SPLITS, seed=seed)) for seed in (0, 1))
    every = torch.cat([one.train.targets, one.validation.targets, one.test.targets])[:, 0]
    assert len(every.unique()) == 200
    assert one.facts().fingerprint != other.facts().fingerprint
    paper = load_tabular(path, "price", replace(SPLITS, with_validation=False))
    assert paper.validation is None
    assert len(paper.train) == 160


def test_columns_are_left_out(tmp_path: Path) -> None:
    path = str(houses(tmp_path))
    whole = load_tabular(path, "price", SPLITS)
    data = load_tabular(path, "price", SPLITS, drop=("owner", "side"))
    assert data.columns == ("rooms", "garden")
    assert torch.equal(data.train.inputs, whole.train.inputs[:, :2])
    assert torch.equal(data.test.targets, whole.test.targets)
    assert data.notes[:2] == ("owner was left out, as --drop says.", "side was left out, as --drop says.")
    assert data.facts().fingerprint != whole.facts().fingerprint
    with pytest.raises(DataError, match="no column to predict price from"):
        load_tabular(path, "price", SPLITS, drop=("rooms", "garden", "side", "owner"))


@pytest.mark.parametrize("texts", [1, 2, 3])
def test_a_text_among_numbers_is_a_slip_and_many_are_names(texts: int, tmp_path: Path) -> None:
    cells = [f"word{row}" if row < texts else str(row) for row in range(20)]
    path = tmp_path / "table.csv"
    path.write_text("a,y\n" + "".join(f"{cell},{row}\n" for row, cell in enumerate(cells)) + ",20\n")
    if texts > 2:  # more than a tenth of the cells that are not blank
        assert any(name.startswith("a=") for name in load_tabular(str(path), "y", SPLITS).columns)
        return
    said = rf"line 2: a is 'word0', but {20 - texts} of the 20 cells of that column are numbers; .*--drop a\.$"
    with pytest.raises(DataError, match=said):
        load_tabular(str(path), "y", SPLITS)


def test_columns_to_leave_out_must_be_there(tmp_path: Path, run: Command) -> None:
    path = houses(tmp_path)
    given = ("compare", "--task", "regression", "--data", path, "--target", "price", "--out", tmp_path / "out")
    unknown = run(*given, "--drop", "rooms,gardn")
    assert unknown.code == 2
    assert unknown.sentence == (
        f"limen: {path} has no column 'gardn' for --drop; it has 'rooms', 'side', 'garden', 'owner', 'price'."
    )
    needed = run(*given, "--drop", "rooms", "--drop", "price")
    assert needed.code == 2
    assert needed.sentence == "limen: --drop 'price' is the column of --target, which is needed; drop others."
    assert not (tmp_path / "out").exists()


def test_what_is_left_out_belongs_to_the_study(tmp_path: Path, run: Command) -> None:
    path = houses(tmp_path)
    given = ("compare", "--task", "regression", "--data", path, "--target", "price", "--out", tmp_path / "out")
    given = (*given, "--activations", "relu", "--seeds", "1", "--epochs", "1")
    done = run(*given, "--drop", "owner", "--drop", "side")
    assert done.code == 0, done.err
    assert "columns: rooms, garden" in done.err.splitlines()
    page = (tmp_path / "out/report.html").read_text()
    assert "--drop owner,side" in page
    assert "owner was left out, as --drop says." in page
    assert run(*given, "--drop", "side,owner").code == 0  # the same in another order
    other = run(*given, "--drop", "side")
    assert other.code == 2
    assert "drop ('owner', 'side') there, ('side',) now" in other.sentence


def test_a_category_that_training_has_not_seen_is_zeros(tmp_path: Path) -> None:
    path = houses(tmp_path, 90)
    text = path.read_text().splitlines()
    path.write_text("\n".join([*text, "3.0,east,20,owner x,300"]) + "\n")
    for seed in range(40):
        data = load_tabular(str(path), "price", replace(SPLITS, seed=seed))
        if data.input_shape == (4,):  # east is not among the training rows
            held = torch.cat([data.validation.inputs, data.test.inputs])
            assert (held[:, 2:].sum(1) == 0).sum() == 1
            return
    raise AssertionError("east was always among the training rows")


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_other_delimiters_are_found(delimiter: str, tmp_path: Path) -> None:
    table = read_table(str(houses(tmp_path, 20, delimiter=delimiter)))
    assert list(table.columns) == ["rooms", "side", "garden", "owner", "price"]


BROKEN = {
    b"": "has 0 columns",
    b"a,b\n": "no rows",
    b"a,a\n1,2\n": "the column 'a' twice",
    b"a,price\n1,2\n3\n": "line 3: 1 cells, but the heading has 2",
    b"a,price\n1,2\n3,red\n": "line 3: price is 'red'",
    b"a,price\n1,2\n3,inf\n": "line 3: price is 'inf'",
    b'a,price\n1,"2\n': "not CSV",
    b"a,price\n1,2\n": "1 rows with a price",
    b"\x89PNG\r\n\x1a\n\x00": "not text in UTF-8",
    b"a,b\x00\n1,2\n": "binary file",
    b"a,price\n" + b"1,2\n" * 20: "price is 2 in every training row",
}


@pytest.mark.parametrize("content", BROKEN)
def test_a_broken_file_is_one_sentence_that_names_the_place(content: bytes, run: Command, tmp_path: Path) -> None:
    path = tmp_path / "broken.csv"
    path.write_bytes(content)
    outcome = run("compare", "--task", "regression", "--data", path, "--target", "price", "--out", tmp_path / "out")
    assert outcome.code == 2
    assert BROKEN[content] in outcome.sentence
    assert "broken.csv" in outcome.sentence


def test_what_is_missing_or_misplaced_is_said(run: Command, tmp_path: Path) -> None:
    path = houses(tmp_path)
    task = ("compare", "--task", "regression", "--out", tmp_path / "out")
    assert "does not exist" in run(*task, "--data", tmp_path / "no.csv", "--target", "price").sentence
    assert "Did you mean 'price'" in run(*task, "--data", path, "--target", "prise").sentence
    assert "needs --target" in run(*task, "--data", path).sentence
    assert "'convnet'" in run(*task, "--data", path, "--target", "price", "--network", "convnet").sentence
    assert "only of" in run("compare", "--target", "price").sentence
    assert "--grey" in run(*task, "--data", path, "--target", "price", "--grey").sentence
    assert "Did you mean 'regression'" in run("compare", "--task", "regresion", "--data", path).sentence
    assert not (tmp_path / "out").exists()


def test_a_study_of_a_table_from_file_to_report(run: Command, tmp_path: Path) -> None:
    options = ("--task", "regression", "--data", houses(tmp_path), "--target", "price", "--activations", "relu,asau")
    options += (
        "--seeds",
        "2",
        "--epochs",
        "5",
        "--batch-size",
        "8",
        "--learning-rate",
        "0.01",
        "--out",
        tmp_path / "out",
    )
    outcome = run("compare", *options, "--json")
    assert outcome.code == 0, outcome.err
    rows = outcome.json["runs"]
    assert len(rows) == 4
    for row in rows:
        assert row["test_rmse"] < 60  # the prices' deviation is 230
        assert row["test_mae"] <= row["test_rmse"]
        assert row["test_r2"] == pytest.approx(1 - (row["test_rmse"] / deviation(tmp_path)) ** 2, abs=1e-3)
    assert {row["metric"] for row in outcome.json["summary"]} == {"test_rmse"}
    page = Path(outcome.json["report"]).read_text(encoding="utf-8")
    for said in ("Predicted against true", "Test MAE", "Test R²", "Test RMSE", "training median", "target price"):
        assert said in page
    shown = re.sub(r"<script.*?</script>", "", page.lower(), flags=re.DOTALL)
    assert "nan" not in shown.replace("nano", "")
    again = run("compare", *options, "--json")
    assert again.json["runs"] == rows


def deviation(folder: Path) -> float:
    data = load_tabular(str(folder / "houses.csv"), "price", SPLITS)
    truth = data.test.targets.prod(1)
    return float(truth.std(correction=0))


def test_the_metrics_are_those_of_the_target_in_its_own_unit(tmp_path: Path) -> None:
    task, chosen = tasks.find("regression"), settings(houses(tmp_path))
    data = task.load(chosen)
    assert isinstance(data, NumberData)
    inputs, targets = data.test.tensors
    outputs = targets[:, :1] + 0.5  # half a deviation off
    predictions, truth = task.answer(outputs, targets, data)
    found = {name: float(metric(predictions, truth)) for name, metric in task.meters(data).items()}
    half = 0.5 * float(targets[0, 1])
    assert found["rmse"] == pytest.approx(half, rel=1e-5)
    assert found["mae"] == pytest.approx(half, rel=1e-5)
    assert found["r2"] == pytest.approx(1 - half**2 / float(truth.var(correction=0)), rel=1e-4)
    assert float(task.loss(outputs, targets)) == pytest.approx(0.25, rel=1e-5)
    assert task.build("dnn", data, 0)(inputs).shape == (len(inputs), 1)


def test_a_lower_error_is_better() -> None:
    measure = tasks.find("regression").measure
    assert not measure.higher_is_better
    assert measure.goodness(1.0) > measure.goodness(2.0)
    assert measure.goodness(math.inf) == -math.inf


@pytest.mark.parametrize("rows", [9, 10])
def test_ten_rows_are_the_fewest(rows: int, tmp_path: Path) -> None:
    path = houses(tmp_path, rows)
    if rows < 10:
        with pytest.raises(DataError, match="10 or more are needed"):
            load_tabular(str(path), "price", SPLITS)
    else:
        data = load_tabular(str(path), "price", SPLITS)
        assert min(len(data.train), len(data.validation), len(data.test)) >= 2
    with pytest.raises(SpecError, match="no column 'cost'"):
        load_tabular(str(path), "cost", SPLITS)
