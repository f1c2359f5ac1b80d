"""AdAct: a learned softmax mixture of activations.

Maiti, "AdAct: Learning to Optimize Activation Function Choice Through Adaptive Activation Modules", ICLR 2024
Tiny Papers (OpenReview M7d5k4AxCE).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling
from torch.fx import Proxy

from limen.activations.base import Activation
from limen.activations.registry import create, name_of, register
from limen.activations.weighting import Weighting, held, places_of
from limen.errors import SpecError, suggest
from limen.kernels import dispatch
from limen.kernels.bound import BoundFormula, Memory
from limen.kernels.precision import at_least_float32, parameter_dtype
from limen.kernels.weights import ALL, softmax

PAPER_CANDIDATES = ("relu", "elu", "leaky_relu", "prelu", "rrelu", "silu", "mish")
"""The seven of the paper, in its order."""


class MixtureFormula:
    """Σ wᵢ·fᵢ(x) as one formula over ``x``, the weights ``w0, w1, …`` and each candidate's arguments ``f0_…``."""

    def __init__(self, formulas: Iterable[Callable[..., Any]]) -> None:
        self.formulas = tuple(formulas)

    def __call__(self, x: Any, **arguments: Any) -> Any:
        """The weighted sum."""
        total = 0
        for index, formula in enumerate(self.formulas):
            prefix = f"f{index}_"
            own = {name.removeprefix(prefix): a for name, a in arguments.items() if name.startswith(prefix)}
            total = total + arguments[f"w{index}"] * formula(x, **own)
        return total

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MixtureFormula) and self.formulas == other.formulas

    def __hash__(self) -> int:
        return hash(self.formulas)

    @staticmethod
    def bind(members: list[BoundFormula]) -> BoundFormula:
        """Join the candidates' bound formulas with the weights into one."""
        weights = tuple(f"w{index}" for index in range(len(members)))
        numbered = list(enumerate(members))
        return BoundFormula(
            MixtureFormula(member.function for member in members),
            (*weights, *(f"f{index}_{name}" for index, member in numbered for name in member.parameters)),
            tuple((f"f{index}_{name}", value) for index, member in numbered for name, value in member.constants),
            tuple(f"f{index}_{name}" for index, member in numbered for name in member.noise),
            next((member.plain_only for member in members if member.plain_only), ""),
            len(members),
        )


class Candidates(nn.ModuleList):
    """The candidates of mixtures, which are told when one is replaced."""

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        for owner in list(self.__dict__.get("_bound_owners", ())):
            owner._rebind()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if not name.startswith("_bound")}

    def _tell(self, owner: Activation) -> None:
        self.__dict__.setdefault("_bound_owners", WeakSet()).add(owner)


@register("adact")
class AdAct(Activation):
    """A learned mixture of activations: Σ softmax(logits)ᵢ·fᵢ(x).

    Maiti 2024, unnumbered equation of §2. With the paper's seven candidates it has 8 parameters: 7 logits and the
    slope of PReLU. RReLU draws its slope for each element in training and uses the mean in evaluation.

    Args:
        candidates: names, specs, or :class:`Activation` objects, at least two.

    The logits start at 0 (all weights equal); the paper does not say how it starts. They are float, of shape (K,) for K
    candidates, or (num_parameters, K) with one mixture a channel.

    >>> AdAct(("relu", "silu")).weights
    tensor([0.5000, 0.5000])
    >>> sum(p.numel() for p in AdAct().parameters())
    8
    """

    candidates: Candidates
    _bound_own: list[tuple[str, int, str]]
    weighting: Weighting | None
    """Temperature, sampling and dropped candidates; None for the plain softmax."""
    alive: tuple[int, ...]
    """The places of the candidates that have not been dropped."""
    source = "Maiti 2024, ICLR Tiny Papers (OpenReview M7d5k4AxCE), §2"
    written = "sum_i softmax(logits)_i * candidate_i(x)"

    def __init__(
        self,
        candidates: Iterable[str | Activation] = PAPER_CANDIDATES,
        *,
        num_parameters: int = 1,
        channel_dim: int = 1,
        group_size: int = 1,
        memory: Memory = "exact",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        common: dict[str, Any] = {
            "num_parameters": num_parameters, "channel_dim": channel_dim, "group_size": group_size,
            "device": device, "dtype": dtype,
        }  # fmt: skip
        super().__init__(memory=memory, **common)
        if not isinstance(candidates, Iterable):
            raise SpecError(f"AdAct's candidates={candidates!r} must be names, specs or activations, at least two.")
        chosen = [candidates] if isinstance(candidates, (str, Activation)) else list(candidates)
        if len(chosen) < 2:
            raise SpecError(f"AdAct mixes at least two candidates, and {len(chosen)} was given: {candidates!r}.")
        self.candidates = Candidates(create(c, **common) if isinstance(c, str) else c for c in chosen)
        for candidate in self.candidates:
            _check_candidate(candidate)
        self.names = _unique([c if isinstance(c, str) else name_of(c) for c in chosen])
        self.weighting = None
        self.alive = tuple(range(len(chosen)))
        shape = (len(chosen),) if num_parameters == 1 else (num_parameters, len(chosen))
        self.logits = nn.Parameter(torch.empty(shape, device=device, dtype=parameter_dtype(dtype)))
        self.formula = MixtureFormula(candidate.formula for candidate in self.members)
        self.elementwise = all(candidate.elementwise for candidate in self.members)
        self.reset_parameters()
        self._rebind()

    @property
    def members(self) -> tuple[Activation, ...]:
        """The candidates as activations."""
        # Past nn.ModuleList, whose iteration takes as long as a small call of a built-in activation.
        found: Any = self._modules["candidates"]._modules.values()  # type: ignore[union-attr]
        return tuple(found)

    @property
    def in_play(self) -> tuple[Activation, ...]:
        """The candidates that have not been dropped."""
        members = self.members
        return members if len(self.alive) == len(members) else tuple(members[index] for index in self.alive)

    def shape_weights(self) -> Weighting:
        """The mixture's :class:`Weighting`, made on first use; until then the weights are the plain softmax.

        >>> AdAct(("relu", "silu")).shape_weights().alive()
        (0, 1)
        """
        if self.weighting is None:
            self.weighting = Weighting(len(self.names), device=self.logits.device)
        return self.weighting

    def drop_(self, names: Iterable[str]) -> None:
        """Take candidates out for good: weight 0, and no longer computed; the logits keep their shape.

        Raises:
            SpecError: for a candidate that the mixture does not have, or if none would be left.

        >>> mixture = AdAct(("relu", "silu", "mish"))
        >>> mixture.drop_(["relu"])
        >>> mixture.weights
        tensor([0.0000, 0.5000, 0.5000])
        """
        gone = {names} if isinstance(names, str) else set(names)
        for name in sorted(gone - set(self.names)):
            raise SpecError(f"the mixture has no candidate {name!r}. {suggest(name, self.names)}")
        left = [index for index in self.alive if self.names[index] not in gone]
        if not left:
            raise SpecError(
                f"a mixture keeps at least one candidate, and dropping {', '.join(sorted(gone))} leaves none."
            )
        weighting = self.shape_weights()
        weighting.active = weighting.active.clone()  # a loaded state may hold the same memory
        weighting.let_in(left)
        self._take_up(tuple(left))

    def _take_up(self, alive: tuple[int, ...]) -> None:
        """Compute only the candidates at these places."""
        self.alive = alive
        self._rebind()

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any, **kwargs: Any) -> None:
        # A state without a weighting was saved from a plain softmax, and is one again.
        active = state_dict.get(f"{prefix}weighting.active")
        if active is None and self.weighting is not None and f"{prefix}logits" in state_dict:
            self.weighting = None
            self._take_up(tuple(range(len(self.names))))
        elif active is not None and active.numel() == len(self.names):
            self.shape_weights()
            if not active.is_meta:  # read from the state: one's own may be on meta until it is loaded
                self._take_up(places_of(active))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _rebind(self) -> None:
        if "candidates" in self._modules:
            super()._rebind()
            for member in self.members:
                member._tell(self)
            object.__setattr__(self, "_bound_own", self._places_of_own())
            self.candidates._tell(self)

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "candidates":
            return super().__setattr__(name, value)
        super().__setattr__(name, value if isinstance(value, Candidates) else Candidates(value))
        if "_bound" in self.__dict__:
            self._rebind()
        return None

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Apply the mixture to an input of any shape; the output has its shape and type.

        A mask is taken as by every activation, if each candidate takes one.
        """
        given: Any = x
        if type(given) is Proxy:
            return self._as_one_step(given, mask)
        if mask is not None:
            return super().forward(x, mask)
        compiling = is_compiling()
        bound = self._bound[self.training]
        logits: Any = self._parameters.get("logits")
        if logits is None or logits.ndim > 1 or self.weighting is not None:
            alone = None if self.training or compiling else self._alone()
            return super().forward(x) if alone is None else self._by(alone, x)
        # Logits stand for the weights that are their softmax: to part seven weights takes 7 µs.
        tensors = (logits, *self._own())
        if not self.training and not compiling:
            if (y := dispatch.shortly(bound, x, tensors)) is not None:
                return y
            if (alone := self._alone()) is not None:
                return self._by(alone, x)
        return dispatch.evaluate(bound, x, tensors, self.channel_dim)

    def _by(self, alone: Activation, x: Tensor) -> Tensor:
        """By the only candidate that counts; the others' parameters stay in the graph."""
        return held(alone(x), list(self.parameters())) if self._learns() else alone(x)

    def _alone(self) -> Activation | None:
        """The candidate that has all the weight, so that baking it changes not one bit.

        One formula of all candidates rounds differently from the candidate's own. Asked on a CPU only: on a GPU the
        answer would make every call wait.
        """
        logits: Any = self._parameters.get("logits")
        if type(logits) is not nn.Parameter or not logits.is_cpu or logits.ndim > 1:
            return None
        if torch._C._get_tracing_state() is not None:
            return None
        if self.weighting is None:
            ranked = sorted(logits.tolist())
            if len(ranked) < 2 or ranked[-1] - ranked[-2] < ALL:
                return None
        largest, index = self.weights.max(0)
        return self.members[int(index)] if largest.item() == 1.0 else None

    def _learns(self) -> bool:
        return torch.is_grad_enabled() and self.logits.requires_grad

    def reset_parameters(self) -> None:
        """Equal weights, and every candidate at its initial values."""
        if "logits" not in self._parameters:
            return  # the base class's constructor calls this before there is anything to reset
        nn.init.zeros_(self.logits)
        if self.weighting is not None:
            self.weighting.reset_parameters()
            self.weighting.let_in(self.alive)
        for candidate in self.members:
            candidate.reset_parameters()

    @property
    def weights(self) -> Tensor:
        """softmax(logits), the share of each candidate: the logits' shape, detached, at least float32."""
        return self._softmax().detach()

    def _softmax(self, sample: bool = False) -> Tensor:
        logits = self.logits
        return softmax(logits) if self.weighting is None else self.weighting(at_least_float32(logits), sample)

    def heeds_mask(self) -> bool:
        """Whether every candidate does."""
        return all(candidate.heeds_mask() for candidate in self.in_play)

    def bind(self, training: bool) -> BoundFormula:
        """The candidates' formulas joined with the weights."""
        return MixtureFormula.bind([candidate.bind(training) for candidate in self.in_play])

    def tensors(self) -> tuple[Tensor, ...]:
        """The weights, then each candidate's own tensors: each 1-D, of one value or of num_parameters values."""
        return (*self._shares(), *self._own())

    def _own(self) -> tuple[Tensor, ...]:
        """The candidates' own tensors."""
        candidates: Any = self._modules["candidates"]
        members = candidates._modules  # looked up in every call: replicas of a model have candidates of their own
        try:
            places = [(members[key], holder, name) for key, holder, name in self._bound_own]
            return tuple([(m._buffers if holder else m._parameters)[name] for m, holder, name in places])
        except KeyError:
            return tuple([tensor for member in self.in_play for tensor in member.tensors()])

    def _places_of_own(self) -> list[tuple[str, int, str]]:
        """For each of the candidates' own tensors: which candidate, whether it is a buffer, and its name.

        Where a candidate computes its tensors there is a place that holds nothing, and all are asked.
        """
        if any(type(member).tensors is not Activation.tensors for member in self.in_play):
            return [("", 0, "computed")]
        members = self.members
        return [(str(index), *place) for index in self.alive for place in members[index]._bound_places]

    def _shares(self) -> tuple[Tensor, ...]:
        """The weights of the candidates in play, as the kernel takes them."""
        weights = self._softmax(self.training)
        if len(self.alive) == len(self.names):
            return _apart(weights)
        dropped = [m for index, m in enumerate(self.members) if index not in self.alive]
        unused = [p for member in dropped for p in member.parameters() if p.requires_grad]
        shares = _apart(held(weights, unused))
        return tuple(shares[index] for index in self.alive)

    def parameter_values(self) -> dict[str, Tensor]:
        """The weights by candidate, then each candidate's own parameters as ``candidate.parameter``.

        The weights have shape (), or (num_parameters,) with one mixture a channel; the others are 1-D.
        """
        weights = self._softmax().unbind(-1)
        found = dict(zip(self.names, weights, strict=True))
        for name, candidate in zip(self.names, self.members, strict=True):
            found.update({f"{name}.{key}": value for key, value in candidate.parameter_values().items()})
        return found


def _apart(weights: Tensor) -> tuple[Tensor, ...]:
    """Each candidate's weight as other parameters are: 1-D."""
    apart: Any = weights
    return tuple(apart.split(1) if weights.ndim == 1 else apart.unbind(-1))


def _check_candidate(candidate: nn.Module) -> None:
    if not isinstance(candidate, Activation):
        raise SpecError(
            f"AdAct's candidates are names, specs or limen activations, and {type(candidate).__name__} was given."
        )
    if not candidate.keeps_shape:
        raise SpecError(f"{type(candidate).__name__} changes the shape of its input, so AdAct cannot mix it.")


def _unique(names: list[str]) -> tuple[str, ...]:
    """The names, with a number after each that occurs before."""
    return tuple(
        name if name not in names[:index] else f"{name}#{names[: index + 1].count(name)}"
        for index, name in enumerate(names)
    )
