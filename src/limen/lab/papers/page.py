"""The page of reproductions in Markdown: published and measured numbers, and a verdict for every claim."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from limen.lab.metric import Metric
from limen.lab.numerals import MISSING, between, fixed, plain, with_span
from limen.lab.papers import observed as observed_page
from limen.lab.papers.reproduce import NO_VERDICT, Reproduction
from limen.lab.records import SummaryRow
from limen.lab.report.markdown import paragraph, table
from limen.lab.report.trained import optimiser, trained, usual
from limen.lab.statistics import Interval
from limen.lab.study.command import whole_command
from limen.lab.study.summary import REFERENCE


def markdown(found: Sequence[Reproduction], title: str) -> str:
    """The page of several recipes: published and measured numbers, and a verdict for every claim."""
    lines = [f"# {title}", "", *_explanation(found), ""]
    for one in found:
        lines += [*_section(one), ""]
    return "\n".join(lines).rstrip() + "\n"


def _explanation(found: Sequence[Reproduction]) -> list[str]:
    titles = {one.task.measure.title for one in found}
    score = titles.pop() if len(titles) == 1 else "score"
    return paragraph(
        "Published numbers beside measured ones, made from stored runs by `limen report … --markdown`. *As the paper* "
        f"is the best test {score} of any epoch, so the test set chooses the epoch; *honest* is the test {score} of "
        "the epoch that held-out training images chose. Both come from the same runs. Intervals are Student's t at 95 "
        "% over seeds, differences are paired by seed and corrected for the number of claims (Holm). **Confirmed** and "
        "**contradicted** mean that the difference is detected in the published direction or against it; "
        "**equivalent**, that it is below half a point of what is in percent; **undecided**, that the seeds leave all "
        "of it open. A layer's lead is that of the candidates named by the paper "
        "over the best of the others."
    )


def _section(found: Reproduction) -> list[str]:
    """One recipe: how it was run, numbers, orders, layers, the gap, what was decided."""
    blocks = [
        _head(found),
        _numbers(found),
        _orders(found),
        _layers(found),
        _gap(found),
        _observed(found),
        _cost(found),
        _departures(found),
    ]
    return [line for block in blocks if block for line in (*block, "")]


def _head(found: Reproduction) -> list[str]:
    chosen, settings, data = found.recipe, found.study.settings, found.study.data
    lines = [f"## {chosen.title}{' (quick, scaled down)' if found.study.quick else ''}", ""]
    lines += [f"{chosen.about} {chosen.source}.", ""]
    lines += [
        f"{data.name}: {data.train:,} training, {data.validation:,} held-out and {data.test:,} test {data.unit}; "
        f"{settings.epochs} epochs, batch {settings.batch_size}, {optimiser(settings)}, "
        f"{len(settings.seeds)} seeds."
    ]
    if not usual(settings):
        lines += ["", trained(settings)]
    for notice in found.notices:
        lines += ["", f"**{notice}**"]
    if command := whole_command(found.study):
        lines += ["", "```console", f"$ {command}", "```"]
    return lines


def _numbers(found: Reproduction) -> list[str]:
    published, measure = found.recipe.table, found.task.measure
    if published is None:
        return _measured(found)
    rows = [
        (r.network, published.value(r.network), measure.mean(r.paper), measure.mean(r.honest)) for r in found.numbers
    ]
    rows += [(r.activation, MISSING, "", _mean(r, measure)) for r in _others(found, published.values)]
    # A paper may report another metric than the one that decides here.
    column = "published" if published.metric.name == measure.name else f"published {published.metric.title}"
    return table((_with_unit(measure.tested, measure.unit), column, "as the paper", "honest"), rows)


def _with_unit(words: str, unit: str) -> str:
    return f"{words}, {unit}" if unit else words


def _mean(row: SummaryRow, measure: Metric) -> str:
    return measure.mean(Interval(row.mean, row.low, row.high))


def _others(found: Reproduction, named: Collection[str]) -> list[SummaryRow]:
    """Activations that were run, and of which the paper has no number."""
    return [row for row in found.summary if row.activation not in named and row.verdict != REFERENCE]


def _measured(found: Reproduction) -> list[str]:
    """The summary, where nothing was published to hold it against."""
    measure = found.task.measure
    rows = []
    for row in found.summary:
        difference = "" if row.verdict == "baseline" else measure.difference(row.difference, beside=row.mean)
        decided = row.verdict not in ("baseline", REFERENCE)
        verdict = NO_VERDICT if found.study.quick and decided else row.verdict
        rows.append((row.activation, _mean(row, measure), difference, f"**{verdict}**"))
    return table((measure.heading, "honest", f"minus {found.study.settings.baseline}", "verdict"), rows)


def _orders(found: Reproduction) -> list[str]:
    if not found.orders:
        return []
    paper, honest = (_with_unit(words, found.task.measure.difference_unit) for words in ("as the paper", "honest"))
    rows = [(r.claim, r.published, r.paper, r.paper_verdict, r.honest, f"**{r.honest_verdict}**") for r in found.orders]
    return table(("claim", "published", paper, "verdict", honest, "verdict"), rows)


def _layers(found: Reproduction) -> list[str]:
    heading = ("layer", "the paper's words", "largest weight measured", "lead of the named", "verdict")
    rows = [(r.layer, r.words, r.winner, r.margin, f"**{r.verdict}**") for r in found.layers]
    return table(heading, rows) if rows else []


def _gap(found: Reproduction) -> list[str]:
    measure = found.task.measure
    if math.isnan(found.baking.mean):
        return []
    change = f"{plain(measure.mean_difference(found.baking))} {measure.difference_unit}".rstrip()
    return [f"Discretisation gap: baking the trained mixture changes its {measure.tested} by {change}."]


def _observed(found: Reproduction) -> list[str]:
    """What was noted beside the scores."""
    lines: list[str] = []
    for sentence, (heading, rows) in observed_page.tables(found.runs):
        lines += [*([""] if lines else []), *paragraph(sentence), "", *table(heading, rows)]
    return lines


def _cost(found: Reproduction) -> list[str]:
    """Time and memory of a training step."""
    if not found.costs:
        return []
    heading = ("a training step", "times torch.nn.ReLU's (quartiles)", "peak memory, MB", "parameters")
    rows = [
        (
            row.activation,
            with_span(fixed(row.ratio), between(fixed(row.ratio_low), fixed(row.ratio_high))),
            fixed(row.peak_memory_mb, 1),
            f"{row.parameters:,}",
        )
        for row in found.costs
    ]
    return table(heading, rows)


def _departures(found: Reproduction) -> list[str]:
    texts = [f"- {text}" for text in found.departures]
    return ["Decided by us, or different from the paper:", "", *texts] if texts else []
