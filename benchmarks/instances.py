"""Instances from label images: a folder in COCO's form, each connected part of a class an object with its mask.

CamVid and the like say of each pixel what it shows, not which object it belongs to: here every part of a class that
hangs together, by sides or corners, and covers enough pixels is one. Two cars that overlap are one object then, and a
car behind a pole is two.

    python benchmarks/instances.py data/chaos_liver_ct/chaos_ct_set3.zip --classes liver=255 --out data/liver-instances
    python benchmarks/instances.py data/camvid --classes car=8,pedestrian=9 --least 100 --out data/camvid-instances

reads images/ and masks/ of an archive, or of the archives train.zip, val.zip and test.zip of a folder, and writes the
images with instances.json, or SPLIT/ with images and instances_SPLIT.json; images without such a part are left out.
"""

from __future__ import annotations

import argparse
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

SPLITS = ("train", "val", "test")
TOUCHING = np.ones((3, 3), dtype=bool)

Mask = NDArray[np.bool_]


def runs(mask: Mask) -> list[int]:
    """COCO's run lengths: down the columns, what is not the object first."""
    flat = mask.T.flatten()
    ends = np.append((np.diff(flat) != 0).nonzero()[0] + 1, flat.size)
    lengths = np.diff(ends, prepend=0).tolist()
    return [0, *lengths] if flat[0] else lengths


def box(mask: Mask) -> list[int]:
    """Left, top, width, height."""
    (top, bottom), (left, right) = ((found.min(), found.max() + 1) for found in mask.nonzero())
    return [int(left), int(top), int(right - left), int(bottom - top)]


def parts(labels: NDArray[np.uint8], classes: dict[str, int], least: int) -> list[tuple[str, Mask]]:
    """The objects in a label image, by class."""
    found = []
    for name, value in classes.items():
        numbered, count = ndimage.label(labels == value, structure=TOUCHING)
        every = [(name, numbered == number) for number in range(1, count + 1)]
        found += [(name, mask) for name, mask in every if mask.sum() >= least]
    return found


def convert(archive: Path, folder: Path, name: str, classes: dict[str, int], least: int) -> None:
    """One archive."""
    folder.mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    identity = {label: number for number, label in enumerate(classes, 1)}
    with zipfile.ZipFile(archive) as stored:
        for member in sorted(path for path in stored.namelist() if path.startswith("images/")):
            file = Path(member).name
            mask = stored.read(f"masks/{Path(file).with_suffix('.png')}")
            labels = np.asarray(Image.open(io.BytesIO(mask)))
            there = parts(labels, classes, least)
            if not there:
                continue
            (folder / file).write_bytes(stored.read(member))
            height, width = labels.shape
            images.append({"id": len(images), "file_name": file, "height": height, "width": width})
            for label, part in there:
                annotations.append({
                    "id": len(annotations), "image_id": images[-1]["id"], "category_id": identity[label],
                    "bbox": box(part), "area": int(part.sum()), "iscrowd": 0,
                    "segmentation": {"size": [height, width], "counts": runs(part)},
                })  # fmt: skip
    categories = [{"id": number, "name": label} for label, number in identity.items()]
    found = {"images": images, "annotations": annotations, "categories": categories}
    (folder / f"{name}.json").write_text(json.dumps(found))
    print(f"{archive.name}: {len(images)} images, {len(annotations)} objects")


def main() -> None:
    """Convert what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("--classes", required=True, help="Names and mask values, such as car=8,pedestrian=9.")
    parser.add_argument("--least", type=int, default=60, help="Pixels of the smallest object.")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    classes = {name: int(value) for name, _, value in (entry.partition("=") for entry in given.classes.split(","))}
    if given.source.is_file():
        convert(given.source, given.out, "instances", classes, given.least)
    else:
        for split in SPLITS:
            convert(given.source / f"{split}.zip", given.out / split, f"instances_{split}", classes, given.least)


if __name__ == "__main__":
    main()
