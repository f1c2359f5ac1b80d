"""From settings to what the runs share: the data divided, the network tried, versions and devices noted."""

from __future__ import annotations

import platform
from importlib import metadata

import torch

import limen
from limen.errors import DataError, SpecError, StudyError
from limen.lab.settings import StudySettings
from limen.lab.training import transfer
from limen.lab.training.batches import Batches
from limen.lab.training.experiment import Experiment
from limen.lab.training.task import ANY, Task


def prepare(task: Task, settings: StudySettings) -> Experiment:
    """Load the data and divide it; with it other data that are tested too, where there are some."""
    data = task.load(settings)
    if settings.test_data is not None:
        try:
            data = transfer.added(data, task.other(data, settings), settings)
        except (DataError, SpecError) as error:
            raise type(error)(f"--test-data {settings.test_data}: {error}") from error
    return Experiment(task, data, settings)


def probe(experiment: Experiment) -> list[str]:
    """Build the network once and run two examples through it; return the activations that a swap cannot reach."""
    # They take seconds to import, and what is wrong in the data has been said by now.
    from limen.lab.training import run as training
    from limen.lab.training.room import require_step
    from limen.lab.training.schedules import require_steps
    from limen.lab.training.trial import outputs_of

    task, data, settings = experiment.task, experiment.data, experiment.settings
    network, report = training.build(experiment, settings.baseline, seed=0)
    require_step(experiment)
    require_steps(settings, len(experiment.training(0)))
    inputs, _ = next(iter(Batches(data.train, 2)))
    unit = data.facts().unit
    outputs = outputs_of(network, inputs, experiment)
    shape = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else None
    wanted = (len(inputs), *task.output_shape(data))
    if shape is None or not _fits(shape, wanted):
        given = type(outputs).__name__ if shape is None else f"outputs of shape {shape}"
        classes = len(data.facts().classes)
        of = f"{len(inputs)} {unit}" + (f" and {classes} classes" if classes else "")
        must = "one number a class" if wanted[1:] == (classes,) else f"outputs of shape {wanted}"
        raise StudyError(f"the network {settings.network!r} gives {given} for {of}; it must give {must}.")
    return report.unreached


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return len(shape) == len(wanted) and all(w in (s, ANY) for s, w in zip(shape, wanted, strict=True))


def environment(experiment: Experiment) -> dict[str, str]:
    """Versions and devices, for the record."""
    settings = experiment.settings
    device = torch.device(settings.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    packages = ("torch", "lightning", "torchmetrics", "scipy", *experiment.task.packages)
    return {
        "limen": limen.__version__,
        "python": platform.python_version(),
        **{package: metadata.version(package) for package in packages},
        "system": f"{platform.system()} {platform.machine()}",
        "device": f"{settings.device} ({name})",
        "threads": str(torch.get_num_threads()),
    }
