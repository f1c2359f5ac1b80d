"""ASAU: a learned smooth maximum of two lines.

Biswas et al., "Adaptive Smooth Activation for Improved Disease Diagnosis and Organ Segmentation from Radiology Scans",
arXiv 2312.11480 (2023). The authors' module keeps a outside its state dict; here it is saved with the model.
"""

from __future__ import annotations

from typing import Any

from limen.activations.base import Activation
from limen.activations.fields import Param
from limen.activations.registry import register
from limen.formula import softplus, tanh


@register
class ASAU(Activation):
    """Smooth maximum of the lines a·x and b·x: a·x + (b − a)·x·tanh(α·softplus(β(b − a)x)).

    Biswas et al. 2023, arXiv 2312.11480. With a=0, b=1, α=β=1 it is Mish; for β → ∞ it is max(a·x, b·x): ReLU
    (a=0, b=1), Leaky ReLU (0 < a < 1, b=1), Maxout of two lines through the origin. α sharpens nothing: for
    α → ∞ the result is b·x. α > 0 and β > 0 is the meaningful region; nothing is clamped.

    Args:
        a, b: slopes of the two lines; fixed by default, as in the authors' code.
        alpha, beta: shape and sharpness of the bend; learned by default.
        learned: any subset of ``("a", "b", "alpha", "beta")``.

    >>> ASAU(learned=("a", "alpha", "beta"))
    ASAU(a=0.01, b=1, alpha=1, beta=1)
    """

    a = Param(0.01, learned=False)
    b = Param(1.0, learned=False)
    alpha = Param(1.0)
    beta = Param(1.0)
    source = "Biswas et al. 2023, arXiv 2312.11480"

    @staticmethod
    def formula(x: Any, a: Any, b: Any, alpha: Any, beta: Any) -> Any:
        """The smooth maximum, with the gate of Mish."""
        rest = (b - a) * x
        return a * x + rest * tanh(alpha * softplus(beta * rest))
