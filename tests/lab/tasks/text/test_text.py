"""``--task text``: rows of a CSV file as words with a class, the networks, from file to report."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import pytest
import torch
from helpers_lab import Command, command
from torch import nn

import limen
from limen.errors import LimenError
from limen.lab.settings import StudySettings
from limen.lab.tasks import registry as tasks
from limen.lab.tasks.text.networks import Bag, TextCNN
from limen.lab.tasks.text.rows import BUCKETS, TextData, numbers

MOODS = {"good": "fine bright glad", "bad": "grim dull sad"}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return command(monkeypatch, capsys)


def table(folder: Path, rows: list[list[str]] | None = None, heading: tuple[str, ...] = ("review", "mood")) -> Path:
    draw = random.Random(0)
    if rows is None:
        rows = [
            [f"The {draw.choice(words.split())} {draw.choice('abc')}, it was {draw.choice(words.split())}!", mood]
            for _ in range(40)
            for mood, words in MOODS.items()
        ]
    with (folder / "reviews.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([heading, *rows])
    return folder / "reviews.csv"


def loaded(data: Path, **changed: object) -> TextData:
    values = {"task": "text", "data": str(data), "text": "review", "target": "mood", "window": 128, "network": "bag"}
    common = {"activations": ("relu",), "baseline": "relu", "seeds": (0,)}
    found = tasks.find("text").load(StudySettings(**{**values, **common, **changed}))
    assert isinstance(found, TextData)
    return found


def test_texts_are_divided_by_class_and_read_as_words(tmp_path: Path) -> None:
    data = loaded(table(tmp_path))
    assert data.classes == ("bad", "good")
    assert [split.per_class(2) for split in (data.train, data.validation, data.tested)] == [(29, 29), (3, 3), (8, 8)]
    assert data.input_shape == (8,)
    known = {tuple(row.tolist()): int(label) for row, label in zip(data.train.inputs, data.train.labels, strict=True)}
    for words, label in known.items():
        assert words[0] == numbers("THE")[0]
        moods = {word for word in words if word in numbers(" ".join(MOODS.values()))}
        assert moods <= set(numbers(MOODS[data.classes[label]]))
    assert max(max(words) for words in known) < BUCKETS


def test_blank_rows_are_left_out_and_long_texts_cut_which_notes_say(tmp_path: Path) -> None:
    rows = [[f"word {n}", "xy"[n % 2]] for n in range(20)]
    data = loaded(
        table(tmp_path, [*rows, ["", "x"], ["...", "x"], [" \t", "y"], ["some", "none"], ["a b c d e", "x"]]), window=3
    )
    assert sum(map(len, (data.train, data.validation or (), data.tested))) == 22  # "..." has marks, which are words
    assert data.input_shape == (3,)
    assert data.notes == (
        "1 rows without a mood were left out.",
        "2 rows without a word in review were left out.",
        "1 texts are longer than 3 words, of which only the first are read (--window).",
    )


ROWS = [[f"word {n}", "xy"[n % 2]] for n in range(20)]
BROKEN: dict[str, tuple[list[list[str]], dict[str, str], str]] = {
    "text column": (ROWS, {"text": "reviw"}, "has no column 'reviw' for --text. Did you mean 'review'?"),
    "target column": (ROWS, {"target": "mod"}, "has no column 'mod' for --target"),
    "same column": (ROWS, {"target": "review"}, "--text and --target both name 'review'"),
    "one class": ([["a", "x"]] * 9, {}, "has 1 different values of mood; a comparison needs 2 to 1,000"),
    "rare class": ([*ROWS, ["a", "z"]], {}, "has 1 rows whose mood is 'z'; every class needs 3"),
    "blank": ([["", ""], ["a", ""]], {}, "has no row with both a mood and a word in review"),
    "cells": ([*ROWS, ["a"]], {}, "line 22: 1 cells, but the heading has 2"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_wrong_with_rows_and_columns_is_said(what: str, tmp_path: Path) -> None:
    rows, changed, said = BROKEN[what]
    with pytest.raises(LimenError) as raised:
        loaded(table(tmp_path, rows), **changed)
    assert said in str(raised.value)


def test_a_file_that_is_not_there_and_a_target_that_is_not_named_are_said(run: Command, tmp_path: Path) -> None:
    outcome = run("compare", "--task", "text", "--data", "gone.csv", "--target", "mood")
    assert outcome.code == 2
    assert "gone.csv does not exist" in outcome.sentence
    outcome = run("compare", "--task", "text", "--data", table(tmp_path))
    assert "--task text needs --target" in outcome.sentence


@pytest.mark.parametrize(("network", "sites"), [(Bag, 1), (TextCNN, 3)])
def test_padding_changes_no_answer_and_every_activation_is_replaced(network: type[nn.Module], sites: int) -> None:
    torch.manual_seed(0)
    built = network(50, 3).eval()
    words = torch.randint(1, 50, (4, 6))
    words[1, 4:] = 0
    padded = torch.cat([words, torch.zeros(4, 5, dtype=torch.long)], 1)
    torch.testing.assert_close(built(padded), built(words))
    torch.testing.assert_close(built(words[1:2, :4]), built(words)[1:2])
    report = limen.swap_(built, "apalu")
    assert len(report.sites) == sites
    assert not report.unreached


def test_the_bag_tells_the_order_of_neighbours() -> None:
    torch.manual_seed(0)
    built = Bag(50, 3)
    assert not torch.allclose(built(torch.tensor([[1, 2]])), built(torch.tensor([[2, 1]])))


@pytest.mark.slow
def test_a_study_of_texts_from_file_to_report(run: Command, tmp_path: Path) -> None:
    words = "--text review --target mood --activations relu,asau --seeds 1 --epochs 8 --lr 0.01 --batch-size 8 --json"
    outcome = run("compare", "--task", "text", "--data", table(tmp_path), *words.split(), "--out", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    for row in outcome.json["runs"]:
        assert row["test_accuracy"] > 0.9
    page = Path(outcome.json["report"]).read_text(encoding="utf-8")
    for said in ("Confusion matrix", "up to 8 words", "2 classes"):
        assert said in page
