"""The page: collects verdict, tables and figures, and pours them into the template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from limen.lab.numerals import significant
from limen.lab.rates import activation_of
from limen.lab.records import TORCHS_RELU
from limen.lab.report import latex, tables, verdict
from limen.lab.report.answer import answer
from limen.lab.report.classes import class_tables
from limen.lab.report.contents import Contents
from limen.lab.report.document import document, template
from limen.lab.report.figures.accuracy import intervals
from limen.lab.report.figures.cost import costs
from limen.lab.report.figures.curves import curves
from limen.lab.report.figures.differences import differences
from limen.lab.report.figures.examples import examples
from limen.lab.report.figures.palette import Look, looks
from limen.lab.report.figures.shapes import shape, values
from limen.lab.report.method import method
from limen.lab.report.numbers import Numbers, evenly
from limen.lab.report.selection import selection
from limen.lab.report.sites import ParameterTable, Site, WeightTable, parameter_table, sites, weight_table
from limen.lab.report.trained import trained
from limen.lab.report.training import NOTE, training_lines
from limen.lab.report.transfer import transfer_table
from limen.lab.report.tuning import tuning
from limen.lab.report.wording import counted

TITLES = {
    "answer": "Answer",
    "summary": "Summary",
    "sensitivity": "Learning rate",
    "accuracy": "Scores",
    "curves": "Curves",
    "shapes": "Learned shapes",
    "weights": "Mixture weights",
    "selection": "Selection",
    "training": "Training time",
    "runs": "Every run",
    "failures": "Failed runs",
    "made": "How it was made",
    "examples": "Pictures",
}
"""The sections in their order, as the links at the top call them."""
PLACES = (-3.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0)
"""Inputs at which the table behind the learned shapes has their values."""
MOST_FAILURES = 50
"""Failed runs in the table of them."""
MOST_PANELS_OF_MANY = 12
"""Layers drawn of all activations together where there are many runs; each takes a tenth of a second."""
MOST_PANELS = 24
"""Layers drawn of one activation, evenly over the depth; a panel is some 15 kB, and a network may have 163 layers."""


@dataclass(frozen=True)
class Panel:
    """One layer's learned shape, with its path and, where layers differ, the module found there."""

    path: str
    kind: str
    svg: Markup | None


@dataclass(frozen=True)
class ShapeSection:
    """The learned shapes of one activation."""

    activation: str
    look: Look
    formula: str
    extent: str
    panels: tuple[Panel, ...]
    numbers: Numbers
    parameters: ParameterTable
    weights: WeightTable
    opened: bool


def render(study: Contents, state: str = "") -> str:
    """Return the report as one HTML page that needs no other file and no network.

    The same contents give the same page, to the byte.

    Args:
        study: what it is made from.
        state: of a page that is served while the study runs, what it is made anew for when it changes.
    """
    shapes = _shapes(study)
    drawn = {section.activation for section in shapes}
    lines = tables.summary_lines(study)
    parts = {
        "sensitivity": tuning(study),
        "examples": examples(study),
        "weights": any(section.weights.candidates for section in shapes),
        "selection": selection(study),
        "training": training_lines(study.summary),
        "failures": study.failures,
        "runs": tables.run_lines(study),
    }
    page = template("template.html.j2").render(
        document=document(state),
        sections=_sections(parts),
        study=study,
        answer=answer(study),
        differences=differences(study),
        verdict=verdict.paragraph(study),
        notices=verdict.notices(study),
        method=method(study.settings, study.metric),
        trained=trained(study.settings),
        facts=tables.facts(study),
        metric=study.metric,
        summary=lines,
        latex=latex.link(latex.table(study, lines)),
        reference=TORCHS_RELU,
        measures=tables.measure_table(study),
        transfer=transfer_table(study),
        classes=class_tables(study),
        examples=parts["examples"],
        accuracy=intervals(study),
        curves=curves(study),
        looks=looks(study.activations, study.settings.baseline),
        shapes=shapes,
        formulas={
            name: formula for name, formula in study.formulas.items() if name in study.activations and name not in drawn
        },
        costs=costs(study),
        training=parts["training"],
        training_note=NOTE,
        selection=parts["selection"],
        tuning=parts["sensitivity"],
        runs=parts["runs"],
        failures=study.failures[:MOST_FAILURES] if study.many else study.failures,
        settings=tables.settings_rows(study),
    )
    return page.encode("utf-8", "replace").decode("utf-8")  # a file name may hold what UTF-8 cannot


def _sections(parts: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    """What the page has, by the ids of its sections, for the links at its top."""
    return tuple((name, TITLES[name]) for name in TITLES if name not in parts or parts[name])


def _shapes(study: Contents) -> list[ShapeSection]:
    """One section an activation; the first that learned something is open."""
    styles = looks(study.activations, study.settings.baseline)
    most = max(1, MOST_PANELS_OF_MANY // len(study.drawn)) if study.many else MOST_PANELS
    found: list[ShapeSection] = []
    for index, activation in enumerate(study.drawn):
        runs = study.finished(activation)
        layers = sites(runs)
        if not layers:
            continue
        drawn = [layers[place] for place in evenly(len(layers), most)]
        parameters, weights = parameter_table(layers), weight_table(layers)
        learned = bool(parameters.names or weights.candidates)
        section = ShapeSection(
            activation=activation,
            look=styles[activation],
            formula=study.formulas.get(activation_of(activation), ""),
            extent=_extent(layers, most, len(runs)),
            panels=_panels(drawn, activation, styles[activation], index, study.many),
            numbers=_numbers(layers),
            parameters=parameters,
            weights=weights,
            opened=learned and not any(earlier.opened for earlier in found),
        )
        found.append(section)
    return found


def _numbers(layers: Sequence[Site]) -> Numbers:
    rows = tuple((site.path, values(site, PLACES)) for site in layers)
    return Numbers(("Layer", *(f"at {significant(place)}" for place in PLACES)), rows)


def _extent(layers: Sequence[Site], shown: int, runs: int) -> str:
    """How many layers and seeds there are, and how many of them are drawn."""
    drawn = f" ({shown} of them drawn)" if len(layers) > shown else ""
    curves = sum(bool(stored.x) for _, stored in layers[0].shapes)
    fewer = f" ({curves} of them drawn)" if curves < len(layers[0].shapes) else ""
    return f"{counted(len(layers), 'layer')}{drawn}, {counted(runs, 'seed')}{fewer}"


def _panels(layers: Sequence[Site], activation: str, look: Look, index: int, banded: bool) -> tuple[Panel, ...]:
    uniform = len({site.kinds for site in layers}) == 1
    prefixes = (f"shape{index}-{number}-" for number in range(len(layers)))
    return tuple(
        Panel(site.path, "" if uniform else site.kinds, shape(site, activation, look, prefix, banded))
        for prefix, site in zip(prefixes, layers, strict=True)
    )
