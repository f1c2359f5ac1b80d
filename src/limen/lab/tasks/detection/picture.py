"""Test images with true and predicted boxes drawn on them, for the report."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from limen.lab import pictures
from limen.lab.data import evenly
from limen.lab.pictures import Colour
from limen.lab.records import Overlay, Overlays
from limen.lab.tasks.detection import default_boxes
from limen.lab.tasks.detection.boxes import BoxData
from limen.lab.tasks.detection.meters import without_masks
from limen.lab.training.batches import Batches

SHOWN = 3
"""Test images in the report, for each activation."""
HEIGHT_SHOWN = 192
LINE, GAP = 2, 6
"""Pixels, of a box's outline and between pictures."""
SURE = 0.5
"""Score from which a box is drawn."""


@torch.no_grad()
def overlays(network: nn.Module, data: BoxData, device: str) -> Overlays:
    """Some test images: without boxes, with the true ones, with those that the network is sure of."""
    chosen = evenly(data.tested, SHOWN)
    network.eval()
    inputs, _ = next(iter(Batches(chosen, SHOWN, device=device)))
    answers = default_boxes.detections(without_masks(network(inputs), chosen.objects)[0]).cpu()
    colours = pictures.colours(len(data.classes))
    drawn = []
    for name, image, objects, answer in zip(chosen.names, chosen.images, chosen.objects, answers, strict=True):
        sure = answer[answer[:, 0] >= SURE]
        panels = [_boxed(image, boxes, colours) for boxes in (objects[:0], objects[:, :5], sure[:, 1:])]
        drawn.append(Overlay(name=name, picture=pictures.jpeg(pictures.side_by_side(panels, GAP), HEIGHT_SHOWN)))
    legend = tuple(zip(data.classes, map(pictures.hexadecimal, colours), strict=True))
    return Overlays(drawn="boxes", legend=legend, images=tuple(drawn))


def _boxed(image: Tensor, boxes: Tensor, colours: list[Colour]) -> np.ndarray:
    """The image, small ones enlarged so that lines are thin beside objects, with boxes (class, corners) on it."""
    pixels = image.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()
    times = max(1, round(HEIGHT_SHOWN / len(pixels)))
    picture = Image.fromarray(pixels).resize((times * pixels.shape[1], times * pixels.shape[0]))
    draw = ImageDraw.Draw(picture)
    for label, *corners in boxes.tolist():
        if label >= 0:
            left, top, right, bottom = corners
            ends = (left * picture.width, top * picture.height, right * picture.width - 1, bottom * picture.height - 1)
            draw.rectangle(
                (*ends[:2], max(ends[0], ends[2]), max(ends[1], ends[3])), outline=colours[int(label)], width=LINE
            )
    return np.asarray(picture)
