"""Detection, as far as it is known without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from limen.lab.data.members import check_path
from limen.lab.declaration import Declaration
from limen.lab.metric import fraction
from limen.lab.networks.catalogue import Catalogue, Family

if TYPE_CHECKING:
    from limen.lab.settings import StudySettings

HERE = "limen.lab.tasks.detection"
MASK_RCNN = r"(?:torchvision:)?maskrcnn(?:-resnet(?P<layers>18|34|50|101))?(?:-w(?P<width>\d+))?(?:-r(?P<regions>\d+))?"
YOLOS = {
    "nano": {"width": 16, "blocks": 1},
    "small": {"width": 32, "blocks": 1},
    "medium": {"width": 48, "blocks": 2},
    "large": {"width": 64, "blocks": 3},
}
"""Channels of the stem, and how many times as many residual blocks as nano has."""


class Detection(Declaration):
    """SSD's loss and answer, or a network's own loss; mAP at an overlap of 0.5 decides, over 0.5 to 0.95 beside it."""

    name = "detection"
    about = "boxes: Pascal VOC XML or COCO JSON beside images, in a folder or archive"
    measure = fraction("map50", "mAP@50")
    metrics = (
        measure,
        fraction("map", "mAP@[.5:.95]"),
        replace(fraction("mask_map50", "mask mAP@50"), always=False),
        replace(fraction("mask_map", "mask mAP@[.5:.95]"), always=False),
    )
    train_score = fraction("default_box_accuracy", "default box accuracy")
    networks = Catalogue(
        {
            "ssd": f"{HERE}.ssd:SSD",
            "torchvision:ssd300_vgg16": f"{HERE}.libraries:SSD300",
            "torchvision:fasterrcnn_resnet50_fpn": f"{HERE}.libraries:FasterRCNN",
        },
        (
            Family(
                rf"yolo-(?P<word>{'|'.join(YOLOS)})",
                f"{HERE}.yolo:YOLO",
                {},
                tuple(f"yolo-{size}" for size in YOLOS),
                words=YOLOS,
            ),
            Family(
                MASK_RCNN,
                f"{HERE}.libraries:MaskRCNN",
                {},
                ("torchvision:maskrcnn", "torchvision:maskrcnn-resnet18-w64-r64"),
            ),
        ),
    )
    defaults: ClassVar[Mapping[str, Any]] = {"network": "ssd", "batch_size": 8, "eval_batch_size": 8}
    options = frozenset({"test_data", "image_size", "grey", "channels_last", "augment", "orientation", "split"})
    augments = ("none", "flip", "mosaic")
    observed = 8

    def look(self, settings: StudySettings) -> None:
        """A path; there are no built-in sets."""
        check_path(Path(settings.data).expanduser())
