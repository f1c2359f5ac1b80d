"""Bytes of an image file to pixels: upright, 8 bits, one channel or three."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from limen.errors import DataError
from limen.lab.data.layout import image_formats
from limen.memory import require_memory

Pixels = NDArray[np.uint8]
"""Of shape (H, W) for grey and (H, W, 3) for colour."""

# What Pillow's decoders raise for damaged files, found by damaging files of each format at random, with their kin.
_UNDECODABLE = (
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    OverflowError,
    RuntimeError,
    struct.error,
    zlib.error,
)
UPRIGHT, TURNED = 1, range(2, 9)
"""Orientations in EXIF."""
TURNED_ALONE = "{}: EXIF turns the image and not its mask, which is taken for one of the image as it is seen."
TRY_STORED = " EXIF turns the image; if its mask is of the image as it is stored, give --orientation stored."
_DEEP_GREY = ("I", "I;16", "I;16L", "I;16B", "I;16N")


@contextmanager
def quiet_decoding() -> Iterator[None]:
    """Make decompression bombs errors, and silence Pillow's remarks on odd metadata.

    Meant for around a whole data set: changing the warning filters for every image would cost more than decoding it.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def decode(
    content: bytes, where: str, *, image_size: tuple[int, int] | None, grey: bool, by_header: bool = True
) -> Pixels:
    """Decode one image; ``where`` names it in the error. ``by_header`` turns it as its EXIF says that it is seen."""
    try:
        with Image.open(io.BytesIO(content), formats=image_formats()) as image:
            if by_header:
                ImageOps.exif_transpose(image, in_place=True)
            upright = _to_8_bits(image)
            if grey:
                upright = upright.convert("L")
            return np.asarray(resize(upright, image_size))
    except _UNDECODABLE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            reason = "its content is no known image format"
        raise DataError(f"{where} does not decode as an image ({reason}); replace or remove it.") from error


def is_turned(content: bytes) -> bool:
    """Whether the EXIF of an image that decodes says that it is seen otherwise than it is stored."""
    with Image.open(io.BytesIO(content), formats=image_formats()) as image:
        return image.getexif().get(ExifTags.Base.Orientation, UPRIGHT) in TURNED


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Return the image in mode L or RGB. Alpha is dropped, 16 bits are scaled to 8."""
    if image.mode in _DEEP_GREY:
        return Image.fromarray(_scale_16_bits(np.asarray(image)))
    if image.mode == "F":
        raise ValueError("its pixels are fractions; save it with 8 or 16 bits")
    if image.mode in ("1", "L", "LA", "La"):
        return image.convert("L")
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")  # straight to RGB would blend transparent palette entries
    return image.convert("RGB")


def _scale_16_bits(values: NDArray[np.generic]) -> Pixels:
    wide = values.astype(np.int64)
    if wide.min() < 0 or wide.max() > 65535:
        raise ValueError(f"its pixels go from {wide.min()} to {wide.max()}, outside of 0 to 65535")
    return ((wide * 255 + 32767) // 65535).astype(np.uint8)


def resize(image: Image.Image, size: tuple[int, int] | None) -> Image.Image:
    """Return the image in this height and width; None leaves it as it is."""
    if size is None or size == (image.height, image.width):
        return image
    height, width = size
    return image.resize((width, height), Image.Resampling.BILINEAR)  # Pillow's bilinear is antialiased


def adapt(images: Tensor, *, image_size: tuple[int, int] | None, grey: bool) -> Tensor:
    """Resize and reduce to grey images of shape (N, C, H, W) as :func:`decode` would.

    >>> adapt(torch.zeros(5, 3, 8, 8, dtype=torch.uint8), image_size=(4, 6), grey=True).shape
    torch.Size([5, 1, 4, 6])
    """
    channels, *size = images.shape[1:]
    if (channels == 1 or not grey) and image_size in (None, tuple(size)):
        return images
    height, width = image_size or size
    require_room(len(images), (height, width), 1 if grey else channels)
    mode = "L" if grey else "RGB" if channels == 3 else "L"
    pictures = (
        Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
        for pixels in images.permute(0, 2, 3, 1).contiguous().numpy()
    )
    return stack([np.asarray(resize(picture.convert(mode), image_size)) for picture in pictures])


def require_room(count: int, size: tuple[int, ...], channels: int = 1) -> None:
    """Raise before so many pictures of a height and width are read that they, and the tensor of them, do not fit."""
    height, width = size
    require_memory(
        2 * count * height * width * channels,
        f"reading {count:,} images of {height}×{width} pixels",
        "give a smaller --image-size, or fewer images",
    )


def stack(pictures: list[Pixels]) -> Tensor:
    """Put pictures of one size into one tensor (N, C, H, W): grey if all of them are, else RGB."""
    colour = any(pixels.ndim == 3 for pixels in pictures)
    height, width = pictures[0].shape[:2]
    images = torch.empty((len(pictures), 3 if colour else 1, height, width), dtype=torch.uint8)
    rows = images.numpy()
    for row, pixels in zip(rows, pictures, strict=True):
        row[...] = pixels.transpose(2, 0, 1) if pixels.ndim == 3 else pixels  # grey fills all channels
    return images
