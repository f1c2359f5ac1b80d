"""Every way in which class folders and archives can be wrong ends in one sentence that says what and where."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers_files import FLAT, png, write_folder, write_tar, write_zip
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from limen.errors import DataError, LimenError, SpecError
from limen.lab.data import load
from limen.lab.data import members as listing


def message(source: Path | str, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        load(str(source), **options)  # type: ignore[arg-type]
    text = str(caught.value)
    assert text.endswith(".")
    assert "\n" not in text
    return text


def test_unknown_name_suggests_the_nearest_and_paths() -> None:
    with pytest.raises(SpecError, match=r"called 'fashion_mnist'.*'fashion-mnist'.*folder.*accepted too"):
        load("fashion_mnist")
    with pytest.raises(SpecError, match="Known: digits, mnist, fashion-mnist, cifar10"):
        load("zzzzzz")
    with pytest.raises(SpecError):
        load("")


@pytest.mark.parametrize("name", ["gone/pets", "./mnist", "pets.zip", "pets.tar.gz", "x/" + "n" * 300, "a/\0"])
def test_missing_path(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert f"{name} does not exist" in message(name)


def test_built_in_names_win_unless_the_path_has_a_separator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "digits", FLAT)
    assert load("digits").classes[0] == "0"
    assert load("./digits").classes == ("cat", "dog")


def test_image_size_must_be_positive() -> None:
    with pytest.raises(SpecError, match="image size is 0×8"):
        load("digits", image_size=(0, 8))


def test_neither_folder_nor_archive(tmp_path: Path) -> None:
    (tmp_path / "pets.rar").write_bytes(b"Rar!")
    assert "neither a folder nor an archive" in message(tmp_path / "pets.rar")
    os.mkfifo(tmp_path / "pipe.zip")
    assert "neither a folder nor an archive" in message(tmp_path / "pipe.zip")


def test_empty_folder_and_empty_archives(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    for path in (
        tmp_path / "none",
        write_zip(tmp_path / "none.zip", {}),
        write_tar(tmp_path / "none.tgz", {}),
    ):
        assert f"{path} is empty; expected class folders" in message(path)


def test_folder_without_images_names_an_archive_in_it(tmp_path: Path) -> None:
    write_tar(tmp_path / "pets.tar.gz", FLAT)
    write_tar(tmp_path / "wild.tar.gz", FLAT)
    assert f"give {tmp_path / 'pets.tar.gz'}." in message(tmp_path)


def test_images_in_no_class_folder(tmp_path: Path) -> None:
    assert "1.png is in no class folder" in message(write_folder(tmp_path, {"1.png": png()}))


@pytest.mark.parametrize("kind", [".zip", ".tar", ".tar.gz"])
@pytest.mark.parametrize("content", [b"", b"no archive at all", bytes(2000)])
def test_not_the_archive_its_name_says(kind: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"pets{kind}"
    path.write_bytes(content)
    # Zero blocks alone are a valid, empty tar.
    expected = "is empty" if kind != ".zip" and content == bytes(2000) else "damaged or incomplete"
    assert expected in message(path)


@pytest.mark.parametrize("kind", [".zip", ".tar", ".tar.gz"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.97])
def test_truncated_archive(kind: str, part: float, tmp_path: Path) -> None:
    path = (write_zip if kind == ".zip" else write_tar)(tmp_path / f"pets{kind}", FLAT)
    size = 512 * 2 * len(FLAT) if kind == ".tar" else path.stat().st_size  # a tar is padded behind its end mark
    os.truncate(path, int(size * part))
    text = message(path)
    assert str(path) in text
    assert "damaged or incomplete" in text


def test_tar_cut_between_two_members_or_damaged_in_a_header(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "pets.tar", FLAT)
    whole = path.read_bytes()
    path.write_bytes(whole[: 512 * 4])
    assert "no end mark after 2 members" in message(path)
    path.write_bytes(whole[: 512 * 4] + b"\xff" * 100 + whole[512 * 4 + 100 :])
    assert "no end mark after 2 members" in message(path)


def test_wrong_checksums(tmp_path: Path) -> None:
    path = tmp_path / "pets.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in FLAT.items():
            archive.writestr(name, content)
    damaged = bytearray(path.read_bytes())
    damaged[damaged.find(b"IDAT") + 6] ^= 255
    path.write_bytes(damaged)
    assert "CRC-32" in message(path)

    packed = write_tar(tmp_path / "pets.tar.gz", FLAT)
    damaged = bytearray(packed.read_bytes())
    damaged[-8] ^= 255
    packed.write_bytes(damaged)
    assert "CRC check failed" in message(packed)


def test_encrypted_zip(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "pets.zip", FLAT)
    content = bytearray(path.read_bytes())
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(header)
        while at >= 0:
            content[at + flags] |= 1
            at = content.find(header, at + 1)
    path.write_bytes(content)
    assert "is encrypted; unpack the archive" in message(path)


def test_unknown_zip_compression(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "pets.zip", FLAT)
    content = path.read_bytes()
    first = content.find(b"PK\x01\x02")
    content = content[: first + 10] + b"\x09\x00" + content[first + 12 :]  # 9 is "deflate64"
    path.write_bytes(content[:8] + b"\x09\x00" + content[10:])
    assert "compression" in message(path)


def test_tar_link_out_of_the_archive(tmp_path: Path) -> None:
    path = tmp_path / "pets.tar"
    with tarfile.open(path, "w") as archive:
        for name in ("a/1.png", "b/1.png"):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(info)
    assert "is a link to '/etc/passwd', which the archive does not hold" in message(path)


def test_link_to_nowhere_in_a_folder(tmp_path: Path) -> None:
    write_folder(tmp_path, FLAT)
    (tmp_path / "cat/2.png").symlink_to(tmp_path / "gone.png")
    assert str(tmp_path / "cat/2.png") in message(tmp_path)


def test_member_that_would_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "LARGEST_MEMBER", 1000)
    members = {**FLAT, "cat/5.png": bytes(2000)}
    for path in (
        write_zip(tmp_path / "p.zip", members),
        write_tar(tmp_path / "p.tgz", members),
        write_folder(tmp_path / "p", members),
    ):
        assert "has 2,000 bytes, more than the 1,000 allowed" in message(path)


@pytest.mark.parametrize("content", [b"", b"text", png()[:40], png()[:-20]])
def test_image_that_does_not_decode(content: bytes, tmp_path: Path) -> None:
    bad = {**FLAT, "cat/5.png": content}
    packed = write_zip(tmp_path / "pets.zip", bad)
    assert f"'cat/5.png' in {packed} does not decode as an image" in message(packed)
    folder = write_folder(tmp_path / "pets", bad)
    assert f"{folder / 'cat/5.png'} does not decode as an image" in message(folder)


@pytest.mark.parametrize("limit", [20, 10])
def test_decompression_bomb(limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)  # 24 pixels: Pillow warns above 20, refuses above 2 × 10
    assert "decompression bomb" in message(write_folder(tmp_path, FLAT))


def test_pixels_that_are_no_integers_of_16_bits(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("F", (6, 4), 0.5).save(file, "TIFF")
    assert "fractions" in message(write_folder(tmp_path / "f", {**FLAT, "cat/2.tif": file.getvalue()}))
    file = io.BytesIO()
    Image.new("I", (6, 4), 70000).save(file, "TIFF")
    assert "outside of 0 to 65535" in message(write_folder(tmp_path / "i", {**FLAT, "cat/2.tif": file.getvalue()}))


def test_different_sizes_name_two_files_and_the_option(tmp_path: Path) -> None:
    packed = write_zip(tmp_path / "pets.zip", {**FLAT, "dog/99.png": png(size=(7, 5))})
    text = message(packed)
    assert "'dog/10.png' in" in text
    assert "is 4×6 but 'dog/99.png' in" in text
    assert "is 5×7; resize" in text
    assert "--image-size 32" in text
    assert load(str(packed), image_size=(8, 8)).image_shape == (1, 8, 8)


def test_class_folder_without_images(tmp_path: Path) -> None:
    write_folder(tmp_path, {**FLAT, "bird/notes.txt": b"none yet"})
    assert f"class folder {tmp_path / 'bird'} has no images" in message(tmp_path)
    packed = write_zip(tmp_path / "pets.zip", {**FLAT, "bird/": b""})
    assert "class folder 'bird' in" in message(packed)
    with tarfile.open(tmp_path / "pets.tar", "w") as archive:
        folder = tarfile.TarInfo("bird")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name in ("cat/1.png", "dog/1.png"):
            info = tarfile.TarInfo(name)
            info.size = len(png())
            archive.addfile(info, io.BytesIO(png()))
    assert "class folder 'bird' in" in message(tmp_path / "pets.tar")


def test_only_one_class(tmp_path: Path) -> None:
    assert "only one class, 'cat'" in message(write_folder(tmp_path, {"cat/1.png": png(), "cat/2.png": png()}))


def test_images_deeper_than_their_class(tmp_path: Path) -> None:
    deep = {"a/left/1.png": png(), "a/right/1.png": png(), "b/1.png": png()}
    assert "lies deeper than its class folder 'a'" in message(write_folder(tmp_path, deep))


def test_segmentation_masks_are_no_class(tmp_path: Path) -> None:
    assert "segmentation masks" in message(write_folder(tmp_path, {"Images/1.png": png(), "masks/1.png": png()}))


SPLIT = {f"{split}/{name}/1.png": png() for split in ("train", "test") for name in ("cat", "dog")}


@pytest.mark.parametrize(
    ("more", "less", "expected"),
    [
        ({"test/bird/1.png": png()}, "", "the train split lacks the class 'bird', which the test split has"),
        ({"train/bird/1.png": png()}, "", "the test split lacks the class 'bird', which the train split has"),
        ({"val/cat/1.png": png(), "val/cow/1.png": png()}, "", "the validation split lacks the class 'dog'"),
        ({"other/cat/1.png": png()}, "", "mixes split folders ('test') with other folders of images ('other')"),
        ({"Testing/cat/1.png": png(), "Testing/dog/1.png": png()}, "", "has the test split twice"),
        ({"valid/1.png": png()}, "", "holds images but no class folders"),
        ({"valid/notes.txt": b""}, "", "holds no images"),
        ({}, "train", "has a test split but none to train on"),
        ({"train/1.png": png()}, "train", "holds images but no class folders"),
    ],
)
def test_splits_that_do_not_fit(more: dict[str, bytes], less: str, expected: str, tmp_path: Path) -> None:
    kept = {name: content for name, content in SPLIT.items() if not less or not name.startswith(less)}
    assert expected in message(write_zip(tmp_path / "pets.zip", {**kept, **more}))


def test_split_folders_without_any_class(tmp_path: Path) -> None:
    members = {"train/1.png": png(), "test/1.png": png()}
    assert "holds images but no class folders" in message(write_folder(tmp_path, members))


def test_split_archives_that_do_not_fit(tmp_path: Path) -> None:
    write_zip(tmp_path / "train.zip", FLAT)
    write_tar(tmp_path / "Training.tgz", FLAT)
    assert "train split twice" in message(tmp_path)
    (tmp_path / "Training.tgz").unlink()
    write_zip(tmp_path / "test.zip", SPLIT)
    assert "itself holds test and train folders" in message(tmp_path)
    (tmp_path / "test.zip").unlink()
    write_folder(tmp_path, SPLIT)
    assert "holds both split archives (train.zip) and folders of images" in message(tmp_path)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


def as_nobody(action: Callable[[], str]) -> str:
    """Run without the rights of root, who may read everything."""
    if os.geteuid() != 0:
        return action()
    os.seteuid(65534)
    try:
        return action()
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("what", ["cat", "cat/1.png", ".", "../data"])
def test_permission_denied(what: str, open_folder: Path) -> None:
    data = write_folder(open_folder / "data", FLAT)
    load(str(data))  # loads Pillow's plug-ins while they may be read
    (data / what).chmod(0)
    try:
        text = as_nobody(lambda: message(data))
    finally:
        (data / what).chmod(0o755)
    assert "permission denied" in text


def test_permission_denied_for_an_archive_and_for_what_it_lies_in(open_folder: Path) -> None:
    inner = open_folder / "inner"
    inner.mkdir()
    path = write_zip(inner / "pets.zip", FLAT)
    path.chmod(0)
    assert f"{path} cannot be read: permission denied" in as_nobody(lambda: message(path))
    inner.chmod(0)
    try:
        assert f"{path} cannot be read: permission denied" in as_nobody(lambda: message(path))
    finally:
        inner.chmod(0o755)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), kind=st.sampled_from([".zip", ".tar", ".tar.gz"]))
def test_random_damage_is_read_or_refused_in_one_sentence(data: st.DataObject, kind: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = (write_zip if kind == ".zip" else write_tar)(Path(folder) / f"pets{kind}", FLAT)
        content = bytearray(path.read_bytes())
        for at in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=5)):
            content[at] = data.draw(st.integers(0, 255))
        path.write_bytes(content)
        try:
            load(str(path))
        except LimenError as error:
            assert "\n" not in str(error)  # noqa: PT017 - a whole archive after all is as good
