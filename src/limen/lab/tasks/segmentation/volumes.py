"""Slices of scans in NIfTI files (``.nii``, ``.nii.gz``), each with the mask of its voxels.

Known layouts, below any folder and in any number of such pairs::

    volume-0.nii  segmentation-0.nii                                  LiTS
    imagesTr/liver_0.nii.gz  labelsTr/liver_0.nii.gz  dataset.json    Medical Segmentation Decathlon, nnU-Net
    images/0.nii.gz  masks/0.nii.gz                                   labels/ too

Slices are axial, as the header says the scan lies, seen from below with the front up. Hounsfield units of a CT are
clipped to −160…240, the window of soft tissue, and scaled to 8 bits; of other scans, what lies between the 0.5th and
99.5th percentile of the volume. All slices of a scan stay in one split.
"""

from __future__ import annotations

import gzip
import io
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from limen.errors import DataError, require
from limen.lab.data.files import LARGEST_MEMBER, Files
from limen.lab.data.layout import is_visible, natural_key
from limen.lab.data.mask_pixels import resized_mask
from limen.lab.data.pixels import Pixels, resize
from limen.lab.tasks.segmentation.mask_images import Decoded
from limen.lab.tasks.segmentation.mask_layouts import VOLUME_SUFFIX, is_volume

SOFT_TISSUE = (-160.0, 240.0)
"""Hounsfield units."""
PERCENTILES = (0.5, 99.5)
_LITS = re.compile(r"(volume|segmentation)-([^/]+)$", re.IGNORECASE)
_IMAGES, _MASKS = ("imagestr", "images", "image"), ("labelstr", "labels", "label", "masks", "mask")
_HELP = "expected volume-0.nii and segmentation-0.nii, or imagesTr/ and labelsTr/ with the same names"
_Key = tuple[str, str]


def load_volumes(
    files: Files, image_size: tuple[int, int] | None, intensity: tuple[float, float] | None
) -> tuple[Decoded, Mapping[int, str], tuple[str, ...]]:
    """All slices of all scans, the names of mask values, and what to know; one scan is in memory at a time."""
    pairs = _pairs(files)
    described = _described(files)
    tomography = "CT" in described.get("modality", {}).values() or all(_LITS.search(image) for image, _ in pairs)
    intensity = intensity or (SOFT_TISSUE if tomography else None)
    names, images, masks, groups = [], [], [], []
    for number, (image, mask) in enumerate(pairs):
        contents = dict(files.read([image, mask]))
        scan, labels = (_opened(contents[name], files.where(name)) for name in (image, mask))
        if scan.shape != labels.shape:
            raise DataError(
                f"{files.where(mask)} has {_sides(labels)} voxels, but its scan {image!r} has {_sides(scan)}; they "
                "must be the same."
            )
        low, high = intensity or _window(scan, files.where(image))
        for index, (plane, label) in enumerate(_slices(scan, labels, files.where(image))):
            grey = np.clip((plane - low) / (high - low), 0, 1) * 255
            pixels = Image.fromarray(np.nan_to_num(grey).round().astype(np.uint8))
            images.append(np.asarray(resize(pixels, image_size)))
            masks.append(resized_mask(_classes(label, files.where(mask)), image_size))
            names.append(f"{image} slice {index}")
            groups.append(number)
    percentiles = "between the {}th and {}th percentile of each scan".format(*PERCENTILES)
    window = f"from {intensity[0]:g} to {intensity[1]:g}" if intensity else percentiles
    notes = (f"{len(pairs)} scans; all slices of a scan are in one split.", f"Values {window} are seen.")
    return Decoded(tuple(names), images, masks, tuple(groups)), _class_names(described), notes


def _pairs(files: Files) -> list[tuple[str, str]]:
    """Every scan with its mask; one without the other is an error that names it."""
    images: dict[_Key, str] = {}
    masks: dict[_Key, str] = {}
    for name in filter(is_volume, files.files):
        kind, key = _kind(name)
        if kind in ("image", "mask"):
            found = images if kind == "image" else masks
            if key in found:
                raise DataError(f"{files.where(name)} has the name of {found[key]!r}; keep one of them.")
            found[key] = name
    if not images or not masks:
        raise DataError(f"{files.path} has NIfTI files but no {'masks' if images else 'scans'} among them; {_HELP}.")
    for one, other, what in ((images, masks, "mask"), (masks, images, "scan")):
        lonely = next((name for key, name in one.items() if key not in other), None)
        if lonely is not None:
            raise DataError(f"{files.where(lonely)} has no {what}; add one with the same name, or remove it.")
    return [(images[key], masks[key]) for key in sorted(images, key=lambda key: tuple(map(natural_key, key)))]


def _kind(name: str) -> tuple[str, _Key]:
    """Whether a file is an image or a mask, and what it shares with its partner."""
    stem = VOLUME_SUFFIX.sub("", name)
    above, _, last = stem.rpartition("/")
    if lits := _LITS.match(last):
        # LiTS keeps masks beside scans or in a folder of their own, and numbers them through.
        return "image" if lits[1].lower() == "volume" else "mask", ("", lits[2])
    base, _, folder = above.rpartition("/")
    kind = "image" if folder.lower() in _IMAGES else "mask" if folder.lower() in _MASKS else ""
    return kind, (base, last.removesuffix("_0000") if kind == "image" else last)


def _described(files: Files) -> dict[str, Any]:
    """What a ``dataset.json`` says; nothing where there is none."""
    name = next((name for name in files.files if name.rpartition("/")[2] == "dataset.json" and is_visible(name)), None)
    if name is None:
        return {}
    content = next(content for _, content in files.read([name]))
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{files.where(name)} is not JSON ({error}); repair or remove it.") from error
    parts = found if isinstance(found, dict) else {}
    return {key: parts[key] if isinstance(parts.get(key), dict) else {} for key in ("modality", "labels")}


def _class_names(described: Mapping[str, Any]) -> dict[int, str]:
    """Names by mask value: ``{"1": "liver"}`` in the Decathlon, ``{"liver": 1}`` in nnU-Net's later versions."""
    found = {}
    for one, other in described.get("labels", {}).items():
        for value, name in ((one, other), (other, one)):
            if isinstance(name, str) and str(value).isdecimal():
                found[int(value)] = name
    return found


def _opened(content: bytes, where: str) -> Any:
    """A NIfTI image whose voxels are not read yet."""
    nibabel = require("nibabel", "medical", "NIfTI volumes need nibabel")
    try:
        if content[:2] == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
                content = packed.read(LARGEST_MEMBER + 1)
        if len(content) > LARGEST_MEMBER:
            raise ValueError(f"more than the {LARGEST_MEMBER:,} bytes allowed")
        opened = nibabel.Nifti1Image.from_bytes(content)
        if len(opened.shape) > 3 and set(opened.shape[3:]) == {1}:
            opened = opened.slicer[(..., *[0] * (len(opened.shape) - 3))]
        promised = int(np.prod(opened.shape, dtype=object)) * opened.get_data_dtype().itemsize
        if promised > len(content):
            raise ValueError(f"{promised:,} bytes of voxels in {len(content):,} bytes")
    except Exception as error:  # whatever a damaged file raises in nibabel
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{where} does not read as a NIfTI volume ({reason}); replace or remove it.") from error
    if len(opened.shape) != 3 or opened.get_data_dtype().kind not in "iuf":
        raise DataError(
            f"{where} holds {opened.get_data_dtype()} voxels of {_sides(opened)}; a volume has three sides and plain "
            "numbers."
        )
    return opened


def _slices(scan: Any, labels: Any, where: str) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Axial slices from the feet up, seen from below with the front up, each with its mask's."""
    lies = require("nibabel", "medical", "NIfTI volumes need nibabel").io_orientation(scan.affine)
    if np.isnan(lies).any():
        raise DataError(f"{where} does not say how the scan lies (its affine has no inverse); replace or remove it.")
    left, front, up = (int(np.flatnonzero(lies[:, 0] == axis)[0]) for axis in range(3))
    flipped = {axis: lies[axis, 1] > 0 for axis in (left, front)}
    count = scan.shape[up]
    order = range(count) if lies[up, 1] > 0 else range(count - 1, -1, -1)
    for index in order:
        cut = tuple(index if axis == up else slice(None) for axis in range(3))
        planes = []
        for volume in (scan, labels):
            plane = np.asarray(volume.dataobj[cut])
            plane = plane.T if left < front else plane  # rows from front to back, columns from right to left
            planes.append(plane[:: -1 if flipped[front] else 1, :: -1 if flipped[left] else 1])
        yield planes[0], planes[1]


def _window(scan: Any, where: str) -> tuple[float, float]:
    low, high = np.nanpercentile(np.asarray(scan.dataobj, dtype=np.float32), PERCENTILES)
    if not high > low:
        raise DataError(f"{where} has the same value almost everywhere; replace or remove it, or give --intensity.")
    return float(low), float(high)


def _classes(label: NDArray[Any], where: str) -> Pixels:
    whole = np.round(label)
    if not np.array_equal(whole, label) or whole.min() < 0 or whole.max() > 255:
        raise DataError(
            f"{where} holds values from {label.min():g} to {label.max():g}; a mask's voxel must be its class, a whole "
            "number from 0 to 255."
        )
    return np.ascontiguousarray(whole, dtype=np.uint8)


def _sides(volume: Any) -> str:
    return "×".join(map(str, volume.shape))
