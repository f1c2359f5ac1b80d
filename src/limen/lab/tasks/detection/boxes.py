"""Images with the boxes of the objects in them, from Pascal VOC's XML or COCO's JSON, in a folder or an archive.

Boxes are kept as fractions of the image's width and height, so that resizing an image leaves them alone. Where an
annotation states another size than its image has (images shrunk afterwards, annotations not), its boxes are those of
the stated size; that is only possible where both have the same shape.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from limen.errors import DataError
from limen.lab.data.base import Augment
from limen.lab.data.files import open_files
from limen.lab.data.images import ImageSamples, ImageSet
from limen.lab.data.layout import named, only_archive
from limen.lab.data.members import Files
from limen.lab.data.pixels import Pixels, decode, is_turned, quiet_decoding, require_room, resize, stack
from limen.lab.fields import Orientation
from limen.lab.tasks.detection.annotations import WHOLE, Annotated, Annotation, Object
from limen.lab.tasks.detection.coco import coco_members, read_coco
from limen.lab.tasks.detection.kinds import NOTHING, ignored
from limen.lab.tasks.detection.masks import packed, read_mask, unpacked
from limen.lab.tasks.detection.together import laid_together
from limen.lab.tasks.detection.voc import read_voc, voc_members
from limen.lab.training.augmentation import mirrored_ones
from limen.lab.training.mosaic import mosaic
from limen.memory import require_memory

SLACK = 1.5
"""Pixels by which a box may reach beyond its image without being noted: files count pixels from 0 or from 1."""
TURNED = (
    "{}: EXIF turns the image, and its boxes are taken for those of the image as it is seen; if they are of the image "
    "as it is stored, give --orientation stored."
)
MOST_OUTSIDE = 0.5
"""With more than this part of all boxes outside of their images, the sizes are wrong, not the boxes."""
_HELP = (
    "expected Pascal VOC (Annotations/1.xml, JPEGImages/1.jpg, ImageSets/Main/train.txt) or COCO "
    "(annotations/instances_train.json, train/1.jpg)"
)


@dataclass(frozen=True, eq=False)
class BoxSplit(ImageSamples):
    """Images as uint8 (N, C, H, W) and their objects as float32 (N, most, 5).

    A row is class, left, top, right, bottom, the last four as fractions of width and height. The class is
    :data:`NOTHING` where there is no object, and :func:`ignored` where it is neither learned nor counted. Where masks
    are read, each row goes on with its own, :func:`.masks.packed`.
    """

    objects: Tensor
    names: tuple[str, ...]

    def relabelled(self, places: Tensor, classes: int) -> BoxSplit:
        """Each object's class by its place, also of what does not count; rows without an object stay."""
        labels = self.objects[..., 0].long()
        counts, hidden = labels > NOTHING, labels < NOTHING
        known = places[torch.where(hidden, ignored(labels), labels).clamp(min=0)]
        changed = torch.where(counts, known, torch.where(hidden, ignored(known), labels))
        return replace(self, objects=torch.cat([changed[..., None].float(), self.objects[..., 1:]], -1))

    @staticmethod
    def augmented(inputs: Tensor, targets: Tensor, drawn: Tensor, augment: Augment) -> tuple[Tensor, Tensor]:
        """Boxes and masks are mirrored with their images, or laid two by two; nothing else can be done to these."""
        if augment is mosaic:
            return mosaic(inputs, drawn), laid_together(targets, drawn, (inputs.shape[-2], inputs.shape[-1]))
        kind, left, top, right, bottom = targets[..., :5].unbind(-1)
        size = (inputs.shape[-2], inputs.shape[-1])
        masks = [packed(unpacked(targets[..., 5:], size).flip(-1))] if targets.shape[-1] > 5 else []
        mirrored = torch.cat([torch.stack([kind, 1 - right, top, 1 - left, bottom], -1), *masks], -1)
        there = (kind != NOTHING) & mirrored_ones(drawn)[:, None]
        return augment(inputs, drawn), torch.where(there[..., None], mirrored, targets)

    def per_class(self, classes: int) -> tuple[int, ...]:
        """Objects of each class that are learned and counted."""
        labels = self.objects[..., 0].flatten().long()
        return tuple(torch.bincount(labels[labels > NOTHING], minlength=classes).tolist())


class BoxData(ImageSet[BoxSplit]):
    """Images with boxes."""

    counted = "objects"

    @property
    def mask_numbers(self) -> int:
        """How many numbers the mask of an object takes; 0 where there are none."""
        return self.train.objects.shape[-1] - 5


@dataclass
class _Tally:
    """What was done to the boxes, counted."""

    by_header: bool
    """Whether EXIF turns images."""
    masks: bool
    """Whether masks are read."""
    turned: list[str] = field(default_factory=list)
    """Images that it turns."""
    boxes: int = 0
    scales: Counter[float] = field(default_factory=Counter)
    """Images whose boxes were scaled, by the factor."""
    clipped: int = 0
    empty: int = 0
    outside: int = 0
    ignored: int = 0

    def notes(self, what_is_ignored: str) -> tuple[str, ...]:
        said = [TURNED.format(named(self.turned))] if self.turned else []
        if self.scales:
            factors = sorted({round(scale, 3) for scale in self.scales})
            by = f"by {factors[0]:g}" if len(factors) == 1 else f"by {factors[0]:g} to {factors[-1]:g}"
            said.append(
                f"The boxes of {self.scales.total()} images were scaled {by}: their annotations state another size "
                "than the images have."
            )
        counts = (
            (self.clipped, "reached beyond the image and were clipped"),
            (self.empty, "had no area and were left out"),
            (self.outside, "lay outside of the image and were left out"),
            (self.ignored, f"marked {what_is_ignored} are neither learned nor counted"),
        )
        return (*said, *(f"Of {self.boxes:,} boxes {count:,} {what}." for count, what in counts if count))


@dataclass(frozen=True)
class _Decoded:
    names: tuple[str, ...]
    images: list[Pixels]
    objects: list[list[Object]]
    """With corners as fractions of the image."""


def load_boxes(
    source: str,
    *,
    image_size: tuple[int, int] | None,
    grey: bool,
    orientation: Orientation = "header",
    masks: bool = False,
) -> BoxData:
    """Read all splits found at a path; what comes undivided is for training.

    ``orientation`` says whether boxes are of the images as their EXIF turns them or as they are stored, ``masks``
    whether the objects' masks are wanted too.
    """
    path = Path(source).expanduser()
    files = open_files(path)
    if not voc_members(files) and not coco_members(files) and (archive := only_archive(files)):
        files = open_files(archive)
    found = _annotated(files)
    if not {"train", WHOLE} & set(found.splits):
        raise DataError(f"{path} has a {' and a '.join(found.splits)} split but none to train on; add one.")
    tally = _Tally(by_header=orientation == "header", masks=masks)
    with quiet_decoding():
        decoded = {name: _decoded(files, part, image_size, grey, tally) for name, part in found.splits.items()}
    if tally.outside > MOST_OUTSIDE * tally.boxes:
        raise DataError(
            f"{tally.outside} of the {tally.boxes} boxes of {path} lie outside of their images; the annotations are of "
            "another size than the <size> (VOC) or width and height (COCO) that they state: correct these."
        )
    classes, notes = _classes(path, found, decoded.values())
    _check_sizes(path, decoded.values())
    splits = _splits(decoded, classes)
    return BoxData(
        path.name.partition(".")[0] or "data",
        classes,
        splits.get("train") or splits[WHOLE],
        splits.get("validation"),
        splits.get("test"),
        (*found.notes, *tally.notes(found.scores_ignored), *notes),
    )


def _annotated(files: Files) -> Annotated:
    xml, json = voc_members(files), coco_members(files)
    if xml and json:
        raise DataError(f"{files.path} holds both XML ({xml[0]!r}) and JSON ({json[0]!r}) annotations; keep one kind.")
    if not xml and not json:
        raise DataError(f"{files.path} has no annotations; {_HELP}.")
    found = read_voc(files) if xml else read_coco(files)
    if not any(found.splits.values()):
        raise DataError(f"the annotations of {files.path} name no image; {_HELP}.")
    return found


def _decoded(
    files: Files, annotations: list[Annotation], image_size: tuple[int, int] | None, grey: bool, tally: _Tally
) -> _Decoded:
    by_image: dict[str, Annotation] = {}
    for annotation in annotations:
        if by_image.setdefault(annotation.image, annotation) is not annotation:
            raise DataError(
                f"{files.where(annotation.image)} is annotated twice, in {by_image[annotation.image].where} and in "
                f"{annotation.where}; put all its objects into one."
            )
    if image_size is not None:
        require_room(len(by_image), image_size)
    images: dict[str, Pixels] = {}
    objects: dict[str, list[Object]] = {}
    for name, content in files.read(list(by_image)):
        pixels = decode(content, files.where(name), image_size=None, grey=grey, by_header=tally.by_header)
        tally.turned += [name] * (tally.by_header and is_turned(content))
        images[name] = np.asarray(resize(Image.fromarray(pixels), image_size))
        objects[name] = _placed(by_image[name], pixels, tally, images[name].shape[:2])
        if len(images) == 1:
            require_room(len(by_image), images[name].shape[:2], images[name][0, 0].size)
    return _Decoded(tuple(by_image), [images[name] for name in by_image], [objects[name] for name in by_image])


def _placed(annotation: Annotation, image: Pixels, tally: _Tally, size: tuple[int, ...]) -> list[Object]:
    """The objects with corners as fractions of their image; what is no box of it is left out and counted.

    Masks are of the size that the image is given.
    """
    height, width = image.shape[:2]
    stated = annotation.size or (width, height)
    _check_shape(annotation, stated, (width, height))
    if stated != (width, height):
        tally.scales[(width / stated[0] + height / stated[1]) / 2] += 1
    placed = []
    for thing in annotation.objects:
        tally.boxes += 1
        corners = np.asarray(thing.corners)
        inside = corners.clip(0, [*stated, *stated])
        if (corners[2:] <= corners[:2]).any():
            tally.empty += 1
        elif (inside[2:] <= inside[:2]).any():
            tally.outside += 1
        else:
            tally.clipped += bool((abs(inside - corners) > SLACK).any())
            tally.ignored += not thing.counts
            left, top, right, bottom = (inside / [*stated, *stated]).tolist()
            mask = _mask(annotation, thing, stated, size) if tally.masks else None
            placed.append(Object(thing.label, (left, top, right, bottom), thing.counts, mask=mask))
    return placed


def _mask(annotation: Annotation, thing: Object, stated: tuple[int, int], size: tuple[int, ...]) -> Tensor:
    """The mask of an object, each pixel that of the nearest, packed."""
    where = f"{annotation.where}: an object {thing.label!r} of {annotation.image!r}"
    if thing.segmentation is None:
        raise DataError(
            f"{where} has no mask, which Mask R-CNN learns from; COCO's JSON states it as segmentation. Without masks "
            "use --network torchvision:fasterrcnn_resnet50_fpn."
        )
    mask = read_mask(thing.segmentation, stated[::-1], where)
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(size, mask.shape, strict=True)
    )
    return packed(torch.from_numpy(mask[rows][:, columns]))


def _check_shape(annotation: Annotation, stated: tuple[int, int], real: tuple[int, int]) -> None:
    """Both sizes must be one image at two scales, to the pixel that rounding takes."""
    across, down = real[0] / stated[0], real[1] / stated[1]
    if abs(stated[0] * down - real[0]) > 1 and abs(stated[1] * across - real[1]) > 1:
        raise DataError(
            f"{annotation.where} states {stated[0]}×{stated[1]} pixels (width × height), but its image "
            f"{annotation.image!r} has {real[0]}×{real[1]}, another shape; where its boxes are cannot be told: "
            "correct the size, or replace the image."
        )


def _classes(path: Path, found: Annotated, splits: Iterable[_Decoded]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those that some box has, in the files' order or by name; and what to know."""
    used = {thing.label for split in splits for things in split.objects for thing in things if thing.counts}
    if not used:
        raise DataError(f"{path} has images but no box to learn; {_HELP}.")
    empty = tuple(label for label in found.labels or () if label not in used)
    notes = (f"No box has the class{'es' * (len(empty) > 1)} {', '.join(empty)}; left out.",) if empty else ()
    return tuple(label for label in found.labels or sorted(used) if label in used), notes


def _check_sizes(path: Path, splits: Iterable[_Decoded]) -> None:
    every = [(name, image.shape[:2]) for split in splits for name, image in zip(split.names, split.images, strict=True)]
    first, shape = every[0]
    other = next(((name, size) for name, size in every if size != shape), None)
    if other is not None:
        raise DataError(
            f"the images of {path} differ in size: {first!r} is {shape[0]}×{shape[1]} pixels (height × width), "
            f"{other[0]!r} is {other[1][0]}×{other[1][1]}; give --image-size, such as 128 or 128x192."
        )


def _splits(decoded: dict[str, _Decoded], classes: tuple[str, ...]) -> dict[str, BoxSplit]:
    index = {label: number for number, label in enumerate(classes)}
    most = max(len(things) for split in decoded.values() for things in split.objects)
    colour = any(image.ndim == 3 for split in decoded.values() for image in split.images)
    width = 5 + next((len(thing.mask) for split in decoded.values() for things in split.objects for thing in things
                      if thing.mask is not None), 0)  # fmt: skip
    require_memory(
        4 * width * most * sum(len(split.images) for split in decoded.values()),
        f"a table of boxes with {most:,} rows an image, as many as one has,",
        "remove that image, or some of its objects",
    )
    found = {}
    for name, split in decoded.items():
        images = stack(split.images)
        images = images.expand(-1, 3, -1, -1).contiguous() if colour and images.shape[1] == 1 else images
        objects = torch.full((len(images), most, width), float(NOTHING))
        for row, things in zip(objects, split.objects, strict=True):
            known = [thing for thing in things if thing.label in index]
            for place, thing in zip(row, known, strict=False):
                label = index[thing.label] if thing.counts else ignored(index[thing.label])
                place[:5] = torch.tensor([label, *thing.corners])
                if thing.mask is not None:
                    place[5:] = thing.mask
        objects[..., 1:][objects[..., 0] == NOTHING] = 0
        found[name] = BoxSplit(images, objects, split.names)
    return found
