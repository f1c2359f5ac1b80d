"""Read images of normal and anomalous things, with masks of the defects, from a folder or an archive.

Known layouts, optionally below a common top folder::

    train/good/1.png  test/good/1.png  test/crack/1.png  ground_truth/crack/1_mask.png     MVTec AD
    free/images/1.jpg  free/masks/1.png  crack/images/1.jpg  crack/masks/1.png             kinds with masks
    free/Imgs/1.jpg  free/Imgs/1.png  crack/Imgs/1.jpg  crack/Imgs/1.png                   magnetic tiles as published

``ground_truth/`` may be missing. MVTec AD: Bergmann et al. 2019, CVPR. Magnetic tiles: Huang et al. 2018,
https://github.com/abin24/Magnetic-tile-defect-datasets.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from limen.errors import DataError, suggest
from limen.lab.data.files import open_files
from limen.lab.data.layout import image_suffixes, named, natural_key, only_archive
from limen.lab.data.mask_pixels import decode_mask
from limen.lab.data.members import Files
from limen.lab.data.pixels import (
    TRY_STORED,
    TURNED_ALONE,
    Pixels,
    decode,
    is_turned,
    quiet_decoding,
    require_room,
    resize,
    stack,
)
from limen.lab.fields import Orientation
from limen.lab.tasks.anomaly.data import UNKNOWN, AnomalyData, AnomalySplit, join

GOOD = "good"
NORMAL_NAMES = ("good", "normal", "free", "ok")
"""What the folder of the normal kind is called, or ends in after an underscore."""
_PARTS = ("train", "validation", "test", "ground_truth")
_IMAGES, _MASKS, _TOGETHER = ("images", "image"), ("masks", "mask"), ("imgs",)
_HELP = "expected train/good/1.png, test/good/1.png, test/crack/1.png (ground_truth/crack/1_mask.png)"


@dataclass
class Layout:
    """Which files are what, before any of them is read."""

    files: Files
    images: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """Image names by part (``train``, ``validation``, ``test``; ``all`` where nothing is divided) and kind."""
    masks: dict[str, str] = field(default_factory=dict)
    """An image's mask."""
    normal: str = GOOD
    """The normal kind."""


def find_anomalies(path: Path, normal: str | None) -> Layout | None:
    """Which files are what, or None where no folder says what is normal."""
    files = open_files(path)
    if archive := only_archive(files):
        return find_anomalies(archive, normal)
    names = sorted(
        (name for name in files.files if Path(name).suffix.lower() in image_suffixes()),
        key=natural_key,
    )
    tops = {f"/{name}".partition("/train/")[0].lstrip("/") for name in names if "/train/" in f"/{name}"}
    if len(tops) > 1 and any("/ground_truth/" in f"/{name}" or "/test/good/" in f"/{name}" for name in names):
        listed = ", ".join(sorted(tops)[:5])
        raise DataError(f"{path} holds several categories ({listed}, …); give one of these folders.")
    if len(tops) == 1:
        top = tops.pop()
        found = _divided(files, names, f"{top}/" if top else "", normal or GOOD)
        if found is not None:
            return found
    return _kinds(files, names, normal)


def read_anomalies(
    layout: Layout, name: str, image_size: tuple[int, int] | None, grey: bool, orientation: Orientation = "header"
) -> AnomalyData:
    """The images as far as the layout divides them, with masks; both turned as their EXIF says, or as stored."""
    reader = _Reader(layout, image_size, grey, by_header=orientation == "header")
    with quiet_decoding():
        parts = _whole(layout, reader) if "all" in layout.images else _parts(layout, reader)
    channels = max(split.images.shape[1] for split in parts.values())
    coloured = {part: _coloured(split, channels) for part, split in parts.items()}
    return AnomalyData(
        name,
        (),
        coloured["train"],
        coloured.get("validation"),
        coloured.get("test"),
        (*reader.notes, *reader.said_of_turned()),
        anomalies=coloured.get("anomalies"),
    )


def _whole(layout: Layout, reader: _Reader) -> dict[str, AnomalySplit]:
    """Of kinds that nothing divides."""
    kinds = layout.images["all"]
    return {
        "train": reader.split([layout.normal], kinds, anomalous=False),
        "anomalies": reader.split([kind for kind in kinds if kind != layout.normal], kinds, anomalous=True),
    }


def _parts(layout: Layout, reader: _Reader) -> dict[str, AnomalySplit]:
    """Of MVTec's layout."""
    tested = layout.images["test"]
    found = {
        "train": reader.split([layout.normal], layout.images["train"], anomalous=False),
        "test": join(
            reader.split([layout.normal], tested, anomalous=False),
            reader.split([kind for kind in tested if kind != layout.normal], tested, anomalous=True),
        ),
    }
    if validation := layout.images.get("validation"):
        found["validation"] = reader.split([layout.normal], validation, anomalous=False)
    return found


def _divided(files: Files, names: list[str], top: str, normal: str) -> Layout | None:
    """MVTec's layout below ``top``; None where nothing is called ground truth, and train holds more than one kind."""
    inside = {name: name.removeprefix(top).split("/") for name in names if name.startswith(top)}
    learned = {between[0] for part, *between in inside.values() if part == "train" and between}
    if learned != {normal} and not any(part == "ground_truth" for part, *_ in inside.values()):
        return None
    images: dict[str, dict[str, list[str]]] = {}
    for name in names:
        part, *between = inside.get(name, ("",))
        if part not in _PARTS:
            raise DataError(f"{files.where(name)} is in none of {', '.join(_PARTS)}; {_HELP}.")
        if len(between) != 2:
            raise DataError(f"{files.where(name)} must lie in a folder of its kind; {_HELP}.")
        images.setdefault(part, {}).setdefault(between[0], []).append(name)
    truth = images.pop("ground_truth", {})
    if normal not in learned:
        raise DataError(f"{files.path} has no images in {top}train/{normal}; {_HELP}.")
    _check_divided(files, top, images, normal)
    return Layout(files, images, _matched(files, images["test"], truth, normal) if truth else {}, normal)


def _check_divided(files: Files, top: str, images: dict[str, dict[str, list[str]]], normal: str) -> None:
    for part in ("train", "validation"):
        strange = next((kind for kind in images.get(part, {}) if kind != normal), None)
        if strange:
            raise DataError(
                f"{files.where(images[part][strange][0])} is not normal, and cannot be learned from; {_HELP}."
            )
    tested = images.get("test", {})
    if normal not in tested or len(tested) < 2:
        missing = f"in {top}test/{normal}" if normal not in tested else f"of anomalies in {top}test"
        raise DataError(f"{files.path} has no images {missing}, and both kinds are needed to test; {_HELP}.")
    for part in images:
        empty = next(
            (
                folder
                for folder in sorted(files.folders)
                if folder.startswith(f"{top}{part}/") and folder.removeprefix(f"{top}{part}/") not in images[part]
            ),
            None,
        )
        if empty:
            raise DataError(f"{files.where(empty)} has no images; put images into it or remove it.")


def _matched(files: Files, tested: dict[str, list[str]], truth: dict[str, list[str]], normal: str) -> dict[str, str]:
    """The mask of every anomaly; one without the other is an error that names it."""
    masks: dict[tuple[str, str], str] = {}
    for kind, found in truth.items():
        for name in found:
            known = masks.setdefault((kind, Path(name).stem.removesuffix("_mask")), name)
            if known != name:
                raise DataError(f"{files.where(name)} is of the same image as {known!r}; keep one of them.")
    matched = {}
    for kind, images in tested.items():
        for name in images if kind != normal else ():
            mask = masks.pop((kind, Path(name).stem), None)
            if mask is None:
                raise DataError(
                    f"{files.where(name)} has no mask in ground_truth/{kind}; add one, or remove the image."
                )
            matched[name] = mask
    lonely = next((name for (kind, _), name in masks.items() if kind != normal), None)
    if lonely:
        raise DataError(f"{files.where(lonely)} has no image in test/; add one with the same name, or remove it.")
    return matched


def _kinds(files: Files, names: list[str], normal: str | None) -> Layout | None:
    """Folders of kinds, each with images and masks; None where there are no masks."""
    images, masks, twice = _by_kind(names)
    if not masks or len(images) < 2:
        return None
    for name, known in twice:
        raise DataError(f"{files.where(name)} has the kind and the name of {known!r}; keep one of them.")
    chosen = _normal_kind(files, list(images), normal)
    matched = {}
    for kind, found in images.items():
        for stem, name in found.items():
            mask = masks.pop((kind, stem), None)
            if mask is None and kind != chosen:
                raise DataError(f"{files.where(name)} has no mask; add one with the same name, or remove the image.")
            if mask is not None:
                matched[name] = mask
    if masks:
        raise DataError(f"{files.where(next(iter(masks.values())))} has no image; add one, or remove the mask.")
    return Layout(files, {"all": {kind: list(found.values()) for kind, found in images.items()}}, matched, chosen)


def _by_kind(
    names: list[str],
) -> tuple[dict[str, dict[str, str]], dict[tuple[str, str], str], list[tuple[str, str]]]:
    """Images by kind and name, masks by both, and those that have another's kind and name, with that one."""
    images: dict[str, dict[str, str]] = {}
    masks: dict[tuple[str, str], str] = {}
    twice = []
    for name in names:
        above, _, last = name.rpartition("/")
        kind, _, folder = above.rpartition("/")
        stem, lossless = Path(last).stem, Path(last).suffix.lower() == ".png"
        kind = kind.rpartition("/")[2]
        if folder.lower() in _MASKS or (folder.lower() in _TOGETHER and lossless):
            known = masks.setdefault((kind, stem.removesuffix("_mask")), name)
        elif kind and folder.lower() in (*_IMAGES, *_TOGETHER):
            known = images.setdefault(kind, {}).setdefault(stem, name)
        else:
            continue
        if known != name:
            twice.append((name, known))
    return images, masks, twice


def _normal_kind(files: Files, kinds: list[str], normal: str | None) -> str:
    if normal is not None:
        if normal not in kinds:
            raise DataError(f"{files.path} has no kind {normal!r}. {suggest(normal, kinds)}")
        return normal
    found = [kind for kind in kinds if kind.lower().replace("-", "_").rpartition("_")[2] in NORMAL_NAMES]
    if len(found) != 1:
        raise DataError(
            f"{files.path} does not say which of {', '.join(sorted(kinds))} is normal; give --normal-class, such as "
            f"--normal-class {sorted(kinds)[0]}."
        )
    return found[0]


class _Reader:
    """Decodes, and holds what must agree over all splits: the size, with the image that set it."""

    def __init__(self, layout: Layout, image_size: tuple[int, int] | None, grey: bool, *, by_header: bool) -> None:
        self.files, self.masks = layout.files, layout.masks
        self.image_size, self.grey, self.by_header = image_size, grey, by_header
        self.first: tuple[str, tuple[int, ...]] | None = None
        self.stored: dict[str, tuple[int, ...]] = {}
        """The size of an image before it was resized, which is its mask's."""
        self.notes: list[str] = []
        self.turned: set[str] = set()
        """Images and masks that EXIF turns."""

    def split(self, kinds: list[str], members: dict[str, list[str]], *, anomalous: bool) -> AnomalySplit:
        """The images of some kinds, with their masks."""
        names = [name for kind in kinds for name in members[kind]]
        pictures: dict[str, Pixels] = {}
        if self.image_size is not None:
            require_room(len(names), self.image_size)
        for name, content in self.files.read(names):
            pictures[name] = self._image(name, content)
            if len(pictures) == 1:
                require_room(len(names), pictures[name].shape[:2], 1 + pictures[name][0, 0].size)  # with its mask
        images = stack([pictures.pop(name) for name in names])
        masks = torch.full((len(names), *images.shape[2:]), UNKNOWN if anomalous else 0, dtype=torch.uint8)
        owners = {self.masks[name]: (index, name) for index, name in enumerate(names) if name in self.masks}
        empty = []
        for mask, content in self.files.read(list(owners)):
            index, name = owners[mask]
            masks[index] = self._mask(mask, content, name, images.shape[2:])
            if not anomalous and masks[index].any():
                raise DataError(
                    f"{self.files.where(mask)} marks something, but its image {name!r} is of the normal kind; move the "
                    "image to the kind of its defect, or clear the mask."
                )
            if anomalous and not masks[index].any():
                empty.append(name)
                masks[index] = UNKNOWN
        if empty:
            self.notes.append(f"Anomalies whose mask marks nothing count as images alone: {', '.join(empty)}.")
        return AnomalySplit(images, masks, tuple(names))

    def said_of_turned(self) -> tuple[str, ...]:
        """Which images are turned, and not their masks."""
        alone = [name for name, mask in self.masks.items() if name in self.turned and mask not in self.turned]
        return (TURNED_ALONE.format(named(alone)),) if alone else ()

    def _note_turned(self, name: str, content: bytes) -> None:
        if self.by_header and is_turned(content):
            self.turned.add(name)

    def _image(self, name: str, content: bytes) -> Pixels:
        where = self.files.where(name)
        pixels = decode(content, where, image_size=None, grey=self.grey, by_header=self.by_header)
        self._note_turned(name, content)
        if name in self.masks:
            self.stored[name] = pixels.shape[:2]
        pixels = np.asarray(resize(Image.fromarray(pixels), self.image_size))
        self.first = self.first or (where, pixels.shape[:2])
        if pixels.shape[:2] != self.first[1]:
            raise DataError(
                f"the images differ in size: {self.first[0]} is {_size(self.first[1])} pixels, {where} is "
                f"{_size(pixels.shape)}; give --image-size, such as 64 or 64x96."
            )
        return pixels

    def _mask(self, mask: str, content: bytes, image: str, size: torch.Size) -> Tensor:
        """1 where any of the stored pixels is marked: thin cracks would vanish if the nearest decided."""
        values = decode_mask(content, self.files.where(mask), by_header=self.by_header)
        self._note_turned(mask, content)
        if values.shape != self.stored[image]:
            raise DataError(
                f"{self.files.where(mask)} is {_size(values.shape)} pixels, but its image {image!r} is "
                f"{_size(self.stored[image])}; they must be the same." + (TRY_STORED if image in self.turned else "")
            )
        marked = torch.from_numpy((values > 0).astype(np.float32))[None]
        return F.adaptive_max_pool2d(marked, tuple(size))[0].to(torch.uint8)


def _coloured(split: AnomalySplit, channels: int) -> AnomalySplit:
    """With as many channels as the other splits."""
    if split.images.shape[1] == channels:
        return split
    return replace(split, images=split.images.expand(-1, channels, -1, -1).contiguous())


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}×{shape[1]}"
