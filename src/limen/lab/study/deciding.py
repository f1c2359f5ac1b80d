"""Which runs a study wants next: all of them, or with --seeds auto those that can still decide something."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from limen.errors import SpecError
from limen.lab.declaration import Declaration
from limen.lab.metric import Metric
from limen.lab.records import RunRecord
from limen.lab.settings import OPTIMIZED, SEARCHED, SelectSettings, StudySettings
from limen.lab.statistics import LEVEL, fewest_seeds, word_of
from limen.lab.study.agenda import Pair
from limen.lab.study.summary import compared

MOST_BY_DEFAULT = 30
"""Seeds."""
HOPELESS = 3
"""Failed runs without a finished one, after which an activation gets no more."""


def wanted(task: Declaration, settings: StudySettings, runs: Sequence[RunRecord]) -> list[Pair]:
    """The runs that are missing, given those that are done, in the order in which they are to be made.

    Seeds outermost: an interrupted study has every activation for the seeds it has. With ``max_seeds`` what is decided
    gets no more runs, and the baseline gets them as long as anything is open.
    """
    activations = settings.compared if settings.max_seeds is None else _open(task, settings, runs)
    done = {(run.activation, run.seed) for run in runs}
    pairs = ((name, seed) for seed in settings.seeds for name in activations)
    return [pair for pair in pairs if pair not in done]


def _open(task: Declaration, settings: StudySettings, runs: Sequence[RunRecord]) -> list[str]:
    """The activations that are to get more runs."""
    hopeless = {name for name in settings.compared if _is_hopeless(name, runs)}
    found = compared(task, settings, runs)
    undecided = {
        name
        for name, one in found.items()
        if word_of(one.verdict) == "undecided" and not {name, settings.against(name)} & hopeless
    }
    if not undecided:
        return []
    needed = {*undecided, *map(settings.against, undecided)}
    needed |= {settings.same_as(name) for name in needed}
    if isinstance(settings, SelectSettings) and OPTIMIZED in needed:
        needed.add(SEARCHED)  # the network of a seed is optimised by what was searched with it
    return [name for name in settings.compared if name in needed]


def _is_hopeless(activation: str, runs: Iterable[RunRecord]) -> bool:
    states = [run.status for run in runs if run.activation == activation]
    return len(states) >= HOPELESS and "finished" not in states


@dataclass
class Deciding:
    """The runs of a study seed by seed, chosen anew when all of a seed have ended.

    So they are the same however many are computed at a time.
    """

    task: Declaration
    settings: StudySettings
    runs: list[RunRecord]
    needs: Callable[[Pair], Pair | None] = lambda pair: None
    """The run that one builds upon."""
    of_seed: list[Pair] = field(default_factory=list)
    """Still to be given, of the seed that is being run."""
    given: set[Pair] = field(default_factory=set)
    """Computed now."""

    def next(self) -> Pair | None:
        """A run that can be made now, given once; None where there is none, or none before another has ended."""
        if not self.of_seed and not self.given:
            missing = wanted(self.task, self.settings, self.runs)
            self.of_seed = [pair for pair in missing if pair[1] == missing[0][1]]
        waiting = {*self.of_seed, *self.given}
        pair = next((pair for pair in self.of_seed if self.needs(pair) not in waiting), None)
        if pair is not None:
            self.of_seed.remove(pair)
            self.given.add(pair)
        return pair

    def ended(self, run: RunRecord) -> None:
        """A run is stored."""
        self.runs.append(run)
        self.given.discard((run.activation, run.seed))


def check_verdicts(measure: Metric, settings: StudySettings) -> None:
    """Raise for a margin or a number of seeds by which nothing can be decided."""
    margin, most = settings.margin, settings.max_seeds
    refused = measure.margin_refused(margin) if margin is not None else ""
    if refused:
        raise SpecError(f"--margin {margin:g} is not possible: {refused}; give what does not matter, such as 0.5.")
    if most is None:
        return
    if margin is None:
        raise SpecError(
            "--seeds auto needs a --margin, the difference that does not matter, or two equal activations would be run "
            f"for ever; give it {_unit(measure)}."
        )
    others = (len(settings.activations) - 1) * (2 if settings.tune else 1)
    if others < 1:
        raise SpecError("--seeds auto decides between activations, and one was named; name two or more.")
    least = fewest_seeds((1 - LEVEL) / others, two_sided=True)
    if most < least:
        raise SpecError(
            f"--max-seeds {most} is not possible: with {others} comparisons no difference can be found before {least} "
            f"seeds; give {least} or more."
        )


def _unit(measure: Metric) -> str:
    """How a margin of a measure is given."""
    unit = f"in {measure.difference_unit}" if measure.difference_unit else f"in the unit of the {measure.title}"
    return unit + (f", such as --margin {measure.margin:g}" if measure.margin else "")
