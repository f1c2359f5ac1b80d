"""The runs of a study that are still to do, one after the other; each is stored when it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from limen.lab.records import CostRow, EpochRow, Origin, RunRecord, failed_run
from limen.lab.report.condensing import bare
from limen.lab.study.deciding import Deciding, wanted
from limen.lab.study.listener import Listener
from limen.lab.study.store import Study, StudyFolder
from limen.lab.study.tables import Tables
from limen.lab.training.experiment import Experiment
from limen.memory import is_out_of_memory

NO_MEMORY = "there was not enough memory"
"""How the failure of such a run begins."""
FIXED = {"max_seeds": None}
"""As if every seed were wanted."""
LONGEST_REASON = 200
"""Characters."""
Runner = Callable[[str, int, Callable[[EpochRow], None]], RunRecord]
"""Trains one of the study's networks: its name, the seed, whom to tell about epochs."""


def train_missing(
    experiment: Experiment,
    study: Study,
    folder: StudyFolder,
    listener: Listener,
    unreached: list[str],
    run_one: Runner,
) -> None:
    """Train every run that the folder does not have; each is stored when it ends."""
    settings = experiment.settings
    # All of them: what cannot be used is said before anything is trained.
    stored = folder.read_runs(study.settings, bare)
    total = len(settings.activations) * len(settings.seeds)
    agenda = Deciding(experiment.task, settings, [*stored])
    notes = [f"not replaced, because it is called as a function: {call}" for call in unreached]
    listener.found(study)
    listener.planned(total, total - len(wanted(experiment.task, settings.model_copy(update=FIXED), stored)), notes)
    with Tables(experiment.task, study, folder, stored) as tables:
        while (pair := agenda.next()) is not None:
            activation, seed = pair
            listener.run_started(activation, seed)
            run = _run(run_one, activation, seed, listener).model_copy(update={"origin": study.origin})
            folder.write_run(run)
            tables.add(run)
            agenda.ended(run)
            listener.run_ended(run)


def keep_costs(folder: StudyFolder, measure: Callable[[], Iterable[CostRow]], origin: Origin) -> None:
    """Measure and store; where there is no memory for it the runs are shown without their cost."""
    try:
        folder.write_costs(measure(), origin)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise


def _run(run_one: Runner, activation: str, seed: int, listener: Listener) -> RunRecord:
    """The run, or that there was no memory for it: another activation may need less, and those done are kept."""
    try:
        return run_one(activation, seed, listener.epoch)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split())[:LONGEST_REASON] or type(error).__name__
    return failed_run(activation, seed, f"{NO_MEMORY} ({reason}).")
