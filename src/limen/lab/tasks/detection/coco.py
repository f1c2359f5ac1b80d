"""Boxes in COCO's form: a JSON file for many images.

Known layouts, below any folder::

    annotations/instances_train.json  annotations/instances_val.json  train/1.jpg  val/2.jpg
    train/_annotations.coco.json  train/1.jpg  test/…                              beside the images
    instances.json  1.jpg                                                          one set; the lab divides it

The split is in the file's name or its folder's. Lin et al. 2014, Microsoft COCO, 1405.0312; boxes are
left, top, width, height, from 0.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from limen.errors import DataError
from limen.lab.data.json_text import parsed_json
from limen.lab.data.layout import SPLIT_NAMES, image_suffixes, named
from limen.lab.data.members import Files
from limen.lab.tasks.detection.annotations import (
    LARGEST_SIDE,
    WHOLE,
    Annotated,
    Annotation,
    Corners,
    Object,
    check_boxes,
    check_objects,
)

_WORDS = re.compile(r"[A-Za-z]+")


def coco_members(files: Files) -> list[str]:
    """The files that may be COCO's: JSON with instances or annotations in the name, else every JSON."""
    every = [name for name in files.files if name.lower().endswith(".json")]
    named = [name for name in every if {"instances", "coco"} & set(_words(name.rpartition("/")[2]))]
    return named or every


def read_coco(files: Files) -> Annotated:
    """Every image of the JSON files with its objects, by split."""
    images = _Images(files)
    splits: dict[str, list[Annotation]] = {}
    labels: tuple[str, ...] | None = None
    first = ""
    for name, content in files.read(coco_members(files)):
        parsed = _parsed(content, files.where(name))
        categories = _categories(parsed, files.where(name))
        if labels is not None and set(labels) != set(categories.values()):
            odd = sorted(set(labels) ^ set(categories.values()))[0]
            raise DataError(
                f"{files.where(name)} and {first!r} differ in the category {odd!r}; they must have the same."
            )
        labels, first = labels or tuple(categories[key] for key in sorted(categories)), first or name
        split = _split_of(name) or WHOLE
        found = _annotations(parsed, categories, files, name, images)
        if found:
            splits.setdefault(split, []).extend(found)
    if WHOLE in splits and len(splits) > 1:
        raise DataError(f"{files.path} mixes annotations of splits with others; name each train, val or test.")
    _check_apart(files, splits)
    return Annotated(splits, labels, scores_ignored="crowd", notes=images.notes())


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORDS.findall(name)]


def _split_of(path: str) -> str:
    """The split that the last word for one names; empty: none."""
    return next((SPLIT_NAMES[word] for word in reversed(_words(path)) if word in SPLIT_NAMES), "")


class _Images:
    """The image that a file name in a JSON means."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.by_last_name: dict[str, list[str]] = {}
        self.elsewhere: list[str] = []
        """Those that were found in another folder than the JSON says."""
        for name in files.files:
            if Path(name).suffix.lower() in image_suffixes():
                self.by_last_name.setdefault(name.rpartition("/")[2], []).append(name)

    def find(self, given: object, annotation: str, shared: Collection[str]) -> str:
        """The member; ``shared`` are the last names that several file names of the JSON have.

        One that lies as stated; else one of the last name alone, unless that is shared. A folder of another split is
        meant only where it is stated. Of several, the one beside the JSON, or with the words of its split.
        """
        stated = _stated(given)
        last = stated.rpartition("/")[2]
        same_name = self.by_last_name.get(last, [])
        fitting = [name for name in same_name if not _of_another_split(name, annotation)]
        found = [name for name in (fitting if last == stated else same_name) if f"/{name}".endswith("/" + stated)]
        if not found and last not in shared:
            found = fitting
            self.elsewhere += found[:1]
        if len(found) > 1:
            found = _nearer(found, annotation)
        if len(found) != 1:
            what = "is not there" if not found else f"may be {found[0]!r} or {found[1]!r}"
            raise DataError(
                f"{self.files.where(annotation)}: the image {given!r} {what}; add it, or correct its file_name."
            )
        return found[0]

    def notes(self) -> tuple[str, ...]:
        """Which were found by their last names alone."""
        if not self.elsewhere:
            return ()
        return (f"{named(self.elsewhere)}: found by the last name alone; the JSON states another folder.",)


def _stated(given: object) -> str:
    return str(given).replace("\\", "/").lstrip("./")


def _of_another_split(name: str, annotation: str) -> bool:
    """Whether a folder of the image alone is named for another split than the JSON's.

    >>> _of_another_split("a/val2017/1.jpg", "a/annotations/instances_train2017.json")
    True
    """
    own = _split_of(annotation)
    folders = [_words(part) for part in name.split("/")[:-1] if part not in annotation.split("/")]
    splits = [SPLIT_NAMES[words[0]] for words in folders if len(words) == 1 and words[0] in SPLIT_NAMES]
    return bool(own and splits) and splits[-1] != own


def _nearer(found: list[str], annotation: str) -> list[str]:
    """Of several images those beside the JSON, else those in a folder of its split, else all."""
    beside = annotation.rpartition("/")[0]
    split = [word for word in _words(annotation) if word in SPLIT_NAMES]
    nearer = [name for name in found if beside and name.startswith(beside + "/")]
    return nearer or [name for name in found if split and split[-1] in _words(name.rpartition("/")[0])] or found


def _parsed(content: bytes, where: str) -> dict[str, Any]:
    parsed = parsed_json(content, where)
    missing = [
        key
        for key in ("images", "annotations", "categories")
        if not isinstance(parsed, dict) or not _is_list_of_objects(parsed.get(key))
    ]
    if missing:
        raise DataError(f"{where} has no list {missing[0]!r}, as COCO's annotations of instances have.")
    found: dict[str, Any] = parsed
    return found


def _is_list_of_objects(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _categories(parsed: Mapping[str, Any], where: str) -> dict[int, str]:
    found: dict[int, str] = {}
    for category in parsed["categories"]:
        key, name = category.get("id"), category.get("name")
        if not isinstance(key, int) or not isinstance(name, str) or not name or key in found:
            raise DataError(f"{where} has a category {category!r}; each needs an id of its own and a name.")
        found[key] = name
    if len(set(found.values())) < len(found):
        raise DataError(f"{where} gives two categories one name; each needs its own.")
    return found


def _annotations(
    parsed: Mapping[str, Any], categories: Mapping[int, str], files: Files, name: str, images: _Images
) -> list[Annotation]:
    where = files.where(name)
    objects: dict[int, list[Object]] = {}
    for image in parsed["images"]:
        key = image.get("id")
        if not isinstance(key, int) or key in objects:
            raise DataError(f"{where} has an image with the id {key!r}; each needs a number of its own.")
        objects[key] = []
    check_boxes(len(parsed["annotations"]), where)
    for annotation in parsed["annotations"]:
        if not _is_one_of(annotation.get("image_id"), objects):
            raise DataError(f"{where}: the annotation {annotation.get('id')!r} is of an image that is not listed.")
        if not _is_one_of(annotation.get("category_id"), categories):
            raise DataError(f"{where}: the annotation {annotation.get('id')!r} has a category that is not listed.")
        counts = not annotation.get("iscrowd", 0)
        corners = _corners(annotation, where)
        segmentation = annotation.get("segmentation")
        thing = Object(categories[annotation["category_id"]], corners, counts, segmentation)
        objects[annotation["image_id"]].append(thing)
    check_objects(max(map(len, objects.values()), default=0), where)
    last_names = Counter(_stated(image.get("file_name")).rpartition("/")[2] for image in parsed["images"])
    shared = {last for last, count in last_names.items() if count > 1}
    return [
        Annotation(
            images.find(image.get("file_name"), name, shared),
            where,
            _size(image, where),
            tuple(objects[image["id"]]),
        )
        for image in parsed["images"]
    ]


def _is_one_of(key: object, known: Mapping[int, object]) -> bool:
    return isinstance(key, int) and key in known


def _corners(annotation: Mapping[str, Any], where: str) -> Corners:
    box = annotation.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(_is_number(value) for value in box):
        raise DataError(f"{where}: the annotation {annotation.get('id')!r} has the bbox {box!r}, not four numbers.")
    left, top, width, height = map(float, box)
    return left, top, left + width, top + height


def _is_number(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False


def _size(image: Mapping[str, Any], where: str) -> tuple[int, int] | None:
    width, height = image.get("width") or 0, image.get("height") or 0
    if not isinstance(width, int) or not isinstance(height, int) or max(width, height) > LARGEST_SIDE:
        raise DataError(f"{where}: the image {image.get('file_name')!r} is {width!r} wide and {height!r} high.")
    return (width, height) if min(width, height) > 0 else None


def _check_apart(files: Files, splits: Mapping[str, list[Annotation]]) -> None:
    taken: dict[str, str] = {}
    for split, found in splits.items():
        for annotation in found:
            if taken.setdefault(annotation.image, split) != split:
                raise DataError(
                    f"{files.where(annotation.image)} is in {taken[annotation.image]} and in {split}; keep one."
                )
