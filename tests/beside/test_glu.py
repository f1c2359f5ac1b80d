"""A gate and what it gates in one pass: values, gradients, layouts, types, and who may look on."""

from __future__ import annotations

import copy

import pytest
import torch
from helpers import (
    COMPILED,
    KEEPING_SHAPE,
    LAYOUTS,
    activation,
    assert_same_for_any_threads,
    dense,
    perturbed,
    sample_input,
    thoroughly,
)
from torch import Tensor, nn
from torch.nn import functional as F

import limen
from limen.bench import saved_bytes
from limen.beside.glu import GatedFormula, gated
from limen.kernels.bound import BoundFormula, key_of
from limen.kernels.call import Prepared
from limen.kernels.dispatch import evaluate_several
from limen.kernels.several import APART, FIRST, SECOND, Several, apart, prepare

USUAL = ("silu", "asau", "ash", "adact", "rrelu")
PARTS = {"apart": APART, "first": FIRST, "second": SECOND}
OPERATED = [(name, packed) for name in ("asau", "ash", "rrelu") for packed in PARTS.values()]


def given(gate: Tensor, up: Tensor, packed: int) -> list[Tensor]:
    """Fresh leaves that hold gate and up as a call takes them."""
    parts = {APART: [gate, up], FIRST: [torch.cat([gate, up], -1)], SECOND: [torch.cat([up, gate], -1)]}
    return [tensor.detach().requires_grad_() for tensor in parts[packed]]


def found(module: limen.GLU, leaves: list[Tensor], g: Tensor, backend: str) -> list[Tensor]:
    """The result, the gradients of gate and up, and those of the parameters."""
    with limen.use_backend(backend):
        y = module(*leaves)
    gradients = torch.autograd.grad(y, [*leaves, *module.parameters()], g)
    packed = APART if not module.packed else FIRST if module.gate_first else SECOND
    return [y.detach(), *apart(gradients[: len(leaves)], packed), *gradients[len(leaves) :]]


def of(gate: limen.Activation, packed: int = APART) -> limen.GLU:
    return limen.GLU(gate, packed=packed != APART, gate_first=packed != SECOND)


def exact(gate: limen.Activation, x: Tensor, up: Tensor, g: Tensor) -> list[Tensor]:
    """As two steps in float64 give it."""
    double = copy.deepcopy(gate).double()
    leaves = [x.detach().double().requires_grad_(), up.detach().double().requires_grad_()]
    y = double(leaves[0]) * leaves[1]
    return [y.detach(), *torch.autograd.grad(y, [*leaves, *double.parameters()], g.double())]


def assert_near(got: list[Tensor], want: list[Tensor], bound: float = 1e-5) -> None:
    for mine, true in zip(got, want, strict=True):
        assert (mine.double() - true).abs().max() <= bound * (1 + true.abs().max())


@pytest.mark.parametrize("name", thoroughly(COMPILED, usual=("asau", "ash")))
def test_as_activation_and_product_in_every_layout(name):
    for make, channels, channel_dim in LAYOUTS.values():
        x = make()
        up, g = torch.randn_like(x), torch.randn(x.shape)
        gate = perturbed(name, num_parameters=channels, channel_dim=channel_dim)
        want = exact(gate, x, up, g)
        for packed in PARTS.values() if x.shape[-1] > 1 else [APART]:
            assert_near(found(of(gate, packed), given(x, up, packed), g, "c"), want)


@pytest.mark.parametrize("name", thoroughly(COMPILED, usual=("adact", "ash")))
def test_halves_of_a_tensor_are_read_in_place(name):
    """As views too, and the gradient lies in one tensor."""
    both, g = dense((3, 5, 134)), torch.randn(3, 5, 67)
    x, up = both.chunk(2, -1)
    gate = perturbed(name)
    want = exact(gate, x, up, g)
    leaves = [both.detach().requires_grad_()]
    assert_near(found(limen.GLU(gate, packed=True), leaves, g, "c"), want)
    with limen.use_backend("c"):
        y = limen.GLU(gate)(*leaves[0].chunk(2, -1))
    assert_near([y.detach(), *torch.autograd.grad(y, leaves, g)[0].chunk(2, -1)], want[:3])


@pytest.mark.parametrize("context", ["sample", "channel", "token"])
@pytest.mark.parametrize("channels", [1, 6])
def test_statistics_are_those_of_the_gate_alone(context, channels):
    x, up, g = dense((4, 6, 5, 9)) + 2, 100 * torch.randn(4, 6, 5, 9), torch.randn(4, 6, 5, 9)
    gate = perturbed("ash", context=context, num_parameters=channels)
    for packed in PARTS.values():
        assert_near(found(of(gate, packed), given(x, up, packed), g, "c"), exact(gate, x, up, g), 2e-5)


@pytest.mark.parametrize(
    ("name", "dtype"),
    thoroughly(
        [(name, dtype) for name in COMPILED for dtype in (torch.bfloat16, torch.float16)],
        usual=[("asau", torch.bfloat16), ("ash", torch.float16)],
    ),
    ids=str,
)
def test_half_types_are_as_good_as_their_rounding(name, dtype):
    x, up, g = (dense((3, 5, 67)).to(dtype) for _ in range(3))
    gate = perturbed(name)
    want = exact(gate, x, up, g)
    two_steps = [t.detach().requires_grad_() for t in (x, up)]
    with limen.use_backend("plain"):
        y = gate(two_steps[0]) * two_steps[1]
    theirs = [y.detach(), *torch.autograd.grad(y, [*two_steps, *gate.parameters()], g)]
    for packed in PARTS.values():
        mine = found(of(gate, packed), given(x, up, packed), g, "c")
        for got, its, true in zip(mine, theirs, want, strict=True):
            assert got.dtype == its.dtype
            allowed = 2 * (its.double() - true).abs().max() + 1e-6 * true.abs().max()
            assert (got.double() - true).abs().max() <= allowed


@pytest.mark.parametrize("name", [n for n in KEEPING_SHAPE if n not in ("hard_ash", "top_percentile")])
def test_derivatives_in_float64(name):
    gate = perturbed(name, dtype=torch.float64)
    both = sample_input(2, 6).requires_grad_()
    module = limen.GLU(gate, packed=True)
    assert torch.autograd.gradcheck(module, both)
    assert torch.autograd.gradgradcheck(module, both)


@pytest.mark.parametrize("packed", PARTS.values(), ids=PARTS)
def test_second_derivatives_of_kernels(packed):
    gate, x, up = perturbed("asau"), dense((3, 4)), torch.randn(3, 4)
    second = []
    for backend in ("c", "plain"):
        leaves = given(x, up, packed)
        with limen.use_backend(backend):
            y = of(gate, packed)(*leaves)
        first = torch.autograd.grad(y.square().sum(), leaves, create_graph=True)
        second.append(torch.autograd.grad(sum(f.square().sum() for f in first), [*leaves, *gate.parameters()]))
    for mine, its in zip(*second, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-4, atol=1e-4)


def test_transforms_take_the_plain_path():
    module, x, up = limen.GLU("asau"), torch.randn(3, 4), torch.randn(3, 4)
    torch.testing.assert_close(torch.vmap(module)(x, up), module(x, up))
    _, slope = torch.func.jvp(module, (x, up), (torch.ones(3, 4), torch.zeros(3, 4)))
    leaf = x.clone().requires_grad_()
    torch.testing.assert_close(slope, torch.autograd.grad(module(leaf, up).sum(), leaf)[0])


def test_noise_is_drawn_once_for_both_passes():
    x, up = -torch.ones(4, 3000), torch.ones(4, 3000)
    for packed in PARTS.values():
        leaves = given(x, up, packed)
        y = of(limen.RReLU().train(), packed)(*leaves)
        assert y.unique().numel() > 1000
        by_gate, by_up = apart(torch.autograd.grad(y.sum(), leaves), packed)
        torch.testing.assert_close(by_gate, -y)
        torch.testing.assert_close(by_up, y)


def test_extremes_are_those_of_a_product():
    edges = torch.tensor([0.0, -0.0, 1e-38, 1.0, 88.0, 1e38, float("inf"), float("nan")])
    x, up = (t.flatten() for t in torch.meshgrid(torch.cat([edges, -edges]), edges, indexing="ij"))
    for name in ("relu", "silu", "asau"):
        with limen.use_backend("c"):
            got = limen.GLU(name)(x, up)
        torch.testing.assert_close(got, activation(name)(x) * up, equal_nan=True)


@pytest.mark.parametrize("name", ["asau", "ash"])
def test_the_same_bits_for_any_number_of_threads(name):
    gate, before, results = perturbed(name), torch.get_num_threads(), []
    x, up, g = (torch.randn(3, 25_001) for _ in range(3))
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results += [found(of(gate, packed), given(x, up, packed), g, "c") for packed in (APART, FIRST)]
    finally:
        torch.set_num_threads(before)
    for other in (results[2], results[4]):
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))
    for other in (results[3], results[5]):
        assert all(torch.equal(a, b) for a, b in zip(results[1], other, strict=True))


@pytest.mark.parametrize("name", ["asau", "ash"])
def test_kept_for_backward_are_gate_and_up_alone(name):
    both = torch.randn(16, 4000, requires_grad=True)
    assert saved_bytes(limen.GLU(name, packed=True), both) <= 4 * both.numel() + 1000
    up = torch.randn(16, 4000, requires_grad=True)
    with torch.no_grad():
        limen.GLU(name)(both, up)
    assert saved_bytes(lambda x: limen.GLU(name)(x, up), both) <= 8 * both.numel() + 1000


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1, 1)], ids=str)
def test_no_axes_and_no_elements(shape):
    x, up = torch.randn(shape, requires_grad=True), torch.randn(shape, requires_grad=True)
    y = limen.GLU("asau")(x, up)
    assert y.shape == x.shape
    assert [t.shape for t in torch.autograd.grad(y.sum(), [x, up])] == [x.shape, x.shape]


def test_inputs_of_two_types_are_taken_in_the_wider():
    x, up = torch.randn(4, 6).bfloat16(), torch.randn(4, 6)
    y = limen.GLU("silu")(x, up)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, F.silu(x.float()) * up)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: limen.GLU("silu")(torch.zeros(3, 4), torch.zeros(4)), "one shape"),
        (lambda: limen.GLU("silu")(torch.zeros(3, 4)), "two tensors"),
        (lambda: limen.GLU("silu", packed=True)(torch.zeros(3, 5)), "halves"),
        (lambda: limen.GLU("silu", packed=True)(torch.zeros(3, 4), torch.zeros(3, 4)), "one tensor"),
        (lambda: limen.GLU("swigul"), "swigul"),
        (lambda: limen.GLU("maxout"), "changes the shape"),
        (lambda: limen.GLU(3), "3 was given"),
        (lambda: limen.GLU(nn.SiLU(), num_parameters=3), "num_parameters"),
        (lambda: limen.GLU("silu")(torch.zeros(3, 4), torch.zeros(3, 4, device="meta")), "meta"),
        (lambda: limen.functional.glu(torch.zeros(4), activation="adact"), "adact"),
    ],
)
def test_what_cannot_be_gated_is_said_in_a_sentence(call, said):
    with pytest.raises(limen.LimenError, match=said):
        call()


@pytest.mark.parametrize("gate", ["swiglu", "silu_glu", limen.SiLU, limen.SiLU(), nn.SiLU, nn.SiLU()], ids=str)
def test_every_way_to_name_a_gate(gate):
    x, up = torch.randn(5, 6), torch.randn(5, 6)
    torch.testing.assert_close(limen.GLU(gate)(x, up), F.silu(x) * up)
    torch.testing.assert_close(limen.functional.swiglu(torch.cat([x, up], -1)), F.silu(x) * up)


def test_a_gate_of_ones_own():
    class Bent(limen.Activation):
        k = limen.Param(1.0)

        @staticmethod
        def formula(x, k):
            return x * limen.formula.tanh(k * limen.formula.softplus(x))

    x, up, g = dense((5, 70)), torch.randn(5, 70), torch.randn(5, 70)
    assert_near(found(limen.GLU(Bent), given(x, up, APART), g, "c"), exact(Bent(), x, up, g))
    watched, seen = Bent(), []
    watched.register_forward_hook(lambda *_: seen.append(1))
    limen.GLU(watched)(x, up)
    assert seen, "a hook on the activation is called"

    class Doubled(limen.ReLU):
        def forward(self, x, mask=None):
            return 2 * super().forward(x, mask)

    torch.testing.assert_close(limen.GLU(Doubled())(x, up), 2 * F.relu(x) * up)


def test_a_mask_is_the_gates():
    x, up, mask = torch.randn(2, 3, 4), torch.randn(2, 3, 4), torch.tensor([[1, 1, 0], [1, 0, 0]]).bool()
    module = limen.GLU("ash")
    assert torch.equal(module(x, up, mask=mask), module.activation(x, mask) * up)


class Residual:
    """tanh(k·x + u): a formula that no factor can be taken from."""

    __qualname__ = "Residual"

    def __call__(self, x, k, u):
        return limen.formula.tanh(k * x + u) + u


@pytest.mark.parametrize("packed", PARTS.values(), ids=PARTS)
def test_other_formulas_of_several_inputs(packed):
    bound = BoundFormula(Residual(), ("k",), beside=("u",))
    x, up, k = dense((3, 70)), torch.randn(3, 70), torch.tensor([0.7], requires_grad=True)
    results = []
    for backend in ("c", "plain"):
        leaves = given(x, up, packed)
        with limen.use_backend(backend):
            y = evaluate_several(Several(bound, leaves, packed, [k], 1))
        results.append([y, *torch.autograd.grad(y.square().sum(), [*leaves, k])])
    for mine, its in zip(*results, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "packed"), thoroughly(OPERATED, usual=[("ash", SECOND)]), ids=str)
def test_one_operator_in_a_compiled_program(name, packed):
    torch._dynamo.reset()
    graphs = []

    def note(graph, _):
        graphs.append(graph)
        return graph.forward

    module = of(perturbed(name), packed)
    leaves = given(torch.randn(4, 6), torch.randn(4, 6), packed)
    y = torch.compile(module, fullgraph=True, backend=note)(*leaves)
    assert "forward_several" in graphs[0].code
    torch.testing.assert_close(y, module(*leaves))


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "packed"), OPERATED, ids=str)
def test_operators_give_what_they_promise(name, packed):
    gate = perturbed(name, num_parameters=3).train()
    bound = gated(gate._bound[True])
    seed = torch.tensor([7]) if bound.noise else None
    tensors = [t.detach().requires_grad_() for t in gate._by_channel()]
    leaves = given(torch.randn(4, 3, 6), torch.randn(4, 3, 6), packed)
    call = key_of(bound), leaves, packed, tensors, 1, seed
    torch.library.opcheck(torch.ops.limen.forward_several.default, call)
    with torch.no_grad():
        y, statistics = torch.ops.limen.forward_several(*call)
    values = [t.detach() for t in tensors]
    inputs = [leaf.detach() for leaf in leaves]
    backward = key_of(bound), torch.randn_like(y), inputs, packed, values, 1, statistics, seed, [True] * len(values)
    torch.library.opcheck(torch.ops.limen.backward_several.default, backward)


class Block(nn.Module):
    """Two projections, a gate, a projection back."""

    def __init__(self, gate: nn.Module | None) -> None:
        super().__init__()
        self.gate, self.first, self.second = gate, nn.Linear(8, 32), nn.Linear(8, 32)
        self.back = nn.Linear(32, 8)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.first(x), self.second(x)
        return self.back(F.silu(gate) * up if self.gate is None else self.gate(gate, up))


def test_gates_of_channels_that_lie_together_have_the_same_bits_for_any_number_of_threads():
    module = limen.GLU("asau:num_parameters=4,channel_dim=-1")
    gate, up, g = (torch.randn(50_000, 4) for _ in range(3))

    def computed():
        leaves = [gate.clone().requires_grad_(), up.clone().requires_grad_()]
        return torch.autograd.grad(module(*leaves), [*leaves, *module.parameters()], g)

    assert_same_for_any_threads(computed)


@pytest.mark.parametrize("budget", thoroughly((1.0, 0.9, 0.5), usual=(0.9,)))
def test_a_compiled_block_keeps_what_torchs_own_gate_keeps(budget):
    from torch._functorch import config

    x, found = torch.randn(512, 8, requires_grad=True), []
    for gate in (None, limen.GLU("asau")):
        torch._dynamo.reset()
        block = Block(gate)
        with config.patch(activation_memory_budget=budget):
            compiled = torch.compile(block, backend="aot_eager_decomp_partition")
            compiled(x)
            found.append(saved_bytes(compiled, x, [*block.parameters()]))
    assert found[1] <= found[0] + 200


@pytest.mark.parametrize("packed", [FIRST, SECOND])
def test_gradients_of_halves_whose_rows_no_kernel_walks(packed):
    """Where a channel is as long as the batch, or the batch as a row."""
    gate = perturbed("asau", num_parameters=3)
    for shape in ((20, 3, 4, 5), (5, 3, 4, 5)):
        x, up, g = dense(shape), torch.randn(shape), torch.randn(shape)
        assert_near(found(of(gate, packed), given(x, up, packed), g, "c"), exact(gate, x, up, g))


def test_rows_with_gaps_are_walked_as_they_are_where_all_inputs_lie_so():
    bound = BoundFormula(Residual(), ("k",), beside=("u", "v"))
    rows, without = torch.randn(3, 20)[:, :5], torch.randn(3, 5)

    def walked(*inputs: Tensor) -> Prepared:
        prepared = prepare(Several(bound, inputs, APART, [torch.ones(1)], 1))
        assert all(torch.equal(a, b) for a, b in zip((prepared.x, *prepared.beside), inputs, strict=True))
        return prepared

    assert walked(rows, rows, rows).pitch == 20
    for inputs in ((rows, rows, without), (rows, without, rows), (without, rows, rows)):
        prepared = walked(*inputs)
        assert {tensor.stride() for tensor in (prepared.x, *prepared.beside)} == {(5, 1)}
    assert prepare(Several(bound, (rows, rows, without.to("meta")), APART, [torch.ones(1)], 1)) is None


@pytest.mark.parametrize("packed", [APART, FIRST])
def test_gradients_in_an_operator_that_are_not_a_kernels(packed):
    gate = perturbed("ash", num_parameters=5, channel_dim=-1)
    x, up, g = torch.randn(3, 2, 4, 5)
    leaves = given(x, up, packed)
    tensors = [tensor.detach().requires_grad_() for tensor in gate._by_channel()]
    y, _ = torch.ops.limen.forward_several(key_of(gated(gate._bound[False])), leaves, packed, tensors, 2, None)
    mine = torch.autograd.grad(y, [*leaves, *tensors], g)
    its = torch.autograd.grad(of(gate, packed)(*leaves), [*leaves, *gate.parameters()], g)
    for a, b in zip(mine, its, strict=True):
        torch.testing.assert_close(a, b.reshape(a.shape))


def test_gated_formulas_are_equal_where_their_gates_are():
    assert GatedFormula(torch.relu) == GatedFormula(torch.relu)
    assert GatedFormula(torch.relu) != GatedFormula(torch.tanh)
    assert GatedFormula(torch.relu) != torch.relu
