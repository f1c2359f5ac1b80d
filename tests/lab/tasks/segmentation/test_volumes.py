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


MASK = Path("masks/segmentation-1.nii")
TURNED = "masks/segmentation-1.nii: the axes run otherwise than the scan's, and were turned as the headers say."


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("signs", [(-1, 1, 1), (1, -1, -1), (-1, -1, 1)])
def test_a_mask_that_runs_otherwise_is_turned_to_its_scan(nibabel, order, signs, tmp_path: Path) -> None:
    root = lits(nibabel, tmp_path, 3)
    wanted = load_masks(str(root), **READ).train
    orientation = np.array([[axis, sign] for axis, sign in zip(order, signs, strict=True)])
    nibabel.save(nibabel.Nifti1Image(scan(1)[1], np.eye(4)).as_reoriented(orientation), root / MASK)
    found = load_masks(str(root), **READ)
    assert torch.equal(found.train.images, wanted.images)
    assert torch.equal(found.train.masks, wanted.masks)
    assert found.notes[2:] == (TURNED,)
    if order != (0, 1, 2):
        with pytest.raises(DataError, match="voxels, but its scan"):
            load_masks(str(root), **READ, orientation="stored")


def moved(nibabel, **changed: object) -> np.ndarray:
    """An affine of other voxels than the scan's, which are cubes of 1 mm from the origin."""
    affine = np.diag([*changed.get("spacing", (1, 1, 1)), 1.0])
    affine[:3, 3] = changed.get("origin", (0, 0, 0))
    angle = changed.get("angle", 0.0)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return turn @ affine


@pytest.mark.parametrize(("changed", "off"), [
    ({"spacing": (2, 2, 2)}, r"19\.0 voxels off .* its voxels are 2×2×2 mm from \(0, 0, 0\), those of .* 1×1×1 mm"),
    ({"origin": (0, 0, 1)}, r"1\.0 voxels off .* from \(0, 0, 1\)"),
    ({"origin": (0.4, 0, 0)}, r"0\.4 voxels off"),
    ({"angle": 0.1}, r"1\.9 voxels off"),
])  # fmt: skip
def test_a_mask_of_other_voxels_is_refused_unless_its_header_is_not_believed(
    nibabel, changed: dict, off: str, tmp_path: Path
) -> None:
    root = lits(nibabel, tmp_path, 3)
    wanted = load_masks(str(root), **READ).train
    save(nibabel, root / MASK, scan(1)[1], moved(nibabel, **changed))
    with pytest.raises(DataError, match=f"segmentation-1.nii lies up to {off}.*--orientation stored"):
        load_masks(str(root), **READ)
    found = load_masks(str(root), **READ, orientation="stored")
    assert torch.equal(found.train.masks, wanted.masks)
    assert found.notes[2:] == (
        "Masks lie on their scans voxel by voxel as they are stored, whatever their headers say.",
    )


def test_an_affine_that_is_rounded_is_the_same(nibabel, tmp_path: Path) -> None:
    root = lits(nibabel, tmp_path, 3)
    save(nibabel, root / MASK, scan(1)[1], moved(nibabel, origin=(1e-3, 0, 0), spacing=(1.0001, 1, 1)))
    assert len(load_masks(str(root), **READ).notes) == 2


@pytest.mark.parametrize("silent", [MASK, Path("batch 0/volume-1.nii")])
def test_what_does_not_say_how_it_lies_lies_as_its_partner(nibabel, silent: Path, tmp_path: Path) -> None:
    root = lits(nibabel, tmp_path, 3)
    wanted = load_masks(str(root), **READ).train
    voxels = scan(1)[int(silent == MASK)]
    unsaid = nibabel.Nifti1Image(voxels, None)
    assert unsaid.header["sform_code"] == unsaid.header["qform_code"] == 0
    nibabel.save(unsaid, root / silent)
    found = load_masks(str(root), **READ)
    assert torch.equal(found.train.images, wanted.images)
    assert torch.equal(found.train.masks, wanted.masks)
    assert found.notes[2:] == (f"{silent}: no header says how it lies; it is taken to lie as its partner does.",)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_labels_that_a_slope_leaves_off_are_whole(nibabel, dtype: type, suffix: str, tmp_path: Path) -> None:
    root = lits(nibabel, tmp_path, 3)
    wanted = scan(1)[1].astype(float)
    wanted[:4] = 3
    labels = nibabel.Nifti1Image(wanted, np.eye(4))
    labels.set_data_dtype(dtype)
    (root / MASK).unlink()
    nibabel.save(labels, (root / MASK).with_suffix(suffix))
    stored = nibabel.load((root / MASK).with_suffix(suffix))
    assert stored.dataobj.slope != 1
    found = load_masks(str(root), **READ)
    assert found.classes == ("0", "1", "3")
    for index in range(SIDES[2]):
        upright = torch.from_numpy(wanted[:, :, index].T[::-1, ::-1].copy())
        assert torch.equal(found.train.masks[5 + index], torch.where(upright == 3, 2, upright).to(torch.uint8))


def test_labels_with_an_offset_are_read_with_it(nibabel, tmp_path: Path) -> None:
    root = lits(nibabel, tmp_path, 3)
    wanted = load_masks(str(root), **READ).train.masks
    shifted = nibabel.Nifti1Image(scan(1)[1].astype(np.int16) - 7, np.eye(4))
    shifted.header.set_slope_inter(1.0, 7.0)
    nibabel.save(shifted, root / MASK)
    assert torch.equal(load_masks(str(root), **READ).train.masks, wanted)


def test_a_voxel_that_is_unknown_is_black_and_a_scan_of_them_is_refused(nibabel, tmp_path: Path) -> None:
    root = decathlon(nibabel, tmp_path, modality="MRI")
    values = scan(1)[0].astype(np.float32)
    values[0, 0] = np.nan
    save(nibabel, root / "imagesTr" / "liver_1.nii.gz", values)
    assert load_masks(str(root), **READ).train.images[5:10, 0, -1, -1].eq(0).all()
    save(nibabel, root / "imagesTr" / "liver_1.nii.gz", np.full_like(values, np.nan))
    with pytest.raises(DataError, match=r"liver_1.nii.gz has the same value almost everywhere"):
        load_masks(str(root), **READ)


def test_a_scan_of_one_slice_is_a_scan(nibabel, tmp_path: Path) -> None:
    root = lits(nibabel, tmp_path, 3)
    wanted = load_masks(str(root), **READ).train
    values, labels = (volume[:, :, 1:2] for volume in scan(1))
    save(nibabel, root / "batch 0" / "volume-1.nii", values)
    save(nibabel, root / MASK, labels[::-1], moved(nibabel, spacing=(-1, 1, 1), origin=(SIDES[0] - 1, 0, 0)))
    found = load_masks(str(root), **READ).train
    assert torch.equal(found.masks[5], wanted.masks[6])
    assert torch.equal(found.images[5], wanted.images[6])


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
    "truncated": r"volume-1.nii does not read as a NIfTI volume \(its header promises 3,552 bytes, and there are 500\)",
    "no nifti": "volume-1.nii does not read as a NIfTI volume",
    "shades": r"segmentation-1.nii holds the value 0.5;",
    "negative": r"segmentation-1.nii holds the value -1;",
    "unknown": r"segmentation-1.nii holds the value nan;",
    "too many": r"segmentation-1.nii holds the value 300;",
    "flat mask": "segmentation-1.nii does not say how",
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
    flat_mask = nibabel.Nifti1Image(labels, None, flat.header)
    actions = {
        "negative": lambda: save(nibabel, mask, -labels.astype(np.int16)),
        "unknown": lambda: save(nibabel, mask, np.where(labels == 1, np.nan, 0.0).astype(np.float32)),
        "too many": lambda: save(nibabel, mask, 300 * labels.astype(np.int16)),
        "flat mask": lambda: nibabel.save(flat_mask, mask),
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


@pytest.mark.thorough
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
