"""Replace the activations of a model: survey, choose, make, install."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from limen.errors import LimenError, SpecError
from limen.surgery.causal import Causality
from limen.surgery.examples import batches, equal, first_run
from limen.surgery.fusing import fuse_given, fused_parts
from limen.surgery.hooks import carry_hooks
from limen.surgery.inplace import must_write_back, writing_back
from limen.surgery.installing import Undo, calls_that_stay, install
from limen.surgery.keeping import Rules, Where
from limen.surgery.making import Maker, Target, leaves_context_open, maker
from limen.surgery.observing import (
    Seen,
    drift,
    modules_that_run,
    noting_runs,
    observe,
    outputs,
    outputs_of_one,
    still_running,
    taking_integers,
)
from limen.surgery.proving import TRIES, Standing
from limen.surgery.report import Installed, Site, SwapReport
from limen.surgery.sharing import channels_for
from limen.surgery.sites import Spot, Survey, survey
from limen.surgery.state import MovingStateMap, References, StateMap, held_under, take_over
from limen.surgery.twins import places_of
from limen.warmstart import Arguments

Share = Literal["site", "instance"]


def swap_(
    model: nn.Module,
    to: Target,
    *,
    where: Where | Sequence[Where] | None = None,
    keep: Where | Sequence[Where] = (),
    warm_start: bool = False,
    share: Share = "site",
    example_inputs: Any = None,
    num_parameters: int | Literal["channel"] | None = None,
    reestimate_batch_norm: bool = False,
    fuse: bool = False,
) -> SwapReport:
    """Replace the activations of ``model`` in place, each site by an object of its own.

    A site is an activation module, a function that a module holds (``self.act = F.gelu``, also in lists and
    dictionaries), or an activation call in what a ``forward`` runs: ``F.relu(x)``, ``x.relu_()``, ``x.clamp(min=0)``,
    an alias, ``partial``, a helper function, a written-out ``x * torch.sigmoid(x)``. Calls are reached by rewriting
    the function's source, so they survive control flow, ``torch.compile`` and export, and their modules are children
    of the module whose ``forward`` it is. Where one module is called at several places, each gets its own, unless only
    one of them can run in one pass.

    New modules take over device, type, mode, hooks and frozenness; weights elsewhere are untouched. State dicts from
    before the swap still load with ``strict=True``. The model still copies and pickles. New parameters are in no
    optimizer that was made before: make it after the swap, or give it ``report.parameters()`` as a further group.

    In a model that shows that it is causal, activations with statistics of their input take them within each token, if
    no context was named; ``notes`` in the report say so, and where a model stops being causal.

    Kept by default, and listed with the reason: gates (sigmoid, softmax, GLU), what lies in recurrent cells, bounded
    functions at the model's output, and what no example input reaches.

    Args:
        to: a spec such as ``"asau:beta=2"``, a class, one with arguments (``functools.partial(limen.ASH, z_k=1)``), a
            module (copied for each site), or a function that makes one.
        where: only these sites: a path with wildcards (``"layer1.*"``), a class, a predicate on ``(path, module)`` or
            ``(path, module, parent)``, or several of them. What is kept by default is replaced only if named here.
        keep: sites to leave as they are, named likewise.
        warm_start: fit the new parameters to the old function, over the inputs that the site receives from
            ``example_inputs``, or over N(0, 1) without them.
        share: ``"site"``: one object a site. ``"instance"``: one object for all sites that held one object.
        example_inputs: a tensor, a tuple of the model's arguments, a mapping of them, or an iterable of batches, of
            the shapes and types that the model takes. It is run on copies of them in evaluation mode: the report then
            names activations that still run unreached. An argument that is a list goes into a tuple: ``(images,)``.
            Of a batch in an iterable, what the model cannot take is left out as labels.
        num_parameters: how many parameters each new activation has; ``"channel"``: one for each channel of what feeds
            the site, found from the layers before it or seen on the example inputs.
        reestimate_batch_norm: afterwards estimate BatchNorm statistics anew on the example inputs.
        fuse: afterwards compute the new activations with what stands beside them, as :func:`fuse_` does; ``fused`` in
            the report says which.

    Returns:
        What was replaced, what was kept and why, and the way back: ``undo()``.

    Raises:
        SpecError: for an unknown activation, or one that changes the shape of its input; for ``where``, ``keep`` or
            ``share`` that name nothing; for ``reestimate_batch_norm`` without example inputs.
        LimenError: if ``model`` is no ``nn.Module``, the example inputs do not fit it or can be read in two ways, or
            the channels of a site cannot be told; if parts of the model are fused.
        SampleError: with ``warm_start``, if what a site receives does not determine a function.

    After any error the model is as it was before.

    >>> import limen
    >>> model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2), nn.Sigmoid())
    >>> print(limen.swap_(model, "asau"))
    1 replaced, 1 kept, 0 not reached
      1: ReLU() -> ASAU(a=0.01, b=1, alpha=1, beta=1)
      3: Sigmoid() kept (a gate, not an activation)
      new parameters are in no optimizer made before; add_param_group({'params': report.parameters()})
    """
    if not isinstance(model, nn.Module):
        raise LimenError(f"swap_ takes a model, an nn.Module, and {type(model).__name__} was given.")
    if share not in ("site", "instance"):
        raise SpecError(f"share={share!r} is not possible: give 'site' or 'instance'.")
    parts = fused_parts(model)
    if parts:
        some = ", ".join(path or "the model" for path in parts[:3])
        raise LimenError(
            f"parts of this model are fused ({some}); call undo() of what fuse_ gave, and swap with fuse=True."
        )
    make = maker(to)
    given = batches(model, example_inputs, outputs_of_one)
    if reestimate_batch_norm and not given:
        raise SpecError("reestimate_batch_norm=True needs example_inputs to estimate from.")
    rules = Rules(where, keep)
    operation = Operation(model, survey(model, share == "site", num_parameters == "channel"), given)
    operation.choose(rules)
    operation.look(observing=warm_start or num_parameters == "channel")
    operation.make(make, num_parameters, tied=share == "instance", free=leaves_context_open(to))
    try:
        operation.install(warm_start)
        report = operation.finish(reestimate_batch_norm)
        report.fused = fuse_given(model, given) if fuse else None
        return report
    except BaseException:  # an interrupt too: nobody holds the report yet by which to undo
        while operation.undo:
            operation.undo.pop()()
        raise


@contextmanager
def swapped(model: nn.Module, to: Target, **options: Any) -> Iterator[SwapReport]:
    """Swap for the length of a ``with`` block; takes what :func:`swap_` takes.

    Raises:
        LimenError: what :func:`swap_` raises, and what :meth:`SwapReport.undo` raises at the end of the block.

    >>> import limen
    >>> model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    >>> with limen.swapped(model, "asau") as report:
    ...     model[1]
    ASAU(a=0.01, b=1, alpha=1, beta=1)
    >>> model[1]
    ReLU()
    """
    report = swap_(model, to, **options)
    try:
        yield report
    finally:
        report.undo()


@dataclass
class Operation:
    """One swap, step by step."""

    model: nn.Module
    survey: Survey
    given: list[Arguments]
    chosen: list[Spot] = field(default_factory=list)
    skipped: list[Site] = field(default_factory=list)
    named: bool = False
    """Whether ``where`` named the sites that were chosen."""
    idle: set[str] = field(default_factory=set)
    """Sites that no example reached."""
    running_modules: set[int] = field(default_factory=set)
    """Where some were idle: the ``id`` of all modules that were called."""
    seen: dict[str, Seen] = field(default_factory=dict)
    before: list[Tensor] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    new: list[nn.Module] = field(default_factory=list)
    fits: dict[str, tuple[float, float]] = field(default_factory=dict)
    classes: list[type] = field(default_factory=list)
    undo: Undo = field(default_factory=list)
    state: StateMap | None = None
    causality: Causality | None = None

    def choose(self, rules: Rules) -> None:
        """Part the sites into those to replace and those that stay."""
        rules.check(self.survey.spots)
        self.named = rules.only is not None
        outputs = self.survey.flow.at_output()
        for spot in self.survey.spots:
            reason = rules.reason_to_keep(spot, self.survey, outputs)
            if reason:
                text = one_line(spot.original)
                self.skipped.append(Site(spot.path, text, text, reason, spot.location))
            else:
                self.chosen.append(spot)
        self.skipped += [Site(path, what, what, reason) for path, what, reason in self.survey.kept]

    def look(self, observing: bool) -> None:
        """Run the example inputs through the model, its functions at their sites as modules.

        This also proves the rewriting: the outputs must be the same to the bit.
        """
        if not self.given:
            return
        self.before = first_run(self.model, self.given, outputs_of_one)
        # RReLU called with training=True draws its slopes, and a stand-in computes as in evaluation.
        exact = all(
            spot.call is None or (spot.call[1].exact and type(spot.like) is not nn.RReLU) for spot in self.chosen
        )
        places = Counter(spot.tie for spot in self.chosen)
        stand_ins = [(spot, self._stand_in(spot, alone=places[spot.tie] == 1)) for spot in self.chosen]
        undo = install(self.model, self.survey, stand_ins)
        try:
            sites = {spot.path: module for spot, module in stand_ins}
            with taking_integers(sites) as of_integers, noting_runs(sites) as ran:
                same = self._gives_the_same() or not exact
            if observing:
                self.seen = observe(self.model, sites, self.given)
            self._note_idle({path: module for path, module in sites.items() if path not in ran})
            held = [spot.owner._modules.get(spot.name) for spot in self.survey.spots]
            ours = [*sites.values(), *(module for module in held if module is not None)]
            known = {site.location for site in self.skipped if site.location}
            self.running = still_running(self.model, ours, known, self.given)
        finally:
            while undo:
                undo.pop()()
        if not same and all(self._gives_the_same() for _ in range(TRIES)):
            suspects = ", ".join(spot.path for spot, module in stand_ins if module is not spot.original)
            raise LimenError(
                "calling this model's activations as modules changed its outputs, so it was left as it was; keep "
                f"some sites ({suspects}) and please report it."
            )
        self._keep(of_integers, "its input is a tensor of integers")
        if not self.named:
            kept = {spot.path for spot in self.chosen if spot.path in self.idle and not self._is_routed(spot)}
            self._keep(kept, "no example input reaches it, in evaluation or in training; name it in where")

    def _note_idle(self, silent: dict[str, nn.Module]) -> None:
        """What does not run in evaluation may do so in training, as an auxiliary classifier."""
        if silent:
            with noting_runs(silent) as ran:
                self.running_modules = modules_that_run(self.model, self.given)
            self.idle = set(silent) - ran

    def _is_routed(self, spot: Spot) -> bool:
        """Whether it is in a module like others that did run, as an expert to which no example was sent."""
        ran, parents = self.running_modules, self.survey.flow.parents
        module: nn.Module | None = spot.owner
        while module is not None and id(module) not in ran:
            alike = (other for other in self.model.modules() if type(other) is type(module))
            if any(True for _ in module.parameters()) and any(id(other) in ran for other in alike):
                return True
            module = parents[id(module)][0] if id(module) in parents else None
        return False

    def _gives_the_same(self) -> bool:
        return equal(self.before, outputs(self.model, self.given))

    def _keep(self, paths: set[str], reason: str) -> None:
        """Leave sites out that were chosen before."""
        for spot in [spot for spot in self.chosen if spot.path in paths]:
            self.chosen.remove(spot)
            text = one_line(spot.original)
            self.skipped.append(Site(spot.path, text, text, reason, spot.location))

    def _stand_in(self, spot: Spot, alone: bool) -> nn.Module:
        """The old function as a module of its own; one that overwrites its input where that may matter."""
        overwrites = must_write_back(spot, self.survey.flow)
        if spot.place == "child" and spot.in_place == overwrites and alone:
            return spot.original
        module = Standing(_target(spot), spot.in_place, overwrites).train(spot.original.training)
        if spot.was_module:
            carry_hooks(module, spot.original)
        return module

    def make(self, make: Maker, num_parameters: int | str | None, tied: bool, free: bool) -> None:
        """Make the new activations, before anything is replaced."""
        by_tie: dict[int, nn.Module] = {}
        known: References = {}
        self.causality = Causality(self.model, self.survey.readings, free, self.given, outputs_of_one)
        channels = channels_for(self.chosen, self.survey.flow, self.seen, num_parameters, self.idle)
        for spot in self.chosen:
            if tied and spot.tie in by_tie:
                self.new.append(by_tie[spot.tie])
                continue
            new = make(channels[spot.path])
            self.causality.settle(spot.path, new)
            take_over(new, spot.original, spot.owner, self.model, spot.was_module, known)
            self.new.append(writing_back(new) if must_write_back(spot, self.survey.flow) else new)
            by_tie[spot.tie] = self.new[-1]

    def install(self, warm_start: bool) -> None:
        """Fit, replace, and let old state dicts load."""
        if warm_start:
            self._fit()
        before: Any = self.model.state_dict()
        places = places_of(self.model)
        held = [place for spot in self.chosen for place in (spot, *spot.twins)]
        prefixes = _prefixes(held, places)
        old = held_under(before, _prefixes([place for place in held if place.place == "child"], places))
        layout = (list(before), getattr(before, "_metadata", {}))
        self.classes = [type(spot.owner) for spot in self.chosen]
        self.undo = install(self.model, self.survey, list(zip(self.chosen, self.new, strict=True)))
        moved = self._moved(places)
        self.state = MovingStateMap(moved, prefixes, old, *layout) if moved else StateMap(prefixes, old, *layout)
        root: Any = self.model
        self.undo.append(root.register_load_state_dict_pre_hook(self.state).remove)
        for path, part in self._parts(prefixes):
            self.undo.append(part.register_load_state_dict_pre_hook(self.state.within(path)).remove)

    def _parts(self, prefixes: list[str]) -> list[tuple[str, Any]]:
        """The modules above the sites, each by one of its paths."""
        paths = [prefix.split(".")[:-1] for prefix in prefixes]
        above = sorted({".".join(names[:depth]) for names in paths for depth in range(1, len(names))})
        found: dict[int, tuple[str, Any]] = {}
        for path in above:
            part = self.model.get_submodule(path)
            if part is not self.model:
                found.setdefault(id(part), (path, part))
        return list(found.values())

    def _moved(self, places: Mapping[int, list[str]]) -> dict[str, str]:
        """Keys of originals that stay for some calls, and what those keys were."""
        return {
            f"{prefix}{spot.name}.{key}": f"{prefix}{spot.home[1]}.{key}"
            for spot in calls_that_stay(self.survey, self.chosen)
            for key in spot.original.state_dict()
            for prefix in places[id(spot.owner)]
        }

    def _fit(self) -> None:
        from limen.warmstart import fit_

        done: set[int] = set()
        for spot, new in zip(self.chosen, self.new, strict=True):
            if id(new) in done:
                continue
            done.add(id(new))
            same = [s for s, other in zip(self.chosen, self.new, strict=True) if other is new]
            fit = fit_(new, _target(spot), self._samples(same, new))
            self.fits.update({s.path: (fit.before, fit.after) for s in same})

    def _samples(self, spots: list[Spot], new: nn.Module) -> Tensor:
        found = [sample for spot in spots for sample in self.seen.get(spot.path, Seen()).samples]
        reference = next((p for p in new.parameters()), torch.empty(0))
        if found:
            rest = found[0].shape[1:]
            return torch.cat([sample for sample in found if sample.shape[1:] == rest])
        count = getattr(new, "num_parameters", 1)
        shape = (4096,) if count == 1 else (512, count)
        generator = torch.Generator().manual_seed(0)
        return torch.randn(shape, generator=generator).to(device=reference.device, dtype=reference.dtype)

    def finish(self, reestimate: bool) -> SwapReport:
        """Statistics of norms, what changed, and the report."""
        report = SwapReport(skipped=self.skipped, unreached=sorted({*self.survey.unreached, *self.running}))
        report.steps_back, report.state_map = self.undo, self.state
        report.installed = [
            Installed(spot.path, spot.owner, spot.name, new, None if type(spot.owner) is old else type(spot.owner))
            for spot, new, old in zip(self.chosen, self.new, self.classes, strict=True)
        ]
        report.installed += [
            Installed(twin.path, twin.owner, twin.name, new, None)
            for spot, new in zip(self.chosen, self.new, strict=True)
            for twin in spot.twins
        ]
        if reestimate:
            from limen.warmstart import reestimate_batch_norm_

            norms = [m for m in self.model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
            report.steps_back.append(partial(_restore_buffers, [(m, _buffers(m)) for m in norms]))
            report.renormalised = reestimate_batch_norm_(self.model, self.given)
        for spot, new in zip(self.chosen, self.new, strict=True):
            site = Site(spot.path, _before(spot), one_line(new), "", spot.location)
            if spot.path in self.idle:
                site = replace(site, idle=True)
            if spot.path in self.fits:
                site = replace(site, fit_before=self.fits[spot.path][0], drift=self.fits[spot.path][1])
            report.sites.append(site)
        if self.given:
            report.drift = drift(self.before, outputs(self.model, self.given))
        report.notes = self.causality.notes() if self.causality is not None else []
        return report


def _prefixes(spots: list[Spot], places: Mapping[int, list[str]]) -> list[str]:
    """Where the state dict has what stands at these sites, once for each name of a shared owner."""
    return [f"{prefix}{spot.name}." for spot in spots for prefix in places[id(spot.owner)]]


def _target(spot: Spot) -> Callable[[Tensor], Tensor]:
    return _target_of(spot.original)


def _target_of(original: nn.Module) -> Callable[[Tensor], Tensor]:
    """What the old activation computes in evaluation, leaving its own mode alone."""
    forward: Any = type(original).forward  # as it is now: a model that is its own site gets another

    def compute(x: Tensor) -> Tensor:
        training = original.training
        original.training = False
        try:
            with torch.no_grad():
                return forward(original, x)  # type: ignore[no-any-return]
        finally:
            original.training = training

    return compute


def _before(spot: Spot) -> str:
    """The old activation, and the arithmetic that still goes on with the result."""
    within = spot.call[1].within if spot.call else ""
    return f"{one_line(spot.original)} in {within}" if within else one_line(spot.original)


def one_line(module: nn.Module) -> str:
    """A module's description, cut to its own line."""
    text = repr(module)
    return text if "\n" not in text else f"{type(module).__name__}({module.extra_repr()})"


def _buffers(module: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in module.named_buffers(recurse=False)}


def _restore_buffers(saved: list[tuple[nn.Module, dict[str, Tensor]]]) -> None:
    with torch.no_grad():
        for module, buffers in saved:
            for name, value in buffers.items():
                getattr(module, name).copy_(value)
