"""What an annotation of objects in an image states, whatever the format of its file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from limen.errors import DataError

LARGEST_SIDE = 2**20
"""Pixels of a stated width or height; no image has more."""
MOST_OBJECTS, MOST_BOXES = 10_000, 4_000_000
"""Objects of one image, and of a whole set: COCO has 93 and 0.9 million."""
Corners = tuple[float, float, float, float]
"""Left, top, right, bottom, as distances from the image's upper left corner."""


@dataclass(frozen=True, slots=True)
class Object:
    """One object: its class, its box in pixels of the stated size, and whether it is to be learned and counted."""

    label: str
    corners: Corners
    counts: bool = True
    segmentation: Any = None
    """Its mask as the file states it."""
    mask: Tensor | None = None
    """Its mask in the image, packed."""


@dataclass(frozen=True)
class Annotation:
    """The objects of one image."""

    image: str
    """The image's member name."""
    where: str
    """The annotation, as a message should name it."""
    size: tuple[int, int] | None
    """Width and height for which the boxes are stated; None: those of the image."""
    objects: tuple[Object, ...]
    named: str = ""
    """What it says that its image is called, where it is found otherwise."""


@dataclass(frozen=True)
class Annotated:
    """All that was found: annotations by split (``whole`` where undivided)."""

    splits: dict[str, list[Annotation]]
    labels: tuple[str, ...] | None = None
    """The classes in the order that the files give; None: by name."""
    scores_ignored: str = ""
    """What the format calls objects that do not count, for the note."""
    notes: tuple[str, ...] = ()
    """How images were found, where that needs to be known."""


WHOLE = "whole"
"""The key of annotations that no split list and no split folder names."""


def check_objects(count: int, where: str) -> None:
    """Raise where one image has too many objects."""
    if count > MOST_OBJECTS:
        raise DataError(f"{where} has {count:,} objects in one image, more than the {MOST_OBJECTS:,} allowed.")


def check_boxes(count: int, where: str) -> None:
    """Raise where a set has too many objects."""
    if count > MOST_BOXES:
        raise DataError(f"{where} has more than the {MOST_BOXES:,} objects allowed; give a part of it.")
