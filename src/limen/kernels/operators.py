"""The compiled kernels as torch operators, for programs that torch traces: ``torch.compile`` sees each as one step.

A formula is passed by its key, since operators take tensors and text. Called outside a traced program the operators do
the same as :mod:`limen.kernels.c.run` on CPU tensors and :mod:`limen.kernels.triton.run` on a GPU's, only slower.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from limen.kernels import autograd, plain, recomputable, several
from limen.kernels.bound import INTERPRETED, of_key
from limen.kernels.c import run as c_run
from limen.kernels.call import Call
from limen.kernels.graph_seeds import seed_in_graph
from limen.kernels.layout import laid_out_as
from limen.kernels.several import Several
from limen.kernels.triton import run as triton_run

_library: Any = torch.library.Library("limen", "DEF")  # type: ignore[no-untyped-call]  # torch leaves it untyped
_library.define("forward(str key, Tensor x, Tensor[] parameters, int channel_dim, Tensor? seed) -> (Tensor, Tensor)")
_library.define(
    "backward(str key, Tensor g, Tensor x, Tensor[] parameters, int channel_dim, Tensor statistics, Tensor? seed, "
    "bool[] wanted) -> Tensor[]"
)
_library.define(
    "forward_several(str key, Tensor[] inputs, int packed, Tensor[] parameters, int channel_dim, Tensor? seed) -> "
    "(Tensor, Tensor)"
)
_library.define(
    "backward_several(str key, Tensor g, Tensor[] inputs, int packed, Tensor[] parameters, int channel_dim, "
    "Tensor statistics, Tensor? seed, bool[] wanted) -> Tensor[]"
)


def evaluate(key: str, x: Tensor, parameters: Sequence[Tensor], channel_dim: int, noisy: bool) -> Tensor:
    """Run the formula's kernel as one operator."""
    seed = seed_in_graph(x.device) if noisy else None
    result: Tensor = torch.ops.limen.forward(key, x, list(parameters), channel_dim, seed)[0]
    return result


def _forward(
    key: str, x: Tensor, parameters: list[Tensor], channel_dim: int, seed: Tensor | None
) -> tuple[Tensor, Tensor]:
    bound = of_key(key)
    if x.numel() == 0:
        y, statistics = plain.evaluate(bound, x, parameters, channel_dim, seed), None
    else:
        y, statistics = _machine(key, x).forward(bound, x, parameters, channel_dim, seed)
    return laid_out_as(x, y), _empty_statistics(key, x) if statistics is None else statistics


def _machine(key: str, x: Tensor) -> Any:
    """Whose kernels run: C's on CPU tensors unless the key says otherwise."""
    return c_run if x.is_cpu and not key.startswith(INTERPRETED) else triton_run


def _forward_fake(
    key: str, x: Tensor, parameters: list[Tensor], channel_dim: int, seed: Tensor | None
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), _empty_statistics(key, x)


def _empty_statistics(key: str, x: Tensor) -> Tensor:
    """Room for two numbers a sample; for none, where the formula takes no statistics."""
    samples: Any = 0
    for context in of_key(key).contexts:
        axes = context.axes(tuple(x.shape))
        samples = math.prod(size for axis, size in enumerate(x.shape) if axis not in axes)
    return x.new_empty((samples, 2), dtype=torch.float32)


@dataclass(frozen=True)
class _Backward:
    """What the operator ``backward`` is given, in the order of its schema."""

    key: str
    g: Tensor
    x: Tensor
    parameters: list[Tensor]
    channel_dim: int
    statistics: Tensor
    seed: Tensor | None
    wanted: list[bool]

    def run(self) -> list[Tensor]:
        """The gradients of the input and of the wanted parameters."""
        x, wanted = self.x, self.wanted
        call = Call(of_key(self.key), x, self.parameters, self.channel_dim, self.seed)
        if x.numel() == 0:
            found = autograd.by_plain(call, self.g, [True, *wanted])
        else:
            known = self.statistics if call.bound.contexts else None
            gx, rest = autograd.backward(_machine(self.key, x), call, self.g, known, wanted)
            found = [gx, *rest]
        asked = [gradient for gradient, want in zip(found, [True, *wanted], strict=True) if want]
        return [_alone(tensor, gradient) for tensor, gradient in zip(self._asked(), asked, strict=True)]

    def fake(self) -> list[Tensor]:
        """Tensors of the same shapes and layouts."""
        return [torch.empty_like(tensor) for tensor in self._asked()]

    def _asked(self) -> list[Tensor]:
        """What gradients are asked of."""
        return [self.x, *(p for p, want in zip(self.parameters, self.wanted, strict=True) if want)]


def _alone(tensor: Tensor, gradient: Tensor | None) -> Tensor:
    """The gradient as an operator must give it: laid out as promised, in memory of its own."""
    if gradient is None:
        return torch.zeros_like(tensor)
    gradient = laid_out_as(tensor, gradient)
    return gradient if gradient.untyped_storage().nbytes() == gradient.nbytes else gradient.clone()


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.key, x, parameters, ctx.channel_dim, seed = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.wanted = [parameter.requires_grad for parameter in parameters]
    ctx.save_for_backward(x, output[1], seed, *parameters)


def _differentiate(ctx: Any, g: Tensor, _: Tensor) -> tuple[Any, ...]:
    x, statistics, seed, *parameters = ctx.saved_tensors
    found = torch.ops.limen.backward(ctx.key, g, x, parameters, ctx.channel_dim, statistics, seed, ctx.wanted)
    recomputable.mark(torch.ops.limen.forward.default, torch.ops.limen.backward.default)
    rest = iter(found[1:])
    return None, found[0], [next(rest) if want else None for want in ctx.wanted], None, None


def _setup_second_context(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    ctx.key, g, x, parameters, ctx.channel_dim, _, seed, ctx.wanted = inputs
    ctx.save_for_backward(seed, g, x, *parameters)


def _differentiate_again(ctx: Any, outer: list[Tensor | None]) -> tuple[Any, ...]:
    """Second derivatives, by the plain formula as everywhere."""
    seed, *given = ctx.saved_tensors
    recording = torch.is_grad_enabled()
    with torch.enable_grad():
        leaves = [t.view_as(t) if t.requires_grad else t.detach().requires_grad_() for t in given]
        g, x, *parameters = leaves
        call = Call(of_key(ctx.key), x, parameters, ctx.channel_dim, seed)
        found = autograd.by_plain(call, g, [True, *ctx.wanted])
        asked = [gradient for gradient, want in zip(found, [True, *ctx.wanted], strict=True) if want]
        pairs = [(f, o) for f, o in zip(asked, outer, strict=True) if f is not None and o is not None]
        inner, upstream = zip(*pairs, strict=True)
        by_g, by_x, *rest = torch.autograd.grad(inner, leaves, upstream, create_graph=recording, allow_unused=True)
    return None, by_g, by_x, rest, None, None, None, None


def evaluate_several(
    key: str, inputs: Sequence[Tensor], packed: int, parameters: Sequence[Tensor], channel_dim: int, noisy: bool
) -> Tensor:
    """Run the kernel of a formula of several inputs as one operator."""
    seed = seed_in_graph(inputs[0].device) if noisy else None
    given = list(inputs), packed, list(parameters), channel_dim, seed
    result: Tensor = torch.ops.limen.forward_several(key, *given)[0]
    return result


def _several(key: str, *given: Any) -> Several:
    return Several(of_key(key), *given)


def _forward_several(key: str, *given: Any) -> tuple[Tensor, Tensor]:
    call = _several(key, *given)
    x = several.apart(call.inputs, call.packed)[0]
    y, statistics = several.forward(_machine(key, x), call)
    return laid_out_as(x, y), _empty_statistics(key, x) if statistics is None else statistics


def _forward_several_fake(key: str, *given: Any) -> tuple[Tensor, Tensor]:
    call = _several(key, *given)
    x = several.apart(call.inputs, call.packed)[0]
    return torch.empty_like(x), _empty_statistics(key, x)


def _backward_several(
    key: str,
    g: Tensor,
    inputs: list[Tensor],
    packed: int,
    parameters: list[Tensor],
    channel_dim: int,
    statistics: Tensor,
    seed: Tensor | None,
    wanted: list[bool],
) -> list[Tensor]:
    call = _several(key, inputs, packed, parameters, channel_dim, seed)
    known = statistics if call.bound.contexts else None
    found = several.backward(_machine(key, inputs[0]), call, g, known, wanted)
    rest = [gradient for gradient, want in zip(found[len(inputs) :], wanted, strict=True) if want]
    return [
        _alone(tensor, gradient)
        for tensor, gradient in zip(_asked_of(inputs, parameters, wanted), [*found[: len(inputs)], *rest], strict=True)
    ]


def _backward_several_fake(
    key: str, g: Tensor, inputs: list[Tensor], packed: int, parameters: list[Tensor], *rest: Any
) -> list[Tensor]:
    return [torch.empty_like(tensor) for tensor in _asked_of(inputs, parameters, rest[-1])]


def _asked_of(inputs: list[Tensor], parameters: list[Tensor], wanted: list[bool]) -> list[Tensor]:
    return [*inputs, *(p for p, want in zip(parameters, wanted, strict=True) if want)]


def _setup_several(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.key, tensors, ctx.packed, parameters, ctx.channel_dim, seed = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.wanted, ctx.count = [parameter.requires_grad for parameter in parameters], len(tensors)
    ctx.save_for_backward(output[1], seed, *tensors, *parameters)


def _differentiate_several(ctx: Any, g: Tensor, _: Tensor) -> tuple[Any, ...]:
    statistics, seed, *saved = ctx.saved_tensors
    inputs, parameters = saved[: ctx.count], saved[ctx.count :]
    given = ctx.key, g, inputs, ctx.packed, parameters, ctx.channel_dim, statistics, seed, ctx.wanted
    found = torch.ops.limen.backward_several(*given)
    recomputable.mark(torch.ops.limen.forward_several.default, torch.ops.limen.backward_several.default)
    rest = iter(found[ctx.count :])
    return None, found[: ctx.count], None, [next(rest) if want else None for want in ctx.wanted], None, None


def _setup_second_several(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    ctx.key, g, tensors, ctx.packed, parameters, ctx.channel_dim, _, seed, ctx.wanted = inputs
    ctx.count = len(tensors)
    ctx.save_for_backward(seed, g, *tensors, *parameters)


def _differentiate_several_again(ctx: Any, outer: list[Tensor | None]) -> tuple[Any, ...]:
    """Second derivatives, by the plain formula as everywhere."""
    seed, *given = ctx.saved_tensors
    recording = torch.is_grad_enabled()
    with torch.enable_grad():
        leaves = [t.view_as(t) if t.requires_grad else t.detach().requires_grad_() for t in given]
        g, inputs, parameters = leaves[0], leaves[1 : ctx.count + 1], leaves[ctx.count + 1 :]
        call = _several(ctx.key, inputs, ctx.packed, parameters, ctx.channel_dim, seed)
        found = several.by_plain(call, g, [*[True] * ctx.count, *ctx.wanted])
        asked = [gradient for gradient, want in zip(found, [*[True] * ctx.count, *ctx.wanted], strict=True) if want]
        pairs = [(f, o) for f, o in zip(asked, outer, strict=True) if f is not None and o is not None]
        inner, upstream = zip(*pairs, strict=True)
        by_g, *rest = torch.autograd.grad(inner, leaves, upstream, create_graph=recording, allow_unused=True)
    return None, by_g, rest[: ctx.count], None, rest[ctx.count :], None, None, None, None


for _name, _implementation, _fake in (
    ("forward", _forward, _forward_fake),
    ("forward_several", _forward_several, _forward_several_fake),
    ("backward_several", _backward_several, _backward_several_fake),
    ("backward", lambda *given: _Backward(*given).run(), lambda *given: _Backward(*given).fake()),
):
    for _device in ("CPU", "CUDA", "XPU"):
        _library.impl(_name, _implementation, _device)
    torch.library.register_fake(f"limen::{_name}", _fake, lib=_library)
torch.library.register_autograd("limen::forward", _differentiate, setup_context=_setup_context, lib=_library)
torch.library.register_autograd(
    "limen::backward", _differentiate_again, setup_context=_setup_second_context, lib=_library
)
torch.library.register_autograd(
    "limen::forward_several", _differentiate_several, setup_context=_setup_several, lib=_library
)
torch.library.register_autograd(
    "limen::backward_several", _differentiate_several_again, setup_context=_setup_second_several, lib=_library
)
