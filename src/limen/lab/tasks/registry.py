"""The kinds of problems that a study can compare activations on."""

from __future__ import annotations

from limen.errors import SpecError, suggest
from limen.lab.settings import StudySettings
from limen.lab.tasks.anomaly.task import Anomaly
from limen.lab.tasks.classification.task import Classification
from limen.lab.tasks.detection.task import Detection
from limen.lab.tasks.generation.task import Generation
from limen.lab.tasks.numbers.forecasting import Forecasting
from limen.lab.tasks.numbers.regression import Regression
from limen.lab.tasks.segmentation.task import Segmentation
from limen.lab.tasks.sequence.task import Sequence
from limen.lab.training.task import Task

ALL: tuple[Task, ...] = (
    Classification(),
    Regression(),
    Forecasting(),
    Sequence(),
    Segmentation(),
    Detection(),
    Anomaly(),
    Generation(),
)
_TASKS = {task.name: task for task in ALL}


def names() -> tuple[str, ...]:
    """Every task.

    >>> "classification" in names()
    True
    """
    return tuple(_TASKS)


def find(name: str) -> Task:
    """A task by name.

    >>> find("clasification")
    Traceback (most recent call last):
    limen.errors.SpecError: no task is called 'clasification'. Did you mean 'classification'?
    """
    if name not in _TASKS:
        raise SpecError(f"no task is called {name!r}. {suggest(name, _TASKS)}")
    return _TASKS[name]


def hidden_options(task: Task) -> frozenset[str]:
    """Settings that are other tasks' own."""
    return frozenset().union(*(other.options for other in ALL)) - task.options


def check_options(task: Task, settings: StudySettings) -> None:
    """Raise for a setting that the task does not have, and for one that it cannot use.

    >>> settings = StudySettings(data="digits", activations=("relu",), baseline="relu", seeds=(0,))
    >>> check_options(find("classification"), settings)
    """
    for name in sorted(hidden_options(task)):
        given = getattr(settings, name)
        if given != StudySettings.model_fields[name].default:
            owners = [other.name for other in ALL if name in other.options]
            raise SpecError(
                f"--{name.replace('_', '-')} {given!r} is not an option of --task {task.name}, only of "
                f"{' and '.join(owners)}; leave it out, or name the task."
            )
    task.check(settings)
