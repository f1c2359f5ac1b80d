"""How well each place of a window is predicted, all activations in one plot, and what each one's network writes."""

from __future__ import annotations

from functools import partial

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from limen.lab.records import RunRecord, Written
from limen.lab.report.figures.examples.section import UNSEEN, WIDE, Examples, caption
from limen.lab.report.figures.palette import Look
from limen.lab.report.figures.svg import Picture, draw, panel
from limen.lab.report.wording import short

LONGEST = 2000
"""Characters of a sample that are shown."""
_TEXT = Markup('<pre class="written"><span class="prompt">{}</span>{}</pre>')


def section(shown: list[RunRecord], styles: dict[str, Look]) -> Examples:
    """The losses in one plot, then a sample of each activation."""
    first = shown[0].shown
    assert isinstance(first, Written)
    note = (
        f"{UNSEEN} The loss is the mean over all windows of the test text, by how far into its window a token lies: "
        f"later ones have more {first.unit} to be predicted from. Grey: the beginning of the test text; then what each "
        "network drew from its own predictions, all from the same random numbers."
    )
    label = "Loss by place in the window of " + ", ".join(run.activation for run in shown)
    plot = Picture(
        draw(WIDE, "places-", label, partial(_paint, shown, styles)),
        "loss by place in the window, over all test windows",
    )
    samples = (Picture(_text(run), caption(run)) for run in shown)
    legend = tuple((short(run.activation), styles[run.activation].css) for run in shown)
    return Examples("Predicted and written text", note, (plot, *samples), legend, wide=True)


def _paint(shown: list[RunRecord], styles: dict[str, Look], figure: Figure) -> None:
    axes: Axes = panel(figure, 62, 44, 10, 8)
    for run in shown:
        found, look = run.shown, styles[run.activation]
        assert isinstance(found, Written)
        axes.plot(found.places, found.bits, color=look.colour, linestyle=look.linestyle, linewidth=1.4)
        axes.set_xlabel(f"place of the predicted one among the {short(found.unit)} of a window")
    axes.set_ylabel("bits")
    last = max(run.shown.places[-1] for run in shown if isinstance(run.shown, Written))
    axes.set_xlim(1, max(last, 2))
    axes.set_xticks(sorted({1 + round(part * (last - 1) / 4) for part in range(5)}))
    axes.grid(axis="y")


def _text(run: RunRecord) -> Markup:
    found = run.shown
    assert isinstance(found, Written)
    return _TEXT.format(printable(found.prompt[-LONGEST:]), printable(found.sample[:LONGEST]))


def printable(text: str) -> str:
    """A text with a dot for every character that a page cannot show.

    >>> printable("a\\tb\\x00\\n")
    'a\\tb·\\n'
    """
    return "".join(one if one.isprintable() or one in "\n\t" else "·" for one in text)
