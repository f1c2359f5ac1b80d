"""Running a recipe, and holding its published numbers against the measured ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from limen.errors import StudyError
from limen.lab.declaration import Declaration
from limen.lab.executing.execution import ONE, Execution
from limen.lab.papers import recipe
from limen.lab.papers import verdicts as claims
from limen.lab.papers.recipe import Recipe
from limen.lab.records import CostRow, RunRecord, SummaryRow
from limen.lab.report.baking import change_by_baking
from limen.lab.report.growth import growth
from limen.lab.settings import SelectSettings, StudySettings
from limen.lab.statistics import Interval
from limen.lab.study import rows as stored
from limen.lab.study.compare import compare
from limen.lab.study.forms import as_csv
from limen.lab.study.listener import Listener
from limen.lab.study.result import Result
from limen.lab.study.rows import Rows
from limen.lab.study.select import select
from limen.lab.study.store import StudyFolder
from limen.lab.study.study import Study
from limen.lab.study.summary import REFERENCE, summarise
from limen.writing import write_atomically

NO_VERDICT = "none, quick"
"""In the place of a verdict where the recipe was scaled down."""


@dataclass(frozen=True)
class Reproduction:
    """A recipe's study with the published numbers beside it."""

    recipe: Recipe
    task: Declaration
    study: Study
    numbers: tuple[claims.NumberRow, ...]
    orders: tuple[claims.ClaimRow, ...]
    layers: tuple[claims.LayerRow, ...]
    baking: Interval
    """How much replacing the trained mixtures by their winners changes the measure."""
    summary: tuple[SummaryRow, ...] = ()
    runs: tuple[RunRecord, ...] = ()
    costs: tuple[CostRow, ...] = ()

    @property
    def full(self) -> bool:
        """Whether it is the paper's form, as far as the recipe has one."""
        return self.recipe.is_full(self.study.settings)

    @property
    def departures(self) -> tuple[str, ...]:
        """Where it differs from the paper."""
        return (*(() if self.full else self.recipe.scaled_departures), *self.recipe.departures)

    @property
    def notices(self) -> list[str]:
        """What must be known before the numbers are compared."""
        data, published = self.study.data, self.recipe.published
        found = []
        if self.study.quick:
            found.append("Scaled down (--quick): these numbers show that everything runs, and support no verdict.")
        elif not self.full:
            found.append("Scaled down to run without a GPU; --full runs the paper's form.")
        if grown := growth(self.study.asked):
            found.append(grown)
        seeds = len(self.study.settings.seeds)
        trained = [row for row in self.summary if row.verdict != REFERENCE]
        behind = [f"{row.activation} {row.runs}" for row in trained if row.runs < seeds]
        if behind:
            found.append(f"Not every run is finished: of {seeds} seeds {', '.join(behind)}.")
        used = data.train + data.validation
        if published is None:
            found.append("No published table of this experiment is known to us; what is measured stands alone.")
        elif published.train_images is None or published.test_images is None:
            found.append(
                f"How much data the paper had is not known to us; here are {used:,} training {data.unit} (of which "
                f"{data.validation:,} held out) and {data.test:,} test {data.unit}. The values are not comparable."
            )
        elif (used, data.test) != (published.train_images, published.test_images):
            found.append(
                f"Not the paper's amount of data: {used:,} training {data.unit} (of which {data.validation:,} held "
                f"out) and {data.test:,} test {data.unit} here, {published.train_images:,} and "
                f"{published.test_images:,} there. The values are not comparable; the orders are."
            )
        return found


def run(
    chosen: Recipe,
    settings: StudySettings,
    out: Path,
    listener: Listener,
    *,
    command: str = "",
    quick: bool = False,
    execution: Execution = ONE,
) -> tuple[Result, Reproduction]:
    """Run or continue a recipe in the folder ``out``."""
    named: dict[str, Any] = {
        "command": command,
        "recipe": chosen.reference,
        "quick": quick,
        "execution": execution,
    }
    if isinstance(settings, SelectSettings):
        result = select(settings, out, listener, **named)
    else:
        result = compare(settings, out, listener, **named)
    found = _held_against(chosen, Rows(out, result.study, result.runs, result.plan, result.costs))
    write_atomically(out / "reproduction.csv", as_csv(rows(found)))
    return result, found


def read(out: Path) -> Reproduction:
    """The reproduction that a study's folder holds, or a folder of its rows, worked out from the stored runs."""
    known = StudyFolder(out).read_study()
    if known is None or not known.recipe:
        raise StudyError(f"{out} holds no reproduction of a recipe; make one with 'limen reproduce NAME --out {out}'.")
    return _held_against(recipe.load(known.recipe), stored.read(out))


def _held_against(chosen: Recipe, result: Rows) -> Reproduction:
    orders = claims.order_rows(chosen, result.runs, among=result.study.settings.activations)
    layers = claims.layer_rows(chosen, result.plan)
    if result.study.quick:
        orders = [replace(row, paper_verdict=NO_VERDICT, honest_verdict=NO_VERDICT) for row in orders]
        layers = [replace(row, verdict=NO_VERDICT) for row in layers]
    numbers = claims.number_rows(chosen, result.runs)
    summary = summarise(result.task, result.study.settings, result.runs, ())
    held = (tuple(numbers), tuple(orders), tuple(layers))
    baking = change_by_baking(result.task.measure, result.runs)
    return Reproduction(chosen, result.task, result.study, *held, baking, summary, result.runs, result.costs)


def rows(found: Reproduction) -> list[dict[str, object]]:
    """Everything held against the paper as flat rows: numbers, then orders, then layers."""
    head: dict[str, object] = {"recipe": found.recipe.name, "quick": found.study.quick}
    numbers: Iterator[dict[str, object]] = (
        {
            "kind": "number",
            "subject": row.network,
            "published": row.published,
            "measured_as_the_paper": row.paper.mean,
            "measured_honestly": row.honest.mean,
            "verdict": "",
        }
        for row in found.numbers
    )
    orders: Iterator[dict[str, object]] = (
        {
            "kind": "order",
            "subject": row.claim,
            "published": row.published,
            "measured_as_the_paper": row.paper,
            "measured_honestly": row.honest,
            "verdict": row.honest_verdict,
            "verdict_as_the_paper": row.paper_verdict,
        }
        for row in found.orders
    )
    layers: Iterator[dict[str, object]] = (
        {
            "kind": "layer",
            "subject": f"layer {row.layer}: {row.words}",
            "measured_honestly": f"{row.winner}; {row.margin}",
            "verdict": row.verdict,
        }
        for row in found.layers
    )
    return [{**head, **row} for row in (*numbers, *orders, *layers)]
