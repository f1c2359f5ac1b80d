"""What a person sees when a study is done: a table on standard output."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from limen.lab.metric import Metric
from limen.lab.numerals import NARROW, fixed, plain
from limen.lab.records import TORCHS_RELU, CostRow, SummaryRow
from limen.lab.report.apart import apart
from limen.lab.report.baking import change_by_baking
from limen.lab.report.growth import growth
from limen.lab.report.looking import looked_at
from limen.lab.report.tables import pace
from limen.lab.report.training import sentence
from limen.lab.report.tried import tried
from limen.lab.report.tuning import budget, warnings
from limen.lab.report.wording import counted
from limen.lab.statistics import Interval, word_of
from limen.selection import Plan

if TYPE_CHECKING:
    from limen.lab.papers.reproduce import Reproduction
    from limen.lab.papers.table import Table as Published
    from limen.lab.study.result import Result

MOST_FAILED = 20
"""Failed runs that are named."""
MOST_TRAINED = 12
"""Activations of which is said how much training they take; summary.csv and the report have all."""
STYLES = {"better": "green", "worse": "red", "equivalent": "cyan"}
SHORT = {
    "no detectable difference": "not detectable",
    "not tested: no spread between seeds": "no spread to test",
    "not tested: needs 2 seeds": "needs 2 seeds",
}
"""Verdicts as the table has room for them in 80 columns."""
LONGEST_WORD = max(len(word) for verdict in SHORT.values() for word in verdict.split())
"""Characters: where verdicts are folded, so that beside wide intervals nothing is cut off."""


SEES = "sees: the smallest true difference that so many seeds show in 80 of 100 studies."


def print_result(result: Result, console: Console) -> None:
    """The summary as a table, then where the rest is."""
    settings, data = result.study.settings, result.study.data
    title = f"{data.name} · {settings.network} · {counted(settings.epochs, 'epoch')}"
    console.print(summary_table(result.summary, result.task.measure, title, result.costs))
    if any(math.isfinite(row.detectable) for row in result.summary):
        console.print(SEES, highlight=False)
    if paces := _paces(result):
        console.print(escape(plain(paces)), highlight=False)
    for row in [row for row in result.summary if row.reach_pairs][:MOST_TRAINED]:
        console.print(escape(plain(sentence(row))), highlight=False)
    if result.trials:
        _print_tuning(result, console)
    for note in data.notes:
        console.print(escape(note), highlight=False)
    if grown := growth(result.study.asked, any_time=settings.max_seeds is not None):
        console.print(escape(grown), highlight=False)
    measure = result.task.measure
    looked = looked_at(result.study.asked, settings, measure, result.runs)
    for notice in (*looked, *apart(result.runs, measure, settings)):
        console.print(escape(plain(notice)), highlight=False)
    if settings.test_chooses:
        console.print("The paper's protocol chooses the epoch on the test set: these numbers are optimistic.")
    _print_failures(result, console)
    if result.plan is not None:
        _print_selection(result, result.plan, console)
    console.print(f"Report: {result.report}", soft_wrap=True)


def _paces(result: Result) -> str:
    """How much each activation's training sees in a second, where the task counts that."""
    rows = [(row.activation, row.ms_per_step) for row in result.summary][:MOST_TRAINED]
    found = [(name, pace(result.task, result.study.settings, ms)) for name, ms in rows]
    said = ", ".join(f"{name} {text}" for name, text in found if text)
    return f"Seen in training: {said.replace(NARROW, ',')}." if said else ""


def _print_failures(result: Result, console: Console) -> None:
    """The first of them, and how many more there are."""
    for run in result.failed[:MOST_FAILED]:
        console.print(f"[red]failed[/] {escape(run.activation)}, seed {run.seed}: {escape(run.failure)}")
    if len(result.failed) > MOST_FAILED:
        console.print(f"[red]failed[/] {len(result.failed) - MOST_FAILED:,} more; runs.csv names all.")


def _print_tuning(result: Result, console: Console) -> None:
    """The budget, and each activation's own rates."""
    settings, trials = result.study.settings, result.trials
    console.print(escape(budget(settings, trials, result.task.held_to)), highlight=False)
    own = [f"{trial.activation} {trial.learning_rate:g}" for trial in tried(trials) if trial.chosen]
    console.print(
        f"Own learning rates (shared: {settings.learning_rate:g}): {escape(', '.join(own))}.", highlight=False
    )
    for warning in warnings(settings, trials):
        console.print(escape(warning), highlight=False)
    console.print(f"Trials: {result.report.with_name('trials.csv')}", soft_wrap=True)


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


def summary_table(rows: Sequence[SummaryRow], measure: Metric, title: str, costs: Sequence[CostRow] = ()) -> Table:
    """The measure with interval, difference with interval, corrected p, verdict and cost; then torch's ReLU's cost."""
    baseline = rows[0].baseline if rows else "baseline"
    table = Table(title=escape(title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("activation", overflow="fold")
    for heading in (measure.column, f"minus {escape(baseline)}", "p\n(Holm)", "verdict", "time ×", "MB"):
        table.add_column(heading, justify="left" if heading == "verdict" else "right", no_wrap=True)
    for row in rows:
        style = STYLES.get(word_of(row.verdict), "dim")
        apart = Interval(row.difference, row.difference_low, row.difference_high)
        table.add_row(
            escape(row.activation),
            _folded(mean(Interval(row.mean, row.low, row.high), measure)),
            "" if row.verdict == "baseline" else "\n".join(_apart(row, apart, measure)),
            fixed(row.p_holm, 3),
            f"[{style}]{textwrap.fill(SHORT.get(row.verdict, row.verdict), LONGEST_WORD)}[/]",
            _times(row.ms_ratio, row.ms_ratio_low, row.ms_ratio_high),
            fixed(row.peak_memory_mb, 1),
        )
    for cost in costs:
        if cost.activation == TORCHS_RELU:
            name, times = TORCHS_RELU.replace(".", ".\n"), _times(cost.ratio, cost.ratio_low, cost.ratio_high)
            table.add_row(name, "", "", "", "[dim]timed only[/]", times, fixed(cost.peak_memory_mb, 1))
    return table


def _apart(row: SummaryRow, apart: Interval, measure: Metric) -> Iterator[str]:
    """A difference with its interval, and how large one must be to be seen."""
    yield _folded(difference(apart, measure, beside=row.mean))
    if math.isfinite(row.detectable):
        yield f"[dim]sees {measure.detectable(row.detectable, beside=row.mean)}[/]"


def _times(ratio: float, low: float, high: float) -> str:
    """A ratio of times with its quartiles below it, one a line: beside wide intervals there is room for no more."""
    return "\n".join([fixed(ratio), *([f"{fixed(low)}–", fixed(high)] if math.isfinite(low) else [])])


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
