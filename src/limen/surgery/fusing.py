"""Fuse norms, sums, gates and their activations in a model: find them, write the calls, prove that all is as it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from limen.activations.base import Activation
from limen.beside import pairs as computed
from limen.errors import LimenError
from limen.surgery.callees import is_activation
from limen.surgery.calls import Body, find_calls
from limen.surgery.derive import Derived, base_of, derive
from limen.surgery.examples import batches, first_run
from limen.surgery.flow import Flow
from limen.surgery.fuse_report import FuseReport, Left, Pair
from limen.surgery.hooks import watched_by
from limen.surgery.known import GATES
from limen.surgery.observing import drift, outputs, outputs_of_one
from limen.surgery.pairs import Finder, Found, is_norm
from limen.surgery.proving import differentiated
from limen.surgery.reading import read_all
from limen.surgery.rewriting import Rewrite, plan, rewritten, tree_of
from limen.surgery.scope import Method, Scope
from limen.surgery.source import Definition, Source
from limen.surgery.twins import places_of
from limen.surgery.weaving import Fusion
from limen.surgery.why_apart import no_activation, not_together
from limen.warmstart import Arguments


def fuse_(model: nn.Module, *, example_inputs: Any = None) -> FuseReport:
    """Compute what stands beside the activations of ``model`` with them, in place: norms, sums and gates.

    Found are a norm that an activation follows, ``act(norm(x))``, in an ``nn.Sequential`` or in what a ``forward``
    runs, also statement by statement; a norm, a sum and an activation, ``act(norm(x) + shortcut)``; and gates,
    ``act(gate) * up``. The activations may be limen's or torch's ReLU, GELU, SiLU and Mish. Modules stay where they
    are: names, parameters, buffers, state dicts, copies and pickles are as before, in both directions. What is fused
    asks at each call whether it may be one step, so hooks that come later, ``torch.compile``, export, other types and
    machines see one part after the other.

    Args:
        model: any model; wrappers such as ``DistributedDataParallel`` are looked into.
        example_inputs: as :func:`swap_` takes them. Outputs in evaluation, and outputs and gradients as in training,
            are then compared before and after; the report says how far they moved.

    Returns:
        ``pairs`` that were fused, ``left`` with the reason, and ``undo()``.

    Raises:
        LimenError: if ``model`` is no ``nn.Module``, the example inputs do not fit it, or the fused model computes
            something else on them; the model is then as it was before.

    >>> import limen
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Sigmoid())
    >>> print(limen.fuse_(model))
    1 fused, 0 left
      1, 2: BatchNorm2d and ReLU
    """
    if not isinstance(model, nn.Module):
        raise LimenError(f"fuse_ takes a model, an nn.Module, and {type(model).__name__} was given.")
    return fuse_given(model, batches(model, example_inputs, outputs_of_one))


def fuse_given(model: nn.Module, given: list[Arguments]) -> FuseReport:
    """:func:`fuse_` with example inputs that have been read."""
    operation = _Operation(model, given)
    operation.find()
    return operation.fuse()


def fused_parts(model: nn.Module) -> list[str]:
    """The paths of the modules that compute something fused."""
    return [path for path, module in model.named_modules() if getattr(type(module), "limen_fused", False)]


@dataclass
class _Operation:
    """One fusing, step by step."""

    model: nn.Module
    given: list[Arguments]
    report: FuseReport = field(default_factory=FuseReport)
    classes: list[tuple[nn.Module, type]] = field(default_factory=list)
    """What changes class, and to which."""

    def find(self) -> None:
        """Every pair, and the classes that compute them."""
        self.readings = read_all(self.model.modules())
        self.flow = Flow(self.model, self.readings)
        self.places = places_of(self.model)
        found = {path: list(self._in(owner)) for path, owner in self.model.named_modules() if _may_change(owner)}
        norms = Counter(id(one.norm) for several in found.values() for _, one in several if one.norm is not None)
        for path, owner in self.model.named_modules():
            if getattr(type(owner), "limen_fused", False):
                self.report.left.append(Left(path, type(owner).__name__, "it is fused already"))
                continue
            chosen = [(body, self._judged(one, norms)) for body, one in found.get(path, [])]
            self._note(path, chosen)
            self._change(owner, chosen)
            self._sequence(path, owner)
            self._norm_with_activation(path, owner)

    def _in(self, owner: nn.Module) -> Iterator[tuple[Body, Found]]:
        reading = self.readings.get(id(owner))
        for body in reading.bodies if reading is not None else ():
            seen = _as_it_runs(body, owner)
            if seen is not None:
                yield from ((body, one) for one in Finder(seen, self.flow).find())

    def _judged(self, found: Found, norms: Counter[int]) -> Found:
        """What was found, left where its norm is used more than once."""
        if found.fusion is None or found.norm is None:
            return found
        several = norms[id(found.norm)] > 1 or len(self.places[id(found.norm)]) > 1
        return _left(found, "its norm is used at several places") if several else found

    def _note(self, path: str, chosen: list[tuple[Body, Found]]) -> None:
        for body, one in chosen:
            what = f"{one.other} and {one.activation}"
            location = body.location(one.node)
            if one.fusion is not None:
                self.report.pairs.append(Pair(path, one.kind, what, location))
            else:
                self.report.left.append(Left(path, what, one.why_not, location))

    def _change(self, owner: nn.Module, chosen: list[tuple[Body, Found]]) -> None:
        """The class that has the fused calls."""
        fusions: dict[int, list[Fusion]] = {}
        for body, one in chosen:
            if one.fusion is not None:
                fusions.setdefault(id(body), []).append(one.fusion)
        if fusions:
            before, hidden, swapped = _recipe(owner)
            rewrites = plan(self.readings[id(owner)].bodies, fusions, before)
            self.classes.append((owner, derive(base_of(owner), fused, rewrites, hidden, swapped)))

    def _sequence(self, path: str, owner: nn.Module) -> None:
        """The pairs of neighbours in a Sequential, which gets a ``forward`` that asks each of them."""
        if not isinstance(owner, nn.Sequential) or type(owner).forward is not nn.Sequential.forward:
            return
        prefix = f"{path}." if path else ""
        good = False
        for first, second in _neighbours(owner):
            norm, activation = owner._modules[first], owner._modules[second]
            assert norm is not None
            what = f"{type(norm).__name__} and {type(activation).__name__}"
            why = not_together(norm, activation) or no_activation(activation, True) or self._why_apart(owner, norm)
            place = f"{prefix}{first}, {prefix}{second}"
            if why:
                self.report.left.append(Left(place, what, why))
            else:
                self.report.pairs.append(Pair(place, "norm", what))
                good = True
        if good:
            self.classes.append((owner, derive(base_of(owner), in_sequence, *_recipe(owner))))

    def _norm_with_activation(self, path: str, owner: nn.Module) -> None:
        """A class that is a norm and holds the activation that it ends with, as timm has them."""
        activation = owner._modules.get("act")
        if not is_norm(owner) or activation is None or not is_activation(activation):
            return
        what = f"{type(owner).__name__} and its {type(activation).__name__}"
        known = (base_of(owner).__module__, base_of(owner).__name__) == ("timm.layers.norm_act", "BatchNormAct2d")
        why = watched_by(owner) or no_activation(activation, True)
        if not known or type(owner._modules.get("drop")) is not nn.Identity:
            why = f"{type(owner).__name__} is a class of its own"
        if why:
            self.report.left.append(Left(path, what, why))
            return
        self.report.pairs.append(Pair(path, "norm", what))
        self.classes.append((owner, derive(base_of(owner), as_norm, *_recipe(owner))))

    def _why_apart(self, owner: nn.Module, norm: nn.Module) -> str:
        if id(owner) in self.flow.taken_apart():
            return "what holds it runs its items one by one"
        return "its norm is used at several places" if len(self.places[id(norm)]) > len(self.places[id(owner)]) else ""

    def _say_noise(self) -> None:
        """What is one step in evaluation alone."""
        drawing = {type(m).__name__ for m in self.model.modules() if isinstance(m, Activation) and m._bound[True].noise}
        if any(pair.kind != "gate" for pair in self.report.pairs):
            self.report.notes += [
                f"{name} draws noise in training, where a norm before it is computed by itself"
                for name in sorted(drawing)
            ]

    def fuse(self) -> FuseReport:
        """Change the classes; with example inputs compare what the model computes, and put all back if it differs."""
        before = first_run(self.model, self.given, outputs_of_one) if self.given and self.classes else []
        trained = differentiated(self.model, self.given) if before else None
        self._say_noise()
        self.report.changed = [(owner, type(owner), made) for owner, made in self.classes]
        for owner, made in self.classes:
            owner.__class__ = made
        try:
            if before:
                self._prove(before, trained)
        except BaseException:
            self.report.undo()
            raise
        return self.report

    def _prove(self, before: list[Tensor], trained: list[Tensor] | None) -> None:
        after = outputs(self.model, self.given)
        self.report.output_drift = drift(before, after)
        self._check(before, self.report.output_drift, "outputs")
        again = differentiated(self.model, self.given) if trained is not None else None
        if trained is None or again is None:
            self.report.notes.append("the model could not be run as in training, so its gradients were not compared")
            return
        self.report.gradient_drift = drift(trained, again)
        # Norms of few values multiply roundings: 0.2 % in DenseNet-121 of two images whose last maps have 2x2 pixels.
        self._check(trained, self.report.gradient_drift / 10, "outputs or gradients in training")

    def _check(self, before: list[Tensor], moved: float, what: str) -> None:
        coarsest = max((torch.finfo(tensor.dtype).eps for tensor in before), default=0.0)
        if not moved <= 10 * coarsest**0.5:
            raise LimenError(
                f"the fused model's {what} differ from the model's by {moved:.2%} of their size, so it was left as it "
                "was; please report it."
            )


def _left(found: Found, why: str) -> Found:
    return Found(found.kind, found.node, found.activation, found.other, why, None, found.norm)


def _may_change(owner: nn.Module) -> bool:
    """Whether a class of its own may be put in place of the object's."""
    return not getattr(type(owner), "limen_fused", False) and not is_activation(owner)


def _recipe(owner: nn.Module) -> tuple[tuple[Rewrite, ...], tuple[str, ...], tuple[str, ...]]:
    """What a swap made of the object's class."""
    if not isinstance(owner, Derived) or type(owner).limen_make is not rewritten:
        return (), (), ()
    rewrites, hidden, swapped = type(owner).limen_recipe
    return rewrites, hidden, swapped


def _as_it_runs(body: Body, owner: nn.Module) -> Body | None:
    """A function with the calls that a swap has put into it; nothing where there is no object to call anything of."""
    origin = body.origin
    if isinstance(origin, Method):
        held = vars(origin.owner)[origin.name]
        if isinstance(held, (staticmethod, classmethod)):
            return None
    rewrite = next((one for one in _recipe(owner)[0] if one.origin == origin), None)
    if rewrite is None:
        return body
    inner = body.source
    source = Source(
        inner.function, Definition(tree_of(rewrite, inner), inner.definition.class_name, inner.definition.imports)
    )
    instance = owner if isinstance(origin, Method) else None
    seen = Body(Scope(source, instance, body.scope.owner), origin, body.held)
    find_calls(seen, set())
    return seen


def _neighbours(owner: nn.Sequential) -> Iterator[tuple[str, str]]:
    """The names of norms and the activations that follow them, with nothing between that does anything."""
    norm = ""
    for name, child in owner._modules.items():
        if norm and child is not None and is_activation(child) and not isinstance(child, GATES):
            yield norm, name
        if is_norm(child):
            norm = name
        elif type(child) is not nn.Identity:
            norm = ""


def fused(
    base: type, rewrites: tuple[Rewrite, ...], hidden: tuple[str, ...], swapped: tuple[str, ...]
) -> dict[str, Any]:
    """What the class of an object with fused calls adds."""
    methods: dict[str, Any] = {
        "limen_norm_act": computed.norm_act,
        "limen_norm_add_act": computed.norm_add_act,
        "limen_other_norm_add_act": computed.other_norm_add_act,
        "limen_gate": computed.gate,
        "limen_up_gate": computed.up_gate,
        "limen_relu": torch.relu,
    }
    added: dict[str, Any] = {name: staticmethod(function) for name, function in methods.items()}
    return {**rewritten(base, rewrites, hidden, swapped), **added, "limen_fused": True}


def as_norm(
    base: type, rewrites: tuple[Rewrite, ...], hidden: tuple[str, ...], swapped: tuple[str, ...]
) -> dict[str, Any]:
    """What the class of a norm adds that holds its activation."""
    return {**fused(base, rewrites, hidden, swapped), "forward": computed.batch_norm_act}


def in_sequence(
    base: type, rewrites: tuple[Rewrite, ...], hidden: tuple[str, ...], swapped: tuple[str, ...]
) -> dict[str, Any]:
    """What the class of a Sequential with fused pairs adds."""
    return {**fused(base, rewrites, hidden, swapped), "forward": computed.run_in_sequence}
