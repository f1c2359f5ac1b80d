"""Test images beside where the network looks (Grad-CAM), for the report."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from limen.lab import pictures
from limen.lab.data import ImageData, evenly
from limen.lab.records import Attention, Overlay
from limen.lab.tasks.classification.grad_cam import grad_cam
from limen.lab.training.batches import Batches

SHOWN = 4
"""Test images in the report, for each activation."""
HEIGHT_SHOWN = 96
OPACITY = 0.5


def attention(network: nn.Module, data: ImageData, device: str) -> Attention | None:
    """Some test images, spread over the classes; None where the network has no feature map."""
    chosen = evenly(data.tested, SHOWN)
    images, labels = next(iter(Batches(chosen, SHOWN, device=device)))
    maps, logits = grad_cam(network, images)
    if maps is None or not torch.isfinite(maps).all():
        return None
    pixels, _ = chosen.tensors
    drawn = [
        Overlay(name=_said(data.classes[true], data.classes[taken]), picture=_drawn(image.numpy(), heat))
        for image, heat, true, taken in zip(
            pixels, maps.cpu().numpy(), labels.tolist(), logits.argmax(1).tolist(), strict=True
        )
    ]
    return Attention(images=tuple(drawn))


def _said(true: str, taken: str) -> str:
    return f"{true}, recognised" if true == taken else f"{true}, taken for {taken}"


def _drawn(image: np.ndarray, heat: np.ndarray) -> str:
    """The image, and the map over it."""
    below = pictures.picture(image)
    panels = [below, pictures.heated(below, heat, OPACITY)]
    return pictures.jpeg_of_height(pictures.side_by_side(panels), HEIGHT_SHOWN)
