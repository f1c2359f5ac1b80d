"""The built-in networks by name: some names as they stand, and families whose names say their size."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from limen.errors import SpecError
from limen.lab.networks.cifar_resnet import CifarResNet
from limen.lab.networks.convnet import ConvNet
from limen.lab.networks.densenet import DenseNet
from limen.lab.networks.googlenet import GoogLeNet
from limen.lab.networks.mlp import MLP
from limen.lab.networks.mobilenet import MobileNet
from limen.lab.networks.preactivation import PreActivationResNet, WideResNet
from limen.lab.networks.resnet import BLOCKS, ResNet

Factory = Callable[..., nn.Module]
IMAGENET_DEPTHS = "|".join(map(str, BLOCKS))


@dataclass(frozen=True)
class Family:
    """Networks of one kind, whose names hold their size."""

    pattern: str
    """Of the name; each named group that is there is given to the network as a number."""
    network: Factory
    fixed: Mapping[str, Any]
    """What is given to it beside the sizes."""
    listed: tuple[str, ...]
    """Names to show a user: those of the papers, and a small one."""
    depths: tuple[int, int] = (0, 1)
    """The depth is the first number more than a multiple of the second."""

    def factory(self, name: str) -> Factory | None:
        """The network of a name; None where the name is another family's."""
        found = re.fullmatch(self.pattern, name)
        if found is None:
            return None
        sizes = {key: float(text) if "." in text else int(text) for key, text in found.groupdict().items() if text}
        self._check(name, sizes)
        return partial(self.network, **sizes, **self.fixed)

    def _check(self, name: str, sizes: Mapping[str, float]) -> None:
        nothing = [key for key, size in sizes.items() if not size > 0]
        if nothing:
            raise SpecError(f"the network {name!r} has the {nothing[0]} 0; give more, as in {self.listed[0]}.")
        first, every = self.depths
        depth = int(sizes.get("depth", first + every))
        if depth <= first or (depth - first) % every:
            below = first + every * max(1, (depth - first) // every)
            raise SpecError(
                f"the network {name!r} cannot have {depth} layers: the number is {every}n + {first}, such as {below} "
                f"or {below + every}."
            )


FAMILIES = (
    Family(r"resnet(?P<depth>20|32|44|56|110)", CifarResNet, {}, ("resnet20",)),
    Family(
        rf"resnet(?P<depth>{IMAGENET_DEPTHS})(-w(?P<width>\d+))?", ResNet, {}, ("resnet18", "resnet18-w16", "resnet50")
    ),
    Family(r"resnet(?P<depth>164|1001)", PreActivationResNet, {}, ("resnet164",)),
    Family(r"preresnet-(?P<depth>\d+)", PreActivationResNet, {}, ("preresnet-29",), (2, 9)),
    Family(r"wrn-(?P<depth>\d+)-(?P<factor>\d+)", WideResNet, {}, ("wrn-28-10", "wrn-16-2"), (4, 6)),
    Family(
        r"densenet-(?P<depth>\d+)-(?P<growth>\d+)",
        DenseNet,
        {"compact": False},
        ("densenet-100-12", "densenet-40-12"),
        (4, 3),
    ),
    Family(
        r"densenet-bc-(?P<depth>\d+)-(?P<growth>\d+)",
        DenseNet,
        {"compact": True},
        ("densenet-bc-100-12",),
        (4, 6),
    ),
    Family(r"mobilenet(-(?P<factor>\d+(\.\d+)?))?", MobileNet, {}, ("mobilenet", "mobilenet-0.25")),
    Family(r"googlenet(-(?P<factor>\d+(\.\d+)?))?", GoogLeNet, {}, ("googlenet", "googlenet-0.25")),
)


class Catalogue(Mapping[str, Factory]):
    """Networks by name. It lists the papers' and a few small ones, and finds any size of a family.

    >>> list(NETWORKS)[:2], "wrn-22-4" in NETWORKS, "wrn" in NETWORKS
    (['convnet', 'mlp'], True, False)
    >>> NETWORKS["wrn-23-4"]
    Traceback (most recent call last):
    limen.errors.SpecError: the network 'wrn-23-4' cannot have 23 layers: the number is 6n + 4, such as 22 or 28.
    """

    def __init__(self, named: Mapping[str, Factory], families: tuple[Family, ...]) -> None:
        self._named, self._families = named, families
        self._listed = [*named, *(name for family in families for name in family.listed)]

    def __getitem__(self, name: str) -> Factory:
        if name in self._named:
            return self._named[name]
        for family in self._families:
            if made := family.factory(name):
                return made
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._listed)

    def __len__(self) -> int:
        return len(self._listed)


NETWORKS = Catalogue({"convnet": ConvNet, "mlp": MLP}, FAMILIES)
