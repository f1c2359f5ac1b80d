"""Detectors of torchvision, untrained, in the form that the task takes; imported when asked for.

Mask R-CNN learns from masks, which boxes do not have; without its mask head it is Faster R-CNN (He et al. 2017,
1703.06870, §3), and so it is that here.
"""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limen.errors import require
from limen.lab.networks import region_operators
from limen.lab.tasks.detection import default_boxes
from limen.lab.tasks.detection.boxes import NOTHING

PREFIX = "torchvision:"
COLOURS = 3


def detectors(name: str) -> ModuleType:
    """torchvision's module of detection."""
    need = f"the network {name!r} needs torchvision"
    region_operators.provide()
    return require("torchvision.models.detection", "torchvision", need, instead=", or use --network ssd.")


class SSD300(nn.Module):
    """SSD300 with VGG-16, as published (1512.02325): images resized to 300 × 300, and 8,732 default boxes on them."""

    NAME, SIZE = f"{PREFIX}ssd300_vgg16", 300

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        made = detectors(self.NAME).ssd300_vgg16(weights=None, weights_backbone=None, num_classes=1 + num_classes)
        self.backbone, self.head, self.anchors = made.backbone, made.head, made.anchor_generator

    def forward(self, images: Tensor) -> Tensor:
        """Logits, offsets and default boxes, (N, 8732, 1 + classes + 4 + 4)."""
        size = (self.SIZE, self.SIZE)
        resized = F.interpolate(images.expand(-1, COLOURS, -1, -1), size, mode="bilinear", antialias=True)
        features = list(self.backbone(resized).values())
        answers = self.head(features)
        listed = detectors(self.NAME).image_list.ImageList
        corners = torch.stack(self.anchors(listed(resized, [size] * len(images)), features)) / self.SIZE
        defaults = torch.cat([(corners[..., :2] + corners[..., 2:]) / 2, corners[..., 2:] - corners[..., :2]], -1)
        # torchvision's offsets have the same variances, 0.1 and 0.2.
        return torch.cat([answers["cls_logits"], answers["bbox_regression"], defaults.to(resized.dtype)], -1)


class FasterRCNN(nn.Module):
    """Faster R-CNN with ResNet-50 and a feature pyramid: a region proposal network, and a head that classifies regions.

    It has losses of its own, :meth:`losses`; what it gives are the boxes that it found, each as a default box that
    needs no more moving.
    """

    NAME, MOST = f"{PREFIX}fasterrcnn_resnet50_fpn", 100

    def __init__(self, image_size: tuple[int, int], num_classes: int) -> None:
        super().__init__()
        self.classes = num_classes
        self.model = detectors(self.NAME).fasterrcnn_resnet50_fpn(
            weights=None,
            weights_backbone=None,
            num_classes=1 + num_classes,
            min_size=min(image_size),
            max_size=max(image_size),
            image_mean=[0.0] * COLOURS,
            image_std=[1.0] * COLOURS,
            box_detections_per_img=self.MOST,
            box_score_thresh=0.01,
        )

    def losses(self, images: Tensor, objects: Tensor) -> Tensor:
        """The sum of the losses of both stages, in training mode; objects that are not learned are left out."""
        height, width = images.shape[2:]
        scale = objects.new_tensor([width, height, width, height])
        truth = []
        for rows in objects:
            own = rows[rows[:, 0] > NOTHING]
            truth.append({"boxes": own[:, 1:] * scale, "labels": own[:, 0].long() + 1})
        found: dict[str, Tensor] = self.model(list(images.expand(-1, COLOURS, -1, -1)), truth)
        return torch.stack(list(found.values())).sum()

    def forward(self, images: Tensor) -> Tensor:
        """The boxes found, (N, 100, 1 + classes + 4 + 4); in evaluation mode."""
        height, width = images.shape[2:]
        scale = images.new_tensor([width, height, width, height])
        answers = self.model(list(images.expand(-1, COLOURS, -1, -1)))
        return torch.stack([self._stated(answer, scale) for answer in answers])

    def _stated(self, answer: dict[str, Tensor], scale: Tensor) -> Tensor:
        """Its boxes, and more without a score up to :attr:`MOST`."""
        missing = self.MOST - len(answer["scores"])
        return default_boxes.stated(
            F.pad(answer["scores"], (0, missing)),
            F.pad(answer["labels"] - 1, (0, missing)),
            F.pad(answer["boxes"] / scale, (0, 0, 0, missing)),
            self.classes,
        )
