"""How activations learn: their parameters, and the gradients that reach them, over the steps of a training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from limen.errors import SampleError, SpecError
from limen.inspect.drawing import by_depth, new_axes
from limen.inspect.sites import learned_parameters, sites

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Step:
    """One site at one step of an optimiser.

    >>> Step(1, "2", 0.5, {"beta": 1.0}).parameters
    {'beta': 1.0}
    """

    step: int
    """Counted from 1."""
    path: str
    gradient: float
    """L2 norm of the loss's gradient with respect to the site's outputs, all its calls since the step before; NaN if
    none reached it."""
    parameters: dict[str, float]
    """Learned parameters after the step, the mean over channels; of a mixture its weights, too."""


class Watch:
    """Notes every activation site of a model at each step of the optimiser that trains it; made by :func:`watch`.

    Raises:
        SampleError: if the model has no activation module.
        SpecError: if ``every`` is not a whole number of at least 1.

    >>> import limen
    >>> Watch(nn.Sequential(nn.Linear(2, 2), limen.ReLU())).sites
    [('1', ReLU())]
    """

    def __init__(self, model: nn.Module, every: int = 1) -> None:
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise SpecError(f"every={every!r} is not possible: give 1 for each step, 10 for each tenth.")
        self.model, self.every = model, every
        self.sites = sites(model)
        if not self.sites:
            raise SampleError(
                "the model has no activation module to watch; limen.swap_(model, 'relu') makes functions modules."
            )
        self.steps: list[Step] = []
        self._count = 0
        self._squares: dict[str, Tensor] = {}
        self._handles: list[Any] = []

    def __enter__(self) -> Watch:
        self._handles = [
            site.register_forward_hook(lambda module, inputs, output, path=path: self._follow(path, output))
            for path, site in self.sites
        ]
        self._handles.append(register_optimizer_step_post_hook(self._after_step))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles, self._squares = [], {}

    def _follow(self, path: str, output: Any) -> None:
        if self._due and getattr(output, "requires_grad", False):
            output.register_hook(lambda gradient: self._add(path, gradient))

    def _add(self, path: str, gradient: Tensor) -> None:
        square = gradient.detach().double().square().sum()
        self._squares[path] = self._squares[path] + square if path in self._squares else square

    @property
    def _due(self) -> bool:
        return self._count % self.every == 0

    def _after_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """Note the step of an optimiser that has a parameter of this model.

        After the step, because one that is given a closure computes its gradients within.
        """
        ours = {id(parameter) for parameter in self.model.parameters()}
        if any(id(parameter) in ours for group in optimizer.param_groups for parameter in group["params"]):
            self.note()

    def note(self) -> None:
        """Note a step; called by itself after each step of a torch optimiser, and by hand where there is none.

        >>> import limen
        >>> with watch(nn.Sequential(limen.Swish())) as seen:
        ...     seen.note()
        >>> seen.steps
        [Step(step=1, path='0', gradient=nan, parameters={'beta': 1.0})]
        """
        self._count += 1
        if (self._count - 1) % self.every == 0:
            for path, site in self.sites:
                square = self._squares.get(path)
                gradient = math.nan if square is None else math.sqrt(float(square))
                values = {name: float(value.double().mean()) for name, value in learned_parameters(site).items()}
                self.steps.append(Step(self._count, path, gradient, values))
        self._squares = {}

    def rows(self) -> list[dict[str, Any]]:
        """A flat row for each site at each step noted.

        >>> import limen
        >>> with watch(nn.Sequential(limen.Swish())) as seen:
        ...     seen.note()
        >>> seen.rows()
        [{'step': 1, 'path': '0', 'gradient': nan, 'beta': 1.0}]
        """
        return [{"step": s.step, "path": s.path, "gradient": s.gradient, **s.parameters} for s in self.steps]

    def gradients(self) -> dict[str, list[float]]:
        """The gradient norms (L2) of each site over the steps noted, by its path.

        >>> import limen
        >>> model = nn.Sequential(limen.ReLU())
        >>> with watch(model) as seen:
        ...     model(torch.ones(4, requires_grad=True)).sum().backward()
        ...     seen.note()
        >>> seen.gradients()
        {'0': [2.0]}
        """
        return {path: [step.gradient for step in self.steps if step.path == path] for path, _ in self.sites}

    def plot(self, what: str = "gradients", ax: Axes | None = None) -> Axes:
        """Draw the gradients, or a learned parameter by its name, of every site over the steps, dark to light by depth.

        Returns:
            Matplotlib's Axes: ``ax``, or those of a new figure.

        Raises:
            SpecError: if no site has learned a parameter of this name.
            MissingExtraError: without Matplotlib.

        >>> import limen
        >>> with watch(nn.Sequential(limen.Swish())) as seen:
        ...     seen.note()
        >>> seen.plot("beta").get_ylabel()
        'beta'
        """
        known = sorted({name for step in self.steps for name in step.parameters})
        if what != "gradients" and what not in known:
            raise SpecError(
                f"{what!r} cannot be drawn; possible are gradients{''.join(f', {name}' for name in known)}."
            )
        axes = ax if ax is not None else new_axes()
        colours = by_depth(len(self.sites))
        for colour, (path, _) in zip(colours, self.sites, strict=True):
            mine = [step for step in self.steps if step.path == path]
            if what != "gradients" and not any(what in step.parameters for step in mine):
                continue
            values = [s.gradient if what == "gradients" else s.parameters[what] for s in mine]
            axes.plot([s.step for s in mine], values, color=colour, linewidth=1.2, label=path)
        if what == "gradients":
            axes.set_yscale("log")
        axes.set_xlabel("step")
        axes.set_ylabel("L2 norm of the gradient" if what == "gradients" else what)
        axes.legend(frameon=False, fontsize="small")
        return axes


def watch(model: nn.Module, every: int = 1) -> Watch:
    """Watch a model's activations while it trains: their parameters, and the gradients that reach them by depth.

    A context manager. Each step of a torch optimiser that has a parameter of the model is noted by itself; where
    there is no such optimiser, call :meth:`Watch.note` after each backward pass. Gradients scaled for half precision
    are noted as they are, scaled.

    Args:
        model: any model; limen's and torch's activation modules are its sites.
        every: note each step, or each ``every``-th.

    Raises:
        SampleError: if the model has no activation module.
        SpecError: if ``every`` is not a whole number of at least 1.

    >>> import limen
    >>> model = nn.Sequential(nn.Linear(2, 4), limen.ASAU(), nn.Linear(4, 1))
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> with watch(model) as seen:
    ...     for _ in range(3):
    ...         optimizer.zero_grad()
    ...         model(torch.ones(8, 2)).mean().backward()
    ...         optimizer.step()
    >>> [row["step"] for row in seen.rows()], sorted(seen.rows()[0])
    ([1, 2, 3], ['alpha', 'beta', 'gradient', 'path', 'step'])
    """
    return Watch(model, every)


def gradient_norms(model: nn.Module) -> dict[str, float]:
    """The L2 norm of the gradient of every weight after a backward pass, in the order of the modules.

    Parameters that have no gradient are left out, and so are those of activations.

    Raises:
        SampleError: if there is no gradient at all.

    >>> model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU())
    >>> _ = model[0].weight.data.fill_(1.0)
    >>> model(torch.tensor([[3.0]])).sum().backward()
    >>> gradient_norms(model)
    {'0.weight': 3.0}
    """
    inside = {id(parameter) for _, site in sites(model) for parameter in site.parameters()}
    found = {
        name: float(parameter.grad.double().norm())
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and id(parameter) not in inside
    }
    if not found:
        raise SampleError("no parameter has a gradient; call backward() on a loss first.")
    return found


def depth_ratio(gradients: Sequence[float]) -> float:
    """The first site's gradient relative to the last one's: below 1, gradients shrink on their way to the input."""
    return gradients[0] / gradients[-1] if gradients and gradients[-1] else math.nan
