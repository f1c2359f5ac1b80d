"""A page for every registered activation, of what its class, its expression and the stored rows say."""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import limen
from limen.activations.base import Activation
from limen.activations.describe import describe
from limen.activations.fields import Param
from limen.activations.registry import find
from limen.errors import SpecError
from limen.explore.page import part
from limen.explore.properties import Properties, properties
from limen.explore.tex import formula
from limen.lab.papers.ledger.claim import CLAIMS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
COSTS = ROOT / "benchmarks" / "results" / "cpu.json"
LEDGER = ROOT / "docs" / "results" / "claims.md"
MOST_PIECES = 5
EXPLORER = '<link rel="stylesheet" href="../_static/explorer.css">\n<script src="../_static/explorer.js"></script>'
"""What the plots of all pages share, at hand before the page's own script runs."""


def pages() -> Iterator[tuple[str, str]]:
    """The name of each page and its Markdown; the first is the list of the others."""
    names = limen.names()
    rows = [
        f"| [`{name}`]({name}.md) | {_escaped(describe(name).summary)} | {describe(name).source} |" for name in names
    ]
    listed = "\n".join(names)
    yield (
        "index",
        "# Activations\n\nEach with its formula, a plot to play with, what it costs and what papers claim of it.\n\n"
        + "\n".join(["| name | what it is | source |", "| --- | --- | --- |", *rows])
        + f"\n\n```{{toctree}}\n:hidden:\n\n{listed}\n```\n",
    )
    costs, claims = json.loads(COSTS.read_text(encoding="utf-8")), _claims()
    for name in names:
        yield name, page(name, costs, claims)


def page(name: str, costs: dict[str, Any], claims: list[dict[str, Any]]) -> str:
    """One activation's page."""
    cls = find(name)
    sections = [
        f"# `{name}`",
        _escaped(describe(name).summary),
        _formula(name, cls),
        f"Source: {cls.source}. In Python {{py:class}}`limen.{cls.__name__}` and "
        f'{{py:func}}`limen.functional.{name}`.\n\n```python\nlimen.swap_(model, "{name}")\n```'
        if cls.keeps_shape
        else f"Source: {cls.source}. In Python {{py:class}}`limen.{cls.__name__}`; it takes its place in a network by "
        "design, not by a swap.",
        *_of_the_function(name),
        f"## Parameters\n\n{_parameters(cls)}",
        f"## What it costs\n\n{_costs(name, costs)}",
        f"## What papers claim of it\n\n{_told(name, claims)}",
    ]
    return "\n\n".join(sections) + "\n"


def _escaped(text: str) -> str:
    """A sentence of a docstring, in which Markdown reads nothing."""
    return text.replace("``", "`").replace("|", r"\|").replace("*", r"\*")


def _formula(name: str, cls: type[Activation]) -> str:
    tex = formula(name)
    return f"```{{math}}\n{tex}\n```" if tex else f"`{cls.written}`"


def _of_the_function(name: str) -> Iterator[str]:
    try:
        found = properties(name)
    except SpecError as error:
        yield f"## No curve\n\n{str(error).partition(': ')[2]}"
        return
    yield f"## Try it\n\n```{{raw}} html\n{EXPLORER}\n{part([name], [name], f'explorer-{name}')}\n```"
    yield f"## In numbers\n\n{_numbers(name, found)}"


def _numbers(name: str, found: Properties) -> str:
    pieces = "; ".join(found.pieces[:MOST_PIECES]) + ("; and so on" if len(found.pieces) > MOST_PIECES else "")
    rows = {
        "for x → −∞": found.left,
        "for x → ∞": found.right,
        "steepest slope (least Lipschitz constant)": f"{found.steepest:g}".replace("inf", "grows without end"),
        "pieces": pieces,
        "gain ([what that is](../changing-activations.md))": f"{limen.gain(name):.4f}",
    }
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    return (
        "At the first values of its parameters, from the expression and its derivative, searched in steps of a "
        f"thousandth from −30 to 30.\n\n| property | value |\n| --- | --- |\n{table}"
    )


def _parameters(cls: type[Activation]) -> str:
    rows = []
    for key, field in cls.fields.items():
        if field.settable:
            kind = ("learned" if field.learned else "fixed unless named") if isinstance(field, Param) else "setting"
            default = f"{field.default:.4g}" if isinstance(field.default, float) else repr(field.default)
            rows.append(f"| `{key}` | `{default}` | {kind} | {field.allowed} |")
    own = [name for name in inspect.signature(cls).parameters if name in ("candidates", "smooth", "positive")]
    rows += [f"| `{name}` | | setting | see {{py:class}}`limen.{cls.__name__}` |" for name in own]
    if not rows:
        return "It has none."
    return "\n".join(["| name | default | kind | allowed |", "| --- | --- | --- | --- |", *rows])


def _costs(name: str, costs: dict[str, Any]) -> str:
    rows = [
        f"| {kind.removeprefix('elementwise ')} | {row['both_ratio']:.2f} | {row['saved_ratio']:.2f} |"
        for kind in ("elementwise float32", "elementwise bfloat16")
        for row in costs[kind]
        if (row["activation"], row["path"]) == (name, "limen")
    ]
    if not rows:
        return f"No rows are stored of it; `limen bench --activations {name}` measures them here."
    where = costs["environment"]["processor"]
    return (
        f"Forward and backward, 4 million numbers, {where}: time relative to `F.silu`, and what is kept for the "
        "backward pass relative to the input ([rows](../../benchmarks/results/cpu.json)).\n\n"
        + "\n".join(["| type | time | kept |", "| --- | --- | --- |", *rows])
    )


def _claims() -> list[dict[str, Any]]:
    """The papers' claims, each with the verdict that the ledger's page has."""
    verdicts = dict(re.findall(r'<a id="([^"]+)"></a>.*?\*\*([^*]+)\*\*', LEDGER.read_text(encoding="utf-8")))
    listed: list[dict[str, Any]] = tomllib.loads(CLAIMS.read_text(encoding="utf-8"))["claims"]
    return [{**claim, "verdict": verdicts.get(claim["id"], "not tested here")} for claim in listed]


def _told(name: str, claims: list[dict[str, Any]]) -> str:
    about = [claim for claim in claims if name in (claim["paper"], claim.get("one")) or name in claim.get("than", ())]
    known = [claim for claim in about if claim.get("words")]
    if not known:
        return "The [ledger](../results/claims.md) has no claim about it."
    rows = [f"| {_escaped(claim['words'])} | {claim['verdict']} |" for claim in known]
    return (
        f"{len(known)} of the [ledger](../results/claims.md), which says what tests each and with which numbers; a "
        "verdict holds for the scale that was tried.\n\n" + "\n".join(["| claim | here |", "| --- | --- |", *rows])
    )
