"""Segmentation, as far as it is known without torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from limen.lab.data.members import check_path
from limen.lab.declaration import Declaration
from limen.lab.metric import NOT_NEGATIVE, Metric, fraction
from limen.lab.tasks.segmentation.networks import NETWORKS

if TYPE_CHECKING:
    from limen.lab.settings import StudySettings


DICE = fraction("dice", "Dice")
HAUSDORFF, SURFACE = (
    Metric(name, title, "mm", higher_is_better=False, bounds=NOT_NEGATIVE, always=False)
    for name, title in (("hausdorff95", "Hausdorff 95"), ("surface_distance", "surface distance"))
)
"""Of scans, whose voxels have a size."""


class Segmentation(Declaration):
    """Dice and cross-entropy loss; Dice decides, IoU, precision and recall beside it."""

    name = "segmentation"
    about = "a class for every pixel: images/ and masks/ of matching names, PASCAL VOC, ADE20K, or NIfTI scans"
    measure = DICE
    metrics = (
        measure,
        fraction("iou", "IoU"),
        fraction("miou", "mIoU"),
        fraction("precision", "precision"),
        fraction("recall", "recall"),
        HAUSDORFF,
        SURFACE,
    )
    by_class = (DICE, HAUSDORFF, SURFACE)
    networks = NETWORKS
    defaults: ClassVar[Mapping[str, Any]] = {"network": "unet", "batch_size": 8, "eval_batch_size": 8}
    options = frozenset(
        {
            "test_data",
            "image_size",
            "grey",
            "channels_last",
            "augment",
            "ignore_label",
            "foreground",
            "intensity",
            "orientation",
            "split",
        }
    )
    augments = ("none", "flip", "crop+flip")
    observed = 8
    packages: ClassVar[tuple[str, ...]] = ("monai",)

    def look(self, settings: StudySettings) -> None:
        """A path; there are no built-in sets."""
        check_path(Path(settings.data).expanduser())
