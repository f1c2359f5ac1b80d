"""A selection from settings to report: for every seed the baseline, the search by mixtures, the optimised network.

Each seed repeats the whole algorithm with its own search, so that the intervals cover the luck of the search, too. The
plan of all seeds together is ``plan.json``.
"""

from __future__ import annotations

from pathlib import Path

from limen.activations.mixture import AdAct
from limen.activations.registry import create, find
from limen.activations.spec import spec_of
from limen.errors import SpecError
from limen.lab.executing.execution import ONE, Execution
from limen.lab.option import as_device
from limen.lab.settings import OPTIMIZED, SEARCHED, SelectSettings
from limen.lab.study.agenda import Pair
from limen.lab.study.checks import check_task
from limen.lab.study.conducting import conduct
from limen.lab.study.listener import Listener
from limen.lab.study.result import Result
from limen.lab.study.running import train_missing
from limen.lab.study.store import StudyFolder
from limen.lab.study.study import Study
from limen.lab.training.experiment import Experiment
from limen.lab.training.task import Task
from limen.naming import parse


def select(
    settings: SelectSettings,
    out: Path,
    listener: Listener,
    *,
    command: str = "",
    recipe: str = "",
    quick: bool = False,
    execution: Execution = ONE,
) -> Result:
    """Run or continue the selection that ``settings`` describe in the folder ``out``."""
    return conduct(
        check, _train, settings, out, listener, command=command, recipe=recipe, quick=quick, execution=execution
    )


def _train(
    experiment: Experiment,
    study: Study,
    folder: StudyFolder,
    listener: Listener,
    notes: list[str],
    execution: Execution,
) -> Study:
    # It takes seconds to import: what is wrong in the settings or in the data has been said by now.
    from limen.lab.study.searching import Selection

    assert isinstance(experiment.settings, SelectSettings)
    selection = Selection(experiment, experiment.settings)
    train_missing(experiment, study, folder, listener, notes, selection, execution, _needs)
    selection.measure_cost(folder, listener, study.origin)
    return study


def _needs(pair: Pair) -> Pair | None:
    """The optimised network is built by the search of its seed."""
    activation, seed = pair
    return (SEARCHED, seed) if activation == OPTIMIZED else None


def check(task: Task, settings: SelectSettings) -> None:
    """Raise for anything in the settings that does not exist, before any data is read."""
    for candidate in settings.candidates:
        spec_of(create(candidate))
    AdAct(settings.candidates)
    if settings.baseline in (SEARCHED, OPTIMIZED):
        raise SpecError(f"the baseline of a selection is a fixed activation such as relu, not {settings.baseline!r}.")
    create(settings.baseline)
    if not find(parse(settings.baseline)[0]).keeps_shape:
        raise SpecError(f"{settings.baseline!r} changes the shape of its input, so it cannot be swapped in.")
    check_task(task, settings)
    as_device(settings.device)
