"""Small samples, many at a time in C: right, and for each the same bits whatever stands beside it."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch
from helpers import assert_same_for_any_threads, gradients, perturbed, thoroughly
from torch import Tensor

import limen
from limen.activations.fields import StatisticsContext
from limen.formula import mean, std
from limen.kernels.c import run
from limen.kernels.c.few import FEW


class Centred(limen.Activation):
    """k·(x − μ)²/(sd + 1), for which everything of a sample matters."""

    k = limen.Param(0.7)
    context = StatisticsContext()

    @staticmethod
    def formula(x, k, context):
        return k * (x - mean(x, context)) ** 2 / (std(x, context) + 1)


def made(name: str, **named: object) -> limen.Activation:
    """By name, or ours; its parameters differ from channel to channel."""
    if name != "centred":
        return perturbed(name, **named)
    module = Centred(**named).eval()
    with torch.no_grad():
        module.k.add_(0.2 * torch.rand_like(module.k))
    return module


PLACES = {
    "a sample": ((37, 3), {}),
    "one value": ((1037, 1), {}),
    "one value a channel": ((35, 5, 1), {"context": "channel", "num_parameters": 5}),
    "a vector": ((33, 16), {}),
    "whole tiles": ((64, 48), {}),
    "whole tiles of odd rows": ((64, 20), {}),
    "the largest": ((17, FEW), {}),
    "one more": ((17, FEW + 1), {}),
    "an odd number": ((50, 33), {}),
    "maps": ((9, 6, 3, 3), {"context": "channel"}),
    "maps by channel": ((9, 6, 3, 3), {"context": "channel", "num_parameters": 6}),
    "channels in a sample": ((9, 6, 2, 2), {"num_parameters": 6}),
    "tokens": ((5, 7, 12), {"context": "token", "channel_dim": -1}),
    "tokens by place": ((5, 7, 12), {"context": "token", "num_parameters": 5, "channel_dim": 0}),
    "one sample": ((1, 9), {}),
}


TYPES = torch.float32, torch.bfloat16, torch.float16


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("name", "dtype"),
    thoroughly(
        [(name, dtype) for name in ("ash", "leaky_ash", "hard_ash", "centred") for dtype in TYPES],
        usual=[("ash", torch.bfloat16), ("centred", torch.float32)],
    ),
    ids=str,
)
def test_as_good_as_the_formula(name, place, dtype):
    """Half types at most twice the error of torch's operators, float32 near the truth."""
    shape, named = PLACES[place]
    module = made(name, **named)
    x, g = torch.randn(shape).mul(2).add(0.5).to(dtype), torch.randn(shape).to(dtype)
    truth = gradients(copy.deepcopy(module).double(), x.double(), g.double(), "plain")
    theirs = gradients(module, x, g, "plain")
    for mine, its, true in zip(gradients(module, x, g, "c"), theirs, truth, strict=True):
        assert mine.dtype == its.dtype
        assert mine.shape == its.shape
        allowed = 2 * (its.double() - true).abs().max() + 2e-6 * (1 + true.abs().max()) * (1 + len(x) ** 0.5)
        assert (mine.double() - true).abs().max() <= allowed


@pytest.mark.parametrize("size", [1, 2, 5, 8, 16, 31, 64, FEW, FEW + 3])
def test_the_same_bits_whatever_stands_beside(size):
    """One by one through the short call, a few, in a large batch on threads; with NaN and infinities beside them."""
    module = perturbed("ash")
    x, g = torch.randn(40_000 // size, size), torch.randn(40_000 // size, size)
    whole = gradients(module, x, g, "c")[:2]
    for start, samples in ((0, 1), (3, 1), (5, 20), (len(x) - 1, 1)):
        part = slice(start, start + samples)
        for all_, few in zip(whole, gradients(module, x[part], g[part], "c")[:2], strict=True):
            assert torch.equal(all_[part], few)
    beside = x[:33].clone()
    beside[7], beside[11], beside[12, 0] = float("nan"), float("inf"), 3e38
    kept = [index for index in range(33) if index not in (7, 11, 12)]
    for all_, few in zip(whole, gradients(module, beside, g[:33], "c")[:2], strict=True):
        assert torch.equal(all_[kept], few[kept])


@pytest.mark.parametrize("shape", [(60_000, 1), (20_000, 3), (4000, 6, 2, 2)], ids=str)
@pytest.mark.parametrize("channels", [1, "all"])
def test_the_same_bits_for_any_number_of_threads(shape, channels):
    context = "channel" if len(shape) > 2 else "sample"
    module = made("centred", num_parameters=6 if channels == "all" and len(shape) > 2 else 1, context=context)
    x, g = torch.randn(shape), torch.randn(shape)
    assert_same_for_any_threads(lambda: gradients(module, x, g, "c"))


AWKWARD = {
    "constant": lambda n: torch.full((n,), 0.1),
    "large": lambda n: torch.randn(n) * 1e37,
    "large of both signs": lambda n: torch.tensor([3e38, -3e38]).repeat(n)[:n] * (0.5 + 0.5 * torch.rand(n)),
    "tiny": lambda n: torch.randn(n) * 1e-25,
    "far from 0": lambda n: torch.randn(n) + 30_000,
    "outlier first": lambda n: torch.cat([torch.full((1,), 1e6), torch.randn(n - 1)]),
}


@pytest.mark.parametrize("kind", AWKWARD)
def test_statistics_of_awkward_samples(kind):
    bound, tensors = limen.ASH()._bound[0], limen.ASH().tensors()
    for size in (2, 7, 16, 100):
        x = torch.stack([AWKWARD[kind](size) for _ in range(19)])
        _, statistics = run.forward(bound, x, tensors, 1, None)
        true, deviation = x.double().mean(1), x.double().std(1, correction=0)
        torch.testing.assert_close(statistics[:, 1].double(), deviation, rtol=2e-6, atol=0)
        assert ((statistics[:, 0].double() - true).abs() <= 1e-6 * deviation + 1e-7 * true.abs()).all()
    if kind == "constant":
        assert statistics[:, 1].eq(0).all()


def second(module: limen.Activation, x: Tensor) -> list[Tensor]:
    leaf = x.detach().requires_grad_()
    (first,) = torch.autograd.grad(module(leaf).sum(), leaf, create_graph=True)
    return list(torch.autograd.grad(first.square().sum(), [leaf, *module.parameters()]))


def test_second_derivatives():
    module, x = made("centred"), torch.randn(9, 5)
    for mine, true in zip(second(module, x), second(copy.deepcopy(module).double(), x.double()), strict=True):
        torch.testing.assert_close(mine.double(), true, rtol=1e-4, atol=1e-5)


AT_THE_END = """
import ctypes, mmap
import torch, limen

page = mmap.PAGESIZE
room = mmap.mmap(-1, 9 * page)
address = ctypes.addressof(ctypes.c_char.from_buffer(room))
assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(address + 8 * page), page, 0) == 0
for shape in [(32, 20), (64, 20), (33, 16), (16, 3), (5, 127), (40, 1)]:
    count = shape[0] * shape[1]
    x = torch.frombuffer(room, dtype=torch.float32, count=count, offset=8 * page - 4 * count).view(shape)
    x.copy_(torch.randn(shape))
    x.requires_grad_()
    with limen.use_backend("c"):
        limen.ASH()(x).sum().backward()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is protected by Linux's calls")
def test_nothing_is_read_past_the_last_sample():
    """What lies there cannot be read: the memory's end."""
    done = subprocess.run([sys.executable, "-c", AT_THE_END], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-500:]
