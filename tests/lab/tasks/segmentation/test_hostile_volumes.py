"""NIfTI headers that promise what is not there: one sentence with the file's name."""

from __future__ import annotations

import gzip
import json
import math
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest

from limen.errors import DataError
from limen.lab.tasks.segmentation import volumes
from limen.lab.tasks.segmentation.masks import MaskData, load_masks

nibabel = pytest.importorskip("nibabel")
READ = {"image_size": None, "grey": False, "ignore_label": None}
DIM, TYPE, OFFSET, AFFINE = 40, 70, 108, 280
"""Where a header's fields lie."""


def scans(root: Path) -> Path:
    labels = np.zeros((6, 5, 4), dtype=np.uint8)
    labels[2:4, 1:3] = 1
    values = np.random.default_rng(0).normal(0, 40, labels.shape).astype(np.float32)
    for number in range(2):
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), root / f"volume-{number}.nii")
        nibabel.save(nibabel.Nifti1Image(labels, np.eye(4)), root / f"segmentation-{number}.nii")
    return root


FIELDS = [
    *((OFFSET, "<f", value) for value in (1e9, 4e9, 1e19, 1e30, 3e38, -1e9, math.inf, math.nan)),
    *((DIM, "<h", value) for value in (-1, 0, 8, 32767)),
    *((DIM + 2, "<h", value) for value in (-1, 0, 7, 32767)),
    *((DIM + 6, "<h", value) for value in (-1, 32767)),
    *((TYPE, "<h", value) for value in (0, -1, 1, 128, 1792, 9999)),
    *((AFFINE + 4 * place, "<f", value) for place in (0, 3, 5) for value in (math.inf, -math.inf, math.nan)),
]


def said(root: Path) -> str:
    """The error; empty where there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            load_masks(str(root), **READ)
        except DataError as error:
            return str(error)
    return ""


@pytest.mark.parametrize("packed", [False, True], ids=["nii", "nii.gz"])
@pytest.mark.parametrize("name", ["volume-1.nii", "segmentation-1.nii"])
def test_a_header_that_lies_is_refused_by_name(name: str, packed: bool, tmp_path: Path) -> None:
    path = scans(tmp_path) / name
    good = path.read_bytes()
    path.unlink()
    for place, form, value in FIELDS:
        content = bytearray(good)
        struct.pack_into(form, content, place, value)
        other = path.with_name(name + ".gz" * packed)
        other.write_bytes(gzip.compress(content, 1) if packed else content)
        text = said(tmp_path)
        assert name in text, (place, value)
        assert "\n" not in text, (place, value)
        assert len(text) < 500, (place, value)


@pytest.mark.parametrize("length", [0, 100, 347, 348, 352, -1])
def test_a_volume_that_was_cut_is_refused_by_name(length: int, tmp_path: Path) -> None:
    path = scans(tmp_path) / "volume-1.nii"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DataError, match=r"volume-1\.nii does not read as a NIfTI volume"):
        load_masks(str(tmp_path), **READ)


def test_a_packed_volume_is_unpacked_only_as_far_as_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = scans(tmp_path) / "volume-1.nii"
    content = path.read_bytes()
    path.unlink()
    monkeypatch.setattr(volumes, "LARGEST_MEMBER", 1_000_000)
    path.with_suffix(".nii.gz").write_bytes(gzip.compress(content + bytes(900_000)))
    assert isinstance(load_masks(str(tmp_path), **READ), MaskData)
    path.with_suffix(".nii.gz").write_bytes(gzip.compress(content + bytes(9_000_000)))
    with pytest.raises(DataError, match=r"volume-1\.nii\.gz .*more than the 1,000,000 bytes allowed"):
        load_masks(str(tmp_path), **READ)
    path.with_suffix(".nii.gz").write_bytes(gzip.compress(content)[:-6])
    with pytest.raises(DataError, match=r"volume-1\.nii\.gz does not read"):
        load_masks(str(tmp_path), **READ)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"labels": {"1" * 5000: "liver", "1": "spleen"}}),
        json.dumps({"labels": {"²": "liver", "-1": "x"}, "modality": {"0": ["CT"]}}),
        json.dumps({"labels": [1, 2], "modality": 7}),
        "[]",
    ],
)
def test_names_of_no_class_are_left_out(text: str, tmp_path: Path) -> None:
    (scans(tmp_path) / "dataset.json").write_text(text, encoding="utf-8")
    assert load_masks(str(tmp_path), **READ).classes == ("background", "foreground")


@pytest.mark.parametrize("text", ["", "[" * 100_000, '{"labels": {"1": "a", "1": "b"}}', "1" * 5000])
def test_a_description_that_is_no_json_is_refused_by_name(text: str, tmp_path: Path) -> None:
    (scans(tmp_path) / "dataset.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"dataset\.json is not JSON \(.*\); replace or remove it\."):
        load_masks(str(tmp_path), **READ)
