"""The page of reproductions in Markdown: published and measured numbers, and a verdict for every claim."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Collection, Sequence

from limen.lab.papers import observed as observed_page
from limen.lab.papers.reproduce import NO_VERDICT, Reproduction
from limen.lab.records import SummaryRow
from limen.lab.report.wording import Scale
from limen.lab.statistics import Interval
from limen.lab.study.summary import REFERENCE


def markdown(found: Sequence[Reproduction], title: str) -> str:
    """The page of several recipes: published and measured numbers, and a verdict for every claim."""
    lines = [f"# {title}", "", *_explanation(), ""]
    for one in found:
        lines += [*_section(one), ""]
    return "\n".join(lines).rstrip() + "\n"


def _explanation() -> list[str]:
    return textwrap.wrap(
        "Published numbers beside measured ones, made from stored runs by `limen report … --markdown`. *As the paper* "
        "is the best test accuracy of any epoch, so the test set chooses the epoch; *honest* is the test accuracy of "
        "the epoch that held-out training images chose. Both come from the same runs. Intervals are Student's t at 95 "
        "% over seeds, differences are paired by seed and corrected for the number of claims (Holm). **Confirmed** and "
        "**contradicted** mean that the difference is detected in the published direction or against it; **not "
        "detectable**, that the interval leaves both open. A layer's lead is that of the candidates named by the paper "
        "over the best of the others.",
        118,
        break_on_hyphens=False,
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
        f"{settings.epochs} epochs, batch {settings.batch_size}, Adam {settings.learning_rate:g}, "
        f"{len(settings.seeds)} seeds."
    ]
    for notice in found.notices:
        lines += ["", f"**{notice}**"]
    if found.study.command:
        lines += ["", "```console", f"$ {found.study.command}", "```"]
    return lines


def _numbers(found: Reproduction) -> list[str]:
    rows = [(r.network, f"{100 * r.published:.1f}", _percent(r.paper), _percent(r.honest)) for r in found.numbers]
    if not rows:
        return _measured(found)
    named = {row[0] for row in rows}
    rows += [(r.activation, "–", "", _percent(Interval(r.mean, r.low, r.high))) for r in _others(found, named)]
    scale = Scale(found.task.measure.on_test)
    metric = Scale(found.recipe.published_rows()[0]["metric"])
    # A paper may report another metric than the one that decides here.
    published = "published" if metric.column == scale.column else f"published {metric.name}"
    return _table((f"{scale.name}, %", published, "as the paper", "honest"), rows)


def _others(found: Reproduction, named: Collection[str]) -> list[SummaryRow]:
    """Activations that were run, and of which the paper has no number."""
    return [row for row in found.summary if row.activation not in named and row.verdict != REFERENCE]


def _measured(found: Reproduction) -> list[str]:
    """The summary, where nothing was published to hold it against."""
    scale = Scale(found.task.measure.on_test)
    rows = []
    for row in found.summary:
        difference = "" if row.verdict == "baseline" else Scale(row.metric, row.mean).difference(row.difference)
        value = " ".join((scale.value(row.mean), f"({scale.span(row.low, row.high)})" if row.low == row.low else ""))
        decided = row.verdict not in ("baseline", "reference")
        verdict = NO_VERDICT if found.study.quick and decided else row.verdict
        rows.append((row.activation, value.strip(), difference, f"**{verdict}**"))
    return _table((scale.title, "honest", f"minus {found.study.settings.baseline}", "verdict"), rows)


def _orders(found: Reproduction) -> list[str]:
    heading = ("claim", "published", "as the paper, points", "verdict", "honest, points", "verdict")
    return (
        _table(
            heading,
            [
                (r.claim, r.published, r.paper, r.paper_verdict, r.honest, f"**{r.honest_verdict}**")
                for r in found.orders
            ],
        )
        if found.orders
        else []
    )


def _layers(found: Reproduction) -> list[str]:
    heading = ("layer", "the paper's words", "largest weight measured", "lead of the named", "verdict")
    rows = [(r.layer, r.words, r.winner, r.margin, f"**{r.verdict}**") for r in found.layers]
    return _table(heading, rows) if rows else []


def _gap(found: Reproduction) -> list[str]:
    if math.isnan(found.gap.mean):
        return []
    baked = Interval(-found.gap.mean, -found.gap.high, -found.gap.low)
    return [f"Discretisation gap: baking the trained mixture changes its test accuracy by {_points(baked)} points."]


def _observed(found: Reproduction) -> list[str]:
    """What was noted beside the scores."""
    lines: list[str] = []
    for sentence, (heading, rows) in observed_page.tables(found.runs):
        lines += [*([""] if lines else []), *_wrapped(sentence), "", *_table(heading, rows)]
    return lines


def _cost(found: Reproduction) -> list[str]:
    """Time and memory of a training step."""
    if not found.costs:
        return []
    heading = ("a training step", "times torch.nn.ReLU's (quartiles)", "peak memory, MB", "parameters")
    rows = [
        (
            row.activation,
            f"{row.ratio:.2f} ({row.ratio_low:.2f} to {row.ratio_high:.2f})",
            f"{row.peak_memory_mb:.1f}",
            f"{row.parameters:,}",
        )
        for row in found.costs
    ]
    return _table(heading, rows)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 118, break_on_hyphens=False)


def _departures(found: Reproduction) -> list[str]:
    texts = [f"- {text}" for text in found.departures]
    return ["Decided by us, or different from the paper:", "", *texts] if texts else []


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    ruled = [heading, ["---"] * len(heading), *rows]
    return [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in ruled]


def _percent(value: Interval) -> str:
    if math.isnan(value.mean):
        return "–"
    text = f"{100 * value.mean:.2f}"
    return text if math.isnan(value.low) else f"{text} ({100 * value.low:.2f} to {100 * value.high:.2f})"


def _points(value: Interval) -> str:
    text = f"{100 * value.mean:+.2f}"
    return text if math.isnan(value.low) else f"{text} ({100 * value.low:+.2f} to {100 * value.high:+.2f})"
