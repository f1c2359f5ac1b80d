"""Small networks that call their activations in every way that people do."""

from __future__ import annotations

import functools
import math
from functools import partial

import torch
import torch.nn.functional
import torch.nn.functional as tnf
from torch import nn
from torch.nn import functional as F
from torch.nn.functional import relu as rectify
from torch.utils.checkpoint import checkpoint

WIDTH = 4


def scaled(method):
    """A decorator that keeps what it wraps."""

    @functools.wraps(method)
    def wrapper(self, x):
        return 2 * method(self, x)

    return wrapper


def helper(x, layer):
    return F.elu(layer(x), alpha=0.5)


def hard_swish(x):
    return x * F.relu6(x + 3) / 6


class Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return grad * (s + x * s * (1 - s))


class OwnModule(nn.Module):
    """An activation of someone's own."""

    def forward(self, x):
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)


class Functions(Base):
    """Nine calls of functions, each spelled differently."""

    sites = 9

    def forward(self, x):
        x = F.relu(self.a(x))
        x = torch.relu(self.b(x))
        x = tnf.leaky_relu(self.a(x), 0.2, inplace=True)
        x = torch.nn.functional.gelu(self.b(x), approximate="tanh")
        x = rectify(input=self.a(x), inplace=True)
        x = self.b(x).relu()
        x = self.a(x).clamp(min=0)
        x = torch.clamp(self.b(x), 0, 6)
        return F.softplus(self.a(x), beta=2) - 1


class Aliases(Base):
    """Local names, imports in the function, partial, getattr, a module made at each call."""

    sites = 7

    def forward(self, x):
        from torch.nn.functional import silu as smooth

        act = F.relu
        x = act(self.a(x)) + act(self.b(x))
        leaky = partial(F.leaky_relu, negative_slope=0.1)
        x = leaky(self.a(x))
        x = smooth(self.b(x))
        x = getattr(F, "mish")(self.a(x))  # noqa: B009
        x = nn.ELU(alpha=0.7)(self.b(x))
        return (lambda y: F.gelu(y))(x)


class Branches(Base):
    """Calls in branches, loops, comprehensions, nested functions, and a choice between two functions."""

    sites = 6

    def forward(self, x):
        if x.shape[0] > 1:  # noqa: SIM108
            x = F.relu(self.a(x))
        else:
            x = F.gelu(self.a(x))
        for layer in (self.a, self.b):
            x = torch.tanh(layer(x))

        def inner(y):
            return F.silu(y)

        x = sum(inner(y) for y in [x, self.b(x)])
        act = F.relu if x.ndim == 2 else F.gelu
        return act(self.a(x))


class Held(Base):
    """Functions and unregistered modules that the module holds."""

    sites = 7

    def __init__(self):
        super().__init__()
        self.act = F.gelu
        self.leaky = partial(F.leaky_relu, negative_slope=0.3)
        self.squash = lambda x: x * torch.sigmoid(x)
        self.table = {"relu": F.relu, "elu": nn.ELU()}
        self.row = [torch.tanh, rectify]
        self.choice = "relu"

    def forward(self, x):
        x = self.act(self.a(x), approximate="tanh")
        x = self.leaky(self.b(x))
        x = self.squash(self.a(x))
        x = self.table[self.choice](self.b(x)) + self.table["elu"](x)
        for act in self.row:
            x = act(self.a(x))
        return x


class Instances(Base):
    """One ReLU called three times, once in a helper method; one in a ModuleDict; one in a loop."""

    sites = 5

    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU(inplace=True)
        self.acts = nn.ModuleDict({"gelu": nn.GELU()})
        self.loop = nn.SiLU()

    def forward(self, x):
        x = self.relu(self.a(x))
        x = self.acts["gelu"](self.relu(self.b(x)))
        for _ in range(2):
            x = self.loop(self.a(x))
        return self._tail(x)

    def _tail(self, x):
        return self.relu(self.b(x))


class Child(Instances):
    """super().forward, a decorated method, private names, a static method, a helper function, a checkpoint."""

    sites = 5 + 5

    @scaled
    def forward(self, x):
        x = super(Child, self).forward(x)  # noqa: UP008
        x = self.__private(x)
        x = helper(x, self.a)
        x = self.still(self.b(x))
        x = checkpoint(self._block, x, use_reentrant=False)
        return F.celu(self.a(x))

    def __private(self, x):
        return F.selu(self.a(x))

    @staticmethod
    def still(x):
        return F.hardswish(x) * 2

    def _block(self, x):
        return F.relu(self.b(x))


class Formulas(Base):
    """Written-out functions, a helper that is one, an autograd function, a module of someone's own."""

    sites = 7

    def __init__(self):
        super().__init__()
        self.own = OwnModule()

    def forward(self, x):
        x = self.a(x)
        x = x * torch.sigmoid(x)
        x = self.own(self.b(x))
        x = x * torch.tanh(F.softplus(x))
        x = hard_swish(self.a(x))
        x = Swish.apply(self.b(x))
        x = torch.where(x > 0, x, 0.1 * x)
        return torch.maximum(x, torch.zeros_like(x))


class InPlace(Base):
    """Inputs that are overwritten and used again."""

    sites = 4

    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(WIDTH, WIDTH))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.a(x)
        y = self.block(x) + x
        z = self.b(y)
        kept = z
        z = self.relu(z)
        y = z + kept
        y.relu_()
        w = self.a(y)
        F.leaky_relu(w, 0.1, True)
        return w


class Items(nn.Sequential):
    """A Sequential that adds a functional call to its items."""

    sites = 2

    def __init__(self):
        super().__init__(nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))

    def forward(self, x):
        return F.relu(super().forward(x)) + len(self)


class Gates(Base):
    """Squeeze-and-excitation by hand, attention by hand, an LSTM cell by hand, a bounded head: two activations."""

    sites = 2
    kept = 6

    def forward(self, x):
        x = F.relu(self.a(x))
        x = x * torch.sigmoid(self.b(x))
        x = F.softmax(x @ x.T, dim=-1) @ x
        x = F.gelu(x)
        return torch.tanh(self.a(self._cell(x)))

    def _cell(self, x):
        i, g, o = torch.sigmoid(self.a(x)), torch.tanh(self.b(x)), x.sigmoid()
        return o * i * g


class Guards(Base):
    """Bounds that keep a distance and a root valid, and one that is an activation."""

    sites = 1
    kept = 3

    def forward(self, x):
        distance = (x.square().sum(-1) - x.square().sum(-1)).clamp_min(0)
        root = torch.clamp(x.sum(-1) - distance, min=0).sqrt()
        scale = torch.maximum(root, torch.zeros_like(root))
        return self.b(self.a(x).clamp(min=0)) * (1 + scale.unsqueeze(-1))


ALL = (Functions, Aliases, Branches, Held, Instances, Child, Formulas, InPlace, Items, Gates, Guards)
