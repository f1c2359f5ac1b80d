"""Weights drawn so that every layer's output has variance 1, whatever activation stands before it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from limen.activations.base import Activation
from limen.activations.registry import create
from limen.errors import LimenError, SampleError, SpecError
from limen.quadrature import WIDE, normal_mean, normal_quantiles
from limen.training import NORMALISING
from limen.warmstart import batch_norms, call

__all__ = ["gain", "init_"]

Convolution = nn.modules.conv._ConvNd
TransposedConvolution = nn.modules.conv._ConvTransposeNd
WEIGHTED = (nn.Linear, Convolution)
NO_ACTIVATION = (nn.MultiheadAttention, nn.Softmax, nn.Softmax2d, nn.LogSoftmax, nn.Softmin, nn.GLU)
"""What torch keeps in its file of activations that is no function of one number."""


def gain(activation: nn.Module | str | Callable[[Tensor], Tensor]) -> float:
    """1/√E[f(z)²] for z ~ N(0, 1): the factor for weights that read the activation's output, to keep variance 1.

    The expectation is a quadrature in float64, good to 1e-10, with the parameters as they are, learned ones included;
    in evaluation mode, so RReLU counts with its mean slope. One parameter a channel: E is the mean over the channels. A
    function of its sample's statistics (ASH) is taken over one sample of 65,536 normal quantiles; good to 4 digits.

    It agrees with ``torch.nn.init.calculate_gain`` for ``linear``, ``relu`` and ``leaky_relu``, which are exact there.
    The other rows of torch's table are not expectations: tanh has 5/3, and the expectation gives 1.5925; SELU has 3/4,
    chosen for stable training, and 1 is returned, since it keeps variance 1 by itself; sigmoid has 1 (1.8463).

    Args:
        activation: a module, a spec such as ``"asau:beta=2"``, or a function on float64 tensors of any shape.

    Raises:
        SpecError: for a spec that names nothing, and for what changes the shape of its input, is 0 throughout, or has
            no finite second moment.

    >>> round(gain("relu"), 6), round(gain(torch.tanh), 4), round(gain("selu"), 6)
    (1.414214, 1.5925, 1.0)
    """
    with torch.device("cpu"):  # a default device set elsewhere would take part
        moment = _second_moment(create(activation) if isinstance(activation, str) else activation)
    if not (0 < moment < math.inf):
        raise SpecError(f"{activation!r} has the second moment {moment:.4g} on normal input, so there is no gain.")
    return 1 / math.sqrt(moment)


def _second_moment(function: nn.Module | Callable[[Tensor], Tensor]) -> float:
    if isinstance(function, Activation) and not function.keeps_shape:
        raise SpecError(f"{function!r} changes the shape of its input, so it has no gain.")
    if isinstance(function, NO_ACTIVATION):
        raise SpecError(f"{function!r} is no function of one number, so it has no gain.")
    if isinstance(function, nn.Module):
        function = copy.deepcopy(function).to(device="cpu", dtype=torch.float64).eval()
    if isinstance(function, Activation) and not function.elementwise:
        return float(_applied(function, _wide_sample(function)).square().mean())
    return normal_mean(lambda x: _by_channel(function, x).square())


def _by_channel(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The function on (n,) values, as the root mean square over its channels."""
    channels = getattr(function, "num_parameters", 1) if isinstance(function, (Activation, nn.PReLU)) else 1
    axis = getattr(function, "channel_dim", 1) if channels > 1 else 1
    ndim = max(2, axis + 1, -axis)
    shape, repeats = [1] * ndim, [1] * ndim
    values_axis = 0 if axis % ndim else ndim - 1
    shape[values_axis], repeats[axis] = len(x), channels
    values = _applied(function, x.reshape(shape).repeat(repeats))
    return values.square().movedim(values_axis, 0).reshape(len(x), -1).mean(1).sqrt()


def _wide_sample(activation: Activation) -> Tensor:
    """One sample of normal quantiles in a shape that has values along the axes of every kind of statistics."""
    channels, axis = activation.num_parameters, activation.channel_dim
    ndim = max(3, axis + 1, -axis)
    along_last = axis % ndim != ndim - 1 or (channels == 1 and getattr(activation, "context", "") != "channel")
    shape = [1] * ndim
    if along_last:
        shape[-1] = WIDE
        shape[axis] = channels if channels > 1 else shape[axis]
    else:
        shape[-1], shape[-2] = channels, WIDE
    # Each channel in an order of its own: a token of equal values would have no deviation.
    generator = torch.Generator().manual_seed(0)
    columns = [normal_quantiles()[torch.randperm(WIDE, generator=generator)] for _ in range(channels)]
    stacked = torch.stack(columns, dim=-1)
    return (stacked if not along_last else stacked.T).reshape(shape)


def _applied(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    with torch.no_grad():
        values = function(x)
    if values.shape != x.shape:
        raise SpecError(f"{function!r} changes the shape of its input, so it has no gain.")
    return values


def init_(model: nn.Module, example: Any = None, *, generator: torch.Generator | None = None) -> dict[str, float]:
    """Draw the weights of every linear layer and convolution so that its output has variance 1; return their gains.

    Weights come from N(0, gain²/fan_in), biases are 0. The gain answers for what the layer *reads*: y = W·f(x) has the
    variance fan_in·Var(W)·E[f²] (He et al. 2015, arXiv 1502.01852, eq. 7-10). In a stack of one homogeneous function
    that is the common rule of the activation that *follows*, but for the first and the last layer; for other functions
    only this one keeps the variance for which the gain was computed.

    - Without ``example`` the order of registration is taken for the order of computation: a layer reads the last
      activation before it, with the gain of :func:`gain`; directly after another layer, a normalisation or nothing, its
      gain is 1.
    - With ``example`` the model is run once on it, and each layer's weights are drawn when its input arrives, with
      gain 1/√mean(input²): right for residual sums, pooling, concatenation and functions called in ``forward``
      (as LSUV, Mishkin & Matas 2016, arXiv 1511.06422, in one pass). Layers that are not called stay as they are.

    Frozen weights (``requires_grad=False``) stay, and so do activations, normalisations and embeddings. Mode and
    running statistics are kept; a weight shared by several layers is drawn once.

    Args:
        model: any module.
        example: one batch, as :func:`limen.reestimate_batch_norm_` takes them.
        generator: random generator for the weights; torch's own if not given.

    Returns:
        The gain of every layer drawn, by its path.

    Raises:
        SampleError: if a layer's input is 0 throughout or not finite, so that no weights give it variance 1.
        LimenError: for what is no ``nn.Module``; for a lazy layer, which has no shape yet: run the model once before;
            for a layer whose weight is computed from others and cannot be assigned, as under a spectral norm:
            ``parametrizations.weight_norm`` can.

    >>> import limen
    >>> model = nn.Sequential(nn.Linear(8, 8), limen.ReLU(), nn.Linear(8, 8))
    >>> {path: round(gain, 4) for path, gain in init_(model).items()}
    {'0': 1.0, '2': 1.4142}
    """
    if not isinstance(model, nn.Module):
        raise LimenError(f"init_ draws the weights of an nn.Module, and {model!r} was given.")
    lazy = [path for path, module in model.named_modules() if isinstance(module, nn.modules.lazy.LazyModuleMixin)]
    if lazy:
        raise LimenError(f"the layer {lazy[0]!r} is lazy and has no shape yet; run the model once on a batch before.")
    _check_drawable(model)
    if example is None:
        gains = _gains_by_order(model)
        for path, value in gains.items():
            _draw(model.get_submodule(path), value, generator)
        return gains
    return _init_on(model, example, generator)


def _gains_by_order(model: nn.Module) -> dict[str, float]:
    found: dict[str, float] = {}
    drawn: set[int] = set()
    reads = 1.0
    for path, module in _steps(model):
        if isinstance(module, WEIGHTED):
            if _takes_part(module, drawn):
                found[path] = reads
            reads = 1.0
        elif isinstance(module, NORMALISING):
            reads = 1.0
        elif _is_activation(module):
            reads = gain(module)
    return found


def _init_on(model: nn.Module, example: Any, generator: torch.Generator | None) -> dict[str, float]:
    found: dict[str, float] = {}
    drawn: set[int] = set()
    paths: dict[nn.Module, str] = {
        module: path for path, module in model.named_modules() if isinstance(module, WEIGHTED)
    }

    def draw(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        if not _takes_part(module, drawn):
            return
        moment = float(arguments[0].detach().double().square().mean())
        if not (0 < moment < math.inf):
            raise SampleError(
                f"the input of layer {paths[module]!r} has the mean square {moment:.4g} on the example, so no weights "
                "give its output variance 1; give an example as the model will see it."
            )
        found[paths[module]] = 1 / math.sqrt(moment)
        _draw(module, found[paths[module]], generator)

    handles = [module.register_forward_pre_hook(draw) for module in paths]
    try:
        with batch_norms(model, keep=True), torch.no_grad():
            call(model, example)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _steps(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Modules in the order of registration, without what lies inside an activation."""
    inside: tuple[str, ...] = ()
    for path, module in model.named_modules(remove_duplicate=False):
        if inside and path.startswith(inside):
            continue
        if _is_activation(module):
            inside = (f"{path}.",)
        yield path, module


def _is_activation(module: nn.Module) -> bool:
    of_torch = type(module).__module__ == nn.ReLU.__module__ and not isinstance(module, NO_ACTIVATION)
    return of_torch or isinstance(module, Activation)


def _takes_part(module: nn.Module, drawn: set[int]) -> bool:
    """Whether its weight is trained and is met for the first time; notes it."""
    sources = _sources(module)
    first = not any(id(source) in drawn for source in sources)
    drawn.update(map(id, sources))
    return first and any(source.requires_grad for source in sources)


def _sources(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that the weight is, or is computed from."""
    own = module._parameters.get("weight")
    if own is not None:
        return [own]
    if is_parametrized(module, "weight"):
        lists: Any = module.parametrizations
        return list(lists["weight"].parameters())
    return [parameter for name, parameter in module._parameters.items() if name != "bias" and parameter is not None]


def _check_drawable(model: nn.Module) -> None:
    """Refuse, before anything is drawn, a trained layer whose weight would not be what was drawn."""
    for path, module in model.named_modules():
        if not isinstance(module, WEIGHTED) or module._parameters.get("weight") is not None:
            continue
        if any(source.requires_grad for source in _sources(module)) and not _can_be_assigned(module):
            raise LimenError(
                f"the weight of layer {path!r} is computed from other parameters and cannot be set to what is drawn; "
                "call init_ before it is normalised or pruned, freeze it, or use "
                "torch.nn.utils.parametrizations.weight_norm."
            )


@torch.no_grad()
def _can_be_assigned(module: nn.Module) -> bool:
    """Whether a parametrised weight becomes what it is set to, tried out with twice its value."""
    if not is_parametrized(module, "weight"):
        return False
    lists: Any = module.parametrizations
    before = {name: value.clone() for name, value in lists["weight"].state_dict().items()}
    weighted: Any = module
    wanted = 2 * weighted.weight
    try:
        weighted.weight = wanted
        return torch.allclose(weighted.weight, wanted, rtol=1e-2, atol=1e-6)
    except (RuntimeError, ValueError, NotImplementedError):  # what a parametrisation says that has no inverse there
        return False
    finally:
        lists["weight"].load_state_dict(before)


@torch.no_grad()
def _draw(module: nn.Module, value: float, generator: torch.Generator | None) -> None:
    weight: Any = module.weight
    deviation = value / math.sqrt(_fan_in(module, weight))
    if is_parametrized(module, "weight"):
        module.weight = torch.empty_like(weight).normal_(0.0, deviation, generator=generator)
    else:
        weight.normal_(0.0, deviation, generator=generator)
    if isinstance(module.bias, Tensor) and module.bias.requires_grad:
        module.bias.zero_()


def _fan_in(module: nn.Module, weight: Tensor) -> float:
    """How many inputs one output sums up."""
    if isinstance(module, TransposedConvolution):
        # Its kernel is spread over stride^d outputs, and its weight has the input channels first.
        return weight.shape[0] / module.groups * math.prod(module.kernel_size) / math.prod(module.stride)
    return weight[0].numel()
