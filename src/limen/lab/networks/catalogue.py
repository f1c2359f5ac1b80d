"""The built-in networks by name: some names as they stand, and families whose names say their size.

Of each the place is known where its class lies, which is imported when one is asked for: a name can be listed, or be
said to be mistyped, before torch is imported.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from limen.errors import SpecError, suggest

if TYPE_CHECKING:
    from torch import nn

    Factory = Callable[..., nn.Module]
else:
    Factory = Callable

IMAGENET_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""Blocks of each stage of the residual networks for ImageNet, by depth."""
IMAGENET_DEPTHS = "|".join(map(str, IMAGENET_BLOCKS))
CONVNEXTS: Mapping[str, Mapping[str, Any]] = {
    "atto": {"depths": (2, 2, 6, 2), "width": 40},
    "femto": {"depths": (2, 2, 6, 2), "width": 48},
    "pico": {"depths": (2, 2, 6, 2), "width": 64},
    "nano": {"depths": (2, 2, 8, 2), "width": 80},
    "tiny": {"depths": (3, 3, 9, 3), "width": 96},
    "small": {"depths": (3, 3, 27, 3), "width": 96},
    "base": {"depths": (3, 3, 27, 3), "width": 128},
    "large": {"depths": (3, 3, 27, 3), "width": 192},
}
"""Blocks of each stage, and the width of the first, of the published ConvNeXts."""
HERE = "limen.lab.networks"


@dataclass(frozen=True)
class Family:
    """Networks of one kind, whose names hold their size."""

    pattern: str
    """Of the name; each named group that is there is given to the network as a number."""
    network: str
    """Where its class lies, as ``module:name``."""
    fixed: Mapping[str, Any]
    """What is given to it beside the sizes."""
    listed: tuple[str, ...]
    """Names to show a user: those of the papers, and a small one."""
    depths: tuple[int, int] = (0, 1)
    """The depth is the first number more than a multiple of the second."""
    widths: int = 1
    """What divides the width."""
    words: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What the group ``word`` of the pattern stands for."""

    def sizes(self, name: str) -> dict[str, Any] | None:
        """The numbers in a name; None where the name is another family's."""
        found = re.fullmatch(self.pattern, name)
        if found is None:
            return None
        groups = found.groupdict()
        if self.words:
            return dict(self.words[groups["word"]])
        sizes = {key: float(text) if "." in text else int(text) for key, text in groups.items() if text}
        self._check(name, sizes)
        return sizes

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
        width = int(sizes.get("width", self.widths))
        if width % self.widths:
            below = max(self.widths, width - width % self.widths)
            raise SpecError(
                f"the network {name!r} cannot be {width} wide: the width is a multiple of {self.widths}, such as "
                f"{below} or {below + self.widths}."
            )


FAMILIES = (
    Family(r"resnet(?P<depth>20|32|44|56|110)", f"{HERE}.cifar_resnet:CifarResNet", {}, ("resnet20",)),
    Family(
        rf"resnet(?P<depth>{IMAGENET_DEPTHS})(-w(?P<width>\d+))?",
        f"{HERE}.resnet:ResNet",
        {},
        ("resnet18", "resnet18-w16", "resnet50"),
    ),
    Family(r"resnet(?P<depth>164|1001)", f"{HERE}.preactivation:PreActivationResNet", {}, ("resnet164",)),
    Family(r"preresnet-(?P<depth>\d+)", f"{HERE}.preactivation:PreActivationResNet", {}, ("preresnet-29",), (2, 9)),
    Family(
        r"wrn-(?P<depth>\d+)-(?P<factor>\d+)", f"{HERE}.preactivation:WideResNet", {}, ("wrn-28-10", "wrn-16-2"), (4, 6)
    ),
    Family(
        r"densenet-(?P<depth>\d+)-(?P<growth>\d+)",
        f"{HERE}.densenet:DenseNet",
        {"compact": False},
        ("densenet-100-12", "densenet-40-12"),
        (4, 3),
    ),
    Family(
        r"densenet-bc-(?P<depth>\d+)-(?P<growth>\d+)",
        f"{HERE}.densenet:DenseNet",
        {"compact": True},
        ("densenet-bc-100-12",),
        (4, 6),
    ),
    Family(r"mobilenet(-(?P<factor>\d+(\.\d+)?))?", f"{HERE}.mobilenet:MobileNet", {}, ("mobilenet", "mobilenet-0.25")),
    Family(r"googlenet(-(?P<factor>\d+(\.\d+)?))?", f"{HERE}.googlenet:GoogLeNet", {}, ("googlenet", "googlenet-0.25")),
    Family(
        r"vit-(?P<depth>\d+)x(?P<width>\d+)(-p(?P<patch>\d+))?",
        f"{HERE}.vision_transformer:VisionTransformer",
        {},
        ("vit-6x128", "vit-6x128-p4", "vit-12x192"),
        widths=16,
    ),
    Family(
        rf"convnext-(?P<word>{'|'.join(CONVNEXTS)})",
        f"{HERE}.convnext:ConvNeXt",
        {},
        ("convnext-atto", "convnext-tiny"),
        words=CONVNEXTS,
    ),
    Family(
        r"convnext-(?P<depth>\d+)x(?P<width>\d+)", f"{HERE}.convnext:evenly_deep", {}, ("convnext-6x24",), depths=(0, 6)
    ),
)


class Catalogue(Mapping[str, Factory]):
    """Networks by name. It lists the papers' and a few small ones, and finds any size of a family.

    >>> list(NETWORKS)[:2], "wrn-22-4" in NETWORKS, "wrn" in NETWORKS
    (['convnet', 'mlp'], True, False)
    >>> NETWORKS["wrn-23-4"]
    Traceback (most recent call last):
    limen.errors.SpecError: the network 'wrn-23-4' cannot have 23 layers: the number is 6n + 4, such as 22 or 28.
    """

    def __init__(self, named: Mapping[str, str], families: tuple[Family, ...] = ()) -> None:
        self._named, self._families = named, families
        self._listed = [*named, *(name for family in families for name in family.listed)]

    def __contains__(self, name: object) -> bool:
        return name in self._named or any(family.sizes(str(name)) is not None for family in self._families)

    def __getitem__(self, name: str) -> Factory:
        if name in self._named:
            return located(self._named[name])
        for family in self._families:
            sizes = family.sizes(name)
            if sizes is not None:
                return partial(located(family.network), **sizes, **family.fixed)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._listed)

    def __len__(self) -> int:
        return len(self._listed)


def located(place: str) -> Factory:
    """The class at a place.

    >>> located("limen.lab.networks.mlp:MLP").__name__
    'MLP'
    """
    module, _, name = place.partition(":")
    found: Factory = getattr(importlib.import_module(module), name)
    return found


def check_name(name: str, known: Collection[str]) -> None:
    """Raise for a name that is none of the known networks, and no path to another.

    >>> check_name("convnett", NETWORKS)
    Traceback (most recent call last):
    limen.errors.SpecError: no network is called 'convnett'. Did you mean 'convnet'? ...
    """
    if name not in known and ":" not in name:
        raise SpecError(
            f"no network is called {name!r}. {suggest(name, known)} Your own is given as package.module:factory."
        )


NETWORKS = Catalogue({"convnet": f"{HERE}.convnet:ConvNet", "mlp": f"{HERE}.mlp:MLP"}, FAMILIES)
