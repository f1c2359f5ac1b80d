"""``limen compare --plan``: how many seeds a difference needs, before anything is trained."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from limen.commands.study import default_folder, until_decided
from limen.errors import SpecError
from limen.lab.metric import Metric
from limen.lab.numerals import finite
from limen.lab.option import DEFAULT, as_margin, as_specs
from limen.lab.study.planning import ASSUMED, SeedPlan, plan_seeds, said, size_said
from limen.lab.study.rows import read
from limen.lab.tasks import declared


def plan(given: Mapping[str, Any], out: Path | None, difference: float | None, sd: float | None, as_json: bool) -> None:
    """Plan from the pilot in the study's folder, or from a stated standard deviation, and print it."""
    folder = out or default_folder(given["data"], given["network"] or declared.find(given["task"]).defaults["network"])
    has_pilot = sd is None and (folder / "study.json").exists()
    if sd is None and not has_pilot:
        raise SpecError(
            f"--plan knows no spread between seeds: there is no study in {folder}. Name a pilot's folder with --out, "
            "or give the standard deviation of paired differences, such as --sd 0.6."
        )
    task = read(folder).task if has_pilot else declared.find(given["task"])
    wanted = _difference(given, task.measure, difference)
    if has_pilot:
        found = plan_seeds(wanted, pilot=folder)
    else:
        found = plan_seeds(wanted, sd=sd, comparisons=max(1, len(as_specs(given["activations"])) - 1))
    if as_json:
        whole = {**asdict(found), "seeds": found.seeds, "seconds": found.seconds}
        print(json.dumps(finite(whole), indent=1))
        return
    _show(found, task.measure, Console())


def _difference(given: Mapping[str, Any], measure: Metric, difference: float | None) -> float:
    """The difference to plan for: as given, else the margin, else the measure's own."""
    if difference is None:
        margin = as_margin(given["margin"] or DEFAULT)
        difference = until_decided({"margin": margin, "seeds": (0,)}, measure)["margin"]
    refused = measure.margin_refused(difference)
    if refused:
        raise SpecError(f"--difference {difference:g} is not possible: {refused}.")
    return difference


def _show(found: SeedPlan, measure: Metric, console: Console) -> None:
    table = Table(
        title=f"Seeds for {size_said(measure, found.difference)} of {measure.title}, in 80 of 100 studies",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("activation", overflow="fold")
    for heading in ("spread\nof pairs", "seeds\nnow", "see now", "to find\nit", "to exclude\nit"):
        table.add_column(heading, justify="right")
    for one in found.needed:
        table.add_row(
            "" if one.activation == ASSUMED else escape(one.activation),
            f"{one.deviation:.3g}",
            str(one.pairs) if one.pairs else "",
            measure.detectable(one.detectable) if math.isfinite(one.detectable) else "",
            said(one.to_differ),
            said(one.to_equate),
        )
    console.print(table)
    console.print(_sentence(found), highlight=False)


def _sentence(found: SeedPlan) -> str:
    """What all of it takes, and how long."""
    if found.seeds is None:
        return f"More than 10,000 seeds would be needed; {found.difference:g} is too small beside this spread."
    more = max(0, found.seeds - found.done)
    if not math.isfinite(found.seconds):
        return f"{found.seeds} seeds decide either way; a pilot in --out would say how long they take."
    if not more:
        return f"The {found.done} seeds that are there suffice."
    return (
        f"{found.seeds} seeds decide either way: {more} more, about {duration(found.seconds)} here "
        f"({found.seconds_a_seed:.3g} s for all activations once)."
    )


def duration(seconds: float) -> str:
    """Seconds as a person says them.

    >>> duration(42.2), duration(600), duration(9000)
    ('42 s', '10 minutes', '2.5 hours')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
