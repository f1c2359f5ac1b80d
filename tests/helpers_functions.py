"""The functions of one number among the primitives, with where they are tried."""

from __future__ import annotations

from dataclasses import dataclass

ANY, POSITIVE, SMALL = (-30.0, 30.0), (2.0**-10, 50.0), (-3.0, 3.0)


@dataclass(frozen=True)
class Domain:
    usual: tuple[float, float]
    """Where the gradients of a formula with it are worth comparing in float32."""
    whole: tuple[float, float]
    """Where its values are."""


OF_ONE_NUMBER = {
    "exp": Domain(ANY, (-80.0, 80.0)),
    "expm1": Domain(SMALL, (-10.0, 10.0)),
    "log": Domain(POSITIVE, (1e-30, 1e30)),
    "log1p": Domain(POSITIVE, (-0.9, 1e3)),
    "sqrt": Domain(POSITIVE, (0.0, 1e30)),
    "sigmoid": Domain(ANY, (-80.0, 80.0)),
    "tanh": Domain(ANY, (-9.0, 9.0)),
    "softplus": Domain(ANY, (-80.0, 80.0)),
    "erf": Domain(ANY, (-5.0, 5.0)),
    "sin": Domain(SMALL, (-1e4, 1e4)),
    "cos": Domain(SMALL, (-1e4, 1e4)),
}
