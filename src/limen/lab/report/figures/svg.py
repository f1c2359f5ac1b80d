"""A Matplotlib drawing as SVG for the middle of a page: small, deterministic, in the page's own font and colours."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import matplotlib
from markupsafe import Markup
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from limen.lab.report.figures.palette import INK, MUTED, PAPER, RULE, VARIABLES
from limen.lab.report.numbers import Numbers
from limen.lab.report.wording import one_line

PIXEL = 1 / 72
"""Inches of a pixel: Matplotlib's SVG has 72 units an inch, and a unit becomes a CSS pixel."""

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "limen",
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 1,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "axes.formatter.use_mathtext": False,
    "axes.xmargin": 0.03,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.bottom": False,
    "ytick.left": False,
    "lines.linewidth": 1.7,
    "lines.scale_dashes": False,
    "lines.solid_capstyle": "round",
    "patch.edgecolor": PAPER,
}
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
_NUMBER = re.compile(r"-?\d+\.\d+")
_COLOUR = re.compile("|".join(VARIABLES))
_NEEDLESS = ("font-family", "stroke-miterlimit")
_DATA = "data "
"""What the id begins with of something that is marked."""


@dataclass(frozen=True)
class Picture:
    """A finished figure: its SVG, what stands over it, and the numbers it shows where a table can hold them."""

    svg: Markup
    caption: str
    numbers: Numbers | None = None


def draw(size: tuple[float, float], prefix: str, label: str, paint: Callable[[Figure], None]) -> Markup:
    """Paint a figure of so many pixels and return it as SVG.

    Every id in it begins with ``prefix``, and ``label`` is what a screen reader says. Matplotlib's global settings
    are as before afterwards.
    """
    with matplotlib.rc_context({**_defaults(), **_STYLE}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the page's font has more than ours
        figure = Figure(figsize=(size[0] * PIXEL, size[1] * PIXEL))
        paint(figure)
        stored = io.BytesIO()
        figure.savefig(stored, format="svg", transparent=True, metadata=_NO_METADATA)
    root = ElementTree.fromstring(stored.getvalue())
    return Markup(ElementTree.tostring(_for_page(root, size, prefix, label), encoding="unicode"))


def panel(figure: Figure, left: float, bottom: float, right: float, top: float) -> Axes:
    """Add axes with margins given in pixels."""
    width, height = (float(inches) / PIXEL for inches in figure.get_size_inches())
    return figure.add_axes(
        (left / width, bottom / height, (width - left - right) / width, (height - bottom - top) / height)
    )


def mark(artist: Artist, **data: str) -> None:
    """Give what is drawn attributes, ``data-series`` for ``series``, by which the page's script finds it."""
    artist.set_gid(_DATA + " ".join(f"{key}={value}" for key, value in data.items()))


def frame(axes: Axes) -> None:
    """Mark axes with their place in the drawing and what they reach from and to, once they are finished."""
    whole, box = axes.figure.bbox, axes.get_position()
    width, height = (float(dots) / axes.figure.dpi / PIXEL for dots in (whole.width, whole.height))
    place = (box.x0 * width, (1 - box.y1) * height, box.x1 * width, (1 - box.y0) * height)
    limits = {"frame": place, "x": axes.get_xlim(), "y": axes.get_ylim()}
    mark(axes, **{key: ",".join(f"{value:g}" for value in values) for key, values in limits.items()})


def _defaults() -> dict[Any, Any]:
    """Matplotlib's own defaults, so that a user's ``matplotlibrc`` does not reach the report."""
    given = matplotlib.rcParamsDefault
    return {key: dict.__getitem__(given, key) for key in given if not key.startswith("backend")}


def _for_page(root: Element, size: tuple[float, float], prefix: str, label: str) -> Element:
    used = _referenced(root)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.text = element.text if element.tag == "text" else None
        element.tail = None
        _clean(element, used, prefix)
    _drop(root, "metadata")
    _drop(root, "style")
    _flatten(root)
    root.attrib.clear()
    root.attrib.update(
        {"class": "plot", "viewBox": f"0 0 {size[0]:g} {size[1]:g}", "width": f"{size[0]:g}"}
        | {"height": f"{size[1]:g}", "role": "img", "aria-label": one_line(label)}
    )
    return root


def _referenced(root: Element) -> set[str]:
    """The ids that something in the drawing points to."""
    values = (value for element in root.iter() for value in element.attrib.values())
    return {
        match for value in values for match in re.findall(r"^#([\w-]+)$|url\(#([\w-]+)\)", value) for match in match
    }


def _clean(element: Element, used: set[str], prefix: str) -> None:
    """Keep an element's needed ids and styles, shorten its numbers."""
    attributes = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
    element.attrib.clear()
    for key, value in attributes.items():
        if key == "id" and value.startswith(_DATA):
            element.attrib |= {f"data-{name}": of for name, of in (p.split("=", 1) for p in value.split()[1:])}
        elif key == "id":
            if value in used:
                element.set("id", prefix + value)
        elif key == "href":
            element.set("href", f"#{prefix}{value[1:]}")
        elif key == "clip-path":
            element.set(key, value.replace("url(#", f"url(#{prefix}"))
        elif key == "style":
            element.set(key, _restyle(value))
        elif not (key == "transform" and value.startswith("rotate(-0 ")):
            element.set(key, " ".join(_NUMBER.sub(_rounded, value).split()))


def _rounded(match: re.Match[str]) -> str:
    return f"{float(match[0]):.2f}".rstrip("0").rstrip(".")


def _restyle(style: str) -> str:
    """Give the page's colours and font to an inline style. Before 3.10 Matplotlib wrote ``font: 11px 'DejaVu…'``."""
    parts = (part.strip() for part in re.sub(r"\bfont: ([\d.]+px)[^;]*", r"font-size: \1", style).split(";"))
    kept = "; ".join(part for part in parts if part and not part.startswith(_NEEDLESS))
    return _COLOUR.sub(lambda match: VARIABLES[match[0]], kept)


def _drop(element: Element, tag: str) -> None:
    for child in list(element):
        if child.tag == tag:
            element.remove(child)
        else:
            _drop(child, tag)


def _flatten(element: Element) -> None:
    """Replace groups that say nothing by their children, and leave out what is empty."""
    children: list[Element] = []
    for child in list(element):
        _flatten(child)
        if child.tag in ("g", "defs") and (not child.attrib or len(child) == 0):
            children += [child] if child.tag == "defs" and len(child) else list(child)
        else:
            children.append(child)
    element[:] = children
