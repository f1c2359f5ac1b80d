"""Models as people have them: MONAI, transformers, torch's Transformer, our own; timm and torchvision if importable."""

from __future__ import annotations

import importlib
import warnings

import pytest
import torch
from checks import assert_same, check_swap, evaluated, tensors
from helpers import thoroughly
from torch import nn

import limen
from limen.lab import networks


def library(name):
    """Like importorskip, also for a package that is there and cannot be imported, as torchvision beside a CPU torch."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except Exception as error:
        return pytest.skip(f"{name} cannot be imported here: {error}")


def unet():
    return library("monai.networks.nets").UNet(2, 1, 2, (4, 8, 16), (2, 2), num_res_units=2, act="RELU")


def densenet():
    nets = library("monai.networks.nets")
    return nets.DenseNet(2, 1, 3, init_features=8, growth_rate=4, block_config=(2, 2))


def monai_resnet():
    return library("monai.networks.nets").resnet18(spatial_dims=2, n_input_channels=1, num_classes=2)


def efficientnet():
    nets = library("monai.networks.nets")
    return nets.EfficientNetBN("efficientnet-b0", pretrained=False, spatial_dims=2, in_channels=1, num_classes=2)


SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def bert():
    hf = library("transformers")
    return hf.BertForMaskedLM(hf.BertConfig(vocab_size=50, max_position_embeddings=32, **SMALL))


def bert_new_gelu():
    hf = library("transformers")
    config = hf.BertConfig(vocab_size=50, max_position_embeddings=32, hidden_act="gelu_new", **SMALL)
    return hf.BertForSequenceClassification(config)


def vit():
    hf = library("transformers")
    return hf.ViTForImageClassification(hf.ViTConfig(image_size=16, patch_size=8, num_channels=1, **SMALL))


def encoder():
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu"), 2)


def images(channels=1, size=32, count=2):
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(1))


TOKENS = {"input_ids": torch.arange(14).reshape(2, 7)}
CASES = {
    "monai UNet": (unet, images(size=16), 9, 0),
    "monai DenseNet": (densenet, images(), 11, 0),
    "monai ResNet-18": (monai_resnet, images(), 17, 0),
    "monai EfficientNet": (efficientnet, images(count=4), 50, 16),
    "BERT masked": (bert, TOKENS, 3, 0),
    "BERT classifying, gelu_new": (bert_new_gelu, TOKENS, 3, 0),
    "ViT": (vit, {"pixel_values": images(size=16)}, 2, 0),
    "TransformerEncoder": (encoder, torch.randn(2, 5, 8), 2, 2),
    "convnet": (lambda: networks.build("convnet", (1, 16, 16), 10, 0), images(size=16), 4, 0),
    "mlp": (lambda: networks.build("mlp", (1, 16, 16), 10, 0), images(size=16), 2, 0),
    "resnet20": (lambda: networks.build("resnet20", (1, 16, 16), 10, 0), images(size=16), 19, 0),
}
"""Name → factory, inputs, sites replaced, sites kept."""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", thoroughly(CASES, usual=set(CASES) - {"monai EfficientNet", "monai ResNet-18"}))
def test_every_activation_is_reached(name):
    build, inputs, sites, kept = CASES[name]
    # EfficientNet's first block does not expand, so its first activation is in a branch not taken.
    idle = name == "monai EfficientNet"
    report = check_swap(build, inputs, sites=sites - idle)
    assert len(report.skipped) == kept + idle


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name",
    thoroughly(
        ["monai DenseNet", "monai ResNet-18", "BERT masked", "ViT", "resnet20"],
        usual=("BERT masked",),
    ),
)
def test_export_as_before(name):
    build, inputs, *_ = CASES[name]
    torch.manual_seed(0)
    model = build().eval()
    limen.swap_(model, "asau")
    args, kwargs = ((), inputs) if isinstance(inputs, dict) else ((inputs,), {})
    program = torch.export.export(model, args, kwargs)
    with torch.no_grad():
        for a, b in zip(tensors(program.module()(*args, **kwargs)), tensors(model(*args, **kwargs)), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name",
    thoroughly(["monai UNet", "monai ResNet-18", "BERT masked", "ViT", "TransformerEncoder"], usual=()),
)
def test_compile_as_before(name):
    build, inputs, *_ = CASES[name]
    torch.manual_seed(0)
    model = build().eval()
    limen.swap_(model, "asau")
    kwargs = inputs if isinstance(inputs, dict) else {}
    args = () if kwargs else (inputs,)
    torch._dynamo.reset()
    # Traced and differentiated as for Inductor, which takes minutes over these and would compile torch's own parts.
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager_decomp_partition")
    for a, b in zip(tensors(compiled(*args, **kwargs)), tensors(model(*args, **kwargs)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    sum(t.square().sum() for t in tensors(compiled(*args, **kwargs))).backward()
    ours = [p for m in model.modules() if isinstance(m, limen.Activation) for p in m.parameters()]
    assert ours
    assert all(p.grad is not None for p in ours)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_the_fused_transformer_path_is_off():
    """In evaluation torch would compute ReLU inside one kernel, nested tensors included."""
    model = encoder().eval()
    x, mask = torch.randn(2, 5, 8), torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    with torch.no_grad():
        before = model(x, src_key_padding_mask=mask)
        report = limen.swap_(model, lambda: nn.Threshold(1e9, 0.0))
        assert all(layer.activation_relu_or_gelu == 0 for layer in model.layers)
        layer = model.layers[0]
        expected = layer.norm1(x + layer._sa_block(x, None, None))
        torch.testing.assert_close(layer(x), layer.norm2(expected + layer.linear2.bias))
        model(x, src_key_padding_mask=mask)
        report.undo()
        assert torch.equal(model(x, src_key_padding_mask=mask), before)


@pytest.mark.filterwarnings("ignore")
def test_a_parameter_a_channel_everywhere():
    for name in ("monai UNet", "monai ResNet-18", "BERT masked", "ViT", "TransformerEncoder", "resnet20", "convnet"):
        build, inputs, sites, _ = CASES[name]
        torch.manual_seed(0)
        seen, inferred = build(), build()
        limen.swap_(seen, "asau", num_parameters="channel", example_inputs=[inputs])
        limen.swap_(inferred, "asau", num_parameters="channel")
        shared = [
            [(m.num_parameters, m.channel_dim) for m in model.modules() if isinstance(m, limen.ASAU)]
            for model in (seen, inferred)
        ]
        assert shared[0] == shared[1], name
        assert len(shared[0]) == sites
        assert all(count > 1 for count, _ in shared[0])
        evaluated(inferred, inputs)


def test_safetensors_round_trip(tmp_path):
    safetensors = library("safetensors.torch")
    torch.manual_seed(0)
    model = networks.build("resnet20", (1, 16, 16), 10, 0)
    limen.swap_(model, "asau")
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, limen.ASAU):
                module.beta.uniform_(0.5, 2)
    safetensors.save_model(model, tmp_path / "model.safetensors")
    fresh = networks.build("resnet20", (1, 16, 16), 10, 1)
    limen.swap_(fresh, "asau")
    missing, unexpected = safetensors.load_model(fresh, tmp_path / "model.safetensors", strict=True)
    assert not missing
    assert not unexpected
    assert_same(evaluated(fresh, images(size=16)), evaluated(model, images(size=16)))


@pytest.mark.filterwarnings("ignore")
def test_torchvision_basic_block_gets_two_activations():
    models = library("torchvision.models")
    check_swap(lambda: models.resnet18(num_classes=3), images(3, 64), sites=17)
    check_swap(lambda: models.mobilenet_v3_small(num_classes=3), images(3, 64), sites=33)


@pytest.mark.filterwarnings("ignore")
def test_timm():
    timm = library("timm")
    check_swap(lambda: timm.create_model("resnet18", num_classes=3), images(3, 64), sites=17)
    report = check_swap(lambda: timm.create_model("vit_tiny_patch16_224", num_classes=3), images(3, 224), sites=12)
    assert not report.unreached
