"""What must hold of settings before any data is read."""

from __future__ import annotations

from limen.activations.registry import create, find
from limen.errors import SpecError
from limen.lab import networks
from limen.lab.option import as_device
from limen.lab.settings import StudySettings
from limen.lab.study.foreseeing import check_list
from limen.lab.study.learning import check_training
from limen.lab.tasks import declared
from limen.lab.training import devices, loggers
from limen.lab.training.task import Task
from limen.naming import parse


def check(task: Task, settings: StudySettings) -> None:
    """Raise for anything in the settings that does not exist, before any data is read."""
    for activation in settings.activations:
        create(activation)
        if not find(parse(activation)[0]).keeps_shape:
            raise SpecError(f"{activation!r} changes the shape of its input, so it cannot be swapped in.")
    check_list(settings)
    check_task(task, settings)
    as_device(settings.device)


def check_task(task: Task, settings: StudySettings) -> None:
    """Raise for an option or a network that the task does not have."""
    declared.check_options(task, settings)
    check_training(settings)
    devices.check(settings, divisible=task.divisible)
    loggers.require(settings.log)
    networks.find(settings.network, task.networks)
