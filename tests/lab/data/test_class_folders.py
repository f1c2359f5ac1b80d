"""Class folders in every container and layout: the same images, in the same order, with the right classes."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_files import FLAT, png, write, write_folder, write_tar, write_zip
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from limen.lab.data import ImageData, load
from limen.lab.data.layout import class_order, natural_key


def values(data: ImageData, split: str = "train") -> list[tuple[str, int]]:
    """The class and the first pixel of every image."""
    part = getattr(data, split)
    return [
        (data.classes[label], int(image.flatten()[0])) for image, label in zip(part.images, part.labels, strict=True)
    ]


KINDS = ("folder", ".zip", ".tar", ".tar.gz", ".tgz")
FLAT_VALUES = [("cat", 1), ("cat", 9), ("cat", 10), ("dog", 101), ("dog", 109), ("dog", 110)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_container_gives_the_same_data(kind: str, tmp_path: Path) -> None:
    data = load(str(write(kind, tmp_path, FLAT)))
    assert (data.name, data.classes, data.image_shape) == ("pets", ("cat", "dog"), (1, 4, 6))
    assert data.test is None
    assert data.validation is None
    assert values(data) == FLAT_VALUES
    assert data.facts() == load(str(write("folder", tmp_path, FLAT))).facts()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("top", ["", "pets/", "data/v1/"])
@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Training", "VALID", "Testing"), ("TRAIN", "Validation", "test")]
)
def test_split_folders(kind: str, top: str, names: tuple[str, str, str], tmp_path: Path) -> None:
    members = {
        f"{top}{split}/{name}/1.png": png(10 * n + c)
        for n, split in enumerate(names)
        for c, name in enumerate(("cat", "dog"))
    }
    data = load(str(write(kind, tmp_path, members)))
    assert values(data, "train") == [("cat", 0), ("dog", 1)]
    assert values(data, "validation") == [("cat", 10), ("dog", 11)]
    assert values(data, "test") == [("cat", 20), ("dog", 21)]


@pytest.mark.parametrize("kind", [".zip", ".tar", ".tar.gz", ".tgz"])
@pytest.mark.parametrize(("train", "test", "top"), [("train", "test", ""), ("Training", "Testing", "Training/")])
def test_split_archives(kind: str, train: str, test: str, top: str, tmp_path: Path) -> None:
    make = write_zip if kind == ".zip" else write_tar
    make(tmp_path / f"{train}{kind}", {top + name: content for name, content in FLAT.items()})
    make(tmp_path / f"{test}{kind}", {"cat/1.png": png(5), "dog/1.png": png(6)})
    (tmp_path / "README.md").write_text("about")
    data = load(str(tmp_path))
    assert data.name == tmp_path.name
    assert values(data) == FLAT_VALUES
    assert values(data, "test") == [("cat", 5), ("dog", 6)]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_image_is_ignored(kind: str, tmp_path: Path) -> None:
    noise = {
        "__MACOSX/cat/._1.png": b"x",
        ".git/cat/1.png": b"x",
        "cat/.hidden.png": b"x",
        "cat/notes.txt": b"x",
        "cat/scan.eps": b"x",  # Pillow would start Ghostscript for it
        "README.md": b"x",
        "preview.png": b"not even an image",
    }
    assert values(load(str(write(kind, tmp_path, {**noise, **FLAT})))) == FLAT_VALUES


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    data = load(str(write_folder(tmp_path, {"train/1.png": png(), "car/1.png": png()})))
    assert data.classes == ("car", "train")
    assert data.test is None


def test_suffixes_in_capitals_and_folders_beside_the_splits(tmp_path: Path) -> None:
    members = {"train/a/1.PNG": png(), "train/b/1.Png": png(), "annotations/list.txt": b"x"}
    assert len(load(str(write_folder(tmp_path, members))).train) == 2


def test_member_names_that_would_escape_are_plain_names(tmp_path: Path) -> None:
    members = {"./a/1.png": png(1), "/a/2.png": png(2), "../../b/1.png": png(3), "b/x/../2.png": png(4)}
    expected = [("a", 1), ("a", 2), ("b", 3), ("b", 4)]
    for kind in (".zip", ".tar.gz"):
        assert values(load(str(write(kind, tmp_path, members)))) == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pets.tar.gz", "pets.zip"]


def test_zip_with_backslashes(tmp_path: Path) -> None:
    data = load(str(write_zip(tmp_path / "w.zip", {"a\\1.png": png(1), "b\\1.png": png(2)})))
    assert values(data) == [("a", 1), ("b", 2)]


def test_tar_links_to_members_are_followed(tmp_path: Path) -> None:
    path = tmp_path / "links.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, target in (("a/1.png", ""), ("b/1.png", "a/1.png")):
            info = tarfile.TarInfo(name)
            content = b"" if target else png(7)
            info.size = len(content)
            if target:
                info.type, info.linkname = tarfile.LNKTYPE, target
            archive.addfile(info, io.BytesIO(content))
    assert values(load(str(path))) == [("a", 7), ("b", 7)]


def test_links_in_folders_are_followed_but_never_in_circles(tmp_path: Path) -> None:
    write_folder(tmp_path / "data/.store", {"1.png": png(1)})
    write_folder(tmp_path / "data", {"a/1.png": png(2)})
    (tmp_path / "data/b").symlink_to(tmp_path / "data/.store")
    (tmp_path / "data/a/up").symlink_to(tmp_path / "data")
    assert values(load(str(tmp_path / "data"))) == [("a", 2), ("b", 1)]


def test_tar_that_was_unpacked_on_the_way_but_kept_its_name(tmp_path: Path) -> None:
    plain = write_tar(tmp_path / "x.tar", FLAT)
    assert values(load(str(plain.rename(tmp_path / "x.tar.gz")))) == FLAT_VALUES


def test_numeric_classes_are_in_numeric_order(tmp_path: Path) -> None:
    names = [str(n) for n in range(12)]
    data = load(str(write_folder(tmp_path, {f"{name}/1.png": png(int(name)) for name in names})))
    assert list(data.classes) == names
    assert values(data) == [(name, int(name)) for name in names]


@given(st.lists(st.text("abc01 29.", min_size=1), unique=True, min_size=1))
def test_orders_do_not_depend_on_the_order_given(names: list[str]) -> None:
    assert sorted(names, key=natural_key) == sorted(names[::-1], key=natural_key)
    assert class_order(names) == class_order(names[::-1])


@given(st.lists(st.integers(0, 10**30), unique=True))
def test_natural_order_is_numeric_order(numbers: list[int]) -> None:
    names = [f"x{number}.png" for number in numbers]
    assert sorted(names, key=natural_key) == [f"x{number}.png" for number in sorted(numbers)]


def test_loading_does_not_depend_on_the_order_in_the_archive(tmp_path: Path) -> None:
    first = load(str(write_zip(tmp_path / "x.zip", FLAT))).facts()
    os.remove(tmp_path / "x.zip")
    again = load(str(write_zip(tmp_path / "x.zip", dict(reversed(FLAT.items()))))).facts()
    assert first == again


def test_progress_counts_every_image_of_every_split(tmp_path: Path) -> None:
    members = {f"{split}/{name}/1.png": png() for split in ("train", "test") for name in "ab"}
    seen: list[tuple[int, int]] = []
    load(str(write_zip(tmp_path / "x.zip", members)), progress=lambda *at: seen.append(at))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def load_pair(folder: Path, first: bytes, second: bytes, suffix: str = ".png", **options: object) -> ImageData:
    write_folder(folder, {f"a/1{suffix}": first, "b/1.png": second})
    return load(str(folder), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP", "TIFF", "PPM", "GIF"])
def test_lossless_formats_keep_every_pixel(kind: str, tmp_path: Path) -> None:
    pixels = np.zeros((5, 7, 3), np.uint8)
    pixels[1, 2] = (255, 0, 128)
    options = {"lossless": True} if kind == "WEBP" else {}
    content = saved(Image.fromarray(pixels), kind, **options)
    data = load_pair(tmp_path, content, png(size=(7, 5)), f".{kind.lower()}")
    assert data.image_shape == (3, 5, 7)
    assert torch.equal(data.train.images[0], torch.from_numpy(pixels).permute(2, 0, 1))


GREY_PIXELS = np.array([[0, 65535, 257 * 77], [128, 129, 40000]], np.uint16)
GREY_IN_8_BITS = [[0, 255, 77], [0, 1, 156]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bits_are_scaled_to_8(kind: str, tmp_path: Path) -> None:
    content = saved(Image.fromarray(GREY_PIXELS), kind)
    suffix = ".pgm" if kind == "PPM" else f".{kind.lower()}"
    data = load_pair(tmp_path, content, png(size=(3, 2)), suffix)
    assert data.image_shape == (1, 2, 3)
    assert data.train.images[0, 0].tolist() == GREY_IN_8_BITS


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("1", 1), ("LA", 1), ("RGB", 3), ("RGBA", 3), ("P", 3)])
def test_grey_stays_one_channel_unless_an_image_has_colour(mode: str, channels: int, tmp_path: Path) -> None:
    other = saved(Image.new("L", (6, 4), 9).convert(mode), "PNG")
    data = load_pair(tmp_path, other, png(9))
    assert data.image_shape == (channels, 4, 6)
    assert torch.equal(data.train.images[1], torch.full((channels, 4, 6), 9, dtype=torch.uint8))


def test_alpha_is_dropped_not_blended(tmp_path: Path) -> None:
    data = load_pair(tmp_path, saved(Image.new("RGBA", (6, 4), (200, 100, 50, 0)), "PNG"), png())
    assert data.train.images[0, :, 0, 0].tolist() == [200, 100, 50]


def test_transparent_palettes_keep_their_colours(tmp_path: Path) -> None:
    image = Image.new("P", (6, 4), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    content = saved(image, "PNG", transparency=bytes([255, 0]))
    assert load_pair(tmp_path, content, png()).train.images[0, :, 0, 0].tolist() == [200, 100, 50]


def test_grey_forces_one_channel(tmp_path: Path) -> None:
    data = load_pair(tmp_path, png(80, mode="RGB"), png(20), grey=True)
    assert data.train.images[:, 0, 0, 0].tolist() == [80, 20]
    assert data.image_shape == (1, 4, 6)


def test_cmyk_jpeg_becomes_rgb(tmp_path: Path) -> None:
    data = load_pair(tmp_path, saved(Image.new("CMYK", (6, 4)), "JPEG"), png(), ".jpg")
    assert data.image_shape == (3, 4, 6)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[1, 2, 3], [4, 5, 6]], np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate clockwise by 90° to see it upright
    data = load_pair(tmp_path, saved(image, "PNG", exif=exif), png(size=(2, 3)))
    assert data.train.images[0, 0].tolist() == [[4, 1], [5, 2], [6, 3]]


def test_resizing_is_antialiased_and_takes_height_then_width(tmp_path: Path) -> None:
    stripes = np.zeros((8, 40), np.uint8)
    stripes[:, ::2] = 200
    content = saved(Image.fromarray(stripes), "PNG")
    data = load_pair(tmp_path, content, png(size=(3, 3)), image_size=(4, 5))
    assert data.image_shape == (1, 4, 5)
    # Every target pixel covers eight columns; without antialiasing it would be 0 or 200.
    assert (data.train.images[0].float() - 100).abs().max() < 20


def test_a_folder_with_one_archive_stands_for_it(tmp_path: Path) -> None:
    write_tar(tmp_path / "pets.tar.gz", FLAT)
    (tmp_path / "LICENSE").write_text("free")
    inside, outside = load(str(tmp_path / "pets.tar.gz")), load(str(tmp_path))
    assert outside.classes == inside.classes
    assert torch.equal(outside.train.images, inside.train.images)
