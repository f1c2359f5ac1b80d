"""Slices and volumes in NumPy's archives (``.npz``), each with the mask of its values.

Known layouts, below any folder::

    images/0.npz  masks/0.npz            labels/ too; each with one array, or with one of a usual name
    case0005_slice000.npz                arrays ``image`` and ``label`` (or ``mask``) in each file

An array is a slice (height, width) or a volume (slices, height, width); an image may have one or three channels behind.
Files whose names differ in ``slice`` and a number alone are one scan. Nothing that would have to be unpickled is read.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limen.errors import DataError
from limen.lab.data.layout import named, natural_key
from limen.lab.data.mask_pixels import resized_mask
from limen.lab.data.members import LARGEST_MEMBER, Files
from limen.lab.tasks.segmentation.mask_images import Decoded
from limen.lab.tasks.segmentation.mask_layouts import ARRAY_SUFFIX, is_array
from limen.lab.tasks.segmentation.volumes import classes, paired, said_of_scans, seen, window

Array = NDArray[Any]
IMAGE_NAMES = ("image", "images", "img", "imgs", "scan", "volume", "data", "x")
MASK_NAMES = ("label", "labels", "mask", "masks", "seg", "segmentation", "gts", "y")
AS_STORED = (0.0, 255.0)
"""What is seen of values that are of 8 bits already."""
_IMAGES = re.compile(r"(^|/)(imagestr|images?)$", re.IGNORECASE)
_MASKS = re.compile(r"(^|/)(labelstr|labels?|masks?)$", re.IGNORECASE)
_SLICE = re.compile(r"[-_.]?slice[-_]?[0-9]+$", re.IGNORECASE)


def load_arrays(
    files: Files, image_size: tuple[int, int] | None, intensity: tuple[float, float] | None
) -> tuple[Decoded, tuple[str, ...]]:
    """All slices of all scans, and what to know; one scan is in memory at a time."""
    names, images, masks, groups = [], [], [], []
    as_stored: list[str] = []
    scans = _scans(files)
    for number, members in enumerate(scans):
        read = [_both(files, image, mask) for image, mask in members]
        eight = intensity is None and all(scan.dtype == np.uint8 for scan, _ in read)
        as_stored += [members[0][0]] * eight
        low, high = AS_STORED if eight else intensity or _window([scan for scan, _ in read], files.where(members[0][0]))
        for (name, mask), (scan, labels) in zip(members, read, strict=True):
            for index, (plane, label) in enumerate(zip(scan, labels, strict=True)):
                images.append(seen(plane, low, high, image_size))
                masks.append(resized_mask(classes(label, files.where(mask)), image_size))
                names.append(name if len(scan) == 1 else f"{name} slice {index}")
                groups.append(number)
    notes = said_of_scans(len(scans), intensity)
    if as_stored:
        notes = (*notes, f"{named(as_stored)}: values of 8 bits are seen as they are.")
    return Decoded(tuple(names), images, masks, tuple(groups)), notes


def _window(scan: list[Array], where: str) -> tuple[float, float]:
    """What of a scan's slices is shown as black and as white."""
    return window(np.concatenate([np.asarray(part, dtype=np.float32).ravel() for part in scan]), where)


def _scans(files: Files) -> list[list[tuple[str, str]]]:
    """The files of each scan: image and mask, which may be one file."""
    arrays = sorted(filter(is_array, files.files), key=natural_key)
    folders = {name.rpartition("/")[0] for name in arrays}
    apart = any(map(_MASKS.search, folders)) or (len(folders) > 1 and any(map(_IMAGES.search, folders)))
    pairs = paired(files, ".npz files", is_array, ARRAY_SUFFIX) if apart else [(name, name) for name in arrays]
    found: dict[str, list[tuple[str, str]]] = {}
    for image, mask in pairs:
        found.setdefault(_SLICE.sub("", ARRAY_SUFFIX.sub("", image)), []).append((image, mask))
    return list(found.values())


def _both(files: Files, image: str, mask: str) -> tuple[Array, Array]:
    """A scan and its mask, each with an axis of slices before height and width."""
    contents = dict(files.read({image, mask}))
    together = image == mask
    scan = _array(contents[image], files.where(image), "image", IMAGE_NAMES, alone=not together)
    labels = _array(contents[mask], files.where(mask), "mask", MASK_NAMES, alone=not together)
    if labels.ndim not in (2, 3) or 0 in labels.shape:
        raise DataError(
            f"{files.where(mask)} holds a mask of {_sides(labels)}; it is (height, width) or (slices, height, width)."
        )
    if scan.ndim == labels.ndim + 1 and scan.shape[-1] == 1:
        scan = scan[..., 0]
    colour = scan.ndim == labels.ndim + 1 and scan.shape[-1] == 3
    if scan.shape[: labels.ndim] != labels.shape or not (scan.ndim == labels.ndim or colour):
        raise DataError(
            f"{files.where(mask)} holds a mask of {_sides(labels)}, but its image is {_sides(scan)}; they must be the "
            "same, but for three channels at the image's end."
        )
    return (scan, labels) if labels.ndim == 3 else (scan[None], labels[None])


def _array(content: bytes, where: str, what: str, usual: tuple[str, ...], *, alone: bool) -> Array:
    """The array of a file that is the image, or the mask: the only one, or the one of a usual name."""
    found = dict(_headers(content, where))
    fitting = list(found) if alone and len(found) == 1 else [name for name in found if name.lower() in usual]
    if len(fitting) != 1:
        which = "more than one" if fitting else "none"
        instead = "leave it alone in the file" if alone else "keep images in images/ and masks in masks/, one a file"
        raise DataError(
            f"{where} holds {_listed(list(found))}, of which {which} is the {what} by its name; name one {usual[0]!r}, "
            f"or {instead}."
        )
    values = _read(content, where, fitting[0])
    if values.dtype.kind not in "biuf":
        raise DataError(
            f"{where} holds {values.dtype} values in {fitting[0]!r}; a scan and its mask are plain numbers."
        )
    return values.astype(np.uint8) if values.dtype.kind == "b" else values


def _headers(content: bytes, where: str) -> Iterator[tuple[str, int]]:
    """The names of the arrays with their bytes, which are not read yet."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            sizes = {info.filename.removesuffix(".npy"): info.file_size for info in archive.zip.infolist()}
    except Exception as error:  # whatever a damaged archive raises in zipfile and NumPy
        raise _unreadable(where, error) from error
    for name, size in sizes.items():
        if size > LARGEST_MEMBER:
            raise DataError(f"{where} says that {name!r} has {size:,} bytes, more than the {LARGEST_MEMBER:,} allowed.")
        yield name, size


def _read(content: bytes, where: str, name: str) -> Array:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            values = archive[name]
    except Exception as error:  # the same, and arrays of Python's objects
        if "allow_pickle" in str(error):
            raise DataError(
                f"{where} holds Python's objects in {name!r}, which are never loaded; store an array of numbers."
            ) from error
        raise _unreadable(where, error) from error
    if not isinstance(values, np.ndarray):
        raise DataError(f"{where} holds {name!r}, which is no array; store one with numpy.savez.")
    return values


def _unreadable(where: str, error: Exception) -> DataError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return DataError(f"{where} does not read as NumPy's .npz ({reason}); replace or remove it.")


def _listed(names: list[str]) -> str:
    return f"the arrays {', '.join(map(repr, names))}" if names else "no array"


def _sides(values: Array) -> str:
    return "×".join(map(str, values.shape)) or "a single number"
