"""Anomaly detection, as far as it is known without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from limen.lab.declaration import Declaration
from limen.lab.metric import LOSS, fraction
from limen.lab.networks.catalogue import Catalogue

HERE = "limen.lab.tasks.anomaly"


class Anomaly(Declaration):
    """AUROC of the images decides; that of the pixels stands beside it where masks are known."""

    name = "anomaly"
    about = "normal images to learn from, anomalies to find: MVTec folders, kinds with masks, or one class of a set"
    measure = replace(fraction("auroc", "AUROC"), always=False)
    metrics = (measure, replace(fraction("pixel_auroc", "pixel AUROC"), always=False))
    chooses = LOSS
    networks = Catalogue(
        {
            "deep-svdd": f"{HERE}.deep_svdd:DeepSVDD",
            "deep-svdd-pretrained": f"{HERE}.deep_svdd:PretrainedDeepSVDD",
            "distillation": f"{HERE}.distillation:Distillation",
            "padim": f"{HERE}.padim:PaDiM",
            "flow": f"{HERE}.flow:Flow",
        }
    )
    defaults: ClassVar[Mapping[str, Any]] = {"network": "deep-svdd", "batch_size": 64, "eval_batch_size": 64}
    options = frozenset({"image_size", "grey", "channels_last", "normal_class", "orientation"})
    divisible = False
    observed = 64
