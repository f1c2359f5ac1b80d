"""Image, true mask and map side by side."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limen.lab.pictures import heated, jpeg_of_height, picture, side_by_side
from limen.lab.records import Heatmaps, Overlay
from limen.lab.tasks.anomaly.data import UNKNOWN, AnomalyData
from limen.lab.training.batches import Batches

ANOMALIES, NORMAL = 4, 1
"""Images in the report, for each activation."""
HEIGHT_SHOWN = 128
OPACITY = 0.6
LOWEST, HIGHEST = 0.02, 0.97
"""Parts of the shown pixels between which the colours lie: one glaring defect would leave the others dark."""


def pictures(network: nn.Module, data: AnomalyData, device: str) -> Heatmaps:
    """Some anomalies and a normal image of the test set."""
    anomalous = data.tested.anomalous
    places = [_evenly(torch.nonzero(anomalous == kind)[:, 0], count) for kind, count in ((1, ANOMALIES), (0, NORMAL))]
    chosen = data.tested.take(torch.cat(places))
    network.eval()
    images, _ = next(iter(Batches(chosen, len(chosen), device=device)))
    maps, by_gradient = _maps(network, images)
    low, high = (float(torch.quantile(maps.flatten()[: 2**24], part)) for part in (LOWEST, HIGHEST))
    heat = ((maps - low) / max(high - low, 1e-12)).clamp(0, 1).numpy()
    drawn = [
        Overlay(name=name, picture=_drawn(image.numpy(), mask.numpy(), strange, with_mask=data.has_masks))
        for name, image, mask, strange in zip(chosen.names, chosen.images, chosen.masks, heat, strict=True)
    ]
    return Heatmaps(images=tuple(drawn), masks=data.has_masks, by_gradient=by_gradient)


def _maps(network: nn.Module, images: Tensor) -> tuple[Tensor, bool]:
    """The maps; where they are the same at every pixel, how much each pixel moves the score instead."""
    with torch.no_grad():
        maps = network(images)
    if bool((maps.amax((1, 2)) > maps.amin((1, 2))).any()):
        return maps.cpu(), False
    with torch.enable_grad():
        watched = images.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(network(watched).mean((1, 2)).sum(), watched)
    return F.avg_pool2d(gradient.abs().amax(1, keepdim=True), 3, 1, 1)[:, 0].cpu(), True


def _evenly(indices: Tensor, count: int) -> Tensor:
    return indices[torch.linspace(0, len(indices) - 1, min(count, len(indices))).long()]


def _drawn(image: np.ndarray, mask: np.ndarray, strange: np.ndarray, *, with_mask: bool) -> str:
    """The image, its true mask where any is known, and the map over it."""
    below = picture(image)
    panels: list[np.ndarray] = [below, heated(below, strange, OPACITY)]
    if with_mask:
        known = 0 if (mask == UNKNOWN).any() else 255
        panels.insert(1, np.repeat((mask == 1)[..., None] * known, 3, axis=2))
    return jpeg_of_height(side_by_side(panels), HEIGHT_SHOWN)
