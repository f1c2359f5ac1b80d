"""Networks of other libraries, untrained, imported when asked for.

``timm:NAME`` and ``torchvision:NAME`` classify; ``smp:NAME`` or ``smp:NAME:ENCODER`` is a segmentation network of
segmentation_models_pytorch, such as ``smp:DeepLabV3Plus:resnet18``; ``transformers:PATH`` is a causal language model by
its ``config.json``, or by a folder that has one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from limen.errors import SpecError, require, suggest
from limen.lab.networks import region_operators
from limen.lab.networks.full_size import Body

COLOURS = 3
"""Channels that every network of torchvision takes."""
WITH_AUXILIARY = frozenset({"googlenet", "inception_v3"})
"""Networks of torchvision that give more than logits while they are trained, unless told not to."""


class Coloured(nn.Module):
    """Grey images given three times over to a network that takes colours."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """What the network gives."""
        logits: Tensor = self.network(images.expand(-1, COLOURS, -1, -1))
        return logits


class Decoder(nn.Module):
    """A causal language model of Transformers', which gives logits and nothing else."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of the next token, (N, T, vocabulary), from tokens (N, T)."""
        logits: Tensor = self.model(input_ids=tokens, use_cache=False).logits
        return logits


def timm(name: str) -> Callable[..., nn.Module]:
    """A factory of one of timm's networks."""
    library = _library("timm", name)
    if not library.is_model(name):
        raise SpecError(f"timm has no network {name!r}. {_near(name, library.list_models())}")

    def factory(in_chans: int, num_classes: int, image_size: tuple[int, int]) -> nn.Module:
        options: dict[str, Any] = {"in_chans": in_chans, "num_classes": num_classes}
        known = library.get_pretrained_cfg(name)
        if known is not None and known.fixed_input_size:  # as transformers have, whose places are learned
            options["img_size"] = image_size
        made: nn.Module = library.create_model(name, pretrained=False, **options)
        return made

    return factory


def torchvision(name: str) -> Callable[..., nn.Module]:
    """A factory of one of torchvision's classification networks."""
    models: Any = _library("torchvision", name).models
    known = models.list_models(module=models)
    if name not in known:
        raise SpecError(f"torchvision has no classification network {name!r}. {_near(name, known)}")

    def factory(in_channels: int, num_classes: int) -> nn.Module:
        if in_channels not in (1, COLOURS):
            raise SpecError(f"torchvision's networks take grey images or {COLOURS} channels, not {in_channels}.")
        single = {"aux_logits": False, "init_weights": True} if name in WITH_AUXILIARY else {}
        made: nn.Module = models.get_model(name, weights=None, num_classes=num_classes, **single)
        return made if in_channels == COLOURS else Coloured(made)

    return factory


def smp(name: str) -> Callable[..., nn.Module]:
    """A factory of one of segmentation_models_pytorch's networks, with a ResNet-34 unless another encoder is named."""
    library: Any = _library("segmentation_models_pytorch", name, prefix="smp")
    architecture, _, encoder = name.partition(":")
    known = {found.__name__: found for found in vars(library).values() if isinstance(found, type)}
    if architecture not in known or not issubclass(known[architecture], nn.Module):
        networks = [found for found, kind in known.items() if issubclass(kind, nn.Module)]
        raise SpecError(
            f"segmentation_models_pytorch has no network {architecture!r}. {suggest(architecture, networks)}"
        )

    def factory(in_channels: int, num_classes: int) -> nn.Module:
        options = {"encoder_name": encoder or "resnet34", "encoder_weights": None}
        return Body(known[architecture](in_channels=in_channels, classes=num_classes, **options))

    return factory


def transformers(path: str) -> Callable[..., nn.Module]:
    """A factory of a causal language model, untrained, in the size of a configuration and with the data's tokens."""
    library: Any = _library("transformers", path)
    file = Path(path).expanduser()
    file = file / "config.json" if file.is_dir() else file
    if not file.is_file():
        raise SpecError(f"transformers:{path} names no configuration: {file} does not exist; nothing is downloaded.")
    try:
        config = library.AutoConfig.from_pretrained(str(file), local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise SpecError(f"{file} is no configuration that transformers knows ({reason}).") from None
    if type(config) not in library.MODEL_FOR_CAUSAL_LM_MAPPING:
        raise SpecError(f"{file} describes {config.model_type!r}, of which transformers has no causal language model.")

    def factory(vocabulary: int, window: int) -> nn.Module:
        longest = getattr(config, "max_position_embeddings", None)
        if isinstance(longest, int) and longest < window:
            raise SpecError(f"{file} has {longest} positions; give --window {longest} or less.")
        config.vocab_size, config.use_cache = vocabulary, False
        for mark in ("bos_token_id", "eos_token_id", "pad_token_id"):  # numbers of other tokens
            setattr(config, mark, None)
        return Decoder(library.AutoModelForCausalLM.from_config(config))

    return factory


FACTORIES: Mapping[str, Callable[[str], Callable[..., nn.Module]]] = {
    "timm": timm,
    "torchvision": torchvision,
    "smp": smp,
    "transformers": transformers,
}
"""What finds a network of each library."""


def _library(library: str, name: str, prefix: str = "") -> ModuleType:
    extra = prefix or library
    region_operators.provide()
    return require(library, extra, f"the network '{extra}:{name}' needs {library}")


def _near(name: str, known: list[str]) -> str:
    """The nearest name; not the hundreds that there are."""
    found = suggest(name, known)
    return found if found.startswith("Did") else "Its own list_models() lists them."
