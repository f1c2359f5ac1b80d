"""Image and mask files to pixels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from limen.errors import DataError
from limen.lab.data.mask_pixels import decode_mask, resized_mask
from limen.lab.data.pixels import TRY_STORED, Pixels, decode, is_turned, quiet_decoding, require_room, resize
from limen.lab.tasks.segmentation.mask_layouts import Pair


class Place(NamedTuple):
    """Where in its scan a slice lies."""

    slice: int
    """Counted from the feet up."""
    slices: int
    """Of the whole scan."""
    spacing: tuple[float, float, float]
    """Millimetres from slice to slice, row to row, column to column."""


@dataclass(frozen=True)
class Decoded:
    """What one split's files hold, before classes are known."""

    names: tuple[str, ...]
    images: list[Pixels]
    masks: list[Pixels]
    """Values as stored."""
    groups: tuple[int, ...] = ()
    """Which images belong together, as slices of one scan do; empty: none."""
    places: tuple[Place, ...] = ()
    """Of every slice of a scan whose voxels have a size; empty: they have none."""
    turned_alone: tuple[str, ...] = ()
    """Images that EXIF turns, and not their masks."""


def decode_pairs(pairs: list[Pair], image_size: tuple[int, int] | None, grey: bool, *, by_header: bool) -> Decoded:
    """Images and masks of one size; each pair's own sizes must agree. ``by_header`` turns both as their EXIF says."""
    files = pairs[0].files
    if image_size is not None:
        require_room(len(pairs), image_size)
    size_of, images, masks = {}, {}, {}
    turned = set()
    with quiet_decoding():
        for name, content in files.read([pair.image for pair in pairs]):
            image = decode(content, files.where(name), image_size=None, grey=grey, by_header=by_header)
            turned |= {name} if by_header and is_turned(content) else set()
            size_of[name] = size(image)
            images[name] = np.asarray(resize(Image.fromarray(image), image_size))
            if len(images) == 1:
                require_room(len(pairs), images[name].shape[:2], 1 + images[name][0, 0].size)  # with its mask
        for name, content in files.read([pair.mask for pair in pairs]):
            mask = decode_mask(content, files.where(name), by_header=by_header)
            turned |= {name} if by_header and is_turned(content) else set()
            size_of[name] = size(mask)
            masks[name] = resized_mask(mask, image_size)
    for pair in pairs:
        if size_of[pair.image] != size_of[pair.mask]:
            raise DataError(
                f"{files.where(pair.mask)} is {size_of[pair.mask]} pixels, but its image {pair.image!r} is "
                f"{size_of[pair.image]}; they must be the same." + (TRY_STORED if pair.image in turned else "")
            )
    names = tuple(pair.image for pair in pairs)
    alone = tuple(pair.image for pair in pairs if pair.image in turned and pair.mask not in turned)
    return Decoded(names, [images[name] for name in names], [masks[pair.mask] for pair in pairs], turned_alone=alone)


def check_sizes(path: Path, splits: Iterable[Decoded]) -> None:
    """Raise unless all images have the same height and width."""
    every = [(name, image) for split in splits for name, image in zip(split.names, split.images, strict=True)]
    first, shape = every[0][0], every[0][1].shape[:2]
    for name, image in every:
        if image.shape[:2] != shape:
            raise DataError(
                f"the images of {path} differ in size: {first!r} is {size(every[0][1])} pixels, {name!r} is "
                f"{size(image)}; give --image-size, such as 128 or 128x192."
            )


def size(pixels: Pixels) -> str:
    """Height and width for a message."""
    return f"{pixels.shape[0]}×{pixels.shape[1]}"
