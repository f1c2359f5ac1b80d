"""What is to stand at the sites: a spec, a class, an object to copy, or a function that makes one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from limen.activations.base import Activation
from limen.activations.registry import create
from limen.activations.registry import find as find_class
from limen.errors import SpecError
from limen.naming import parse
from limen.surgery.flow import Channels

Target = str | type[nn.Module] | nn.Module | Callable[..., nn.Module]
"""What :func:`swap_` puts at the sites."""

Maker = Callable[[Channels | None], nn.Module]


def maker(to: Target) -> Maker:
    """A function that makes one new activation, for so many channels if asked.

    Raises:
        SpecError: for an unknown activation, one that changes the shape of its input, or what makes no module.
    """
    if isinstance(to, str):
        if not find_class(parse(to)[0]).keeps_shape:
            raise _wrong_shape(to)
        create(to)  # an error in the spec is raised before anything is replaced
        return _of_spec(to)
    if isinstance(to, nn.Module):
        _check(to, to)
        return lambda channels: _copied(to, channels)
    if not callable(to):
        raise SpecError(
            f"swap_ needs a spec such as 'asau', a class, a module to copy, or a function that makes a module, and "
            f"{to!r} was given."
        )
    make: Any = to
    return lambda channels: _made(make, channels)


def leaves_context_open(to: Target) -> bool:
    """Whether the target leaves it to surgery over what statistics are taken: a spec, a class, one with arguments."""
    if isinstance(to, partial):
        given = (*to.args, *to.keywords.values())  # a mixture's candidates may name one
        named = "context" in to.keywords or any("context=" in str(argument) for argument in given)
        return leaves_context_open(to.func) and not named
    return "context=" not in to if isinstance(to, str) else isinstance(to, type) and issubclass(to, Activation)


def _of_spec(spec: str) -> Maker:
    """Makes one activation for each number of channels; the others of that number are its twins."""
    first: dict[Channels | None, Activation] = {}

    def make(channels: Channels | None) -> nn.Module:
        if channels not in first:
            first[channels] = create(spec, **_sharing(channels))
        made = first[channels]
        plain = not made._modules and type(made).reset_parameters is Activation.reset_parameters
        return _twin(made) if plain else create(spec, **_sharing(channels))

    return make


def _twin(activation: Activation) -> Activation:
    """Another activation like one that was just made; of 1000, constructing each took half of a swap's time."""
    new: Activation = object.__new__(type(activation))
    held = vars(activation).items()
    vars(new).update({name: value.copy() if isinstance(value, (dict, set)) else value for name, value in held})
    for name, parameter in activation._parameters.items():
        if parameter is not None:
            new._parameters[name] = nn.Parameter(parameter.detach().clone(), parameter.requires_grad)
    for name, buffer in activation._buffers.items():
        new._buffers[name] = buffer if buffer is None else buffer.clone()
    return new


def _sharing(channels: Channels | None) -> dict[str, int]:
    return {} if channels is None else {"num_parameters": channels.count, "channel_dim": channels.dim}


def _copied(to: nn.Module, channels: Channels | None) -> nn.Module:
    if channels is not None:
        raise SpecError(
            f"num_parameters was given, and {to!r} is a finished module; give a spec, a class or a function instead."
        )
    return copy.deepcopy(to)


def _made(make: Callable[..., Any], channels: Channels | None) -> nn.Module:
    """A module from the user's function, or what is wrong with it."""
    takes = "with num_parameters= and channel_dim=" if channels else "without arguments"
    try:
        new: Any = make(**_sharing(channels))
    except TypeError as error:
        raise SpecError(f"the function given to swap_ must make a module {takes}: {error}.") from error
    if not isinstance(new, nn.Module):
        raise SpecError(f"the function given to swap_ must make a module, and it made {type(new).__name__}.")
    _check(new, make)
    return new


def _check(module: nn.Module, given: Any) -> None:
    if isinstance(module, Activation) and not module.keeps_shape:
        raise _wrong_shape(given)


def _wrong_shape(given: Any) -> SpecError:
    return SpecError(f"{given!r} changes the shape of its input, so it cannot take another activation's place.")
