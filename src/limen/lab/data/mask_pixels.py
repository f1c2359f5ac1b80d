"""Files of masks to the values of their pixels."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from limen.errors import DataError
from limen.lab.data.layout import image_formats
from limen.lab.data.pixels import Pixels, decode

_LOSSY = (".jpg", ".jpeg", ".jpe", ".jfif", ".webp")


def decode_mask(content: bytes, where: str, *, by_header: bool = True) -> Pixels:
    """The values of a mask as they are stored, palettes not looked up; turned as its EXIF says, unless told not to."""
    if Path(where.partition("' in ")[0].strip("'")).suffix.lower() in _LOSSY:
        raise DataError(f"{where} is stored with losses, which blur its classes; save masks as PNG.")
    try:
        with Image.open(io.BytesIO(content), formats=image_formats()) as image:
            if by_header:
                ImageOps.exif_transpose(image, in_place=True)
            palette, values = image.mode == "P", np.asarray(image)
    except Exception as error:  # whatever a damaged image raises in Pillow
        decode(content, where, image_size=None, grey=True)  # says it as for images
        raise DataError(f"{where} does not decode as a mask ({error}); replace or remove it.") from error
    if values.ndim == 3 and not palette:
        if not (values[..., :1] == values[..., :3]).all():
            raise DataError(f"{where} is in colour; a mask's pixel must be its class, as one number (grey or palette).")
        values = values[..., 0]
    if values.min() < 0 or values.max() > 255:
        raise DataError(f"{where} holds values from {values.min()} to {values.max()}; classes go from 0 to 255.")
    if values.dtype.kind == "f" and not (values == np.round(values)).all():
        raise DataError(f"{where} holds fractions or NaN; a mask's pixel must be its class, a whole number.")
    return values.astype(np.uint8)


def resized_mask(mask: Pixels, image_size: tuple[int, int] | None) -> Pixels:
    """To a height and width, each pixel that of the nearest."""
    if image_size is None or image_size == mask.shape:
        return mask
    height, width = image_size
    return np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))
