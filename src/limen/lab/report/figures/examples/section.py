"""A section of predictions, and what the files that draw one share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from limen.lab.records import RunRecord
from limen.lab.report.figures.palette import Look
from limen.lab.report.figures.svg import Picture, draw, panel
from limen.lab.report.wording import short

UNSEEN = "One seed of each activation, on test examples that neither training nor the choice of the epoch saw."
SQUARE, WIDE = (360, 330), (760, 260)

_IMAGE = Markup('<img style="max-width: 100%" alt="{}" src="data:image/jpeg;base64,{}">')


@dataclass(frozen=True)
class Examples:
    """The section of the page."""

    title: str
    note: str
    pictures: tuple[Picture, ...]
    legend: tuple[tuple[str, str], ...] = ()
    wide: bool = False


def plots(
    shown: list[RunRecord],
    styles: dict[str, Look],
    paint: Callable[[Axes, RunRecord, Look], None],
    size: tuple[int, int] = SQUARE,
) -> tuple[Picture, ...]:
    """A plot of each run."""
    pictures = []
    for index, run in enumerate(shown):
        label = f"Predictions of {run.activation}, seed {run.seed}, against the truth"
        svg = draw(size, f"example{index}-", label, partial(_in_panel, paint, run, styles[run.activation]))
        pictures.append(Picture(svg, caption(run)))
    return tuple(pictures)


def _in_panel(paint: Callable[[Axes, RunRecord, Look], None], run: RunRecord, look: Look, figure: Figure) -> None:
    paint(panel(figure, 62, 44, 10, 8), run, look)


def caption(run: RunRecord) -> str:
    """Whose picture it is."""
    return f"{short(run.activation)}, seed {run.seed}"


def photograph(jpeg: str, said: str, caption: str) -> Picture:
    """A JPEG in base64, with what it is in words for those who do not see it."""
    return Picture(_IMAGE.format(said, jpeg), caption)
