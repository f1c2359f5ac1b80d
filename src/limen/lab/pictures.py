"""Pictures for the report: colours far from one another, images beside and over one another, pixels as text."""

from __future__ import annotations

import base64
import colorsys
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Colour = tuple[int, int, int]
Picture = NDArray[np.float32]
"""Of shape (H, W, 3), from 0 to 255."""


def colours(count: int) -> list[Colour]:
    """As many colours, each far from those before it.

    >>> colours(2)
    [(242, 61, 61), (61, 114, 242)]
    """
    hues = (colorsys.hsv_to_rgb(index * 0.618 % 1, 0.75, 0.95) for index in range(count))
    return [(round(255 * red), round(255 * green), round(255 * blue)) for red, green, blue in hues]


def hexadecimal(colour: Colour) -> str:
    """A colour as in CSS.

    >>> hexadecimal((255, 0, 16))
    '#ff0010'
    """
    return "#{:02x}{:02x}{:02x}".format(*colour)


def picture(image: NDArray[np.uint8]) -> Picture:
    """Of an image (1 or 3, H, W)."""
    return np.broadcast_to(image, (3, *image.shape[1:])).transpose(1, 2, 0).astype(np.float32)


def heated(below: Picture, heat: NDArray[np.floating[Any]], opacity: float) -> Picture:
    """A map (H, W) of 0 to 1 laid over a picture: dark is 0, bright is 1."""
    from matplotlib import colormaps  # slow to import, and only a picture needs it

    laid: Picture = (1 - opacity) * below + opacity * (255 * colormaps["inferno"](heat)[..., :3])
    return laid


def side_by_side(panels: Sequence[NDArray[Any]], gap: int = 0) -> NDArray[np.uint8]:
    """Pictures of one height, so many white pixels between them."""
    white = np.full((len(panels[0]), gap, 3), 255)
    parts = [part for panel in panels for part in (white, panel)][1:]
    return np.concatenate(parts, axis=1).round().clip(0, 255).astype(np.uint8)


def jpeg(pixels: NDArray[np.uint8], height: int) -> str:
    """Pixels (H, W, 3), no higher than ``height``, as JPEG in base64."""
    shrunk = Image.fromarray(pixels)
    shrunk.thumbnail((10_000, height))
    return encoded(shrunk)


def jpeg_of_height(pixels: NDArray[np.uint8], height: int) -> str:
    """Pixels (H, W, 3), small ones enlarged, as JPEG in base64."""
    found = Image.fromarray(pixels)
    size = round(found.width * height / found.height), height
    return encoded(found.resize(size, Image.Resampling.BICUBIC))


def encoded(image: Image.Image) -> str:
    """An image as JPEG in base64."""
    stored = io.BytesIO()
    image.save(stored, "JPEG", quality=85)
    return base64.b64encode(stored.getvalue()).decode("ascii")
