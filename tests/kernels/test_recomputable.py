"""What compiled programs keep of activations that stand alone, beside what they keep of torch's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from helpers import COMPILED, thoroughly
from torch import Tensor, nn
from torch._functorch import config
from torch.nn import functional as F

import limen
from limen.bench import saved_bytes


class Block(nn.Module):
    """A gate in two steps, or none."""

    def __init__(self, activation: Callable[[Tensor], Tensor], gated: bool) -> None:
        super().__init__()
        self.activation, self.gated = activation, gated
        self.first, self.second, self.back = nn.Linear(8, 32), nn.Linear(8, 32), nn.Linear(32, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.activation(self.first(x))
        return self.back(y.view(-1, 8, 32).reshape(y.shape) * self.second(x) if self.gated else y)


def kept(module: Block, budget: float) -> tuple[int, list[Tensor]]:
    """Bytes between the passes without parameters, and the gradients."""
    torch._dynamo.reset()
    x = torch.linspace(-3, 3, 64 * 8).view(64, 8).requires_grad_()
    with config.patch(activation_memory_budget=budget):
        compiled = torch.compile(module, backend="aot_eager_decomp_partition")
        y = compiled(x)
        bytes_kept = saved_bytes(compiled, x, [*module.parameters()])
    leaves = [x, *module.parameters()]
    return bytes_kept, list(torch.autograd.grad(y.sum(), leaves, materialize_grads=True))


@pytest.mark.parametrize("budget", thoroughly((1.0, 0.9, 0.5), usual=(1.0,)))
@pytest.mark.parametrize("name", thoroughly(COMPILED, usual=("asau",)))
def test_an_activation_and_a_product_keep_what_they_keep_with_torchs_own(name, budget):
    torch.manual_seed(0)
    block = Block(limen.create(name), gated=True)
    theirs, _ = kept(Block(F.silu, gated=True), budget)
    ours, _ = kept(block, budget)
    assert ours <= theirs + 300  # parameters spread over channels, a seed, the weights of a mixture
    _, gradients = kept(block.eval(), budget)  # which draws nothing
    x = torch.linspace(-3, 3, 64 * 8).view(64, 8).requires_grad_()
    wanted = torch.autograd.grad(block(x).sum(), [x, *block.parameters()], materialize_grads=True)
    for mine, its in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", thoroughly(("adact", "rrelu"), usual=("rrelu",)))
def test_what_is_computed_again_has_the_noise_that_it_had(name):
    block, found = Block(limen.create(name), gated=True), []
    for budget in (1.0, 0.5):
        torch.manual_seed(7)
        found.append(kept(block, budget)[1])
    for kept_whole, again in zip(*found, strict=True):
        assert torch.equal(kept_whole, again)


def calls_backward(block: Block) -> int:
    """How often the kernel of the forward pass is called in the backward pass."""
    from functorch.compile import make_boxed_func
    from torch._dynamo.backends.common import aot_autograd
    from torch._functorch.partitioners import min_cut_rematerialization_partition

    torch._dynamo.reset()
    seen: list[str] = []

    def note(graph: torch.fx.GraphModule, _: object) -> Callable[..., object]:
        seen.append(graph.code)
        return make_boxed_func(graph.forward)

    backend = aot_autograd(fw_compiler=note, bw_compiler=note, partition_fn=min_cut_rematerialization_partition)
    torch.compile(block, backend=backend)(torch.randn(64, 8, requires_grad=True)).sum().backward()
    assert len(seen) == 2
    return seen[1].count("limen.forward.default")


def test_what_the_backward_pass_needs_whole_is_kept_as_it_was():
    assert calls_backward(Block(limen.ASAU(), gated=True)) == 1
    assert calls_backward(Block(limen.ASAU(), gated=False)) == 0
