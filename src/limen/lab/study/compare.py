"""A comparison from settings to report: every run that is missing is trained, then all is summarised."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from limen.lab.settings import StudySettings
from limen.lab.study.checks import check
from limen.lab.study.listener import Listener
from limen.lab.study.preparing import environment, prepare, probe
from limen.lab.study.result import Result, conclude
from limen.lab.study.running import keep_costs, train_missing
from limen.lab.study.store import StudyFolder
from limen.lab.tasks import registry
from limen.lab.training import cost, notes
from limen.lab.training import run as training


def compare(
    settings: StudySettings, out: Path, listener: Listener, *, command: str = "", recipe: str = "", quick: bool = False
) -> Result:
    """Run or continue the comparison that ``settings`` describe in the folder ``out``."""
    task = registry.find(settings.task)
    check(task, settings)
    experiment = prepare(task, settings)
    unreached = probe(experiment)
    folder = StudyFolder(out)
    with folder.lock():
        facts = experiment.data.facts()
        study = folder.open(settings, facts, environment(experiment), command, recipe=recipe, quick=quick)
        run_one = partial(training.run, experiment, extra=notes.extra(experiment))
        train_missing(experiment, study, folder, listener, unreached, run_one)
        if not set(study.settings.activations) <= {row.activation for row in folder.read_costs()}:
            every = replace(experiment, settings=study.settings)
            keep_costs(folder, lambda: cost.measure(every, listener.timing))
        return conclude(task, folder, study)
