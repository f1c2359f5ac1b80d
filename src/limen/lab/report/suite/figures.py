"""What a suite's page draws: changes of the error, average ranks, and the profile of all runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from limen.lab.numerals import fixed
from limen.lab.report.figures.palette import BASELINE, INK, MUTED, PAPER, Look, looks
from limen.lab.report.figures.svg import Picture, draw, panel
from limen.lab.report.suite.contents import SuiteContents, SuiteLine
from limen.lab.report.wording import short
from limen.lab.statistics import Profile, Ranks

WIDTH, ROW = 680, 40
MOST_DRAWN = 24
"""Activations in a figure; the table has all."""


def _looks(suite: SuiteContents) -> dict[str, Look]:
    return looks(suite.activations, suite.baseline)


# --- changes of the error -----------------------------------------------------------------------------------


def changes(suite: SuiteContents) -> Picture | None:
    """The change of each activation with both intervals, and a circle a problem."""
    lines = [line for line in suite.lines if math.isfinite(line.change)][:MOST_DRAWN]
    if not lines:
        return None
    label = f"Change of the error against {suite.baseline}: " + "; ".join(
        f"{line.activation} {fixed(line.change, 1, signed=True)} {suite.unit}" for line in lines
    )
    svg = draw((WIDTH, 46 + ROW * len(lines)), "changes-", label, lambda figure: _paint_changes(figure, lines, suite))
    return Picture(
        svg,
        "Dot and thick bar: mean over problems, 95 % interval for these problems; thin bar: for problems like these; "
        f"small circles: single problems; dashed line: {suite.baseline}. Left of it is less error.",
    )


def _paint_changes(figure: Figure, lines: Sequence[SuiteLine], suite: SuiteContents) -> None:
    styles = _looks(suite)
    axes = panel(figure, 18 + 6.6 * max(len(short(line.activation)) for line in lines), 40, 66, 6)
    for y, line in enumerate(lines):
        colour = styles[line.activation].colour
        _bar(axes, y, line.like_low, line.like_high, colour, 1)
        _bar(axes, y, line.change_low, line.change_high, colour, 4)
        each = [one.cells[line.activation].change.mean for one in suite.counted if line.activation in one.cells]
        known = [change for change in each if math.isfinite(change)]
        axes.plot(known, [y + 0.27] * len(known), "o", markersize=4.2, color=colour, markerfacecolor=PAPER)
        axes.plot([line.change], [y], "o", markersize=8.5, color=colour, markeredgecolor=PAPER)
        said = fixed(line.change, 1, signed=True)
        axes.annotate(
            said, (1, y), (10, 0), ("axes fraction", "data"), "offset pixels", va="center_baseline", color=INK
        )
    axes.axvline(0, color=BASELINE, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    axes.set_yticks(range(len(lines)), [short(line.activation) for line in lines], color=INK)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_xlabel(f"Change of the error ({'% of ' + suite.baseline + '’s' if suite.relative else 'points'})")
    axes.grid(axis="x")
    axes.locator_params(axis="x", nbins=7)


def _bar(axes: Axes, y: float, low: float, high: float, colour: str, width: float) -> None:
    if math.isfinite(low) and math.isfinite(high):
        axes.plot([low, high], [y, y], color=colour, linewidth=width)


# --- average ranks ------------------------------------------------------------------------------------------


def ranking(suite: SuiteContents) -> Picture | None:
    """The critical-difference diagram: average ranks on a line, and bars over those that are not told apart."""
    if suite.ranks is None or len(suite.ranks.of) > MOST_DRAWN:
        return None
    found = suite.ranks
    label = "Average ranks: " + "; ".join(f"{name} {fixed(rank)}" for name, rank in found.of.items())
    height = 70 + 22 * ((len(found.of) + 1) // 2) + 9 * len(found.alike)
    svg = draw((WIDTH, height), "ranks-", label, lambda figure: _paint_ranks(figure, found, suite))
    return Picture(
        svg,
        f"Average ranks over {found.problems} problems, 1 is the best. Bars join those that a Nemenyi test does not "
        f"tell apart: their ranks differ by less than the critical difference, {fixed(found.critical)}.",
    )


def _paint_ranks(figure: Figure, found: Ranks, suite: SuiteContents) -> None:
    styles = _looks(suite)
    ordered = sorted(found.of, key=lambda name: found.of[name])
    rows, bars = (len(ordered) + 1) // 2, len(found.alike)
    axes = panel(figure, 110, 6, 110, 26)
    low, high = 1, len(ordered)
    top = 1.0 + 0.4 * bars
    axes.set_xlim(low, high)
    axes.set_ylim(top + rows + 0.2, -0.6)
    axes.xaxis.set_ticks_position("top")
    axes.set_xticks(range(low, high + 1))
    axes.spines["bottom"].set_visible(False)
    axes.spines["top"].set_visible(True)
    axes.set_yticks([])
    for place, clique in enumerate(found.alike):
        y = 0.2 + 0.4 * place
        ends = [found.of[clique[0]] - 0.04, found.of[clique[-1]] + 0.04]
        axes.plot(ends, [y, y], color=INK, linewidth=4, clip_on=False)
    for place, name in enumerate(ordered):
        left = place < rows
        y = top + (place if left else len(ordered) - 1 - place)
        edge, x = (low if left else high), found.of[name]
        axes.plot([x, x, edge], [-0.6, y, y], color=styles[name].colour, linewidth=1.4, clip_on=False)
        offset, side = ((-8, 0), "right") if left else ((8, 0), "left")
        said = f"{short(name, 12)} {fixed(x)}"
        axes.annotate(said, (edge, y), offset, textcoords="offset pixels", ha=side, va="center_baseline", color=INK)


# --- the profile of all runs --------------------------------------------------------------------------------


def profiles(suite: SuiteContents) -> Picture | None:
    """In which part of all runs the error is at most so large."""
    drawn = {name: found for name, found in suite.profiles.items() if found.errors}
    drawn = dict([*drawn.items()][:MOST_DRAWN])
    if not drawn:
        return None
    axis = f"{suite.baseline}’s mean error on the problem" if suite.relative else "100 points"
    label = "Performance profile: " + "; ".join(
        f"{name} {fixed(100 * found.at(_mark(suite)), 0)} % of runs" for name, found in drawn.items()
    )
    svg = draw((WIDTH, 300), "profile-", label, lambda figure: _paint_profiles(figure, drawn, suite))
    return Picture(
        svg,
        f"For every size of the error, in parts of {axis}, the share of runs whose error is no larger; problems count "
        "the same, and runs that failed never count. Higher and further left is better.",
    )


def _mark(suite: SuiteContents) -> float:
    return 1.0 if suite.relative else math.inf


def _paint_profiles(figure: Figure, drawn: dict[str, Profile], suite: SuiteContents) -> None:
    styles = _looks(suite)
    axes = panel(figure, 46, 40, 12, 8)
    largest = max(found.errors[-1] for found in drawn.values())
    least = min(found.errors[0] for found in drawn.values())
    for name, found in drawn.items():
        x = [least, *found.errors, largest]
        y = [0.0, *found.shares, found.shares[-1]]
        axes.step(
            x, [100 * share for share in y], where="post", color=styles[name].colour, linestyle=styles[name].linestyle
        )
    if suite.relative:
        axes.axvline(1, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    axes.set_ylim(0, 102)
    axes.set_xlabel(f"Error ÷ {suite.baseline}’s mean error" if suite.relative else "Error (points)")
    axes.set_ylabel("Runs (%)")
    axes.grid()
