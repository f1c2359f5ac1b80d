"""Boxes in Pascal VOC's form: an XML file an image.

Known layouts, below any folder and in any number of such groups::

    Annotations/1.xml  JPEGImages/1.jpg  ImageSets/Main/train.txt val.txt test.txt     the lists may be missing
    annotations/1.xml  images/1.jpg      train/annotations/1.xml  train/images/1.jpg   also val, test, …
    1.xml  1.jpg                         train/1.xml  train/1.jpg                      side by side

Everingham et al. 2010, The PASCAL Visual Object Classes (VOC) Challenge. Its coordinates count pixels from 1, both ends
included, so a box reaches from xmin − 1 to xmax.
"""

from __future__ import annotations

import io
import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping
from pathlib import Path

from limen.errors import DataError
from limen.lab.data.layout import SPLIT_NAMES, image_suffixes, named, natural_key
from limen.lab.data.members import Files
from limen.lab.tasks.detection.annotations import (
    LARGEST_SIDE,
    WHOLE,
    Annotated,
    Annotation,
    Object,
    check_boxes,
    check_objects,
)

_ANNOTATIONS = ("annotations", "annotation", "xml", "labels")
_IMAGES = ("jpegimages", "images", "image")
_LISTS = ("imagesets", "main")
LARGEST_XML, MOST_ELEMENTS = 2**22, 200_000
"""Bytes and elements of one image's annotation: ten thousand objects, each with its parts."""


def voc_members(files: Files) -> list[str]:
    """The annotations in Pascal VOC's form."""
    return [name for name in files.files if name.lower().endswith(".xml")]


def read_voc(files: Files) -> Annotated:
    """Every annotation with its image, by split; a file without its partner is an error that names it."""
    annotations, images = voc_members(files), _images(files)
    image_of = {name: _image_of(files, name, images) for name in annotations}
    lonely = sorted(set(images.values()) - set(image_of.values()), key=natural_key)
    lists = _listed(files)
    if lonely and not lists:
        raise DataError(f"{files.where(lonely[0])} has no annotation (.xml); add one of the same name, or remove it.")
    parts = _by_list(files, annotations, lists) if lists else _by_folder(files, annotations)
    wanted = [name for members in parts.values() for name in members]
    parsed: dict[str, Annotation] = {}
    boxes = 0
    for name, content in files.read(wanted):
        parsed[name] = _parse(content, files, name, image_of[name])
        boxes += len(parsed[name].objects)
        check_boxes(boxes, str(files.path))
    splits = {split: [parsed[name] for name in members] for split, members in parts.items()}
    return Annotated(splits, scores_ignored="difficult", notes=_of_others(parsed.values(), images))


def _images(files: Files) -> dict[tuple[str, str], str]:
    """Images by folder and name without suffix, both in lower case."""
    found: dict[tuple[str, str], str] = {}
    for name in files.files:
        folder, _, last = name.rpartition("/")
        if Path(last).suffix.lower() in image_suffixes():
            key = (folder.lower(), Path(last).stem.lower())
            if key in found:
                raise DataError(f"{files.where(name)} has the name of {found[key]!r}; keep one of them.")
            found[key] = name
    return found


def _of_others(parsed: Iterable[Annotation], images: Mapping[tuple[str, str], str]) -> tuple[str, ...]:
    """A note on annotations whose file name is that of another image in their image's folder."""
    odd = []
    for annotation in parsed:
        folder = annotation.image.rpartition("/")[0].lower()
        stem = Path(annotation.named.replace("\\", "/").rpartition("/")[2]).stem.lower()
        if images.get((folder, stem), annotation.image) != annotation.image:
            odd.append(annotation.image)
    if not odd:
        return ()
    return (f"{named(odd)}: the annotation's <filename> is that of another image; its own name counts.",)


def _image_of(files: Files, annotation: str, images: dict[tuple[str, str], str]) -> str:
    folder, _, last = annotation.lower().rpartition("/")
    above, _, own = folder.rpartition("/")
    beside = [f"{above}/{name}" if above else name for name in _IMAGES] if own in _ANNOTATIONS else []
    for place in (folder, *beside):
        found = images.get((place, Path(last).stem))
        if found is not None:
            return found
    raise DataError(
        f"{files.where(annotation)} has no image; put one with the same name into "
        f"{'JPEGImages/ or images/ beside its folder' if beside else 'its folder'}, or remove it."
    )


def _group(annotation: str) -> str:
    """The folder in which Annotations/ and ImageSets/ lie."""
    folder = annotation.rpartition("/")[0]
    above, _, own = folder.rpartition("/")
    return above if own.lower() in _ANNOTATIONS else folder


def _listed(files: Files) -> dict[tuple[str, str], set[str]]:
    """The names in ImageSets/Main/{train,val,trainval,test}.txt, by group and split."""
    known = {**SPLIT_NAMES, "trainval": "trainval"}
    places = {}
    for name in files.files:
        *above, sets, main, last = ["", "", "", *name.split("/")]
        if (sets.lower(), main.lower()) == _LISTS and last.lower().removesuffix(".txt") in known:
            places[name] = ("/".join(filter(None, above)), known[last.lower().removesuffix(".txt")])
    lists = {places[name]: _names(content, files.where(name)) for name, content in files.read(list(places))}
    for group in {group for group, _ in lists}:
        both = lists.pop((group, "trainval"), None)
        if both is not None and (group, "train") not in lists:
            lists[group, "train"] = both - lists.get((group, "validation"), set())
    return lists


def _names(content: bytes, where: str) -> set[str]:
    """The first word of every line."""
    try:
        return {line.split()[0] for line in content.decode("utf-8").splitlines() if line.strip()}
    except UnicodeDecodeError as error:
        raise DataError(f"{where} is no text ({error.reason}); it must hold a name a line.") from error


def _by_list(files: Files, annotations: Iterable[str], lists: dict[tuple[str, str], set[str]]) -> dict[str, list[str]]:
    known = {(_group(name), Path(name).stem): name for name in annotations}
    parts: dict[str, list[str]] = {}
    taken: dict[str, str] = {}
    for (group, split), names in lists.items():
        for name in sorted(names, key=natural_key):
            member = known.get((group, name))
            if member is None:
                raise DataError(f"{files.path} lists {name!r} for {split} but has no Annotations/{name}.xml; add it.")
            if taken.setdefault(member, split) != split:
                raise DataError(f"{files.where(member)} is listed for {taken[member]} and for {split}; keep one.")
            parts.setdefault(split, []).append(member)
    return parts


def _by_folder(files: Files, annotations: Iterable[str]) -> dict[str, list[str]]:
    parts: dict[str, list[str]] = {}
    for name in sorted(annotations, key=natural_key):
        above = name.lower().split("/")[:-1]
        split = next((SPLIT_NAMES[part] for part in above if part in SPLIT_NAMES), WHOLE)
        parts.setdefault(split, []).append(name)
    if WHOLE in parts and len(parts) > 1:
        raise DataError(
            f"{files.path} mixes split folders with other annotations ({parts[WHOLE][0]!r}); keep one kind."
        )
    return parts


def _parse(content: bytes, files: Files, name: str, image: str) -> Annotation:
    where = files.where(name)
    if len(content) > LARGEST_XML:
        raise DataError(f"{where} has {len(content):,} bytes, more than the {LARGEST_XML:,} allowed.")
    plain = content.replace(b"\0", b"")  # UTF-16 and UTF-32 as ASCII
    if b"<!ENTITY" in plain or b"<!DOCTYPE" in plain:
        raise DataError(f"{where} defines entities or a document type, which annotations do not need; remove them.")
    try:
        root = _tree(content, where)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise DataError(f"{where} is not XML ({error}); replace or remove it.") from error
    size = (_number(root, "size/width", where, 0), _number(root, "size/height", where, 0))
    objects = tuple(_object(node, where) for node in root.iter("object"))
    check_objects(len(objects), where)
    if max(size) > LARGEST_SIDE:
        raise DataError(f"{where} states a size of {size[0]:g}×{size[1]:g} pixels; correct it.")
    stated = (int(size[0]), int(size[1])) if min(size) >= 1 else None
    return Annotation(image, where, stated, objects, (root.findtext("filename") or "").strip())


def _tree(content: bytes, where: str) -> ElementTree.Element:
    """The elements, counted as they come: an empty one has four bytes, and takes a hundred in memory."""
    parsed = ElementTree.iterparse(io.BytesIO(content), events=("start",))
    root: ElementTree.Element | None = None
    for count, (_, element) in enumerate(parsed):
        root = element if root is None else root
        if count > MOST_ELEMENTS:
            raise DataError(f"{where} has more than the {MOST_ELEMENTS:,} elements allowed; remove some.")
    if root is None:
        raise ValueError("no element")
    return root


def _object(node: ElementTree.Element, where: str) -> Object:
    label = (node.findtext("name") or "").strip()
    if not label:
        raise DataError(f"{where} has an object without a name; give it its class.")
    left, top, right, bottom = (_number(node, f"bndbox/{end}", where) for end in ("xmin", "ymin", "xmax", "ymax"))
    empty = right <= left or bottom <= top  # a point, not a pixel: VOC's smallest objects have both ends different
    corners = (left, top, right, bottom) if empty else (left - 1, top - 1, right, bottom)
    return Object(label, corners, counts=_number(node, "difficult", where, 0) != 1)


def _number(node: ElementTree.Element, path: str, where: str, missing: float | None = None) -> float:
    text = node.findtext(path)
    if (text is None or not text.strip()) and missing is not None:
        return missing
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{where}: {path} is {text!r}, not a number; correct it or remove the object.")
    return value
