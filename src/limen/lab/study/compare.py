"""A comparison from settings to report: every run that is missing is trained, then all is summarised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from limen.lab.executing.execution import ONE, Execution
from limen.lab.executing.work import Job
from limen.lab.records import EpochRow, RunRecord
from limen.lab.settings import StudySettings
from limen.lab.study.agenda import Pair
from limen.lab.study.checks import check
from limen.lab.study.conducting import conduct
from limen.lab.study.listener import Listener
from limen.lab.study.result import Result
from limen.lab.study.running import keep_costs, train_missing
from limen.lab.study.store import StudyFolder
from limen.lab.study.study import Study
from limen.lab.study.tuning import tuned
from limen.lab.training.experiment import Experiment


def compare(
    settings: StudySettings,
    out: Path,
    listener: Listener,
    *,
    command: str = "",
    recipe: str = "",
    quick: bool = False,
    execution: Execution = ONE,
) -> Result:
    """Run or continue the comparison that ``settings`` describe in the folder ``out``."""
    return conduct(
        check, _train, settings, out, listener, command=command, recipe=recipe, quick=quick, execution=execution
    )


@dataclass(frozen=True)
class Comparison:
    """What trains each run of a comparison."""

    experiment: Experiment

    def run(self, job: Job, listener: Callable[[EpochRow], None]) -> RunRecord:
        """One activation, one seed; at rates of its own where its name says them."""
        from limen.lab.training import notes
        from limen.lab.training import run as training

        if job.needed is not None:  # its own rates are the shared ones
            return job.needed.model_copy(update={"activation": job.activation, "seconds": 0.0})
        experiment = replace(self.experiment, settings=self.experiment.settings.of(job.activation))
        extra = notes.extra(experiment)
        return training.run(experiment, job.activation, job.seed, listener, extra=extra)


def _train(
    experiment: Experiment,
    study: Study,
    folder: StudyFolder,
    listener: Listener,
    notes: list[str],
    execution: Execution,
) -> Study:
    # It takes seconds to import: what is wrong in the settings or in the data has been said by now. And before any
    # process is made that computes runs, so that all of them have it.
    from limen.lab.training import cost

    if experiment.settings.tune:
        experiment, study = tuned(experiment, study, folder, listener, execution)
    settings = experiment.settings

    def needs(pair: Pair) -> Pair | None:
        same = settings.same_as(pair[0])
        return (same, pair[1]) if same else None

    train_missing(experiment, study, folder, listener, notes, Comparison(experiment), execution, needs)
    if not set(study.settings.activations) <= {row.activation for row in folder.read_costs()}:
        every = replace(experiment, settings=study.settings)
        keep_costs(folder, lambda: cost.measure(every, listener.timing), study.origin)
    return study
