"""What became of each activation, how far it can be from what it was, and the way back."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from limen.surgery.report import SwapReport


@dataclass(frozen=True)
class Simplified:
    """One activation of a model: what it was, and what it became or why it stayed.

    >>> import limen
    >>> from torch import nn
    >>> (site,) = limen.simplify_(nn.Sequential(limen.Swish()), 1e-6).sites
    >>> site.before, site.after, site.bound
    ('Swish(beta=1)', 'SiLU()', 0.0)
    """

    path: str
    before: str
    after: str
    kind: str
    """``built-in``, ``native``, ``polynomial``, ``rational``, ``table``, or ``kept``."""
    low: float | None = None
    high: float | None = None
    """The range for which the bound holds."""
    observed: bool = False
    """Whether the range is that of inputs that the site was given."""
    bound: float | None = None
    """The largest difference that the two functions can have in the range, as it is proved."""
    reached: float | None = None
    """The largest difference that was seen there: the bound cannot be smaller."""
    reason: str = ""
    """Why it was kept."""


@dataclass
class SimplifyReport:
    """What :func:`limen.simplify_` did: ``sites`` replaced, each with its bound, ``kept`` with the reason.

    >>> import limen
    >>> from torch import nn
    >>> report = limen.simplify_(nn.Sequential(limen.Swish(), limen.ASH()), 1e-6)
    >>> [site.after for site in report.sites], [site.reason for site in report.kept]
    (['SiLU()'], ['it takes statistics of its input'])
    """

    tolerance: float
    sites: list[Simplified] = field(default_factory=list)
    kept: list[Simplified] = field(default_factory=list)
    swap: SwapReport = field(default_factory=SwapReport, repr=False)
    """How the modules were exchanged; its ``original_state`` gives state dicts of the model as it was."""

    def undo(self) -> None:
        """Put the very activations back that were replaced; a second call does nothing.

        Raises:
            LimenError: if a site no longer holds what was put there. Nothing is put back then.

        >>> import limen
        >>> from torch import nn
        >>> model = nn.Sequential(limen.Swish())
        >>> limen.simplify_(model, 1e-6).undo()
        >>> model[0]
        Swish(beta=1)
        """
        self.swap.undo()

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON.

        >>> SimplifyReport(1e-3).as_dict()
        {'tolerance': 0.001, 'sites': [], 'kept': []}
        """
        return {
            "tolerance": self.tolerance,
            "sites": [asdict(site) for site in self.sites],
            "kept": [asdict(site) for site in self.kept],
        }

    def __str__(self) -> str:
        lines = [f"{len(self.sites)} simplified, {len(self.kept)} kept"]
        lines += [f"  {site.path}: {site.before} -> {site.after} (at most {_said(site)})" for site in self.sites]
        lines += [f"  {site.path}: {site.before} kept ({site.reason})" for site in self.kept]
        return "\n".join(lines)


def _said(site: Simplified) -> str:
    how = "seen" if site.observed else "given"
    return f"{site.bound:.2g} apart on [{site.low:.4g}, {site.high:.4g}], {how}"
