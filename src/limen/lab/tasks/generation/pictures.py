"""Images to be imitated: any folder or archive of images, or a built-in set, its classes not looked at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from limen.errors import DataError
from limen.lab.data.base import Data, Samples
from limen.lab.data.class_folders import Reader, name_of
from limen.lab.data.files import open_files
from limen.lab.data.images import ImageData, Split, scaled, shape_of_images
from limen.lab.data.layout import (
    SPLIT_NAMES,
    ClassFolders,
    image_suffixes,
    natural_key,
    only_archive,
    split_archives,
)
from limen.lab.data.members import Files, path_kind
from limen.lab.data.named import names
from limen.lab.data.pixels import stack
from limen.lab.data.source import load
from limen.lab.records import DataFacts

LATENT = 100
"""Numbers that an image is made from."""
FEWEST = 2
"""A covariance needs so many images."""


@dataclass(frozen=True, eq=False)
class PictureSplit(Samples):
    """Noise as float32 (N, :data:`LATENT`), fixed, and as many real images as uint8 (N, C, H, W)."""

    noise: Tensor
    images: Tensor

    @staticmethod
    def batch(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The noise, and pixels from −1 to 1."""
        return inputs, scaled(targets)


@dataclass(frozen=True, eq=False, kw_only=True)
class PictureData(Data[PictureSplit]):
    """A divided set of images, and what measures how far others are from them."""

    embedding: nn.Module
    """From images (N, C, H, W) from −1 to 1 to features (N, F)."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width, the same for every image."""
        return shape_of_images(self.train.images)

    def describe(self) -> tuple[str, ...]:
        """Size and colour."""
        channels, height, width = self.image_shape
        return (f"{height}×{width} {'grey' if channels == 1 else 'colour'} images",)

    def facts(self) -> DataFacts:
        """With the shape of an image: the noise that it is made from says nothing of the data."""
        return super().facts().model_copy(update={"image_shape": self.image_shape})


def with_noise(split: Split, seed: int) -> PictureSplit:
    """Give every image a noise of its own, drawn from a normal distribution by ``seed`` alone."""
    generator = torch.Generator().manual_seed(seed)
    return PictureSplit(torch.randn(len(split), LATENT, generator=generator), split.images)


def load_pictures(source: str, *, data_dir: Path | None, image_size: tuple[int, int] | None, grey: bool) -> ImageData:
    """Read a built-in set, or all images below a path: in split folders or archives, or to be divided.

    A built-in set keeps its classes, so that it can be divided by them; any other images are of one class.
    """
    path = Path(source).expanduser()
    if source in names() or path_kind(path) == "missing":
        return load(source, data_dir=data_dir, image_size=image_size, grey=grey)
    splits = {name: ClassFolders(files, {"image": members}) for name, (files, members) in _find(path).items()}
    if "train" not in splits:
        raise DataError(f"{path} has a {' and a '.join(splits)} split but none to train on; add train/.")
    pictures = Reader(splits, image_size, grey, None).read()
    images = stack([pixels for split in splits for pixels in pictures[split]])
    parts = images.split_with_sizes([len(pictures[split]) for split in splits])
    made = {name: Split(part, torch.zeros(len(part)).long()) for name, part in zip(splits, parts, strict=True)}
    return ImageData(name_of(path), ("image",), made["train"], made.get("validation"), made.get("test"))


def _find(path: Path) -> dict[str, tuple[Files, tuple[str, ...]]]:
    """The images of each split; all of them are for training where nothing divides them."""
    files = open_files(path)
    archives = split_archives(files)
    if not archives and (archive := only_archive(files)):
        return _find(archive)
    if archives:
        return {SPLIT_NAMES[name.partition(".")[0].lower()]: _one(archive) for name, archive in archives.items()}
    found: dict[str, list[str]] = {}
    for name in _images(files):
        folders = [part.lower() for part in name.split("/")[:-1]]
        found.setdefault(next((SPLIT_NAMES[part] for part in folders if part in SPLIT_NAMES), ""), []).append(name)
    if not found:
        raise DataError(f"{path} holds no image; give a folder or an archive of images.")
    if "" in found and len(found) > 1:
        raise DataError(f"{path} mixes split folders with other images ({found[''][0]!r}); keep one kind.")
    return {split or "train": (files, tuple(members)) for split, members in found.items()}


def _one(archive: Path) -> tuple[Files, tuple[str, ...]]:
    files = open_files(archive)
    members = _images(files)
    if not members:
        raise DataError(f"{archive} holds no image; remove it, or put images into it.")
    return files, members


def _images(files: Files) -> tuple[str, ...]:
    suffixes = image_suffixes()
    found = (name for name in files.files if Path(name).suffix.lower() in suffixes)
    return tuple(sorted(found, key=natural_key))
