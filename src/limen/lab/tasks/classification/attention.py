"""Test images beside where the network looks (Grad-CAM), for the report."""

from __future__ import annotations

import base64
import io

import numpy as np
import torch
from PIL import Image
from torch import nn

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
    assert data.test is not None
    chosen = evenly(data.test, SHOWN)
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
    """The image, and the map over it, side by side as JPEG in base64."""
    from matplotlib import colormaps  # slow to import, and only a picture needs it

    channels = image if len(image) == 3 else np.repeat(image[:1], 3, axis=0)
    picture = channels.transpose(1, 2, 0).astype(np.float32)
    laid = (1 - OPACITY) * picture + OPACITY * 255 * colormaps["inferno"](heat)[..., :3]
    drawn = Image.fromarray(np.concatenate([picture, laid], axis=1).round().clip(0, 255).astype(np.uint8))
    wide = round(drawn.width * HEIGHT_SHOWN / drawn.height)
    stored = io.BytesIO()
    drawn.resize((wide, HEIGHT_SHOWN), Image.Resampling.BICUBIC).save(stored, "JPEG", quality=85)
    return base64.b64encode(stored.getvalue()).decode("ascii")
