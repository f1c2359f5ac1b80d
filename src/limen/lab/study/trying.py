"""Which rates a tuning tries: the same budget for every activation, the first trials common to all.

The first trial is at the shared rates. So that curves can be laid over each other, most of the trials lie at learning
rates common to all activations, evenly in the logarithm over three decades about the shared one, with all else as it is
shared. The rest are each activation's own and follow from its trials alone, whatever ran before or beside: of the
learning rate alone they halve the gaps beside the best, of several settings Optuna's TPE suggests them.

One seed can be a lucky one. Where trials have several, every trial is made with the first, and then, each time, the
best by its mean so far with its next seed, until the best has all: a rate that only the first seed survived is found
out for a run or two, and no seed is spent on rates that were never near.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from limen.errors import SpecError
from limen.lab.option import MOST_SEEDS
from limen.lab.rates import SETTINGS
from limen.lab.settings import SelectSettings, StudySettings

BY_DEFAULT = 9
"""Trials: seven common ones, half a decade apart, and two more."""
SEED = MOST_SEEDS
"""The first of every trial; the seeds of runs end below it."""
REACH = 10**1.5
"""Rates are tried from the shared one over this to the shared one times this."""
DECAYS = (1e-5, 1.0)
"""Between which weight decays are tried, beside the shared one; of AdamW, which multiplies them by the rate."""
DIGITS = 3
"""That a rate is rounded to, so that it can be read, and written again."""

Values = Mapping[str, float]
History = Sequence[tuple[Values, float | None]]
"""Of an activation's trials, in their order, what was tried and how good it was; None of a failed one."""


def check_tuning(settings: StudySettings) -> None:
    """Raise for a tuning that cannot be."""
    given = _given(settings)
    if isinstance(settings, SelectSettings) and given:
        raise SpecError(
            f"{given[0]} is not for limen select, whose optimised network follows from its search; tune by limen "
            "compare, and give --lr what it found."
        )
    if not settings.tune:
        if given:
            raise SpecError(f"{given[0]} belongs to --tune; add --tune lr, or leave it out.")
        return
    if settings.test_chooses:
        raise SpecError(
            f"--tune {','.join(settings.tune)} needs validation data, and --protocol paper holds none out, so that the "
            "test set would choose the rates; give --protocol honest or both."
        )
    if max(settings.seeds) >= SEED:
        raise SpecError(f"seed {max(settings.seeds)} may be one of the tuning's, which begin at {SEED:,}; give others.")
    for setting, (low, high) in ranges(settings).items():
        if not 0 < low < high < math.inf:
            shared, option = (
                getattr(settings, setting) or settings.learning_rate,
                setting.replace("learning_rate", "lr"),
            )
            raise SpecError(
                f"--tune tries rates about the shared one, and there is no room about {shared:g}; give another "
                f"--{option.replace('_', '-')}."
            )


def _given(settings: StudySettings) -> list[str]:
    """The options of a tuning that were given."""
    found = [f"--tune {','.join(settings.tune)}"] if settings.tune else []
    found += [f"--trials {settings.trials}"] if settings.trials is not None else []
    return [*found, *([f"--trial-seeds {settings.trial_seeds}"] if settings.trial_seeds > 1 else [])]


def budget(settings: StudySettings) -> int:
    """The trials of each activation."""
    return settings.trials or BY_DEFAULT


def seeds_of(settings: StudySettings) -> range:
    """The seeds that a trial may be made with, in their order.

    >>> tuned = StudySettings(
    ...     activations=("relu",), baseline="relu", seeds=(0,), data="digits", tune=("lr",), trial_seeds=3
    ... )
    >>> [*seeds_of(tuned)]
    [10000, 10001, 10002]
    """
    return range(SEED, SEED + settings.trial_seeds)


def ranges(settings: StudySettings) -> dict[str, tuple[float, float]]:
    """Between which values of each tuned setting trials lie.

    >>> tuned = StudySettings(activations=("relu",), baseline="relu", seeds=(0,), data="digits", tune=("lr",))
    >>> ranges(tuned)
    {'learning_rate': (3.16e-05, 0.0316)}
    """
    rate = settings.learning_rate
    about = {"learning_rate": rate, "activation_lr": settings.activation_lr or rate}
    found = {name: (rounded(value / REACH), rounded(value * REACH)) for name, value in about.items()}
    found["weight_decay"] = DECAYS
    return {SETTINGS[word]: found[SETTINGS[word]] for word in settings.tune}


def common(settings: StudySettings) -> list[dict[str, float]]:
    """The trials that every activation has, the first at the shared rates.

    >>> tuned = StudySettings(
    ...     activations=("relu",), baseline="relu", seeds=(0,), data="digits", tune=("lr",), trials=9
    ... )
    >>> [values["learning_rate"] for values in common(tuned)]
    [0.001, 0.000316, 0.00316, 0.0001, 0.01, 3.16e-05, 0.0316]
    """
    rate, steps = settings.learning_rate, _common_count(settings) // 2
    beside = [rounded(rate * REACH ** (sign * step / steps)) for step in range(1, steps + 1) for sign in (-1, 1)]
    shared = {"weight_decay": settings.weight_decay} if "weight-decay" in settings.tune else {}
    if "activation-lr" in settings.tune and settings.activation_lr is not None:
        shared["activation_lr"] = settings.activation_lr
    return [{"learning_rate": value, **shared} for value in (rate, *beside)]


def _common_count(settings: StudySettings) -> int:
    """Three quarters of the trials, of several settings half; an odd number, so that the shared rate is the middle.

    >>> tuned = StudySettings(activations=("relu",), baseline="relu", seeds=(0,), data="digits", tune=("lr",))
    >>> [_common_count(tuned.model_copy(update={"trials": trials})) for trials in (1, 2, 3, 6, 9, 20)]
    [1, 1, 3, 5, 7, 15]
    """
    trials = budget(settings)
    most = trials - trials // (4 if len(settings.tune) == 1 else 2)
    return most - (most + 1) % 2


def beside_best(history: History) -> float | None:
    """The learning rate that halves, in the logarithm, the wider gap beside the best; None where no trial has ended.

    Of equal gaps that towards the better neighbour. A handful of trials is too few for TPE, whose suggestion is then
    hardly more than chance: of nine activations whose best of five rates was 0.002 or 0.0112, and 0.0632 the worst, it
    had seven try 0.0576 (Optuna 5.0).

    >>> beside_best([({"learning_rate": 0.01}, 0.8), ({"learning_rate": 0.1}, 0.5), ({"learning_rate": 0.001}, 0.7)])
    0.00316
    """
    found = {values["learning_rate"]: goodness for values, goodness in history if goodness is not None}
    if not found:
        return None
    best = max(found, key=lambda rate: found[rate])
    tried = {values["learning_rate"]: goodness for values, goodness in history}
    beside = [
        max((rate for rate in tried if rate < best), default=None),
        min((rate for rate in tried if rate > best), default=None),
    ]

    def worth(rate: float) -> tuple[float, float]:
        goodness = tried[rate]
        return round(abs(math.log10(rate / best)), 2), -math.inf if goodness is None else goodness

    neighbours = sorted((rate for rate in beside if rate is not None), key=worth, reverse=True)
    halves = (rounded(math.sqrt(best * rate)) for rate in neighbours)
    return next((rate for rate in halves if rate not in tried), None)


def rounded(value: float) -> float:
    """To so many digits as are kept.

    >>> rounded(0.0031622776)
    0.00316
    """
    return float(f"{value:.{DIGITS}g}")
