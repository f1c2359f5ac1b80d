"""Activations that lie beside the model: in globals, closures, classes, tables, properties, behind decorators."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import limen

X = torch.randn(2, 4)

gelu = nn.GELU()
ACTS: dict[str, Any] = {"relu": nn.ReLU(), "silu": F.silu}
SEVERAL = [nn.ReLU(), nn.Tanh()]
original_gelu = gelu


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.kind = nn.Linear(4, 4), "relu"


class Global(Layer):
    def forward(self, x):
        return gelu(self.layer(x))


class Handed(Layer):
    def forward(self, x):
        (x,) = map(gelu, [self.layer(x)])
        return x if gelu.training and isinstance(gelu, nn.Module) else -x


class Imported(Layer):
    def forward(self, x):
        from test_beside_the_model import gelu as g

        return g(self.layer(x))


class Table(Layer):
    def forward(self, x):
        return ACTS["silu"](ACTS["relu"](self.layer(x)))


class OfClass(Layer):
    act = nn.GELU()
    kinds: ClassVar[dict[str, Any]] = {"relu": nn.ReLU(), "gelu": F.gelu}

    def forward(self, x):
        return self.kinds[self.kind](self.act(self.layer(x)))


class Property(Layer):
    @property
    def act(self):
        return F.relu if self.training else F.gelu

    def forward(self, x):
        return self.act(self.layer(x))


def closing_over() -> type[nn.Module]:
    inner = nn.SiLU()

    class Closure(Layer):
        def forward(self, x):
            act = inner
            return act(self.layer(x))

    return Closure


def choosing(name: str) -> Callable[..., Any]:
    """As libraries do that put a kernel for a function when they load: all wrappers share one code."""

    def decorate(function):
        implementation = function

        @functools.wraps(function)
        def wrapped(*args, **named):
            return implementation(*args, **named)

        return wrapped

    return decorate


@choosing("shift")
def shift(x):
    return x + 1


@choosing("scan")
def scan(x):
    return F.softplus(x)


class Kernels(Layer):
    def forward(self, x):
        return scan(shift(self.layer(x))) * 1


class Sum(Layer):
    def __init__(self) -> None:
        super().__init__()
        self.sum = nn.quantized.FloatFunctional()

    def forward(self, x):
        return self.sum.add_relu(self.layer(x), x)


@pytest.mark.parametrize(
    ("build", "paths"),
    [
        (Global, ["gelu_1"]),
        (Handed, ["gelu_1"]),
        (Imported, ["g_1"]),
        (Table, ["relu_1", "silu_1"]),
        (OfClass, ["act_1", "relu_1"]),
        (Property, ["relu_1", "gelu_1"]),
        (closing_over(), ["act_1"]),
        (Kernels, ["softplus_1"]),
        (Sum, ["relu_1"]),
    ],
)
def test_a_site_like_any_other(build, paths):
    model, other = build().eval(), build().eval()
    before = model(X)
    report = limen.swap_(model, "swish:beta=3", example_inputs=X)
    assert [site.path for site in report.sites] == paths
    assert not report.unreached
    assert not report.skipped
    assert not torch.equal(model(X), before)
    limen.swap_(other, "swish")
    mine, theirs = ({id(m) for m in net.modules() if isinstance(m, limen.Swish)} for net in (model, other))
    assert len(mine) == len(theirs) == len(paths)
    assert mine.isdisjoint(theirs)
    report.undo()
    assert torch.equal(model(X), before)


def test_the_global_object_is_left_alone():
    limen.swap_(Global(), "asau")
    assert gelu is original_gelu
    assert type(gelu) is nn.GELU
    assert not list(gelu.parameters())
    assert list(ACTS) == ["relu", "silu"]
    assert type(ACTS["relu"]) is nn.ReLU


class ByKey(Layer):
    def forward(self, x):
        return ACTS["relu" if len(x) > 1 else "silu"](self.layer(x))


class Through(Layer):
    def forward(self, x):
        for act in SEVERAL:
            x = act(x)
        return x


class ByName(Layer):
    def forward(self, x):
        return getattr(F, "re" + "lu"[: len(x)])(self.layer(x))


class OwnByName(Layer):
    def act_b(self, x):
        return F.relu(x)

    def forward(self, x):
        return getattr(self, "act_" + "ab"[len(x) - 1])(self.layer(x))


class Helper(nn.Module):
    def forward(self, x):
        return F.relu(x) + x.mean(0)


class Plain:
    def __call__(self, x):
        return F.relu(x) + x

    def compute(self, x):
        return F.relu(x) + x


helper, plain, chain = Helper(), Plain(), nn.Sequential(nn.ReLU(), nn.Dropout())


class Helped(Layer):
    def forward(self, x):
        return helper(self.layer(x))


class HelpedPlainly(Layer):
    def forward(self, x):
        return plain(plain.compute(self.layer(x)))


class Chained(Layer):
    def forward(self, x):
        return chain(self.layer(x))


@pytest.mark.parametrize(
    ("build", "count"),
    [(ByKey, 1), (Through, 1), (ByName, 1), (OwnByName, 1), (Helped, 1), (HelpedPlainly, 2), (Chained, 1)],
)
def test_what_only_running_tells_is_named(build, count):
    report = limen.swap_(build(), "asau")
    assert not report.sites
    assert len(report.unreached) == count
    assert all(f"{__file__}:" in line for line in report.unreached)


class Optional(Layer):
    fast = False

    def forward(self, x):
        x = F.relu(self.layer(x))
        if self.fast:
            import importlib

            import torch_no_such_kernels
            import torch_no_such_kernels.part as part
            from torch_no_such_kernels import norm
            from torch_no_such_kernels.part import scale

            from .no_such_file import last

            other = importlib.import_module("torch_no_such_kernels.other")
            x = last(other.run(scale(norm(part.run(torch_no_such_kernels.norm(x))))))
        return x


class Unloaded(Layer):
    def forward(self, x):
        x = F.relu(self.layer(x))
        if x is None:
            import torch.utils.bottleneck

            x = torch.utils.bottleneck.run(x)
        return x


@pytest.mark.parametrize("build", [Optional, Unloaded])
def test_a_swap_imports_nothing_of_the_models(build):
    limen.swap_(Global(), "asau")
    before = set(sys.modules)
    assert [site.path for site in limen.swap_(build(), "asau").sites] == ["relu_1"]
    assert not {name for name in set(sys.modules) - before if name.startswith("torch.utils.bottleneck")}


def test_a_quantised_sum_is_named_for_what_it_is():
    class Quantised(Layer):
        def __init__(self) -> None:
            super().__init__()
            self.sum = nn.quantized.QFunctional()

        def forward(self, x):
            return self.sum.add_relu(self.layer(x), x)

    observed = Sum()
    observed.sum.activation_post_process = nn.Softplus()
    for model in (Quantised(), observed):
        report = limen.swap_(model, "asau", where=lambda path, _: "relu" in path)
        assert not report.sites
        assert len(report.unreached) == 1
        assert "quantised or observed" in report.unreached[0]
