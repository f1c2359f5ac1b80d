"""A comparison from settings to report: every run that is missing is trained, then all is summarised."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from limen.lab.settings import StudySettings
from limen.lab.study.checks import check
from limen.lab.study.conducting import conduct
from limen.lab.study.listener import Listener
from limen.lab.study.result import Result
from limen.lab.study.running import keep_costs, train_missing
from limen.lab.study.store import Study, StudyFolder
from limen.lab.training.experiment import Experiment


def compare(
    settings: StudySettings, out: Path, listener: Listener, *, command: str = "", recipe: str = "", quick: bool = False
) -> Result:
    """Run or continue the comparison that ``settings`` describe in the folder ``out``."""
    return conduct(check, _train, settings, out, listener, command=command, recipe=recipe, quick=quick)


def _train(experiment: Experiment, study: Study, folder: StudyFolder, listener: Listener, unreached: list[str]) -> None:
    # Lightning takes seconds to import: what is wrong in the settings or in the data has been said by now.
    from limen.lab.training import cost, notes
    from limen.lab.training import run as training

    run_one = partial(training.run, experiment, extra=notes.extra(experiment))
    train_missing(experiment, study, folder, listener, unreached, run_one)
    if not set(study.settings.activations) <= {row.activation for row in folder.read_costs()}:
        every = replace(experiment, settings=study.settings)
        keep_costs(folder, lambda: cost.measure(every, listener.timing), study.origin)
