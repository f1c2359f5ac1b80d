"""DifferNet: the likelihood of an image's features under a normalising flow. Rudolph et al. 2021, arXiv 2008.12577.

There AlexNet gives the features, averaged over the image, at three sizes of it. Here the teacher of
:mod:`limen.lab.tasks.anomaly.distillation` gives them, at three scales, and the flow sees every place by itself, as in
CFLOW-AD (arXiv 2107.12571), so that the map says where.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from limen.lab.tasks.anomaly.distillation import Teacher
from limen.lab.tasks.anomaly.features import WIDTHS, enlarged, together
from limen.lab.tasks.anomaly.network import AnomalyNetwork
from limen.lab.training.batches import Batches

COUPLINGS = 4
HIDDEN = 128
CLAMP = 3.0


class Coupling(nn.Module):
    """An affine coupling after a fixed permutation. Dinh et al. 2017 (Real NVP), arXiv 1605.08803.

    The scale's logarithm is at most 3 by a soft clamp, as in DifferNet. The last layer starts at 0, so that the flow
    starts as the identity.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.kept = features // 2
        changed = features - self.kept
        self.register_buffer("order", torch.randperm(features))
        self.order: Tensor
        last = nn.Linear(HIDDEN, 2 * changed)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.subnet = nn.Sequential(nn.Linear(self.kept, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), last)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What becomes of points (N, features), and the logarithm of the volume's change, (N,)."""
        kept, changed = x[:, self.order].tensor_split([self.kept], dim=1)
        scale, shift = self.subnet(kept).chunk(2, dim=1)
        scale = CLAMP * 2 / math.pi * torch.atan(scale / CLAMP)
        return torch.cat([kept, changed * scale.exp() + shift], dim=1), scale.sum(1)


class Flow(AnomalyNetwork):
    """The negative logarithm of the likelihood of every place's features, a feature, up to a constant.

    The features are fixed; the flow's subnets alone carry the swapped activation.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.teacher = Teacher(in_channels)
        features = sum(WIDTHS)
        self.couplings = nn.ModuleList(Coupling(features) for _ in range(COUPLINGS))
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))
        self.mean: Tensor
        self.deviation: Tensor

    def prepare(self, normal: Batches) -> None:
        """Teach the teacher, and measure its features."""
        self.teacher.learn(normal)
        found = torch.cat([self._features(images).mean((2, 3)) for images, _ in normal])
        squares = torch.cat([self._features(images).square().mean((2, 3)) for images, _ in normal])
        self.mean.copy_(found.mean(0))
        self.deviation.copy_((squares.mean(0) - self.mean.square()).clamp_min(1e-8).sqrt().clamp_min(1e-3))

    def forward(self, images: Tensor) -> Tensor:
        """In the size of the image."""
        found = self._features(images)
        points = found.movedim(1, -1).flatten(0, 2)
        points = (points - self.mean) / self.deviation
        volume = torch.zeros(len(points), device=points.device)
        for coupling in self.couplings:
            points, change = coupling(points)
            volume = volume + change
        surprise = (0.5 * points.square().sum(1) - volume) / points.shape[1]
        return enlarged(surprise.view(len(images), *found.shape[2:]), images.shape[2:])

    @torch.no_grad()
    def _features(self, images: Tensor) -> Tensor:
        stages = self.teacher(images)
        return together(stages, stages[-1].shape[2:])
