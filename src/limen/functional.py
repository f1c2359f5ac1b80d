"""One function beside every activation module, with the same names in the same order.

``limen.functional.asau(x, a, b, alpha, beta)`` is ``limen.ASAU`` without state: parameters are numbers, tensors of
one value, or tensors of one value a channel. The functions are derived from the registered classes, yours included.

>>> import torch, limen
>>> limen.functional.swish(torch.tensor([1.0]), beta=0.0)
tensor([0.5000])
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, as_tensor

from limen.activations.base import Activation
from limen.activations.documenting import documented_function
from limen.activations.fields import Noise, Param, bind
from limen.activations.mixture import PAPER_CANDIDATES, AdAct
from limen.activations.registry import find, name_of, names
from limen.beside.added import alike, biased, summed_up
from limen.beside.glu import both_of, evaluate
from limen.errors import ShapeError, SpecError
from limen.kernels import dispatch
from limen.kernels.bound import BoundFormula, shared
from limen.kernels.plain import check_channels
from limen.kernels.precision import working_dtype
from limen.kernels.several import apart


def adact(
    x: Tensor,
    logits: Tensor,
    *parameters: float | Tensor,
    candidates: Iterable[str] = PAPER_CANDIDATES,
    channel_dim: int = 1,
    training: bool = False,
) -> Tensor:
    """Σ softmax(logits)ᵢ·fᵢ(x), as :class:`limen.AdAct`.

    Args:
        x: any shape, float64, float32, bfloat16 or float16.
        logits: floating, (K,), or (C, K) for one mixture a channel, K being the number of candidates.
        *parameters: the candidates' own parameters in order, such as PReLU's slope: numbers, or tensors of one value or
            of one a channel; those left out start as declared.
        candidates: names or specs.
        channel_dim: the channel axis of ``x``.
        training: draw RReLU's slopes.

    Returns:
        A tensor of the shape and type of ``x``.

    Raises:
        SpecError: for a candidate that does not exist, or a parameter too many or that is neither number nor tensor.
        ShapeError: for logits, parameters or an ``x`` whose shapes do not fit.
        DtypeError: for an ``x`` of another type.

    >>> import torch
    >>> adact(torch.tensor([-1.0, 1.0]), torch.zeros(7), 0.25)
    tensor([-0.2419,  0.9423])
    """
    template = AdAct(candidates)
    if logits.shape[-1:] != (len(template.members),):
        raise ShapeError(
            f"logits of shape {tuple(logits.shape)} do not fit {len(template.members)} candidates; "
            "the last axis has one value for each."
        )
    own = list(template.tensors()[len(template.members) :])
    if len(parameters) > len(own):
        raise SpecError(f"these candidates have {len(own)} parameters of their own, and {len(parameters)} were given.")
    given = [_as_parameter(value, x) for value in parameters]
    initial = [tensor.detach().to(x.device) for tensor in own[len(given) :]]
    weights = [logits] if logits.ndim == 1 else logits.softmax(-1).unbind(-1)
    tensors = [*weights, *given, *initial]
    return dispatch.evaluate(shared(template.bind(training)), x, tensors, channel_dim)


def _as_parameter(value: Any, x: Tensor) -> Tensor:
    if isinstance(value, Tensor):
        if value.ndim > 1:
            raise ShapeError(
                f"a parameter is a number or has one value a channel, and one has shape {tuple(value.shape)}."
            )
        return value
    if not isinstance(value, (int, float)):
        raise SpecError(f"a parameter is a number or a tensor, and {value!r} was given.")
    return as_tensor(value, dtype=working_dtype(x), device=x.device)


@functools.cache
def _derive(cls: type[Activation]) -> Callable[..., Tensor]:
    """The function of an activation class: bind the values, shape them, run the formula."""
    name, signature = name_of(cls), _signature(cls)

    def function(*positional: Any, **named: Any) -> Tensor:
        return dispatch.evaluate(*_call_of(cls, name, signature, positional, named))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = documented_function(cls, name)
    function.__signature__ = signature  # type: ignore[attr-defined]
    return function


def _call_of(
    cls: type[Activation], name: str, signature: inspect.Signature, positional: tuple[Any, ...], named: dict[str, Any]
) -> tuple[BoundFormula, Tensor, list[Tensor], int]:
    """A call of a function as the bound formula, the input, the tensors and the channel axis."""
    try:
        call = signature.bind(*positional, **named)
    except TypeError as error:
        raise SpecError(f"limen.functional.{name}{signature}: {error}.") from None
    call.apply_defaults()
    given = dict(call.arguments)
    x, channel_dim, training = given.pop("x"), given.pop("channel_dim"), given.pop("training", False)
    tensors, values = [], {}
    for key, field in cls.fields.items():
        if isinstance(field, Param):
            tensors.append(_as_parameter(given[key], x))
        else:
            values[key] = field.check(name, key, given[key]) if field.settable else training
    return shared(bind(cls.formula, cls.fields, values, channel_dim, cls.plain_only)), x, tensors, channel_dim


def glu(gate: Tensor, up: Tensor | None = None, activation: str = "silu", **values: Any) -> Tensor:
    """activation(gate)·up in one pass, as :class:`limen.GLU`.

    Args:
        gate: any shape, float64, float32, bfloat16 or float16; where ``up`` is not given, both: the gate is the first
            half of its last axis.
        up: the gate's shape.
        activation: a registered name that keeps its input's shape; of a mixture make a :class:`limen.GLU`.
        **values: what that activation's own function takes beside its input, by name; what is left out is as declared.

    Returns:
        A tensor of the gate's shape, or of half of it, and of the common type.

    Raises:
        SpecError: for an activation or an argument that does not exist, or a value that is not allowed.
        ShapeError: for tensors whose shapes do not fit.
        DtypeError: for inputs of another type.

    >>> import torch
    >>> glu(torch.tensor([-1.0, 2.0]), torch.tensor([3.0, 0.5]), "leaky_relu", negative_slope=0.1)
    tensor([-0.3000,  1.0000])
    """
    cls = find(activation)
    if not cls.keeps_shape or issubclass(cls, AdAct):
        raise SpecError(f"limen.functional.glu does not take {activation!r} as a gate; make a limen.GLU of it.")
    inputs, packed = both_of(gate, up, up is None)
    x = apart(inputs, packed)[0]
    bound, _, tensors, channel_dim = _call_of(cls, activation, _signature(cls), (x,), values)
    return evaluate((bound, tuple(tensors), channel_dim), inputs, packed)


def bias_act(x: Tensor, bias: Tensor, activation: str = "relu", channel_dim: int = 1, **values: Any) -> Tensor:
    """activation(x + bias) in one pass, with a bias for each channel, as :class:`limen.BiasAct`.

    Args:
        x: any shape, float64, float32, bfloat16 or float16.
        bias: one value a channel.
        activation: a registered name that keeps its input's shape; of a mixture make a :class:`limen.BiasAct`.
        channel_dim: the axis of the channels: 1 behind a convolution, -1 behind a linear layer.
        **values: what that activation's own function takes beside its input, by name; what is left out is as declared.

    Returns:
        A tensor of the input's shape and type.

    Raises:
        SpecError: for an activation or an argument that does not exist, or a value that is not allowed.
        ShapeError: for another number of channels.
        DtypeError: for inputs of another type.

    >>> import torch
    >>> bias_act(torch.tensor([[1.0, -1.0]]), torch.tensor([0.5, 0.5]), "relu")
    tensor([[1.5000, 0.0000]])
    """
    bound, x, tensors, own = _beside("bias_act", activation, x, {**values, "channel_dim": channel_dim})
    check_channels(bias.numel(), x, channel_dim)
    return biased((bound, tuple(tensors), own), x, bias, channel_dim)


def residual_act(x: Tensor, other: Tensor, activation: str = "relu", **values: Any) -> Tensor:
    """activation(x + other), in one pass where no gradient is recorded, as :class:`limen.ResidualAct`.

    Args:
        x: any shape, float64, float32, bfloat16 or float16.
        other: the same shape.
        activation: a registered name that keeps its input's shape; of a mixture make a :class:`limen.ResidualAct`.
        **values: what that activation's own function takes beside its input, by name; what is left out is as declared.

    Returns:
        A tensor of that shape and of the common type.

    Raises:
        SpecError: for an activation or an argument that does not exist, or a value that is not allowed.
        ShapeError: for different shapes.
        DtypeError: for inputs of another type.

    >>> import torch
    >>> residual_act(torch.tensor([1.0, -3.0]), torch.tensor([1.0, 1.0]))
    tensor([2., 0.])
    """
    x, other = alike(x, other)
    bound, x, tensors, channel_dim = _beside("residual_act", activation, x, values)
    return summed_up((bound, tuple(tensors), channel_dim), x, other)


def _beside(
    name: str, activation: str, x: Tensor, values: dict[str, Any]
) -> tuple[BoundFormula, Tensor, list[Tensor], int]:
    """What an activation that stands beside something is called with."""
    cls = find(activation)
    if not cls.keeps_shape or issubclass(cls, AdAct):
        raise SpecError(f"limen.functional.{name} does not take {activation!r}; make a module of it.")
    return _call_of(cls, activation, _signature(cls), (x,), values)


def swiglu(gate: Tensor, up: Tensor | None = None) -> Tensor:
    """SiLU(gate)·up in one pass: SwiGLU, as language models have it.

    Args:
        gate: any shape, float64, float32, bfloat16 or float16; where ``up`` is not given, both: the gate is the first
            half of its last axis.
        up: the gate's shape.

    Returns:
        A tensor of the gate's shape, or of half of it, and of the common type.

    Raises:
        ShapeError: for tensors whose shapes do not fit.
        DtypeError: for inputs of another type.

    >>> import torch
    >>> swiglu(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0]))
    tensor([0.0000, 1.4621])
    """
    return glu(gate, up, "silu")


def geglu(gate: Tensor, up: Tensor | None = None, approximate: str = "none") -> Tensor:
    """GELU(gate)·up in one pass: GeGLU.

    Args:
        gate: any shape, float64, float32, bfloat16 or float16; where ``up`` is not given, both: the gate is the first
            half of its last axis.
        up: the gate's shape.
        approximate: ``none`` or ``tanh``, as torch's GELU takes it.

    Returns:
        A tensor of the gate's shape, or of half of it, and of the common type.

    Raises:
        SpecError: for another ``approximate``.
        ShapeError: for tensors whose shapes do not fit.
        DtypeError: for inputs of another type.

    >>> import torch
    >>> geglu(torch.tensor([0.0, 1.0, 1.0, 2.0]))
    tensor([0.0000, 1.6827])
    """
    return glu(gate, up, "gelu", approximate=approximate)


def reglu(gate: Tensor, up: Tensor | None = None) -> Tensor:
    """ReLU(gate)·up in one pass: ReGLU.

    Args:
        gate: any shape, float64, float32, bfloat16 or float16; where ``up`` is not given, both: the gate is the first
            half of its last axis.
        up: the gate's shape.

    Returns:
        A tensor of the gate's shape, or of half of it, and of the common type.

    Raises:
        ShapeError: for tensors whose shapes do not fit.
        DtypeError: for inputs of another type.

    >>> import torch
    >>> reglu(torch.tensor([3.0, 1.0]), torch.tensor([1.0, 2.0]))
    tensor([3., 2.])
    """
    return glu(gate, up, "relu")


_GATED = ("bias_act", "geglu", "glu", "reglu", "residual_act", "swiglu")
"""The functions of two tensors."""


def _signature(cls: type[Activation]) -> inspect.Signature:
    settable = [(key, field) for key, field in cls.fields.items() if field.settable]
    parameters = [inspect.Parameter("x", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Tensor)]
    for key, field in sorted(settable, key=lambda item: item[1].keyword_only):
        kind = inspect.Parameter.KEYWORD_ONLY if field.keyword_only else inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters.append(inspect.Parameter(key, kind, default=field.default))
    parameters.append(inspect.Parameter("channel_dim", inspect.Parameter.KEYWORD_ONLY, default=1))
    if any(isinstance(field, Noise) for field in cls.fields.values()):
        parameters.append(inspect.Parameter("training", inspect.Parameter.KEYWORD_ONLY, default=False))
    return inspect.Signature(parameters)


def __getattr__(name: str) -> Callable[..., Tensor]:
    if name.startswith("_") or name not in names():
        raise AttributeError(f"module 'limen.functional' has no attribute {name!r}")
    return _derive(find(name))  # type: ignore[arg-type]  # classes are hashable; nn.Module's stub hides it


def __dir__() -> list[str]:
    return sorted([*names(), *_GATED])
