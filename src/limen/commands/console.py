"""What a person sees while a study runs and when it is done: progress on standard error, a table on standard output."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import TracebackType

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from limen.commands.interrupting import stop_if_pressed
from limen.lab.metric import Metric
from limen.lab.numerals import fixed, plain
from limen.lab.papers.reproduce import Reproduction
from limen.lab.papers.table import Table as Published
from limen.lab.records import EpochRow, RunRecord, SummaryRow
from limen.lab.report.growth import growth
from limen.lab.report.selection import change_by_baking
from limen.lab.settings import StudySettings
from limen.lab.statistics import Interval
from limen.lab.study.result import Result
from limen.lab.training.task import Task
from limen.selection import Plan

STYLES = {"better": "green", "worse": "red"}
SHORT = {
    "no detectable difference": "not detectable",
    "not tested: no spread between seeds": "no spread to test",
    "not tested: needs 2 seeds": "needs 2 seeds",
}
"""Verdicts as the table has room for them in 80 columns."""


class ProgressListener:
    """Two bars, one for the runs of the study and one for the epochs of the run, and a line for each run that ends."""

    def __init__(self, task: Task, settings: StudySettings) -> None:
        self.epochs = settings.epochs
        self.measure = task.measure
        self.heldout = "test" if settings.test_chooses else "validation"
        self.console = Console(stderr=True)
        # Where nothing can move (a file, a pipe), rich would end the bars with an empty line.
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_interactive,
        )
        self.total, self.done = 0, 0
        self.runs = self.progress.add_task("runs", total=None)
        self.run = self.progress.add_task("epochs", total=self.epochs, visible=False)

    def __enter__(self) -> ProgressListener:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def planned(self, total: int, done: int, notes: Sequence[str]) -> None:
        """Show how much there is to do."""
        self.total, self.done = total, done
        self.progress.update(self.runs, total=total, completed=done)
        for note in notes:
            self.console.print(f"[yellow]{escape(note)}[/]", highlight=False)
        if done:
            self.console.print(f"continuing: {done} of {total} runs are done already", highlight=False)

    def run_started(self, activation: str, seed: int) -> None:
        """Start the epochs' bar anew."""
        stop_if_pressed()
        self.name = f"{escape(activation)} · seed {seed}"
        self.progress.reset(self.run, description=self.name, visible=True)

    def epoch(self, row: EpochRow) -> None:
        """Move the epochs' bar."""
        stop_if_pressed()
        shown = f"{self.name} · {self.heldout} {self.measure.said(row.heldout_score)}"
        self.progress.update(self.run, completed=row.epoch, description=shown)

    def run_ended(self, run: RunRecord) -> None:
        """Print what the run came to."""
        self.done += 1
        self.progress.update(self.runs, completed=self.done)
        if run.status == "failed":
            outcome = f"[red]failed: {escape(run.failure)}[/]"
        else:
            outcome = f"test {self.measure.said(run.metrics[self.measure.on_test])} (best epoch {run.best_epoch})"
        self.console.print(
            f"[dim]{self.done}/{self.total}[/] {self.name}: {outcome} [dim]{run.seconds:.1f} s[/]", highlight=False
        )

    def timing(self, done: int, total: int) -> None:
        """Use the epochs' bar for the rounds of timing."""
        stop_if_pressed()
        self.progress.update(self.run, visible=True, description="cost of a step", total=total, completed=done)


def print_result(result: Result, console: Console) -> None:
    """The summary as a table, then where the rest is."""
    settings, data = result.study.settings, result.study.data
    title = f"{data.name} · {settings.network} · {settings.epochs} epochs"
    console.print(summary_table(result.summary, result.task.measure, title))
    for note in data.notes:
        console.print(escape(note), highlight=False)
    if grown := growth(result.study.asked):
        console.print(escape(grown), highlight=False)
    if settings.test_chooses:
        console.print("The paper's protocol chooses the epoch on the test set: these numbers are optimistic.")
    for run in result.failed:
        console.print(f"[red]failed[/] {escape(run.activation)}, seed {run.seed}: {escape(run.failure)}")
    if result.plan is not None:
        _print_selection(result, result.plan, console)
    console.print(f"Report: {result.report}", soft_wrap=True)


def _print_selection(result: Result, plan: Plan, console: Console) -> None:
    """The plan, what to know before believing it, and the discretisation gap."""
    console.print(str(plan), highlight=False, markup=False, soft_wrap=True)
    measure = result.task.measure
    change = difference(change_by_baking(measure, result.runs), measure)
    console.print(
        f"Discretisation gap: baking the trained mixture changes its {measure.tested} by "
        f"{f'{change} {measure.difference_unit}'.rstrip()}.",
        highlight=False,
        soft_wrap=True,
    )
    console.print(f"Plan: {result.report.with_name('plan.json')}", soft_wrap=True)


def print_reproduction(found: Reproduction, console: Console) -> None:
    """Published and measured numbers, and a verdict for every claim."""
    for notice in found.notices:
        console.print(f"[yellow]{escape(notice)}[/]", highlight=False)
    quick = " (quick, scaled down)" if found.study.quick else ""
    measure = found.task.measure
    if found.recipe.table is not None:
        console.print(_numbers(found, found.recipe.table, measure, f"{escape(found.recipe.title)}{quick}"))
    for claim in found.orders:
        honest = f"{claim.honest} {measure.difference_unit}".rstrip()
        console.print(
            f"{claim.claim} (published {claim.published}): [bold]{claim.honest_verdict}[/], {honest}; "
            f"as the paper measures {claim.paper_verdict}, {claim.paper}",
            highlight=False,
        )
    for layer in found.layers:
        console.print(
            f"layer {layer.layer}, {escape(layer.words)}: [bold]{layer.verdict}[/], measured {layer.winner}",
            highlight=False,
        )


def _numbers(found: Reproduction, published: Published, measure: Metric, title: str) -> Table:
    """The published numbers beside the measured ones."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    # A paper may report another metric than the one that decides here.
    same = published.metric.name == measure.name
    named = ("published", measure.unit) if same else ("published", published.metric.column)
    measured = (("as the paper", measure.unit), ("honest", measure.unit))
    for heading in ("network", *(" ".join(words).rstrip() for words in (named, *measured))):
        table.add_column(heading, justify="left" if heading == "network" else "right")
    for row in found.numbers:
        table.add_row(row.network, published.value(row.network), *(mean(of, measure) for of in (row.paper, row.honest)))
    return table


def summary_table(rows: Sequence[SummaryRow], measure: Metric, title: str) -> Table:
    """The measure with interval, difference with interval, corrected p, verdict and cost."""
    baseline = rows[0].baseline if rows else "baseline"
    table = Table(title=escape(title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("activation", overflow="fold")
    for heading in (measure.column, f"minus {escape(baseline)}", "p (Holm)", "verdict", "time ×", "MB"):
        left = heading == "verdict"
        table.add_column(heading, justify="left" if left else "right", no_wrap=not left)
    for row in rows:
        style = STYLES.get(row.verdict, "dim")
        apart = Interval(row.difference, row.difference_low, row.difference_high)
        table.add_row(
            escape(row.activation),
            _folded(mean(Interval(row.mean, row.low, row.high), measure)),
            "" if row.verdict == "baseline" else _folded(difference(apart, measure, beside=row.mean)),
            fixed(row.p_holm, 3),
            f"[{style}]{SHORT.get(row.verdict, row.verdict)}[/]",
            fixed(row.ms_ratio),
            fixed(row.peak_memory_mb, 1),
        )
    return table


def mean(found: Interval, measure: Metric) -> str:
    """A mean with half the width of its interval, or with its ends where a bound cuts one off.

    >>> from limen.lab.metric import ACCURACY
    >>> mean(Interval(0.912, 0.902, 0.922), ACCURACY), mean(Interval(0.998, 0.989, 1.0), ACCURACY)
    ('91.20 ± 1.00', '99.80 (98.90 to 100.00)')
    """
    if not _symmetric(found):
        return plain(measure.mean(found))
    return plain(f"{measure.value(found.mean)} ± {measure.value(found.high - found.mean, beside=found.mean)}")


def difference(found: Interval, measure: Metric, beside: float = math.nan) -> str:
    """A mean difference likewise, with its sign.

    >>> from limen.lab.metric import ACCURACY
    >>> difference(Interval(-0.012, -0.022, -0.002), ACCURACY)
    '-1.20 ± 1.00'
    """
    if not _symmetric(found):
        return plain(measure.mean_difference(found, beside))
    beside = found.mean if math.isnan(beside) else beside
    return plain(f"{measure.difference(found.mean, beside)} ± {measure.value(found.high - found.mean, beside)}")


def _folded(cell: str) -> str:
    """The ends of an interval below its mean, so that the table fits in 80 columns.

    >>> _folded("99.80 (98.90 to 100.00)")
    '99.80\\n98.90 to 100.00'
    """
    return cell.replace(" (", "\n").removesuffix(")")


def _symmetric(found: Interval) -> bool:
    """Whether there is an interval, as wide below the mean as above."""
    return math.isclose(found.high - found.mean, found.mean - found.low, rel_tol=1e-6, abs_tol=1e-12)
