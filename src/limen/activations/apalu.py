"""APALU: two branches with a learned scale each.

Subramanian, Jeyaraj, Ugli, Kim, "APALU: A Trainable, Adaptive Activation Function for Deep Learning Networks",
arXiv 2402.08244 (2024). The abstract claims differentiability; at 0 it holds only where b = 1.5a (``smooth=True``).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limen.activations.base import Activation
from limen.activations.fields import Param
from limen.activations.registry import register
from limen.errors import SpecError
from limen.formula import expm1, maximum, minimum, sigmoid, where

SLOPE_RATIO = 1.5
"""The right slope at 0 is 1.5a and the left one b, so b = 1.5a makes them meet."""


@register
class APALU(Activation):
    """a·(x + x·σ(1.702x)) for x ≥ 0 and b·(e^x − 1) for x < 0, with a and b learned.

    arXiv 2402.08244. At 0 the right branch holds, so the slope there is 1.5a. Monotone for a > 0 and b > 0.

    Args:
        a, b: scales of the two branches; 0.55 and 0.065 are the values of the paper's Figure 1.
        smooth: tie b = 1.5a, the only choice with a derivative at 0; ``b`` is then not a parameter, and the
            initial ``b`` given is not used.
        positive: keep both positive by learning ρ with a = softplus(ρ); stored as ``rho_a`` and ``rho_b``.

    >>> APALU(smooth=True).b.detach()
    tensor([0.8250])
    """

    a = Param(0.55)
    b = Param(0.065)
    source = "Subramanian et al. 2024, arXiv 2402.08244"

    def __init__(
        self, a: float = 0.55, b: float = 0.065, *, smooth: bool = False, positive: bool = False, **common: Any
    ) -> None:
        if positive and min(a, a if smooth else b) <= 0:
            raise SpecError(f"APALU: positive=True needs a > 0 and b > 0, and a={a!r}, b={b!r} were given.")
        super().__init__(a, b, **common)
        self.smooth = bool(smooth)
        self.positive = bool(positive)
        if self.smooth:
            self._discard("b")
        if self.positive:
            for name in ("a",) if self.smooth else ("a", "b"):
                self._store_as_rho(name)
        self.reset_parameters()

    def _discard(self, name: str) -> Tensor:
        owner = self._parameters if name in self._parameters else self._buffers
        value = owner.pop(name)
        assert value is not None
        return value

    def _store_as_rho(self, name: str) -> None:
        value = self._discard(name)
        if isinstance(value, nn.Parameter):
            self.register_parameter(f"rho_{name}", value)
        else:
            self.register_buffer(f"rho_{name}", value)

    def reset_parameters(self) -> None:
        """Set a and b (or their ρ = ln(e^a − 1)) to the initial values given at construction."""
        with torch.no_grad():
            for name, tensor in [*self._parameters.items(), *self._buffers.items()]:
                if tensor is not None:
                    initial = self.initial[name.removeprefix("rho_")]
                    rho = torch.tensor(initial, dtype=torch.float64, device="cpu").expm1().log()
                    tensor.fill_(rho.item() if name.startswith("rho_") else initial)

    def __getattr__(self, name: str) -> Any:
        """``a`` and ``b`` also where they are tied or stored as ρ."""
        if name == "b" and self.__dict__.get("smooth"):
            return SLOPE_RATIO * self.a
        if name in ("a", "b") and self.__dict__.get("positive"):
            return F.softplus(getattr(self, f"rho_{name}"))  # a parametrised one is computed
        return super().__getattr__(name)

    @staticmethod
    def formula(x: Any, a: Any, b: Any) -> Any:
        """Each branch on its own clamped input: an overflow in the branch not taken would make the gradient NaN."""
        positive, negative = maximum(x, 0), minimum(x, 0)
        return where(x >= 0, a * positive * (1 + sigmoid(1.702 * positive)), b * expm1(negative))
