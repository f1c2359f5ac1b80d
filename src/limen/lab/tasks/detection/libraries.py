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
SIDE = 800
"""Pixels of the shorter side of images that torchvision's numbers of pixels are for: it would resize images to that."""
ANCHORS = (32, 64, 128, 256, 512)
"""Sides of the anchors on the five levels of a pyramid, in such images."""
ASPECTS = (0.5, 1.0, 2.0)
FOURTH = 224
"""Side of a box whose features the fourth level gives, in such images."""
STAGES, SAMPLES = 4, 2
BOX_SIDE, MASK_SIDE, MASK_LAYERS, HIDDEN = 7, 14, 4, 4
"""Features along a region's side for its box and for its mask; convolutions before the mask; hidden units, times the
pyramid's channels."""
PYRAMID, REGIONS = 256, 512
"""Channels of the pyramid, and regions of an image that are learned from at a step (1703.06870, §3.1)."""


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
        module = detectors(self.NAME)
        self.model = module.fasterrcnn_resnet50_fpn(
            weights=None, weights_backbone=None, num_classes=1 + num_classes, **self._options(image_size, module)
        )

    def _options(self, image_size: tuple[int, int], module: ModuleType) -> dict[str, Any]:
        """Images stay as they are; what is counted in pixels is for images of their size."""
        smaller = min(image_size) / SIDE
        anchors = module.anchor_utils.AnchorGenerator(
            tuple((side * smaller,) for side in ANCHORS), (ASPECTS,) * len(ANCHORS)
        )
        return {
            "min_size": min(image_size),
            "max_size": max(image_size),
            "image_mean": [0.0] * COLOURS,
            "image_std": [1.0] * COLOURS,
            "rpn_anchor_generator": anchors,
            "box_roi_pool": pooling(module, BOX_SIDE, image_size),
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


def pyramid(module: ModuleType, layers: int, width: int) -> nn.Module:
    """A residual network, all of whose weights and statistics are learned, and a feature pyramid on its four stages."""
    body = getattr(module.backbone_utils.resnet, f"resnet{layers}")(weights=None)
    stages = {f"layer{stage + 1}": str(stage) for stage in range(STAGES)}
    channels = [body.inplanes * 2**stage // 2 ** (STAGES - 1) for stage in range(STAGES)]
    made: nn.Module = module.backbone_utils.BackboneWithFPN(body, stages, channels, width)
    return made


def pooling(module: ModuleType, side: int, image_size: tuple[int, int]) -> nn.Module:
    """What makes side × side features of a region, from the level for its size."""
    made: nn.Module = module.faster_rcnn.MultiScaleRoIAlign(
        [str(stage) for stage in range(STAGES)],
        side,
        SAMPLES,
        canonical_scale=max(1, round(FOURTH * min(image_size) / SIDE)),
    )
    return made


def heads(module: ModuleType, classes: int, width: int, image_size: tuple[int, int]) -> dict[str, nn.Module]:
    """What tells a region's class, box and mask; as published where the pyramid has 256 channels."""
    hidden = HIDDEN * width
    return {
        "box_head": module.faster_rcnn.TwoMLPHead(width * BOX_SIDE**2, hidden),
        "box_predictor": module.faster_rcnn.FastRCNNPredictor(hidden, classes),
        "mask_roi_pool": pooling(module, MASK_SIDE, image_size),
        "mask_head": module.mask_rcnn.MaskRCNNHeads(width, (width,) * MASK_LAYERS, dilation=1),
        "mask_predictor": module.mask_rcnn.MaskRCNNPredictor(width, width, classes),
    }


def proposals(regions: int) -> dict[str, int]:
    """How many regions are learned from, and proposed; in the published relation, 512 of 2,000 and 1,000 in testing."""
    times = {"train": 2000 / REGIONS, "test": 1000 / REGIONS}
    proposed = {
        f"rpn_{when}_nms_top_n_{mode}": round(regions * more)
        for mode, more in times.items()
        for when in ("pre", "post")
    }
    return {"box_batch_size_per_image": regions, **proposed}


class MaskRCNN(FasterRCNN):
    """Mask R-CNN with a residual network and a feature pyramid (He et al. 2017, 1703.06870): a mask for each region.

    Its output goes on with the mask of each box, packed. Most of a step is what the heads do with the regions, however
    small images are: fewer channels in the pyramid (``width``) and ``regions`` of an image fit it to other machines.
    """

    NAME = f"{PREFIX}maskrcnn"

    def __init__(
        self,
        image_size: tuple[int, int],
        num_classes: int,
        layers: int = 50,
        width: int = PYRAMID,
        regions: int = REGIONS,
    ) -> None:
        nn.Module.__init__(self)
        self.classes = num_classes
        module = detectors(self.NAME)
        self.model = module.mask_rcnn.MaskRCNN(
            pyramid(module, layers, width),
            **self._options(image_size, module),
            **heads(module, 1 + num_classes, width, image_size),
            **proposals(regions),
        )

    def _truth(self, rows: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
        own = rows[rows[:, 0] > NOTHING]
        return {**super()._truth(rows[:, :5], size), "masks": unpacked(own[:, 5:], size).to(torch.uint8)}

    def _stated(self, answer: dict[str, Tensor], size: tuple[int, int]) -> Tensor:
        masks = packed(answer["masks"][:, 0] >= HALF)
        missing = self.MOST - len(masks)
        return torch.cat([super()._stated(answer, size), F.pad(masks, (0, 0, 0, missing))], -1)
