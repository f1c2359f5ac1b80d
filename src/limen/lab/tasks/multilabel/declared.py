"""Several labels an image, as far as it is known without torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from limen.lab.data.members import check_path
from limen.lab.declaration import Declaration
from limen.lab.metric import F1, FRACTION, HALF_A_POINT, PERCENT, Metric, fraction
from limen.lab.networks.catalogue import NETWORKS

if TYPE_CHECKING:
    from limen.lab.settings import StudySettings

AUROC = fraction("auroc", "AUROC")
PRECISION = fraction("map", "mAP")
"""The mean of the labels' average precision."""


class Multilabel(Declaration):
    """Cross-entropy of each label, weighed by how rare it is; mean AUROC decides, mAP, F1, Hamming loss beside it."""

    name = "multilabel"
    about = "which of several labels an image has: a CSV file of images and labels, or JSON files beside images"
    measure = AUROC
    metrics = (
        AUROC,
        PRECISION,
        F1,
        Metric("hamming", "Hamming loss", PERCENT, higher_is_better=False, bounds=FRACTION, margin=HALF_A_POINT),
    )
    by_class = (AUROC, PRECISION, F1)
    networks = NETWORKS
    defaults: ClassVar[Mapping[str, Any]] = {"network": "convnet", "batch_size": 64, "eval_batch_size": 1000}
    options = frozenset({"test_data", "image_size", "grey", "channels_last", "augment", "split", "target", "drop"})

    def look(self, settings: StudySettings) -> None:
        """A path; there are no built-in sets."""
        check_path(Path(settings.data).expanduser())
