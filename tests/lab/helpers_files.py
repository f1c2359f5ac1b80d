"""Small images and the folders and archives that they lie in."""

from __future__ import annotations

import io
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from limen.errors import DataError, LimenError

Members = dict[str, bytes]


def png(value: int = 0, *, mode: str = "L", size: tuple[int, int] = (6, 4), **options: object) -> bytes:
    """One image of one value; ``size`` is width and height, as Pillow has it."""
    file = io.BytesIO()
    colour: int | tuple[int, ...] = value if mode in ("L", "P", "1") else (value,) * len(mode)
    Image.new(mode, size, colour).save(file, "PNG", **options)
    return file.getvalue()


def refused(read: Callable[[], object], kind: type[LimenError] = DataError, memory: float = 60e6) -> str:
    """The sentence with which input is refused, and that little was taken before it was said."""
    tracemalloc.start()
    try:
        with pytest.raises(kind) as caught:
            read()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    text = str(caught.value)
    assert text.endswith(".")
    assert "\n" not in text
    assert len(text) < 800
    assert peak < memory
    return text


def write_folder(path: Path, members: Members) -> Path:
    for name, content in members.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def write_zip(path: Path, members: Members) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def write_tar(path: Path, members: Members) -> Path:
    with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write(kind: str, folder: Path, members: Members) -> Path:
    if kind == "folder":
        return write_folder(folder / "pets", members)
    return (write_zip if kind == ".zip" else write_tar)(folder / f"pets{kind}", members)


FLAT = {f"{name}/{n}.png": png(value + n) for name, value in (("dog", 100), ("cat", 0)) for n in (10, 9, 1)}
