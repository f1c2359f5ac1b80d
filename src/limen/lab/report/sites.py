"""The learned shapes regrouped: for one activation, each layer with its shapes over the seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from limen.lab.numerals import MISSING, fixed, significant
from limen.lab.records import LayerShape, RunRecord
from limen.lab.report.wording import counted, listed

MOST_NAMED = 50
"""Seeds that a cell names one by one."""


@dataclass(frozen=True)
class Site:
    """One layer of the network, with the function each seed's run learned there."""

    path: str
    shapes: tuple[tuple[int, LayerShape], ...]
    """Seed and shape, in the order of the runs."""

    @property
    def kinds(self) -> str:
        """The module classes found here: one, unless a plan chose differently by seed."""
        return " or ".join(dict.fromkeys(shape.activation.partition("(")[0] for _, shape in self.shapes))


@dataclass(frozen=True)
class Cell:
    """A number in a table: its mean over seeds (and channels), and its range where it has one."""

    mean: str
    span: str = ""


@dataclass(frozen=True)
class ParameterTable:
    """Learned parameters, a row a layer."""

    names: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


@dataclass(frozen=True)
class Weight:
    """The mean mixture weight of one candidate in one layer."""

    text: str
    share: float
    """Between 0 and 1: how dark the cell is."""


@dataclass(frozen=True)
class WeightTable:
    """Mixture weights, a row a layer, with the candidate that each seed's run prefers."""

    candidates: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Weight, ...], str], ...]


def sites(runs: Iterable[RunRecord]) -> tuple[Site, ...]:
    """Group the shapes of one activation's runs by layer, in the order of the network."""
    found: dict[str, list[tuple[int, LayerShape]]] = {}
    for run in runs:
        for shape in run.layers:
            found.setdefault(shape.path, []).append((run.seed, shape))
    return tuple(Site(path, tuple(shapes)) for path, shapes in found.items())


def parameter_table(layers: Sequence[Site]) -> ParameterTable:
    """Tabulate the learned parameters: the mean over seeds and channels, and the range."""
    names = tuple(dict.fromkeys(n for site in layers for _, shape in site.shapes for n in shape.parameters))
    rows = tuple((site.path, tuple(_parameter(site, name) for name in names)) for site in layers)
    return ParameterTable(names, rows)


def weight_table(layers: Sequence[Site]) -> WeightTable:
    """Tabulate the mixture weights of the layers that have some."""
    mixed = [site for site in layers if any(shape.weights for _, shape in site.shapes)]
    names = tuple(dict.fromkeys(n for site in mixed for _, shape in site.shapes for n in shape.weights))
    rows = tuple((site.path, tuple(_weight(site, name) for name in names), winners(site)) for site in mixed)
    return WeightTable(names, rows)


def winners(site: Site) -> str:
    """Say which candidate has the largest weight, and in which seeds."""
    won: dict[str, list[str]] = {}
    for seed, shape in site.shapes:
        known = {name: weight for name, weight in shape.weights.items() if math.isfinite(weight)}
        if known:
            won.setdefault(max(known, key=lambda name: known[name]), []).append(str(seed))
    if not won:
        return MISSING
    if len(won) == 1:
        name, seeds = next(iter(won.items()))
        return f"{name} (seed {seeds[0]})" if len(seeds) == 1 else f"{name} (all {counted(len(seeds), 'seed')})"
    ordered = sorted(won.items(), key=lambda item: -len(item[1]))
    if sum(map(len, won.values())) > MOST_NAMED:
        return "; ".join(f"{name} ({counted(len(s), 'seed')})" for name, s in ordered)
    return "; ".join(f"{name} (seed{'s'[: len(s) > 1]} {listed(s)})" for name, s in ordered)


def _finite(values: Iterable[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]


def _parameter(site: Site, name: str) -> Cell:
    values = _finite(v for _, shape in site.shapes for v in shape.parameters.get(name, ()))
    if not values:
        return Cell(MISSING)
    low, high = significant(min(values)), significant(max(values))
    return Cell(significant(math.fsum(values) / len(values)), "" if low == high else f"{low} to {high}")


def _weight(site: Site, name: str) -> Weight:
    values = _finite(shape.weights[name] for _, shape in site.shapes if name in shape.weights)
    if not values:
        return Weight(MISSING, 0.0)
    mean = math.fsum(values) / len(values)
    return Weight(fixed(mean), min(max(round(mean, 3), 0.0), 1.0))
