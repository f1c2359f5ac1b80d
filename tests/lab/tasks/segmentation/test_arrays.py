"""Segmentation of scans in ``.npz`` files, and what is said where folders have other names."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from helpers_files import png, write, write_folder

from limen.errors import DataError
from limen.lab.tasks.segmentation.masks import MaskData, load_masks

SHAPE = (3, 8, 6)


def npz(**arrays: object) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def scan(number: int, shape: tuple[int, ...] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    values = np.random.default_rng(number).normal(size=shape).astype(np.float32)
    labels = np.zeros(shape, dtype=np.int16)
    labels[..., : number + 2] = 1
    return values, labels


def volumes(count: int = 3, image: str = "arr_0", mask: str = "arr_0") -> dict[str, bytes]:
    members = {}
    for number in range(count):
        values, labels = scan(number)
        members[f"images/{number}.npz"] = npz(**{image: values})
        members[f"masks/{number}.npz"] = npz(**{mask: labels})
    return members


def loaded(path: Path, **named: object) -> MaskData:
    return load_masks(str(path), image_size=None, grey=False, ignore_label=None, **named)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["folder", ".zip", ".tar.gz"])
def test_volumes_and_masks(kind: str, tmp_path: Path) -> None:
    data = loaded(write(kind, tmp_path, volumes()))
    assert data.train.images.shape == (9, 1, 8, 6)
    assert data.train.groups == (0, 0, 0, 1, 1, 1, 2, 2, 2)
    assert data.train.names[4] == "images/1.npz slice 1"
    assert data.classes == ("background", "foreground")
    values, labels = scan(1)
    assert np.array_equal(data.train.masks[4].numpy(), labels[1])
    order = np.argsort(values[1].ravel())
    assert (np.diff(data.train.images[4].numpy().ravel()[order].astype(int)) >= 0).all()
    assert data.notes[:2] == (
        "3 scans; all slices of a scan are in one split.",
        "Values between the 0.5th and 99.5th percentile of each scan are seen.",
    )


@pytest.mark.parametrize(("image", "mask"), [("image", "label"), ("IMG", "Mask"), ("imgs", "gts"), ("data", "seg")])
def test_both_in_one_file_by_the_usual_names(image: str, mask: str, tmp_path: Path) -> None:
    """As TransUNet's Synapse: a file a slice, and the slices of a case are one scan."""
    members = {}
    for case in range(3):
        values, labels = scan(case)
        for index in range(len(values)):
            arrays = {image: values[index], mask: labels[index], "spacing": np.ones(3)}
            members[f"train_npz/case{case:04}_slice{index:03}.npz"] = npz(**arrays)
    data = loaded(write_folder(tmp_path / "synapse", members))
    expected = loaded(write_folder(tmp_path / "volumes", volumes()))
    assert data.train.groups == expected.train.groups
    assert (data.train.images == expected.train.images).all()
    assert (data.train.masks == expected.train.masks).all()


def test_colour_bool_and_8_bits(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (8, 6, 3), dtype=np.uint8) for _ in range(3)]
    members = {f"images/{n}.npz": npz(image=picture) for n, picture in enumerate(pictures)}
    members |= {f"labels/{n}.npz": npz(mask=rng.random((8, 6)) > 0.5) for n in range(3)}
    data = loaded(write_folder(tmp_path / "colour", members))
    assert np.array_equal(data.train.images[1].permute(1, 2, 0).numpy(), pictures[1])
    assert data.notes[2] == "images/0.npz and 2 more: values of 8 bits are seen as they are."
    grey = {name: npz(a=scan(n)[0][..., None]) if "images" in name else content
            for n, (name, content) in enumerate(volumes().items())}  # fmt: skip
    assert loaded(write_folder(tmp_path / "grey", grey)).train.images.shape == (9, 1, 8, 6)


def test_the_window_can_be_given(tmp_path: Path) -> None:
    members = volumes()
    members["images/0.npz"] = npz(a=np.full(SHAPE, 0.5, dtype=np.float32))
    path = write_folder(tmp_path / "scans", members)
    with pytest.raises(DataError, match=r"0.npz has the same value almost everywhere.*--intensity"):
        loaded(path)
    data = loaded(path, intensity=(0.0, 1.0))
    assert set(data.train.images[0].flatten().tolist()) == {128}


def of_objects() -> bytes:
    return npz(image=np.array([{}, []], dtype=object))


WRONG = {
    "no array": (npz(), "holds no array, of which none is the image"),
    "several": (npz(first=np.ones(SHAPE), second=np.ones(SHAPE)), "'first', 'second', of which none is the image"),
    "two usual": (npz(image=np.ones(SHAPE), data=np.ones(SHAPE)), r"of which more than one is the image"),
    "objects": (of_objects(), r"holds Python's objects in 'image', which are never loaded"),
    "text": (npz(image=np.array(["a", "b"])), r"holds <U1 values in 'image'; a scan and its mask are plain numbers"),
    "complex": (npz(image=np.ones(SHAPE, dtype=complex)), "holds complex128 values"),
    "other sides": (npz(image=np.ones((3, 8, 7))), r"masks/1.npz holds a mask of 3×8×6, but its image is 3×8×7"),
    "four channels": (npz(image=np.ones((*SHAPE, 4))), r"but its image is 3×8×6×4; they must be the same"),
    "one number": (npz(image=np.float32(1)), "but its image is a single number"),
    "not a zip": (b"\x93NUMPY", "does not read as NumPy's .npz"),
    "cut short": (npz(image=np.random.default_rng(0).random(SHAPE))[:-60], "does not read as NumPy's .npz"),
    "empty": (b"", "does not read as NumPy's .npz"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_said_in_one_sentence(what: str, tmp_path: Path) -> None:
    content, words = WRONG[what]
    with pytest.raises(DataError, match=words) as refused:
        loaded(write_folder(tmp_path / "scans", volumes() | {"images/1.npz": content}))
    assert "1.npz" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.full(SHAPE, 0.5), r"masks/1.npz holds the value 0.5; a mask's voxel must be its class"),
        (np.full(SHAPE, -1), "holds the value -1"),
        (np.full(SHAPE, 300), "holds the value 300"),
        (np.zeros(7), r"holds a mask of 7; it is \(height, width\)"),
        (np.zeros((0, 8, 6)), r"holds a mask of 0×8×6"),
    ],
)
def test_masks_that_are_none(mask: np.ndarray, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        loaded(write_folder(tmp_path / "scans", volumes() | {"masks/1.npz": npz(a=mask)}))


def test_partners_and_stray_files(tmp_path: Path) -> None:
    members = volumes()
    lonely = {name: content for name, content in members.items() if name != "masks/1.npz"}
    with pytest.raises(DataError, match=r"images/1.npz has no mask; add one with the same name"):
        loaded(write_folder(tmp_path / "lonely", lonely))
    pictures = {
        f"{folder}/{n}.png": png(n + 1 if folder == "images" else n % 2)
        for folder in ("images", "masks")
        for n in range(3)
    }
    data = loaded(write_folder(tmp_path / "pictures", pictures | {"features.npz": npz(a=np.ones(3))}))
    assert data.train.groups == ()


@pytest.mark.parametrize("kind", ["folder", ".zip"])
@pytest.mark.parametrize("suffix", ["png", "npz"])
@pytest.mark.parametrize(("known", "other"), [("images", "vessels"), ("masks", "photos")])
def test_folders_of_other_names(kind: str, suffix: str, known: str, other: str, tmp_path: Path) -> None:
    missing = "masks" if known == "images" else "images"
    contents = {"png": png(1), "npz": npz(a=np.ones(SHAPE))}
    members = {f"{folder}/{n}.{suffix}": contents[suffix] for folder in (known, other) for n in range(2)}
    words = rf"If {other}/ holds them, rename it to {missing}/; the names of the files must be the same in both\.$"
    with pytest.raises(DataError, match=words) as refused:
        loaded(write(kind, tmp_path, members))
    assert ".nii" not in str(refused.value)
    with pytest.raises(DataError) as refused:
        loaded(write_folder(tmp_path / "alone", {f"{known}/0.{suffix}": contents[suffix]}))
    assert "rename" not in str(refused.value)
