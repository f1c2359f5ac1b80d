"""Building kernels before they are needed, for where there is no compiler: by calling activations once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from limen.activations.base import Activation
from limen.errors import LimenError
from limen.kernels.c import build
from limen.kernels.c.build import Loaded
from limen.kernels.dispatch import use_backend, why_no_kernel

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""The element types that kernels take."""
CHANNELS = 4


class Call(NamedTuple):
    """An activation, and an input that stands for those it is called with: kernels do not depend on sizes."""

    activation: Activation
    like: Tensor


def calls_of(activation: Activation) -> Iterator[Call]:
    """The calls by which an activation meets memory in every way: images in both layouts, and rows of features."""
    channels = activation.num_parameters * activation.group_size
    images = torch.empty(2, CHANNELS if channels == 1 else channels, 3, 3)
    for like in (images, images.to(memory_format=torch.channels_last), images[..., 0, 0].contiguous()):
        yield Call(activation, like)


def calls_in(model: nn.Module, example: Tensor) -> list[Call]:
    """The calls that a model makes of its activations for an input, in both layouts of images."""
    found: list[Call] = []

    def note(module: nn.Module, given: tuple[Tensor, ...], _: Tensor) -> None:
        if isinstance(module, Activation):
            found.append(Call(module, torch.empty_like(given[0], device="cpu")))

    handles = [module.register_forward_hook(note) for module in model.modules() if isinstance(module, Activation)]
    layouts = (example, example.to(memory_format=torch.channels_last)) if example.ndim == 4 else (example,)
    try:
        with torch.no_grad(), use_backend("plain"):
            for like in layouts:
                model(like)
    finally:
        for handle in handles:
            handle.remove()
    return found


def warm(calls: Iterable[Call], dtypes: Sequence[str] = tuple(DTYPES)) -> tuple[list[Loaded], dict[str, str]]:
    """Build what the calls need, forward and backward, in training and evaluation, and keep it in the cache.

    Args:
        calls: of any activations.
        dtypes: the element types of their inputs.

    Returns:
        What was loaded, with the time that it took and whether it had to be compiled; and the activations that have no
        kernel, with the reason.

    Raises:
        LimenError: where nothing can be compiled, or what is compiled would not be kept.
    """
    try:
        gone = build.find_compiler().gone
    except build.NoCompilerError as error:
        gone = str(error)
    if gone or build.cache_trouble():
        raise LimenError(gone or build.cache_trouble())
    before, without = len(build.journal()), {}
    for activation, like in calls:
        reason = why_no_kernel(activation.bind(training=False))
        if reason:
            without[type(activation).__name__] = reason
            continue
        for dtype in dtypes:
            _call(activation, torch.zeros_like(like, dtype=DTYPES[dtype]))
    return list(build.journal()[before:]), without


def _call(activation: Activation, x: Tensor) -> None:
    training = activation.training
    learned = [parameter for parameter in activation.parameters() if parameter.requires_grad]
    with use_backend("c"):
        for mode in (False, True):
            activation.train(mode)
            with torch.no_grad():
                activation(x)
            given = x.clone().requires_grad_()
            torch.autograd.grad(activation(given).sum(), [given, *learned], allow_unused=True)
    activation.train(training)
