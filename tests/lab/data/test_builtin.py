"""Built-in sets: found in every usual place, downloaded checked, and refused with a reason when damaged."""

from __future__ import annotations

import dataclasses
import functools
import gzip
import hashlib
import http.server
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_files import png, write_folder, write_tar

from limen.errors import DataError, SpecError
from limen.lab.data import builtin, cifar, load, names
from limen.lab.data.download import fetch
from limen.lab.data.remote import RemoteFile

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = builtin.IDX_FILES


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def idx_files(count: int = 20, start: int = 0) -> dict[str, bytes]:
    """A whole small data set of 5×4 images, packed; image n is filled with n + start."""

    def images(n: int) -> bytes:
        return gzip.compress(idx(np.arange(start, start + n)[:, None, None].repeat(5, 1).repeat(4, 2)))

    labels = gzip.compress(idx(np.arange(count) % 10))
    return {
        TRAIN_IMAGES: images(count),
        TRAIN_LABELS: labels,
        TEST_IMAGES: images(10),
        TEST_LABELS: gzip.compress(idx(np.arange(10))),
    }


def unpacked(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name.removesuffix(".gz"): gzip.decompress(content) for name, content in files.items()}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test may reach a real server: every set points at a port that is closed."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("MNIST", "FASHION_MNIST", "CIFAR10"):
        published = dataclasses.replace(getattr(builtin, name), base_url="http://127.0.0.1:9/")
        monkeypatch.setattr(builtin, name, published)


def test_names() -> None:
    assert names() == ("digits", "mnist", "fashion-mnist", "cifar10", "svhn")


def test_digits_need_no_network_and_use_the_whole_range() -> None:
    data = load("digits")
    assert (len(data.train), data.test, data.validation) == (1797, None, None)
    assert (int(data.train.images.min()), int(data.train.images.max())) == (0, 255)
    assert set(data.train.images.flatten().tolist()) == {round(n * 255 / 16) for n in range(17)}


def test_digits_are_those_of_scikit_learn_which_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    data = builtin.load_digits().train
    from sklearn import datasets

    known = datasets.load_digits()
    assert torch.equal(data.images[:, 0], torch.tensor(np.rint(known.images * 255 / 16)).byte())
    assert data.labels.tolist() == known.target.tolist()
    monkeypatch.setattr(builtin.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="pip install scikit-learn"):
        builtin.load_digits()


def test_digits_can_be_resized() -> None:
    assert load("digits", image_size=(12, 10)).image_shape == (1, 12, 10)


@pytest.mark.parametrize("place", ["", "mnist", "MNIST", "MNIST/raw"])
@pytest.mark.parametrize("packed", [True, False])
def test_mnist_is_found(place: str, packed: bool, tmp_path: Path) -> None:
    write_folder(tmp_path / place, idx_files() if packed else unpacked(idx_files()))
    data = load("mnist", data_dir=tmp_path)
    assert data.image_shape == (1, 5, 4)
    assert data.train.images[:, 0, 0, 0].tolist() == list(range(20))
    assert data.train.labels.tolist() == [*range(10), *range(10)]
    assert data.test is not None
    assert len(data.test) == 10


@pytest.mark.parametrize("place", ["", "fashion-mnist", "fashion_mnist", "FashionMNIST", "FashionMNIST/raw"])
def test_fashion_mnist_is_found(place: str, tmp_path: Path) -> None:
    write_folder(tmp_path / place, idx_files())
    assert load("fashion-mnist", data_dir=tmp_path).classes[9] == "Ankle boot"


def test_own_folder_comes_before_files_of_the_same_name_beside_it(tmp_path: Path) -> None:
    write_folder(tmp_path, idx_files(start=100))
    write_folder(tmp_path / "mnist", idx_files())
    write_folder(tmp_path / "fashion_mnist", idx_files(start=50))
    assert load("mnist", data_dir=tmp_path).train.images[0, 0, 0, 0] == 0
    assert load("fashion-mnist", data_dir=tmp_path).train.images[0, 0, 0, 0] == 50


def test_files_of_another_set_are_not_taken_for_this_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = write_folder(tmp_path, idx_files())
    labels = hashlib.sha256(gzip.decompress((files / TRAIN_LABELS).read_bytes())).hexdigest()
    monkeypatch.setattr(builtin, "MNIST", dataclasses.replace(builtin.MNIST, labels_sha256=labels))
    assert len(load("mnist", data_dir=tmp_path).train) == 20
    with pytest.raises(DataError, match="could not be downloaded"):
        load("fashion-mnist", data_dir=tmp_path)


def test_environment_names_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMEN_DATA", str(write_folder(tmp_path, idx_files())))
    assert load("mnist").name == "mnist"


def test_data_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(DataError, match="is not a folder; give --data-dir a folder"):
        load("mnist", data_dir=tmp_path / "x")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (TRAIN_IMAGES, b"\x00\x00\x0d\x03" + bytes(12), "begins with 00000d03, but .* images begins with 00000803"),
        (TRAIN_IMAGES, b"", "begins with nothing"),
        (TRAIN_IMAGES, b"\x00\x00\x08\x03\x00\x00", "truncated in its header"),
        (TRAIN_IMAGES, idx(np.zeros((20, 5, 4)))[:-1], r"truncated: .* 20×5×4 = 400 bytes, 399 follow"),
        (TRAIN_IMAGES, idx(np.zeros((20, 5, 4))) + b"x", r"too long: .* 400 bytes, 401 follow"),
        (TRAIN_IMAGES, idx(np.zeros((19, 5, 4))), "19 images but .* 20 labels"),
        (TRAIN_IMAGES, idx(np.zeros((20, 0, 4))), "holds no pixels"),
        (TEST_IMAGES, idx(np.zeros((10, 6, 4))), r"\(5, 4\) pixels but .* \(6, 4\)"),
        (TRAIN_LABELS, idx(np.zeros((20, 5, 4))), "begins with 00000803, but .* labels begins with 00000801"),
        (TRAIN_LABELS, idx(np.arange(20) % 11), "Label 10 of .* is 10, outside of 0 to 9"),
    ],
)
def test_damaged_idx_files(name: str, content: bytes, expected: str, tmp_path: Path) -> None:
    write_folder(tmp_path / "mnist", {**idx_files(), name: gzip.compress(content)})
    with pytest.raises(DataError, match=expected) as caught:
        load("mnist", data_dir=tmp_path)
    assert str(tmp_path / "mnist" / name) in str(caught.value)


@pytest.mark.parametrize("damage", [lambda b: b[:-12], lambda b: b"xx" + b[2:], lambda b: b[:-8] + bytes(8)])
def test_damaged_gzip(damage: object, tmp_path: Path) -> None:
    files = idx_files()
    files[TRAIN_IMAGES] = damage(files[TRAIN_IMAGES])  # type: ignore[operator]
    write_folder(tmp_path / "mnist", files)
    with pytest.raises(DataError, match=rf"{TRAIN_IMAGES} cannot be read as a gzip file, it is damaged"):
        load("mnist", data_dir=tmp_path)


def cifar_files(records: int = 10) -> dict[str, bytes]:
    """Batch files in which the first pixel's red, green, blue are the file's number, the record's number, 7."""
    made = {}
    for number, name in enumerate((*cifar.TRAIN_FILES, *cifar.TEST_FILES)):
        batch = np.zeros((records, 3073), np.uint8)
        batch[:, 0] = np.arange(records) % 10
        batch[:, 1], batch[:, 1 + 1024], batch[:, 1 + 2048] = number, np.arange(records), 7
        made[name] = batch.tobytes()
    return made


@pytest.fixture
def small_cifar(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    monkeypatch.setattr(cifar, "RECORDS_PER_FILE", 10)
    return cifar_files()


@pytest.mark.parametrize("place", ["", "cifar10", "CIFAR10", "cifar-10-batches-bin", "cifar10/cifar-10-batches-bin"])
@pytest.mark.parametrize("packed", [True, False])
def test_cifar10_is_found(place: str, packed: bool, small_cifar: dict[str, bytes], tmp_path: Path) -> None:
    folder = tmp_path / place
    if packed:
        folder.mkdir(parents=True, exist_ok=True)
        members = {f"cifar-10-batches-bin/{name}": content for name, content in reversed(small_cifar.items())}
        write_tar(folder / "cifar-10-binary.tar.gz", members)
    else:
        write_folder(folder, small_cifar)
    data = load("cifar10", data_dir=tmp_path)
    assert data.image_shape == (3, 32, 32)
    assert data.test is not None
    first_pixels = data.train.images[:, :, 0, 0]
    assert first_pixels.tolist() == [[file, record, 7] for file in range(5) for record in range(10)]
    assert data.test.images[0, :, 0, 0].tolist() == [5, 0, 7]
    assert data.classes[int(data.train.labels[3])] == "cat"


def test_cifar10_in_grey_and_resized(small_cifar: dict[str, bytes], tmp_path: Path) -> None:
    write_folder(tmp_path, small_cifar)
    assert load("cifar10", data_dir=tmp_path, grey=True, image_size=(8, 8)).image_shape == (1, 8, 8)
    assert load("cifar10", data_dir=tmp_path, image_size=(8, 8)).image_shape == (3, 8, 8)


def test_damaged_cifar10(small_cifar: dict[str, bytes], tmp_path: Path) -> None:
    write_folder(tmp_path, {**small_cifar, "data_batch_3.bin": small_cifar["data_batch_3.bin"][:-3073]})
    with pytest.raises(DataError, match=r"data_batch_3.bin has 27,657 bytes, .* batch has 30,730"):
        load("cifar10", data_dir=tmp_path)
    write_folder(tmp_path, {"data_batch_3.bin": b"\x0a" + small_cifar["data_batch_3.bin"][1:]})
    with pytest.raises(DataError, match=r"Label 0 of .*data_batch_3.bin is 10, outside of 0 to 9"):
        load("cifar10", data_dir=tmp_path)
    (tmp_path / "data_batch_3.bin").unlink()
    with pytest.raises(DataError, match=r"lacks data_batch_3.bin of CIFAR-10"):
        load("cifar10", data_dir=tmp_path)


def test_cifar10_as_class_folders_is_not_the_built_in(tmp_path: Path) -> None:
    write_folder(tmp_path / "cifar10", {"a/1.png": png(), "b/1.png": png()})
    with pytest.raises(DataError, match=r"cifar-10-binary.tar.gz was not found in .*cifar10 and could not be"):
        load("cifar10", data_dir=tmp_path)
    assert load(str(tmp_path / "cifar10")).classes == ("a", "b")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server on this machine, and the folder that it serves."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/", folder
        running.shutdown()


def hash_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def test_download_once_then_from_disk(
    server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, folder = server
    files = idx_files()
    write_folder(folder, files)
    published = dataclasses.replace(
        builtin.MNIST,
        base_url=url,
        files=tuple(RemoteFile(name, hash_of(files[name])) for name in builtin.IDX_FILES),
    )
    monkeypatch.setattr(builtin, "MNIST", published)
    data = load("mnist", data_dir=tmp_path / "data")
    assert torch.equal(data.train.images[:, 0, 0, 0], torch.arange(20, dtype=torch.uint8))
    assert {path.name for path in (tmp_path / "data/mnist").iterdir()} == set(builtin.IDX_FILES)
    monkeypatch.setattr(builtin, "MNIST", dataclasses.replace(published, base_url="http://127.0.0.1:9/"))
    assert load("mnist", data_dir=tmp_path / "data").facts() == data.facts()


def test_cifar10_is_downloaded(
    server: tuple[str, Path], small_cifar: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, folder = server
    packed = write_tar(folder / "cifar-10-binary.tar.gz", small_cifar).read_bytes()
    md5 = "md5:" + hashlib.md5(packed, usedforsecurity=False).hexdigest()
    files = (RemoteFile("cifar-10-binary.tar.gz", md5),)
    monkeypatch.setattr(builtin, "CIFAR10", dataclasses.replace(builtin.CIFAR10, base_url=url, files=files))
    assert len(load("cifar10", data_dir=tmp_path / "data").train) == 50


def test_wrong_checksum_leaves_nothing_behind(server: tuple[str, Path], tmp_path: Path) -> None:
    url, folder = server
    (folder / "x.gz").write_bytes(b"tampered")
    with pytest.raises(DataError, match=r"checksum is not the published one.*place it in") as caught:
        fetch(RemoteFile("x.gz", hash_of(b"original")), url, tmp_path / "data")
    assert f"{url}x.gz" in str(caught.value)
    assert list((tmp_path / "data").iterdir()) == []


def test_file_that_the_server_does_not_have(server: tuple[str, Path], tmp_path: Path) -> None:
    url, _ = server
    with pytest.raises(DataError, match=r"^x.gz was not found in .* could not be downloaded from .*404.*by hand"):
        fetch(RemoteFile("x.gz", hash_of(b"")), url, tmp_path / "data")


def test_no_server_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"no connection to the server.*place it in {tmp_path}") as caught:
        fetch(RemoteFile("x.gz", hash_of(b"")), "http://127.0.0.1:9/", tmp_path)
    assert "\n" not in str(caught.value)


def test_unknown_names_are_not_looked_up_in_the_data_folder(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="'mnist'"):
        load("mnits", data_dir=write_folder(tmp_path, idx_files()))


def svhn_files(folder: Path, labels: list[int], **changed: object) -> Path:
    from scipy.io import savemat

    folder.mkdir(parents=True, exist_ok=True)
    images = np.arange(32 * 32 * 3 * len(labels), dtype=np.uint32).astype(np.uint8).reshape(32, 32, 3, len(labels))
    for name in ("train_32x32.mat", "test_32x32.mat"):
        savemat(folder / name, {"X": images, "y": np.array(labels, dtype=np.uint8)[:, None], **changed})
    return folder


def test_svhn_reads_its_matlab_files(tmp_path: Path) -> None:
    svhn_files(tmp_path / "SVHN", [1, 10, 9])
    data = load("svhn", data_dir=tmp_path)
    assert data.image_shape == (3, 32, 32)
    assert data.train.labels.tolist() == [1, 0, 9]  # 10 stands for the digit 0
    assert data.test is not None
    wanted = np.arange(32 * 32 * 3 * 3, dtype=np.uint32).astype(np.uint8).reshape(32, 32, 3, 3)
    assert data.train.images[2, 1, 5, 7].item() == wanted[5, 7, 1, 2]


def test_damaged_svhn_files_are_one_sentence(tmp_path: Path) -> None:
    (svhn_files(tmp_path / "svhn", [1]) / "train_32x32.mat").write_bytes(b"no matlab file, just text" * 20)
    with pytest.raises(DataError, match="cannot be read as a MATLAB file"):
        load("svhn", data_dir=tmp_path)
    svhn_files(tmp_path / "svhn", [1, 2], y=np.array([[1]], dtype=np.uint8))
    with pytest.raises(DataError, match="2 images and 1 labels"):
        load("svhn", data_dir=tmp_path)
    svhn_files(tmp_path / "svhn", [1], X=np.zeros((2, 2), dtype=np.uint8))
    with pytest.raises(DataError, match="32, 32, 3, N"):
        load("svhn", data_dir=tmp_path)


def test_every_set_with_a_name_has_a_reader() -> None:
    assert tuple(builtin.BUILTIN) == names()
