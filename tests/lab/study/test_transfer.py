"""``--test-data``: other data of the same kind, tested with the networks that learned from the study's own."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import thoroughly
from helpers_lab import Command, command, experiment_of, tiny
from helpers_tasks import made
from PIL import Image

from limen.errors import DataError, SpecError
from limen.lab import metric
from limen.lab.data import Data
from limen.lab.data.base import joined
from limen.lab.settings import StudySettings
from limen.lab.study.preparing import prepare
from limen.lab.tasks import registry as tasks
from limen.lab.tasks.detection.boxes import BoxSplit
from limen.lab.tasks.detection.kinds import NOTHING, ignored
from limen.lab.tasks.language.windows import PADDED
from limen.lab.tasks.segmentation.masks import IGNORED, MaskSplit
from limen.lab.training import run as train

TRANSFER = tuple(task.name for task in tasks.ALL if "test_data" in task.options)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return command(monkeypatch, capsys)


def prepared(given: StudySettings) -> Data:
    return prepare(tasks.find(given.task), given).data


def pairs(name: str, folder: Path) -> StudySettings:
    """Tiny data of a task, and the same again at another place."""
    (folder / "own").mkdir()
    given = made(name, folder / "own")
    if given["data"] == "digits":
        images(folder / "there", classes=range(10))
        other = folder / "there"
    else:
        shutil.copytree(folder / "own", folder / "there")
        other = folder / "there" / Path(str(given["data"])).relative_to(folder / "own")
    common = {"task": name, "activations": ("relu",), "baseline": "relu", "seeds": (0,), "epochs": 1}
    return StudySettings(
        **{**tasks.find(name).defaults, **common, **given, "test_data": str(other), "limit_test": None}
    )


def images(folder: Path, classes: range, size: tuple[int, int] = (12, 12), colour: bool = False) -> Path:
    for name in classes:
        (folder / str(name)).mkdir(parents=True)
        for number in range(2):
            shape = (*size, 3) if colour else size
            pixels = np.random.default_rng(number).integers(0, 255, shape, dtype=np.uint8)
            Image.fromarray(pixels).save(folder / str(name) / f"{number}.png")
    return folder


@pytest.mark.parametrize("name", thoroughly(TRANSFER, usual={"classification", "multilabel", "regression"}))
def test_every_task_that_can_tests_all_of_the_other_data_and_learns_nothing_from_them(
    name: str, tmp_path: Path
) -> None:
    given = pairs(name, tmp_path)
    data = prepared(given)
    without = prepared(given.model_copy(update={"test_data": None}))
    assert data.transfer is not None
    if given.data != "digits" and name != "language":  # a whole text's windows are not those of its parts
        own = sum(len(part) for part in (data.train, data.validation, data.tested))
        assert len(data.transfer) == own
        # The same examples, as the same network takes them.
        mine, theirs = (sorted(part.tensors[0].flatten(1).double().sum(1).tolist())
                        for part in (joined([data.train, data.validation, data.tested]), data.transfer))  # fmt: skip
        assert mine == pytest.approx(theirs, rel=1e-4, abs=1e-4)
    assert data.facts().transfer == len(data.transfer)
    assert data.facts().fingerprint != without.facts().fingerprint
    assert any("none of which was learned from" in note for note in data.notes)
    for part in ("train", "validation", "test"):
        for ours, before in zip(getattr(data, part).tensors, getattr(without, part).tensors, strict=True):
            assert torch.equal(ours, before)
    found, bare = (train.run(experiment_of(given, one), "relu", 0) for one in (data, without))
    assert found.status == "finished", found.failure
    measure = tasks.find(name).measure
    assert measure.on_transfer in found.metrics
    assert {key: value for key, value in found.metrics.items() if not key.startswith("transfer_")} == pytest.approx(
        bare.metrics, nan_ok=True
    )


def test_what_is_tested_there_is_what_testing_it_alone_gives(tmp_path: Path) -> None:
    given = tiny(test_data=str(images(tmp_path / "there", range(10))), epochs=1)
    data = prepared(given)
    found = train.run(experiment_of(given, data), "relu", 0)
    swapped = replace(data, test=data.transfer, transfer=None)
    alone = train.run(experiment_of(given.model_copy(update={"test_data": None}), swapped), "relu", 0)
    for name in ("accuracy", "f1", "mcc", "loss"):
        assert found.metrics[f"transfer_{name}"] == alone.metrics[f"test_{name}"]


def test_classes_are_matched_by_name_and_images_by_size(tmp_path: Path) -> None:
    data = prepared(tiny(test_data=str(images(tmp_path / "there", range(7, 10)))))
    assert data.transfer.labels.tolist() == [7, 7, 8, 8, 9, 9]
    assert data.transfer.images.shape[1:] == data.image_shape == (1, 8, 8)
    assert any("there has nothing of the class '0', '1', '2'" in note for note in data.notes)
    assert len(prepared(tiny(test_data=str(tmp_path / "there"), limit_test=30)).transfer) == 6
    assert len(prepared(tiny(test_data=str(images(tmp_path / "all", range(10))), limit_test=15)).transfer) == 15


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda root: images(root / "x", range(9, 12)), r"x has the classes '10', '11', which .*, digits, have not: "),
        (lambda root: images(root / "x", range(10), colour=True), "images of 3 channels, and digits of 1 channel;"),
        (lambda root: (root / "x.csv").write_text("a,b\n1,2\n") and root / "x.csv", "neither a folder nor an archive"),
    ],
)  # fmt: skip
def test_other_data_that_do_not_match_are_refused_by_name(
    make: Callable[[Path], Path], said: str, tmp_path: Path
) -> None:
    place = make(tmp_path)
    with pytest.raises(DataError, match=f"--test-data .*x.*: .*{said}"):
        prepared(tiny(test_data=str(place)))
    if "channels" in said:
        assert prepared(tiny(test_data=str(place), grey=True)).transfer is not None


def test_the_same_place_and_other_tasks_are_refused_before_anything_is_read(run: Command, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="--test-data digits is what --data names"):
        tasks.check_options(tasks.find("classification"), tiny(test_data="digits"))
    with pytest.raises(SpecError, match="is what --data names"):
        tasks.check_options(tasks.find("classification"), tiny(data="/a/b", test_data="/a/c/../b"))
    with pytest.raises(SpecError, match=r"--test-data 'mnist' is not an option of --task generation, only of"):
        tasks.check_options(tasks.find("generation"), tiny(task="generation", test_data="mnist"))
    outcome = run("compare", "--data", "digits", "--test-data", tmp_path / "none", "--out", tmp_path / "out")
    assert (outcome.code, "none does not exist" in outcome.err) == (2, True)


def table(path: Path, heading: str, seed: int = 0, rows: int = 40) -> Path:
    random = np.random.default_rng(seed)
    with path.open("w", newline="") as file:
        names = heading.split(",")
        body = ([1900 + row, *random.normal(size=len(names) - 1).round(3)] for row in range(rows))
        csv.writer(file).writerows([names, *body])
    return path


@pytest.mark.parametrize("task", ["regression", "forecasting"])
def test_columns_are_matched_by_name(task: str, tmp_path: Path) -> None:
    own = table(tmp_path / "own.csv", "year,a,b,c")
    values = {"task": task, "data": str(own), "target": "b", "network": tasks.find(task).defaults["network"]}
    given = tiny(**values, limit_train=None, limit_test=None)
    shuffled = tmp_path / "shuffled.csv"
    with own.open() as read, shuffled.open("w", newline="") as written:
        csv.writer(written).writerows([row[0], row[3], row[2], row[1]] for row in csv.reader(read))
    data = prepared(given.model_copy(update={"test_data": str(shuffled)}))
    mine = joined([data.train, data.validation, data.tested])
    order = mine.targets[:, 0].argsort(), data.transfer.targets[:, 0].argsort()
    assert torch.allclose(mine.inputs[order[0]], data.transfer.inputs[order[1]], atol=1e-5)
    for name, said in (("year,a,b", "column 'c'"), ("year,a,c,d", "no column 'b' for --target")):
        with pytest.raises((DataError, SpecError), match=said):
            prepared(given.model_copy(update={"test_data": str(table(tmp_path / "other.csv", name))}))


def test_masks_boxes_and_labels_get_the_places_of_their_names() -> None:
    masks = torch.tensor([[[0, 1], [IGNORED, 1]]], dtype=torch.uint8)
    moved = MaskSplit(torch.zeros(1, 1, 2, 2), masks, ("a",)).relabelled(torch.tensor([2, 0]), 3)
    assert moved.masks.tolist() == [[[2, 0], [IGNORED, 0]]]
    kinds = torch.tensor([0, 1, NOTHING, ignored(0), ignored(1)])
    objects = torch.cat([kinds[None, :, None].float(), torch.rand(1, 5, 4)], -1)
    boxes = BoxSplit(torch.zeros(1, 1, 2, 2), objects, ("a",)).relabelled(torch.tensor([2, 0]), 3)
    assert boxes.objects[0, :, 0].tolist() == [2, 0, NOTHING, ignored(2), ignored(0)]
    assert torch.equal(boxes.objects[..., 1:], objects[..., 1:])


def test_a_study_with_other_data_from_files_to_report(run: Command, tmp_path: Path) -> None:
    there = images(tmp_path / "there", range(10))
    options = ("--data", "digits", "--network", "mlp", "--limit-train", "100", "--limit-test", "40", "--epochs", "1",
               "--activations", "relu,asau", "--seeds", "2", "--test-data", there,
               "--out", tmp_path / "out")  # fmt: skip
    outcome = run("compare", *options, "--json")
    assert outcome.code == 0, outcome.err
    by_seed = [row["transfer_accuracy"] for row in outcome.json["runs"] if row["activation"] == "asau"]
    base = [row["transfer_accuracy"] for row in outcome.json["runs"] if row["activation"] == "relu"]
    (row,) = (one for one in outcome.json["summary"] if one["activation"] == "asau")
    assert row["transfer"] == pytest.approx(np.mean(by_seed))
    assert row["transfer_difference"] == pytest.approx(np.mean(by_seed) - np.mean(base))
    assert row["transfer_low"] <= row["transfer"] <= row["transfer_high"]
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for said in ("Tested on there too", "Accuracy (%), there", "minus relu, there", "20 images"):
        assert said.lower() in page.lower()
    stored = run("report", tmp_path / "out", "--store", tmp_path / "rows", "--json")
    assert stored.code == 0, stored.err
    study = (tmp_path / "rows" / "out" / "study.json").read_text()
    assert str(tmp_path) not in study
    assert '"data/there"' in study
    assert metric.ACCURACY.on_transfer in (tmp_path / "rows" / "out" / "runs.csv").read_text()


def test_another_text_is_read_in_the_training_texts_tokens(tmp_path: Path) -> None:
    given = pairs("language", tmp_path)
    there = Path(str(given.test_data))
    there.write_text("abcé" * 25)
    data = prepared(given)
    inputs, targets = data.transfer.inputs, data.transfer.targets[..., 0]
    assert inputs.shape == (7, 16)  # 99 tokens are predicted, the first of them from the one before it
    whole = data.vocabulary.encode(there.read_text()).tokens.tolist()
    assert [int(inputs[0, 0]), *targets[targets != PADDED].tolist()] == whole
    assert any("25 characters that the training text lacks ('é')" in note for note in data.notes)
    metrics = train.run(experiment_of(given, data), "relu", 0).metrics
    assert metrics["transfer_bits_per_byte"] > metrics["test_bits_per_byte"] + 3  # 20.1 bits for each é, of 5 bytes
    there.write_text("abc")
    with pytest.raises(DataError, match=r"--test-data .*: the test text of text.txt has 3 characters, and 17 or more"):
        prepared(given)


def test_other_texts_have_the_classes_and_words_of_those_learned_from(tmp_path: Path) -> None:
    given = pairs("text", tmp_path)
    there = Path(str(given.test_data))
    there.write_text("kind,text\ny,a b\nx,a b c d e f g h\ny,\n")
    data = prepared(given)
    assert data.transfer.inputs.shape == (2, 6)
    assert data.transfer.labels.tolist() == [1, 0]
    assert any("1 texts are longer than 6 words" in note for note in data.notes)
    there.write_text("text,kind\na b,y\n")  # its only class is the second of those learned from
    assert prepared(given).transfer.labels.tolist() == [1]
    for content, said in (("text,kind\na,z\n", "the class 'z', which"), ("text,sort\na,x\n", "no column 'kind'")):
        there.write_text(content)
        with pytest.raises((DataError, SpecError), match=f"--test-data .*: .*{said}"):
            prepared(given)
