"""Activations of which the next layer keeps nothing: gradients to the bit, whatever is done with their output."""

from __future__ import annotations

import copy
import pickle
import weakref
from collections.abc import Callable

import pytest
import torch
from helpers import COMPILED, LAYOUTS, perturbed, thoroughly
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import limen
from limen.bench import saved_bytes
from limen.beside import pairs
from limen.kernels.remade import Remade


def pair(name: str, **named: object) -> tuple[limen.Activation, limen.Activation]:
    """Two alike, of which the second has its output made again."""
    usual = perturbed(name, **named).train()
    other = copy.deepcopy(usual)
    other.memory = "recompute"
    return usual, other


def trained(run: Callable[[Tensor], Tensor], tensors: list[Tensor], x: Tensor) -> list[Tensor]:
    torch.manual_seed(0)
    leaf = x.detach().requires_grad_()
    y = run(leaf)
    return [y.detach(), *torch.autograd.grad(y.double().square().sum(), [leaf, *tensors], materialize_grads=True)]


def assert_same(usual: nn.Module, other: nn.Module, x: Tensor) -> None:
    """Results and gradients by both, to the bit."""
    found = [trained(m, list(m.parameters()), x) for m in (usual, other)]
    for want, got in zip(*found, strict=True):
        assert torch.equal(want, got) or (want.isnan() == got.isnan()).all()


@pytest.mark.parametrize("name", COMPILED)
def test_gradients_of_a_layer_behind_are_the_same_to_the_bit(name):
    usual, other = pair(name)
    x, layer = torch.randn(9, 16, requires_grad=True), nn.Linear(16, 5)
    assert_same(nn.Sequential(usual, layer), nn.Sequential(other, layer), x)
    bare = saved_bytes(other, x)
    assert saved_bytes(nn.Sequential(usual, layer), x) >= bare + x.numel() * 4
    assert saved_bytes(nn.Sequential(other, layer), x) <= bare + 16 * 5 * 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_and_types(layout, dtype):
    x = LAYOUTS[layout][0]().to(dtype)
    usual, other = pair("asau")
    weight = torch.randn(x.shape[-1], 3, dtype=dtype, requires_grad=True)
    found = [trained(lambda x, m=m: m(x) @ weight, [weight, *m.parameters()], x) for m in (usual, other)]
    for want, got in zip(*found, strict=True):
        assert torch.equal(want, got)


@pytest.mark.parametrize("values", [[float("nan"), 1.0], [float("inf"), -float("inf")], [3e38, -3e38], []])
def test_extreme_values_and_none(values):
    usual, other = pair("asau")
    layer = nn.Linear(max(1, len(values)), 2)
    x = torch.tensor([values]).reshape(-1, max(1, len(values)))
    assert_same(nn.Sequential(usual, layer), nn.Sequential(other, layer), x)


def test_convolutions_norms_pools_and_views_keep_nothing():
    def network(act: nn.Module) -> nn.Sequential:
        torch.manual_seed(1)
        return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), act, nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4),
                             act, nn.AvgPool2d(2), act, nn.Flatten(), nn.Linear(64, 3))  # fmt: skip

    usual, other = map(network, pair("asau"))
    for kind in (torch.channels_last, torch.contiguous_format):
        x = torch.randn(2, 3, 8, 8, requires_grad=True).to(memory_format=kind)
        assert_same(usual, other, x)
    assert saved_bytes(usual, x) - saved_bytes(other, x) == 4 * (2 * 2 * 4 * 64 + 2 * 4 * 16)


def test_memory_is_given_back_between_the_passes():
    """What autograd says it keeps is one thing, what it holds on to another."""
    layer, x = nn.Linear(8, 4), torch.randn(3, 8, requires_grad=True)
    for act, given_back in zip(pair("asau"), (False, True), strict=True):
        y = act(x)
        held = weakref.ref(y)
        z = layer(y.view(1, 3, 8))
        del y
        assert (held() is None) == given_back
        z.sum().backward()


BEHIND = (nn.BatchNorm1d(8), nn.LayerNorm(8), nn.GroupNorm(2, 8), nn.RMSNorm(8), nn.Dropout(0.5), nn.GELU(), nn.SiLU(),
          nn.MultiheadAttention(8, 2), nn.LSTM(8, 8), nn.MaxPool1d(2), nn.Softmax(-1), nn.ReLU(inplace=True),
          nn.Dropout(0.5, inplace=True), nn.Bilinear(8, 8, 3), nn.Hardswish(inplace=True))  # fmt: skip


@pytest.mark.parametrize("behind", BEHIND, ids=str)
def test_layers_behind_that_are_called_twice(behind):
    def run(act: nn.Module, x: Tensor) -> Tensor:
        total = torch.zeros(())
        for part in x.unbind():
            y = act(part)
            given = (y, y, y) if isinstance(behind, nn.MultiheadAttention) else (y,)
            found = behind(*given, y) if isinstance(behind, nn.Bilinear) else behind(*given)
            total = total + (found[0] if isinstance(found, tuple) else found).square().sum()
        return total

    x, start = torch.randn(2, 6, 8), copy.deepcopy(behind.state_dict())
    found = []
    for act in pair("asau"):
        behind.load_state_dict(start)
        found.append(trained(lambda x, a=act: run(a, x), [*act.parameters(), *behind.parameters()], x))
    for want, got in zip(*found, strict=True):
        assert torch.equal(want, got)


W = torch.linspace(-1, 1, 64).view(8, 8).requires_grad_()


def _changed_before(y: Tensor) -> Tensor:
    y.mul_(2)
    return F.linear(y, W)


def _changed_after(y: Tensor) -> Tensor:
    z = F.linear(y, W)
    with torch.no_grad():
        y.zero_()
    return z


def _changed_past_autograd(y: Tensor) -> Tensor:
    y.data.mul_(2)
    return F.linear(y, W)


def _changed_by_numpy(y: Tensor) -> Tensor:
    y.detach().numpy()[:] = 1
    return F.linear(y, W)


def _view_changed(y: Tensor) -> Tensor:
    v = y.view(-1, 4)
    v.exp_()
    return F.linear(y, W) + v.view(-1, 8)


def _looked_at_later(y: Tensor) -> Tensor:
    y.register_hook(lambda g: 2 * g)
    y.retain_grad()
    return F.linear(y, W)


USES: dict[str, Callable[[Tensor], Tensor]] = {
    "returned": lambda y: y,
    "twice": lambda y: F.linear(y, W) * (y @ W),
    "with itself": lambda y: y * y,
    "views": lambda y: F.linear(y.view(-1, 2, 8).transpose(0, 1)[..., :4], W[:, :4]),
    "chunks": lambda y: torch.cat([F.linear(part, W[:, :4]) for part in y.chunk(2, -1)]),
    "other operators": lambda y: torch.softmax(y.exp().sigmoid() * y, -1) + y.norm() + torch.logsumexp(y, 0),
    "in place before": _changed_before,
    "past autograd": _changed_past_autograd,
    "numpy": _changed_by_numpy,
    "view in place": _view_changed,
    "hooks": _looked_at_later,
    "another activation": lambda y: F.linear(limen.Mish(memory="recompute")(y), W) + limen.ASAU()(y),
    "a gate": lambda y: F.linear(limen.GLU("silu", memory="recompute")(y, y), W),
    "checkpoint": lambda y: checkpoint(lambda y: F.linear(y, W).relu(), y, use_reentrant=False),
    "autocast": lambda y: torch.autocast("cpu", torch.bfloat16)(lambda: F.linear(y, W))().float(),
    "copies": lambda y: F.linear(y.clone(), W) + F.linear(y.to(torch.float64).float(), W),
}


@pytest.mark.parametrize("use", USES)
def test_whatever_is_done_with_the_output(use):
    usual, other = pair("asau")
    x = torch.randn(6, 8)
    found = [trained(lambda x, m=m: USES[use](m(x)), [W, *m.parameters()], x) for m in (usual, other)]
    for want, got in zip(*found, strict=True):
        assert torch.equal(want, got)


def test_changes_behind_keep_what_was_there():
    """Torch itself would refuse: it has nothing else to compute with."""
    usual, other = pair("asau")
    x = torch.randn(6, 8)
    want = trained(lambda x: F.linear(usual(x), W), [W], x)
    for mine, its in zip(trained(lambda x: _changed_after(other(x)), [W], x)[1:], want[1:], strict=True):
        assert torch.equal(mine, its)


def test_a_change_of_input_parameters_or_weights_is_refused_as_by_torch():
    for change in ("input", "parameter", "weight"):
        act, layer = limen.ASAU(memory="recompute"), nn.Linear(8, 8)
        x = torch.randn(6, 8, requires_grad=True).clone()
        y = layer(act(x))
        with torch.no_grad():
            {"input": x, "parameter": act.beta, "weight": layer.weight}[change].add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()


def test_checkpointing_around_it_keeps_only_its_input():
    usual, other = pair("adact")
    first, second = nn.Linear(8, 64), nn.Linear(64, 8)
    x, found = torch.randn(32, 8, requires_grad=True), []
    for act in (usual, other):
        block = nn.Sequential(first, act, second)

        def run(x: Tensor, block: nn.Module = block) -> Tensor:
            result: Tensor = checkpoint(block, x, use_reentrant=False)
            return result

        found.append(trained(run, list(block.parameters()), x))
        with torch.autograd.graph.save_on_cpu():
            again = trained(block, list(block.parameters()), x)
        assert all(map(torch.equal, found[-1], again))
    assert all(map(torch.equal, *found))


def test_second_derivatives_and_graphs_kept():
    found = []
    for act in pair("asau"):
        torch.manual_seed(0)
        layer = nn.Linear(8, 8)
        x = torch.linspace(-2, 2, 48).view(6, 8).requires_grad_()
        loss = layer(act(x)).square().sum()
        kept = torch.autograd.grad(loss, [x, layer.weight], retain_graph=True)
        (slope,) = torch.autograd.grad(loss, x, create_graph=True)
        found.append([*kept, *torch.autograd.grad(slope.square().sum(), [x, *layer.parameters(), *act.parameters()])])
    for want, got in zip(*found, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-6)


def test_it_is_an_ordinary_tensor_in_all_else():
    act, x = limen.ASAU(memory="recompute"), torch.randn(3, 8, requires_grad=True)
    y, plain = act(x), limen.ASAU()(x)
    assert isinstance(y, Tensor)
    assert repr(y).partition("grad_fn")[0] == repr(plain).partition("grad_fn")[0]
    assert type(pickle.loads(pickle.dumps(y))) is Tensor
    assert (y.shape, y.dtype, y.is_leaf, y.requires_grad) == (plain.shape, plain.dtype, False, True)
    assert type(y + 1) is type(F.linear(y, W)) is Tensor
    with torch.no_grad():
        assert type(act(x)) is Tensor
    assert type(act(x.detach().double().requires_grad_())) is Tensor
    with torch.autograd.graph.disable_saved_tensors_hooks("no hooks here"):
        assert type(act(x)) is Tensor
        F.linear(y, W)


@pytest.mark.parametrize("transform", ["grad", "vmap", "jvp"])
def test_transforms_see_through_it(transform):
    act, x = limen.ASAU(memory="recompute"), torch.randn(3, 8)

    apply = {
        "grad": lambda run: torch.func.grad(run)(x),
        "vmap": lambda run: torch.func.vmap(run)(x),
        "jvp": lambda run: torch.func.jvp(run, (x,), (x,))[1],
    }[transform]
    found, want = (apply(lambda x, a=a: F.linear(a(x), W).sum()) for a in (act, limen.ASAU()))
    torch.testing.assert_close(found, want)


@pytest.mark.parametrize("packed", [False, True])
def test_gates_keep_what_goes_in_alone(packed):
    gate, up = torch.randn(2, 64, 16, requires_grad=True).unbind()
    inputs = (torch.cat([gate, up], -1),) if packed else (gate, up)
    found, down = [], nn.Linear(16, 8)
    for memory in ("exact", "recompute"):
        unit = limen.GLU("asau", packed=packed, memory=memory)
        tensors = [t.detach().requires_grad_() for t in inputs]
        found.append(torch.autograd.grad(down(unit(*tensors)).sum(), [*tensors, *unit.parameters()]))
        found.append(saved_bytes(lambda x, u=unit, rest=tensors[1:]: down(u(x, *rest)), tensors[0]))
    assert all(map(torch.equal, found[0], found[2]))
    assert found[1] - found[3] == 64 * 16 * 4


def test_a_bias_keeps_what_goes_in_alone():
    x, found, layer = torch.randn(64, 16), [], nn.Linear(16, 8)
    for memory in ("exact", "recompute"):
        unit = limen.BiasAct("asau", 16, channel_dim=-1, memory=memory)
        leaf = x.clone().requires_grad_()
        found.append(torch.autograd.grad(layer(unit(leaf)).sum(), [leaf, *unit.parameters()]))
        found.append(saved_bytes(lambda x, u=unit: layer(u(x)), leaf))
    assert all(map(torch.equal, found[0], found[2]))
    assert found[1] - found[3] == x.numel() * 4


def test_a_norm_and_a_sum_keep_what_goes_in_alone():
    (x, other), found, layer = torch.randn(2, 16, 4, 32, 32), [], nn.Conv2d(4, 3, 3)
    for memory in ("exact", "recompute"):
        norm, activation = nn.BatchNorm2d(4), limen.ASAU(memory=memory)
        leaves = [t.clone().requires_grad_() for t in (x, other)]

        def run(x, rest=leaves[1], norm=norm, activation=activation):
            return layer(pairs.norm_add_act(norm, activation, x, rest, False))

        found.append(torch.autograd.grad(run(leaves[0]).sum(), [*leaves, *norm.parameters(), *activation.parameters()]))
        found.append(saved_bytes(run, leaves[0]))
    assert all(map(torch.equal, found[0], found[2]))
    assert found[1] - found[3] == x.numel() * 4


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.BatchNorm2d(4).eval(), nn.LayerNorm(6)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_norms_keep_what_goes_in_alone(norm, layout):
    x, found, layer = torch.randn(16, 4, 6, 6).to(memory_format=layout), [], nn.Conv2d(4, 3, 3)
    for memory in ("exact", "recompute"):
        block = limen.NormAct(copy.deepcopy(norm), "asau", memory=memory)
        leaf = x.detach().requires_grad_()
        found.append(torch.autograd.grad(layer(block(leaf)).sum(), [leaf, *block.parameters()]))
        found.append(saved_bytes(lambda x, b=block: layer(b(x)), leaf))
    assert all(map(torch.equal, found[0], found[2]))
    assert found[1] - found[3] >= x.numel() * 4


@pytest.mark.parametrize("gated", thoroughly((False, True), usual=(False,)))
def test_under_compile_and_beside_it(gated):
    torch._dynamo.reset()
    act = limen.GLU("asau", memory="recompute") if gated else limen.ASAU(memory="recompute")
    first, second = nn.Linear(8, 64), nn.Linear(64, 8)

    def block(x: Tensor) -> Tensor:
        y = first(x)
        return second(act(y, y) if gated else act(y))

    x = torch.randn(32, 8, requires_grad=True)
    compiled = torch.compile(block, backend="aot_eager_decomp_partition")
    weights = 4 * (2 * 64 * 8 + 64 + 8 + 4)
    compiled(x)
    assert saved_bytes(compiled, x) <= 4 * 32 * (8 + 64) + weights
    assert torch.equal(*(torch.autograd.grad(run(x).sum(), x)[0] for run in (block, compiled)))
    torch._dynamo.reset()
    behind = torch.compile(second, backend="aot_eager")
    y = first(x)
    outer = act(y, y) if gated else act(y)
    assert type(outer) is Remade
    torch.testing.assert_close(
        torch.autograd.grad(behind(outer).sum(), x)[0], torch.autograd.grad(block(x).sum(), x)[0]
    )


def test_it_is_chosen_by_name_and_goes_where_the_module_goes():
    act = limen.create("asau:memory=recompute")
    assert act.memory == "recompute"
    assert "memory='recompute'" in repr(act)
    for other in (copy.deepcopy(act), pickle.loads(pickle.dumps(act))):
        assert other.memory == "recompute"
        assert type(other(torch.ones(2, requires_grad=True))) is Remade
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    limen.swap_(model, "asau:memory=recompute")
    assert model[1].memory == "recompute"
    with pytest.raises(limen.LimenError, match="memory='less' is not a choice"):
        act.memory = "less"
    act.memory = "exact"
    assert type(act(torch.ones(2, requires_grad=True))) is Tensor
