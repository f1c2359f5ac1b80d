"""Start an activation where another function was: fit its learned parameters to it, and refresh batch statistics.

A pretrained network has adapted to its activation. An activation put in its place keeps what was learned as far as its
family of functions comes near the old one over the values that really arrive there.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from limen.activations.base import Activation
from limen.errors import DtypeError, SampleError, ShapeError
from limen.least_squares import Problem, minimise

__all__ = ["Fit", "fit_", "reestimate_batch_norm_"]

PULL = 1e-6
"""Weight of the pull towards the starting parameters, in units of the target's mean square.

Against ReLU the best β of ASAU, ACON and Swish is infinite, and so is the best logit of a mixture that has ReLU: there
the function is exact and no gradient is left to learn from. The pull ends such a way where it stops paying. Fitted to
ReLU on N(0, 1), then trained towards SiLU by Adam at 0.05: at 1e-7 ASAU, ACON and Swish are 0.5 % from ReLU, and ASAU
has not left it after 600 steps; at 1e-6 they are 1 % away and all arrive; at 1e-5 they are 2 % away.
"""
MOST_VALUES = 2**17
"""Values fitted to at most, all channels together; the errors reported are those over all samples."""
VALUES_A_GROUP = 2**13
"""Values fitted to at most for one set of parameters of an elementwise activation."""
STARTS, SCREENING_STEPS = 8, 12
"""Starting points tried, and iterations from each before the best goes on."""


@dataclass(frozen=True)
class Fit:
    """How far an activation was from its target, and how far it is: root mean square relative to the target's.

    >>> Fit(before=0.25, after=0.0).after
    0.0
    """

    before: float
    after: float


def fit_(
    activation: nn.Module, target: Callable[[Tensor], Tensor], samples: Tensor, *, steps: int = 50, pull: float = PULL
) -> Fit:
    """Fit an activation's parameters, in place, to ``target`` over ``samples`` by least squares.

    All its ``nn.Parameter`` are fitted, frozen ones too: fitting is a start, not training. Buffers, such as a field
    declared ``learned=False``, stay. Values are computed in evaluation mode and float64, and Levenberg-Marquardt starts
    from several points. It never ends worse than it started. Type, device, mode and ``requires_grad`` are kept, and so
    is torch's random state.

    Parameters stay where gradients can still move them: ``pull``·‖(θ − θ₀)/s‖² is added to the mean square error
    relative to the target's, with s = max(1, abs(θ₀))·max(1, 1/rms(samples)). For samples from N(0, 1) and ReLU as
    target it leaves ASAU(a=0) at β ≈ 12, 0.9 % from ReLU, and a mixture's logits within about 6 of one another.

    Args:
        activation: any module that keeps the shape of its input; with one parameter a channel, each channel is fitted
            to its own samples.
        target: the function to come near to; called once, on a copy of the samples as they are.
        samples: values as they arrive at the activation, floating, of any shape that it takes; in the shape of a batch
            where it has one parameter a channel or takes statistics of its input (ASH).
        steps: iterations at most.
        pull: less comes nearer to a target that the family reaches only in the limit, and learns more slowly from it.

    Returns:
        The relative root mean square error before and after, over all samples. Where the target is 0 throughout, it is
        relative to the samples.

    Raises:
        SampleError: for samples that are empty, all equal, or not finite, or a target that is not finite on them.
        ShapeError: if target or activation change the shape of the samples.
        DtypeError: for samples that are not floating-point.

    >>> import limen
    >>> swish = limen.Swish(beta=3.0)
    >>> fit = fit_(swish, nn.SiLU(), torch.linspace(-3, 3, 101))
    >>> f"{fit.before:.3f} {fit.after:.3f} {swish.beta.item():.3f}"
    '0.173 0.000 1.000'
    """
    _check_samples(samples)
    wanted = _values_of(target, samples)
    with _on_the_cpu():
        return _fit(activation, _Site(activation, samples, wanted, pull), steps)


def _on_the_cpu() -> AbstractContextManager[Any]:
    """Against a default device set elsewhere, which would take part; where there is none it would double the time."""
    return nullcontext() if torch.get_default_device().type == "cpu" else torch.device("cpu")


def _fit(activation: nn.Module, site: _Site, steps: int) -> Fit:
    start = site.parameters
    before = site.relative_error(start)
    if start.numel() == 0:
        return Fit(before, before)
    found = site.rounded_as_in(activation, _search(site, steps))
    after = site.relative_error(found)
    if not after < before:
        return Fit(before, before)
    _write(activation, found)
    return Fit(before, after)


def _search(site: _Site, steps: int) -> Tensor:
    """Try every starting point for a few iterations on fewer values, then go on from each group's best."""
    sketch, problem = site.problem(MOST_VALUES // 4, VALUES_A_GROUP // 4), site.problem(MOST_VALUES, VALUES_A_GROUP)
    tried = [minimise(sketch, start, min(steps, SCREENING_STEPS)) for start in _starts(problem)]
    best, value = problem.home, problem.objective(problem.home)
    for parameters in tried:
        reached = problem.objective(parameters)
        better = reached < value
        best = torch.where(better[:, None], parameters, best)
        value = torch.where(better, reached, value)
    return minimise(problem, best, steps)


def _starts(problem: Problem) -> list[Tensor]:
    """Where it stands, mirrored (the other branch of a smooth maximum), sharper, and points around, near and far."""
    generator = torch.Generator().manual_seed(0)  # torch's own random state is the user's
    starts = [problem.home, -problem.home, 4 * problem.home]
    while len(starts) < STARTS:
        reach = 1.0 if len(starts) % 2 else 4.0
        noise = torch.randn(problem.home.shape, generator=generator, dtype=torch.float64)
        starts.append(problem.home + reach * problem.scale * noise)
    return starts


class _Site:
    """An activation, what arrives at it and what should leave it: a problem a group of parameters.

    A group is a channel where every parameter has one value, or one row, a channel; else all parameters are one.
    """

    def __init__(self, activation: nn.Module, samples: Tensor, wanted: Tensor, pull: float) -> None:
        self.pull = pull
        self.replica = copy.deepcopy(activation).to(device="cpu", dtype=torch.float64).eval().requires_grad_(False)
        self.x = samples.detach().to(device="cpu", dtype=torch.float64)
        self.wanted = wanted.to(device="cpu", dtype=torch.float64)
        self.channels = _channels(activation)
        self.groups = _groups(activation)
        self.axis: int | None = getattr(activation, "channel_dim", 1) if self.groups > 1 else None
        self.parameters = _columns(self.replica, self.groups)
        self.reference = self.wanted.square().mean() or self.x.square().mean()
        by_rows = isinstance(activation, Activation) and self._channel_axis() != 0
        self.pieces = 1 + self.x.numel() // (8 * MOST_VALUES) if by_rows else 1

    def relative_error(self, parameters: Tensor) -> float:
        """Over all samples; a piece at a time where the activation is known to take each row by itself."""
        _write(self.replica, parameters)
        pieces = zip(self.x.chunk(self.pieces), self.wanted.chunk(self.pieces), strict=True)
        total = sum(float((self._evaluate(x) - wanted).square().sum()) for x, wanted in pieces)
        return math.sqrt(total / self.x.numel() / float(self.reference))

    def problem(self, most: int, most_a_group: int) -> Problem:
        """The least-squares problem on some of the samples."""
        x, wanted = self._some(most, most_a_group)
        by_group = self._by_group(wanted)
        reference = by_group.square().mean(-1, keepdim=True).clamp_min(1e-6 * float(self.reference)).sqrt()

        def residuals(parameters: Tensor) -> Tensor:
            _write(self.replica, parameters)
            return (self._by_group(self._evaluate(x)) - by_group) / reference

        width = self._by_group(x).square().mean(-1, keepdim=True).sqrt()
        reach = torch.where(width > 0, 1 / width, 1.0).clamp_min(1.0)
        return Problem(residuals, self.parameters, self.parameters.abs().clamp_min(1.0) * reach, self.pull)

    def rounded_as_in(self, activation: nn.Module, parameters: Tensor) -> Tensor:
        """The parameters as the activation will hold them in its own type."""
        holder = copy.deepcopy(activation)
        _write(holder, parameters)
        return _columns(holder.to(device="cpu", dtype=torch.float64), self.groups)

    def _evaluate(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            # Past the hooks: they are the user's, and have nothing to do with trial values.
            values = self.replica.forward(x if isinstance(self.replica, Activation) else x.clone())
        if values.shape != x.shape:
            raise ShapeError(
                f"{type(self.replica).__name__} maps a shape {tuple(x.shape)} to {tuple(values.shape)}; only what "
                "keeps the shape can be fitted."
            )
        return torch.as_tensor(values)

    def _channel_axis(self) -> int | None:
        return None if self.axis is None else self.axis % self.x.ndim

    def _by_group(self, values: Tensor) -> Tensor:
        if self.axis is None:
            return values.reshape(1, -1)
        return values.movedim(self.axis, 0).reshape(self.groups, -1)

    def _some(self, most: int, most_a_group: int) -> tuple[Tensor, Tensor]:
        """Samples and targets drawn alike: single values where the activation is elementwise, else whole rows."""
        # The Jacobian has a value for each sample and parameter.
        most = min(most, 2**24 // self.parameters.shape[1])
        if isinstance(self.replica, Activation) and self.replica.elementwise and self.groups == self.channels:
            columns = self._by_group(self.x)
            chosen = _draw(columns.shape[1], min(most_a_group, max(128, most // self.groups)))
            return self._restored(columns[:, chosen]), self._restored(self._by_group(self.wanted)[:, chosen])
        if self._channel_axis() == 0:
            return self.x, self.wanted
        rows = _draw(len(self.x), max(1, most // self.x[0].numel()))
        return self.x[rows], self.wanted[rows]

    def _restored(self, columns: Tensor) -> Tensor:
        """(groups, n) back in a shape that has the channels where the activation looks for them."""
        axis = self._channel_axis()
        if axis is None:
            return columns.reshape(-1)
        shape = [1] * self.x.ndim
        if axis == 0:
            shape[0], shape[-1] = columns.shape if self.x.ndim > 1 else (self.groups, self.groups)
            return columns.reshape(shape)
        shape[0], shape[axis] = columns.shape[1], columns.shape[0]
        return columns.T.reshape(shape)


def _groups(activation: nn.Module) -> int:
    """The number of channels if every parameter has one value, or one row, for each; else 1."""
    channels = _channels(activation)
    own = all(parameter.ndim > 0 and parameter.shape[0] == channels for parameter in activation.parameters())
    return channels if own else 1


def _channels(activation: nn.Module) -> int:
    return activation.num_parameters if isinstance(activation, (Activation, nn.PReLU)) else 1


def _columns(module: nn.Module, groups: int) -> Tensor:
    """All parameters as (groups, parameters of a group) in float64."""
    columns = [parameter.detach().reshape(groups, -1) for parameter in module.parameters()]
    return torch.cat([c.to(device="cpu", dtype=torch.float64) for c in columns], 1) if columns else torch.empty(1, 0)


def _write(module: nn.Module, columns: Tensor) -> None:
    """Set all parameters from what ``_columns`` gives."""
    groups, start = columns.shape[0], 0
    with torch.no_grad():
        for parameter in module.parameters():
            width = parameter.numel() // groups
            parameter.copy_(columns[:, start : start + width].reshape(parameter.shape))
            start += width


def _draw(total: int, count: int) -> Tensor:
    """Indices of some of ``total``, the same at each call; all of them where they are few."""
    if total <= count:
        return torch.arange(total)
    return torch.randint(total, (count,), generator=torch.Generator().manual_seed(0))


def _check_samples(samples: Tensor) -> None:
    if not samples.is_floating_point():
        raise DtypeError(f"an activation is fitted to floating-point samples, and {samples.dtype} was given.")
    if samples.numel() == 0:
        raise SampleError(f"an activation cannot be fitted to no samples: their shape is {tuple(samples.shape)}.")
    if not samples.isfinite().all():
        bad = int((~samples.isfinite()).sum())
        raise SampleError(
            f"{bad} of {samples.numel()} samples are NaN or infinite; an activation is fitted to finite ones, so look "
            "at what comes before it."
        )
    if bool((samples == samples.reshape(-1)[0]).all()):
        raise SampleError(
            f"all {samples.numel()} samples are {samples.reshape(-1)[0].item():.4g}; one value does not determine a "
            "function, so give samples as they arrive at the activation."
        )


def _values_of(target: Callable[[Tensor], Tensor], samples: Tensor) -> Tensor:
    """The target on a copy of the samples: it may work in place."""
    with torch.no_grad():
        wanted = target(samples.detach().clone())
    if wanted.shape != samples.shape:
        raise ShapeError(
            f"the target maps samples of shape {tuple(samples.shape)} to {tuple(wanted.shape)}; only a function that "
            "keeps the shape can be fitted."
        )
    if not wanted.isfinite().all():
        bad = int((~wanted.isfinite()).sum())
        raise SampleError(f"the target is NaN or infinite on {bad} of {samples.numel()} samples.")
    return wanted.detach()


def reestimate_batch_norm_(model: nn.Module, batches: Iterable[Any]) -> int:
    """Replace the running statistics of every ``BatchNorm`` by the average over ``batches``; return how many changed.

    Each batch counts the same (cumulative average). Everything but the BatchNorms runs in evaluation mode, so neither
    dropout nor random slopes enter the statistics. Modes and momenta are put back; modules without running statistics,
    and those the batches do not reach, stay as they are, and so does every one if the model raises.

    Args:
        model: run once on each batch, without gradients.
        batches: what :func:`call` takes: tensors, tuples or lists whose first element is the input (as loaders of
            labelled data give them), or mappings of keyword arguments. They must be on the model's device.

    Raises:
        SampleError: if there is no batch.

    >>> model = nn.Sequential(nn.BatchNorm1d(1), nn.ReLU())
    >>> reestimate_batch_norm_(model, [torch.tensor([[1.0], [3.0]]), torch.tensor([[5.0], [7.0]])])
    1
    >>> model[0].running_mean
    tensor([4.])
    """
    reached = []
    with batch_norms(model) as norms:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
        _run(model, batches)
        reached = [norm for norm in norms if norm.num_batches_tracked]
    return len(reached)


@contextmanager
def batch_norms(model: nn.Module, *, keep: bool = False) -> Iterator[list[nn.modules.batchnorm._BatchNorm]]:
    """The BatchNorms with running statistics, normalising by their batches while all else is in evaluation mode.

    At the end modes and momenta are put back. Running statistics are put back where no batch arrived, where the block
    raised, and everywhere with ``keep``.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    modes = {module: module.training for module in model.modules()}
    before = [(norm.momentum, {name: b.clone() for name, b in norm.named_buffers(recurse=False)}) for norm in norms]
    done = False
    try:
        model.eval()
        for norm in norms:
            norm.train()
        yield norms
        done = not keep
    finally:
        for norm, (momentum, buffers) in zip(norms, before, strict=True):
            norm.momentum = momentum
            if not (done and norm.num_batches_tracked):
                norm.load_state_dict(buffers, strict=False)
        for module, training in modes.items():
            module.training = training


def _run(model: nn.Module, batches: Iterable[Any]) -> None:
    count = 0
    with torch.no_grad():
        for count, batch in enumerate(batches, 1):  # noqa: B007
            call(model, batch)
    if not count:
        raise SampleError("no batch was given; statistics need at least one, and an iterator can be used only once.")


@dataclass(frozen=True)
class Arguments:
    """What a model is called with: not a batch of data, of which only a part may be input.

    >>> print(Arguments((torch.zeros(2, 3), [torch.zeros(4)]), {"scale": 2}))
    model(Tensor[2, 3], [Tensor[4]], scale=2)
    """

    positional: tuple[Any, ...]
    named: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        shown = [_shown(value) for value in self.positional]
        shown += [f"{name}={_shown(value)}" for name, value in self.named.items()]
        return f"model({', '.join(shown)})"

    def copied(self) -> Arguments:
        """The same with copies of all tensors, since a model may overwrite its input."""
        copies: dict[int, Tensor] = {}

        def copied(tensor: Tensor) -> Tensor:
            if id(tensor) not in copies:  # what is one tensor stays one
                copies[id(tensor)] = tensor.clone()
            return copies[id(tensor)]

        positional, named = tree_map_only(Tensor, copied, (self.positional, dict(self.named)))
        return Arguments(positional, named)


def _shown(value: Any) -> str:
    """A value in an error: tensors by shape, collections by their beginning."""
    if isinstance(value, Tensor):
        return f"Tensor{list(value.shape)}"
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        items = ", ".join([*map(_shown, value[:2]), *(["…"] if len(value) > 2 else [])])
        return f"[{items}]" if isinstance(value, list) else f"({items})"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key!r}: {_shown(item)}' for key, item in value.items())}}}"
    return repr(value) if isinstance(value, (str, int, float, type(None))) else type(value).__name__


def call(model: nn.Module, batch: Any) -> Any:
    """Run a model on a batch: a tensor, a tuple or list whose first element is the input, or keyword arguments.

    :class:`Arguments` are given to it as they are.

    >>> call(nn.Identity(), (torch.tensor([1.0]), "label"))
    tensor([1.])
    """
    if isinstance(batch, Arguments):
        batch = batch.copied()
        return model(*batch.positional, **batch.named)
    if isinstance(batch, Mapping):
        return model(**batch)
    return model(batch[0] if isinstance(batch, (tuple, list)) else batch)
