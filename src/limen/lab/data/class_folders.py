"""Read class folders, from a folder or an archive, into memory."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from limen.errors import DataError
from limen.lab.data.base import Progress
from limen.lab.data.files import archive_suffix
from limen.lab.data.images import ImageData, Split
from limen.lab.data.layout import ClassFolders, find_splits
from limen.lab.data.pixels import Pixels, decode, quiet_decoding, require_room, stack


def load_class_folders(
    path: Path, *, image_size: tuple[int, int] | None, grey: bool, progress: Progress | None = None
) -> ImageData:
    """Read the images below ``path``, sorted by class and then by name as people order names."""
    splits = find_splits(path)
    classes = common_classes(splits, path)
    pictures = Reader(splits, image_size, grey, progress).read()
    images = stack([pixels for split in splits for pixels in pictures.pop(split)])
    sizes = [sum(map(len, found.members.values())) for found in splits.values()]
    parts = dict(zip(splits, images.split_with_sizes(sizes), strict=True))
    made = {split: Split(parts[split], labels_of(found)) for split, found in splits.items()}
    return ImageData(name_of(path), classes, made["train"], made.get("validation"), made.get("test"))


def common_classes(splits: dict[str, ClassFolders], path: Path) -> tuple[str, ...]:
    """Return the classes of the splits, which must have the same."""
    classes = splits["train"].members.keys()
    for split, found in splits.items():
        for missing, other in ((classes - found.members.keys(), split), (found.members.keys() - classes, "train")):
            if missing:
                names = ", ".join(repr(name) for name in sorted(missing)[:5])
                more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
                raise DataError(
                    f"In {path} the {other} split lacks the class {names}{more}, which "
                    f"the {split if other == 'train' else 'train'} split has; every split needs the same classes."
                )
    return tuple(classes)


def labels_of(found: ClassFolders) -> torch.Tensor:
    """Return the class index of each file of a split."""
    counts = torch.tensor([len(names) for names in found.members.values()])
    return torch.arange(len(counts)).repeat_interleave(counts)


def name_of(path: Path) -> str:
    """Name a data set after its folder or archive."""
    name = Path(os.path.abspath(path)).name  # also for paths such as . and ..
    suffix = archive_suffix(name)
    return name[: -len(suffix)] if suffix and path.is_file() else name


class Reader:
    """Decodes all splits, and holds what must agree over them: the size, with the first image that set it."""

    def __init__(
        self,
        splits: dict[str, ClassFolders],
        image_size: tuple[int, int] | None,
        grey: bool,
        progress: Progress | None,
    ) -> None:
        self.splits, self.image_size, self.grey, self.progress = splits, image_size, grey, progress
        self.total = sum(len(names) for found in splits.values() for names in found.members.values())
        self.done = 0
        self.first: tuple[str, tuple[int, ...]] | None = None

    def read(self) -> dict[str, list[Pixels]]:
        """Return the pictures of each split, in the order of its classes and names."""
        if self.image_size is not None:
            require_room(self.total, self.image_size)
        with quiet_decoding():
            return {split: self._read_split(found) for split, found in self.splits.items()}

    def _read_split(self, found: ClassFolders) -> list[Pixels]:
        ordered = [name for names in found.members.values() for name in names]
        pictures: dict[str, Pixels] = {}
        for name, content in found.files.read(ordered):
            where = found.files.where(name)
            pictures[name] = decode(content, where, image_size=self.image_size, grey=self.grey)
            self._check_size(where, pictures[name])
            self.done += 1
            if self.progress:
                self.progress(self.done, self.total)
        return [pictures.pop(name) for name in ordered]

    def _check_size(self, where: str, pixels: Pixels) -> None:
        size = pixels.shape[:2]
        if self.first is None:
            self.first = where, size
            require_room(self.total, size, pixels.size // (size[0] * size[1]))
        first, expected = self.first
        if size != expected:
            raise DataError(
                f"Images differ in size (height × width): {first} is {expected[0]}×{expected[1]} but {where} "
                f"is {size[0]}×{size[1]}; resize them all while loading, for example with --image-size 32."
            )
