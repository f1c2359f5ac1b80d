"""What every kind of study does: check, read the data, try the network, train what is missing, conclude."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from limen.lab.settings import StudySettings
from limen.lab.study.listener import Listener
from limen.lab.study.preparing import environment, prepare, probe
from limen.lab.study.result import Result, conclude, formulas
from limen.lab.study.store import Study, StudyFolder
from limen.lab.tasks import registry
from limen.lab.training import together
from limen.lab.training.experiment import Experiment
from limen.lab.training.task import Task

S = TypeVar("S", bound=StudySettings)
Train = Callable[[Experiment, Study, StudyFolder, Listener, list[str]], None]
"""Trains the runs that the folder lacks, and times a step where that is missing; the last are calls not replaced."""


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
) -> Result:
    """Run or continue the study that ``settings`` describe in the folder ``out``, after ``check`` found no fault."""
    task = registry.find(settings.task)
    check(task, settings)
    with together.folder_of(out, settings.devices) as place:
        experiment = together.on_own_device(replace(prepare(task, settings), place=place))
        return _conducted(train, experiment, StudyFolder(place), listener, command=command, recipe=recipe, quick=quick)


def _conducted(
    train: Train,
    experiment: Experiment,
    folder: StudyFolder,
    listener: Listener,
    *,
    command: str,
    recipe: str,
    quick: bool,
) -> Result:
    settings = experiment.settings
    unreached = probe(experiment)
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
        train(experiment, study, folder, listener, unreached)
        return conclude(experiment.task, folder, study)
