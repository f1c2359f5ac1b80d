"""Small models of the libraries whose models people swap: each a name, how to build it, how to call it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import tomllib
import torch
from torch import nn

Build = Callable[[], nn.Module]
NAMES: dict[str, Any] = tomllib.loads((Path(__file__).parent / "names.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Case:
    """A model and its inputs, as ``example_inputs`` takes them."""

    library: str
    name: str
    build: Build
    inputs: Callable[[], Any]


def every_case() -> Iterator[Case]:
    """All of them, library by library; one that is not installed is left out."""
    # Torchvision's Python loads beside a CPU build of torch once these names exist.
    for name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{name}", "(Tensor d, Tensor s, float t) -> Tensor")
    for library in (_torchvision, _timm, _transformers, _monai, _diffusers, _geometric):
        yield from _of_what_is_installed(library)


def _of_what_is_installed(library: Callable[[], Iterator[Case]]) -> Iterator[Case]:
    try:
        yield from library()
    except ModuleNotFoundError as error:
        print(f"left out: {error.name} is not installed")


def _images(size: int, channels: int = 3) -> Callable[[], Any]:
    return lambda: torch.randn(2, channels, size, size)


def _two_images() -> dict[str, Any]:
    return {"image1": torch.rand(1, 3, 128, 128), "image2": torch.rand(1, 3, 128, 128), "num_flow_updates": 2}


def _torchvision() -> Iterator[Case]:
    models = importlib.import_module("torchvision.models")
    for name in NAMES["torchvision"]:
        size = {"inception_v3": 299, "maxvit_t": 224, "vit_b_32": 224}.get(name, 64)
        options = {"init_weights": False} if name in {"googlenet", "inception_v3"} else {}
        yield Case(
            "torchvision",
            name,
            partial(models.get_model, name, weights=None, num_classes=5, **options),
            _images(size),
        )
    for name in NAMES["segmentation"]:
        build = getattr(models.segmentation, name)
        yield Case("torchvision", name, partial(build, weights=None, weights_backbone=None, num_classes=3), _images(64))
    for name in NAMES["quantizable"]:
        build = getattr(models.quantization, name)
        yield Case("torchvision", f"quantizable {name}", partial(build, weights=None, num_classes=5), _images(64))
    raft = models.optical_flow.raft_small
    yield Case("torchvision", "raft_small", lambda: raft(weights=None), _two_images)
    for name in ("r3d_18", "mc3_18"):
        build = getattr(models.video, name)
        yield Case(
            "torchvision", name, partial(build, weights=None, num_classes=5), lambda: torch.randn(1, 3, 4, 32, 32)
        )


def _timm() -> Iterator[Case]:
    timm = importlib.import_module("timm")
    known = set(timm.list_models())
    for name in (name for name in NAMES["timm"] if name in known):
        size = timm.models.get_pretrained_cfg(name)
        edge = size.input_size[-1] if size is not None and size.fixed_input_size else 96
        yield Case("timm", name, partial(timm.create_model, name, num_classes=5), _images(edge))


def _transformers() -> Iterator[Case]:
    transformers = importlib.import_module("transformers")
    transformers.logging.set_verbosity_error()
    for stem in NAMES["transformers"]:
        config, model = (
            getattr(transformers, f"{stem.removesuffix('Model')}{kind}", None) for kind in ("Config", "Model")
        )
        if config is not None and model is not None:
            yield Case(
                "transformers",
                stem,
                partial(_made_small, stem, model, config),
                partial(_inputs_of, stem, model),
            )


def _made_small(stem: str, model: Any, config: Any) -> nn.Module:
    made: nn.Module = model(_small(stem, config))
    return made


def _small(stem: str, config: Any) -> Any:
    fields = {} if stem in NAMES["as_they_are"] else config().to_dict()
    kept = {
        name: value
        for name, value in NAMES["small"].items()
        if name in fields and not isinstance(fields[name], (list, tuple, dict))
    }
    return config(**{**kept, **NAMES["own"].get(stem, {})})


def _inputs_of(stem: str, model: Any) -> Any:
    if model.main_input_name == "pixel_values":
        fixed = "image_size" in model.config_class().to_dict()
        edge = 224 if stem in NAMES["as_they_are"] else 32 if fixed else 64
        return {"pixel_values": torch.randn(1, 3, edge, edge)}
    tokens = torch.arange(3, 19)[None]
    both = model.config_class().is_encoder_decoder
    return {"input_ids": tokens, "decoder_input_ids": tokens} if both else {"input_ids": tokens}


def _monai() -> Iterator[Case]:
    nets = importlib.import_module("monai.networks.nets")
    flat, small = _images(32, 1), _images(64, 1)
    yield Case("monai", "UNet", lambda: nets.UNet(2, 1, 2, (4, 8, 16), (2, 2), num_res_units=1), flat)
    yield Case("monai", "BasicUNet", lambda: nets.BasicUNet(2, 1, 2, (4, 4, 8, 8, 16, 4)), flat)
    yield Case("monai", "BasicUNetPlusPlus", lambda: nets.BasicUNetPlusPlus(2, 1, 2, (4, 4, 8, 8, 16, 4)), flat)
    yield Case("monai", "AttentionUnet", lambda: nets.AttentionUnet(2, 1, 2, (4, 8, 16), (2, 2)), flat)
    yield Case("monai", "DynUNet", lambda: nets.DynUNet(2, 1, 2, [3] * 3, [1, 2, 2], [2, 2], filters=[4, 8, 16]), flat)
    yield Case("monai", "SegResNet", lambda: nets.SegResNet(2, init_filters=8, in_channels=1, out_channels=2), flat)
    yield Case("monai", "SegResNetDS", lambda: nets.SegResNetDS(2, init_filters=8, in_channels=1, out_channels=2), flat)
    yield Case("monai", "VNet", lambda: nets.VNet(2, 1, 2), flat)
    yield Case("monai", "HighResNet", lambda: nets.HighResNet(2, 1, 2), flat)
    yield Case("monai", "UNETR", lambda: nets.UNETR(1, 2, (32, 32), 8, 48, 96, 4, spatial_dims=2), flat)
    yield Case("monai", "SwinUNETR", lambda: nets.SwinUNETR(1, 2, feature_size=12, spatial_dims=2), small)
    yield Case(
        "monai", "ViT", lambda: nets.ViT(1, (32, 32), (8, 8), 48, 96, 2, 4, spatial_dims=2, classification=True), flat
    )
    yield Case("monai", "DenseNet121", lambda: nets.DenseNet121(2, 1, 3), small)
    yield Case(
        "monai",
        "EfficientNetBN",
        lambda: nets.EfficientNetBN("efficientnet-b0", False, spatial_dims=2, in_channels=1),
        small,
    )
    yield Case("monai", "SEResNet50", lambda: nets.SEResNet50(spatial_dims=2, in_channels=1, num_classes=3), small)
    yield Case("monai", "ResNet", lambda: nets.resnet18(spatial_dims=2, n_input_channels=1, num_classes=3), small)
    yield Case("monai", "FlexibleUNet", lambda: nets.FlexibleUNet(1, 2, "efficientnet-b0", spatial_dims=2), small)
    yield Case("monai", "AutoEncoder", lambda: nets.AutoEncoder(2, 1, 1, (4, 8), (2, 2)), flat)
    yield Case("monai", "VarAutoEncoder", lambda: nets.VarAutoEncoder(2, (1, 32, 32), 1, 4, (4, 8), (2, 2)), flat)
    yield Case("monai", "MedNeXt", lambda: nets.MedNeXt(2, 8, 1, 2), small)


def _latent(channels: int, **rest: Any) -> Callable[[], Any]:
    return lambda: {"sample": torch.randn(1, channels, 16, 16), "timestep": 1, **rest}


def _graph(width: int = 8, **rest: Any) -> Callable[[], Any]:
    edges = torch.tensor([[0, 1, 2, 3, 4, 0], [1, 2, 3, 4, 0, 2]])
    return lambda: {"x": torch.randn(5, width), "edge_index": edges, **rest}


def _diffusers() -> Iterator[Case]:
    diffusers = importlib.import_module("diffusers")
    wide = {"block_out_channels": (32, 64), "layers_per_block": 1, "norm_num_groups": 8}
    yield Case(
        "diffusers",
        "UNet2DModel",
        lambda: diffusers.UNet2DModel(
            16,
            3,
            3,
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            **wide,
        ),
        _latent(3),
    )
    yield Case(
        "diffusers",
        "UNet2DConditionModel",
        lambda: diffusers.UNet2DConditionModel(
            16,
            4,
            4,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=32,
            attention_head_dim=8,
            **wide,
        ),
        _latent(4, encoder_hidden_states=torch.randn(1, 5, 32)),
    )
    yield Case(
        "diffusers",
        "AutoencoderKL",
        lambda: diffusers.AutoencoderKL(
            3, 3, ("DownEncoderBlock2D",) * 2, ("UpDecoderBlock2D",) * 2, (32, 64), norm_num_groups=8
        ),
        lambda: {"sample": torch.randn(1, 3, 32, 32)},
    )
    yield Case(
        "diffusers",
        "VQModel",
        lambda: diffusers.VQModel(
            3,
            3,
            ("DownEncoderBlock2D",) * 2,
            ("UpDecoderBlock2D",) * 2,
            (32, 64),
            norm_num_groups=8,
            num_vq_embeddings=16,
        ),
        lambda: {"sample": torch.randn(1, 3, 32, 32)},
    )
    yield Case(
        "diffusers",
        "AutoencoderTiny",
        lambda: diffusers.AutoencoderTiny(),
        lambda: {"sample": torch.randn(1, 3, 64, 64)},
    )
    yield Case(
        "diffusers",
        "AutoencoderDC",
        lambda: diffusers.AutoencoderDC(
            3,
            4,
            encoder_block_types="ResBlock",
            decoder_block_types="ResBlock",
            encoder_block_out_channels=(16, 32),
            decoder_block_out_channels=(16, 32),
            encoder_layers_per_block=(1, 1),
            decoder_layers_per_block=(1, 1),
            encoder_qkv_multiscales=((), ()),
            decoder_qkv_multiscales=((), ()),
            scaling_factor=1.0,
        ),
        lambda: {"sample": torch.randn(1, 3, 32, 32)},
    )
    yield Case(
        "diffusers",
        "DiTTransformer2DModel",
        lambda: diffusers.DiTTransformer2DModel(4, 8, 4, num_layers=2, sample_size=8, num_embeds_ada_norm=10),
        lambda: {
            "hidden_states": torch.randn(1, 4, 8, 8),
            "timestep": torch.tensor([1]),
            "class_labels": torch.tensor([1]),
        },
    )
    yield Case(
        "diffusers",
        "PixArtTransformer2DModel",
        lambda: diffusers.PixArtTransformer2DModel(
            4, 8, 4, 8, num_layers=2, sample_size=8, cross_attention_dim=32, caption_channels=16
        ),
        lambda: {
            "hidden_states": torch.randn(1, 4, 8, 8),
            "encoder_hidden_states": torch.randn(1, 5, 16),
            "timestep": torch.tensor([1]),
            "added_cond_kwargs": {"resolution": None, "aspect_ratio": None},
        },
    )
    yield Case(
        "diffusers",
        "Transformer2DModel",
        lambda: diffusers.Transformer2DModel(4, 8, 8, num_layers=1, norm_num_groups=8),
        lambda: {"hidden_states": torch.randn(1, 8, 8, 8)},
    )
    yield Case(
        "diffusers",
        "PriorTransformer",
        lambda: diffusers.PriorTransformer(4, 8, 2, 32, 5),
        lambda: {
            "hidden_states": torch.randn(1, 32),
            "timestep": 1,
            "proj_embedding": torch.randn(1, 32),
            "encoder_hidden_states": torch.randn(1, 5, 32),
        },
    )


def _geometric() -> Iterator[Case]:
    nn_ = importlib.import_module("torch_geometric.nn")
    graph = _graph()
    for name in NAMES["geometric"]:
        options = (
            {"aggregators": ["mean", "max"], "scalers": ["identity"], "deg": torch.tensor([0, 5, 1])}
            if name == "PNA"
            else {}
        )
        yield Case("torch_geometric", name, partial(getattr(nn_, name), 8, 16, 3, 4, **options), graph)
    yield Case("torch_geometric", "MLP", lambda: nn_.MLP([8, 16, 16, 4]), lambda: torch.randn(5, 8))
    yield Case("torch_geometric", "GraphUNet", lambda: nn_.GraphUNet(8, 16, 4, 2), graph)
    yield Case(
        "torch_geometric",
        "AttentiveFP",
        lambda: nn_.AttentiveFP(8, 16, 4, 3, 2, 2),
        _graph(edge_attr=torch.randn(6, 3), batch=torch.zeros(5, dtype=torch.long)),
    )
    yield Case("torch_geometric", "JumpingKnowledge GCN", lambda: nn_.GCN(8, 16, 3, 4, jk="lstm"), graph)
    yield Case(
        "torch_geometric",
        "DeepGCNLayer",
        lambda: nn_.DeepGCNLayer(nn_.GCNConv(8, 8), nn_.LayerNorm(8), nn.ReLU(), block="res+"),
        lambda: tuple(graph().values()),
    )
    yield Case("torch_geometric", "GPSConv", lambda: nn_.GPSConv(16, nn_.GCNConv(16, 16), heads=2), _graph(16))
    yield Case("torch_geometric", "LINKX", lambda: nn_.LINKX(5, 8, 16, 4, 2), graph)
    yield Case("torch_geometric", "RECT_L", lambda: nn_.RECT_L(8, 16), graph)
