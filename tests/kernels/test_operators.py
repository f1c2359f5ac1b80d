"""Kernels as torch operators, which ``torch.compile`` sees as one step each."""

from __future__ import annotations

import pytest
import torch
from helpers import COMPILED, LAYOUTS, LEARNING, activation, perturbed, thoroughly

import limen
from limen.kernels import operators
from limen.kernels.bound import key_of


def arguments(module: limen.Activation, x: torch.Tensor) -> tuple[object, ...]:
    """What the operator ``forward`` is given for a call of a module, with a seed if it has noise."""
    bound = module._bound[module.training]
    seed = torch.tensor([7]) if bound.noise else None
    tensors = [t.detach().requires_grad_() for t in module._by_channel()]
    return key_of(bound), x, tensors, module.channel_dim, seed


def backward_arguments(module: limen.Activation, x: torch.Tensor) -> tuple[object, ...]:
    """What the operator ``backward`` is given for the same call."""
    key, _, tensors, channel_dim, seed = arguments(module, x)
    with torch.no_grad():
        _, statistics = torch.ops.limen.forward(key, x, tensors, channel_dim, seed)
    values = [t.detach() for t in tensors]
    return key, torch.randn_like(x), x.detach(), values, channel_dim, statistics, seed, [True] * len(values)


@pytest.mark.parametrize("name", thoroughly(COMPILED, usual=("relu", "asau", "ash", "rrelu", "adact")))
def test_opcheck(name):
    module, x = perturbed(name, num_parameters=3), torch.randn(4, 3, 5, requires_grad=True)
    torch.library.opcheck(torch.ops.limen.forward.default, arguments(module, x))


@pytest.mark.slow
@pytest.mark.parametrize(
    "module",
    [
        pytest.param(limen.Swish(num_parameters=3, group_size=2), marks=pytest.mark.thorough),
        limen.ASH(num_parameters=6),
        pytest.param(limen.ASH(context="channel"), marks=pytest.mark.thorough),
        limen.AdAct(("rrelu", "prelu"), num_parameters=6),
    ],
    ids=["groups", "samples by channel", "contexts", "noisy mixture"],
)
def test_opcheck_of_both(module):
    channels_last = torch.randn(4, 6, 3, 2).to(memory_format=torch.channels_last)
    for x in (torch.randn(4, 6, 3, 2, requires_grad=True), channels_last.bfloat16().requires_grad_()):
        torch.library.opcheck(torch.ops.limen.forward.default, arguments(module, x))
        torch.library.opcheck(torch.ops.limen.backward.default, backward_arguments(module, x))


@pytest.mark.parametrize("options", [{}, {"num_parameters": 5}], ids=["shared", "by channel"])
@pytest.mark.parametrize("name", thoroughly(COMPILED, usual=("relu", "prelu", "ash", "rrelu")))
def test_operators_give_what_they_promise(name, options):
    """Sizes and strides of their fakes, each result in memory of its own, which compiled programs take for granted."""
    module = perturbed(name, **options)
    module.train()
    for make, channels, channel_dim in LAYOUTS.values():
        if channel_dim != 1 or channels not in (1, 5) or (options and channels == 1):
            continue
        x = make().requires_grad_()
        results = list(torch.ops.limen.forward(*arguments(module, x)))
        results += torch.ops.limen.backward(*backward_arguments(module, x))
        key, _, tensors, _, _ = arguments(module, x)
        promised = [
            *operators._forward_fake(key, x, tensors, 1, None),
            torch.empty_like(x),
            *map(torch.empty_like, tensors),
        ]
        for result, promise in zip(results, promised, strict=True):
            assert (result.shape, result.stride(), result.dtype) == (promise.shape, promise.stride(), promise.dtype)
        assert len({result.untyped_storage().data_ptr() for result in results if result.numel()}) == sum(
            result.numel() > 0 for result in results
        )


@pytest.mark.parametrize("options", [{}, {"num_parameters": 3}], ids=["shared", "by channel"])
@pytest.mark.parametrize("name", ["swish", "ash", "adact"])
def test_second_derivatives_of_a_traced_program(name, options):
    """Where the program is run as it was traced, a penalty on gradients goes through the operators."""
    torch._dynamo.reset()
    module, found = perturbed(name, **options), []
    x = torch.randn(4, 3, 5, requires_grad=True)
    for run in (torch.compile(module, backend="eager"), module):
        (slope,) = torch.autograd.grad(run(x).square().sum(), x, create_graph=True)
        found.append(torch.autograd.grad(slope.square().sum(), [x, *module.parameters()]))
    for mine, its in zip(*found, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", COMPILED)
def test_compiled_programs_call_the_kernel(name):
    torch._dynamo.reset()
    graphs = []

    def note(graph, _):
        graphs.append(graph)
        return graph.forward

    torch.compile(activation(name), fullgraph=True, backend=note)(torch.randn(2, 6))
    assert "limen.forward" in graphs[0].code


def test_training_noise_under_compile():
    torch._dynamo.reset()
    compiled = torch.compile(limen.RReLU().train(), fullgraph=True, backend="aot_eager")
    x = -torch.ones(1000)
    first, second = compiled(x), compiled(x)
    assert not torch.equal(first, second)
    assert (-first).min() >= 1 / 8
    assert (-first).max() <= 1 / 3


def test_memory_is_counted_through_the_operator():
    from limen.lab.training.memory import peak_memory

    x, module = torch.randn(1000, requires_grad=True), limen.ASAU()
    assert peak_memory(lambda: module(x)) < 20_000  # the plain path holds seven tensors of 4000 bytes and more


@pytest.mark.parametrize("layout", ["channels last", "with gaps", "transposed"])
def test_operators_promise_the_layout_they_give(layout):
    x = LAYOUTS[layout][0]()
    for module in (limen.ASAU(), limen.ASH(context="channel"), limen.ASH(num_parameters=5)):
        key = key_of(module._bound[False])
        y, _ = torch.ops.limen.forward(key, x, list(module.tensors()), 1, None)
        assert y.stride() == torch.empty_like(x).stride()


class Sum(torch.nn.Module):
    """Many activations in one program, which is compiled once."""

    def __init__(self, activations: list[limen.Activation]) -> None:
        super().__init__()
        self.activations = torch.nn.ModuleList(activations)

    def forward(self, x):
        return sum(activation(x) for activation in self.activations)


def trained(module: torch.nn.Module, run: object, x: torch.Tensor) -> list[torch.Tensor]:
    leaf = x.detach().requires_grad_()
    y = run(leaf)
    return [y.detach(), *torch.autograd.grad(y.float().square().sum(), [leaf, *module.parameters()])]


def assert_trains_compiled(module: Sum, inputs: list[torch.Tensor], dynamic: bool | None = None) -> None:
    """With the gradients of eager mode, in its layouts."""
    torch._dynamo.reset()
    compiled = torch.compile(module, fullgraph=True, dynamic=dynamic)
    for x in inputs:
        for mine, its in zip(trained(module, compiled, x), trained(module, module, x), strict=True):
            scale = its.abs().max().item()
            tolerance = 1e-4 if its.dtype in (torch.float32, torch.float64) else 3e-2
            torch.testing.assert_close(mine, its, rtol=tolerance, atol=tolerance * scale)
            assert mine.stride() == its.stride()


@pytest.mark.thorough
def test_inductor_trains_every_kind_of_parameters():
    by_channel = [perturbed(name, num_parameters=6) for name in COMPILED if name in LEARNING]
    grouped = [perturbed(name, num_parameters=2, group_size=3) for name in ("swish", "ash")]
    module = Sum([*by_channel, *grouped, perturbed("asau"), perturbed("adact")])
    assert_trains_compiled(module, [torch.randn(3, 6, 4, 5).to(memory_format=torch.channels_last)])


def few(dtype: torch.dtype) -> Sum:
    return Sum([perturbed(name, num_parameters=6, dtype=dtype) for name in ("swish", "ash")])


@pytest.mark.thorough
@pytest.mark.parametrize(
    "x",
    [
        torch.randn(2, 6, 3, 4, 5).to(memory_format=torch.channels_last_3d),
        torch.randn(6, 12, 3).transpose(0, 1)[::2].transpose(0, 1),
        torch.randn(3, 6, 7).bfloat16(),
        torch.randn(7, 6).double(),
    ],
    ids=["3d channels last", "sliced", "bfloat16", "float64"],
)
def test_inductor_trains_in_other_layouts_and_types(x):
    assert_trains_compiled(few(x.dtype), [x])


@pytest.mark.thorough
def test_inductor_trains_with_dynamic_shapes():
    inputs = [torch.randn(batch, 6, side, 5) for batch, side in ((3, 4), (5, 7))]
    assert_trains_compiled(few(torch.float32), inputs, dynamic=True)


@pytest.mark.slow
def test_inductor_on_channels_last_samples():
    torch._dynamo.reset()
    module = limen.ASH(context="channel")
    x = torch.randn(2, 8, 4, 6).contiguous(memory_format=torch.channels_last)
    compiled = torch.compile(module)(x)
    torch.testing.assert_close(compiled, module(x))
    assert compiled.stride() == module(x).stride() == x.stride()


def test_what_has_no_gradient_is_given_zeros():
    class Idle(limen.Activation):
        k = limen.Param(1.0)

        @staticmethod
        def formula(x, k):
            return limen.formula.tanh(x)

    with torch.no_grad():
        _, of_k = torch.ops.limen.backward(*backward_arguments(Idle(), torch.empty(0, 3)))
    assert of_k.tolist() == [0.0]


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (perturbed("swish"), (0, 3)),
        (perturbed("ash"), (0, 3)),
        (perturbed("ash", num_parameters=5, channel_dim=-1), (2, 4, 5)),
    ],
    ids=["no elements", "no samples", "a channel that is the fastest axis"],
)
def test_gradients_that_are_not_a_kernels(module, shape):
    """Within an operator nothing is recorded unless it is asked for."""
    x, g = torch.randn(shape, requires_grad=True), torch.randn(shape)
    given = arguments(module, x)
    found = torch.autograd.grad(torch.ops.limen.forward(*given)[0], [x, *given[2]], g)
    for mine, its in zip(found, torch.autograd.grad(module(x), [x, *module.parameters()], g), strict=True):
        torch.testing.assert_close(mine, its.reshape(mine.shape))
