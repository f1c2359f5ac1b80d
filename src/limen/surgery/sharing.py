"""How many parameters each new activation has: a given number, or one for each channel of what feeds the site."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from torch import nn

from limen.errors import LimenError, SpecError
from limen.surgery.flow import Channels, Flow, channels_of
from limen.surgery.observing import Seen
from limen.surgery.sites import Spot


def channels_for(
    spots: Sequence[Spot],
    flow: Flow,
    seen: Mapping[str, Seen],
    wanted: int | str | None,
    idle: Collection[str] = (),
) -> dict[str, Channels | None]:
    """The channels of each site by its path; nothing where none were asked for.

    Raises:
        LimenError: naming the sites of which they cannot be told.
    """
    if wanted is None:
        return {spot.path: None for spot in spots}
    if wanted != "channel":
        if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted < 1:
            raise SpecError(f"num_parameters={wanted!r} is not possible: give a number from 1, or 'channel'.")
        return {spot.path: _at_axis(spot, flow, seen, wanted) for spot in spots}
    for path, arrived in seen.items():
        if arrived.channels is not None and arrived.other is not None:
            raise LimenError(
                f"the number of channels at {path or '(the model)'} cannot be told: {arrived.channels.count} and "
                f"{arrived.other.count} arrive there; keep it, or give num_parameters=1."
            )
    found = {spot.path: _observed(spot, seen) or _inferred(spot, flow) for spot in spots}
    missing = [path for path, channels in found.items() if channels is None]
    if missing:
        raise _untold(missing, seen, idle)
    return dict(found)


def _untold(missing: list[str], seen: Mapping[str, Seen], idle: Collection[str]) -> LimenError:
    names = ", ".join(path or "(the model)" for path in missing)
    start = f"the number of channels at {names} cannot be told from the layers before"
    if not seen:
        return LimenError(f"{start}; give example_inputs=, name other sites in where=, or keep these.")
    why = "which no example input reaches" if missing[0] in idle else "whose inputs have no axis for them"
    return LimenError(
        f"{start}, and the example_inputs do not show it ({missing[0] or 'the model'} is one {why}); "
        "keep these (keep=), name other sites in where=, or give num_parameters=1."
    )


def _at_axis(spot: Spot, flow: Flow, seen: Mapping[str, Seen], count: int) -> Channels:
    """A given number, on the axis that the layers before suggest."""
    near = _observed(spot, seen) or _inferred(spot, flow)
    return Channels(count, near.dim if near else 1)


def _observed(spot: Spot, seen: Mapping[str, Seen]) -> Channels | None:
    return seen[spot.path].channels if spot.path in seen else None


def _inferred(spot: Spot, flow: Flow) -> Channels | None:
    """As the layers before its calls have them; nothing if these differ."""
    layers: list[nn.Module | None] = [flow.before_call(*call) for call in spot.calls]
    if not layers and spot.place == "child":
        layers = [flow.before_child(spot.owner, spot.name)]
    unknown = all(layer is None for layer in layers)
    if unknown and isinstance(spot.owner, (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)):
        layers = [spot.owner.linear1]
    found = {channels_of(layer) for layer in layers if layer is not None}
    return found.pop() if len(found) == 1 else None
