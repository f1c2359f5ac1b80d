"""``limen plot``: activations as a figure for a paper."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from limen.catalogue import check_specs
from limen.commands.common import command
from limen.errors import SpecError, require
from limen.naming import split_list

FORMATS = (".svg", ".pdf", ".png")
WIDEST = 1000.0


@command
def plot(
    activations: Annotated[str, typer.Argument(help="Such as asau, or several: asau:beta=2,mish.")],
    out: Annotated[Path, typer.Option(help="The file, .svg, .pdf or .png.")],
    edge: Annotated[float, typer.Option(help="Draw from minus this to this.")] = 4.0,
) -> None:
    """Draw the values and slopes of activations, beside each other, as a figure for a paper."""
    specs = split_list(activations)
    if not specs:
        raise SpecError(f"{activations!r} names no activation; give one such as asau, or several: asau,mish.")
    check_specs(specs)
    if out.suffix.lower() not in FORMATS:
        raise SpecError(f"--out {str(out)!r} is not possible: the file's name must end in .svg, .pdf or .png.")
    if not (math.isfinite(edge) and 0 < edge <= WIDEST):
        raise SpecError(f"--edge {edge} is not possible: give a number above 0, at most {WIDEST:g}.")
    from limen import inspect

    figure = require("matplotlib.figure", "plot", "a figure needs matplotlib").Figure(figsize=(8, 3.2))
    figure.set_layout_engine("constrained")
    value, slope = figure.subplots(1, 2)
    inspect.plot(specs, value, edge=edge)
    inspect.plot(specs, slope, slope=True, edge=edge)
    slope.get_legend().remove()
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=200)
    print(f"Figure: {out}")
