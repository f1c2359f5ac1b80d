"""Divide normal images and anomalies.

Validation holds normal images alone: an anomaly that had a say in the training would no longer be unforeseen.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from limen.errors import DataError
from limen.lab.data.division import Division, Draw, Strategy, check_enough, cut, divide
from limen.lab.data.strategies import FEWEST, first, permuted, share
from limen.lab.tasks.anomaly.data import AnomalyData, AnomalySplit, join


def divide_normal(data: AnomalyData, division: Division) -> AnomalyData:
    """Make the splits that a study needs. Without a test set, some of the normal images join the anomalies there."""
    by = Normal()
    if data.test is None:
        assert data.anomalies is not None
        train, kept = cut(data.train, division.test_fraction, by, Draw(data, "test", division.seed))
        data = replace(data, train=train, test=join(kept, data.anomalies), anomalies=None)
    return divide(data, division, by)


class Normal(Strategy[AnomalySplit]):
    """At random; a limit leaves both kinds of test images in their shares."""

    def taken(self, split: AnomalySplit, fraction: float, draw: Draw) -> Tensor:
        """Any normal images."""
        check_enough(len(split), FEWEST, "normal images", draw)
        return first(permuted(np.arange(len(split)), draw), share(fraction, len(split)))

    def kept(self, split: AnomalySplit, limit: int, draw: Draw) -> Tensor:
        """Of the test images at least one of each kind."""
        every = torch.arange(len(split))
        if limit >= len(split):
            return every
        if draw.part != "test":
            return every[first(permuted(np.arange(len(split)), draw), limit)]
        if limit < 2:
            raise DataError(f"a test set of {limit} image cannot hold a normal and an anomalous one; allow 2 or more.")
        kinds = [every[split.anomalous == kind] for kind in (False, True)]
        normal = min(max(1, round(limit * len(kinds[0]) / len(split))), limit - 1)
        counts = (normal, limit - normal)
        drawn = [first(permuted(kind.numpy(), draw), count) for kind, count in zip(kinds, counts, strict=True)]
        return torch.cat(drawn).sort().values
