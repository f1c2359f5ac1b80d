"""What every kind of study does: check, read the data, try the network, train what is missing, conclude."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch

from limen.lab.executing.execution import Execution
from limen.lab.executing.on_ray import require_answer
from limen.lab.settings import StudySettings
from limen.lab.study.listener import Listener
from limen.lab.study.preparing import environment, prepare, probe
from limen.lab.study.result import Result, conclude, formulas
from limen.lab.study.store import StudyFolder
from limen.lab.study.study import Study
from limen.lab.tasks import registry
from limen.lab.training import together
from limen.lab.training.experiment import Experiment
from limen.lab.training.schedules import advice
from limen.lab.training.task import Task

S = TypeVar("S", bound=StudySettings)
Train = Callable[[Experiment, Study, StudyFolder, Listener, list[str], Execution], Study]
"""Trains the runs that the folder lacks, and times a step where that is missing; the list are notes for the reader.

What comes back is the study as it then is: a tuning adds to it."""


def conduct(
    check: Callable[[Task, S], None],
    train: Train,
    settings: S,
    out: Path,
    listener: Listener,
    *,
    command: str,
    recipe: str,
    quick: bool,
    execution: Execution,
) -> Result:
    """Run or continue the study that ``settings`` describe in the folder ``out``, after ``check`` found no fault."""
    settings = _with_threads_of(StudyFolder(out), settings)
    task = registry.find(settings.task)
    execution.check(settings.device, settings.devices)
    check(task, settings)
    if execution.on_ray:
        require_answer(execution.address)
    with _threads(settings.threads_per_run), together.folder_of(out, settings.devices) as place:
        experiment = together.on_own_device(replace(prepare(task, settings), place=place.absolute()))
        return _conducted(
            train, experiment, StudyFolder(place), listener, execution, command=command, recipe=recipe, quick=quick
        )


def _conducted(
    train: Train,
    experiment: Experiment,
    folder: StudyFolder,
    listener: Listener,
    execution: Execution,
    *,
    command: str,
    recipe: str,
    quick: bool,
) -> Result:
    settings = experiment.settings
    notes = [f"not replaced, because it is called as a function: {call}" for call in probe(experiment)]
    notes += advice(settings, len(experiment.training(0)))
    with folder.lock():
        study = folder.open(
            settings,
            experiment.data.facts(),
            environment(experiment),
            command,
            recipe=recipe,
            quick=quick,
            formulas=formulas(settings),
        )
        study = train(experiment, study, folder, listener, notes, execution)
        folder.require_study()
        return conclude(experiment.task, folder, study)


def _with_threads_of(folder: StudyFolder, settings: S) -> S:
    """A study goes on with the threads that its runs began with, unless others are asked for."""
    if "threads_per_run" in settings.model_fields_set or (known := folder.read_study()) is None:
        return settings
    return settings.model_copy(update={"threads_per_run": known.settings.threads_per_run})


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Compute with so many threads, also what is timed."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
