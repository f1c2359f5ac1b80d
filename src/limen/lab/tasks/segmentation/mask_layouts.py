"""Which image belongs to which mask, and to which split, from file names alone.

Known layouts, below any folder and in any number of such pairs of folders::

    images/1.jpg  masks/1.png                         one set; the lab divides it
    train/images/1.jpg  train/masks/1.png  test/…     also val, valid, validation, training, testing; images/train/… too
    train.zip  val.zip  test.zip                      archives of the first
    JPEGImages/1.jpg  SegmentationClass/1.png  ImageSets/Segmentation/{train,val}.txt          PASCAL VOC
    images/training/ADE_train_1.jpg  annotations/training/ADE_train_1.png  …/validation/…      ADE20K

The published tables of VOC and ADE20K are of their validation images, because those of the test are secret: here they
are the test set, and the images that choose the epoch are held out of the training images.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from limen.errors import DataError
from limen.lab.data.files import open_files
from limen.lab.data.layout import SPLIT_NAMES, image_suffixes, natural_key, only_archive, split_archives
from limen.lab.data.members import Files

VOLUME_SUFFIX = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
ARRAY_SUFFIX = re.compile(r"\.npz$", re.IGNORECASE)
WHOLE = "whole"
"""The split of what comes undivided."""
_IMAGES, _MASKS = ("images", "image", "jpegimages"), ("masks", "mask", "segmentationclass", "annotations")
_VOC, _VOC_LISTS = "segmentationclass", "imagesets/segmentation"
_ADE = "ADE_"
_HELP = "expected images/ and masks/ side by side, with the same names, such as images/1.jpg and masks/1.png"
_Key = tuple[str, str]
"""The path of an image without the folder that says what it is, and its name without suffix."""


@dataclass(frozen=True)
class Pair:
    """Members of ``files``: an image and its mask."""

    files: Files
    image: str
    mask: str


@dataclass(frozen=True)
class Pairs:
    """Every image with its mask, by split."""

    splits: dict[str, list[Pair]]
    ignored: int | None = None
    """The mask value that does not count, where the layout says so."""
    notes: tuple[str, ...] = ()


def is_volume(name: str) -> bool:
    """Whether a file is a NIfTI volume by its name.

    >>> is_volume("imagesTr/liver_0.nii.gz"), is_volume("imagesTr/liver_0.png")
    (True, False)
    """
    return bool(VOLUME_SUFFIX.search(name))


def is_array(name: str) -> bool:
    """Whether a file holds NumPy arrays by its name.

    >>> is_array("images/0.npz"), is_array("images/0.png")
    (True, False)
    """
    return bool(ARRAY_SUFFIX.search(name))


def holds_arrays(files: Files) -> bool:
    """Whether the data are NumPy arrays: there are some, and no pictures in folders of images."""
    return any(map(is_array, files.files)) and not _members(files, _IMAGES)


def advice(files: Files, known: Iterable[str], missing: str, accepted: Callable[[str], bool]) -> str:
    """What to rename to ``missing``, as a sentence to follow another: folders beside those of the files ``known``.

    Empty where no folder beside them holds files that could be meant.
    """
    taken = {PurePosixPath(name).parent for name in known}
    folders = {PurePosixPath(name).parent for name in files.files if "/" in name and accepted(name)} - taken
    beside = {folder.name for folder in folders if folder.parent in {one.parent for one in taken}}
    if not beside:
        return ""
    which = " or ".join(f"{name}/" for name in sorted(beside))
    return f" If {which} holds them, rename it to {missing}/; the names of the files must be the same in both."


def find_files(path: Path) -> Files:
    """The files of a folder or an archive, or of the one archive that is all a folder holds."""
    files = open_files(path)
    read_here = split_archives(files) or any(is_volume(name) or is_array(name) for name in files.files)
    archive = None if read_here else only_archive(files)
    return find_files(archive) if archive else files


def find_pairs(files: Files) -> Pairs:
    """Every image with its mask; one without the other is an error that names it."""
    archives = split_archives(files)
    if not archives:
        return _pairs(files)
    found: dict[str, list[Pair]] = {}
    for name, archive in archives.items():
        inside = _pairs(open_files(archive)).splits
        if set(inside) != {WHOLE}:
            raise DataError(f"{archive} itself holds {' and '.join(inside)} folders; give it alone, as the data.")
        found[SPLIT_NAMES[name.partition(".")[0].lower()]] = inside[WHOLE]
    return Pairs(found)


def _pairs(files: Files) -> Pairs:
    images, masks = (_members(files, folders) for folders in (_IMAGES, _MASKS))
    if not images or not masks:
        missing = "images" if masks else "masks" if images else "images and no masks"
        known = [*images.values(), *masks.values()]
        renamed = advice(files, known, missing, _is_picture) if known else ""
        raise DataError(f"{files.path} has no {missing}; {_HELP}.{renamed}")
    if any(_VOC in mask.lower().split("/") for mask in masks.values()):
        images = {key: name for key, name in images.items() if key in masks}  # most of VOC's images have no mask
    for one, other, what in ((images, masks, "mask"), (masks, images, "image")):
        lonely = next((name for key, name in one.items() if key not in other), None)
        if lonely is not None:
            raise DataError(f"{files.where(lonely)} has no {what}; add one with the same name, or remove it.")
    listed = _listed(files)
    split_of = _by_list(files, masks, listed) if listed else {key: _split(key) for key in masks}
    found: dict[str, list[Pair]] = {}
    for key in sorted(split_of, key=lambda key: (natural_key(key[0]), natural_key(key[1]))):
        found.setdefault(split_of[key], []).append(Pair(files, images[key], masks[key]))
    if WHOLE in found and len(found) > 1:
        undivided = found[WHOLE][0].image
        raise DataError(f"{files.path} mixes split folders with other images ({undivided!r}); keep one kind.")
    ade = any(name.startswith(_ADE) for _, name in masks)
    pairs = Pairs(found, ignored=0 if ade else None)
    return _tested_on_validation(pairs) if ade or listed else pairs


def _members(files: Files, folders: tuple[str, ...]) -> dict[_Key, str]:
    """Images below folders of these names."""
    found: dict[_Key, str] = {}
    for name in files.files:
        *above, last = name.split("/")
        if not _is_picture(name):
            continue
        naming = [index for index, part in enumerate(above) if part.lower() in (*_IMAGES, *_MASKS)]
        if naming and above[naming[-1]].lower() in folders:
            base = "/".join(above[: naming[-1]] + above[naming[-1] + 1 :])
            key = (base, Path(last).stem.removesuffix("_mask"))
            if key in found:
                raise DataError(f"{files.where(name)} has the name of {found[key]!r}; keep one of them.")
            found[key] = name
    return found


def _is_picture(name: str) -> bool:
    return Path(name).suffix.lower() in image_suffixes()


def _split(key: _Key) -> str:
    return next((SPLIT_NAMES[part.lower()] for part in key[0].split("/") if part.lower() in SPLIT_NAMES), WHOLE)


def _listed(files: Files) -> dict[_Key, str]:
    """The split of every image that VOC's lists name; train and val are used before trainval, which is both."""
    lists = [name for name in files.files if name.lower().endswith(".txt") and _VOC_LISTS in name.lower()]
    names = {Path(name).stem.lower() for name in lists}
    used = names & set(SPLIT_NAMES) or names & {"trainval"}
    found: dict[_Key, str] = {}
    for name, content in files.read([name for name in lists if Path(name).stem.lower() in used]):
        base = name[: name.lower().index(_VOC_LISTS)].rstrip("/")
        split = SPLIT_NAMES.get(Path(name).stem.lower(), WHOLE)
        for line in content.decode("utf-8", "replace").splitlines():
            if (key := line.strip()) and found.setdefault((base, key), split) != split:
                raise DataError(f"{files.where(name)} lists {key!r}, which is of the {found[base, key]} split too.")
    return found


def _by_list(files: Files, masks: dict[_Key, str], listed: dict[_Key, str]) -> dict[_Key, str]:
    public = {split for key, split in listed.items() if key in masks}  # the masks of VOC 2012's test list are secret
    listed = {key: split for key, split in listed.items() if split in public}
    missing = next((name for base, name in listed if (base, name) not in masks), None)
    if missing is not None:
        raise DataError(
            f"{files.path} lists {missing!r} in ImageSets/Segmentation but has no mask of it in SegmentationClass; "
            "unpack the set anew, or take it off the list."
        )
    return listed


def _tested_on_validation(pairs: Pairs) -> Pairs:
    if "test" in pairs.splits or "validation" not in pairs.splits:
        return pairs
    splits = {"test" if name == "validation" else name: members for name, members in pairs.splits.items()}
    note = "The published validation images are the test set; others are held out of the training images."
    return replace(pairs, splits=splits, notes=(note,))
