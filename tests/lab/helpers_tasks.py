"""Tiny data for every task."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def made(name: str, folder: Path) -> dict[str, object]:
    """Settings with tiny data in the task's public format."""
    random = np.random.default_rng(0)
    if name in ("classification", "sequence", "generation"):
        return {"data": "digits", "limit_train": 60, "limit_test": 30}
    if name == "anomaly":
        return {"data": "digits", "normal_class": "3", "limit_test": 60}
    if name == "segmentation":
        pytest.importorskip("monai")
        for part, channels in (("images", (3,)), ("masks", ())):
            (folder / part).mkdir()
            for number in range(10):
                values = random.integers(0, 2, (8, 8, *channels), dtype=np.uint8) * 255
                Image.fromarray(values).save(folder / part / f"{number}.png")
        return {"data": str(folder), "batch_size": 4, "eval_batch_size": 4}
    if name == "detection":
        for number in range(10):
            Image.fromarray(random.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(folder / f"{number}.png")
            (folder / f"{number}.xml").write_text(
                "<a><object><name>thing</name><bndbox><xmin>3</xmin><ymin>3</ymin><xmax>9</xmax><ymax>11</ymax></bndbox>"
                "</object></a>"
            )
        return {"data": str(folder), "batch_size": 4, "eval_batch_size": 4}
    if name == "language":
        (folder / "text.txt").write_text("".join(random.choice(list("abcde \n"), 1200)))
        return {"data": str(folder / "text.txt"), "window": 16, "batch_size": 8, "eval_batch_size": 8}
    if name == "text":
        texts = ([" ".join(random.choice(list("abcdefgh"), 6)), "xy"[index % 2]] for index in range(60))
        with (folder / "texts.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["text", "kind"], *texts])
        return {"data": str(folder / "texts.csv"), "target": "kind", "batch_size": 8, "eval_batch_size": 8}
    if name == "multilabel":
        for number in range(40):
            Image.fromarray(random.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(folder / f"{number}.png")
        with (folder / "labels.csv").open("w", newline="") as file:
            marked = ([f"{number}.png", number % 2, int(number % 3 > 0)] for number in range(40))
            csv.writer(file).writerows([["image", "odd", "thing"], *marked])
        return {"data": str(folder / "labels.csv"), "batch_size": 8}
    path = folder / "table.csv"
    with path.open("w", newline="") as file:
        rows = ([1900 + index, *random.normal(size=2).round(3)] for index in range(60))
        csv.writer(file).writerows([["year", "a", "b"], *rows])
    return {"data": str(path), "target": "b"}
