"""Replace the norms of a model by functions of each value: DyT, Derf, or any activation.

Which modules are norms over the features of one position, and with what scale and shift, is told by what they compute.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from limen.activations.base import Activation
from limen.errors import LimenError
from limen.surgery.examples import batches, first_run
from limen.surgery.fastpath import switch_off
from limen.surgery.flow import Channels
from limen.surgery.keeping import Rules, Where
from limen.surgery.making import Target, maker
from limen.surgery.observing import outputs_of_one
from limen.surgery.report import Site, SwapReport
from limen.surgery.sites import Spot, survey
from limen.surgery.state import take_over
from limen.surgery.swapping import Operation, one_line

OVER_OTHER_AXES = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm, nn.GroupNorm)
NEAR = 1e-3
"""What a probe may be off by, relative to the scale: epsilons stay below, other functions do not."""

WHOLE = 1e-4
"""So near to a whole number a scale or shift is that number: float32's rounding in a probe is below."""


@dataclass(frozen=True)
class _Norm:
    """What a norm computes: (x − mean, or x) / deviation · scale + shift, over one axis."""

    axis: int
    scale: Tensor
    shift: Tensor


def swap_norms_(
    model: nn.Module,
    to: Target = "dyt",
    *,
    where: Where | Sequence[Where] | None = None,
    keep: Where | Sequence[Where] = (),
    example_inputs: Any = None,
) -> SwapReport:
    """Replace each LayerNorm and RMSNorm of ``model`` in place by a function of each value, such as DyT or Derf.

    γ·tanh(αx) + β in the place of a norm: Zhu et al. 2025, arXiv 2503.10622; γ·erf(αx + s) + β: Chen et al. 2025,
    arXiv 2512.10938. No mean and no deviation is left, so positions and channels do not meet there. The new scale and
    shift are one a channel and start as the norm's; α is one number a site, ½ unless given (``"dyt:alpha=0.8"``). The
    model computes something else at once: it is meant for training from the start, or for training on.

    Norms are told by what they compute over one position's features, on the last axis or on axis 1: torch's classes,
    the RMSNorm of any library, also those that multiply by 1 + weight. Norms over a batch, over groups or over
    several axes stay. State dicts from before the swap still load with ``strict=True``.

    Args:
        to: a spec, a class, or a function that makes a module; with parameters called ``weight`` and ``bias`` it takes
            the norm's scale and shift over.
        where, keep, example_inputs: as :func:`limen.swap_` has them.

    Returns:
        What was replaced, what was kept and why, the change of the output on the examples, and the way back.

    Raises:
        SpecError: for an unknown activation, and for ``where`` or ``keep`` that name nothing.
        LimenError: if ``model`` is no ``nn.Module``, is itself a norm, or the example inputs do not fit it.

    After any error the model is as it was before.

    >>> import limen
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.ReLU())
    >>> report = limen.swap_norms_(model, "dyt")
    >>> model[1]
    DyT(alpha=0.5, weight=1, bias=0, num_parameters=8, channel_dim=-1)
    >>> report.undo()
    >>> model[1]
    LayerNorm((8,), eps=1e-05, elementwise_affine=True, bias=True)
    """
    if not isinstance(model, nn.Module):
        raise LimenError(f"swap_norms_ takes a model, an nn.Module, and {type(model).__name__} was given.")
    make = maker(to)
    rules = Rules(where, keep)
    given = batches(model, example_inputs, outputs_of_one)
    spots = _spots(model)
    rules.check(spots)
    operation = Operation(model, survey(model, True, False), given)
    operation.before = first_run(model, given, outputs_of_one) if given else []
    for spot in spots:
        found = _reason_to_stay(rules, spot) or _computed(spot.original)
        if isinstance(found, str):
            text = one_line(spot.original)
            operation.skipped.append(Site(spot.path, text, text, found))
        else:
            operation.chosen.append(spot)
            operation.new.append(_standing_for(spot, found, make, model))
    try:
        operation.install(warm_start=False)
        switch_off(
            model, {id(place.owner) for spot in operation.chosen for place in (spot, *spot.twins)}, operation.undo
        )
        return operation.finish(reestimate=False)
    except BaseException:  # an interrupt too: nobody holds the report yet by which to undo
        while operation.undo:
            operation.undo.pop()()
        raise


def _spots(model: nn.Module) -> list[Spot]:
    """Where something that is called a norm stands; one object at several places is one site."""
    if _is_called_norm(model):
        raise LimenError("swap_norms_ replaces the norms within a model, and the model is one itself.")
    found: dict[int, Spot] = {}
    for path, owner in model.named_modules(remove_duplicate=False):
        for name, child in owner._modules.items():
            if child is None or not _is_called_norm(child):
                continue
            spot = Spot(f"{path}.{name}".lstrip("."), owner, name, "child", child, child)
            first = found.setdefault(id(child), spot)
            if first is not spot:
                first.aliases.append(spot.path)
            places = [(place.owner, place.name) for place in (first, *first.twins)]
            if (owner, name) not in places:
                first.twins.append(spot)
    return list(found.values())


def _is_called_norm(module: nn.Module) -> bool:
    return isinstance(module, (*OVER_OTHER_AXES, nn.LayerNorm, nn.RMSNorm)) or (
        "norm" in type(module).__name__.lower() and not any(True for _ in module.children())
    )


def _reason_to_stay(rules: Rules, spot: Spot) -> str:
    if isinstance(spot.original, OVER_OTHER_AXES):
        return "a norm over a batch or over groups"
    if any(matches(spot) for matches in rules.kept):
        return "named by keep"
    named = rules.only is None or any(matches(spot) for matches in rules.only)
    return "" if named else "not named by where"


def _computed(norm: nn.Module) -> _Norm | str:
    """What a module computes, or why it is no norm over the features of one position."""
    sizes = getattr(norm, "normalized_shape", None)
    if sizes is not None and not isinstance(sizes, int) and len(sizes) != 1:
        return f"a norm over {len(sizes)} axes"
    tensors = [*norm.parameters(), *norm.buffers()]
    channels = int(sizes if isinstance(sizes, int) else sizes[0]) if sizes is not None else _features(tensors)
    if not channels:
        return "its number of features cannot be told"
    if any(tensor.is_meta for tensor in tensors):
        return "its tensors are on meta, so what it computes cannot be tried"
    probe = copy.deepcopy(norm).float().eval()  # half types would hide a scale's last digits
    device = tensors[0].device if tensors else None
    for axis, shape in ((-1, (4, 3, channels)), (1, (4, channels, 3, 3))):
        x = 3 * torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        y = _tried(probe, x.float().to(device))
        if y is None or y.shape != x.shape:
            continue
        if not y.any():
            return "it gives 0 for any input, so what it computes cannot be tried"
        for centred in (True, False):
            found = _fitted(x.movedim(axis, -1), y.double().cpu().movedim(axis, -1), centred)
            if found is not None:
                return _Norm(axis, *found)
    return "not a norm over the features of one position"


def _features(tensors: Sequence[Tensor]) -> int:
    """How many features a norm has that does not say so: as many as its only vectors have."""
    sizes = {tensor.numel() for tensor in tensors if tensor.ndim == 1}
    return sizes.pop() if len(sizes) == 1 else 0


def _tried(norm: nn.Module, x: Tensor) -> Tensor | None:
    try:
        with torch.no_grad():
            y: Any = norm(x)
    except (RuntimeError, TypeError, ValueError, IndexError, AssertionError):
        return None
    return y if isinstance(y, Tensor) else None


def _fitted(x: Tensor, y: Tensor, centred: bool) -> tuple[Tensor, Tensor] | None:
    """Scale and shift of each channel, if with them the norm of ``x`` is ``y``."""
    deviations = x - x.mean(-1, keepdim=True) if centred else x
    normed = (deviations / deviations.square().mean(-1, keepdim=True).sqrt()).flatten(0, -2)
    wanted = y.flatten(0, -2)
    away = normed - normed.mean(0)
    scale = (away * wanted).sum(0) / away.square().sum(0)
    shift = wanted.mean(0) - scale * normed.mean(0)
    error = (scale * normed + shift - wanted).abs().amax()
    return (_whole(scale), _whole(shift)) if error <= NEAR * wanted.abs().amax() else None


def _whole(values: Tensor) -> Tensor:
    """Where they are 0 or 1 but for rounding, just that."""
    nearest = values.round()
    return torch.where((values - nearest).abs() < WHOLE, nearest, values)


def _standing_for(spot: Spot, norm: _Norm, make: Callable[[Channels | None], nn.Module], model: nn.Module) -> nn.Module:
    """The new module, with the norm's scale and shift where it has parameters of these names."""
    new = make(Channels(len(norm.scale), norm.axis))
    for name, value in (("weight", norm.scale), ("bias", norm.shift)):
        own = getattr(spot.original, name, None)
        held = getattr(new, name, None)
        if not isinstance(held, Tensor) or held.numel() != len(value):
            continue
        exact = isinstance(own, Tensor) and own.numel() == len(value) and _near(own, value)
        with torch.no_grad():
            held.copy_(own.detach().view_as(held) if exact else value)  # type: ignore[union-attr]
        if own is None and not any(True for _ in spot.original.parameters()) and isinstance(new, Activation):
            held.requires_grad_(False)
    return take_over(new, spot.original, spot.owner, model, hooks=True)


def _near(own: Tensor, value: Tensor) -> bool:
    return bool((own.detach().double().cpu() - value).abs().amax() <= NEAR * (1 + value.abs().amax()))
