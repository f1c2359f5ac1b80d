"""``limen show``: a page on which activations are tried."""

from __future__ import annotations

import tempfile
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from limen.catalogue import check_specs, entries
from limen.commands.common import command
from limen.errors import SpecError
from limen.naming import parse, split_list
from limen.writing import write_atomically

WITHOUT_CURVE = ("maxout", "top_percentile", "poly_norm", "gated_poly_norm")
"""What is no function of one number, said before torch is imported; the class says why."""


@command
def show(
    activations: Annotated[
        str, typer.Argument(help="Such as asau, or several: asau:beta=2,mish. 'all': every one, the first shown.")
    ],
    html: Annotated[
        Path | None, typer.Option(help="Write the page to this file; if left out, a temporary one, which is opened.")
    ] = None,
) -> None:
    """Open a page on which activations are tried: sliders, curves, and what they do to a normal input.

    Its functions are printed from the formulas, and it needs no network.
    """
    specs = split_list(activations)
    if specs == ("all",):
        specs = tuple(name for name in entries() if name not in WITHOUT_CURVE)
    chosen = specs[:1] if activations == "all" else specs
    _check(activations, specs, html)
    from limen.explore.page import page

    text = page(specs, chosen)
    if html is not None:
        write_atomically(html, text)
        print(f"Page: {html}")
        return
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", prefix="limen-", suffix=".html", delete=False) as file:
        file.write(text)
    print(f"Page: {file.name}")
    if not webbrowser.open(Path(file.name).as_uri()):
        print("No browser could be opened; open that file in one.")


def _check(given: str, specs: tuple[str, ...], html: Path | None) -> None:
    """Raise for what is mistyped, before torch is imported."""
    if not specs:
        raise SpecError(f"{given!r} names no activation; give one such as asau, or several: asau,mish.")
    check_specs(specs)
    twice = next((spec for spec in specs if specs.count(spec) > 1), None)
    if twice is not None:
        raise SpecError(f"{twice!r} is named twice; give each once, or with other values, such as swish:beta=2.")
    flat = next((spec for spec in specs if parse(spec)[0] in WITHOUT_CURVE), None)
    if flat is not None:
        raise SpecError(f"{flat!r} has no curve: it is no function of one number; leave it out.")
    if html is not None and html.suffix.lower() not in (".html", ".htm"):
        raise SpecError(f"--html {str(html)!r} is not possible: the file's name must end in .html.")
