"""How far predicted surfaces lie from the true ones, in millimetres, over whole scans and by MONAI's measures.

Of every class but the background, in every scan that truth or prediction has it in. Where only one of them has it, no
distance exists; the scan's diagonal, which no distance exceeds, stands for it.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limen.lab.tasks.segmentation.declared import HAUSDORFF, SURFACE
from limen.lab.tasks.segmentation.masks import IGNORED, MaskSplit
from limen.lab.tasks.segmentation.networks.monai_part import monai_part
from limen.lab.training.batches import Batches
from limen.lab.training.learner import as_measured


class Scan(NamedTuple):
    """A scan's classes as they are and as they were predicted, (slices, height, width), and a voxel's sides in mm."""

    truth: Tensor
    answer: Tensor
    spacing: tuple[float, float, float]

    @property
    def diagonal(self) -> float:
        """From one corner to the one across."""
        return math.dist((0, 0, 0), tuple(s * side for s, side in zip(self.truth.shape, self.spacing, strict=True)))


def distances(
    network: nn.Module, split: MaskSplit, classes: tuple[str, ...], batch_size: int, device: str
) -> dict[str, float]:
    """The mean over scans and classes, and of every class; nothing where no scan is whole."""
    with warnings.catch_warnings():
        # MONAI 1.5 calls itself with an argument that it has deprecated.
        warnings.filterwarnings("ignore", ".*get_mask_edges", FutureWarning)
        found = [_of_scan(scan, len(classes)) for scan in _scans(network, split, batch_size, device)]
    if not found:
        return {}
    measured = np.array(found)  # (scans, two measures, classes without the background)
    metrics = {}
    for place, metric in enumerate((HAUSDORFF, SURFACE)):
        metrics[metric.name] = _mean(measured[:, place])
        for label, name in enumerate(classes[1:]):
            metrics[metric.of_class(name).name] = _mean(measured[:, place, label])
    return metrics


def _mean(values: np.ndarray) -> float:
    """Of what there is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan


def _scans(network: nn.Module, split: MaskSplit, batch_size: int, device: str) -> Iterator[Scan]:
    """Every scan of which all slices are there; a limit may have thinned one out, and then it has no surface."""
    with as_measured(network):
        answers = torch.cat(
            [network(inputs).argmax(1).cpu() for inputs, _ in Batches(split, batch_size, device=device)]
        )
    groups = np.asarray(split.groups)
    for group in np.unique(groups):
        rows = sorted(np.flatnonzero(groups == group).tolist(), key=lambda row: split.places[row].slice)
        place = split.places[rows[0]]
        if len(rows) == place.slices:
            truth, answer = split.masks[rows].long(), answers[rows]
            counts = truth != IGNORED
            yield Scan(truth.where(counts, 0), answer.where(counts, 0), place.spacing)


def _of_scan(scan: Scan, classes: int) -> list[list[float]]:
    """Both measures of every class but the background."""
    metrics = monai_part("metrics")
    truth, answer = (F.one_hot(one, classes).movedim(-1, 0)[None] for one in (scan.truth, scan.answer))
    there, answered = (one[0, 1:].flatten(1).any(1) for one in (truth, answer))
    found = []
    for label in range(1, classes):
        if there[label - 1] and answered[label - 1]:
            pair = {"y_pred": answer[:, label : label + 1], "y": truth[:, label : label + 1]}
            options = {**pair, "include_background": True, "spacing": list(scan.spacing)}
            found.append(
                [
                    float(metrics.compute_hausdorff_distance(percentile=95, **options)),
                    float(metrics.compute_average_surface_distance(symmetric=True, **options)),
                ]
            )
        else:
            found.append([scan.diagonal if there[label - 1] or answered[label - 1] else math.nan] * 2)
    return [list(measure) for measure in zip(*found, strict=True)]
