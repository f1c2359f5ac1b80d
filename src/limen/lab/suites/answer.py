"""One answer over a suite's problems, from their stored rows alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from limen.errors import LimenError
from limen.lab.metric import Metric
from limen.lab.records import RunRecord, SummaryRow
from limen.lab.report.suite.contents import (
    FEWEST_PROBLEMS,
    NOTHING,
    Cell,
    ProblemLine,
    SuiteContents,
    SuiteLine,
)
from limen.lab.settings import StudySettings
from limen.lab.statistics import (
    LEVEL,
    ROUNDING,
    Profile,
    Ranks,
    Stratified,
    holm,
    interval,
    profile,
    ranks,
    relative_changes,
    stratified,
    superiority,
)
from limen.lab.statistics.reaching import Paired, exponential
from limen.lab.study import rows
from limen.lab.study.summary import besides, summarise
from limen.lab.suites.folder import PAGE, Known
from limen.lab.suites.suite import RELATIVE

PERCENT = 100


@dataclass(frozen=True)
class Measured:
    """What one problem's rows say, by activation; errors are distances from the best value there can be."""

    line: ProblemLine
    settings: StudySettings
    goodness: Mapping[str, float]
    """Mean of the measure, turned so that more is better; NaN where no run finished."""
    errors: Mapping[str, Mapping[int, float]]
    failed: Mapping[str, int]
    besides: Mapping[str, Sequence[Paired]]
    steps: Mapping[str, float]
    """Time of a step over the baseline's."""

    @property
    def baseline(self) -> Mapping[int, float]:
        """The baseline's errors."""
        return self.errors[self.settings.baseline]

    def paired(self, activation: str) -> tuple[list[float], list[float]]:
        """Errors of an activation and of the baseline, of the seeds that both finished."""
        mine = self.errors[activation]
        seeds = sorted(mine.keys() & self.baseline.keys())
        return [mine[seed] for seed in seeds], [self.baseline[seed] for seed in seeds]

    def changes(self, activation: str, relative: bool) -> list[float]:
        """By seed, changes of the error, in percent of the baseline's or in points; none where nothing can be said."""
        mine, theirs = self.paired(activation)
        if not mine:
            return []
        apart = [a - b for a, b in zip(mine, theirs, strict=True)]
        found = relative_changes(mine, theirs) if relative else apart
        return [PERCENT * change for change in found or ()]

    def relative_to_baseline(self, activation: str, relative: bool) -> list[float]:
        """The errors of all runs, over the baseline's mean error or in points; of runs that failed infinite."""
        scale = 1 / (sum(self.baseline.values()) / len(self.baseline)) if relative else PERCENT
        lost = [math.inf] * self.failed[activation]
        return [error * scale for error in self.errors[activation].values()] + lost


def answer(folder: Path, known: Known) -> SuiteContents:
    """What the suite in ``folder`` comes to so far."""
    relative = known.differences == RELATIVE
    lines, measured = [], []
    for entry in known.problems:
        found = _read(folder / entry.name, entry.name, entry.failure, relative)
        if isinstance(found, Measured):
            measured.append(found)
            lines.append(found.line)
        else:
            lines.append(found)
    baseline = measured[0].settings.baseline if measured else ""
    activations = [name for name in measured[0].settings.activations if name != baseline] if measured else []
    ranked = _ranks(measured)
    return SuiteContents(
        title=known.title,
        baseline=baseline,
        relative=relative,
        problems=tuple(lines),
        lines=_judged([_line(name, measured, relative, ranked) for name in activations]),
        ranks=ranked,
        profiles={name: _profile(name, measured, relative) for name in (baseline, *activations)} if measured else {},
        command=known.command,
    )


def _read(folder: Path, name: str, failure: str, relative: bool) -> ProblemLine | Measured:
    """A problem's rows as numbers, or why they are none."""
    if failure:
        return ProblemLine(name, failure)
    if not (folder / "study.json").exists():
        return ProblemLine(name, "it has not been begun")
    try:
        found = rows.read(folder)
    except LimenError as error:
        return ProblemLine(name, str(error).rstrip("."))
    measured = _measured(name, folder, found, relative)
    return measured if measured.line.counts else measured.line


def _measured(name: str, folder: Path, found: rows.Rows, relative: bool) -> Measured:
    settings, measure = found.study.settings, found.task.measure
    summary = {row.activation: row for row in summarise(found.task, settings, found.runs, found.costs)}
    # At the rates that all share: runs at own ones have names of their own, and are the problem's own report's.
    shared = replace(found, runs=tuple(run for run in found.runs if run.activation in settings.activations))
    finished = [run for run in shared.runs if run.status == "finished"]
    errors: dict[str, dict[int, float]] = {activation: {} for activation in settings.activations}
    for run in finished:
        errors[run.activation][run.seed] = _error(measure, run.metrics[measure.on_test])
    measured = Measured(
        line=ProblemLine(name),
        settings=settings,
        goodness={activation: measure.goodness(summary[activation].mean) for activation in settings.activations},
        errors=errors,
        failed={activation: summary[activation].failed for activation in settings.activations},
        besides=besides(found.task, settings, shared.runs),
        steps={activation: row.step_ratio for activation, row in summary.items()},
    )
    return replace(measured, line=_problem_line(measured, shared, summary, folder, relative))


def _error(measure: Metric, value: float) -> float:
    """How far a value is from the best there can be."""
    best = measure.bounds[1] if measure.higher_is_better else measure.bounds[0]
    return abs(best - value)


def _problem_line(
    measured: Measured, found: rows.Rows, summary: Mapping[str, SummaryRow], folder: Path, relative: bool
) -> ProblemLine:
    settings = measured.settings
    line = ProblemLine(
        name=measured.line.name,
        failure=_why_not(measured, found.runs, relative),
        measure=found.task.measure,
        task=settings.task,
        data=found.study.data.name,
        network=settings.network,
        seeds=max(len(by_seed) for by_seed in measured.errors.values()),
        missing=0 if settings.max_seeds else len(settings.activations) * len(settings.seeds) - len(found.runs),
        baseline=summary[settings.baseline].mean,
        report=f"{measured.line.name}/{PAGE}" if (folder / PAGE).exists() else "",
        sequential=settings.max_seeds is not None,
        tuned=bool(settings.tune),
    )
    if line.failure:
        return line
    others = (name for name in settings.activations if name != settings.baseline)
    return replace(line, cells={name: _cell(measured, name, summary[name], relative) for name in others})


def _why_not(measured: Measured, runs: Sequence[RunRecord], relative: bool) -> str:
    """Why a problem says nothing about differences; empty where it does."""
    baseline = measured.settings.baseline
    if not runs:
        return "no run has ended yet"
    if not any(measured.errors.values()):
        return f"every run failed: {next(run.failure for run in runs).rstrip('.')}"
    if not measured.baseline:
        return f"no run of {baseline} finished, so there is nothing to compare with"
    if relative and not any(measured.baseline.values()):
        return f"{baseline} makes no error in any run, of which no part can be taken; differences = 'points' would do"
    return ""


def _cell(measured: Measured, activation: str, row: SummaryRow, relative: bool) -> Cell:
    return Cell(interval(measured.changes(activation, relative)), row.verdict, row.runs, row.failed)


def _line(activation: str, measured: Sequence[Measured], relative: bool, ranked: Ranks | None) -> SuiteLine:
    groups = [changes for one in measured if (changes := one.changes(activation, relative))]
    found = stratified(groups)
    like = interval([sum(group) / len(group) for group in groups]) if len(groups) >= FEWEST_PROBLEMS else NOTHING
    better = superiority([_better(*one.paired(activation)) for one in measured if one.paired(activation)[0]])
    timed = _times(activation, measured)
    return SuiteLine(
        activation=activation,
        baseline=measured[0].settings.baseline,
        problems=len(groups),
        pairs=sum(map(len, groups)),
        change=found.found.mean,
        change_low=found.found.low,
        change_high=found.found.high,
        p=found.p,
        p_holm=math.nan,
        verdict=_untested(groups, found),
        like_low=like.low,
        like_high=like.high,
        superior=better.mean,
        superior_low=better.low,
        superior_high=better.high,
        rank=ranked.of[activation] if ranked else math.nan,
        reach_pairs=timed.pairs,
        reached=timed.reached,
        time_ratio=timed.time.found.mean,
        time_ratio_low=timed.time.found.low,
        time_ratio_high=timed.time.found.high,
        time_at_least=timed.at_least,
    )


def _better(mine: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """By seed how much less the error is; 0 of what is equal but for rounding."""
    rounding = ROUNDING * max(map(abs, (*mine, *theirs)))
    return [0.0 if abs(b - a) <= rounding else b - a for a, b in zip(mine, theirs, strict=True)]


def _untested(groups: Sequence[Sequence[float]], found: Stratified) -> str:
    """Why there is no test; empty where there is one."""
    if not math.isnan(found.p):
        return ""
    if not groups:
        return "not tested: no finished pair"
    return "not tested: needs 2 seeds" if min(map(len, groups)) < 2 else "not tested: no spread between seeds"


def _judged(lines: Sequence[SuiteLine]) -> tuple[SuiteLine, ...]:
    """With p corrected for all activations (Holm), and what was found."""
    tested = [place for place, line in enumerate(lines) if not math.isnan(line.p)]
    judged = list(lines)
    for place, p in zip(tested, holm([lines[place].p for place in tested]), strict=True):
        found = "better" if lines[place].change < 0 else "worse"
        judged[place] = replace(lines[place], p_holm=p, verdict=found if p < 1 - LEVEL else "no detectable difference")
    return tuple(judged)


def _ranks(measured: Sequence[Measured]) -> Ranks | None:
    """Over problems; an activation that never finished in one is last there."""
    return ranks([one.goodness for one in measured]) if len(measured) > 1 else None


def _profile(activation: str, measured: Sequence[Measured], relative: bool) -> Profile:
    groups = (one.relative_to_baseline(activation, relative) for one in measured)
    return profile([group for group in groups if group])


@dataclass(frozen=True)
class _Timed:
    time: Stratified
    at_least: float
    pairs: int
    reached: int


def _times(activation: str, measured: Sequence[Measured]) -> _Timed:
    """How much of the baseline's training time an activation needs: the logarithms over seeds within problems."""
    known = [
        (one.besides[activation], math.log(one.steps[activation]))
        for one in measured
        if one.besides.get(activation) and math.isfinite(one.steps[activation])
    ]
    found = stratified([[math.log(pair.ratio) + step for pair in pairs] for pairs, step in known])
    bounds = [sum(math.log(pair.at_least) for pair in pairs) / len(pairs) + step for pairs, step in known]
    every = [pair for pairs, _ in known for pair in pairs]
    return _Timed(
        time=Stratified(exponential(found.found), found.p),
        at_least=math.exp(sum(bounds) / len(bounds)) if bounds else math.nan,
        pairs=len(every),
        reached=sum(pair.reached for pair in every),
    )
