"""Fit the polynomials of ``src/limen/kernels/c/vector_math.h`` and print their float32 coefficients.

Run ``python benchmarks/fit_polynomials.py``; it takes a second and needs mpmath (which SymPy brings) and SciPy.

A minimax fit is a linear programme: the smallest e with |weight * (polynomial - target)| <= e on every sample. The
weight turns the polynomial's error into the relative error of the function's result, in units of 2^-24, so that 1 is
at most one ulp. Coefficients are rounded to float32 one at a time, lowest power first, and the rest is fitted again
each time: the later coefficients make up for the rounding of the earlier ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import mpmath as mp
import numpy as np
from scipy.optimize import linprog

mp.mp.dps = 40
Real = Callable[[mp.mpf], mp.mpf]


@dataclass
class Fit:
    """A polynomial sum c_k v^k, with v = variable(x), that stands for ``target`` on [low, high]."""

    name: str
    low: float
    high: float
    degree: int
    target: Real
    weight: Real
    variable: Real = lambda x: x


def g_erf(a: mp.mpf) -> mp.mpf:
    """The exponent with erf(a) = 1 - e^-g(a)."""
    return -mp.log(mp.erfc(a))


HALF_LN2 = float(mp.log(2) / 2) * 1.0001  # the rounded quotient may choose the neighbour just past the half
QUARTER_PI = float(mp.pi / 4) * 1.002

FITS = [
    # e^r = 1 + p with p = r + r^2 Q(r); the error counts relative to p, so that expm1 is right near 0 too.
    Fit("exp", -HALF_LN2, HALF_LN2, 4, lambda r: (mp.expm1(r) - r) / r**2, lambda r: r**2 / mp.expm1(r)),
    # ln(1 + t) = t + t^2 Q(t)
    Fit("log1p_01", 0.0, 1.0, 8, lambda t: (mp.log1p(t) - t) / t**2, lambda t: t**2 / mp.log1p(t)),
    Fit("log", -1 / 3, 1 / 3, 8, lambda f: (mp.log1p(f) - f) / f**2, lambda f: f**2 / mp.log1p(f)),
    # erf(a) = 1 - e^-g with g = a + a Q(a)
    Fit(
        "erf",
        0.0,
        4.0,
        8,
        lambda a: g_erf(a) / a - 1,
        lambda a: a * mp.erfc(a) / mp.erf(a),
    ),
    # sin r = r + r^3 Q(r^2), cos r = 1 - r^2/2 + r^4 Q(r^2)
    Fit("sin", 0.0, QUARTER_PI, 2, lambda r: (mp.sin(r) - r) / r**3, lambda r: r**3 / mp.sin(r), lambda r: r**2),
    Fit(
        "cos",
        0.0,
        QUARTER_PI,
        2,
        lambda r: (mp.cos(r) - 1 + r**2 / 2) / r**4,
        lambda r: r**4 / mp.cos(r),
        lambda r: r**2,
    ),
]


def minimax(powers: np.ndarray, target: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, float]:
    """Coefficients with the smallest largest weighted error, and that error."""
    # An orthogonal basis and the residual of least squares keep every number of the programme near 1.
    basis, triangle = np.linalg.qr(powers * weight[:, None])
    start = basis.T @ (weight * target)
    residual = weight * target - basis @ start
    unit = np.abs(residual).max()
    ones = np.ones((len(target), 1))
    stretched = basis * np.sqrt(len(target))
    cost = np.zeros(powers.shape[1] + 1)
    cost[-1] = 1
    solved = linprog(
        cost,
        A_ub=np.block([[stretched, -ones], [-stretched, -ones]]),
        b_ub=np.concatenate([residual, -residual]) / unit,
        bounds=(None, None),
        method="highs",
    )
    correction = solved.x[:-1] * unit * np.sqrt(len(target))
    return np.linalg.solve(triangle, start + correction), solved.x[-1] * unit


def fit(task: Fit, samples: int = 400) -> tuple[list[np.float32], float, float]:
    """Float32 coefficients, lowest power first, with the error of the best real ones and of these."""
    # Chebyshev nodes: their number is even, so that none falls on the 0 / 0 in the middle of a symmetric interval.
    nodes = np.cos((np.arange(samples) + 0.5) * np.pi / samples)
    xs = [mp.mpf(x) for x in (task.low + task.high) / 2 + (task.high - task.low) / 2 * nodes]
    variable = np.array([float(task.variable(x)) for x in xs])
    target = np.array([float(task.target(x)) for x in xs])
    weight = np.array([float(task.weight(x) * 2**24) for x in xs])
    powers = variable[:, None] ** np.arange(task.degree + 1)
    _, best = minimax(powers, target, weight)
    rounded: list[np.float32] = []
    for k in range(task.degree + 1):
        rest, _ = minimax(powers[:, k:], target - powers[:, :k] @ np.array(rounded, dtype=float), weight)
        rounded.append(np.float32(rest[0]))
    error = np.abs(weight * (powers @ np.array(rounded, dtype=float) - target)).max()
    return rounded, best, float(error)


def main() -> None:
    for task in FITS:
        coefficients, best, error = fit(task)
        print(f"{task.name}: largest error {error:.3f} * 2^-24 (before rounding the coefficients {best:.3f})")
        for k, c in enumerate(coefficients):
            print(f"  c{k} = {float(c).hex()}  {c:.9g}")


if __name__ == "__main__":
    main()
