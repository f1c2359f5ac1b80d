"""What must hold of settings before any data is read."""

from __future__ import annotations

from limen.activations.registry import create, find, parse
from limen.errors import SpecError
from limen.lab import networks
from limen.lab.option import as_device
from limen.lab.settings import StudySettings
from limen.lab.study.deciding import check_verdicts
from limen.lab.tasks import registry
from limen.lab.training import devices, loggers
from limen.lab.training.task import Task


def check(task: Task, settings: StudySettings) -> None:
    """Raise for anything in the settings that does not exist, before any data is read."""
    for activation in settings.activations:
        create(activation)
        if not find(parse(activation)[0]).keeps_shape:
            raise SpecError(f"{activation!r} changes the shape of its input, so it cannot be swapped in.")
    if len(set(settings.activations)) < len(settings.activations):
        raise SpecError(f"an activation is named twice in {', '.join(settings.activations)}; name each once.")
    if settings.baseline not in settings.activations:
        raise SpecError(
            f"the baseline {settings.baseline!r} is not among the activations "
            f"{', '.join(settings.activations)}; add it."
        )
    check_task(task, settings)
    as_device(settings.device)


def check_task(task: Task, settings: StudySettings) -> None:
    """Raise for an option or a network that the task does not have."""
    registry.check_options(task, settings)
    devices.check(settings, divisible=task.divisible)
    loggers.require(settings.log)
    check_verdicts(task.measure, settings)
    networks.find(settings.network, task.networks)
