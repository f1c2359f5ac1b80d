"""The kinds of problems that a study can compare activations on."""

from __future__ import annotations

from limen.lab.tasks import declared
from limen.lab.tasks.anomaly.task import Anomaly
from limen.lab.tasks.classification.task import Classification
from limen.lab.tasks.declared import check_options as check_options
from limen.lab.tasks.declared import hidden_options as hidden_options
from limen.lab.tasks.declared import names as names
from limen.lab.tasks.detection.task import Detection
from limen.lab.tasks.generation.task import Generation
from limen.lab.tasks.language.task import Language
from limen.lab.tasks.multilabel.task import Multilabel
from limen.lab.tasks.numbers.forecasting import Forecasting
from limen.lab.tasks.numbers.regression import Regression
from limen.lab.tasks.segmentation.task import Segmentation
from limen.lab.tasks.sequence.task import Sequence
from limen.lab.tasks.text.task import Text
from limen.lab.training.task import Task

_TASKS: dict[str, Task] = {
    task.name: task
    for task in (
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
}
ALL = tuple(_TASKS[name] for name in names())


def find(name: str) -> Task:
    """A task by name.

    >>> find("clasification")
    Traceback (most recent call last):
    limen.errors.SpecError: no task is called 'clasification'. Did you mean 'classification'?
    """
    return _TASKS[declared.find(name).name]
