"""The rows of the page's tables, every cell already text."""

from __future__ import annotations

from dataclasses import dataclass

from limen.lab.records import SummaryRow
from limen.lab.report.contents import Contents
from limen.lab.report.wording import MISSING, Scale, counted, fixed, probability, significant, whole, with_unit

BADGES = {
    "baseline": ("baseline", "—"),
    "better": ("better", "▲"),
    "worse": ("worse", "▼"),
    "no detectable difference": ("same", "≈"),
}
"""CSS class and sign of each verdict; any other verdict is a reason why there was no test."""
CLASSES_SHOWN = 20


@dataclass(frozen=True)
class SummaryLine:
    """One row of the summary table."""

    activation: str
    mean: str
    interval: str
    difference: str
    difference_interval: str
    p: str
    verdict: str
    badge: str
    sign: str
    ratio: str
    ms_per_step: str
    memory: str
    parameters: str
    runs: str
    failed: int


def summary_lines(study: Contents) -> list[SummaryLine]:
    """Write out the summary rows."""
    return [_summary_line(row) for row in study.summary]


def _summary_line(row: SummaryRow) -> SummaryLine:
    scale = Scale(row.metric)
    badge, sign = BADGES.get(row.verdict, ("untested", "?"))
    is_baseline = badge == "baseline"
    return SummaryLine(
        activation=row.activation,
        mean=scale.value(row.mean),
        interval=scale.span(row.low, row.high),
        difference=MISSING if is_baseline else scale.difference(row.difference),
        difference_interval=MISSING
        if is_baseline
        else scale.span(row.difference_low, row.difference_high, signed=True),
        p=MISSING if is_baseline else probability(row.p_holm),
        verdict=row.verdict,
        badge=badge,
        sign=sign,
        ratio=fixed(row.ms_ratio),
        ms_per_step=with_unit(significant(row.ms_per_step), " ms"),
        memory=significant(row.peak_memory_mb, 4),
        parameters=whole(row.parameters),
        runs=str(row.runs),
        failed=row.failed,
    )


def facts(study: Contents) -> list[str]:
    """What was learned from and for how long, for the line under the title."""
    data, settings = study.data, study.settings
    return [
        counted(len(data.classes), "class").replace("classs", "classes"),
        f"images {'×'.join(map(str, data.image_shape))}",
        f"{whole(data.train)} training, {whole(data.validation)} validation, {whole(data.test)} test",
        counted(len(settings.seeds), "seed"),
        counted(settings.epochs, "epoch"),
    ]


def settings_rows(study: Contents) -> list[tuple[str, str]]:
    """Every setting of the study, and what identifies the data."""
    stored = study.settings.model_dump(mode="json")
    rows = [(name.replace("_", " "), _setting(value)) for name, value in stored.items()]
    return [*rows, ("classes", _classes(study.data.classes)), ("data fingerprint", study.data.fingerprint)]


def _setting(value: object) -> str:
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


def _classes(names: tuple[str, ...]) -> str:
    more = len(names) - CLASSES_SHOWN
    return ", ".join(names[:CLASSES_SHOWN]) + (f" and {more} more" if more > 0 else "")
