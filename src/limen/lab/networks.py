"""The networks of the lab, built with ReLU; the study swaps the activation in afterwards.

A network is a built-in name or ``package.module:factory``. A factory is called with those of ``image_shape``,
``in_channels``, ``in_chans``, ``image_size``, ``num_classes`` and ``n_classes`` that it takes by name.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from limen.errors import SpecError, suggest

ImageShape = tuple[int, int, int]
"""Channels, height, width."""


class ConvNet(nn.Module):
    """The network of the AdAct paper: four convolutions with batch normalisation and 2×2 pooling, one linear layer.

    Maiti 2024, appendix A.1. Its table of widths is missing from the text; 32, 64, 128, 256 channels with 3×3 kernels
    and the activation between normalisation and pooling are ours. Images too small for four poolings are pooled less.
    """

    WIDTHS = (32, 64, 128, 256)

    def __init__(self, image_shape: ImageShape, num_classes: int) -> None:
        super().__init__()
        channels, height, width = image_shape
        layers: list[nn.Module] = []
        for out_channels in self.WIDTHS:
            convolution = nn.Conv2d(channels, out_channels, 3, padding=1, bias=False)
            nn.init.kaiming_uniform_(convolution.weight, nonlinearity="relu")
            layers.append(_ConvBlock(convolution, pool=min(height, width) >= 2))
            channels = out_channels
            if min(height, width) >= 2:
                height, width = height // 2, width // 2
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels * height * width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (N, classes)."""
        return self.classifier(self.features(images).flatten(1))


class _ConvBlock(nn.Module):
    def __init__(self, convolution: nn.Conv2d, pool: bool) -> None:
        super().__init__()
        self.convolution = convolution
        self.normalisation = nn.BatchNorm2d(convolution.out_channels)
        self.activation = nn.ReLU()
        self.pooling = nn.MaxPool2d(2) if pool else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.pooling(self.activation(self.normalisation(self.convolution(x))))


class MLP(nn.Module):
    """Two hidden layers of 256 units."""

    WIDTH = 256

    def __init__(self, image_shape: ImageShape, num_classes: int) -> None:
        super().__init__()
        channels, height, width = image_shape
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels * height * width, self.WIDTH),
            nn.ReLU(),
            nn.Linear(self.WIDTH, self.WIDTH),
            nn.ReLU(),
            nn.Linear(self.WIDTH, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (N, classes)."""
        return self.layers(images)


class ResNet20(nn.Module):
    """The CIFAR residual network of 20 layers with parameter-free shortcuts. He et al. 2016, arXiv 1512.03385, §4.2."""

    BLOCKS_A_STAGE = 3
    WIDTHS = (16, 32, 64)

    def __init__(self, image_shape: ImageShape, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(_conv3x3(image_shape[0], 16, 1), nn.BatchNorm2d(16), nn.ReLU())
        blocks: list[nn.Module] = []
        channels = 16
        for width in self.WIDTHS:
            for index in range(self.BLOCKS_A_STAGE):
                blocks.append(_ResidualBlock(channels, width, 2 if index == 0 and width != 16 else 1))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (N, classes)."""
        return self.classifier(self.blocks(self.stem(images)).mean((2, 3)))


class _ResidualBlock(nn.Module):
    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.norm1, self.act1 = _conv3x3(channels, width, stride), nn.BatchNorm2d(width), nn.ReLU()
        self.conv2, self.norm2, self.act2 = _conv3x3(width, width, 1), nn.BatchNorm2d(width), nn.ReLU()
        self.stride, self.new_channels = stride, width - channels

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm2(self.conv2(self.act1(self.norm1(self.conv1(x)))))
        return self.act2(out + self._shortcut(x))

    def _shortcut(self, x: Tensor) -> Tensor:
        """Option A of the paper: subsample, and pad the new channels with zeros."""
        x = x[:, :, :: self.stride, :: self.stride]
        return nn.functional.pad(x, (0, 0, 0, 0, 0, self.new_channels)) if self.new_channels else x


def _conv3x3(channels: int, width: int, stride: int) -> nn.Conv2d:
    convolution = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution


NETWORKS: dict[str, Callable[[ImageShape, int], nn.Module]] = {"convnet": ConvNet, "mlp": MLP, "resnet20": ResNet20}


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
    module_name, colon, attribute = name.partition(":")
    if not colon:
        raise SpecError(
            f"no network is called {name!r}. {suggest(name, known)} Your own is given as package.module:factory."
        )
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
