"""Boxes in COCO's form: a JSON file for many images.

Known layouts, below any folder::

    annotations/instances_train.json  annotations/instances_val.json  train/1.jpg  val/2.jpg
    train/_annotations.coco.json  train/1.jpg  test/…                              beside the images
    instances.json  1.jpg                                                          one set; the lab divides it

The split is in the file's name or its folder's. Lin et al. 2014, Microsoft COCO, 1405.0312; boxes are
left, top, width, height, from 0.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from limen.errors import DataError
from limen.lab.data.files import Files
from limen.lab.data.layout import SPLIT_NAMES, image_suffixes, is_visible
from limen.lab.tasks.detection.annotations import LARGEST_SIDE, WHOLE, Annotated, Annotation, Corners, Object

_WORDS = re.compile(r"[A-Za-z]+")


def coco_members(files: Files) -> list[str]:
    """The files that may be COCO's: JSON with instances or annotations in the name, else every JSON."""
    every = [name for name in files.files if name.lower().endswith(".json") and is_visible(name)]
    named = [name for name in every if {"instances", "coco"} & set(_words(name.rpartition("/")[2]))]
    return named or every


def read_coco(files: Files) -> Annotated:
    """Every image of the JSON files with its objects, by split."""
    images = _images(files)
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
        split = next((SPLIT_NAMES[word] for word in reversed(_words(name)) if word in SPLIT_NAMES), WHOLE)
        found = _annotations(parsed, categories, files, name, images)
        if found:
            splits.setdefault(split, []).extend(found)
    if WHOLE in splits and len(splits) > 1:
        raise DataError(f"{files.path} mixes annotations of splits with others; name each train, val or test.")
    _check_apart(files, splits)
    return Annotated(splits, labels, scores_ignored="crowd")


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORDS.findall(name)]


def _images(files: Files) -> dict[str, list[str]]:
    """Images by their last name."""
    found: dict[str, list[str]] = {}
    for name in files.files:
        if is_visible(name) and Path(name).suffix.lower() in image_suffixes():
            found.setdefault(name.rpartition("/")[2], []).append(name)
    return found


def _parsed(content: bytes, where: str) -> dict[str, Any]:
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not JSON ({error}); replace or remove it.") from error
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
    parsed: Mapping[str, Any], categories: Mapping[int, str], files: Files, name: str, images: Mapping[str, list[str]]
) -> list[Annotation]:
    where = files.where(name)
    objects: dict[int, list[Object]] = {}
    for image in parsed["images"]:
        key = image.get("id")
        if not isinstance(key, int) or key in objects:
            raise DataError(f"{where} has an image with the id {key!r}; each needs a number of its own.")
        objects[key] = []
    for annotation in parsed["annotations"]:
        if not _is_one_of(annotation.get("image_id"), objects):
            raise DataError(f"{where}: the annotation {annotation.get('id')!r} is of an image that is not listed.")
        if not _is_one_of(annotation.get("category_id"), categories):
            raise DataError(f"{where}: the annotation {annotation.get('id')!r} has a category that is not listed.")
        counts = not annotation.get("iscrowd", 0)
        corners = _corners(annotation, where)
        objects[annotation["image_id"]].append(Object(categories[annotation["category_id"]], corners, counts))
    return [
        Annotation(
            _image_of(image.get("file_name"), files, name, images),
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


def _image_of(given: object, files: Files, annotation: str, images: Mapping[str, list[str]]) -> str:
    """The member that a file name in the JSON means: with the words of its split where the name is there twice."""
    stated = str(given).replace("\\", "/").lstrip("./")
    same_name = images.get(stated.rpartition("/")[2], [])
    found = [name for name in same_name if name == stated or name.endswith("/" + stated)] or same_name
    if len(found) > 1:
        beside = annotation.rpartition("/")[0]
        split = [word for word in _words(annotation) if word in SPLIT_NAMES]
        nearer = [name for name in found if beside and name.startswith(beside + "/")]
        found = nearer or [name for name in found if split and split[-1] in _words(name.rpartition("/")[0])] or found
    if len(found) != 1:
        what = "is not there" if not found else f"may be {found[0]!r} or {found[1]!r}"
        raise DataError(f"{files.where(annotation)}: the image {given!r} {what}; add it, or correct its file_name.")
    return found[0]


def _check_apart(files: Files, splits: Mapping[str, list[Annotation]]) -> None:
    taken: dict[str, str] = {}
    for split, found in splits.items():
        for annotation in found:
            if taken.setdefault(annotation.image, split) != split:
                raise DataError(
                    f"{files.where(annotation.image)} is in {taken[annotation.image]} and in {split}; keep one."
                )
