"""Honest comparison of paired runs: intervals, paired tests, their correction, power, equivalence, looking early."""

from limen.lab.statistics.correction import holm, one_of_two
from limen.lab.statistics.equivalence import equivalence_power, tost
from limen.lab.statistics.groups import two_groups
from limen.lab.statistics.intervals import LEVEL, UNBOUNDED, Bounds, Interval, interval, of_differences
from limen.lab.statistics.paired import ROUNDING, Comparison, compare
from limen.lab.statistics.planning import further_seeds, seeds_for
from limen.lab.statistics.power import POWER, detectable, power
from limen.lab.statistics.profile import Profile, profile
from limen.lab.statistics.ranks import Ranks, ranks
from limen.lab.statistics.reaching import Course, Training, beside, training
from limen.lab.statistics.relative import relative_changes
from limen.lab.statistics.sequential import LookedAt, always_interval, fewest_seeds, look
from limen.lab.statistics.stratified import Stratified, stratified
from limen.lab.statistics.superiority import superiority
from limen.lab.statistics.verdicts import correct, decide, decide_sequentially, or_equivalent, word_of

__all__ = [
    "LEVEL",
    "POWER",
    "ROUNDING",
    "UNBOUNDED",
    "Bounds",
    "Comparison",
    "Course",
    "Interval",
    "LookedAt",
    "Profile",
    "Ranks",
    "Stratified",
    "Training",
    "always_interval",
    "beside",
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
    "profile",
    "ranks",
    "relative_changes",
    "seeds_for",
    "stratified",
    "superiority",
    "tost",
    "training",
    "two_groups",
    "word_of",
]
