"""
An activation of your own
=========================

One class with one formula. Everything else is derived: gradients, kernels, a function, its name in every command.
"""

import torch

import limen
from limen.formula import sigmoid, tanh


@limen.register
class Blend(limen.Activation):
    """x·(k·σ(x) + (1 − k)·tanh²(x))."""

    k = limen.Param(0.7)

    @staticmethod
    def formula(x, k):
        """A mixture of two gates."""
        return x * (k * sigmoid(x) + (1 - k) * tanh(x) ** 2)


act = limen.create("blend:k=0.5")
x = torch.linspace(-3, 3, 5, requires_grad=True)
act(x).sum().backward()
print(act, x.grad, act.k.grad)

# %%
# Its gain, for weights that keep the variance, and its picture beside others:

print(f"{limen.gain(act):.4f}")
axes = limen.inspect.plot([act, "swish", "relu"])
axes.figure

# %%
limen.unregister("blend")
