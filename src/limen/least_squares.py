"""Nonlinear least squares for many small problems at once: Levenberg-Marquardt with a pull towards the start.

SciPy's solver is not used because activations need torch and SymPy alone, and because a problem for each channel is
solved here in one batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

FIRST_DAMPING, LARGEST_DAMPING = 1e-3, 1e12
STEP = 6e-6
"""Central differences are most accurate at the cube root of float64's rounding error, relative to the parameter."""
ENOUGH = 1e-12
"""A relative gain below this ends the search."""


@dataclass(frozen=True)
class Problem:
    """G independent problems of P parameters and n residuals each, all in float64.

    The objective of a group is mean(residual²) + weight·Σ((θ − home) / scale)².
    """

    residuals: Callable[[Tensor], Tensor]
    """(G, P) parameters to (G, n) residuals; those of a group depend on its own parameters only."""
    home: Tensor
    """(G, P)."""
    scale: Tensor
    """(G, P): how far a parameter may reasonably go."""
    weight: float

    def objective(self, parameters: Tensor) -> Tensor:
        """(G,) values; infinite where the residuals are not finite."""
        pull = ((parameters - self.home) / self.scale).square().sum(-1)
        value = self.residuals(parameters).square().mean(-1) + self.weight * pull
        return value.nan_to_num(nan=torch.inf, posinf=torch.inf)


def minimise(problem: Problem, start: Tensor, steps: int) -> Tensor:
    """The parameters after at most ``steps`` iterations from ``start``; no group's objective is above where it started.

    >>> x = torch.linspace(-1, 1, 50, dtype=torch.float64)
    >>> exponent = lambda p: torch.exp(p * x) - torch.exp(2 * x)
    >>> start = torch.zeros(1, 1, dtype=torch.float64)
    >>> round(minimise(Problem(exponent, start, torch.ones_like(start), 0.0), start, 20).item(), 9)
    2.0
    """
    best, value = start, problem.objective(start)
    damping = torch.full_like(value, FIRST_DAMPING)
    active = value.isfinite()
    for _ in range(steps):
        matrix, gradient = _normal_equations(problem, best)
        trial = best - _damped_solution(matrix, gradient, damping)
        trial_value = problem.objective(trial)
        better = active & (trial_value < value)
        gain = torch.where(better, (value - trial_value) / value, 0.0)
        best = torch.where(better[:, None], trial, best)
        value = torch.where(better, trial_value, value)
        damping = torch.where(better, damping / 3, damping * 4)
        active &= torch.where(better, gain > ENOUGH, damping < LARGEST_DAMPING)
        if not active.any():
            break
    return best


def _normal_equations(problem: Problem, at: Tensor) -> tuple[Tensor, Tensor]:
    """The Gauss-Newton matrix (G, P, P) and half the gradient (G, P)."""
    residuals = problem.residuals(at)
    jacobian = torch.stack([_difference(problem, at, index) for index in range(at.shape[1])], dim=-1)
    count = residuals.shape[-1]
    # A slope that is not finite moves nothing.
    jacobian = jacobian.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    residuals = residuals.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    pull = problem.weight / problem.scale.square()
    matrix = jacobian.mT @ jacobian / count + torch.diag_embed(pull)
    gradient = (jacobian.mT @ residuals[..., None])[..., 0] / count + pull * (at - problem.home)
    return matrix, gradient


def _difference(problem: Problem, at: Tensor, index: int) -> Tensor:
    """The derivative of all residuals by one parameter of each group: (G, n)."""
    step = STEP * at[:, index].abs().clamp_min(1e-3)
    ahead, behind = at.clone(), at.clone()
    ahead[:, index] += step
    behind[:, index] -= step
    return (problem.residuals(ahead) - problem.residuals(behind)) / (ahead - behind)[:, index, None]


def _damped_solution(matrix: Tensor, gradient: Tensor, damping: Tensor) -> Tensor:
    """Marquardt's step: each parameter damped in its own units."""
    diagonal = matrix.diagonal(dim1=-2, dim2=-1).clamp_min(1e-300)
    units = diagonal.rsqrt()
    scaled = units[..., :, None] * matrix * units[..., None, :]
    scaled = scaled + damping[:, None, None] * torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    solution: Tensor = torch.linalg.lstsq(scaled, (units * gradient)[..., None]).solution[..., 0]
    return units * solution
