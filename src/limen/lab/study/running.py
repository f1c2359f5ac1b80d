"""The runs of a study that are still to do, one after the other; each is stored when it ends."""

from __future__ import annotations

from collections.abc import Callable

from limen.lab.records import EpochRow, RunRecord
from limen.lab.study.listener import Listener
from limen.lab.study.store import Study, StudyFolder
from limen.lab.study.summary import summarise
from limen.lab.training.experiment import Experiment

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
    # Seeds outermost: an interrupted study has every activation for the seeds it has.
    wanted = [(activation, seed) for seed in settings.seeds for activation in settings.activations]
    folder.read_runs(study.settings)  # what cannot be used is said before anything is trained
    missing = [pair for pair in wanted if folder.read_run(*pair) is None]
    notes = [f"not replaced, because it is called as a function: {call}" for call in unreached]
    listener.found(study)
    listener.planned(len(wanted), len(wanted) - len(missing), notes)
    for activation, seed in missing:
        listener.run_started(activation, seed)
        run = run_one(activation, seed, listener.epoch).model_copy(update={"origin": study.origin})
        folder.write_run(run)
        runs = folder.read_runs(study.settings)
        folder.write_tables(runs, summarise(experiment.task, study.settings, runs, folder.read_costs()))
        listener.run_ended(run)
