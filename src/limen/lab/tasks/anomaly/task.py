"""Anomaly detection: learned from normal images alone, tested on normal and anomalous ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import lightning as L
from torch import Tensor, nn
from torchmetrics import Metric as Meter

from limen.errors import SpecError, suggest
from limen.lab import networks
from limen.lab.data import TaskData, divide, load, names
from limen.lab.metric import LOSS, fraction
from limen.lab.records import Heatmaps
from limen.lab.settings import StudySettings
from limen.lab.tasks.anomaly.data import AnomalyData, divide_normal, one_class
from limen.lab.tasks.anomaly.deep_svdd import DeepSVDD, PretrainedDeepSVDD
from limen.lab.tasks.anomaly.distillation import Distillation
from limen.lab.tasks.anomaly.flow import Flow
from limen.lab.tasks.anomaly.folders import find_anomalies, read_anomalies
from limen.lab.tasks.anomaly.network import AnomalyNetwork
from limen.lab.tasks.anomaly.padim import PaDiM
from limen.lab.tasks.anomaly.picture import pictures
from limen.lab.tasks.anomaly.scores import ImageAUROC, PixelAUROC
from limen.lab.training.batches import Batches
from limen.lab.training.task import Task

MOST_PIXELS = 4_000_000
"""Of more test pixels than this the pixels' AUROC takes every n-th."""


class Anomaly(Task):
    """AUROC of the images decides; that of the pixels stands beside it where masks are known.

    The validation split is normal images, on which there is no AUROC: the epoch with the lowest loss of theirs is
    tested.
    """

    name = "anomaly"
    about = "normal images to learn from, anomalies to find: MVTec folders, kinds with masks, or one class of a set"
    measure = fraction("auroc", "AUROC")
    metrics = (measure, fraction("pixel_auroc", "pixel AUROC"))
    chooses = LOSS
    networks: ClassVar[Mapping[str, Callable[..., nn.Module]]] = {
        "deep-svdd": DeepSVDD,
        "deep-svdd-pretrained": PretrainedDeepSVDD,
        "distillation": Distillation,
        "padim": PaDiM,
        "flow": Flow,
    }
    defaults: ClassVar[Mapping[str, Any]] = {"network": "deep-svdd", "batch_size": 64, "eval_batch_size": 64}
    options = frozenset({"image_size", "grey", "channels_last", "normal_class"})
    observed = 64

    def load(self, settings: StudySettings) -> AnomalyData:
        """Images by kind, divided."""
        return divide_normal(
            **self._found(settings),
            validation_fraction=settings.validation_fraction,
            test_fraction=settings.test_fraction,
            seed=settings.split_seed,
            with_validation=not settings.test_chooses,
            limit_train=settings.limit_train,
            limit_test=settings.limit_test,
        )

    def _found(self, settings: StudySettings) -> dict[str, Any]:
        path = Path(settings.data).expanduser()
        if settings.data not in names() and path.exists():
            layout = find_anomalies(path, settings.normal_class)
            if layout is not None:
                splits, notes = read_anomalies(layout, settings.image_size, settings.grey)
                return {"name": path.name.partition(".")[0] or "data", **splits, "notes": notes}
        return self._one_class(settings)

    def _one_class(self, settings: StudySettings) -> dict[str, Any]:
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
            data = divide(
                data,
                validation_fraction=settings.validation_fraction,
                test_fraction=settings.test_fraction,
                seed=settings.split_seed,
                with_validation=False,
            )
        splits = one_class(data, data.classes.index(settings.normal_class))
        others = ", ".join(name for name in data.classes if name != settings.normal_class)
        note = f"Normal: {settings.normal_class}. Anomalous: {others}."
        return {"name": data.name, "anomalies": None, **splits, "notes": (note,)}

    def offered(self, data: TaskData) -> Mapping[str, Any]:
        """Image shape; no classes, so a network's factory for classification fits with one output less."""
        return networks.described(_divided(data).image_shape, 1)

    def output_shape(self, data: TaskData) -> tuple[int, ...]:
        """One number a pixel."""
        return _divided(data).image_shape[1:]

    def begin(self, network: nn.Module, data: TaskData, settings: StudySettings) -> None:
        """Let the network see the normal images once, as far as it must."""
        if isinstance(network, AnomalyNetwork):
            network.prepare(Batches(data.train, settings.batch_size, seed=0, device=settings.device))

    def settle(self, network: nn.Module, data: TaskData, settings: StudySettings) -> None:
        """Let the network measure the normal images with the weights it has."""
        if isinstance(network, AnomalyNetwork):
            network.settle(Batches(data.train, settings.eval_batch_size, device=settings.device))

    def trainer_module(self, network: nn.Module, data: TaskData, settings: StudySettings) -> L.LightningModule:
        """The network's own objective, of normal images."""
        from limen.lab.tasks.anomaly.training import OneClass

        return OneClass(network, self, data, settings)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean of the maps: what a network of one's own is trained to make small on normal images."""
        return outputs.mean()

    def objective(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """The network's own objective, or the mean of its maps."""
        if isinstance(network, AnomalyNetwork):
            return network.objective(inputs)
        return self.loss(network(inputs), targets)

    def meters(self, data: TaskData) -> dict[str, Meter]:
        """AUROC of images, and of pixels where masks are known."""
        found = _divided(data)
        stride = math.ceil(found.test.masks.numel() / MOST_PIXELS)
        pixels: dict[str, Meter] = {"pixel_auroc": PixelAUROC(stride)} if found.has_masks else {}
        return {"auroc": ImageAUROC(), **pixels}

    def show(self, network: nn.Module, data: TaskData, settings: StudySettings) -> Heatmaps:
        """Some test images with their maps."""
        return pictures(network, _divided(data), settings.device)


def _divided(data: TaskData) -> AnomalyData:
    assert isinstance(data, AnomalyData)
    return data
