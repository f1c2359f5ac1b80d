"""Honest comparison of paired runs: intervals, paired tests, their correction, power, equivalence, looking early."""

from limen.lab.statistics.correction import holm, one_of_two
from limen.lab.statistics.equivalence import equivalence_power, tost
from limen.lab.statistics.intervals import LEVEL, UNBOUNDED, Bounds, Interval, interval, of_differences
from limen.lab.statistics.paired import ROUNDING, Comparison, compare
from limen.lab.statistics.planning import further_seeds, seeds_for
from limen.lab.statistics.power import POWER, detectable, power
from limen.lab.statistics.sequential import LookedAt, always_interval, fewest_seeds, look
from limen.lab.statistics.verdicts import correct, decide, decide_sequentially, or_equivalent, word_of

__all__ = [
    "LEVEL",
    "POWER",
    "ROUNDING",
    "UNBOUNDED",
    "Bounds",
    "Comparison",
    "Interval",
    "LookedAt",
    "always_interval",
    "compare",
    "correct",
    "decide",
    "decide_sequentially",
    "detectable",
    "equivalence_power",
    "fewest_seeds",
    "further_seeds",
    "holm",
    "interval",
    "look",
    "of_differences",
    "one_of_two",
    "or_equivalent",
    "power",
    "seeds_for",
    "tost",
    "word_of",
]
