"""Anomaly detection: learned from normal images alone, tested on normal and anomalous ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from limen.errors import SpecError, suggest
from limen.lab import networks
from limen.lab.data import ByClass, Division, divide, load, names
from limen.lab.records import Heatmaps
from limen.lab.settings import StudySettings
from limen.lab.tasks.anomaly import declared
from limen.lab.tasks.anomaly.data import AnomalyData, one_class
from limen.lab.tasks.anomaly.division import divide_normal
from limen.lab.tasks.anomaly.folders import find_anomalies, read_anomalies
from limen.lab.tasks.anomaly.network import AnomalyNetwork
from limen.lab.tasks.anomaly.picture import pictures
from limen.lab.tasks.anomaly.scores import ImageAUROC, PixelAUROC
from limen.lab.tasks.anomaly.training import OneClass
from limen.lab.training.batches import Batches
from limen.lab.training.meter import Meter
from limen.lab.training.task import Task

MOST_PIXELS = 4_000_000
"""Of more test pixels than this the pixels' AUROC takes every n-th."""


class Anomaly(declared.Anomaly, Task[AnomalyData]):
    """AUROC of the images decides; that of the pixels stands beside it where masks are known.

    The validation split is normal images, on which there is no AUROC: the epoch with the lowest loss of theirs is
    tested.
    """

    def load(self, settings: StudySettings) -> AnomalyData:
        """Images by kind, divided."""
        division, path = Division.of(settings), Path(settings.data).expanduser()
        found = None
        if settings.data not in names() and path.exists():
            found = find_anomalies(path, settings.normal_class)
        if found is None:
            return divide_normal(self._one_class(settings, division), division)
        name = path.name.partition(".")[0] or "data"
        read = read_anomalies(found, name, settings.image_size, settings.grey, settings.orientation)
        return divide_normal(read, division)

    def _one_class(self, settings: StudySettings, division: Division) -> AnomalyData:
        """One class of a set for classification as the normal one."""
        data = load(
            settings.data,
            data_dir=Path(settings.data_dir) if settings.data_dir else None,
            image_size=settings.image_size,
            grey=settings.grey,
        )
        if settings.normal_class is None:
            raise SpecError(
                f"which class of {data.name} is normal? Give --normal-class, one of {', '.join(data.classes)}; or lay "
                "the data out as train/good, test/good, test/KIND."
            )
        if settings.normal_class not in data.classes:
            raise SpecError(
                f"{data.name} has no class {settings.normal_class!r}. {suggest(settings.normal_class, data.classes)}"
            )
        if data.test is None:
            tested = replace(division, with_validation=False, limit_train=None, limit_test=None)
            data = divide(data, tested, ByClass())
        return one_class(data, data.classes.index(settings.normal_class))

    def offered(self, data: AnomalyData) -> Mapping[str, Any]:
        """Image shape; no classes, so a network's factory for classification fits with one output less."""
        return networks.described(data.image_shape, 1)

    def output_shape(self, data: AnomalyData) -> tuple[int, ...]:
        """One number a pixel."""
        return data.image_shape[1:]

    def begin(self, network: nn.Module, data: AnomalyData, settings: StudySettings) -> None:
        """Let the network see the normal images once, as far as it must."""
        if isinstance(network, AnomalyNetwork):
            network.prepare(Batches(data.train, settings.batch_size, seed=0, device=settings.device))

    def settle(self, network: nn.Module, data: AnomalyData, settings: StudySettings) -> None:
        """Let the network measure the normal images with the weights it has."""
        if isinstance(network, AnomalyNetwork):
            network.settle(Batches(data.train, settings.eval_batch_size, device=settings.device))

    def learner(self, network: nn.Module, data: AnomalyData, settings: StudySettings) -> OneClass:
        """The network's own objective, of normal images."""
        return OneClass(network, self, data, settings)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean of the maps: what a network of one's own is trained to make small on normal images."""
        return outputs.mean()

    def objective(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """The network's own objective, or the mean of its maps."""
        if isinstance(network, AnomalyNetwork):
            return network.objective(inputs)
        return self.loss(network(inputs), targets)

    def meters(self, data: AnomalyData) -> dict[str, Meter]:
        """AUROC of images, and of pixels where masks are known."""
        stride = math.ceil(data.tested.masks.numel() / MOST_PIXELS)
        pixels: dict[str, Meter] = {"pixel_auroc": PixelAUROC(stride)} if data.has_masks else {}
        return {"auroc": ImageAUROC(), **pixels}

    def show(self, network: nn.Module, data: AnomalyData, settings: StudySettings) -> Heatmaps:
        """Some test images with their maps."""
        return pictures(network, data, settings.device)
