"""Slices of scans in NIfTI files (``.nii``, ``.nii.gz``), each with the mask of its voxels.

Known layouts, below any folder and in any number of such pairs::

    volume-0.nii  segmentation-0.nii                                  LiTS
    imagesTr/liver_0.nii.gz  labelsTr/liver_0.nii.gz  dataset.json    Medical Segmentation Decathlon, nnU-Net
    images/0.nii.gz  masks/0.nii.gz                                   labels/ too

Slices are axial, as the header says the scan lies, seen from below with the front up; a mask is brought into its scan's
orientation, as :mod:`.axial` says. A voxel that is NaN is black. Hounsfield units of a CT are
clipped to −160…240, the window of soft tissue, and scaled to 8 bits; of other scans, what lies between the 0.5th and
99.5th percentile of the volume. All slices of a scan stay in one split.
"""

from __future__ import annotations

import gzip
import io
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from limen.errors import DataError, require
from limen.lab.data.json_text import parsed_json
from limen.lab.data.layout import named, natural_key
from limen.lab.data.mask_pixels import resized_mask
from limen.lab.data.members import LARGEST_MEMBER, Files
from limen.lab.data.pixels import Pixels, resize
from limen.lab.tasks.segmentation.axial import Volume, laid
from limen.lab.tasks.segmentation.mask_images import Decoded, Place
from limen.lab.tasks.segmentation.mask_layouts import VOLUME_SUFFIX, advice, is_volume
from limen.memory import require_memory

SOFT_TISSUE = (-160.0, 240.0)
"""Hounsfield units."""
PERCENTILES = (0.5, 99.5)
OFF = 1e-3
"""By how much a mask's value may miss its class."""
_CLASS = re.compile("[0-9]{1,3}")
_HEADER_BYTES = 348
_LITS = re.compile(r"(volume|segmentation)-([^/]+)$", re.IGNORECASE)
_IMAGES, _MASKS = ("imagestr", "images", "image"), ("labelstr", "labels", "label", "masks", "mask")
_HELP = "expected {}imagesTr/ and labelsTr/, or images/ and masks/, with the same names"
_OF_LITS = "volume-0.nii and segmentation-0.nii, or "
_Key = tuple[str, str]


def load_volumes(
    files: Files, image_size: tuple[int, int] | None, intensity: tuple[float, float] | None, *, by_header: bool
) -> tuple[Decoded, Mapping[int, str], tuple[str, ...]]:
    """All slices of all scans, the names of mask values, and what to know; one scan is in memory at a time.

    ``by_header`` lays a mask on its scan as their headers say, else voxel by voxel as they are stored.
    """
    pairs = paired(files, "NIfTI files", is_volume, VOLUME_SUFFIX)
    described = _described(files)
    tomography = "CT" in described.get("modality", {}).values() or all(_LITS.search(image) for image, _ in pairs)
    intensity = intensity or (SOFT_TISSUE if tomography else None)
    images: list[Pixels] = []
    masks: list[Pixels] = []
    names: list[str] = []
    groups: list[int] = []
    places: list[Place] = []
    turned, silent = [], []
    for number, (image, mask) in enumerate(pairs):
        contents = dict(files.read([image, mask]))
        scan, labels = (_opened(contents[name], files.where(name)) for name in (image, mask))
        both = laid(scan, labels, by_header=by_header)
        turned += [mask] * both.turned
        if scan.says_where != labels.says_where:
            silent.append(mask if scan.says_where else image)
        _require_room(images, scan, image_size)
        low, high = intensity or window(np.asarray(scan.image.dataobj, dtype=np.float32), scan.where)
        first = len(names)
        for index, (plane, label) in enumerate(both.slices()):
            images.append(seen(plane, low, high, image_size))
            masks.append(resized_mask(classes(label, labels.where), image_size))
            names.append(f"{image} slice {index}")
            groups.append(number)
        places += _places(both.spacing, plane.shape, masks[-1].shape, len(names) - first)
    notes = said_of_scans(len(pairs), intensity)
    said = _said(turned, silent, by_header=by_header)
    return Decoded(tuple(names), images, masks, tuple(groups), tuple(places)), _class_names(described), (*notes, *said)


def _places(
    spacing: tuple[float, float, float], stored: tuple[int, ...], seen: tuple[int, ...], slices: int
) -> list[Place]:
    """Of all slices of a scan; pixels of resized slices are as much larger."""
    up, rows, columns = spacing
    sides = (up, rows * stored[0] / seen[0], columns * stored[1] / seen[1])
    return [Place(index, slices, sides) for index in range(slices)]


def _require_room(known: list[Pixels], scan: Volume, image_size: tuple[int, int] | None) -> None:
    """Raise before slices are added that do not fit; how many a scan has only its header says."""
    voxels = int(np.prod(scan.image.shape))
    added = voxels if image_size is None else max(scan.image.shape) * image_size[0] * image_size[1]
    kept = len(known) * known[0].size if known else 0
    require_memory(4 * (kept + added), "reading these scans", "give a smaller --image-size, or fewer scans")


def paired(files: Files, what: str, accepted: Callable[[str], bool], suffix: re.Pattern[str]) -> list[tuple[str, str]]:
    """Every scan with its mask, of the files accepted; one without the other is an error that names it."""
    images: dict[_Key, str] = {}
    masks: dict[_Key, str] = {}
    for name in filter(accepted, files.files):
        kind, key = _kind(suffix.sub("", name))
        if kind in ("image", "mask"):
            found = images if kind == "image" else masks
            if key in found:
                raise DataError(f"{files.where(name)} has the name of {found[key]!r}; keep one of them.")
            found[key] = name
    if not images or not masks:
        missing, help_ = "masks" if images else "scans", _HELP.format(_OF_LITS if accepted is is_volume else "")
        renamed = advice(files, [*images.values(), *masks.values()], "masks" if images else "images", accepted)
        raise DataError(f"{files.path} has {what} but no {missing} among them; {help_}.{renamed}")
    for one, other, partner in ((images, masks, "mask"), (masks, images, "scan")):
        lonely = next((name for key, name in one.items() if key not in other), None)
        if lonely is not None:
            raise DataError(f"{files.where(lonely)} has no {partner}; add one with the same name, or remove it.")
    return [(images[key], masks[key]) for key in sorted(images, key=lambda key: tuple(map(natural_key, key)))]


def _kind(stem: str) -> tuple[str, _Key]:
    """Whether a file is an image or a mask, and what it shares with its partner."""
    above, _, last = stem.rpartition("/")
    if lits := _LITS.match(last):
        # LiTS keeps masks beside scans or in a folder of their own, and numbers them through.
        return "image" if lits[1].lower() == "volume" else "mask", ("", lits[2])
    base, _, folder = above.rpartition("/")
    kind = "image" if folder.lower() in _IMAGES else "mask" if folder.lower() in _MASKS else ""
    return kind, (base, last.removesuffix("_0000") if kind == "image" else last)


def _described(files: Files) -> dict[str, Any]:
    """What a ``dataset.json`` says; nothing where there is none."""
    name = next((name for name in files.files if name.rpartition("/")[2] == "dataset.json"), None)
    if name is None:
        return {}
    content = next(content for _, content in files.read([name]))
    found = parsed_json(content, files.where(name))
    parts = found if isinstance(found, dict) else {}
    return {key: parts[key] if isinstance(parts.get(key), dict) else {} for key in ("modality", "labels")}


def _class_names(described: Mapping[str, Any]) -> dict[int, str]:
    """Names by mask value: ``{"1": "liver"}`` in the Decathlon, ``{"liver": 1}`` in nnU-Net's later versions."""
    found = {}
    for one, other in described.get("labels", {}).items():
        for value, name in ((one, other), (other, one)):
            if isinstance(name, str) and _CLASS.fullmatch(str(value)):
                found[int(value)] = name
    return found


def _opened(content: bytes, where: str) -> Volume:
    """A NIfTI image whose voxels are not read yet."""
    nibabel = require("nibabel", "medical", "NIfTI volumes need nibabel")
    try:
        if content[:2] == b"\x1f\x8b":
            content = _unpacked(nibabel, content)
        opened = nibabel.Nifti1Image.from_bytes(content)
        if not np.isfinite(nibabel.Nifti1Header(content[:_HEADER_BYTES], check=False)["vox_offset"]):
            raise ValueError("its header does not say where its voxels begin")
        if (end := _end(opened.header, opened.dataobj.offset)) > len(content):
            raise ValueError(f"its header promises {end:,} bytes, and there are {len(content):,}")
    except Exception as error:  # whatever a damaged file raises in nibabel
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{where} does not read as a NIfTI volume ({reason}); replace or remove it.") from error
    if len(opened.shape) > 3 and set(opened.shape[3:]) == {1}:
        opened = opened.slicer[(..., *[0] * (len(opened.shape) - 3))]
    found = Volume(opened, where)
    if len(opened.shape) != 3 or opened.get_data_dtype().kind not in "iuf":
        raise DataError(
            f"{where} holds {opened.get_data_dtype()} voxels of {found.sides}; a volume has three sides and plain "
            "numbers."
        )
    return found


def _unpacked(nibabel: Any, content: bytes) -> bytes:
    """As much as its header promises; what follows is read for gzip's checksum, and not kept."""
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
        head = packed.read(_HEADER_BYTES)
        header = nibabel.Nifti1Header(head)
        end = _end(header, header.get_data_offset())
        if end > LARGEST_MEMBER:
            raise ValueError(f"{end:,} bytes, more than the {LARGEST_MEMBER:,} bytes allowed")
        voxels = packed.read(max(0, end - len(head)))
        while packed.read(2**20):
            if packed.tell() > LARGEST_MEMBER:
                raise ValueError(f"more than the {LARGEST_MEMBER:,} bytes allowed")
    return head + voxels


def _end(header: Any, offset: int) -> int:
    """Where the voxels end that a header promises; an opened image's says no longer where they begin."""
    voxels = int(np.prod(header.get_data_shape(), dtype=object))
    return int(offset) + voxels * int(header.get_data_dtype().itemsize)


def said_of_scans(scans: int, intensity: tuple[float, float] | None) -> tuple[str, ...]:
    """How scans are divided and shown."""
    percentiles = "between the {}th and {}th percentile of each scan".format(*PERCENTILES)
    values = f"from {intensity[0]:g} to {intensity[1]:g}" if intensity else percentiles
    return f"{scans} scans; all slices of a scan are in one split.", f"Values {values} are seen."


def window(values: NDArray[np.float32], where: str) -> tuple[float, float]:
    """What of a scan's values is shown as black and as white."""
    known = values[np.isfinite(values)]
    low, high = np.percentile(known, PERCENTILES) if known.size else (0.0, 0.0)
    if not high > low:
        raise DataError(f"{where} has the same value almost everywhere; replace or remove it, or give --intensity.")
    return float(low), float(high)


def seen(plane: NDArray[Any], low: float, high: float, image_size: tuple[int, int] | None) -> Pixels:
    """A slice as pixels of 8 bits."""
    grey = np.clip((plane - low) / (high - low), 0, 1) * 255
    pixels = Image.fromarray(np.nan_to_num(grey).round().astype(np.uint8))
    return np.asarray(resize(pixels, image_size))


def classes(label: NDArray[Any], where: str) -> Pixels:
    """The whole numbers of a slice; a slope in the header leaves them a little off."""
    whole = np.round(label)
    odd = label[~((np.abs(label - whole) <= OFF) & (whole >= 0) & (whole <= 255))]
    if odd.size:
        raise DataError(
            f"{where} holds the value {odd[0]:g}; a mask's voxel must be its class, a whole number from 0 to 255."
        )
    return np.ascontiguousarray(whole, dtype=np.uint8)


def _said(turned: list[str], unsaid: list[str], *, by_header: bool) -> tuple[str, ...]:
    """How masks were laid on their scans, where that needs to be known."""
    if not by_header:
        return ("Masks lie on their scans voxel by voxel as they are stored, whatever their headers say.",)
    notes = []
    if turned:
        notes.append(f"{named(turned)}: the axes run otherwise than the scan's, and were turned as the headers say.")
    if unsaid:
        notes.append(f"{named(unsaid)}: no header says how it lies; it is taken to lie as its partner does.")
    return tuple(notes)
