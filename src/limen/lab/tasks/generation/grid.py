"""Generated and real images, each many side by side, for the report."""

from __future__ import annotations

import math

import torch
from PIL import Image
from torch import Tensor, nn

from limen.lab.data import evenly
from limen.lab.pictures import encoded
from limen.lab.records import Grid
from limen.lab.tasks.generation.pictures import PictureData
from limen.lab.training.batches import Batches

COLUMNS, ROWS = 10, 6
"""Images in the report, for each activation."""
SIDE_SHOWN = 56
"""Smaller images are enlarged by a whole number to about so many pixels."""


@torch.no_grad()
def grid(network: nn.Module, data: PictureData, device: str) -> Grid:
    """As many generated images as real ones."""
    chosen = evenly(data.tested, COLUMNS * ROWS)
    network.eval()
    noise, real = next(iter(Batches(chosen, COLUMNS * ROWS, device=device)))
    return Grid(picture=_drawn(network(noise)), real=_drawn(real))


def _drawn(images: Tensor) -> str:
    """Images from −1 to 1 side by side."""
    channels, height, width = images.shape[1:]
    pixels = images.float().cpu().clamp(-1, 1).add(1).mul(127.5).round().byte()
    rows = math.ceil(len(pixels) / COLUMNS)
    blank = torch.full((rows * COLUMNS - len(pixels), channels, height, width), 255, dtype=torch.uint8)
    cells = torch.cat([pixels, blank]).view(rows, COLUMNS, channels, height, width).permute(0, 3, 1, 4, 2)
    flat = cells.reshape(rows * height, COLUMNS * width, channels).expand(-1, -1, 3)
    picture = Image.fromarray(flat.contiguous().numpy())
    scale = max(1, round(SIDE_SHOWN / max(height, width)))
    return encoded(picture.resize((scale * picture.width, scale * picture.height), Image.Resampling.NEAREST))
