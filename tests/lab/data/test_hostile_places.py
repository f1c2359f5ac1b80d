"""Folders and archives made to be endless, huge or deep: one sentence, at once, and next to no memory."""

from __future__ import annotations

import gzip
import io
import os
import re
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers_files import FLAT, png, refused, write, write_folder, write_zip
from hypothesis import given, settings
from hypothesis import strategies as st

from limen.errors import DataError
from limen.lab.data import load, members, tar_headers, zip_archive
from limen.lab.data.files import open_files

MEMORY = 40e6
"""Bytes that a refusal may take: pytest's and Pillow's own, and some headers."""


def unloaded(path: Path) -> str:
    """The sentence with which data are refused."""
    return refused(lambda: load(str(path)), memory=MEMORY)


def link(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def nested(path: Path) -> None:
    place = path.parent / "deep"
    for _ in range(members.DEEPEST + 2):
        place.mkdir()
        place /= "d"


def no_text(path: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(path.parent) + b"/caf\xe9.png")).touch()
    except OSError:
        pytest.skip("this file system knows text alone")


PLACES = {
    "a link to itself": (link("2.png"), "Too many levels"),
    "a link to a device": (link("/dev/zero"), "a link to /dev/zero, outside of"),
    "a link out of the root": (link("../../other.png"), "outside of"),
    "a link to a folder out of the root": (link(".."), None),
    "a link to a folder elsewhere": (link("/"), "is a link to /, outside of"),
    "a pipe": (os.mkfifo, "no file but a device, a pipe"),
    "folders in one another": (nested, "deeper than the 64 allowed"),
    "a name that is no text": (no_text, r"'.*caf\\udce9.png', which is no text"),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_folder_is_read_or_refused(name: str, tmp_path: Path) -> None:
    make, expected = PLACES[name]
    write_folder(tmp_path / "pets", FLAT)
    (tmp_path / "other.png").write_bytes(png())
    make(tmp_path / "pets/cat/2.png")
    if expected is None:
        assert len(load(str(tmp_path / "pets")).train) == len(FLAT)
    else:
        assert re.search(expected, unloaded(tmp_path / "pets"))


def test_a_folder_reached_by_a_million_million_paths_is_walked_once(tmp_path: Path) -> None:
    write_folder(tmp_path / "pets", FLAT)
    for level in range(40):
        (tmp_path / f"pets/dog/level{level}").mkdir()
        for way in "ab":
            (tmp_path / f"pets/dog/level{level}" / way).symlink_to(f"../level{level + 1}")
    files = open_files(tmp_path / "pets")
    assert len(files.folders) < 2000
    assert len(files.files) == len(FLAT) + 6  # two links that lead nowhere, in a folder reached by itself and by two


def test_a_link_within_the_root_is_followed_wherever_it_leads_once(tmp_path: Path) -> None:
    write_folder(tmp_path / "pets", FLAT)
    (tmp_path / "pets/cow").symlink_to("dog")
    (tmp_path / "pets/cat/7.png").symlink_to("../dog/1.png")
    data = load(str(tmp_path / "pets"))
    assert data.classes == ("cat", "cow", "dog")
    assert len(data.train) == len(FLAT) + 3 + 1


def header(name: str = "cat/2.png", kind: bytes = b"0", size: int = 0, target: str = "") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, target
    return info.tobuf(tarfile.GNU_FORMAT)


def pax(**records: str) -> bytes:
    return tarfile.TarInfo._create_pax_generic_header(  # type: ignore[attr-defined, no-any-return]
        {key.replace("__", "."): value for key, value in records.items()}, tarfile.XHDTYPE, "utf-8"
    )


TARS = {
    "soft links in a circle": (
        header(kind=b"2", target="3.png") + header("cat/3.png", b"2", target="2.png"),
        "through more than 40 links or back to itself",
    ),
    "a hard link to itself": (header(kind=b"1", target="cat/2.png"), "back to itself"),
    "a device": (header(kind=b"3"), "is no file but a device"),
    "a pax header of terabytes": (header(kind=b"x", size=2**40), "1,048,576 bytes and 16 are allowed"),
    "a name of terabytes": (header(kind=b"L", size=2**40), "1,048,576 bytes and 16 are allowed"),
    "a link's name of terabytes": (header(kind=b"K", size=2**40), "1,048,576 bytes and 16 are allowed"),
    "headers without end": (pax(comment="x") * 5000, "17 before one member"),
    "a record that is endless": (pax(path="a").replace(b"9 path=a\n", b"0 path=a\n"), "say where it ends"),
    "a member of terabytes": (header(size=2**40), "unpacks to 1,0..,...,...,... bytes or more"),
    "a size that is no number": (pax(size="-1") + header(), "with the size '-1'"),
    "holes": (header(kind=b"S", size=2**40), "stored with holes"),
    "holes by pax": (pax(GNU__sparse__realsize="99999999999") + header(), "stored with holes"),
    "a name of thousands of levels": (pax(path="a/" * 3000 + "1.png") + header(), "name of 6,005 characters"),
    "folders in one another": (pax(path="a/" * 70 + "1.png") + header(), "deeper than the 64 allowed"),
    "a name that is no text": (header().replace(b"cat/2", b"c\xe9t/2"), "end mark"),
    "a name that is no text, summed": (header("cat/\udce9.png"), "no text in UTF-8"),
}


@pytest.mark.parametrize("packed", [False, True], ids=["tar", "gz"])
@pytest.mark.parametrize("name", TARS)
def test_a_tar_is_refused(name: str, packed: bool, tmp_path: Path) -> None:
    blocks, expected = TARS[name]
    path = tmp_path / ("pets.tar.gz" if packed else "pets.tar")
    whole = blocks + b"".join(header(n, size=len(c)) + c.ljust(-(-len(c) // 512) * 512, b"\0") for n, c in FLAT.items())
    whole += bytes(1024)
    path.write_bytes(gzip.compress(whole) if packed else whole)
    assert re.search(expected, unloaded(path))


@settings(max_examples=30, deadline=None)
@given(
    names=st.lists(st.text("aäß界/.", min_size=1, max_size=300), min_size=1, max_size=4, unique=True),
    form=st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    kind=st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE]),
)
def test_a_tar_is_read_as_the_standard_library_reads_it(names: list[str], form: int, kind: bytes) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for number, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, number if kind == tarfile.REGTYPE else 0
            info.linkname = name[::-1] if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            try:
                archive.addfile(info, io.BytesIO(bytes(number)))
            except ValueError:  # too long for the oldest format
                continue
    file.seek(0)
    with tarfile.open(fileobj=file) as archive:
        expected = [(one.name.rstrip("/"), one.isdir(), one.offset_data, one.size, one.linkname) for one in archive]
    file.seek(0)
    found = [
        (one.name.rstrip("/"), one.kind == "folder", one.offset, one.size, one.link)
        for one in tar_headers.members(file)
    ]
    assert found == expected


def lying(path: Path) -> Path:
    """A zip with a member of 60 MB that says it has ten bytes."""
    write_zip(path, {**FLAT, "cat/2.png": bytes(60_000_000)})
    path.write_bytes(path.read_bytes().replace((60_000_000).to_bytes(4, "little"), b"\x0a\0\0\0"))
    return path


def test_a_zip_member_larger_than_it_says(tmp_path: Path) -> None:
    assert "damaged or incomplete" in unloaded(lying(tmp_path / "pets.zip"))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_packed_in_a_way_that_unpacks_without_bounds(method: int, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "pets.zip", "w", method) as archive:
        for name, content in FLAT.items():
            archive.writestr(name, content)
    assert f"has the compression {method}; pack the archive anew with deflate" in unloaded(tmp_path / "pets.zip")


@pytest.mark.parametrize("comment", [b"", b"many", b"PK\x05\x06" + bytes(18), b"x" * 65_000])
def test_the_list_of_a_zip_is_looked_at_before_it_is_read(
    comment: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_zip(tmp_path / "pets.zip", FLAT)
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = comment
    monkeypatch.setattr(zip_archive, "MOST_MEMBERS", len(FLAT))
    with path.open("rb") as file:
        start, size = zip_archive._directory(file)
        zip_archive._check_directory(path, file)
        monkeypatch.setattr(zip_archive, "MOST_MEMBERS", len(FLAT) - 1)
        if comment != b"PK\x05\x06" + bytes(18):  # zipfile takes that for an empty archive
            assert path.read_bytes()[start:].startswith(b"PK\x01\x02")
            with pytest.raises(DataError, match="more than the 5 files"):
                zip_archive._check_directory(path, file)
            monkeypatch.setattr(zip_archive, "LARGEST_DIRECTORY", size - 1)
            with pytest.raises(DataError, match=f"list of members of {size} bytes"):
                zip_archive._check_directory(path, file)


LIMITS = {
    "MOST_MEMBERS": (5, "more than the 5 files and folders allowed"),
    "MOST_LETTERS": (20, "more than 20 characters in their names"),
    "LONGEST_NAME": (8, "name of [0-9]+ characters, '[a-z0-9./]*'…, more than the 8"),
    "DEEPEST": (0, "deeper than the 0 allowed"),
}


@pytest.mark.parametrize("kind", ["folder", ".zip", ".tar", ".tar.gz"])
@pytest.mark.parametrize("limit", LIMITS)
def test_every_limit_holds_for_every_container(
    limit: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    most, expected = LIMITS[limit]
    monkeypatch.setattr(members, limit, most)
    assert re.search(expected, unloaded(write(kind, tmp_path, {**FLAT, "cat/2.png": png()})))


@pytest.mark.parametrize("kind", [".zip", ".tar", ".tar.gz"])
def test_what_an_archive_unpacks_to_is_bounded(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(kind, tmp_path, {**FLAT, "notes.txt": bytes(1_000_000)})
    monkeypatch.setattr(members, "UNPACKED", 100)
    if kind == ".tar":  # it is never larger than its file
        assert len(load(str(path)).train) == len(FLAT)
    else:
        assert "unpacks to 1,0" in unloaded(path)
