"""From a network's name to the network: built-in, a library's, or anyone's own."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import nn

from limen.errors import MissingExtraError, SpecError
from limen.lab.networks import libraries
from limen.lab.networks.catalogue import NETWORKS, check_name
from limen.lab.networks.layers import ImageShape


def build(name: str, image_shape: ImageShape, num_classes: int, seed: int) -> nn.Module:
    """Build a network whose weights depend on ``seed`` alone.

    >>> first, second = (build("mlp", (1, 8, 8), 10, seed=3) for _ in range(2))
    >>> all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters()))
    True
    """
    return construct(name, described(image_shape, num_classes), seed)


def construct(
    name: str, offered: Mapping[str, Any], seed: int, known: Mapping[str, Callable[..., nn.Module]] = NETWORKS
) -> nn.Module:
    """Build one of the known networks or anyone's own, from what its factory takes of the arguments offered."""
    factory = find(name, known)
    torch.manual_seed(seed)
    arguments = _wanted(factory, offered)
    try:
        network = factory(**arguments)
    except MissingExtraError:
        raise  # it says what to install
    except Exception as error:  # anything may happen in code that is not ours
        raise SpecError(f"the network factory {name!r} failed ({_in_short(error)}); --debug shows where.") from error
    if not isinstance(network, nn.Module):
        raise SpecError(f"the network factory {name!r} returned {type(network).__name__}, not a torch.nn.Module.")
    return network


def find(name: str, known: Mapping[str, Callable[..., nn.Module]] = NETWORKS) -> Callable[..., nn.Module]:
    """The factory of a built-in name or of ``package.module:factory``.

    >>> find("convnett")
    Traceback (most recent call last):
    limen.errors.SpecError: no network is called 'convnett'. Did you mean 'convnet'? ...
    """
    if name in known:
        return known[name]
    check_name(name, known)
    module_name, _, attribute = name.partition(":")
    if module_name in libraries.FACTORIES:
        return libraries.FACTORIES[module_name](attribute)
    return _imported(name, module_name, attribute)


def _imported(name: str, module_name: str, attribute: str) -> Callable[..., nn.Module]:
    """Import a factory, from the working directory too, as ``python -m`` would."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        factory: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            factory = getattr(factory, part)
    except Exception as error:  # anything may happen in code that is not ours
        raise SpecError(f"the network {name!r} cannot be imported ({_in_short(error)}).") from error
    if not callable(factory):
        raise SpecError(f"the network {name!r} is {type(factory).__name__}, which cannot be called to build one.")
    return cast("Callable[..., nn.Module]", factory)


def _in_short(error: Exception) -> str:
    """The kind of error and the first line of what it says."""
    return f"{type(error).__name__}: {error}".partition("\n")[0].rstrip(".")


def described(image_shape: ImageShape, num_classes: int) -> dict[str, Any]:
    """Images and classes by the names under which factories take them."""
    channels, height, width = image_shape
    return {
        "image_shape": image_shape,
        "in_channels": channels,
        "in_chans": channels,
        "image_size": (height, width),
        "num_classes": num_classes,
        "n_classes": num_classes,
    }


def _wanted(factory: Callable[..., Any], offered: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that a factory takes, of those that describe the data."""
    parameters = inspect.signature(factory).parameters.values()
    required = [
        p.name for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    unknown = [name for name in required if name not in offered]
    if unknown:
        raise SpecError(
            f"the network factory needs {', '.join(unknown)}; it may only need {', '.join(offered)}, so wrap it in a "
            "function that fills in the rest."
        )
    return {p.name: offered[p.name] for p in parameters if p.name in offered}
