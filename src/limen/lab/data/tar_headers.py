"""The members of a tar, header by header: of each its name, its kind and where its content lies.

The standard library's reader takes headers of any size and any number into memory, one inside the other, and holes of
a sparse file as zeros: a file of megabytes becomes gigabytes. What is read here is POSIX.1-2001 (pax) and GNU tar's
long names; a member with holes is refused.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

BLOCK = tarfile.BLOCKSIZE
LARGEST_HEADER = 2**20
"""Bytes of a header beyond a block: names, and what else pax has to say of a member."""
MOST_HEADERS = 16
"""Of them before one member."""
_PAX, _COMMON, _LONG_NAME, _LONG_LINK = b"x", b"g", b"L", b"K"
_HARD, _SOFT, _FOLDER, _LISTED, _SPARSE, _CONTINUED = b"1", b"2", b"5", b"D", b"S", b"M"
_FILES = (b"0", b"\0", b"7")
_EMPTY = (_HARD, _SOFT, b"3", b"4", _FOLDER, b"6")
"""What has no content, whatever size its header states."""
_HOLES = "GNU.sparse."
_RECORD = re.compile(rb"([0-9]{1,7}) ([^=]+)=")


@dataclass(frozen=True, slots=True)
class Member:
    """What a header says."""

    name: str
    kind: str
    """``file``, ``folder``, ``hard`` and ``soft`` for links, or ``other``."""
    offset: int
    """Where its content begins."""
    size: int
    link: str = ""


def members(file: BinaryIO) -> Iterator[Member]:
    """Every member, in order. Afterwards the file stands behind the block of zeros that ends a tar."""
    at, count = 0, 0
    common: dict[str, str] = {}
    said: dict[str, str] = {}
    headers = 0
    while block := _next_block(file, count):
        at += BLOCK
        kind, size = block[156:157], _number(block[124:136])
        if kind in (_PAX, _COMMON, _LONG_NAME, _LONG_LINK):
            headers += 1
            content = _header(file, size, headers)
            at += _padded(size)
            (common if kind == _COMMON else said).update(_said(kind, content))
            continue
        member = _member(block, kind, at, common | said)
        yield member
        at += _padded(member.size)
        file.seek(at)
        said, headers, count = {}, 0, count + 1


def _next_block(file: BinaryIO, count: int) -> bytes:
    """The next header; empty at the end."""
    block = file.read(BLOCK)
    if block == bytes(BLOCK):
        return b""
    if len(block) < BLOCK or not _is_summed(block):
        raise tarfile.ReadError(f"no end mark after {count} members")
    return block


def _is_summed(block: bytes) -> bool:
    """Whether the checksum is right. It counts bytes as unsigned; early tars of Sun counted them as signed."""
    stated, summed = _number(block[148:156]), block[:148] + 8 * b" " + block[156:]
    return stated == sum(summed) or stated == sum(summed) - 256 * sum(byte > 127 for byte in summed)


def _header(file: BinaryIO, size: int, headers: int) -> bytes:
    if size > LARGEST_HEADER or headers > MOST_HEADERS:
        raise tarfile.ReadError(
            f"headers of {size:,} bytes, {headers} before one member; {LARGEST_HEADER:,} bytes and {MOST_HEADERS} are "
            "allowed"
        )
    return file.read(_padded(size))[:size]


def _said(kind: bytes, content: bytes) -> dict[str, str]:
    """What a further header says of a member's path, link, size and holes."""
    if kind in (_LONG_NAME, _LONG_LINK):
        return {"path" if kind == _LONG_NAME else "linkpath": _text(content)}
    found: dict[str, str] = {}
    at = 0
    while record := _RECORD.match(content, at):
        end = at + int(record[1])
        if end <= record.end() or end > len(content):
            raise tarfile.ReadError("a pax header that does not say where it ends")
        key = _text(record[2])
        key = _HOLES if key.startswith(_HOLES) else key
        if key in ("path", "linkpath", "size", _HOLES):
            found[key] = _text(content[record.end() : end - 1])
        at = end
    return found


def _member(block: bytes, kind: bytes, at: int, said: dict[str, str]) -> Member:
    name = said.get("path") or _name(block)
    if kind in (_SPARSE, _CONTINUED) or _HOLES in said:
        raise tarfile.ReadError(f"{name[:40]!r} is stored with holes or in parts; pack it without --sparse")
    size = 0 if kind in _EMPTY else _number(block[124:136])
    if "size" in said and kind not in _EMPTY:
        size = _decimal(said["size"])
    if kind in _FILES:
        # Before POSIX a folder was a file whose name ends in a slash.
        return Member(name, "folder" if kind == b"\0" and name.endswith("/") else "file", at, size)
    kinds = {_HARD: "hard", _SOFT: "soft", _FOLDER: "folder", _LISTED: "folder"}
    return Member(name, kinds.get(kind, "other"), at, size, said.get("linkpath") or _text(block[157:257]))


def _name(block: bytes) -> str:
    name, prefix = _text(block[:100]), _text(block[345:500])
    return f"{prefix}/{name}" if prefix and block[257:263] == b"ustar\0" else name


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode(errors="surrogateescape")


def _number(field: bytes) -> int:
    """Octal digits, or GNU tar's binary for what they cannot hold."""
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    digits = field.partition(b"\0")[0].strip()
    if digits and not digits.isdigit():
        raise tarfile.ReadError("a header with a number that is none")
    return int(digits or b"0", 8)


def _decimal(text: str) -> int:
    if not re.fullmatch("[0-9]{1,19}", text):
        raise tarfile.ReadError(f"a pax header with the size {text[:40]!r}")
    return int(text)


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
