"""Images that a network made, beside real ones."""

from __future__ import annotations

from limen.lab.records import Grid, RunRecord
from limen.lab.report.figures.examples.section import Examples, caption, photograph
from limen.lab.report.figures.palette import Look
from limen.lab.report.figures.svg import Picture


def section(shown: list[RunRecord], styles: dict[str, Look]) -> Examples:
    """The real images once, then what each activation's run made."""
    pictures: list[Picture] = []
    for run in shown:
        assert isinstance(run.shown, Grid)
        if not pictures:
            pictures.append(photograph(run.shown.real, "Real test images", "real test images"))
        said = f"Images generated with {run.activation}, seed {run.seed}"
        pictures.append(photograph(run.shown.picture, said, caption(run)))
    note = "One seed of each activation; for all of them from the same noise, which training did not see."
    return Examples("Generated images", note, tuple(pictures))
