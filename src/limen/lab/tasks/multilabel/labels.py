"""Images with labels, from a CSV file beside them or from JSON files among them, into memory.

Images lie in the folder of the file, or below it; a name that leads out of it is refused.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Collection, Iterator
from pathlib import Path

import torch
from torch import Tensor

from limen.errors import DataError
from limen.lab.data.class_folders import name_of
from limen.lab.data.files import archive_suffix, open_files
from limen.lab.data.members import Files, check_path, content_of, path_kind, reading
from limen.lab.data.pixels import Pixels, decode, quiet_decoding, require_room, stack
from limen.lab.tasks.multilabel.csv_labels import read_csv
from limen.lab.tasks.multilabel.data import LabelData, LabelSplit
from limen.lab.tasks.multilabel.json_labels import read_json
from limen.lab.tasks.multilabel.named import WHOLE, Named

Content = Iterator[tuple[Named, bytes]]


def load_labels(
    source: str, *, target: str | None, drop: Collection[str], image_size: tuple[int, int] | None, grey: bool
) -> LabelData:
    """Read all parts that a file names; where it names none, everything is for training."""
    path = Path(source).expanduser()
    check_path(path)
    if path_kind(path) == "folder" or archive_suffix(path.name):
        files = open_files(path)
        _check_no_columns(files.path, target, drop)
        named, classes = read_json(files)
        contents = _of_members(named, files)
    else:
        named, classes = read_csv(source, target, drop)
        contents = _beside(named, path.parent)
    if not any(one.labels for one in named):
        raise DataError(f"no image of {path} has any label; there is nothing to tell apart.")
    decoded = _decoded(contents, len(named), image_size, grey)
    whole = LabelSplit(
        stack([decoded[one] for one in named]), _table(named, classes), tuple(one.image for one in named)
    )
    made = {part: whole.take(torch.tensor(rows)) for part, rows in _parts(named, path).items()}
    name = name_of(path).removesuffix(path.suffix if path_kind(path) == "file" else "") or "data"
    train = made.get("train") or made[WHOLE]
    return LabelData(name, classes, train, made.get("validation"), made.get("test"), tuple(_unlabelled(named)))


def _check_no_columns(path: Path, target: str | None, drop: Collection[str]) -> None:
    for option, given in (("--target", target), ("--drop", ", ".join(drop))):
        if given:
            raise DataError(f"{path} is no CSV file, and {option} {given} names a column of one; leave it out.")


def _of_members(named: list[Named], files: Files) -> Content:
    """What lies in a folder or an archive, in the order of its members."""
    known = frozenset(files.files)
    by_place: dict[str, Named] = {}
    for one in named:
        place = posixpath.normpath(one.image)
        if place.startswith(("/", "../")) or place == "..":
            raise _leads_out(one, files.path)
        if place not in known:
            raise _missing(one, files.path)
        _check_once(by_place.setdefault(place, one), one)
    for place, content in files.read(by_place):
        yield by_place[place], content


def _beside(named: list[Named], folder: Path) -> Content:
    """What lies in a folder on the disk, in the file's order."""
    root = os.path.realpath(folder)
    by_place: dict[str, Named] = {}
    for one in named:
        place = os.path.realpath(folder / one.image)
        if os.path.isabs(one.image) or os.path.commonpath([place, root]) != root:
            raise _leads_out(one, folder)
        if path_kind(Path(place)) != "file":
            raise _missing(one, folder)
        _check_once(by_place.setdefault(place, one), one)
    for place, one in by_place.items():
        with reading(Path(place), "file"):
            content = content_of(Path(place))
        yield one, content


def _leads_out(one: Named, folder: Path) -> DataError:
    return DataError(
        f"{one.where}: the image {one.image!r} lies outside of {folder}; put it there, and name it relative to the "
        "file."
    )


def _missing(one: Named, folder: Path) -> DataError:
    return DataError(
        f"{one.where}: there is no image {one.image!r} in {folder}; names are relative to the file, with the suffix."
    )


def _check_once(known: Named, one: Named) -> None:
    if known is not one:
        raise DataError(f"{one.where}: the image {one.image!r} was named before, in {known.where}; name it once.")


def _decoded(contents: Content, count: int, image_size: tuple[int, int] | None, grey: bool) -> dict[Named, Pixels]:
    """Every image, all of one size."""
    found: dict[Named, Pixels] = {}
    if image_size is not None:
        require_room(count, image_size)
    with quiet_decoding():
        for one, content in contents:
            pixels = found[one] = decode(
                content, f"the image {one.image!r} of {one.where}", image_size=image_size, grey=grey
            )
            first = next(iter(found))
            if pixels.shape[:2] != found[first].shape[:2]:
                raise DataError(
                    f"images differ in size (height × width): {first.image!r} is {_size(found[first])}, "
                    f"{one.image!r} is {_size(pixels)}; give --image-size, such as 32 or 32x48."
                )
            if len(found) == 1:
                require_room(count, pixels.shape[:2], pixels[0, 0].size)
    return found


def _size(pixels: Pixels) -> str:
    return f"{pixels.shape[0]}×{pixels.shape[1]}"


def _table(named: list[Named], classes: tuple[str, ...]) -> Tensor:
    """1 where an image has a label."""
    return torch.tensor([[float(label in one.labels) for label in classes] for one in named])


def _parts(named: list[Named], path: Path) -> dict[str, list[int]]:
    """Which images are of which part."""
    found: dict[str, list[int]] = {}
    for row, one in enumerate(named):
        found.setdefault(one.part, []).append(row)
    if WHOLE in found and len(found) > 1:
        lacking = named[found[WHOLE][0]].where
        raise DataError(f"{lacking} does not say a split, and others do; give train, validation or test to all.")
    if WHOLE not in found and "train" not in found:
        raise DataError(f"{path} has a {' and a '.join(found)} split but none to train on; mark some images train.")
    return found


def _unlabelled(named: list[Named]) -> list[str]:
    """What a reader must know of images without any label."""
    count = sum(not one.labels for one in named)
    return [f"Of {len(named):,} images {count:,} have no label; they count as lacking each."] if count else []
