"""Detectors of torchvision, untrained, in the form that the task takes; imported when asked for.

Mask R-CNN learns from masks; without its mask head it is Faster R-CNN (He et al. 2017, 1703.06870, §3).
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limen.errors import require
from limen.lab.networks import region_operators
from limen.lab.tasks.detection import default_boxes
from limen.lab.tasks.detection.kinds import NOTHING
from limen.lab.tasks.detection.masks import packed, unpacked

PREFIX = "torchvision:"
COLOURS = 3
HALF = 0.5
"""Probability from which a pixel is the object's."""


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
            weights=None, weights_backbone=None, num_classes=1 + num_classes, **self._options(image_size)
        )

    def _options(self, image_size: tuple[int, int]) -> dict[str, Any]:
        """Images stay as they are."""
        return {
            "min_size": min(image_size),
            "max_size": max(image_size),
            "image_mean": [0.0] * COLOURS,
            "image_std": [1.0] * COLOURS,
            "box_detections_per_img": self.MOST,
            "box_score_thresh": 0.01,
        }

    def losses(self, images: Tensor, objects: Tensor) -> Tensor:
        """The sum of the losses of all stages, in training mode; objects that are not learned are left out."""
        size = (images.shape[2], images.shape[3])
        truth = [self._truth(rows, size) for rows in objects]
        found: dict[str, Tensor] = self.model(list(images.expand(-1, COLOURS, -1, -1)), truth)
        return torch.stack(list(found.values())).sum()

    def forward(self, images: Tensor) -> Tensor:
        """The boxes found, (N, 100, 1 + classes + 4 + 4); in evaluation mode."""
        size = (images.shape[2], images.shape[3])
        answers = self.model(list(images.expand(-1, COLOURS, -1, -1)))
        return torch.stack([self._stated(answer, size) for answer in answers])

    def _truth(self, rows: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
        """The objects that are learned, as torchvision takes them."""
        own = rows[rows[:, 0] > NOTHING]
        return {"boxes": own[:, 1:] * _scale(size, rows), "labels": own[:, 0].long() + 1}

    def _stated(self, answer: dict[str, Tensor], size: tuple[int, int]) -> Tensor:
        """Its boxes, and more without a score up to :attr:`MOST`."""
        missing = self.MOST - len(answer["scores"])
        return default_boxes.stated(
            F.pad(answer["scores"], (0, missing)),
            F.pad(answer["labels"] - 1, (0, missing)),
            F.pad(answer["boxes"] / _scale(size, answer["boxes"]), (0, 0, 0, missing)),
            self.classes,
        )


def _scale(size: tuple[int, int], like: Tensor) -> Tensor:
    """Height and width as what corners are multiplied by."""
    return like.new_tensor([size[1], size[0], size[1], size[0]])


class MaskRCNN(FasterRCNN):
    """Mask R-CNN with a residual network and a feature pyramid (He et al. 2017, 1703.06870): a mask for each region.

    Its output goes on with the mask of each box, packed.
    """

    NAME = f"{PREFIX}maskrcnn"

    def __init__(self, image_size: tuple[int, int], num_classes: int, layers: int = 50) -> None:
        nn.Module.__init__(self)
        self.classes = num_classes
        module = detectors(self.NAME)
        # Its frozen batch normalisation would be one of no data: nothing here was trained before.
        body = module.backbone_utils.resnet_fpn_backbone(
            backbone_name=f"resnet{layers}", weights=None, norm_layer=nn.BatchNorm2d, trainable_layers=5
        )
        self.model = module.mask_rcnn.MaskRCNN(body, 1 + num_classes, **self._options(image_size))

    def _truth(self, rows: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
        own = rows[rows[:, 0] > NOTHING]
        return {**super()._truth(rows[:, :5], size), "masks": unpacked(own[:, 5:], size).to(torch.uint8)}

    def _stated(self, answer: dict[str, Tensor], size: tuple[int, int]) -> Tensor:
        masks = packed(answer["masks"][:, 0] >= HALF)
        missing = self.MOST - len(masks)
        return torch.cat([super()._stated(answer, size), F.pad(masks, (0, 0, 0, missing))], -1)
