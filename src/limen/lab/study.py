"""A comparison study from settings to report: every run that is missing is trained, then all is summarised."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Protocol

import torch

import limen
from limen.activations.describe import formula_text
from limen.activations.registry import create, find, parse
from limen.errors import SpecError, StudyError
from limen.lab import cost, networks, observing, tasks, train
from limen.lab.batches import Batches
from limen.lab.data import TaskData
from limen.lab.records import CostRow, EpochRow, RunRecord, SummaryRow
from limen.lab.report import Contents, render
from limen.lab.settings import OPTIMIZED, SEARCHED, SelectSettings, StudySettings
from limen.lab.statistics import compare as compare_paired
from limen.lab.statistics import correct, interval
from limen.lab.store import Study, StudyFolder
from limen.selection import Plan, merge

REFERENCE = "reference"
"""The verdict of a row that is no activation."""


class Listener(Protocol):
    """What a study tells whoever shows its progress."""

    def planned(self, total: int, done: int, notes: Sequence[str]) -> None:
        """So many runs in all, so many already stored; notes a reader should see."""

    def run_started(self, activation: str, seed: int) -> None:
        """A run begins."""

    def epoch(self, row: EpochRow) -> None:
        """The current run has finished an epoch."""

    def run_ended(self, run: RunRecord) -> None:
        """The current run is stored."""

    def timing(self, done: int, total: int) -> None:
        """The cost is being measured, round by round."""


@dataclass(frozen=True)
class Result:
    """A study that is complete."""

    study: Study
    runs: tuple[RunRecord, ...]
    costs: tuple[CostRow, ...]
    summary: tuple[SummaryRow, ...]
    report: Path
    plan: Plan | None = None
    """What a selection chose, over all its seeds."""

    @property
    def failed(self) -> tuple[RunRecord, ...]:
        """The runs whose loss stopped being finite."""
        return tuple(run for run in self.runs if run.status == "failed")


def compare(
    settings: StudySettings, out: Path, listener: Listener, *, command: str = "", recipe: str = "", quick: bool = False
) -> Result:
    """Run or continue the comparison that ``settings`` describe in the folder ``out``."""
    check(settings)
    data = prepare(settings)
    unreached = probe(settings, data)
    folder = StudyFolder(out)
    with folder.lock():
        study = folder.open(settings, data.facts(), environment(settings), command, recipe=recipe, quick=quick)
        train_missing(
            settings,
            study,
            folder,
            listener,
            unreached,
            partial(train.run, settings, data, extra=observing.extra(settings, data)),
        )
        if not set(study.settings.activations) <= {row.activation for row in folder.read_costs()}:
            folder.write_costs(cost.measure(study.settings, data, listener.timing))
        return conclude(folder, study)


def check(settings: StudySettings) -> None:
    """Raise for anything in the settings that does not exist, before any data is read."""
    for activation in settings.activations:
        create(activation)
        if not find(parse(activation)[0]).keeps_shape:
            raise SpecError(f"{activation!r} changes the shape of its input, so it cannot be swapped in.")
    if len(set(settings.activations)) < len(settings.activations):
        raise SpecError(f"an activation is named twice in {', '.join(settings.activations)}; name each once.")
    if settings.baseline not in settings.activations:
        raise SpecError(
            f"the baseline {settings.baseline!r} is not among the activations "
            f"{', '.join(settings.activations)}; add it."
        )
    check_task(settings)
    check_device(settings.device)


def check_task(settings: StudySettings) -> None:
    """Raise for a task, an option or a network that does not exist."""
    tasks.check_options(settings)
    networks.find(settings.network, tasks.find(settings.task).networks)


def check_device(name: str) -> None:
    """Raise unless tensors can be made on the device.

    >>> check_device("cpu")
    """
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise SpecError(f"the device {name!r} cannot be used here ({reason}); use --device cpu.") from None


def prepare(settings: StudySettings) -> TaskData:
    """Load and divide the data."""
    return tasks.find(settings.task).load(settings)


def probe(settings: StudySettings, data: TaskData) -> list[str]:
    """Build the network once and run two examples through it; return the activations that a swap cannot reach."""
    network, report = train.build(settings, data, settings.baseline, seed=0)
    inputs, _ = next(iter(Batches(data.train, 2)))
    unit, task = data.facts().unit, tasks.find(settings.task)
    try:
        with torch.no_grad():
            outputs = network.eval()(inputs)
    except Exception as error:  # anything may happen in a network that is not ours
        reason = f"{type(error).__name__}: {error}".partition("\n")[0].rstrip(".")
        raise StudyError(
            f"the network {settings.network!r} cannot take {unit} of shape {tuple(inputs.shape[1:])} ({reason}); "
            f"try another {'--image-size or ' if 'image_size' in task.options else ''}--network."
        ) from error
    shape = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else None
    wanted = (len(inputs), *task.output_shape(data))
    if shape is None or not _fits(shape, wanted):
        given = type(outputs).__name__ if shape is None else f"outputs of shape {shape}"
        classes = len(data.facts().classes)
        of = f"{len(inputs)} {unit}" + (f" and {classes} classes" if classes else "")
        must = "one number a class" if wanted[1:] == (classes,) else f"outputs of shape {wanted}"
        raise StudyError(f"the network {settings.network!r} gives {given} for {of}; it must give {must}.")
    return report.unreached


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return len(shape) == len(wanted) and all(w in (s, tasks.ANY) for s, w in zip(shape, wanted, strict=True))


Runner = Callable[[str, int, Callable[[EpochRow], None]], RunRecord]
"""Trains one of the study's networks: its name, the seed, whom to tell about epochs."""


def train_missing(
    settings: StudySettings,
    study: Study,
    folder: StudyFolder,
    listener: Listener,
    unreached: list[str],
    run_one: Runner,
) -> None:
    """Train every run that the folder does not have; each is stored when it ends."""
    # Seeds outermost: an interrupted study has every activation for the seeds it has.
    wanted = [(activation, seed) for seed in settings.seeds for activation in settings.activations]
    missing = [pair for pair in wanted if folder.read_run(*pair) is None]
    notes = [f"not replaced, because it is called as a function: {call}" for call in unreached]
    listener.planned(len(wanted), len(wanted) - len(missing), notes)
    for activation, seed in missing:
        listener.run_started(activation, seed)
        run = run_one(activation, seed, listener.epoch)
        folder.write_run(run)
        runs = folder.read_runs(study.settings)
        folder.write_tables(runs, summarise(study.settings, runs, folder.read_costs()))
        listener.run_ended(run)


def conclude(folder: StudyFolder, study: Study) -> Result:
    """Summarise what is stored, and write the tables and the report."""
    runs, costs = folder.read_runs(study.settings), folder.read_costs()
    summary = summarise(study.settings, runs, costs)
    folder.write_tables(runs, summary)
    plan = searched_plan(runs)
    if plan is not None:
        folder.write_plan(plan.as_json())
    contents = Contents(
        settings=study.settings,
        data=study.data,
        environment=study.environment,
        runs=runs,
        costs=costs,
        summary=summary,
        command=study.command,
        formulas=_formulas(study.settings),
        plan=plan,
        recipe=study.recipe,
        quick=study.quick,
    )
    return Result(study, runs, costs, summary, folder.write_report(render(contents)), plan)


def _formulas(settings: StudySettings) -> dict[str, str]:
    named = [name for name in settings.activations if not (isinstance(settings, SelectSettings) and name == OPTIMIZED)]
    return {name: formula_text(find(parse(settings.spec(name))[0])) for name in named}


def searched_plan(runs: Sequence[RunRecord]) -> Plan | None:
    """The plan of all searches that finished, over their seeds; None where none did."""
    plans = [Plan.from_dict(run.plan) for run in runs if run.plan and run.activation == SEARCHED]
    return merge(plans) if plans else None


def report(out: Path) -> Result:
    """Make the tables and the report again from the stored records."""
    folder = StudyFolder(out)
    study = folder.read_study()
    if study is None:
        raise StudyError(
            f"there is no study in {out}: study.json is missing; make one with 'limen compare --out {out}'."
        )
    with folder.lock():
        return conclude(folder, study)


def summarise(settings: StudySettings, runs: Sequence[RunRecord], costs: Sequence[CostRow]) -> tuple[SummaryRow, ...]:
    """One row an activation: mean and interval, paired difference to the baseline, corrected p, verdict, cost."""
    measure = tasks.find(settings.task).measure
    by_seed = {name: _metric_by_seed(runs, name, measure.on_test) for name in settings.activations}
    others = [name for name in settings.activations if name != settings.baseline]
    compared = correct(
        [compare_paired(by_seed[name], by_seed[settings.baseline]) for name in others],
        higher_is_better=measure.higher_is_better,
    )
    comparisons = dict(zip(others, compared, strict=True))
    cost_of = {row.activation: row for row in costs}
    rows = []
    for name in settings.activations:
        mine = [run for run in runs if run.activation == name]
        found, comparison, price = interval(list(by_seed[name].values())), comparisons.get(name), cost_of.get(name)
        rows.append(
            SummaryRow(
                activation=name,
                runs=len(by_seed[name]),
                failed=sum(run.status == "failed" for run in mine),
                metric=measure.on_test,
                mean=found.mean,
                low=found.low,
                high=found.high,
                baseline=settings.baseline,
                difference=comparison.difference.mean if comparison else 0.0,
                difference_low=comparison.difference.low if comparison else 0.0,
                difference_high=comparison.difference.high if comparison else 0.0,
                p=comparison.p if comparison else math.nan,
                p_holm=comparison.p_holm if comparison else math.nan,
                verdict=comparison.verdict if comparison else "baseline",
                ms_ratio=price.ratio if price else math.nan,
                ms_per_step=price.ms_per_step if price else math.nan,
                peak_memory_mb=price.peak_memory_mb if price else math.nan,
                parameters=mine[0].parameters if mine else 0,
            )
        )
    return (*rows, *_reference_rows(settings, runs, interval(list(by_seed[settings.baseline].values())).mean))


def _reference_rows(settings: StudySettings, runs: Sequence[RunRecord], baseline: float) -> list[SummaryRow]:
    """What needs no network, beside the activations; it is the same in every run, and takes part in no test."""
    task = tasks.find(settings.task)
    name = f"reference_{task.measure.name}"
    value = next((run.metrics[name] for run in runs if name in run.metrics), None)
    if not task.reference or value is None:
        return []
    nothing = dict.fromkeys(("low", "high", "difference_low", "difference_high", "p", "p_holm"), math.nan)
    costless = dict.fromkeys(("ms_ratio", "ms_per_step", "peak_memory_mb"), math.nan)
    return [
        SummaryRow(
            activation=task.reference,
            runs=0,
            failed=0,
            metric=task.measure.on_test,
            mean=value,
            baseline=settings.baseline,
            difference=value - baseline,
            verdict=REFERENCE,
            parameters=0,
            **nothing,
            **costless,
        )
    ]


def _metric_by_seed(runs: Sequence[RunRecord], activation: str, metric: str) -> dict[int, float]:
    return {run.seed: run.metrics[metric] for run in runs if run.activation == activation and run.status == "finished"}


def environment(settings: StudySettings) -> dict[str, str]:
    """Versions and devices, for the record."""
    device = torch.device(settings.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    packages = ("torch", "lightning", "torchmetrics", "scipy", *tasks.find(settings.task).packages)
    return {
        "limen": limen.__version__,
        "python": platform.python_version(),
        **{package: metadata.version(package) for package in packages},
        "system": f"{platform.system()} {platform.machine()}",
        "device": f"{settings.device} ({name})",
        "threads": str(torch.get_num_threads()),
    }
