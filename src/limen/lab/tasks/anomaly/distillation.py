"""A student that learns a teacher's features on normal images, and fails on others.

After STPM, Wang et al. 2021, arXiv 2103.04257, and Salehi et al. 2021, arXiv 2011.11108. Their teachers have learned
from ImageNet; this one learns from the normal images themselves to find what was pasted into them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from limen.lab.tasks.anomaly.features import Features, Fixed, Pretext, enlarged
from limen.lab.tasks.anomaly.network import AnomalyNetwork
from limen.lab.training.batches import Batches

PRETEXT_STEPS = 150
PRETEXT_RATE = 2e-3


class Teacher(Features):
    """Features that are learned once and then fixed. Its ReLU is never swapped, so all students have one teacher."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, Fixed)
        self.requires_grad_(False)
        self.seed = int(torch.randint(2**31, ()))

    def learn(self, normal: Batches) -> None:
        """Find what was pasted into the normal images."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.seed)  # torch.manual_seed would seed the GPUs' for good
            pretext = Pretext(self).to(normal.inputs.device)
        pretext.train_for(PRETEXT_STEPS, PRETEXT_RATE, normal, self.seed)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Teacher:
        """Its normalisation stays as it was learned."""
        return super().train(mode and any(parameter.requires_grad for parameter in self.parameters()))


class Distillation(AnomalyNetwork):
    """Half the squared distance between the student's and the teacher's features of unit length, summed over stages.

    The student has the teacher's form and weights of its own; it alone carries the swapped activation.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.teacher = Teacher(in_channels)
        self.student = Features(in_channels)

    def prepare(self, normal: Batches) -> None:
        """Teach the teacher."""
        self.teacher.learn(normal)

    def forward(self, images: Tensor) -> Tensor:
        """The distances of all stages, added up in the size of the image."""
        with torch.no_grad():
            wanted = self.teacher(images)
        pairs = zip(self.student(images), wanted, strict=True)
        distances = [0.5 * (F.normalize(own) - F.normalize(other)).square().sum(1) for own, other in pairs]
        return torch.stack([enlarged(distance, images.shape[2:]) for distance in distances]).sum(0)
