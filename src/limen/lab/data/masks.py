"""Images with a mask each: ``images/`` and ``masks/`` side by side, with matching names, in a folder or an archive.

Known layouts, at any depth and in any number of such pairs of folders::

    images/1.jpg  masks/1.png                         one set; the lab divides it
    train/images/1.jpg  train/masks/1.png  test/…     also val, valid, validation, training, testing
    train.zip  val.zip  test.zip                      archives of the first

A mask is an image without losses (PNG, BMP, TIFF) whose value at a pixel is its class. Masks of 0 and one other value
have two classes, background and foreground. Where there are more, 255 is not learned and not counted, as in PASCAL VOC.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from limen.errors import DataError
from limen.lab.data.files import Files, open_files
from limen.lab.data.layout import SPLIT_NAMES, image_suffixes, is_visible, natural_key, only_archive, split_archives
from limen.lab.data.pixels import Pixels, decode, quiet_decoding, resize, stack
from limen.lab.data.types import fingerprint
from limen.lab.records import DataFacts

IGNORED = 255
"""The class that a mask tensor has where a pixel is not learned and not counted."""
MOST_CLASSES = 200
_IMAGES, _MASKS = ("images", "image"), ("masks", "mask")
_LOSSY = (".jpg", ".jpeg", ".jpe", ".jfif", ".webp")
_HELP = "expected images/ and masks/ side by side, with the same names, such as images/1.jpg and masks/1.png"
_WHOLE = "whole"


@dataclass(frozen=True, eq=False)
class MaskSplit:
    """Images as uint8 (N, C, H, W) and masks as uint8 (N, H, W) of class indices, :data:`IGNORED` where none counts."""

    images: Tensor
    masks: Tensor
    names: tuple[str, ...]

    @property
    def tensors(self) -> tuple[Tensor, Tensor]:
        """Images and masks."""
        return self.images, self.masks

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: Tensor) -> MaskSplit:
        """Return a copy with only the images at ``indices``, in that order."""
        return MaskSplit(self.images[indices], self.masks[indices], tuple(self.names[i] for i in indices.tolist()))

    @staticmethod
    def batch(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels from −1 to 1, and class indices."""
        return inputs.float().sub_(127.5).div_(127.5), targets.long()


@dataclass(frozen=True, eq=False)
class MaskData:
    """A divided set of images with masks."""

    name: str
    classes: tuple[str, ...]
    train: MaskSplit
    validation: MaskSplit | None
    test: MaskSplit
    notes: tuple[str, ...]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width, the same for every image."""
        _, channels, height, width = self.train.images.shape
        return channels, height, width

    def facts(self) -> DataFacts:
        """Describe the data for a study's records."""
        return DataFacts(
            name=self.name,
            classes=self.classes,
            image_shape=self.image_shape,
            train=len(self.train),
            validation=0 if self.validation is None else len(self.validation),
            test=len(self.test),
            fingerprint=fingerprint({"train": self.train, "validation": self.validation, "test": self.test}),
            notes=self.notes,
        )


@dataclass(frozen=True)
class _Pair:
    files: Files
    image: str
    mask: str


@dataclass(frozen=True)
class _Decoded:
    """What one split's files hold, before classes are known."""

    names: tuple[str, ...]
    images: list[Pixels]
    masks: list[Pixels]
    """Values as stored."""


def load_masks(
    source: str, *, image_size: tuple[int, int] | None, grey: bool, ignore_label: int | None
) -> tuple[str, tuple[str, ...], dict[str, MaskSplit], tuple[str, ...]]:
    """Read all splits found at a path: its name, the classes, the splits (``whole`` where undivided), notes."""
    path = Path(source).expanduser()
    found = _find(path)
    if "train" not in found and _WHOLE not in found:
        raise DataError(f"{path} has a {' and a '.join(found)} split but none to train on; add train/.")
    with quiet_decoding():
        decoded = {split: _decoded(pairs, image_size, grey) for split, pairs in found.items()}
    _check_sizes(path, decoded.values())
    values = sorted({int(value) for split in decoded.values() for mask in split.masks for value in np.unique(mask)})
    classes, table, notes = _classes(path, values, ignore_label)
    splits = {}
    colour = any(image.ndim == 3 for split in decoded.values() for image in split.images)
    for name, split in decoded.items():
        images = stack(split.images)
        images = images.expand(-1, 3, -1, -1).contiguous() if colour and images.shape[1] == 1 else images
        splits[name] = MaskSplit(images, torch.from_numpy(table[np.stack(split.masks)]), split.names)
    return path.name.partition(".")[0] or "data", classes, splits, notes


def _classes(
    path: Path, values: list[int], ignore_label: int | None
) -> tuple[tuple[str, ...], NDArray[np.uint8], tuple[str, ...]]:
    """Names of the classes, the class of every stored value, and what to know."""
    ignored = ignore_label if ignore_label is not None else IGNORED if len(values) > 2 else None
    counted = [value for value in values if value != ignored]
    if len(counted) < 2:
        raise DataError(f"the masks of {path} hold only {counted or 'ignored pixels'}; there is nothing to tell apart.")
    if len(counted) > MOST_CLASSES:
        raise DataError(
            f"the masks of {path} hold {len(counted)} different values, more than the {MOST_CLASSES} classes allowed; "
            "a mask's pixel must be its class, not a shade."
        )
    table = np.full(256, IGNORED, dtype=np.uint8)
    table[counted] = np.arange(len(counted), dtype=np.uint8)
    notes = (f"Pixels with the value {ignored} are neither learned nor counted.",) if ignored in values else ()
    binary = len(counted) == 2 and counted[0] == 0
    return ("background", "foreground") if binary else tuple(map(str, counted)), table, notes


def _find(path: Path) -> dict[str, list[_Pair]]:
    files = open_files(path)
    archives = split_archives(files)
    if not archives and (archive := only_archive(files)):
        return _find(archive)
    if not archives:
        return _pairs(files)
    found = {}
    for name, archive in archives.items():
        inside = _pairs(open_files(archive))
        if set(inside) != {_WHOLE}:
            raise DataError(f"{archive} itself holds {' and '.join(inside)} folders; give it alone, as the data.")
        found[SPLIT_NAMES[name.partition(".")[0].lower()]] = inside[_WHOLE]
    return found


def _pairs(files: Files) -> dict[str, list[_Pair]]:
    """Every image with its mask, by split; one without the other is an error that names it."""
    images, masks = (_members(files, folders) for folders in (_IMAGES, _MASKS))
    if not images or not masks:
        missing = "images" if masks else "masks" if images else "images and no masks"
        raise DataError(f"{files.path} has no {missing}; {_HELP}.")
    for one, other, what in ((images, masks, "mask"), (masks, images, "image")):
        lonely = next((name for key, name in one.items() if key not in other), None)
        if lonely is not None:
            raise DataError(f"{files.where(lonely)} has no {what}; add one with the same name, or remove it.")
    found: dict[str, list[_Pair]] = {}
    for key in sorted(images, key=lambda key: (natural_key(key[0]), natural_key(key[1]))):
        split = next((SPLIT_NAMES[part.lower()] for part in key[0].split("/") if part.lower() in SPLIT_NAMES), _WHOLE)
        found.setdefault(split, []).append(_Pair(files, images[key], masks[key]))
    if _WHOLE in found and len(found) > 1:
        undivided = found[_WHOLE][0].image
        raise DataError(f"{files.path} mixes split folders with other images ({undivided!r}); keep one kind.")
    return found


def _members(files: Files, folders: tuple[str, ...]) -> dict[tuple[str, str], str]:
    """Images below folders of these names, by the path above the folder and the name without suffix."""
    found: dict[tuple[str, str], str] = {}
    for name in files.files:
        above, _, last = name.rpartition("/")
        base, _, folder = above.rpartition("/")
        if folder.lower() in folders and is_visible(name) and Path(last).suffix.lower() in image_suffixes():
            key = (base, Path(last).stem.removesuffix("_mask"))
            if key in found:
                raise DataError(f"{files.where(name)} has the name of {found[key]!r}; keep one of them.")
            found[key] = name
    return found


def _decoded(pairs: list[_Pair], image_size: tuple[int, int] | None, grey: bool) -> _Decoded:
    files = pairs[0].files
    images = {
        name: decode(content, files.where(name), image_size=None, grey=grey)
        for name, content in files.read([pair.image for pair in pairs])
    }
    masks = {
        name: decode_mask(content, files.where(name)) for name, content in files.read([pair.mask for pair in pairs])
    }
    for pair in pairs:
        if images[pair.image].shape[:2] != masks[pair.mask].shape:
            raise DataError(
                f"{files.where(pair.mask)} is {_size(masks[pair.mask])} pixels, but its image {pair.image!r} is "
                f"{_size(images[pair.image])}; they must be the same."
            )
    names = tuple(pair.image for pair in pairs)
    pictures = [np.asarray(resize(Image.fromarray(images[name]), image_size)) for name in names]
    return _Decoded(names, pictures, [_resized(masks[pair.mask], image_size) for pair in pairs])


def decode_mask(content: bytes, where: str) -> Pixels:
    """The values of a mask as they are stored, palettes not looked up."""
    if Path(where.partition("' in ")[0].strip("'")).suffix.lower() in _LOSSY:
        raise DataError(f"{where} is stored with losses, which blur its classes; save masks as PNG.")
    try:
        with Image.open(io.BytesIO(content)) as image:
            palette, values = image.mode == "P", np.asarray(image)
    except Exception as error:  # whatever a damaged image raises in Pillow
        decode(content, where, image_size=None, grey=True)  # says it as for images
        raise DataError(f"{where} does not decode as a mask ({error}); replace or remove it.") from error
    if values.ndim == 3 and not palette:
        if not (values[..., :1] == values[..., :3]).all():
            raise DataError(f"{where} is in colour; a mask's pixel must be its class, as one number (grey or palette).")
        values = values[..., 0]
    if values.min() < 0 or values.max() > 255:
        raise DataError(f"{where} holds values from {values.min()} to {values.max()}; classes go from 0 to 255.")
    return values.astype(np.uint8)


def _resized(mask: Pixels, size: tuple[int, int] | None) -> Pixels:
    if size is None or size == mask.shape:
        return mask
    height, width = size
    return np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))


def _check_sizes(path: Path, splits: Iterable[_Decoded]) -> None:
    every = [(name, image) for split in splits for name, image in zip(split.names, split.images, strict=True)]
    first, shape = every[0][0], every[0][1].shape[:2]
    for name, image in every:
        if image.shape[:2] != shape:
            raise DataError(
                f"the images of {path} differ in size: {first!r} is {_size(every[0][1])} pixels, {name!r} is "
                f"{_size(image)}; give --image-size, such as 128 or 128x192."
            )


def _size(pixels: Pixels) -> str:
    return f"{pixels.shape[0]}×{pixels.shape[1]}"
