"""How the networks of a study were trained, and by what its verdicts were reached, for the note below its table."""

from __future__ import annotations

from markupsafe import Markup

from limen.lab.metric import Metric
from limen.lab.report.trained import trained, usual
from limen.lab.settings import StudySettings

COULD_SEE = (
    "“Could see” is the smallest true difference that so many seeds show in 80 of 100 studies, after the correction, "
    "for differences that spread as these do."
)

OF_TUNING = (
    "“@” names runs at an activation’s own rates, found by trials on validation data; they are compared with the "
    "baseline at its own, and all comparisons of both kinds are corrected together."
)


def method(settings: StudySettings, metric: Metric) -> Markup:
    """How intervals, differences and verdicts were made."""
    means = "Intervals are Student’s t over seeds, as far as the value can lie there."
    from_baseline = Markup("Differences are from <code>{}</code>, paired by seed").format(settings.baseline)
    if settings.margin is None:
        how = Markup(
            ", and their p values corrected for the number of comparisons (Holm). “No detectable difference” does not "
            "mean equal: the interval says how large a difference remains possible, and --margin asks whether it is "
            "too small to matter."
        )
    else:
        how = _three_way(settings, f"{settings.margin:g} {metric.difference_unit}".rstrip())
    how_trained = () if usual(settings) else (trained(settings),)
    twice = (OF_TUNING,) if settings.tune else ()
    return Markup(" ").join((*how_trained, means, from_baseline + how, *twice, COULD_SEE))


def _three_way(settings: StudySettings, margin: str) -> Markup:
    correction = Markup(
        " Both are corrected for all comparisons together, of each of which at most one of “no difference” and “{} or "
        "more” is true: in at most 5 of 100 studies any verdict is false."
    ).format(margin)
    if settings.max_seeds is None:
        test = Markup(". Better and worse: by the paired t test. Equivalent within {}: by two one-sided t tests.")
        return test.format(margin) + correction
    bet = Markup(
        ". Each activation got seeds until its verdict was in, {} at most. Better, worse and equivalent within {} are "
        "found by bets on the signs of the differences, whose stakes grow with their size; verdicts, p values and the "
        "intervals of differences hold whenever one looks, for differences that are symmetric about their centre."
    )
    return bet.format(settings.max_seeds, margin) + correction
