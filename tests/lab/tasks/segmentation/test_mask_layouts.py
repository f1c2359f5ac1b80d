"""Masks as PASCAL VOC and ADE20K keep them, made here in their public layouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_lab import described, parts_of
from PIL import Image

from limen.errors import DataError
from limen.lab.tasks.segmentation.masks import IGNORED, MaskSplit, load_masks

READ = {"image_size": None, "grey": False, "ignore_label": None}
SIZE = (6, 8)
VOC, LISTS = "VOCdevkit/VOC2012", "ImageSets/Segmentation"


def splits_of(path: Path, **changed: object) -> dict[str, MaskSplit]:
    return parts_of(load_masks(str(path), **{**READ, **changed}))


def image(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*SIZE, 3), number, dtype=np.uint8)).save(path)


def mask(number: int) -> np.ndarray:
    """A class of its own, on the background, with the border that VOC does not count."""
    values = np.zeros(SIZE, dtype=np.uint8)
    values[2:5, 2:6], values[3, 3:5] = 255, 1 + number % 3
    return values


def palette(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = Image.fromarray(values).convert("L").convert("P")
    stored.putdata(values.ravel().tolist())
    stored.putpalette(
        [shade for value in range(256) for shade in (value * 37 % 256, value * 91 % 256, value * 53 % 256)]
    )
    stored.save(path)


def voc(root: Path, *, lists: bool = True) -> Path:
    """Images 0 to 5 are trained on, 6 to 8 validated; 9 is for other tasks, as most of VOC's images are."""
    home = root / VOC
    for number in range(10):
        image(home / "JPEGImages" / f"2007_{number}.jpg", number)
        if number < 9:
            palette(home / "SegmentationClass" / f"2007_{number}.png", mask(number))
            palette(home / "SegmentationObject" / f"2007_{number}.png", mask(number) * 0 + number)
    if lists:
        (home / LISTS).mkdir(parents=True)
        for name, numbers in (("train", range(6)), ("val", range(6, 9)), ("trainval", range(9)), ("test", (90, 91))):
            (home / LISTS / f"{name}.txt").write_text("".join(f"2007_{n}\n" for n in numbers), encoding="ascii")
        (home / "ImageSets" / "Main").mkdir()
        (home / "ImageSets" / "Main" / "train.txt").write_text("2007_9\n", encoding="ascii")
    return root


def test_voc_is_trained_on_train_and_tested_on_val(tmp_path: Path) -> None:
    name, classes, splits, notes = described(load_masks(str(voc(tmp_path / "VOC")), **READ))
    assert (name, classes) == ("VOC", ("0", "1", "2", "3"))
    assert {split: len(found) for split, found in splits.items()} == {"train": 6, "test": 3}
    assert splits["test"].names == tuple(f"{VOC}/JPEGImages/2007_{number}.jpg" for number in (6, 7, 8))
    for number in range(6):
        assert torch.equal(splits["train"].masks[number], torch.from_numpy(mask(number)))  # IGNORED is VOC's 255
    assert (splits["train"].masks == IGNORED).any()
    assert any("validation images are the test set" in note for note in notes)


def test_voc_without_lists_comes_undivided(tmp_path: Path) -> None:
    splits = splits_of(voc(tmp_path, lists=False))
    assert {split: len(found) for split, found in splits.items()} == {"train": 9}


def test_what_vocs_lists_get_wrong_is_named(tmp_path: Path) -> None:
    home = voc(tmp_path) / VOC
    (home / LISTS / "val.txt").write_text("2007_6\n2007_9\n", encoding="ascii")
    with pytest.raises(DataError, match="lists '2007_9' in ImageSets/Segmentation but has no mask of it"):
        splits_of(tmp_path)
    (home / LISTS / "val.txt").write_text("2007_6\n2007_5\n", encoding="ascii")
    with pytest.raises(DataError, match=r"val.txt lists '2007_5', which is of the train split too"):
        splits_of(tmp_path)
    (home / LISTS / "val.txt").write_text("2007_6\n", encoding="ascii")
    (home / "JPEGImages" / "2007_6.jpg").unlink()
    with pytest.raises(DataError, match=r"2007_6.png has no image"):
        splits_of(tmp_path)


def ade(root: Path) -> Path:
    home = root / "ADEChallengeData2016"
    for split, short, count in (("training", "train", 6), ("validation", "val", 2)):
        for number in range(1, count + 1):
            image(home / "images" / split / f"ADE_{short}_{number:08}.jpg", number)
            path = home / "annotations" / split / f"ADE_{short}_{number:08}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            values = np.tile(np.arange(8, dtype=np.uint8) // 2, (6, 1))  # 0: none of the 150 classes
            Image.fromarray(values).save(path)
    return root


def test_ade20k_does_not_count_what_has_no_class(tmp_path: Path) -> None:
    _, classes, splits, notes = described(load_masks(str(ade(tmp_path)), **READ))
    assert classes == ("1", "2", "3")
    assert {split: len(found) for split, found in splits.items()} == {"train": 6, "test": 2}
    assert splits["train"].masks[0, 0].tolist() == [IGNORED, IGNORED, 0, 0, 1, 1, 2, 2]
    assert notes[1] == "Pixels with the value 0 are neither learned nor counted."
    assert load_masks(str(tmp_path), **{**READ, "ignore_label": 3}).classes == ("0", "1", "2")


def test_an_ade20k_image_without_annotation_is_named(tmp_path: Path) -> None:
    ade(tmp_path)
    (tmp_path / "ADEChallengeData2016/annotations/training/ADE_train_00000003.png").unlink()
    with pytest.raises(DataError, match=r"ADE_train_00000003.jpg has no mask"):
        splits_of(tmp_path)
