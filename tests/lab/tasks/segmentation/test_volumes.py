"""Scans in NIfTI files, made here in the layouts of LiTS and the Medical Segmentation Decathlon."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_lab import Command, command, described

from limen.errors import DataError, MissingExtraError
from limen.lab.settings import StudySettings
from limen.lab.tasks import registry as tasks
from limen.lab.tasks.segmentation.masks import MaskData, load_masks

READ = {"image_size": None, "grey": False, "ignore_label": None}
SIDES = (20, 16, 5)
"""Voxels to the patient's right, to the front and upwards, as RAS counts them."""


@pytest.fixture
def nibabel():
    return pytest.importorskip("nibabel")


def scan(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Hounsfield units and a liver, on the right side and in front, brighter from slice to slice."""
    random = np.random.default_rng(number)
    labels = np.zeros(SIDES, dtype=np.uint8)
    labels[11:18, 9:14, 1:] = 1
    values = np.full(SIDES, -1000.0) + 10 * random.random(SIDES)
    values[labels == 1] = 40
    values += 20 * np.arange(SIDES[2])
    return values.round().astype(np.int16), labels


def save(nibabel, path: Path, voxels: np.ndarray, affine: np.ndarray | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4) if affine is None else affine), path)


def lits(nibabel, root: Path, count: int = 5) -> Path:
    for number in range(count):
        values, labels = scan(number)
        save(nibabel, root / f"batch {number // 3}" / f"volume-{number}.nii", values)
        save(nibabel, root / "masks" / f"segmentation-{number}.nii", labels)
    return root


def decathlon(nibabel, root: Path, count: int = 3, modality: str = "CT") -> Path:
    for number in range(count):
        values, labels = scan(number)
        save(nibabel, root / "imagesTr" / f"liver_{number}.nii.gz", values)
        save(nibabel, root / "labelsTr" / f"liver_{number}.nii.gz", labels)
    save(nibabel, root / "imagesTs" / "liver_9.nii.gz", values)
    (root / "imagesTr" / "._liver_0.nii.gz").write_bytes(b"a Macintosh's")
    facts = {"modality": {"0": modality}, "labels": {"0": "background", "1": "liver", "2": "cancer"}}
    (root / "dataset.json").write_text(json.dumps(facts), encoding="utf-8")
    return root


def settings(data: Path, **changed: object) -> StudySettings:
    values = {"task": "segmentation", "data": str(data), "network": "unet", "batch_size": 4, "eval_batch_size": 4}
    return StudySettings(**{**values, "activations": ("relu",), "baseline": "relu", "seeds": (0,), **changed})


def divided(data: Path, **changed: object) -> MaskData:
    pytest.importorskip("monai.losses")
    found = tasks.find("segmentation").load(settings(data, **changed))
    assert isinstance(found, MaskData)
    return found


def test_lits_and_decathlon_give_the_same_slices(nibabel, tmp_path: Path) -> None:
    _, classes, splits, notes = described(load_masks(str(lits(nibabel, tmp_path / "lits", 3)), **READ))
    assert classes == ("background", "foreground")
    assert notes == ("3 scans; all slices of a scan are in one split.", "Values from -160 to 240 are seen.")
    one = splits["train"]
    other = load_masks(str(decathlon(nibabel, tmp_path / "Task03")), **READ).train
    assert torch.equal(one.images, other.images)
    assert torch.equal(one.masks, other.masks)
    assert one.groups == other.groups == (0,) * 5 + (1,) * 5 + (2,) * 5
    assert other.names[6] == "imagesTr/liver_1.nii.gz slice 1"


def test_a_slice_is_windowed_and_seen_from_below(nibabel, tmp_path: Path) -> None:
    split = load_masks(str(lits(nibabel, tmp_path, 3)), **READ).train
    assert split.images.shape == (15, 1, 16, 20)
    values, labels = scan(0)
    for index in range(5):
        upright = labels[:, :, index].T[::-1, ::-1]  # the front above, the patient's right on the left
        assert torch.equal(split.masks[index], torch.from_numpy(upright.copy()))
        seen = (np.clip(values[:, :, index], -160, 240) + 160.0) / 400 * 255
        assert torch.equal(split.images[index, 0], torch.from_numpy(seen.round().astype(np.uint8).T[::-1, ::-1].copy()))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1), (-1, -1, 1)])
def test_however_the_scan_lies_the_slices_are_the_same(nibabel, order, signs, tmp_path: Path) -> None:
    root = lits(nibabel, tmp_path, 3)
    wanted = load_masks(str(root), **READ).train
    values, labels = scan(1)
    lying = nibabel.Nifti1Image(values, np.eye(4)), nibabel.Nifti1Image(labels, np.eye(4))
    orientation = np.array([[axis, sign] for axis, sign in zip(order, signs, strict=True)])
    for volume, path in zip(lying, ("batch 0/volume-1.nii", "masks/segmentation-1.nii"), strict=True):
        turned = volume.as_reoriented(orientation)
        nibabel.save(turned, root / path)
    found = load_masks(str(root), **READ).train
    assert torch.equal(found.images, wanted.images)
    assert torch.equal(found.masks, wanted.masks)


def test_a_slope_is_applied_and_the_window_can_be_given(nibabel, tmp_path: Path) -> None:
    root = lits(nibabel, tmp_path, 3)
    wanted = load_masks(str(root), **READ).train.images
    scaled = nibabel.Nifti1Image(((scan(0)[0] + 2000) // 2).astype(np.int16), np.eye(4))
    scaled.header.set_slope_inter(2.0, -2000.0)
    nibabel.save(scaled, root / "batch 0" / "volume-0.nii")
    found = load_masks(str(root), **READ).train.images
    assert (found.int() - wanted.int()).abs().max() <= 1  # odd Hounsfield units are rounded down
    narrow = load_masks(str(root), **READ, intensity=(50.0, 70.0)).train
    assert set(narrow.images[1].unique().tolist()) <= {0, 128, 255}  # the liver of slice 1 is at 60


def test_other_scans_are_seen_between_their_percentiles(nibabel, tmp_path: Path) -> None:
    root = decathlon(nibabel, tmp_path, modality="MRI")
    _, _, splits, notes = described(load_masks(str(root), **READ))
    assert notes[1] == "Values between the 0.5th and 99.5th percentile of each scan are seen."
    assert splits["train"].images.min() == 0
    assert splits["train"].images.max() == 255


def test_classes_have_the_names_of_dataset_json(nibabel, tmp_path: Path) -> None:
    root = decathlon(nibabel, tmp_path)
    labels = scan(2)[1]
    labels[12:14, 10:12, 3] = 2
    save(nibabel, root / "labelsTr" / "liver_2.nii.gz", labels)
    assert load_masks(str(root), **READ).classes == ("background", "liver", "cancer")
    assert load_masks(str(root), **READ, foreground=True).classes == ("background", "foreground")


def test_no_scan_is_in_two_splits(nibabel, tmp_path: Path) -> None:
    root = lits(nibabel, tmp_path, 6)
    for seed in range(4):
        for split in ("random", "blocks"):
            data = divided(root, split_seed=seed, split=split)
            parts = [set(part.groups) for part in (data.train, data.validation, data.test)]
            assert all(parts)
            assert sum(map(len, parts)) == len(set.union(*parts)) == 6
    with pytest.raises(DataError, match="too few scans"):
        divided(lits(nibabel, tmp_path / "two", 2))


def test_archives_are_read_as_folders_are(nibabel, tmp_path: Path) -> None:
    root = lits(nibabel, tmp_path / "folder", 3)
    with zipfile.ZipFile(tmp_path / "lits.zip", "w") as archive:
        for file in root.rglob("*.nii"):
            archive.write(file, file.relative_to(root))
    one, other = (load_masks(str(path), **READ).train for path in (root, tmp_path / "lits.zip"))
    assert torch.equal(one.images, other.images)


BROKEN = {
    "no mask": "volume-1.nii has no mask",
    "no scan": "segmentation-1.nii has no scan",
    "no masks": "no masks among them",
    "other sides": r"segmentation-1.nii has 20×16×4 voxels, but its scan .* has 20×16×5",
    "truncated": r"volume-1.nii does not read as a NIfTI volume \(3,200 bytes of voxels in 500 bytes\)",
    "no nifti": "volume-1.nii does not read as a NIfTI volume",
    "shades": r"segmentation-1.nii holds values from 0 to 0.5",
    "four sides": "volume-1.nii holds int16 voxels of 20×16×5×2",
    "complex": "volume-1.nii holds complex64 voxels",
    "flat": "volume-1.nii does not say how the scan lies",
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_is_named(nibabel, what: str, tmp_path: Path) -> None:
    root = lits(nibabel, tmp_path, 3)
    values, labels = scan(1)
    volume, mask = root / "batch 0" / "volume-1.nii", root / "masks" / "segmentation-1.nii"
    flat = nibabel.Nifti1Image(values, None)
    flat.header["sform_code"], flat.header["srow_x"], flat.header["srow_y"], flat.header["srow_z"] = 1, 0, 0, 0
    actions = {
        "no mask": mask.unlink,
        "no scan": volume.unlink,
        "no masks": lambda: [path.unlink() for path in (root / "masks").glob("*")],
        "other sides": lambda: save(nibabel, mask, labels[:, :, :4]),
        "truncated": lambda: volume.write_bytes(volume.read_bytes()[:500]),
        "no nifti": lambda: volume.write_bytes(b"no volume" * 100),
        "shades": lambda: save(nibabel, mask, labels.astype(np.float32) / 2),
        "four sides": lambda: save(nibabel, volume, np.stack([values, values], axis=-1)),
        "complex": lambda: save(nibabel, volume, values.astype(np.complex64)),
        "flat": lambda: nibabel.save(flat, volume),
    }
    actions[what]()
    with pytest.raises(DataError, match=BROKEN[what]):
        load_masks(str(root), **READ)


def test_without_nibabel_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("volume-0.nii", "segmentation-0.nii"):
        (tmp_path / name).write_bytes(b"")
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'limen\[medical\]'"):
        load_masks(str(tmp_path), **READ)


def test_a_study_of_scans(nibabel, monkeypatch, capsys, tmp_path: Path) -> None:
    pytest.importorskip("monai.losses")
    run: Command = command(monkeypatch, capsys)
    options = ("--task", "segmentation", "--data", lits(nibabel, tmp_path / "data"), "--activations", "relu,asau")
    outcome = run("compare", *options, "--intensity", "-160,240", "--seeds", "1", "--epochs", "4", "--lr", "0.01",
                  "--batch-size", "4", "--out", tmp_path / "out", "--json")  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert all(row["test_dice"] > 0.5 for row in outcome.json["runs"])
    assert "all slices of a scan are in one split" in Path(outcome.json["report"]).read_text(encoding="utf-8")
    refused = run("compare", *options, "--intensity", "3,1", "--out", tmp_path / "other")
    assert refused.code == 2
    assert "give the lower and the upper end" in refused.sentence
