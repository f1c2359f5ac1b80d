"""Tiny data for every task."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def made(name: str, folder: Path) -> dict[str, object]:
    """Settings with tiny data in the task's public format."""
    return _MAKERS.get(name, _numbers)(folder, np.random.default_rng(0))


def _digits(folder: Path, random: np.random.Generator) -> dict[str, object]:
    return {"data": "digits", "limit_train": 60, "limit_test": 30}


def _anomaly(folder: Path, random: np.random.Generator) -> dict[str, object]:
    return {"data": "digits", "normal_class": "3", "limit_test": 60}


def _segmentation(folder: Path, random: np.random.Generator) -> dict[str, object]:
    pytest.importorskip("monai")
    for part, channels in (("images", (3,)), ("masks", ())):
        (folder / part).mkdir()
        for number in range(10):
            values = random.integers(0, 2, (8, 8, *channels), dtype=np.uint8) * 255
            Image.fromarray(values).save(folder / part / f"{number}.png")
    return {"data": str(folder), "batch_size": 4, "eval_batch_size": 4}


def _detection(folder: Path, random: np.random.Generator) -> dict[str, object]:
    for number in range(10):
        Image.fromarray(random.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(folder / f"{number}.png")
        (folder / f"{number}.xml").write_text(
            "<a><object><name>thing</name><bndbox><xmin>3</xmin><ymin>3</ymin><xmax>9</xmax><ymax>11</ymax></bndbox>"
            "</object></a>"
        )
    return {"data": str(folder), "batch_size": 4, "eval_batch_size": 4}


def _language(folder: Path, random: np.random.Generator) -> dict[str, object]:
    (folder / "text.txt").write_text("".join(random.choice(list("abcde \n"), 1200)))
    return {"data": str(folder / "text.txt"), "window": 16, "batch_size": 8, "eval_batch_size": 8}


def _text(folder: Path, random: np.random.Generator) -> dict[str, object]:
    texts = [[" ".join(random.choice(list("abcdefgh"), 6)), "xy"[index % 2]] for index in range(60)]
    data = _table(folder / "texts.csv", ["text", "kind"], texts)
    return {"data": data, "target": "kind", "batch_size": 8, "eval_batch_size": 8}


def _multilabel(folder: Path, random: np.random.Generator) -> dict[str, object]:
    for number in range(40):
        Image.fromarray(random.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    marked = [[f"{number}.png", number % 2, int(number % 3 > 0)] for number in range(40)]
    return {"data": _table(folder / "labels.csv", ["image", "odd", "thing"], marked), "batch_size": 8}


def _numbers(folder: Path, random: np.random.Generator) -> dict[str, object]:
    rows = [[1900 + index, *random.normal(size=2).round(3)] for index in range(60)]
    return {"data": _table(folder / "table.csv", ["year", "a", "b"], rows), "target": "b"}


def _table(path: Path, heading: list[str], rows: Sequence[Sequence[object]]) -> str:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([heading, *rows])
    return str(path)


_MAKERS: dict[str, Callable[[Path, np.random.Generator], dict[str, object]]] = {
    "classification": _digits,
    "sequence": _digits,
    "generation": _digits,
    "anomaly": _anomaly,
    "segmentation": _segmentation,
    "detection": _detection,
    "language": _language,
    "text": _text,
    "multilabel": _multilabel,
}
