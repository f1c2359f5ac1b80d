"""Images with a mask each, in every layout of :mod:`.mask_layouts`, and slices of volumes in NIfTI and ``.npz`` files.

A mask is an image without losses (PNG, BMP, TIFF) whose value at a pixel is its class. Masks of 0 and one other value
have two classes, background and foreground. Where there are more, 255 is not learned and not counted, as in PASCAL VOC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limen.errors import DataError
from limen.lab.data.base import Augment
from limen.lab.data.images import ImageSamples, ImageSet, scaled
from limen.lab.data.layout import named
from limen.lab.data.pixels import TURNED_ALONE, stack
from limen.lab.fields import Orientation
from limen.lab.tasks.segmentation.arrays import load_arrays
from limen.lab.tasks.segmentation.mask_images import Decoded, Place, check_sizes, decode_pairs
from limen.lab.tasks.segmentation.mask_layouts import WHOLE, find_files, find_pairs, holds_arrays, is_volume
from limen.lab.tasks.segmentation.volumes import load_volumes

IGNORED = 255
"""The class that a mask tensor has where a pixel is not learned and not counted."""
MOST_CLASSES = 200
BINARY = ("background", "foreground")


@dataclass(frozen=True, eq=False)
class MaskSplit(ImageSamples):
    """Images as uint8 (N, C, H, W) and masks as uint8 (N, H, W) of class indices, :data:`IGNORED` where none counts."""

    masks: Tensor
    names: tuple[str, ...]
    groups: tuple[int, ...] = ()
    """Which images belong together, as slices of one scan do, and are never divided; empty: none."""
    places: tuple[Place, ...] = ()
    """Where in its scan each lies; empty: voxels have no size."""

    def relabelled(self, places: Tensor, classes: int) -> MaskSplit:
        """Each pixel's class by its place; what does not count does not."""
        table = torch.full((IGNORED + 1,), IGNORED, dtype=torch.uint8)
        table[: len(places)] = places.to(torch.uint8)
        return replace(self, masks=table[self.masks.long()])

    def per_class(self, classes: int) -> tuple[int, ...]:
        """Images that show each class."""
        shown = torch.zeros(IGNORED + 1, dtype=torch.int64)
        for mask in self.masks:
            shown += torch.bincount(mask.flatten().long(), minlength=len(shown)) > 0
        return tuple(shown[:classes].tolist())

    @staticmethod
    def batch(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels from −1 to 1, and class indices."""
        return scaled(inputs), targets.long()

    @staticmethod
    def augmented(inputs: Tensor, targets: Tensor, drawn: Tensor, augment: Augment) -> tuple[Tensor, Tensor]:
        """Masks move with their images; what was moved in from nowhere does not count."""
        # Counted from 1, what does not count is 0, which is what an augmentation fills with.
        moved = augment((targets - IGNORED)[:, None], drawn)[:, 0] + IGNORED
        return augment(inputs, drawn), moved


@dataclass(frozen=True, eq=False)
class MaskData(ImageSet[MaskSplit]):
    """Images with a mask each."""

    counted = "images that show it"

    @property
    def binary(self) -> bool:
        """Whether there is a background and one class."""
        return self.classes == BINARY


def load_masks(
    source: str,
    *,
    image_size: tuple[int, int] | None,
    grey: bool,
    ignore_label: int | None,
    foreground: bool = False,
    intensity: tuple[float, float] | None = None,
    orientation: Orientation = "header",
) -> MaskData:
    """Read all splits found at a path; what comes undivided is for training.

    ``foreground`` makes one class of every mask value but 0; ``intensity`` is what of a volume's values is shown as
    black and as white. ``orientation`` says whether a mask lies on its image as the files' headers say or as stored.
    """
    path, by_header = Path(source).expanduser(), orientation == "header"
    files = find_files(path)
    names: Mapping[int, str] = {}
    if any(map(is_volume, files.files)):
        volumes, names, notes = load_volumes(files, image_size, intensity, by_header=by_header)
        decoded, ignored = {WHOLE: volumes}, ignore_label
    elif holds_arrays(files):
        arrays, notes = load_arrays(files, image_size, intensity)
        decoded, ignored = {WHOLE: arrays}, ignore_label
    elif intensity is not None:
        raise DataError(f"{path} holds no scans (NIfTI, .npz), and --intensity is for them alone; leave it out.")
    else:
        pairs = find_pairs(files)
        if not {"train", WHOLE} & set(pairs.splits):
            raise DataError(f"{path} has a {' and a '.join(pairs.splits)} split but none to train on; add train/.")
        decoded = {
            split: decode_pairs(members, image_size, grey, by_header=by_header)
            for split, members in pairs.splits.items()
        }
        notes = (*pairs.notes, *_turned(decoded.values()))
        ignored = pairs.ignored if ignore_label is None else ignore_label
    check_sizes(path, decoded.values())
    values = sorted({int(value) for split in decoded.values() for mask in split.masks for value in np.unique(mask)})
    classes, table, said = _classes(path, values, ignored, names, foreground)
    colour = any(image.ndim == 3 for split in decoded.values() for image in split.images)
    splits = {name: _tensors(split, table, colour) for name, split in decoded.items()}
    return MaskData(
        path.name.partition(".")[0] or "data",
        classes,
        splits.get("train") or splits[WHOLE],
        splits.get("validation"),
        splits.get("test"),
        (*notes, *said),
    )


def _turned(splits: Iterable[Decoded]) -> tuple[str, ...]:
    names = [name for split in splits for name in split.turned_alone]
    return (TURNED_ALONE.format(named(names)),) if names else ()


def _tensors(split: Decoded, table: NDArray[np.uint8], colour: bool) -> MaskSplit:
    images = stack(split.images)
    images = images.expand(-1, 3, -1, -1).contiguous() if colour and images.shape[1] == 1 else images
    return MaskSplit(images, torch.from_numpy(table[np.stack(split.masks)]), split.names, split.groups, split.places)


def _classes(
    path: Path, values: list[int], ignored: int | None, names: Mapping[int, str], foreground: bool
) -> tuple[tuple[str, ...], NDArray[np.uint8], tuple[str, ...]]:
    """Names of the classes, the class of every stored value, and what to know."""
    if ignored is None and len(values) > 2 and not names:
        ignored = IGNORED
    counted = [value for value in values if value != ignored]
    if len(counted) < 2:
        raise DataError(f"the masks of {path} hold only {counted or 'ignored pixels'}; there is nothing to tell apart.")
    if len(counted) > MOST_CLASSES:
        raise DataError(
            f"the masks of {path} hold {len(counted)} different values, more than the {MOST_CLASSES} classes allowed; "
            "a mask's pixel must be its class, not a shade."
        )
    notes: tuple[str, ...] = ()
    if ignored in values:
        notes += (f"Pixels with the value {ignored} are neither learned nor counted.",)
    table = np.full(256, IGNORED, dtype=np.uint8)
    binary = (foreground or len(counted) == 2) and counted[0] == 0
    if foreground and not binary:
        raise DataError(f"the masks of {path} have no 0, so nothing is background; leave out --foreground.")
    table[counted] = np.minimum(np.arange(len(counted)), 1 if binary else MOST_CLASSES)
    if binary and len(counted) > 2:
        notes += (f"The mask values {', '.join(map(str, counted[1:]))} are one class, the foreground.",)
    return BINARY if binary else tuple(names.get(value, str(value)) for value in counted), table, notes
