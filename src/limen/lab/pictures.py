"""Pictures for the report: colours far from one another, and pixels as text."""

from __future__ import annotations

import base64
import colorsys
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Colour = tuple[int, int, int]


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


def jpeg(pixels: NDArray[np.uint8], height: int) -> str:
    """Pixels (H, W, 3), no higher than ``height``, as JPEG in base64."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((10_000, height))
    stored = io.BytesIO()
    picture.save(stored, "JPEG", quality=85)
    return base64.b64encode(stored.getvalue()).decode("ascii")
