"""Sequence recognition, as far as it is known without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from limen.lab.declaration import Declaration
from limen.lab.metric import ACCURACY, F1
from limen.lab.networks.catalogue import Catalogue

HERE = "limen.lab.tasks.sequence"


class Sequence(Declaration):
    """Cross-entropy; accuracy decides, macro F1 beside it."""

    name = "sequence"
    about = "classes of sequences: class folders of .npy arrays (steps, features), or of images, read row by row"
    measure = ACCURACY
    metrics = (ACCURACY, F1)
    networks = Catalogue(
        {
            "gru": f"{HERE}.gated:GRU",
            "mopgru": f"{HERE}.gated:MOPGRU",
        }
    )
    defaults: ClassVar[Mapping[str, Any]] = {"network": "gru", "batch_size": 32, "eval_batch_size": 500}
    options = frozenset({"test_data", "image_size", "grey", "label_smoothing"})
