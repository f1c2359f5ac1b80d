"""How a mixture's weights went over the epochs, a panel a layer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from limen.lab.metric import WEIGHT
from limen.lab.records import RunRecord
from limen.lab.report.figures.axes import count_epochs, keep_within
from limen.lab.report.figures.palette import Look, looks
from limen.lab.report.figures.svg import Picture, draw, panel
from limen.lab.report.wording import counted

SIZE = (320, 210)
Line = tuple[Look, list[int], np.ndarray]
"""A look, the epochs (n,) and the weights, a row a seed (seeds, n)."""


def candidate_looks(runs: Sequence[RunRecord]) -> dict[str, Look]:
    """How each candidate is drawn in every panel."""
    names = dict.fromkeys(name for run in runs for row in run.weights for name in row.weights)
    return looks([*names], "")


def trajectories(runs: Sequence[RunRecord]) -> list[Picture]:
    """Draw a panel for every layer whose weights were noted: the mean over seeds, and the range."""
    styles = candidate_looks(runs)
    paths = dict.fromkeys(row.path for run in runs for row in run.weights)
    pictures = []
    for index, path in enumerate(paths):
        lines = [(styles[name], *_table(runs, path, name)) for name in styles]
        kept = [line for line in lines if line[2].size]
        label = f"Weights of {path} over the epochs, {counted(len(kept), 'candidate')}"
        pictures.append(Picture(draw(SIZE, f"weights{index}-", label, partial(_paint, kept)), path))
    return pictures


def _table(runs: Sequence[RunRecord], path: str, name: str) -> tuple[list[int], np.ndarray]:
    """The weights by seed and epoch, over the epochs that every seed has."""
    by_seed = [{r.epoch: r.weights[name] for r in run.weights if r.path == path and name in r.weights} for run in runs]
    by_seed = [seed for seed in by_seed if seed]
    if not by_seed:
        return [], np.empty((0, 0))
    epochs = sorted(set.intersection(*(set(seed) for seed in by_seed)))
    return epochs, np.array([[seed[epoch] for epoch in epochs] for seed in by_seed])


def _paint(lines: Sequence[Line], figure: Figure) -> None:
    axes = panel(figure, 40, 36, 8, 8)
    for look, epochs, values in lines:
        axes.fill_between(epochs, values.min(0), values.max(0), color=look.colour, alpha=0.13, linewidth=0)
        axes.plot(epochs, values.mean(0), color=look.colour, linestyle=look.linestyle, clip_on=False)
    count_epochs(axes, [epoch for _, epochs, _ in lines for epoch in epochs], most=6)
    keep_within(axes.yaxis, WEIGHT.bounds)
    axes.grid(axis="y")
