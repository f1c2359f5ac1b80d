"""Test images with true and predicted masks laid over them, for the report."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from limen.lab import pictures
from limen.lab.data import evenly
from limen.lab.pictures import Colour, Picture
from limen.lab.records import Overlay, Overlays
from limen.lab.tasks.segmentation.masks import MaskData
from limen.lab.training.batches import Batches

SHOWN = 3
"""Test images in the report, for each activation."""
HEIGHT_SHOWN = 160
OPACITY = 0.5


@torch.no_grad()
def overlays(network: nn.Module, data: MaskData, device: str) -> Overlays:
    """Some test images."""
    chosen = evenly(data.tested, SHOWN)
    network.eval()
    inputs, _ = next(iter(Batches(chosen, SHOWN, device=device)))
    predicted = network(inputs).argmax(1).cpu().numpy().astype(np.uint8)
    colours = _colours(len(data.classes), binary=data.binary)
    drawn = [
        Overlay(name=name, picture=_drawn(image.numpy(), mask.numpy(), answer, colours))
        for name, image, mask, answer in zip(chosen.names, chosen.images, chosen.masks, predicted, strict=True)
    ]
    legend = tuple(zip(data.classes, map(pictures.hexadecimal, colours), strict=True))
    return Overlays(legend=legend[data.binary :], images=tuple(drawn))


def _colours(count: int, *, binary: bool) -> list[Colour]:
    """A colour a class, far from one another; the background of two classes is not coloured."""
    if binary:
        return [(0, 0, 0), (230, 60, 40)]
    return pictures.colours(count)


def _drawn(image: np.ndarray, mask: np.ndarray, answer: np.ndarray, colours: list[Colour]) -> str:
    """Image, true mask, predicted mask."""
    below = pictures.picture(image)
    panels = [below, _laid(below, mask, colours), _laid(below, answer, colours)]
    return pictures.jpeg(pictures.side_by_side(panels), HEIGHT_SHOWN)


def _laid(below: Picture, mask: np.ndarray, colours: list[Colour]) -> np.ndarray:
    table = np.zeros((256, 3), dtype=np.float32)
    table[: len(colours)] = colours
    covered = (table[mask].sum(axis=2, keepdims=True) > 0) * OPACITY
    laid: np.ndarray = below * (1 - covered) + table[mask] * covered
    return laid
