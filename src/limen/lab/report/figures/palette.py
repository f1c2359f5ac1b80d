"""Colours and line styles. Figures are drawn in placeholder colours, which become the page's CSS variables.

So one figure serves light and dark pages, and both palettes live in ``style.css``, beside the rest of the design.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from limen.lab.rates import activation_of

INK = "#010101"
MUTED = "#010102"
RULE = "#010103"
PAPER = "#010104"
BASELINE = "#010105"
SERIES = tuple(f"#0200{index:02x}" for index in range(8))

VARIABLES = {
    INK: "currentColor",
    MUTED: "var(--muted)",
    RULE: "var(--rule)",
    PAPER: "var(--paper)",
    BASELINE: "var(--baseline)",
    **{colour: f"var(--series-{index})" for index, colour in enumerate(SERIES)},
}
"""What each placeholder becomes in the page."""

DASHES: tuple[tuple[float, ...], ...] = (
    (),
    (5, 2),
    (1.5, 1.5),
    (7, 2, 1.5, 2),
    (3, 1.5),
    (9, 3),
    (5, 1.5, 1, 1.5, 1, 1.5),
)
"""On and off lengths in pixels. Seven, so that with eight colours no pair repeats within 56 activations."""
OWN: tuple[float, ...] = (2, 3)
"""Of runs at rates of their own, in the colour of their activation."""


@dataclass(frozen=True)
class Look:
    """How one activation is drawn, everywhere on the page."""

    colour: str
    dashes: tuple[float, ...] = ()

    @property
    def css(self) -> str:
        """The colour as CSS."""
        return VARIABLES[self.colour]

    @property
    def linestyle(self) -> tuple[float, tuple[float, ...] | None]:
        """The dashes as Matplotlib takes them (line widths are not to scale them)."""
        return (0.0, self.dashes or None)


def looks(activations: Sequence[str], baseline: str) -> dict[str, Look]:
    """Give every activation its look; the baseline is a solid neutral line, so the others stand out against it.

    >>> looks(["relu", "asau"], "relu")["asau"].css
    'var(--series-0)'
    """
    others = [name for name in dict.fromkeys(map(activation_of, activations)) if name != baseline]
    found = {name: Look(SERIES[index % len(SERIES)], DASHES[index % len(DASHES)]) for index, name in enumerate(others)}
    found[baseline] = Look(BASELINE)
    own = {name: activation_of(name) for name in activations if name not in found}
    return {**found, **{name: Look(found[activation].colour, OWN) for name, activation in own.items()}}
