"""What must be known of a study that was asked for more after it had begun."""

from __future__ import annotations

from collections.abc import Sequence

from limen.lab.records import Asked
from limen.lab.report.wording import listed


def growth(asked: Sequence[Asked], *, any_time: bool = False) -> str:
    """When a study was asked for what; empty where all of it was asked for at once.

    ``any_time``: more seeds change nothing of what its verdicts are worth, though more activations do.

    >>> began = Asked(when="2026-11-28T10:12:35+00:00", activations=("relu", "ash"), seeds=(0, 1, 2))
    >>> growth([began])
    ''
    >>> print(growth([began, Asked(when="2026-12-01T08:00:00+00:00", seeds=(3, 4))]).partition(". Where")[0])
    This study grew. It began on 2026-11-28 10:12 UTC with relu and ash, seeds 0 to 2; on 2026-12-01 08:00 UTC seeds 3
    and 4 were added
    """
    if len(asked) < 2:
        return ""
    began, *later = asked
    when = f"on {_moment(began.when)}" if began.when else "before its dates were noted"
    parts = [f"It began {when} with {_what(began)}", *(f"on {_moment(one.when)} {_added(one)}" for one in later)]
    told = f"This study grew. {'; '.join(parts)}."
    if any_time and not any(one.activations for one in later):
        return told
    return (
        f"{told} Where more is asked for because of results that were seen, differences that are none are found more "
        "often than the p values say."
    )


def _moment(when: str) -> str:
    return f"{when[:16].replace('T', ' ')} UTC"


def _what(asked: Asked) -> str:
    return ", ".join(filter(None, (_names(asked.activations), _seeds(asked.seeds))))


def _added(asked: Asked) -> str:
    what = [*filter(None, (_names(asked.activations), _seeds(asked.seeds)))]
    verb = "was" if len(asked.activations) + len(asked.seeds) == 1 else "were"
    return f"{listed(what)} {verb} added"


def _names(activations: Sequence[str]) -> str:
    return listed([*activations]) if activations else ""


def _seeds(seeds: Sequence[int]) -> str:
    """Seeds, as a range where there are more than two in a row."""
    if not seeds:
        return ""
    first, last = seeds[0], seeds[-1]
    if len(seeds) == 1:
        return f"seed {first}"
    whole = len(seeds) > 2 and list(seeds) == [*range(first, last + 1)]
    return f"seeds {first} to {last}" if whole else f"seeds {listed([*map(str, seeds)])}"
