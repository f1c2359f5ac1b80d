"""Find splits and classes from member names alone, before any image is read.

Known layouts, optionally below one common top folder, and ``train.zip`` with ``test.zip`` for the second::

    cat/1.png  dog/1.png                        one set; the lab divides it
    train/cat/1.png  test/cat/1.png             also val, valid, validation, training, testing; any case

A folder that holds nothing but one archive stands for that archive.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from limen.errors import DataError
from limen.lab.data.files import archive_suffix, open_files
from limen.lab.data.members import Files, path_kind

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
}
_SEGMENTATION = ({"images", "masks"}, {"image", "mask"})  # read as two classes, they would be learned as such
_WHOLE = "whole"  # the key of class folders that are in no split folder
# Pillow lists these suffixes but decodes them only through other programs (EPS runs Ghostscript) or not at all.
_NOT_DECODED = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})


@dataclass(frozen=True)
class Kind:
    """What class folders hold, and what it is called in messages."""

    noun: str
    """Of one; several have an s."""
    example: str
    """A file's name."""
    suffixes: Callable[[], frozenset[str]]
    """In lower case, with the dot."""

    @property
    def help(self) -> str:
        """What is expected."""
        return f"expected class folders of {self.noun}s, such as cat/{self.example} or train/cat/{self.example}"


@dataclass(frozen=True)
class ClassFolders:
    """The images of one split: member names of ``files`` for each class, in natural order."""

    files: Files
    members: dict[str, tuple[str, ...]]


@dataclass
class _Folder:
    path: str
    images: list[str] = field(default_factory=list)
    folders: dict[str, _Folder] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @functools.cached_property
    def first_image(self) -> str | None:
        """Return an image in this folder or below it, if there is one."""
        if self.images:
            return self.images[0]
        return next(filter(None, (folder.first_image for folder in self.folders.values())), None)

    def holders(self) -> list[_Folder]:
        """Return the sub-folders that hold images, at any depth."""
        return [folder for folder in self.folders.values() if folder.first_image]


def find_splits(path: Path, kind: Kind | None = None) -> dict[str, ClassFolders]:
    """Return the splits found at ``path``, by ``train``, ``validation`` and ``test``; train is always there.

    The class folders hold files of a ``kind``: :data:`IMAGES` where none is given.
    """
    kind = kind or IMAGES
    files = open_files(path)
    archives = split_archives(files)
    if not archives and (archive := only_archive(files, kind)):
        return find_splits(archive, kind)
    splits = _from_archives(files, archives, kind) if archives else _from_one(files, kind)
    if _WHOLE in splits:
        splits = {"train": splits[_WHOLE]}
    if "train" not in splits:
        raise DataError(f"{path} has a {' and a '.join(splits)} split but none to train on; add train/.")
    return splits


def natural_key(name: str) -> tuple[object, ...]:
    """Order names as people do, by the value of the numbers in them.

    >>> sorted(["img10", "img9", "img1"], key=natural_key)
    ['img1', 'img9', 'img10']
    """
    pieces = re.split(r"([0-9]+)", name)
    # Length before digits compares numbers of any size without converting them.
    numbers = [(len(digits.lstrip("0")), digits.lstrip("0")) for digits in pieces[1::2]]
    return *(part for pair in zip(pieces[::2], [*numbers, (0, "")], strict=True) for part in pair), name


def named(names: list[str]) -> str:
    """The first of some names, and how many more there are.

    >>> named(["a.png"]), named(["a.png", "b.png", "c.png"])
    ('a.png', 'a.png and 2 more')
    """
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def class_order(names: list[str]) -> list[str]:
    """Sort class names: as numbers if all are integers, else as text.

    >>> class_order(["10", "9"]), class_order(["b", "10", "9"])
    (['9', '10'], ['10', '9', 'b'])
    """
    if all(re.fullmatch(r"-?[0-9]{1,18}", name) for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


@functools.cache
def image_suffixes() -> frozenset[str]:
    """Return the file name suffixes that Pillow decodes by itself."""
    known = Image.registered_extensions()  # also loads every format of Pillow
    return frozenset(suffix for suffix, name in known.items() if name in image_formats())


@functools.cache
def image_formats() -> tuple[str, ...]:
    """Return the formats that Pillow decodes by itself."""
    Image.init()
    return tuple(name for name in Image.OPEN if name not in _NOT_DECODED)


IMAGES = Kind("image", "1.png", image_suffixes)


def _from_one(files: Files, kind: Kind) -> dict[str, ClassFolders]:
    root = _below_top(_grow(files, kind))
    holders = root.holders()
    if not holders:
        raise _no_class_folders(files, root, kind)
    named = [folder for folder in root.folders.values() if folder.name.lower() in SPLIT_NAMES]
    if not any(folder.holders() for folder in named):
        if all(folder in named for folder in holders):
            raise _no_classes_in_split(files, holders[0], kind)
        return {_WHOLE: _classes_in(files, root, kind)}  # a class may be called "train"
    for folder in (*named, *holders):
        if folder not in named:
            raise DataError(
                f"{files.path} mixes split folders ({named[0].path!r}) with other folders of {kind.noun}s "
                f"({folder.path!r}); keep one kind."
            )
        if not folder.holders():
            raise _no_classes_in_split(files, folder, kind)
    splits: dict[str, ClassFolders] = {}
    for folder in named:
        _add(splits, folder.name, _classes_in(files, folder, kind), files.path)
    return splits


def _add(splits: dict[str, ClassFolders], name: str, found: ClassFolders, path: Path) -> None:
    split = SPLIT_NAMES[name.lower()]
    if split in splits:
        raise DataError(f"{path} has the {split} split twice, once as {name!r}; keep one of them.")
    splits[split] = found


def only_archive(files: Files, kind: Kind = IMAGES) -> Path | None:
    """Return the archive of a folder that holds nothing else to read: it is what the folder stands for."""
    if path_kind(files.path) != "folder" or _grow(files, kind).first_image:
        return None
    archives = [name for name in files.files if archive_suffix(name)]
    return files.path / archives[0] if len(archives) == 1 and "/" not in archives[0] else None


def split_archives(files: Files) -> dict[str, Path]:
    """Return the archives of a folder that are named after splits, by their names without the suffix."""
    if path_kind(files.path) != "folder":
        return {}
    suffixes = {name: archive_suffix(name) for name in files.files if "/" not in name}
    stems = {name: name[: -len(suffix)] for name, suffix in suffixes.items() if suffix}
    return {name: files.path / name for name, stem in stems.items() if stem.lower() in SPLIT_NAMES}


def _from_archives(files: Files, archives: dict[str, Path], kind: Kind) -> dict[str, ClassFolders]:
    holders = _grow(files, kind).holders()
    if holders:
        raise DataError(
            f"{files.path} holds both split archives ({', '.join(archives)}) and folders of {kind.noun}s "
            f"({holders[0].path!r}); move one of the two elsewhere."
        )
    splits: dict[str, ClassFolders] = {}
    for name, path in archives.items():
        stem = name[: -len(archive_suffix(name))]
        inside = _from_one(open_files(path), kind)
        if set(inside) not in ({_WHOLE}, {SPLIT_NAMES[stem.lower()]}):
            raise DataError(f"{path} itself holds {' and '.join(inside)} folders; give it alone, as the data.")
        _add(splits, stem, next(iter(inside.values())), files.path)
    return splits


def _grow(files: Files, kind: Kind) -> _Folder:
    """Make the tree of folders and images, without files of other kinds."""
    root = _Folder("")
    for name in sorted(files.folders):
        _reach(root, name.split("/"))
    for name in files.files:
        *parents, last = name.split("/")
        if Path(last).suffix.lower() in kind.suffixes():
            _reach(root, parents).images.append(name)
    return root


def _reach(root: _Folder, parts: list[str]) -> _Folder:
    folder = root
    for n, part in enumerate(parts, 1):
        folder = folder.folders.setdefault(part, _Folder("/".join(parts[:n])))
    return folder


def _below_top(root: _Folder) -> _Folder:
    """Go down while all images are below one folder that is neither a class nor a split."""
    holders = root.holders()
    while len(holders) == 1 and not holders[0].images and holders[0].name.lower() not in SPLIT_NAMES:
        root = holders[0]
        holders = root.holders()
    return root


def _classes_in(files: Files, folder: _Folder, kind: Kind) -> ClassFolders:
    for inner in folder.folders.values():
        deeper = next((below.first_image for below in inner.holders()), None)
        if deeper:
            raise DataError(
                f"{files.where(deeper)} lies deeper than its class folder {inner.path!r}; "
                f"put {kind.noun}s directly into their class folder."
            )
        if not inner.images:
            raise DataError(
                f"The class folder {files.where(inner.path)} has no {kind.noun}s; put some into it or remove it."
            )
    if {name.lower() for name in folder.folders} in _SEGMENTATION:
        raise DataError(
            f"{files.path} holds images with segmentation masks ({' and '.join(sorted(folder.folders))}), "
            f"not classes; {kind.help}."
        )
    if len(folder.folders) == 1:
        (only,) = folder.folders
        raise DataError(f"{files.path} has only one class, {only!r}; a comparison needs at least two class folders.")
    members = {
        name: tuple(sorted(folder.folders[name].images, key=natural_key)) for name in class_order(list(folder.folders))
    }
    return ClassFolders(files, members)


def _no_class_folders(files: Files, root: _Folder, kind: Kind) -> DataError:
    if not files.files:
        return DataError(f"{files.path} is empty; {kind.help}.")
    if root.images:
        return DataError(f"{files.where(root.images[0])} is in no class folder; {kind.help}.")
    packed = [name for name in files.files if archive_suffix(name)]
    hint = f" To use {packed[0]}, give {files.path / packed[0]}." if packed else ""
    return DataError(
        f"{files.path} has {len(files.files)} files but no {kind.noun} in a class folder; {kind.help}.{hint}"
    )


def _no_classes_in_split(files: Files, folder: _Folder, kind: Kind) -> DataError:
    what = f"{kind.noun}s but no class folders" if folder.images else f"no {kind.noun}s"
    return DataError(f"The split folder {files.where(folder.path)} holds {what}; {kind.help}.")
