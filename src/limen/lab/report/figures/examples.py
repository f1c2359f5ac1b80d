"""What trained networks predict or make, of one seed's run of each activation: curves, matrices, pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from limen.lab.records import Attention, Confusion, Grid, Heatmaps, Overlay, Overlays, RunRecord, Scatter, Series
from limen.lab.report.contents import Contents
from limen.lab.report.figures.confusion import confusion
from limen.lab.report.figures.palette import BASELINE, INK, Look, looks
from limen.lab.report.figures.svg import Picture, draw, panel
from limen.lab.report.wording import short

SQUARE, WIDE = (360, 330), (760, 260)
TIMES_SHOWN = 6


@dataclass(frozen=True)
class Examples:
    """The section of the page."""

    title: str
    note: str
    pictures: tuple[Picture, ...]
    legend: tuple[tuple[str, str], ...] = ()
    wide: bool = False


def examples(study: Contents) -> Examples | None:
    """Draw each activation's first run that kept its predictions; None where none did."""
    shown = [run for name in study.activations if (run := _first(study, name)) is not None]
    if not shown:
        return None
    styles = looks(study.activations, study.settings.baseline)
    kind = type(shown[0].shown)
    note = "One seed of each activation, on test examples that neither training nor the choice of the epoch saw."
    if kind is Scatter:
        return Examples("Predicted against true", f"{note} On the line a prediction is exact.", _plots(shown, styles))
    if kind is Series:
        note += " Grey: what came; coloured: the forecast of each step from the steps before it."
        return Examples("Forecast of the test span", note, _plots(shown, styles), wide=True)
    if isinstance(shown[0].shown, Heatmaps):
        pictures = tuple(picture for run in shown for picture in _heatmaps(run))
        return Examples("Localisation maps", f"{note} {_map_note(shown[0].shown)}", pictures)
    if kind is Attention:
        note += " Left the image, right the map over it: the brighter, the more a place spoke for the class predicted."
        return Examples("Where the networks look (Grad-CAM)", note, tuple(p for run in shown for p in _attention(run)))
    if kind is Confusion:
        note += " Rows: the true class; columns: the predicted; shaded by the share of the row. Right is the diagonal."
        return Examples("Confusion matrix", note, _plots(shown, styles))
    if kind is Grid:
        note = "One seed of each activation; for all of them from the same noise, which training did not see."
        return Examples("Generated images", note, _grids(shown))
    found = shown[0].shown
    assert isinstance(found, Overlays)
    pictures = tuple(picture for run in shown for picture in _overlays(run))
    note += f" From left to right: the image, the true {found.drawn}, the predicted {found.drawn}."
    boxes = found.drawn == "boxes"
    return Examples("Predicted boxes" if boxes else "Predicted masks", note, pictures, found.legend, wide=boxes)


def _first(study: Contents, activation: str) -> RunRecord | None:
    return next((run for run in study.finished(activation) if run.shown is not None), None)


def _plots(shown: list[RunRecord], styles: dict[str, Look]) -> tuple[Picture, ...]:
    pictures = []
    for index, run in enumerate(shown):
        paint, size = _painter(run, styles[run.activation])
        label = f"Predictions of {run.activation}, seed {run.seed}, against the truth"
        svg = draw(size, f"example{index}-", label, paint)
        pictures.append(Picture(svg, f"{short(run.activation)}, seed {run.seed}"))
    return tuple(pictures)


def _painter(run: RunRecord, look: Look) -> tuple[Callable[[Figure], None], tuple[int, int]]:
    found = run.shown
    if isinstance(found, Scatter):
        return (lambda figure: _scatter(panel(figure, 62, 44, 10, 8), found, look)), SQUARE
    if isinstance(found, Confusion):
        return (lambda figure: confusion(panel(figure, 62, 44, 10, 8), found)), SQUARE
    assert isinstance(found, Series)
    return (lambda figure: _series(panel(figure, 62, 40, 10, 8), found, look)), WIDE


def _scatter(axes: Axes, found: Scatter, look: Look) -> None:
    ends = [min(found.true), max(found.true)]
    axes.plot(ends, ends, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.plot(found.true, found.predicted, "o", markersize=3, alpha=0.5, color=look.colour, markeredgewidth=0)
    axes.set_xlabel(f"true {short(found.quantity)}")
    axes.set_ylabel("predicted")
    axes.grid()


def _series(axes: Axes, found: Series, look: Look) -> None:
    steps = range(len(found.true))
    axes.plot(steps, found.true, color=BASELINE, linewidth=2.4, alpha=0.55)
    axes.plot(steps, found.predicted, color=INK if look.colour == BASELINE else look.colour, linewidth=1)
    ticks = [round(i * (len(found.times) - 1) / (TIMES_SHOWN - 1)) for i in range(TIMES_SHOWN)]
    axes.set_xticks(ticks, [found.times[tick] for tick in ticks])
    axes.set_ylabel(short(found.quantity))
    axes.grid(axis="y")


def _overlays(run: RunRecord) -> list[Picture]:
    assert isinstance(run.shown, Overlays)
    drawn = run.shown.drawn
    return _photographs(run, run.shown.images, f"image, true {drawn}, {drawn} predicted by {run.activation}")


def _heatmaps(run: RunRecord) -> list[Picture]:
    assert isinstance(run.shown, Heatmaps)
    return _photographs(run, run.shown.images, f"image and map of how strange {run.activation} finds each pixel")


def _attention(run: RunRecord) -> list[Picture]:
    assert isinstance(run.shown, Attention)
    return _photographs(run, run.shown.images, f"image, and the Grad-CAM of {run.activation} over it")


def _map_note(found: Heatmaps) -> str:
    shown = "the image, the true mask (black where none is known), the map" if found.masks else "the image, the map"
    what = (
        "this network scores whole images, so its map is how much each pixel moves the score"
        if found.by_gradient
        else "the brighter, the stranger, on one scale for all images of an activation"
    )
    return f"From left to right: {shown}; {what}. The last image is normal."


def _photographs(run: RunRecord, images: tuple[Overlay, ...], what: str) -> list[Picture]:
    source = Markup('<img style="max-width: 100%" alt="{}" src="data:image/jpeg;base64,{}">')
    return [
        Picture(
            source.format(f"{image.name}: {what}", image.picture),
            f"{short(run.activation)}, seed {run.seed}: {short(image.name, 40)}",
        )
        for image in images
    ]


def _grids(shown: list[RunRecord]) -> tuple[Picture, ...]:
    """The real images once, then what each activation's run made."""
    source = Markup('<img style="max-width: 100%" alt="{}" src="data:image/jpeg;base64,{}">')
    pictures: list[Picture] = []
    for run in shown:
        assert isinstance(run.shown, Grid)
        if not pictures:
            pictures.append(Picture(source.format("Real test images", run.shown.real), "real test images"))
        said = f"Images generated with {run.activation}, seed {run.seed}"
        pictures.append(Picture(source.format(said, run.shown.picture), f"{short(run.activation)}, seed {run.seed}"))
    return tuple(pictures)
