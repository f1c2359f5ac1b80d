"""What a swap did, site by site, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from limen.errors import LimenError
from limen.surgery.fuse_report import FuseReport
from limen.surgery.state import StateMap


@dataclass(frozen=True)
class Site:
    """One place in the model where an activation was replaced or kept.

    >>> print(Site("1", "ReLU()", "ASAU(a=0.01, b=1, alpha=1, beta=1)").path)
    1
    """

    path: str
    before: str
    after: str
    reason: str = ""
    """Why it was kept; empty for a replaced site."""
    location: str = ""
    """``file:line`` of the call, where the site is one."""
    fit_before: float | None = None
    """With a warm start: how far the new function was from the old one over the site's own inputs, before fitting."""
    drift: float | None = None
    """The same after fitting: root mean square of the difference over that of the old function's values; 1 is 100 %."""
    idle: bool | None = None
    """With example inputs: true if none reached a site that was replaced all the same; its parameters learn nothing."""


@dataclass(frozen=True)
class Installed:
    """What a swap put at a site: a child of its owner, and the class that it gave the owner."""

    path: str
    owner: nn.Module
    name: str
    module: nn.Module
    owner_class: type | None
    """Nothing where the swap left the owner's class alone."""

    def check(self) -> None:
        """Raise unless it is still so."""
        now = self.owner._modules.get(self.name)
        path = self.path or "the model"
        if now is not self.module:
            found = "nothing" if now is None else type(now).__name__
            raise LimenError(
                f"at {path!r} this swap put {type(self.module).__name__} and there is {found} now; undo the later "
                "swap first, or put the module back that was there. Nothing was undone."
            )
        if self.owner_class is not None and type(self.owner) is not self.owner_class:
            raise LimenError(
                f"a later swap changed the module that holds {path!r}; undo that first. Nothing was undone."
            )


@dataclass
class SwapReport:
    """What a swap did: ``sites`` replaced, ``skipped`` with the reason, ``unreached`` calls with file and line.

    >>> import limen
    >>> report = limen.swap_(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Sigmoid()), "swish")
    >>> [site.path for site in report.sites], [site.reason for site in report.skipped]
    (['1'], ['a gate, not an activation'])
    """

    sites: list[Site] = field(default_factory=list)
    skipped: list[Site] = field(default_factory=list)
    unreached: list[str] = field(default_factory=list)
    """Activations that were seen and could not be replaced, as ``file:line: call``."""
    drift: float | None = None
    """With example inputs: root mean square of the change of the model's outputs, relative to theirs."""
    notes: list[str] = field(default_factory=list)
    """What else the new activations change or need, a sentence each, such as that the model stops being causal."""
    fused: FuseReport | None = None
    """With ``fuse=True``: what is computed at once."""
    renormalised: int = 0
    """How many BatchNorm layers had their statistics estimated anew."""
    steps_back: list[Callable[[], None]] = field(default_factory=list, repr=False)
    """What :meth:`undo` still has to do, the last first."""
    state_map: StateMap | None = field(default=None, repr=False)
    """How state dicts from before the swap are told from later ones."""
    installed: list[Installed] = field(default_factory=list, repr=False)
    """What :meth:`undo` asks to be still in its place."""

    def undo(self) -> None:
        """Put the very objects back that were replaced; a second call does nothing.

        Of several swaps of one model, undo the last one first.

        Raises:
            LimenError: if a site no longer holds what this swap put there. Nothing is put back then.

        >>> import limen
        >>> model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        >>> limen.swap_(model, "swish").undo()
        >>> model[1]
        ReLU()
        """
        fused = self.fused.changed.copy() if self.steps_back and self.fused is not None else []
        if self.fused is not None and fused:
            self.fused.undo()
        try:
            for installed in self.installed if self.steps_back else ():
                installed.check()
        except LimenError:
            if self.fused is not None:
                self.fused.redo(fused)
            raise
        while self.steps_back:
            self.steps_back.pop()()

    def original_state(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """A state dict of the swapped model as one of the model before, which loads there with ``strict=True``.

        Tensors keep shape, type and device; those that only the old activations had are as they were at the swap.

        >>> import limen
        >>> model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        >>> report = limen.swap_(model, "swish")
        >>> list(report.original_state(model.state_dict()))
        ['0.weight', '0.bias']
        """
        return dict(state) if self.state_map is None else self.state_map.original(state)

    def parameters(self) -> list[nn.Parameter]:
        """The new parameters that learn, each once: in no optimizer that was made before the swap.

        >>> import limen, torch
        >>> model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        >>> optimizer = torch.optim.SGD(model.parameters(), 0.1)
        >>> report = limen.swap_(model, "swish")
        >>> optimizer.add_param_group({"params": report.parameters(), "weight_decay": 0.0})
        """
        found = {id(p): p for installed in self.installed for p in installed.module.parameters() if p.requires_grad}
        return list(found.values())

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON.

        >>> SwapReport(sites=[Site("1", "ReLU()", "SiLU()")]).as_dict()["sites"]
        [{'path': '1', 'before': 'ReLU()', 'after': 'SiLU()'}]
        """
        return {
            "sites": [_plain(site) for site in self.sites],
            "skipped": [_plain(site) for site in self.skipped],
            "unreached": self.unreached,
            "drift": self.drift,
            "notes": self.notes,
            **({} if self.fused is None else {"fused": self.fused.as_dict()}),
        }

    def __str__(self) -> str:
        lines = [f"{len(self.sites)} replaced, {len(self.skipped)} kept, {len(self.unreached)} not reached"]
        lines += [f"  {site.path or '(the model)'}: {site.before} -> {site.after}{_notes(site)}" for site in self.sites]
        lines += [f"  {site.path or '(the model)'}: {site.before} kept ({site.reason})" for site in self.skipped]
        lines += [f"  not reached: {call}" for call in self.unreached]
        if self.parameters():
            lines.append(
                "  new parameters are in no optimizer made before; add_param_group({'params': report.parameters()})"
            )
        lines += [f"  note: {note}" for note in self.notes]
        if self.fused is not None:
            lines += [f"  {line}" for line in str(self.fused).splitlines()]
        if self.drift is not None:
            lines.append(f"  the model's output changed by {self.drift:.2%}")
        return "\n".join(lines)


def _notes(site: Site) -> str:
    notes = [] if site.drift is None else [f"drift {site.drift:.2%}"]
    notes += ["no example input reaches it"] if site.idle else []
    return f" ({', '.join(notes)})" if notes else ""


def _plain(site: Site) -> dict[str, Any]:
    return {key: value for key, value in vars(site).items() if value not in ("", None)}
