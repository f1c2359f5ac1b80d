"""How a mixture's logits become weights where that is more than a softmax: temperature, sampling, dropping."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from limen.kernels.noise import noise_like, seed_like


class Weighting(nn.Module):
    """softmax(logits / T) over the candidates still in play, optionally sampled and optionally one-hot.

    All that changes the weights in evaluation is a buffer, so it is saved with the model. Gumbel noise is drawn in
    training only: Jang et al. 2017 (arXiv 1611.01144), eq. 2. One-hot weights have the softmax's gradient
    (straight-through, Bengio et al. 2013, arXiv 1308.3432).

    >>> Weighting(2, temperature=0.5)(torch.tensor([0.0, 1.0]))
    tensor([0.1192, 0.8808])
    """

    temperature: Tensor
    hard: Tensor
    active: Tensor

    def __init__(
        self,
        candidates: int,
        *,
        temperature: float = 1.0,
        hard: bool = False,
        gumbel: bool = False,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.gumbel = gumbel
        self.initial = (temperature, hard)
        self.register_buffer("temperature", torch.tensor(temperature, dtype=torch.float32, device=device))
        self.register_buffer("hard", torch.tensor(hard, device=device))
        self.register_buffer("active", torch.ones(candidates, dtype=torch.bool, device=device))

    def forward(self, logits: Tensor, sample: bool = False) -> Tensor:
        """The weights; with ``sample``, noise is added where ``gumbel`` is set."""
        if sample and self.gumbel:
            logits = logits + _gumbel(logits)
        soft = (logits / self.temperature.to(logits.dtype)).masked_fill(~self.active, -torch.inf).softmax(-1)
        chosen = torch.zeros_like(soft).scatter_(-1, soft.argmax(-1, keepdim=True), 1.0)
        # The difference is exactly 0 and carries the gradient.
        return torch.where(self.hard, chosen + (soft - soft.detach()), soft)

    def alive(self) -> tuple[int, ...]:
        """The candidates still in play, by position."""
        return places_of(self.active)

    def let_in(self, alive: Iterable[int]) -> None:
        """Set which candidates are in play, by position."""
        self.active.fill_(False)[list(alive)] = True

    def reset_parameters(self) -> None:
        """The temperature and hardness given at construction; which candidates are in play stays as it is."""
        temperature, hard = self.initial
        self.temperature.fill_(temperature)
        self.hard.fill_(hard)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """A temperature stays float32 when the model becomes a half type."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.temperature = self.temperature.float()
        return self


def places_of(active: Tensor) -> tuple[int, ...]:
    """Where a mask holds."""
    return tuple(active.nonzero().flatten().tolist())


def _gumbel(logits: Tensor) -> Tensor:
    """Noise from the standard Gumbel distribution, from the activations' own stream of random numbers."""
    # In the middle between two of its 2^24 values the noise is never 0, whose logarithm is not finite.
    middle = noise_like(logits, seed_like(logits), 0).double() + 2.0**-25
    return -(-middle.log()).log().to(logits.dtype)


def held(weights: Tensor, others: list[nn.Parameter]) -> Tensor:
    """The weights unchanged, with parameters that no longer matter kept in the graph at gradient 0.

    A parameter that a dropped candidate owned would otherwise be unused, which DistributedDataParallel refuses.
    """
    if not others:
        return weights
    total = torch.stack([other.sum().to(weights.dtype) for other in others]).sum()
    return torch.where(torch.zeros((), dtype=torch.bool, device=weights.device), total, weights)
