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

from limen.lab.papers.reproduce import Reproduction
from limen.lab.records import EpochRow, RunRecord, SummaryRow
from limen.lab.report.wording import Scale
from limen.lab.settings import StudySettings
from limen.lab.statistics import interval
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
        self.scale = Scale(self.measure.on_test)
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
        self.name = f"{escape(activation)} · seed {seed}"
        self.progress.reset(self.run, description=self.name, visible=True)

    def epoch(self, row: EpochRow) -> None:
        """Move the epochs' bar."""
        shown = f"{self.name} · {self.heldout} {self.scale.said(row.heldout_score)}"
        self.progress.update(self.run, completed=row.epoch, description=shown)

    def run_ended(self, run: RunRecord) -> None:
        """Print what the run came to."""
        self.done += 1
        self.progress.update(self.runs, completed=self.done)
        if run.status == "failed":
            outcome = f"[red]failed: {escape(run.failure)}[/]"
        else:
            outcome = f"test {self.scale.said(run.metrics[self.measure.on_test])} (best epoch {run.best_epoch})"
        self.console.print(
            f"[dim]{self.done}/{self.total}[/] {self.name}: {outcome} [dim]{run.seconds:.1f} s[/]", highlight=False
        )

    def timing(self, done: int, total: int) -> None:
        """Use the epochs' bar for the rounds of timing."""
        self.progress.update(self.run, visible=True, description="cost of a step", total=total, completed=done)


def print_result(result: Result, console: Console) -> None:
    """The summary as a table, then where the rest is."""
    settings, data = result.study.settings, result.study.data
    console.print(summary_table(result.summary, f"{data.name} · {settings.network} · {settings.epochs} epochs"))
    for note in data.notes:
        console.print(escape(note), highlight=False)
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
    gaps = [run.metrics["discretisation_gap"] for run in result.runs if "discretisation_gap" in run.metrics]
    measure = result.task.measure
    found = interval([measure.goodness(-gap) for gap in gaps])
    scale = Scale(measure.on_test)
    console.print(
        f"Discretisation gap: baking the trained mixture changes its {scale.name} by "
        f"{with_interval(found.mean, found.low, found.high, sign='+', scale=scale)}{scale.points}.",
        highlight=False,
        soft_wrap=True,
    )
    console.print(f"Plan: {result.report.with_name('plan.json')}", soft_wrap=True)


def print_reproduction(found: Reproduction, console: Console) -> None:
    """Published and measured numbers, and a verdict for every claim."""
    for notice in found.notices:
        console.print(f"[yellow]{escape(notice)}[/]", highlight=False)
    quick = " (quick, scaled down)" if found.study.quick else ""
    table = Table(title=f"{escape(found.recipe.title)}{quick}", title_justify="left", box=SIMPLE_HEAD)
    for heading in ("network", "published %", "as the paper %", "honest %"):
        table.add_column(heading, justify="left" if heading == "network" else "right")
    for row in found.numbers:
        measured = (with_interval(value.mean, value.low, value.high) for value in (row.paper, row.honest))
        table.add_row(row.network, f"{100 * row.published:.1f}", *measured)
    if found.numbers:
        console.print(table)
    for claim in found.orders:
        console.print(
            f"{claim.claim} (published {claim.published}): [bold]{claim.honest_verdict}[/], {claim.honest} points; "
            f"as the paper measures {claim.paper_verdict}, {claim.paper}",
            highlight=False,
        )
    for layer in found.layers:
        console.print(
            f"layer {layer.layer}, {escape(layer.words)}: [bold]{layer.verdict}[/], measured {layer.winner}",
            highlight=False,
        )


def summary_table(rows: Sequence[SummaryRow], title: str) -> Table:
    """The measure with interval, difference with interval, corrected p, verdict and cost."""
    baseline = rows[0].baseline if rows else "baseline"
    scale = Scale(rows[0].metric if rows else "test_accuracy")
    table = Table(title=escape(title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("activation", overflow="fold")
    for heading in (scale.column, f"minus {escape(baseline)}", "p (Holm)", "verdict", "time ×", "MB"):
        left = heading == "verdict"
        table.add_column(heading, justify="left" if left else "right", no_wrap=not left)
    for row in rows:
        style = STYLES.get(row.verdict, "dim")
        table.add_row(
            escape(row.activation),
            with_interval(row.mean, row.low, row.high, scale=scale),
            ""
            if row.verdict == "baseline"
            else with_interval(
                row.difference, row.difference_low, row.difference_high, sign="+", scale=Scale(row.metric, row.mean)
            ),
            number(row.p_holm, ".3f"),
            f"[{style}]{SHORT.get(row.verdict, row.verdict)}[/]",
            number(row.ms_ratio, ".2f"),
            number(row.peak_memory_mb, ".1f"),
        )
    return table


def with_interval(
    mean: float,
    low: float,
    high: float,
    sign: str = "",
    scale: Scale = Scale("test_accuracy"),  # noqa: B008 - immutable
) -> str:
    """A fraction in percent, or another value as it is, with half the width of its interval.

    >>> with_interval(0.912, 0.902, 0.922)
    '91.20 ± 1.00'
    """
    decimals = scale.decimals_of(mean)
    half = "" if math.isnan(low) else f" ± {scale.factor * (high - low) / 2:.{decimals}f}"
    return number(scale.factor * mean, f"{sign}.{decimals}f") + half


def number(value: float, form: str) -> str:
    """A number, or a dash where there is none.

    >>> number(float("nan"), ".2f")
    '–'
    """
    return "–" if math.isnan(value) else f"{value:{form}}"
