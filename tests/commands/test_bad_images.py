"""Images that cannot be compared: exit code 2 and one sentence."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

from helpers_commands import FAST, refused
from helpers_lab import Command
from PIL import Image


def png(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (8, 8), shade).save(file, "PNG")
    return file.getvalue()


def packed(path: Path, folders: dict[str, int], **more: bytes) -> Path:
    """A zip with so many images in each folder."""
    with zipfile.ZipFile(path, "w") as archive:
        for folder, count in folders.items():
            for index in range(count):
                archive.writestr(f"{folder}/{index}.png", png(20 * index))
        for name, content in more.items():
            archive.writestr(name, content)
    return path


def refused_data(run: Command, path: Path, *options: str) -> str:
    return refused(run, "compare", "--data", path, "--out", "out", *options)


def test_good_images_are_compared(run: Command, tmp_path: Path) -> None:
    path = packed(tmp_path / "pets.zip", {"cat": 8, "dog": 8})
    outcome = run(
        "compare", "--data", path, "--network", "mlp", "--activations", "relu", "--seeds", "1", "--epochs", "1"
    )
    assert outcome.code == 0
    assert (tmp_path / "runs/pets-mlp/report.html").exists()  # the default --out
    assert "pets" in outcome.out


def test_a_truncated_zip(run: Command, tmp_path: Path) -> None:
    path = packed(tmp_path / "pets.zip", {"cat": 8, "dog": 8})
    os.truncate(path, path.stat().st_size // 2)
    sentence = refused_data(run, path)
    assert str(path) in sentence
    assert "damaged or incomplete" in sentence


def test_an_image_that_does_not_decode(run: Command, tmp_path: Path) -> None:
    path = packed(tmp_path / "pets.zip", {"cat": 8, "dog": 8}, **{"cat/bad.png": png(0)[:40]})
    assert f"'cat/bad.png' in {path} does not decode as an image" in refused_data(run, path)


def test_one_class_only(run: Command, tmp_path: Path) -> None:
    assert "only one class, 'cat'" in refused_data(run, packed(tmp_path / "pets.zip", {"cat": 8}))


def test_class_sets_that_differ(run: Command, tmp_path: Path) -> None:
    path = packed(tmp_path / "pets.zip", {"train/cat": 4, "train/dog": 4, "test/cat": 4, "test/cow": 4})
    sentence = refused_data(run, path)
    assert "class 'cow'" in sentence or "class 'dog'" in sentence


def test_too_few_images_to_divide(run: Command, tmp_path: Path) -> None:
    assert "every class needs at least 2" in refused_data(run, packed(tmp_path / "pets.zip", {"cat": 1, "dog": 9}))


def test_a_network_that_needs_larger_images(run: Command, tmp_path: Path) -> None:
    (tmp_path / "own_large_net.py").write_text(
        "from torch import nn\n"
        "def large(num_classes):\n"
        "    return nn.Sequential(nn.Conv2d(1, 4, 11), nn.ReLU(), nn.Flatten(), nn.LazyLinear(num_classes))\n"
    )
    sentence = refused(run, *FAST, "--network", "own_large_net:large", "--out", "out")
    assert "cannot take images of shape (1, 8, 8)" in sentence
    assert "try another --image-size or --network" in sentence
