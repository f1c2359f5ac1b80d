"""Generation, as far as it is known without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from limen.lab.declaration import Declaration
from limen.lab.metric import NOT_NEGATIVE, Metric
from limen.lab.networks.catalogue import Catalogue

HERE = "limen.lab.tasks.generation"


class Generation(Declaration):
    """Two networks against each other; the distance of generated from real images decides, and lower is better."""

    name = "generation"
    about = "images like those of a folder, an archive, or a built-in set"
    measure = Metric("small_fid", "small FID", higher_is_better=False, bounds=NOT_NEGATIVE)
    metrics = (measure,)
    networks = Catalogue(
        {
            "dcgan": f"{HERE}.dcgan:DCGAN",
        }
    )
    defaults: ClassVar[Mapping[str, Any]] = {
        "network": "dcgan",
        "batch_size": 64,
        "eval_batch_size": 250,
        "learning_rate": 2e-4,
    }
    options = frozenset({"image_size", "grey", "channels_last"})
    divisible = False
    observed = 100
    reference = "training images"
