"""What the tasks declare, by name; their code, which needs torch, is found by :mod:`.registry`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limen.errors import SpecError, suggest
from limen.lab.data.named import place_of
from limen.lab.declaration import Declaration
from limen.lab.tasks.anomaly.declared import Anomaly
from limen.lab.tasks.classification.declared import Classification
from limen.lab.tasks.detection.declared import Detection
from limen.lab.tasks.generation.declared import Generation
from limen.lab.tasks.language.declared import Language
from limen.lab.tasks.multilabel.declared import Multilabel
from limen.lab.tasks.numbers.declared import Forecasting, Regression
from limen.lab.tasks.segmentation.declared import Segmentation
from limen.lab.tasks.sequence.declared import Sequence
from limen.lab.tasks.text.declared import Text

if TYPE_CHECKING:
    from limen.lab.settings import StudySettings

ALL: tuple[Declaration, ...] = (
    Classification(),
    Multilabel(),
    Regression(),
    Forecasting(),
    Sequence(),
    Segmentation(),
    Detection(),
    Anomaly(),
    Generation(),
    Language(),
    Text(),
)
_TASKS = {task.name: task for task in ALL}


def names() -> tuple[str, ...]:
    """Every task.

    >>> "classification" in names()
    True
    """
    return tuple(_TASKS)


def find(name: str) -> Declaration:
    """What a task declares, by its name.

    >>> find("clasification")
    Traceback (most recent call last):
    limen.errors.SpecError: no task is called 'clasification'. Did you mean 'classification'?
    """
    if name not in _TASKS:
        raise SpecError(f"no task is called {name!r}. {suggest(name, _TASKS)}")
    return _TASKS[name]


def hidden_options(task: Declaration) -> frozenset[str]:
    """Settings that are other tasks' own."""
    return frozenset().union(*(other.options for other in ALL)) - task.options


def check_options(task: Declaration, settings: StudySettings) -> None:
    """Raise for a setting that the task does not have, and for one that it cannot use.

    >>> from limen.lab.settings import StudySettings
    >>> settings = StudySettings(data="digits", activations=("relu",), baseline="relu", seeds=(0,))
    >>> check_options(find("classification"), settings)
    """
    for name in sorted(hidden_options(task)):
        given = getattr(settings, name)
        if given != type(settings).model_fields[name].default:
            owners = [other.name for other in ALL if name in other.options]
            raise SpecError(
                f"--{name.replace('_', '-')} {given!r} is not an option of --task {task.name}, only of "
                f"{', '.join(owners)}; leave it out, or name the task."
            )
    if settings.augment not in task.augments:
        why = "images have no boxes" if settings.augment == "mosaic" else "masks or boxes would not follow the images"
        raise SpecError(
            f"--augment {settings.augment} is not for --task {task.name}, whose {why}; give "
            f"{' or '.join(task.augments[1:])}."
        )
    if settings.test_data is not None and place_of(settings.test_data) == place_of(settings.data):
        raise SpecError(
            f"--test-data {settings.test_data} is what --data names; give other data, or leave it out: the own test "
            "set is tested anyway."
        )
    task.check(settings)
