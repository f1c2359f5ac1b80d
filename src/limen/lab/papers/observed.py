"""What a study observed beside its scores, in Markdown: gradients by depth, and what every activation received."""

from __future__ import annotations

import math
from collections.abc import Sequence

from limen.lab.metric import GRADIENT_DEPTH_RATIO, KEPT, NORMAL_DISTANCE, PERCENTILE, THRESHOLD, Metric
from limen.lab.numerals import between, fixed, plain, with_span
from limen.lab.records import RunRecord, SiteRow
from limen.lab.report.markdown import Row
from limen.lab.statistics import Interval, interval
from limen.lab.training.notes import geometric_mean

MOST_SITES = 8
"""Of a deeper network so many sites are tabulated, evenly chosen, the first and the last among them."""

Table = tuple[Row, Sequence[Row]]


def tables(runs: Sequence[RunRecord]) -> list[tuple[str, Table]]:
    """Every table that the runs give, with the sentence above it."""
    finished = [run for run in runs if run.status == "finished"]
    names = list(dict.fromkeys(run.activation for run in finished))
    found = []
    if any(run.gradients for run in finished):
        found.append((_GRADIENTS, _gradients(names, finished)))
    if any(run.sites for run in finished):
        found.append((_NORMALITY, _by_site(names, finished, NORMAL_DISTANCE)))
        thresholds = [name for name in names if any(_thresholds(run) for run in finished if run.activation == name)]
        if thresholds:
            found.append((_PERCENTILES, _percentiles(thresholds, finished)))
    return found


_GRADIENTS = (
    "Norm of the loss's gradient at the outputs of an activation, the geometric mean over all steps and seeds, from "
    "the first site to the last; and the first relative to the last (95 % over seeds, of the logarithms)."
)
_NORMALITY = (
    "Kolmogorov distance of each site's inputs from the normal distribution of their mean and deviation, after "
    "training, on held-out examples; the mean over seeds. 0 is normal; a uniform distribution has 0.06, an exponential "
    "one 0.16."
)
_PERCENTILES = (
    "ASH's threshold after training: z, the percentage of normal inputs above it, and the percentage of the inputs "
    "that really lie above it (95 % over seeds)."
)


def _gradients(names: Sequence[str], runs: Sequence[RunRecord]) -> Table:
    paths = _chosen(list(dict.fromkeys(row.path for run in runs for row in run.gradients)))
    rows = []
    for name in names:
        mine = [run for run in runs if run.activation == name]
        by_site = [_norm(mine, path) for path in paths]
        ratios = [run.metrics.get(GRADIENT_DEPTH_RATIO.on_test, math.nan) for run in mine]
        logs = interval([math.log10(ratio) for ratio in ratios if ratio > 0])
        ratio, low, high = (fixed(10**value) for value in (logs.mean, logs.low, logs.high))
        rows.append((name, *(f"{norm:.2e}" for norm in by_site), with_span(ratio, between(low, high))))
    return ("activation", *(f"`{path}`" for path in paths), "first / last"), rows


def _norm(runs: Sequence[RunRecord], path: str) -> float:
    return geometric_mean([row.gradient for run in runs for row in run.gradients if row.path == path])


def _by_site(names: Sequence[str], runs: Sequence[RunRecord], metric: Metric) -> Table:
    every = list(dict.fromkeys(site.path for run in runs for site in run.sites))
    rows = []
    for name in names:
        mine = [run for run in runs if run.activation == name]
        means = {path: _over_seeds(mine, path, metric).mean for path in every}
        least = max(means, key=lambda path: means[path])
        shown = (metric.value(means[path]) for path in _chosen(every))
        rows.append((name, *shown, f"{metric.value(means[least])} (`{least}`)"))
    return ("activation", *(f"`{path}`" for path in _chosen(every)), "least normal of all"), rows


def _percentiles(names: Sequence[str], runs: Sequence[RunRecord]) -> Table:
    metrics = (THRESHOLD, PERCENTILE, KEPT)
    rows = []
    for name in names:
        mine = [run for run in runs if run.activation == name]
        for path in _chosen(list(dict.fromkeys(site.path for run in mine for site in run.sites))):
            cells = (plain(metric.mean(_over_seeds(mine, path, metric))) for metric in metrics)
            rows.append((name, f"`{path}`", *cells))
    return ("activation", "site", *(metric.title for metric in metrics)), rows


def _over_seeds(runs: Sequence[RunRecord], path: str, metric: Metric) -> Interval:
    return metric.interval([getattr(site, metric.name) for run in runs for site in run.sites if site.path == path])


def _thresholds(run: RunRecord) -> list[SiteRow]:
    return [site for site in run.sites if math.isfinite(site.z)]


def _chosen(paths: Sequence[str]) -> list[str]:
    if len(paths) <= MOST_SITES:
        return list(paths)
    last = len(paths) - 1
    return [paths[round(index * last / (MOST_SITES - 1))] for index in range(MOST_SITES)]
