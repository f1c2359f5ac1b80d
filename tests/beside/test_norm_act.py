"""A norm and its activation in one: the numbers of the pair, its running statistics, and nothing more kept."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from helpers import assert_same_for_any_threads, perturbed, thoroughly
from torch import Tensor, nn

import limen
from limen.bench import saved_bytes
from limen.kernels.normed import _Recorded, _RecordedSampled

NORMS = {
    "2d": (lambda **named: nn.BatchNorm2d(6, **named), (8, 6, 5, 7)),
    "2d, channels last": (lambda **named: nn.BatchNorm2d(6, **named), (8, 6, 5, 7)),
    "one channel": (lambda **named: nn.BatchNorm2d(1, **named), (3, 1, 5, 7)),
    "small maps": (lambda **named: nn.BatchNorm2d(6, **named), (40, 6, 2, 2)),
    "1d": (lambda **named: nn.BatchNorm1d(6, **named), (70, 6)),
    "1d of lengths": (lambda **named: nn.BatchNorm1d(6, **named), (3, 6, 33)),
    "3d": (lambda **named: nn.BatchNorm3d(6, **named), (2, 6, 3, 4, 5)),
    "groups": (lambda **named: nn.GroupNorm(3, 6, affine=named.get("affine", True)), (4, 6, 5, 7)),
    "layers": (lambda **named: nn.LayerNorm(37, elementwise_affine=named.get("affine", True)), (9, 8, 37)),
    "layers of two axes": (
        lambda **named: nn.LayerNorm((4, 9), elementwise_affine=named.get("affine", True)),
        (5, 4, 9),
    ),
    "long layers": (lambda **named: nn.LayerNorm(5001, bias=False), (3, 5001)),
    "root mean squares": (lambda **named: nn.RMSNorm(37, elementwise_affine=named.get("affine", True)), (9, 8, 37)),
    "root mean squares, many rows": (lambda **named: nn.RMSNorm(16, eps=1e-3), (700, 16)),
}
ROWS = [kind for kind in NORMS if "layers" in kind or "root" in kind]


def made(kind: str, name: str = "asau", **named: object) -> limen.NormAct:
    """A norm with weights of its own, and an activation with one parameter a channel where it has any."""
    norm, shape = NORMS[kind][0](**named), NORMS[kind][1]
    for value in norm.parameters():
        nn.init.uniform_(value, 0.5, 2.0)
    return limen.NormAct(norm, perturbed(name, num_parameters=shape[1] if name == "asau" and kind not in ROWS else 1))


def inputs(kind: str, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """An input away from 0, and an upstream gradient."""
    shape = NORMS[kind][1]
    x = (3 * torch.randn(shape) + 5).to(dtype)
    x = x.to(memory_format=torch.channels_last) if "last" in kind else x
    return x, torch.randn(shape).to(dtype)


def found(module: limen.NormAct, x: Tensor, g: Tensor) -> list[Tensor]:
    leaf = x.detach().requires_grad_()
    y = module(leaf)
    return [y.detach(), *torch.autograd.grad(y, [leaf, *module.parameters()], g)]


def pair(module: limen.NormAct, x: Tensor, g: Tensor) -> list[Tensor]:
    """The same by two modules on torch's operators."""
    leaf = x.detach().requires_grad_()
    with limen.use_backend("plain"):
        y = module.activation(module.norm(leaf))
    return [y.detach(), *torch.autograd.grad(y, [leaf, *module.parameters()], g)]


def is_one_step(module: limen.NormAct, x: Tensor) -> bool:
    names = {_Recorded.__name__, _RecordedSampled.__name__}
    return type(module(x.detach().requires_grad_()).grad_fn).__name__.removesuffix("Backward") in names


def assert_near(got: list[Tensor], want: list[Tensor], bound: float = 1e-4) -> None:
    for mine, true in zip(got, want, strict=True):
        assert mine.shape == true.shape
        assert (mine.double() - true).abs().max() <= bound * (1 + true.abs().max())


@pytest.mark.parametrize("affine", thoroughly((True, False), usual=(True,)))
@pytest.mark.parametrize("name", thoroughly(("asau", "adact", "relu", "gelu"), usual=("asau",)))
@pytest.mark.parametrize("kind", NORMS)
def test_the_numbers_of_the_pair_over_several_steps(kind, name, affine):
    """In training, then in evaluation; running statistics too."""
    module = made(kind, name, affine=affine)
    double = copy.deepcopy(module).double()
    for step in range(4):
        x, g = inputs(kind)
        if step == 2:
            module.norm.eval()
            double.norm.eval()
        assert_near(found(module, x, g), pair(double, x.double(), g.double()))
    assert is_one_step(module, x)
    for mine, its in zip(module.buffers(), double.buffers(), strict=True):
        torch.testing.assert_close(mine.double(), its.double(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("settings", [{"momentum": None}, {"momentum": 0.7}, {"track_running_stats": False}], ids=str)
@pytest.mark.parametrize("kind", ["2d", "2d, channels last"])
def test_running_statistics_are_kept_as_torch_keeps_them(kind, settings):
    module = made(kind, **settings)
    double = copy.deepcopy(module).double()
    for evaluating in (False, False, True):
        x, g = inputs(kind)
        module.norm.train(not evaluating)
        double.norm.train(not evaluating)
        assert_near(found(module, x, g), pair(double, x.double(), g.double()))
    for (name, mine), its in zip(module.named_buffers(), double.buffers(), strict=True):
        torch.testing.assert_close(mine.double(), its.double(), rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    thoroughly(
        [(kind, dtype) for kind in NORMS for dtype in (torch.bfloat16, torch.float16)],
        usual=[("2d", torch.float16), ("layers", torch.bfloat16)],
    ),
    ids=str,
)
@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")  # torch's own norms say that
def test_half_types_are_as_good_as_the_pair(kind, dtype):
    module = made(kind)
    x, g = inputs(kind, dtype)
    truth = pair(copy.deepcopy(module).double(), x.double(), g.double())
    theirs = pair(copy.deepcopy(module), x, g)
    for mine, its, true in zip(found(module, x, g), theirs, truth, strict=True):
        assert mine.dtype == its.dtype
        allowed = 2 * (its.double() - true).abs().max() + 1e-5 * true.abs().max()
        assert (mine.double() - true).abs().max() <= allowed


@pytest.mark.parametrize("kind", ["2d", "2d, channels last", "groups", "layers", "root mean squares"])
def test_second_derivatives(kind):
    module = made(kind)
    double = copy.deepcopy(module).double()
    x, _ = inputs(kind)
    second = []
    for block, leaf in ((module, x.clone().requires_grad_()), (double, x.double().requires_grad_())):
        y = block(leaf) if block is module else block.activation(block.norm(leaf))
        (first,) = torch.autograd.grad(y.square().sum(), leaf, create_graph=True)
        second.append(torch.autograd.grad(first.square().sum(), [leaf, *block.parameters()]))
    assert_near(*second, 1e-3)


def test_second_derivatives_in_evaluation():
    module = made("2d").eval()
    double = copy.deepcopy(module).double()
    x, _ = inputs("2d")
    second = []
    for block, leaf in ((module, x.clone().requires_grad_()), (double, x.double().requires_grad_())):
        y = block(leaf) if block is module else block.activation(block.norm(leaf))
        (first,) = torch.autograd.grad(y.square().sum(), leaf, create_graph=True)
        second.append(torch.autograd.grad(first.square().sum(), [leaf]))
    assert_near(*second, 1e-3)


@pytest.mark.parametrize("kind", ["2d", "2d, channels last", "groups", "layers", "root mean squares"])
def test_a_large_mean_does_not_cancel_the_deviation(kind):
    module = made(kind)
    double = copy.deepcopy(module).double()
    x, g = inputs(kind)
    x = x + 3000
    assert_near(found(module, x, g), pair(double, x.double(), g.double()), 2e-3)
    constant = torch.full_like(x, 0.1)
    assert all(t.isfinite().all() for t in found(module, constant, g))


@pytest.mark.parametrize("kind", ["2d", "2d, channels last", "groups"])
def test_kept_are_the_input_and_its_statistics(kind):
    shape = (16, 6, 20, 20)
    x = torch.randn(shape)
    x = (x.to(memory_format=torch.channels_last) if "last" in kind else x).requires_grad_()
    assert saved_bytes(made(kind), x) <= 4 * x.numel() + 16 * 3 * 2 * 4 + 10 * 6 * 4


@pytest.mark.parametrize("kind", ["2d", "2d, channels last", "groups"])
def test_the_same_bits_for_any_number_of_threads(kind):
    module = made(kind)
    x, g = torch.randn(33, 6, 40, 41), torch.randn(33, 6, 40, 41)
    x = x.to(memory_format=torch.channels_last) if "last" in kind else x
    assert_same_for_any_threads(lambda: found(module, x, g))


@pytest.mark.parametrize("kind", ["layers of two axes", "root mean squares, many rows"])
def test_rows_have_the_same_bits_for_any_number_of_threads(kind):
    module = made(kind)
    shape = (3000, *NORMS[kind][1][1:])
    x, g = torch.randn(shape), torch.randn(shape)
    assert_same_for_any_threads(lambda: found(module, x, g))


@pytest.mark.parametrize("kind", ROWS)
def test_kept_of_rows_are_the_input_and_two_numbers_each(kind):
    module, x = made(kind), inputs(kind)[0].requires_grad_()
    rows = x.numel() // math.prod(module.norm.normalized_shape)
    assert saved_bytes(module, x) <= 4 * x.numel() + 8 * rows + 4 * sum(p.numel() for p in module.parameters()) + 64


@pytest.mark.parametrize("norm", [nn.LayerNorm(20), nn.RMSNorm(20)], ids=["layer", "root mean square"])
def test_one_row_no_batch_gaps_and_nothing(norm):
    module = limen.NormAct(norm, "asau")
    wide = torch.randn(6, 40)
    assert module(torch.randn(0, 20)).shape == (0, 20)
    for x in (torch.randn(20), wide[:, ::2], torch.randn(20, 3).t()):
        want = module.activation(norm(x))
        assert_near([module(x)], [want.double()])
        (gx,) = torch.autograd.grad(module(leaf := x.detach().requires_grad_()).sum(), leaf)
        assert gx.shape == x.shape
    with pytest.raises(RuntimeError, match="normalized_shape"):
        module(torch.randn(4, 21))


def test_activations_by_channel_after_a_norm_of_rows_are_called():
    module = limen.NormAct(nn.LayerNorm(20), limen.ASAU(num_parameters=3))
    x = torch.randn(4, 3, 20)
    assert torch.equal(module(x), module.activation(module.norm(x)))


@pytest.mark.parametrize(
    ("norm", "shape"),
    [
        (nn.LayerNorm(7), (4, 6, 7)),
        (nn.RMSNorm(7), (4, 6, 7)),
        (nn.SyncBatchNorm(6).eval(), (4, 6, 7)),
        (nn.GroupNorm(2, 6), (4, 6)),
        (nn.BatchNorm1d(6, bias=False).eval(), (4, 6, 7)),
    ],
    ids=["layer", "rms", "sync", "groups of one value", "no bias"],
)
def test_other_norms_are_the_pair_itself(norm, shape):
    module, x = limen.NormAct(norm, "asau"), torch.randn(shape)
    assert torch.equal(module(x), module.activation(module.norm(x)))


def test_who_looks_on_is_not_passed_by():
    seen = []
    module = made("2d")
    module.norm.register_forward_hook(lambda *_: seen.append("norm"))
    module(inputs("2d")[0])
    module = made("2d")
    module.activation.register_forward_hook(lambda *_: seen.append("activation"))
    module(inputs("2d")[0])
    assert seen == ["norm", "activation"]


@pytest.mark.parametrize("name", ["ash", "top_percentile"])
def test_activations_that_are_no_function_of_one_value_are_called(name):
    module, x = limen.NormAct(nn.BatchNorm2d(6), name), inputs("2d")[0]
    alone = copy.deepcopy(module)
    module.eval()
    alone.eval()
    assert torch.equal(module(x), alone.activation(alone.norm(x)))


def test_other_types_and_programs_take_the_pair():
    module = made("2d")
    x, _ = inputs("2d")
    double = copy.deepcopy(module).double()
    torch.testing.assert_close(double(x.double()), copy.deepcopy(double)(x.double()))
    with limen.use_backend("plain"):
        assert not is_one_step(copy.deepcopy(module), x)
    torch._dynamo.reset()
    compiled = torch.compile(copy.deepcopy(module), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), copy.deepcopy(module)(x), rtol=1e-4, atol=1e-4)


def test_a_state_of_the_pair_loads():
    module = made("2d")
    module(inputs("2d")[0])
    two = nn.ModuleDict({"norm": nn.BatchNorm2d(6), "activation": limen.ASAU(num_parameters=6)})
    two.load_state_dict(module.state_dict())
    made("2d").load_state_dict(two.state_dict())


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: limen.NormAct(nn.Linear(2, 2), "relu"), limen.SpecError, "Linear"),
        (lambda: limen.NormAct(nn.BatchNorm2d(2), "maxout"), limen.SpecError, "shape"),
        (lambda: limen.NormAct(nn.BatchNorm2d(2), "relu")(torch.zeros(2, 2)), ValueError, "4D"),
        (lambda: limen.NormAct(nn.BatchNorm1d(2), "relu")(torch.zeros(1, 2)), ValueError, "more than 1 value"),
    ],
)
def test_what_cannot_be_normed_is_said(call, error, said):
    with pytest.raises(error, match=said):
        call()
