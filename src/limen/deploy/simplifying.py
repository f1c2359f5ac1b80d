"""Make the activations of a trained model built-in functions, where the error is proved to be small."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from torch import nn

from limen.activations.base import Activation
from limen.beside import GLU, BiasAct, NormAct, ResidualAct
from limen.deploy import approximations
from limen.deploy.approximations import proved
from limen.deploy.bounding import Bound
from limen.deploy.candidates import Candidate, nearest
from limen.deploy.function import Function, function_of
from limen.deploy.intervals import UnboundedError
from limen.deploy.ranges import Received, received
from limen.deploy.report import Simplified, SimplifyReport
from limen.errors import LimenError, SpecError, suggest
from limen.formula.symbolic import UntraceableError
from limen.surgery import swap_
from limen.surgery.examples import batches
from limen.surgery.fusing import fused_parts
from limen.surgery.observing import outputs_of_one
from limen.surgery.sites import Spot, survey

Otherwise = Literal["keep", "native", "polynomial", "rational", "table"]
"""What an activation becomes that no built-in one is near enough to."""
Range = tuple[float, float]

ASSUMED: Range = (-8.0, 8.0)
"""Where functions are compared if neither examples nor a range are given."""
PROOFS = 3
"""Of candidates that look near enough, so many are tried."""
BESIDE = (GLU, NormAct, BiasAct, ResidualAct)

_BUILDERS: Mapping[str, Callable[[Function, float], Iterator[tuple[Candidate, Bound]]]] = {
    "native": approximations.native,
    "polynomial": approximations.polynomial,
    "rational": approximations.rational,
    "table": approximations.table,
}


def simplify_(
    model: nn.Module,
    tolerance: float,
    *,
    example_inputs: Any = None,
    ranges: Range | Mapping[str, Range] | None = None,
    otherwise: Otherwise = "keep",
) -> SimplifyReport:
    """Replace the activations of a trained ``model`` in place by torch's own, where these are near enough.

    Of each activation of limen's the function that it has become (learned parameters, mixtures, one function a
    channel) is compared with torch's activations over the range of its inputs, and the nearest takes its place if it is
    proved to differ by at most ``tolerance`` there. The proof: the range is cut into pieces; on each the difference is
    at most its absolute value in the middle plus half the piece's width times the largest slope that interval
    arithmetic over the formula allows, rounding of float64 included; pieces are halved until that is enough. So the
    bound holds for every real input in the range, not for samples of it. It is of the functions: what float32 rounds
    comes on top, but for polynomials, quotients and tables, whose bound includes it.

    Nothing is learned at such a site afterwards, and noise of training is gone. Statistics of the input (ASH), formulas
    that become no expression, and what changes the shape stay, with the reason.

    Args:
        model: with activations of limen's, of any shapes and types that it takes.
        tolerance: the largest difference of the outputs of an activation, absolutely; above 0.
        example_inputs: as :func:`swap_` takes them. The range of a site is then from the least to the largest input
            that it receives from them in evaluation.
        ranges: instead the range of all sites, such as ``(-6.0, 6.0)``, or that of each by its path. With neither it is
            [−8, 8].
        otherwise: what becomes of an activation that is near to none of torch's. ``"keep"``: it stays. ``"native"``: a
            built-in function of a multiple of x, times a number, plus a line, such as x·σ(αx). ``"polynomial"``,
            ``"rational"``: of the lowest degree that is near enough, continued by lines outside the range. ``"table"``:
            256 int8 values over the range, of which the ends hold outside.

    Returns:
        What each became, with its bound, and why others were kept; ``undo()``.

    Raises:
        SpecError: for a tolerance, a range or an ``otherwise`` that is not possible.
        LimenError: if ``model`` is no ``nn.Module``, is itself the activation, or has fused parts; if the example
            inputs do not fit it.

    After any error the model is as it was before.

    >>> import limen
    >>> model = nn.Sequential(nn.Linear(4, 4), limen.ASAU(0.0), nn.Linear(4, 4), limen.Swish(beta=1.3))
    >>> print(limen.simplify_(model, 1e-3, otherwise="native"))
    2 simplified, 0 kept
      1: ASAU(a=0, b=1, alpha=1, beta=1) -> Mish() (at most 0 apart on [-8, 8], given)
      3: Swish(beta=1.3) -> Gated(alpha=1.3) (at most 0 apart on [-8, 8], given)
    """
    _check(model, tolerance, ranges, otherwise)
    spots = _spots(model)
    given = batches(model, example_inputs, outputs_of_one)
    seen = received(model, [spot.original for spot in spots], given) if given else None
    wanted = _ranges(ranges, spots)
    report = SimplifyReport(tolerance)
    new: dict[int, nn.Module] = {}
    for spot in spots:
        site = _Site(spot, tolerance, otherwise, wanted.get(spot.path), None if seen is None else seen)
        module, told = site.decided()
        (report.kept if module is None else report.sites).append(told)
        if module is not None:
            new[id(spot.original)] = module
    if new:
        report.swap = _exchanged(model, new)
    return report


def _check(model: nn.Module, tolerance: float, ranges: Any, otherwise: str) -> None:
    if not isinstance(model, nn.Module):
        raise LimenError(f"simplify_ takes a model, an nn.Module, and {type(model).__name__} was given.")
    if isinstance(model, Activation):
        raise LimenError(
            "the model itself is the activation, with no parent to be replaced in; wrap it in nn.Sequential."
        )
    if isinstance(tolerance, bool) or not isinstance(tolerance, (int, float)) or not 0 < tolerance < math.inf:
        raise SpecError(f"tolerance={tolerance!r} is not possible: give a number above 0, such as 1e-3.")
    if otherwise not in get_args(Otherwise):
        raise SpecError(f"otherwise={otherwise!r} is not possible. {suggest(str(otherwise), get_args(Otherwise))}")
    for one in ranges.values() if isinstance(ranges, Mapping) else [ranges] if ranges is not None else []:
        _check_range(one)
    parts = fused_parts(model)
    if parts:
        some = ", ".join(path or "the model" for path in parts[:3])
        raise LimenError(f"parts of this model are fused ({some}); call undo() of what fuse_ gave, and simplify then.")


def _check_range(one: Any) -> None:
    numbers = isinstance(one, (tuple, list)) and len(one) == 2 and all(isinstance(end, (int, float)) for end in one)
    if not (numbers and -math.inf < one[0] < one[1] < math.inf):
        raise SpecError(f"a range of {one!r} is not possible: give two numbers, the lower first, such as (-6.0, 6.0).")


def _spots(model: nn.Module) -> list[Spot]:
    """Where the model holds activations of limen's, each object once."""
    first: dict[int, Spot] = {}
    for spot in survey(model, split_calls=False).spots:
        if isinstance(spot.original, Activation) and spot.was_module:
            first.setdefault(id(spot.original), spot)
    return list(first.values())


def _ranges(ranges: Any, spots: list[Spot]) -> dict[str, Range]:
    """The range that was given for each site."""
    paths = [spot.path for spot in spots]
    if not isinstance(ranges, Mapping):
        return {} if ranges is None else dict.fromkeys(paths, ranges)
    for path in ranges:
        if path not in paths:
            raise SpecError(f"ranges names {path!r}, where the model has no activation. {suggest(path, paths)}")
    return dict(ranges)


def _exchanged(model: nn.Module, new: dict[int, nn.Module]) -> Any:
    """Put the new modules in by a swap, which asks for them in the order in which it chose their sites."""
    chosen: dict[int, None] = {}

    def is_ours(path: str, old: nn.Module) -> bool:
        if id(old) in new:
            chosen.setdefault(id(old))
        return id(old) in new

    def next_one() -> nn.Module:
        first = next(iter(chosen))
        del chosen[first]
        return new[first]

    return swap_(model, next_one, where=is_ours, share="instance")


@dataclass
class _Site:
    """One activation, and what is to become of it."""

    spot: Spot
    tolerance: float
    otherwise: Otherwise
    range: Range | None
    seen: dict[int, Received] | None

    def decided(self) -> tuple[nn.Module | None, Simplified]:
        """The module that takes its place, if one does, and what the report says."""
        activation: Any = self.spot.original
        before = f"{type(activation).__name__}({activation.extra_repr()})"
        told = Simplified(self.spot.path, before, before, "kept", observed=self.range is None and self.seen is not None)
        reason = self._why_not(activation)
        if reason:
            return None, replace(told, reason=reason)
        low, high = self._range()
        told = replace(told, low=low, high=high)
        try:
            function = function_of(activation, low, high)
            return self._chosen(activation, function, told)
        except (UntraceableError, UnboundedError) as error:
            return None, replace(told, reason=f"{error}")

    def _why_not(self, activation: Activation) -> str:
        if not activation.keeps_shape:
            return "it changes the shape of its input"
        if not activation.elementwise:
            return "it takes statistics of its input"
        if isinstance(self.spot.owner, BESIDE):
            return f"{type(self.spot.owner).__name__} computes it with what stands beside it"
        if self.range is None and self.seen is not None:
            found = self.seen.get(id(activation))
            if found is None or found.low > found.high:
                return "no example input reaches it; give its range"
            if not math.isfinite(found.high - found.low):
                return "it receives values that are not finite"
            if found.low == found.high:
                return f"it receives one value only, {found.low:.4g}; give its range"
        return ""

    def _range(self) -> Range:
        if self.range is not None:
            return float(self.range[0]), float(self.range[1])
        if self.seen is None:
            return ASSUMED
        found = self.seen[id(self.spot.original)]
        return found.low, found.high

    def _chosen(
        self, activation: Activation, function: Function, told: Simplified
    ) -> tuple[nn.Module | None, Simplified]:
        near = nearest(function, self._has_channels_second(activation))
        for candidate in [one for one in near if one.apart <= self.tolerance][:PROOFS]:
            found = proved(function, candidate, self.tolerance)
            if found.proved <= self.tolerance:
                return _made(activation, candidate.module), _told(told, "built-in", candidate, found)
        closest = near[0].apart
        if self.otherwise != "keep":
            for candidate, found in _BUILDERS[self.otherwise](function, self.tolerance):
                if found.proved <= self.tolerance:
                    return candidate.module, _told(told, self.otherwise, candidate, found)
        reason = f"the nearest built-in one, {_short(near[0].module)}, differs by {closest:.2g}"
        if self.otherwise != "keep":
            reason += f", and no {_NAMES[self.otherwise]} is within {self.tolerance:.2g}"
        return None, replace(told, reason=reason)

    def _has_channels_second(self, activation: Activation) -> bool:
        """Whether the channels lie where nn.PReLU looks for them."""
        found = self.seen.get(id(activation)) if self.seen is not None else None
        axes = found.axes if found is not None else set()
        return all(activation.channel_dim % count == 1 for count in axes) if axes else activation.channel_dim == 1


_NAMES = {
    "native": "multiple of a built-in one",
    "polynomial": "polynomial of degree 22 or less",
    "rational": "quotient of degree 9 over 8 or less",
    "table": "table of 256 int8 values",
}


def _short(module: nn.Module) -> str:
    return f"{type(module).__name__}({module.extra_repr()})"


def _told(told: Simplified, kind: str, candidate: Candidate, found: Bound) -> Simplified:
    return replace(told, after=repr(candidate.module), kind=kind, bound=found.proved, reached=found.reached)


def _made(activation: Activation, module: nn.Module) -> nn.Module:
    """The built-in module; of groups of channels, with the slope of each channel."""
    if isinstance(module, nn.PReLU) and activation.group_size > 1:
        wide = nn.PReLU(module.num_parameters * activation.group_size)
        wide.weight.data.copy_(module.weight.data.repeat_interleave(activation.group_size))
        return wide
    return module
