"""What is stored and read again, put together by someone else: one sentence, of the one family of errors."""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from limen.commands.inspecting import load_weights
from limen.errors import DataError, LimenError
from limen.lab.data import download, idx
from limen.lab.data.download import fetch
from limen.lab.data.remote import RemoteFile
from limen.lab.papers import recipe
from limen.lab.study import rows
from limen.lab.study.store import StudyFolder
from limen.reading import read_whole
from limen.selection import Plan

READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a plan": ("plan.json", Plan.load),
    "a study": ("study.json", lambda path: StudyFolder(path.parent).read_study()),
    "a run": ("runs/relu-seed0.json", lambda path: StudyFolder(path.parent.parent).read_run("relu", 0)),
    "costs": ("cost.json", lambda path: StudyFolder(path.parent).read_costs()),
    "a recipe": ("own.toml", lambda path: recipe.load(str(path))),
    "rows": ("runs.csv", lambda path: rows._read_runs(path.parent, "classification")),
    "weights": ("own.pt", lambda path: load_weights(torch.nn.Linear(1, 1), path)),
    "safetensors": ("own.safetensors", lambda path: load_weights(torch.nn.Linear(1, 1), path)),
    "idx": ("train-images-idx3-ubyte", lambda path: idx.read_idx(path, 3)),
    "packed idx": ("train-images-idx3-ubyte.gz", lambda path: idx.read_idx(path, 3)),
}
CONTENTS = {
    "nothing": b"",
    "deep lists": b"[" * 200_000,
    "deep objects": b'{"a":' * 100_000,
    "zeros": bytes(5000),
    "no text": b"\xff\xfe\xfd" * 100,
    "a long number": b'{"version": ' + b"1" * 10_000 + b"}",
    "not a number": b'{"version": NaN, "settings": Infinity}',
    "a list": b"[]",
    "twice": b'{"version": 1, "version": 2}',
    "tables in one another": b"a = " + b"[" * 5000,
    "keys in one another": b".".join([b"a"] * 3000) + b" = 1",
    "half an archive": b"PK\x03\x04" + bytes(200),
    "a huge header": struct.pack("<Q", 2**60) + b"{}",
    "a huge header of idx": struct.pack(">4B3I", 0, 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1),
    "half a gzip": gzip.compress(bytes(1000))[:-5],
    "a heading alone": b"activation,seed\nrelu\n",
    "a cell without end": b'activation,seed\n"relu,0\n',
    "a huge cell": b"activation,seed\n" + b"x" * 200_000 + b",0\n",
}


def said(read: Callable[[Path], object], path: Path) -> object:
    """The error's sentence, or what was read."""
    try:
        return read(path)
    except LimenError as error:
        return str(error)


@pytest.mark.parametrize("what", READERS)
def test_what_is_none_of_ours_is_refused_in_one_sentence(what: str, tmp_path: Path) -> None:
    name, read = READERS[what]
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    for kind, content in CONTENTS.items():
        path.write_bytes(content)
        found = said(read, path)
        if what in ("rows", "costs") and found == ():
            continue
        assert isinstance(found, str), kind
        assert "\n" not in found, kind
        assert len(found) < 1000, kind


@pytest.mark.parametrize("what", READERS)
def test_a_pipe_is_not_waited_for(what: str, tmp_path: Path) -> None:
    name, read = READERS[what]
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path)
    with pytest.raises(LimenError, match=r"is no file but a device, a pipe or the like|there is no file of weights"):
        read(path)


def test_a_file_is_read_up_to_a_size(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(1000))
    assert read_whole(tmp_path / "file", 1000, DataError) == bytes(1000)
    with pytest.raises(DataError, match=r"file has 1,000 bytes, more than the 999 allowed\."):
        read_whole(tmp_path / "file", 999, DataError)


def test_packed_idx_is_unpacked_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.gz"
    path.write_bytes(gzip.compress(bytes(60_000_000), 1))
    monkeypatch.setattr(idx, "LARGEST_IDX", 2_000_000)
    tracemalloc.start()
    with pytest.raises(DataError, match="unpacks to more than 2,000,000 bytes"):
        idx.read_payload(path)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_weights_that_unpack_are_refused(tmp_path: Path) -> None:
    path, file = tmp_path / "own.pt", io.BytesIO()
    torch.save(torch.nn.Linear(100, 100).state_dict(), file)
    with zipfile.ZipFile(file) as stored, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in stored.namelist():
            packed.writestr(name, bytes(len(stored.read(name))) if "/data/" in name else stored.read(name))
    with pytest.raises(LimenError, match=r"own\.pt unpack to 4.,... bytes, more than the file has"):
        load_weights(torch.nn.Linear(100, 100), path)


def test_a_download_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless:
        def __enter__(self) -> object:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def raise_for_status(self) -> None:
            pass

        def iter_content(self, size: int) -> object:
            while True:
                yield bytes(size)

    monkeypatch.setattr(download.requests, "get", lambda *_, **__: Endless())
    monkeypatch.setattr(download, "LARGEST_DOWNLOAD", 1_000_000)
    with pytest.raises(DataError, match="the server sends more than 1,000,000 bytes"):
        fetch(RemoteFile("x.gz", "md5:" + "0" * 32), "http://localhost/", tmp_path)
    assert list(tmp_path.iterdir()) == []
    os.mkfifo(tmp_path / "x.gz")
    with pytest.raises(DataError, match="is no file but a folder, a device or the like; remove it"):
        fetch(RemoteFile("x.gz", "md5:" + "0" * 32), "http://localhost/", tmp_path)


def test_json_of_a_run_keeps_to_its_limits(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(json.dumps({"version": 10**30}))
    with pytest.raises(LimenError, match="has version 1000"):
        StudyFolder(tmp_path).read_study()
