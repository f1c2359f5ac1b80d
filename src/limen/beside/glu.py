"""Gated linear units: an activation of one tensor times another, in one pass over both."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling
from torch.fx import Proxy

from limen.beside.making import Called, made, one_pass_of
from limen.errors import LimenError, ShapeError, SpecError
from limen.kernels import choice, dispatch, operators
from limen.kernels.bound import BoundFormula, keeping, shared
from limen.kernels.several import APART, FIRST, SECOND, Several, apart

UP = "up(x)"
"""What the other factor is called among the inputs; no parameter can have such a name."""


class GatedFormula:
    """f(x)·u for a formula f, as one formula of two inputs."""

    def __init__(self, gate: Callable[..., Any]) -> None:
        self.gate = gate
        self.__qualname__ = f"GLU {getattr(gate, '__qualname__', type(gate).__name__)}"

    def __call__(self, x: Any, **arguments: Any) -> Any:
        """The gate times what stands beside it."""
        up = arguments.pop(UP)
        return self.gate(x, **arguments) * up

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GatedFormula) and self.gate == other.gate

    def __hash__(self) -> int:
        return hash((GatedFormula, self.gate))


@functools.lru_cache(maxsize=4096)
def gated(bound: BoundFormula) -> BoundFormula:
    """The bound formula of a gate times another input."""
    fixed = bound.parameters, bound.constants, bound.noise, bound.plain_only, bound.weights
    return shared(BoundFormula(GatedFormula(bound.function), *fixed, (UP,)))


def _gated(bound: BoundFormula) -> BoundFormula:
    """The same, of which is kept what is kept of the gate's formula."""
    return keeping(gated(bound), bound.memory)


def evaluate(called: Called, inputs: Sequence[Tensor], packed: int) -> Tensor:
    """The gate that is called so, times the other input."""
    bound, tensors, channel_dim = called
    if not is_compiling():
        return dispatch.evaluate_several(Several(_gated(bound), inputs, packed, tensors, channel_dim))
    if dispatch.may_compile(inputs[0]):
        key: str = _key(bound, inputs[0].device.type, choice.program.name)
        if key:
            return operators.evaluate_several(key, inputs, packed, tensors, channel_dim, bool(bound.noise))
    x, up = apart(inputs, packed)
    return dispatch.evaluate(bound, x, tensors, channel_dim) * up


def _key(bound: BoundFormula, device: str, within: Any) -> str:
    """Asked once, when the program is compiled."""
    return dispatch.kernel_key(_gated(bound), device, within)


# What torch.compiler.assume_constant_result does; calling it would import torch._dynamo with every limen.
_key._dynamo_marked_constant = True  # type: ignore[attr-defined]


class GLU(nn.Module):
    """A gated linear unit, activation(gate)·up, computed in one pass over both.

    Shazeer 2020, arXiv 2002.05202. The gate may be any activation that keeps its input's shape, yours included. Kept
    for the backward pass: the gate's input, ``up``, the activation's parameters, and nothing else.

    Args:
        activation: a spec, such as ``"asau:beta=2"``; a class; or a module, which is then used itself. A module that is
            none of limen's is called, and its result multiplied, but for torch's ReLU, GELU, SiLU and Mish. By name
            also ``swiglu``, ``geglu``, ``reglu``, and any activation's name with ``_glu`` behind it.
        packed: whether one tensor holds both, as two halves of its last axis, as a fused projection gives them. They
            are read where they lie, and their gradient is written into one tensor.
        gate_first: whether the first half is the gate; used where ``packed``.
        **named: further arguments of the activation, such as ``num_parameters`` or ``memory``, where a spec or a class
            is given. With ``memory="recompute"`` what the next layer would keep of the product is made again.

    Shape: gate and up: any, the same for both; or one tensor (…, 2n). Output: the gate's, or (…, n). Types: as every
    activation; gate and up of different types are both taken in the type that torch's promotion gives.

    Raises:
        SpecError: when made, for an activation that does not exist or changes the shape of its input.
        ShapeError: when called, for tensors of different shapes, or a last axis that has no two halves.
        DtypeError: when called, for inputs of another type.

    >>> import torch, limen
    >>> gate, up = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 0.5])
    >>> limen.GLU("reglu")(gate, up)
    tensor([3., 1.])
    >>> limen.GLU("relu", packed=True)(torch.cat([gate, up]))
    tensor([3., 1.])
    >>> limen.GLU(limen.ASAU, num_parameters=8)
    GLU(
      (activation): ASAU(a=0.01, b=1, alpha=1, beta=1, num_parameters=8)
    )
    """

    def __init__(
        self,
        activation: str | type[nn.Module] | nn.Module,
        *,
        packed: bool = False,
        gate_first: bool = True,
        **named: Any,
    ) -> None:
        super().__init__()
        self.activation = made(activation, "GLU", named)
        self.packed = bool(packed)
        self.gate_first = bool(gate_first)

    def forward(self, gate: Tensor, up: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """The activation of the gate times ``up``; where ``packed``, of one tensor (…, 2n), which gives (…, n).

        Args:
            gate: any shape, float64, float32, bfloat16 or float16; or both where ``packed``.
            up: the same shape; not given where ``packed``.
            mask: which positions count, as every activation takes it; the output is 0 elsewhere. Then the activation is
                computed by itself.

        >>> import torch, limen
        >>> limen.GLU("silu").forward(torch.zeros(2, 3), torch.ones(2, 3)).shape
        torch.Size([2, 3])
        """
        given: Any = gate
        if type(given) is Proxy:
            return self._as_one_step(given, up, mask)
        inputs, packed = both_of(gate, up, self.packed, self.gate_first)
        called = None if mask is not None or gate.is_nested else one_pass_of(self.activation)
        if called is not None:
            return evaluate(called, inputs, packed)
        x, u = apart(inputs, packed)
        result: Tensor = (self.activation(x) if mask is None else self.activation(x, mask)) * u
        return result

    def _as_one_step(self, gate: Any, up: Any, mask: Any) -> Tensor:
        """What torch.fx sees of it: one step, as of an activation."""
        arguments = tuple(given for given in (gate, up) if given is not None)
        named = {} if mask is None else {"mask": mask}
        step: Tensor = gate.tracer.create_proxy("call_module", gate.tracer.path_of_module(self), arguments, named)
        return step

    def extra_repr(self) -> str:
        """What differs from the defaults.

        >>> import limen
        >>> limen.GLU("silu", packed=True).extra_repr()
        'packed=True'
        """
        parts = ["packed=True"] if self.packed else []
        return ", ".join(parts if self.gate_first else [*parts, "gate_first=False"])


def both_of(gate: Tensor, up: Tensor | None, packed: bool, gate_first: bool = True) -> tuple[tuple[Tensor, ...], int]:
    """The inputs of a kernel, checked and in one type, and how they are given.

    Raises:
        SpecError: for one tensor too many or too few.
        ShapeError: for shapes that do not fit.
    """
    if packed:
        if up is not None:
            raise SpecError("GLU(packed=True) takes one tensor that holds gate and up, and two were given.")
        return (_halved(gate),), FIRST if gate_first else SECOND
    if up is None:
        raise SpecError("GLU takes two tensors, gate and up; for one that holds both make it with packed=True.")
    return paired(gate, up), APART


def _halved(both: Tensor) -> Tensor:
    if not both.is_nested and (both.ndim == 0 or both.shape[-1] % 2):
        raise ShapeError(f"gate and up are the halves of the last axis, and the input has shape {tuple(both.shape)}.")
    return both


def paired(gate: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    """Two tensors of one shape and device, in one type.

    Raises:
        ShapeError: for different shapes.
        LimenError: for different devices.
    """
    if gate.shape != up.shape:
        raise ShapeError(
            f"gate and up have one shape, and theirs are {tuple(gate.shape)} and {tuple(up.shape)}; expand the smaller "
            "one first."
        )
    if gate.device != up.device:
        raise LimenError(f"the gate is on {gate.device} and up on {up.device}; move one to the other.")
    if gate.dtype != up.dtype:
        kind = torch.promote_types(gate.dtype, up.dtype)
        return gate.to(kind), up.to(kind)
    return gate, up
