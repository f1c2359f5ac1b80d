"""What trained networks predict or make: for each kind of record a file that draws it."""

from __future__ import annotations

from collections.abc import Callable

from limen.lab.records import RunRecord
from limen.lab.report.contents import Contents
from limen.lab.report.figures.examples import confusion, grid, photographs, scatter, series, written
from limen.lab.report.figures.examples.section import Examples
from limen.lab.report.figures.palette import Look, looks

__all__ = ["Examples", "examples"]

_SECTIONS: dict[str, Callable[[list[RunRecord], dict[str, Look]], Examples]] = {
    "scatter": scatter.section,
    "series": series.section,
    "confusion": confusion.section,
    "grid": grid.section,
    "overlays": photographs.overlays,
    "heatmaps": photographs.heatmaps,
    "attention": photographs.attention,
    "written": written.section,
}

MOST_OF_MANY = 4
"""Activations whose predictions are drawn of many runs; they may be photographs."""


def examples(study: Contents) -> Examples | None:
    """Draw each activation's first run that kept its predictions; None where none did."""
    shown = [run for name in study.drawn if (run := _first(study, name)) is not None]
    shown = shown[:MOST_OF_MANY] if study.many else shown
    if not shown or shown[0].shown is None:
        return None
    return _SECTIONS[shown[0].shown.kind](shown, looks(study.activations, study.settings.baseline))


def _first(study: Contents, activation: str) -> RunRecord | None:
    return next((run for run in study.finished(activation) if run.shown is not None), None)
