"""Claims about the formulas themselves, checked by computing: no data, no training, the same answer every time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from limen.activations import APALU, ASAU, ASH, AdAct, HardASH, Mish, percentile_to_z, z_to_percentile
from limen.activations.base import Activation
from limen.errors import SpecError, suggest
from limen.kernels.dispatch import use_backend
from limen.quadrature import normal_quantiles


@dataclass(frozen=True)
class Found:
    """What was computed and whether it bears the claim out."""

    numbers: str
    holds: bool


def check(name: str) -> Found:
    """Run one of the checks.

    >>> check("adact-eight-parameters")
    Found(numbers='8 parameters in a unit of seven candidates', holds=True)

    Raises:
        SpecError: if there is none of this name.
    """
    if name not in CHECKS:
        raise SpecError(f"no check is called {name!r}. {suggest(name, CHECKS)}")
    with use_backend("plain"):
        return CHECKS[name]()


def _grid(low: float, high: float, count: int = 20_001) -> Tensor:
    return torch.linspace(low, high, count, dtype=torch.float64)


def _values(activation: Activation, x: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = activation.double()(x)
    return found


def _slopes(activation: Activation, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(activation.double()(x).sum(), x)
    return found


def _asau_limit(a: float) -> tuple[list[float], float]:
    """The largest distance of ASAU from max(ax, x) for growing β, and the last times its β."""
    x = _grid(-10, 10)
    betas = (1.0, 10.0, 100.0)
    target = torch.maximum(a * x, x)
    apart = [float((_values(ASAU(a=a, beta=beta), x) - target).abs().max()) for beta in betas]
    return apart, apart[-1] * betas[-1]


def _asau_tends_to(a: float) -> Found:
    apart, product = _asau_limit(a)
    text = ", ".join(f"{value:.4f}" for value in apart)
    return Found(f"largest distance {text} at β = 1, 10, 100 (times β: {product:.4f})", apart[-1] < apart[0] / 50)


def _asau_two_lines() -> Found:
    """Maxout of the two lines 0.3x and −0.7x, both through the origin."""
    x = _grid(-10, 10)
    apart = [
        float((_values(ASAU(a=0.3, b=-0.7, beta=beta), x) - torch.maximum(0.3 * x, -0.7 * x)).abs().max())
        for beta in (1.0, 10.0, 100.0)
    ]
    text = ", ".join(f"{value:.4f}" for value in apart)
    return Found(f"largest distance {text} at β = 1, 10, 100", apart[-1] < apart[0] / 50)


def _asau_is_mish() -> Found:
    x = _grid(-50, 50)
    apart = float((_values(ASAU(a=0, b=1), x) - _values(Mish(), x)).abs().max())
    return Found(f"largest difference {apart:.0e}", apart < 1e-12)


def _asau_negative() -> Found:
    x = torch.tensor([-3.0, -1.0, -0.1], dtype=torch.float64)
    values, slopes = _values(ASAU(), x), _slopes(ASAU(), x)
    text = "; ".join(
        f"at {at:g} the value is {y:.3f} and the slope {dy:.3f}"
        for at, y, dy in zip(x.tolist(), values.tolist(), slopes.tolist(), strict=True)
    )
    return Found(text, bool((values != 0).all() and (slopes != 0).all()))


def _apalu_differentiable() -> Found:
    left, right = _slopes(APALU(), torch.tensor([-1e-9, 1e-9], dtype=torch.float64)).tolist()
    return Found(f"slopes at 0 with a = 0.55, b = 0.065: {left:.3f} from the left, {right:.3f} from the right",
                 abs(left - right) < 1e-6)  # fmt: skip


def _apalu_monotone() -> Found:
    pairs = [(a, b) for a in (0.05, 0.55, 2.0) for b in (0.01, 0.065, 1.0)]
    least = min(float(_slopes(APALU(a=a, b=b), _grid(-20, 20)).min()) for a, b in pairs)
    return Found(f"smallest slope for nine pairs of a and b above 0, −20 to 20: {least:.0e}", least > 0)


def _ash_percentile() -> Found:
    kept = {k: _kept(k) for k in (2.5, 10.0, 50.0, 90.0)}
    text = ", ".join(f"{share:.2f} % at k = {k:g}" for k, share in kept.items())
    return Found(f"kept of normal inputs: {text}", all(abs(share - k) < 0.05 for k, share in kept.items()))


def _ash_z_of_percentile() -> Found:
    z = percentile_to_z(2.5)
    return Found(f"z = {z:.4f} for k = 2.5 %", abs(z - 1.96) < 0.005)


def _ash_is_swish() -> Found:
    """For inputs of mean 0 and z = 0 it is Swish with β = 2α."""
    x = normal_quantiles().reshape(1, -1)
    x = x - x.mean()
    apart = float((_values(ASH(z_k=0.0, alpha=0.5), x) - torch.nn.functional.silu(x)).abs().max())
    return Found(f"largest difference from SiLU at mean 0, z = 0, α = ½: {apart:.0e}", apart < 1e-12)


def _ash_sign_of_equation_11() -> Found:
    """Equation 11 prints σ(−2α(x − μ − z·sd)); equation 10 has the other sign."""
    x = torch.tensor([[-2.0, -1.0, 0.0, 1.0, 2.0, 3.0]], dtype=torch.float64)
    threshold = x.mean() + 1e-3 * x.std(correction=0)
    printed = x * torch.sigmoid(-2 * (x - threshold))
    ours = _values(ASH(), x)
    text = f"of −2 … 3 the largest value becomes {printed.max():.3f} as printed, {ours.max():.3f} by equation 10"
    return Found(text, bool(torch.allclose(printed, ours)))


def _ash_threshold_not_trainable_hard() -> Found:
    """Lemma 1: the hard form has no gradient in z; the smooth form has one."""
    x = normal_quantiles().reshape(1, -1)
    z = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    threshold = x.mean() + z * x.std(correction=0)
    hard = torch.where(x >= threshold, x, torch.zeros_like(x)).mean()
    smooth = ASH(z_k=0.3).double()
    (of_smooth,) = torch.autograd.grad(smooth(x).mean(), smooth.z_k)
    reached = "reaches" if hard.requires_grad else "does not reach"
    return Found(
        f"z {reached} the mean output of equation 7; its gradient in that of equation 10 is {float(of_smooth):.3f}",
        not hard.requires_grad and float(of_smooth) != 0,
    )


def _kept(percentile: float) -> float:
    """How much of a normal sample the hard form keeps, in percent."""
    x = normal_quantiles().reshape(1, -1)
    return 100 * float((_values(HardASH(percentile=percentile), x) != 0).double().mean())


def _ash_small_z_is_dense() -> Found:
    shares = [_kept(z_to_percentile(z)) for z in (-1.5, -0.5, 0.5, 1.5)]
    text = ", ".join(f"{share:.1f} %" for share in shares)
    return Found(f"kept of normal inputs at z = −1.5, −0.5, 0.5, 1.5: {text}", shares == sorted(shares, reverse=True))


def _adact_parameters() -> Found:
    count = sum(parameter.numel() for parameter in AdAct().parameters())
    return Found(f"{count} parameters in a unit of seven candidates", count == 8)


CHECKS: dict[str, Callable[[], Found]] = {
    "asau-tends-to-relu": lambda: _asau_tends_to(0.0),
    "asau-tends-to-leaky-relu": lambda: _asau_tends_to(0.01),
    "asau-tends-to-maxout": _asau_two_lines,
    "asau-contains-mish": _asau_is_mish,
    "asau-keeps-negative-inputs": _asau_negative,
    "apalu-differentiable": _apalu_differentiable,
    "apalu-monotone": _apalu_monotone,
    "ash-keeps-the-percentile": _ash_percentile,
    "ash-z-of-a-percentile": _ash_z_of_percentile,
    "ash-contains-swish": _ash_is_swish,
    "ash-equation-11": _ash_sign_of_equation_11,
    "ash-threshold-is-trainable": _ash_threshold_not_trainable_hard,
    "ash-small-z-is-dense": _ash_small_z_is_dense,
    "adact-eight-parameters": _adact_parameters,
}
"""By name; ``claims.toml`` refers to them."""
