"""``--task multilabel``: images with several labels each, from CSV and JSON files, loss and metrics, file to report."""

from __future__ import annotations

import csv
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import thoroughly
from helpers_lab import Command, command, experiment_of
from PIL import Image
from torch.nn import functional as F

from limen.errors import DataError, SpecError
from limen.lab.data.division import Division, Draw
from limen.lab.settings import StudySettings
from limen.lab.tasks import registry as tasks
from limen.lab.tasks.multilabel import meters
from limen.lab.tasks.multilabel.data import LabelData, LabelSplit, rarity, weighed
from limen.lab.tasks.multilabel.division import ByLabels
from limen.lab.tasks.multilabel.meters import best_threshold
from limen.lab.tasks.multilabel.training import WithThresholds
from limen.lab.training import ranking
from limen.lab.training import run as train

LABELS = ("left", "right", "top")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return command(monkeypatch, capsys)


def shown(number: int) -> tuple[int, ...]:
    """Which labels an image has: every combination in turn, none among them."""
    return tuple(number >> bit & 1 for bit in range(3))


def folder(root: Path, count: int = 24, *, size: tuple[int, int] = (6, 6)) -> Path:
    """Images in ``pictures/`` that are bright where their labels say."""
    (root / "pictures").mkdir(parents=True)
    for number in range(count):
        left, right, top = shown(number)
        pixels = np.random.default_rng(number).integers(0, 40, (*size, 3))
        pixels[:, :3] += 90 * left
        pixels[:, 3:] += 90 * right
        pixels[:2] += 100 * top
        Image.fromarray(pixels.astype(np.uint8)).save(root / "pictures" / f"{number}.png")
    return root


def columns(count: int = 24) -> list[list[object]]:
    """A heading and rows of 0 and 1."""
    return [["image", *LABELS], *([f"pictures/{number}.png", *shown(number)] for number in range(count))]


def listed(count: int = 24, mark: str = ";") -> list[list[object]]:
    """A heading and rows of lists."""
    return [["image", "labels"], *([image, mark.join(named(marks))] for image, *marks in columns(count)[1:])]


def named(marks: list[object]) -> list[str]:
    return [name for name, mark in zip(LABELS, marks, strict=True) if mark]


def write(path: Path, rows: list[list[object]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def as_json(root: Path, count: int = 24) -> Path:
    """A JSON file an image, in a folder beside the images."""
    (root / "marks").mkdir()
    for image, *marks in columns(count)[1:]:
        content = {"image": f"../{image}", "labels": named(marks), "license": 1}
        (root / "marks" / f"{Path(str(image)).stem}.json").write_text(json.dumps(content))
    return root


def settings(data: Path, **changed: object) -> StudySettings:
    values = {"task": "multilabel", "data": str(data), "network": "mlp", "batch_size": 4, "epochs": 2}
    return StudySettings(**{**values, "activations": ("relu",), "baseline": "relu", "seeds": (0,), **changed})


def loaded(data: Path, **changed: object) -> LabelData:
    found = tasks.find("multilabel").load(settings(data, **changed))
    assert isinstance(found, LabelData)
    return found


def labels_of(data: LabelData) -> dict[str, tuple[str, ...]]:
    """By the name of the image's file."""
    found = {}
    for split in (data.train, data.validation, data.tested):
        assert split is not None
        for name, there in zip(split.names, split.there.tolist(), strict=True):
            found[Path(name).name] = tuple(one for one, has in zip(data.classes, there, strict=True) if has)
    return found


def test_columns_lists_and_json_files_say_the_same(tmp_path: Path) -> None:
    folder(tmp_path)
    write(tmp_path / "columns.csv", columns())
    write(tmp_path / "list.csv", listed())
    write(tmp_path / "bars.csv", [["Patient", *row] for row in listed(mark=" | ")])
    expected = {Path(str(image)).name: tuple(named(marks)) for image, *marks in columns()[1:]}
    for data in (
        loaded(tmp_path / "columns.csv"),
        loaded(tmp_path / "list.csv"),
        loaded(tmp_path / "bars.csv", target="labels"),
        loaded(tmp_path / "bars.csv", drop=("Patient",)),
        loaded(as_json(tmp_path)),
    ):
        assert data.classes == LABELS
        assert labels_of(data) == expected
        assert data.notes == ("Of 24 images 3 have no label; they count as lacking each.",)
        assert data.image_shape == (3, 6, 6)
    shutil.make_archive(str(tmp_path.parent / "packed"), "zip", tmp_path)
    assert labels_of(loaded(tmp_path.parent / "packed.zip")) == expected


def test_images_are_those_that_the_file_names(tmp_path: Path) -> None:
    data = loaded(write(folder(tmp_path) / "a.csv", columns()))
    for name, pixels in zip(data.train.names, data.train.images, strict=True):
        with Image.open(tmp_path / name) as image:
            assert np.array_equal(pixels.permute(1, 2, 0).numpy(), np.asarray(image))


def test_a_file_may_say_how_it_is_divided(tmp_path: Path) -> None:
    parts = ["train", "Val", "test"]
    rows = [[*row, "split" if not number else parts[number % 8 // 3]] for number, row in enumerate(columns())]
    data = loaded(write(folder(tmp_path) / "a.csv", rows))
    assert {*data.tested.names} == {row[0] for row in rows[1:] if row[-1] == "test"}
    assert data.validation is not None
    assert {*data.validation.names} == {row[0] for row in rows[1:] if row[-1] == "Val"}
    blocks = loaded(write(tmp_path / "b.csv", columns()), split="blocks", test_fraction=0.5, validation_fraction=0.3)
    assert blocks.tested.names == tuple(f"pictures/{number}.png" for number in range(12, 24))


@pytest.mark.parametrize(
    ("change", "said"),
    {
        "three cells": (lambda rows: rows[3].pop(), "a.csv, line 4: 3 cells, but the heading has 4"),
        "no number": (lambda rows: rows[2].__setitem__(1, "yes"), r"line 3: left is 'yes', but .* 0 or 1"),
        "2": (lambda rows: rows[2].__setitem__(2, 2), r"line 3: right is '2', but a column of labels holds 0 or 1"),
        "blank": (lambda rows: rows[2].__setitem__(2, ""), "line 3: right is blank"),
        "no image": (lambda rows: rows[5].__setitem__(0, "pictures/99.png"), r"line 6: there is no image .*99\.png"),
        "no name": (lambda rows: rows[5].__setitem__(0, ""), "line 6: image is blank"),
        "out": (lambda rows: rows[5].__setitem__(0, "../0.png"), "line 6: the image '../0.png' lies outside"),
        "absolute": (lambda rows: rows[5].__setitem__(0, "/etc/hosts"), "line 6: the image '/etc/hosts' lies outside"),
        "twice": (
            lambda rows: rows[5].__setitem__(0, "pictures/./1.png"),
            r"line 6: the image 'pictures/\./1\.png' was named before, in .*line 3",
        ),
        "names": (lambda rows: rows[0].__setitem__(2, "Left"), "has the label 'left' and .* 'Left'"),
        "split": (
            lambda rows: [row.append("split" if row is rows[0] else "later") for row in rows],
            "line 2: split is 'later', but must be train, validation or test",
        ),
        "no training": (
            lambda rows: [row.append("split" if row is rows[0] else "test") for row in rows],
            "has a test split but none to train on",
        ),
        "nothing": (lambda rows: [row.__setitem__(slice(1, 4), "000") for row in rows[1:]], "no image .* any label"),
        "one": (lambda rows: [row.__setitem__(slice(1, 4), [1, 1, 1]) for row in rows[1:]], "nothing can be measured"),
        "no labels": (lambda rows: [row.__delitem__(slice(2, None)) for row in rows], None),
    }.values(),
)  # fmt: skip
def test_what_is_wrong_in_a_file_is_said(change: object, said: str | None, tmp_path: Path) -> None:
    rows = columns()
    change(rows)
    path = write(folder(tmp_path) / "a.csv", rows)
    if said is None:
        assert loaded(path).classes == ("left",)
        return
    with pytest.raises(DataError, match=said):
        loaded(path)


def test_labels_of_a_list_are_spelt_one_way(tmp_path: Path) -> None:
    rows = listed()
    rows[4][1] = "left; TOP"
    with pytest.raises(DataError, match=r"line 5, has the label 'TOP' and .* line 6, 'top'"):
        loaded(write(folder(tmp_path) / "a.csv", rows))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "holds a list; it must hold"),
        ("{", "is not JSON"),
        ('{"labels": []}', "'image' is missing"),
        ('{"image": "../pictures/1.png", "labels": "left"}', "'labels' is 'left'; it must be a list"),
        ('{"image": "../pictures/1.png", "labels": ["left", 3]}', "a label is 3; every label must be a text"),
        ('{"image": "../pictures/1.png", "labels": ["Left"]}', "has the label 'Left' and .* 'left'"),
        ('{"image": "../pictures/2.png", "labels": []}', "was named before"),
        ('{"image": "../../x.png", "labels": []}', "lies outside"),
        ('{"image": "/x.png", "labels": []}', "lies outside"),
        ('{"image": "../pictures/77.png", "labels": []}', "there is no image"),
        ('{"image": "../pictures/1.png", "labels": [], "split": "train"}', "does not say a split, and others do"),
    ],
)
def test_what_is_wrong_in_a_json_file_is_said(content: str, said: str, tmp_path: Path) -> None:
    as_json(folder(tmp_path))
    (tmp_path / "marks" / "1.json").write_text(content)
    with pytest.raises(DataError, match=said):
        loaded(tmp_path)


def test_other_folders_other_sizes_and_links_out_are_refused(tmp_path: Path) -> None:
    root = folder(tmp_path / "in")
    with pytest.raises(DataError, match="holds no JSON files; give a CSV file"):
        loaded(root)
    with pytest.raises(DataError, match=r"is no CSV file, and --drop image"):
        loaded(as_json(root), drop=("image",))
    with pytest.raises(SpecError, match="no column 'sides' for --target"):
        loaded(write(root / "a.csv", columns()), target="sides")
    Image.new("RGB", (7, 6)).save(root / "pictures" / "9.png")
    with pytest.raises(DataError, match=r"'pictures/0.png' is 6×6, 'pictures/9.png' is 6×7; give --image-size"):
        loaded(root / "a.csv")
    assert loaded(root / "a.csv", image_size=(4, 4)).image_shape == (3, 4, 4)
    (tmp_path / "secret.png").write_bytes((root / "pictures" / "8.png").read_bytes())
    (root / "pictures" / "9.png").unlink()
    (root / "pictures" / "9.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(DataError, match=r"line 11: the image 'pictures/9.png' lies outside"):
        loaded(root / "a.csv", image_size=(4, 4))


def test_a_label_that_no_image_has_is_said_and_left_out_of_the_means(tmp_path: Path) -> None:
    rows = [[*row, "never" if not number else 0, "rare" if not number else int(number == 24)]
            for number, row in enumerate(columns())]  # fmt: skip
    data = loaded(write(folder(tmp_path) / "a.csv", rows))
    said = "\n".join(data.notes)
    assert "No training image has never, rare: what has no other case cannot be learned." in said or (
        "No training image has never: what has no other case cannot be learned." in said
    )
    assert "No test image has never" in said
    assert data.train.labels[:, 3].tolist() == [0] * len(data.train)
    run = train.run(experiment_of(settings(tmp_path / "a.csv"), data), "relu", 0)
    assert run.status == "finished"
    each = [run.metrics[f"test_auroc_of_{name}"] for name in data.classes]
    assert math.isnan(each[3])
    assert run.metrics["test_auroc"] == pytest.approx(np.nanmean(each))


@pytest.mark.parametrize("seed", thoroughly(range(9), usual={0}))
def test_every_part_has_its_share_of_every_label(seed: int) -> None:
    random = np.random.default_rng(seed)
    rates = np.array([0.02, 0.1, 0.3, 0.9])
    there = random.random((200, 4)) < rates
    split = LabelSplit(torch.zeros(200, 1, 1, 1), torch.from_numpy(there).float(), tuple(map(str, range(200))))
    draw = Draw(LabelData("d", ("a", "b", "c", "d"), split, None, None), "test", seed)
    taken = ByLabels().taken(split, 0.2, draw)
    assert torch.equal(taken, ByLabels().taken(split, 0.2, draw))
    assert torch.equal(taken, taken.unique())
    assert abs(len(taken) - 40) <= 4
    counts, whole = split.there[taken].sum(0).numpy(), there.sum(0)
    assert (np.abs(counts - 0.2 * whole) <= np.maximum(1.5, 0.05 * whole)).all()
    other = ByLabels().taken(split, 0.2, Draw(draw.data, "test", seed + 1))
    assert not torch.equal(taken, other)


def test_the_loss_is_cross_entropy_weighed_by_how_rare_a_label_is() -> None:
    torch.manual_seed(0)
    there = torch.rand(50, 4) < torch.tensor([0.1, 0.4, 0.0, 1.0])
    there[0, 0] = True
    split = LabelSplit(torch.zeros(50, 1, 1, 1), there.float(), ())
    logits = torch.randn(50, 4)
    counts = there.sum(0).float()
    weights = torch.tensor([(50 - counts[0]) / counts[0], (50 - counts[1]) / counts[1], 1.0, 1.0])
    assert torch.allclose(rarity(split), weights)
    weighted = weighed(split, rarity(split))
    found = tasks.find("multilabel").loss(logits, weighted.labels)
    expected = F.binary_cross_entropy_with_logits(logits, there.float(), pos_weight=weights)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    assert torch.equal(weighted.there, there)


@pytest.mark.parametrize("seed", thoroughly(range(9), usual={0, 1}))
def test_measures_are_scikit_learns(seed: int) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(seed)
    truth = random.random((60, 3)) < 0.3
    truth[0], truth[1] = True, False
    scores = np.round(random.normal(size=(60, 3)) + truth, seed % 3 or 8)  # some are tied
    answered = {}
    for name, kind in (("auroc", meters.AUROC), ("map", meters.Precision), ("f1", meters.F1), ("ham", meters.Hamming)):
        meter = kind()
        for rows in (slice(0, 25), slice(25, 60)):
            meter.update(torch.from_numpy(scores[rows]), torch.from_numpy(truth[rows]))
        answered[name] = float(meter.compute())
    assert answered["auroc"] == pytest.approx(sklearn.roc_auc_score(truth, scores, average="macro"))
    assert answered["map"] == pytest.approx(sklearn.average_precision_score(truth, scores, average="macro"))
    assert answered["f1"] == pytest.approx(sklearn.f1_score(truth, scores >= 0, average="macro"))
    assert answered["ham"] == pytest.approx(sklearn.hamming_loss(truth, scores >= 0))
    for label in range(3):
        mine, there = scores[:, label], truth[:, label]

        def f1(threshold: float, mine: np.ndarray = mine, there: np.ndarray = there) -> float:
            answers = mine >= threshold
            return float(2 * (answers & there).sum() / (answers.sum() + there.sum()))

        assert f1(best_threshold(mine, there)) == max(map(f1, mine))


def test_a_score_that_is_no_number_measures_nothing() -> None:
    truth = torch.tensor([[True, False], [False, True]])
    for kind in (meters.AUROC, meters.Precision, meters.F1, meters.Hamming):
        meter = kind()
        meter.update(torch.tensor([[math.nan, 0.0], [1.0, 2.0]]), truth)
        assert math.isnan(float(meter.compute()))
    assert math.isnan(ranking.auroc(np.array([1.0, math.nan]), np.array([True, False])))
    assert best_threshold(np.array([1.0, math.nan]), np.array([True, False])) == 0


def test_validation_chooses_the_thresholds_and_without_it_they_are_a_half(tmp_path: Path) -> None:
    path = write(folder(tmp_path, 40) / "a.csv", columns(40))
    for protocol, chosen in (("honest", True), ("paper", False)):
        given = settings(path, protocol=protocol, validation_fraction=0.4)
        task, data = tasks.find("multilabel"), loaded(path, protocol=protocol, validation_fraction=0.4)
        network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(108, 3), _Shift(5.0))
        torch.manual_seed(0)
        learner = task.learner(network, data, given)
        assert isinstance(learner, WithThresholds)
        experiment = experiment_of(given, data)
        heldout = learner.evaluate("val", experiment.evaluated(experiment.heldout))
        thresholds = learner.meters["f1"].thresholds
        assert (thresholds is not None) == chosen
        tested = learner.evaluate("test", experiment.evaluated(data.tested))
        assert learner.meters["f1"].thresholds == learner.meters["hamming"].thresholds == thresholds
        assert heldout["val_f1"] >= tested["test_f1"] - 0.5
        if chosen:
            assert min(thresholds) > 2  # every logit lies about 5
        assert not any("_of_" in name for name in heldout)


class _Shift(torch.nn.Module):
    """Adds a number."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.by


def test_a_study_of_labels_from_files_to_report(run: Command, tmp_path: Path) -> None:
    write(folder(tmp_path / "data", 96) / "a.csv", columns(96))
    options = ("--task", "multilabel", "--data", tmp_path / "data" / "a.csv", "--activations", "relu,asau", "--seeds",
               "2", "--epochs", "12", "--batch-size", "8", "--network", "mlp", "--out", tmp_path / "out")  # fmt: skip
    outcome = run("compare", *options, "--json")
    assert outcome.code == 0, outcome.err
    assert "Of 96 images 12 have no label" in outcome.err
    for row in outcome.json["runs"]:
        assert row["test_auroc"] > 0.85
        assert row["test_hamming"] < 0.3
        assert {f"test_f1_of_{name}" for name in LABELS} <= row.keys()
    page = Path(outcome.json["report"]).read_text(encoding="utf-8")
    for said in ("Test Hamming loss (%)", "Test AUROC (%) of every class", "Test mAP (%) of every class", "right"):
        assert said in page
    again = run("report", tmp_path / "out", "--store", tmp_path / "rows", "--json")
    assert again.code == 0, again.err
    assert "test_auroc_of_left" in (tmp_path / "rows" / "out" / "runs.csv").read_text()


def test_there_are_no_built_in_sets(run: Command, tmp_path: Path) -> None:
    outcome = run("compare", "--task", "multilabel", "--data", "digits", "--out", tmp_path / "out")
    assert outcome.code == 2
    assert "digits does not exist" in outcome.err


def test_a_division_needs_images() -> None:
    split = LabelSplit(torch.zeros(3, 1, 1, 1), torch.eye(3), ("a", "b", "c"))
    with pytest.raises(DataError, match="has 3 images to divide"):
        ByLabels().taken(split, 0.5, Draw(LabelData("d", ("a", "b", "c"), split, None, None), "test", 0))
    assert Division().test_fraction == 0.2
