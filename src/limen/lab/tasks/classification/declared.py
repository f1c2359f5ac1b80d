"""Image classification, as far as it is known without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from limen.lab.declaration import Declaration
from limen.lab.metric import ACCURACY, F1, Metric, fraction
from limen.lab.networks.catalogue import NETWORKS


class Classification(Declaration):
    """Cross-entropy; accuracy decides, top-5 accuracy, Matthews' correlation and macro F1 beside it."""

    name = "classification"
    about = "classes of images: a built-in set, or a folder, .zip or .tar.gz of class folders"
    measure = ACCURACY
    metrics = (
        ACCURACY,
        fraction("top5_accuracy", "top-5 accuracy"),
        Metric("mcc", "MCC", bounds=(-1.0, 1.0)),
        F1,
    )
    networks = NETWORKS
    defaults: ClassVar[Mapping[str, Any]] = {"network": "convnet", "batch_size": 64, "eval_batch_size": 1000}
    options = frozenset({"test_data", "image_size", "grey", "channels_last", "augment", "label_smoothing"})
