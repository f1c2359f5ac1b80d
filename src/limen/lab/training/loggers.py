"""Epochs told to TensorBoard, MLflow or Weights & Biases as well, by Lightning's own classes."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from limen.errors import missing
from limen.lab.records import EpochRow
from limen.lab.training import processes
from limen.lab.training.experiment import Experiment

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

PACKAGES = {"tensorboard": ("tensorboard", "tensorboardX"), "mlflow": ("mlflow",), "wandb": ("wandb",)}
"""Any of which serves."""
FOLDER = "logs"
"""In the study's."""


def require(names: Sequence[str]) -> None:
    """Raise for one whose package is not installed."""
    for name in names:
        if not any(importlib.util.find_spec(package) for package in PACKAGES[name]):
            raise missing(name, f"--log {name} needs {name}")


class Told:
    """What is told of one run."""

    def __init__(self, loggers: Sequence[Logger]) -> None:
        self.loggers = loggers

    def __call__(self, row: EpochRow) -> None:
        """The numbers of an epoch."""
        values = {name: value for name, value in row.model_dump(exclude={"epoch"}).items() if value is not None}
        for logger in self.loggers:
            logger.log_metrics(values, step=row.epoch)


@contextmanager
def telling(experiment: Experiment, activation: str, seed: int) -> Iterator[Told]:
    """Whom the study's setting ``log`` names hears of a run, under its activation and seed."""
    names = experiment.settings.log if processes.rank() == 0 else ()
    loggers = [_logger(name, experiment, f"{activation}-seed{seed}") for name in names]
    for logger in loggers:
        logger.log_hyperparams({"activation": activation, "seed": seed, **_flat(experiment)})
    status = "failed"
    try:
        yield Told(loggers)
        status = "success"
    finally:
        for logger in loggers:
            logger.finalize(status)
        if "wandb" in names:
            importlib.import_module("wandb").finish()  # or the next run would go on with this one


def _flat(experiment: Experiment) -> dict[str, str | int | float | bool]:
    """The settings that are one value."""
    found = experiment.settings.model_dump(mode="json", exclude={"seeds", "activations"})
    return {name: value for name, value in found.items() if isinstance(value, (str, int, float, bool))}


def _logger(kind: str, experiment: Experiment, name: str) -> Logger:
    # Lightning takes seconds to import.
    from lightning.pytorch.loggers import MLFlowLogger, TensorBoardLogger, WandbLogger

    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.ERROR)
    place = (experiment.place or Path()) / FOLDER
    place.mkdir(parents=True, exist_ok=True)
    study = f"{experiment.settings.data}-{experiment.settings.network}".replace("/", "-")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "tensorboard":
            return TensorBoardLogger(place, name="tensorboard", version=name, default_hp_metric=False)
        if kind == "mlflow":
            # MLflow 3.17 refuses folders otherwise, and a database would be one that several runs at a time wait for.
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
            return MLFlowLogger(experiment_name=study, run_name=name, save_dir=str(place / "mlflow"))
        return WandbLogger(project=study, name=name, save_dir=place, settings={"silent": True})
