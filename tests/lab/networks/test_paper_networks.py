"""The networks of the papers: published sizes, any image, every activation reached, names."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

import limen
from limen.activations.base import Activation
from limen.errors import MissingExtraError, SpecError
from limen.lab import networks
from limen.lab.networks import NETWORKS, build, find, libraries

SMALL_FORMS = (
    "resnet32", "resnet18-w4", "resnet50-w4", "preresnet-11", "wrn-10-1", "densenet-10-4", "densenet-bc-16-4",
    "mobilenet-0.1", "googlenet-0.05", "vit-2x32", "vit-1x48-p5", "convnext-6x4",
)  # fmt: skip


def size(name: str, shape: tuple[int, int, int] = (3, 32, 32), classes: int = 10) -> int:
    with torch.device("meta"):
        network = networks.construct(name, networks.described(shape, classes), 0)
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("resnet20", "0.27"), ("resnet56", "0.85"), ("resnet110", "1.7"),  # He et al. 2016a, Table 6
        ("resnet164", "1.70"),  # He et al. 2016b, Table 4: 1.7
        ("wrn-28-10", "36.5"), ("wrn-16-8", "11.0"), ("wrn-40-4", "8.9"),  # Zagoruyko 2016, Table 4
        ("densenet-40-12", "1.0"), ("densenet-100-12", "7.0"), ("densenet-bc-100-12", "0.8"),  # Huang 2017, Table 2
    ],
)  # fmt: skip
def test_the_published_sizes_on_cifar(name: str, millions: str) -> None:
    decimals = len(millions.partition(".")[2])
    assert f"{size(name) / 1e6:.{decimals}f}" == millions


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("resnet18", 11_689_512), ("resnet34", 21_797_672), ("resnet50", 25_557_032), ("resnet101", 44_549_160),
     ("resnet152", 60_192_808), ("mobilenet", 4_231_976), ("vit-12x192", 5_717_416), ("vit-12x384", 22_050_664),
     ("vit-12x768", 86_567_656), ("vit-24x1024", 304_326_632), ("convnext-atto", 3_695_520),
     ("convnext-nano", 15_593_560), ("convnext-tiny", 28_589_128), ("convnext-small", 50_223_688),
     ("convnext-base", 88_591_464), ("convnext-large", 197_767_336)],
)  # fmt: skip
def test_the_sizes_on_imagenet_are_those_of_the_reference_networks(name: str, parameters: int) -> None:
    assert size(name, (3, 224, 224), 1000) == parameters


def test_googlenet_is_the_papers_but_for_batch_normalisation() -> None:
    network = find("googlenet")(image_shape=(3, 224, 224), num_classes=1000)
    weights = sum(m.weight.numel() for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear)))
    # Table 1 of the paper in thousands, but for its stem: 64 kernels of 7x7x3 are 9.4, where it prints 2.7.
    published = 9.4 + 114 + 163 + 389 + 376 + 449 + 510 + 605 + 868 + 1072 + 1444 + 1024
    assert weights / 1000 == pytest.approx(published, rel=0.01)
    widths = [m.out_channels for m in network.modules() if hasattr(m, "branches")]
    assert widths == [256, 480, 512, 512, 512, 528, 832, 832, 1024]


@pytest.mark.parametrize("name", ["resnet20", "resnet50", "resnet164", "densenet-100-12", "densenet-bc-100-12"])
def test_the_number_in_the_name_is_that_of_the_layers(name: str) -> None:
    with torch.device("meta"):
        network = find(name)(image_shape=(3, 32, 32), num_classes=10)
    layers = [
        path for path, m in network.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear)) and "shortcut" not in path
    ]
    assert f"-{len(layers)}" in f"-{name.removeprefix('resnet')}"


@pytest.mark.parametrize("name", SMALL_FORMS)
@pytest.mark.parametrize(
    "shape",
    [
        (1, 1, 1),
        (3, 9, 17),
        pytest.param((3, 32, 32), marks=pytest.mark.thorough),
        pytest.param((1, 70, 64), marks=pytest.mark.thorough),
    ],
)
def test_any_image(name: str, shape: tuple[int, int, int]) -> None:
    network = build(name, shape, 7, seed=0)
    logits = network(torch.randn(2, *shape))
    assert logits.shape == (2, 7)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize(
    ("name", "small", "large"), [("resnet18-w4", 4, 2), ("mobilenet-0.1", 2, 2), ("googlenet-0.05", 8, 2)]
)
def test_the_stem_keeps_the_size_of_small_images(name: str, small: int, large: int) -> None:
    """The side of the last feature map at 32 and at 64 pixels."""
    sides = {}
    for side in (32, 64):
        network = build(name, (3, side, side), 2, seed=0).eval()
        maps: list[int] = []
        for module in network.modules():
            module.register_forward_hook(
                lambda m, i, out, maps=maps: maps.append(out.shape[-1]) if out.ndim == 4 else None
            )
        network(torch.zeros(1, 3, side, side))
        sides[side] = maps[-1]
    assert sides == {32: small, 64: large}


@pytest.mark.parametrize(("name", "norms"), [("vit-2x32", 5), ("convnext-6x4", 11)])
def test_the_norms_of_transformers_and_convnexts_are_reached(name: str, norms: int) -> None:
    network = build(name, (1, 16, 16), 3, seed=0)
    report = limen.swap_norms_(network, "dyt")
    assert (len(report.sites), report.skipped) == (norms, [])
    assert network(torch.randn(2, 1, 16, 16)).isfinite().all()


def test_an_image_is_cut_into_patches_with_its_last_row_and_column_repeated() -> None:
    network = build("vit-1x48-p5", (1, 9, 16), 3, seed=0).eval()
    assert network.places.shape == (1, 1 + 2 * 4, 48)
    images = torch.randn(2, 1, 9, 16)
    whole = networks.layers.filled_up(images, 5)
    assert torch.equal(whole[:, :, 9], images.new_zeros(()) + whole[:, :, 8])
    patches = whole.unfold(2, 5, 5).unfold(3, 5, 5).flatten(4).permute(0, 2, 3, 1, 4).flatten(1, 2).flatten(2)
    weight, bias = network.patches.weight.flatten(1), network.patches.bias
    x = torch.cat([network.token.expand(2, -1, -1), patches @ weight.T + bias], 1) + network.places
    by_hand = network.classifier(network.norm(network.blocks(x))[:, 0])
    assert torch.allclose(network(images), by_hand, atol=1e-6)


def test_attention_by_hand() -> None:
    block = networks.vision_transformer.TransformerBlock(48)
    assert block.heads == 3
    x = torch.randn(1, 5, 48)
    queries, keys, values = (part.view(5, 3, 16) for part in block.queries_keys_values(x)[0].split(48, -1))
    weights = (torch.einsum("qhc,khc->hqk", queries, keys) / 4).softmax(-1)
    by_hand = block.mixed(torch.einsum("hqk,khc->qhc", weights, values).flatten(1))
    assert torch.allclose(block._attended(x)[0], by_hand, atol=1e-6)


def test_a_convnext_block_by_hand() -> None:
    block = networks.convnext.ConvNeXtBlock(4)
    x = torch.randn(2, 4, 6, 5)
    assert torch.allclose(block(x), x, atol=1e-4)  # its own path begins at a millionth
    nn.init.constant_(block.scale, 2.0)
    inner = block.depthwise(x)
    normed = (inner - inner.mean(1, keepdim=True)) / (inner.var(1, unbiased=False, keepdim=True) + 1e-6).sqrt()
    assert torch.allclose(block(x), x + 2 * block.mlp(normed.movedim(1, -1)).movedim(-1, 1), atol=1e-5)


@pytest.mark.parametrize("name", SMALL_FORMS)
def test_every_activation_is_reached(name: str) -> None:
    network = build(name, (3, 16, 16), 3, seed=0)
    count = sum(isinstance(module, (nn.ReLU, nn.GELU)) for module in network.modules())
    report = limen.swap_(network, "asau")
    assert (len(report.sites), report.skipped, report.unreached) == (count, [], [])
    assert sum(isinstance(module, Activation) for module in network.modules()) == count
    called = set()
    for path, module in network.named_modules():
        if isinstance(module, Activation):
            module.register_forward_hook(lambda m, i, o, path=path: called.add(path))
    network(torch.zeros(2, 3, 16, 16))
    assert len(called) == count


@pytest.mark.parametrize("name", SMALL_FORMS)
def test_weights_depend_on_the_seed_alone(name: str) -> None:
    first = build(name, (1, 8, 8), 3, seed=1)
    torch.rand(5)
    second = build(name, (1, 8, 8), 3, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_a_pre_activation_block_by_hand() -> None:
    block = networks.preactivation.PreActivationBlock(
        2, [networks.layers.convolution(2, 3, 3, 2), networks.layers.convolution(3, 3)], 2
    ).eval()
    x = torch.randn(1, 2, 6, 6)
    active = torch.relu(block.norm(x))
    first, norm, _, second = block.body
    by_hand = second(torch.relu(norm(first(active)))) + block.shortcut(active)
    assert torch.allclose(block(x), by_hand)
    same = networks.preactivation.PreActivationBlock(2, [networks.layers.convolution(2, 2)], 1).eval()
    nn.init.zeros_(same.body[0].weight)
    assert torch.equal(same(x), x)


def test_a_dense_layer_keeps_its_input_and_adds_growth() -> None:
    layer = networks.densenet.DenseLayer(5, 4, compact=True).eval()
    x = torch.randn(2, 5, 3, 3)
    out = layer(x)
    assert out.shape == (2, 9, 3, 3)
    assert torch.equal(out[:, :5], x)


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_listed_is_found(name: str) -> None:
    assert name in NETWORKS
    with torch.device("meta"):
        assert isinstance(NETWORKS[name](image_shape=(3, 32, 32), num_classes=10), nn.Module)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("wrn-29-10", "cannot have 29 layers: the number is 6n + 4, such as 28 or 34"),
        ("wrn-4-1", "cannot have 4 layers: the number is 6n + 4, such as 10 or 16"),
        ("vit-6x100", "cannot be 100 wide: the width is a multiple of 16, such as 96 or 112"),
        ("vit-6x8", "cannot be 8 wide: the width is a multiple of 16, such as 16 or 32"),
        ("vit-0x64", "has the depth 0"),
        ("vit-2x64-p0", "has the patch 0"),
        ("convnext-8x24", "cannot have 8 layers: the number is 6n + 0, such as 6 or 12"),
        ("convnext-6x0", "has the width 0"),
        ("convnext-tini", "Did you mean 'convnext-tiny'?"),
        ("wrn-16-0", "has the factor 0; give more, as in wrn-28-10"),
        ("densenet-41-12", "the number is 3n + 4, such as 40 or 43"),
        ("densenet-bc-41-12", "the number is 6n + 4, such as 40 or 46"),
        ("preresnet-30", "the number is 9n + 2, such as 29 or 38"),
        ("mobilenet-0.0", "has the factor 0"),
        ("resnet18-w0", "has the width 0"),
        ("resnet19", "no network is called 'resnet19'. Did you mean 'resnet18'?"),
        ("mobilenet-", "no network is called 'mobilenet-'"),
        ("wrn-16", "no network is called 'wrn-16'"),
    ],
)
def test_sizes_that_cannot_be(name: str, expected: str) -> None:
    with pytest.raises(SpecError) as caught:
        find(name)
    assert expected in str(caught.value)


# --- timm and torchvision ---


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_a_library_that_cannot_be_imported(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(
        MissingExtraError, match=rf"'{library}:resnet18' needs {library}.*pip install 'limen\[{library}\]'"
    ):
        find(f"{library}:resnet18")


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_a_librarys_network(library: str) -> None:
    """Where the library can be imported."""
    try:
        __import__(library)
    except Exception as error:  # installed and broken, as torchvision beside another build of torch
        pytest.skip(f"{library} cannot be imported: {error}")
    for shape in ((1, 64, 64), (3, 64, 64)):
        network = build(f"{library}:resnet18", shape, 7, seed=0)
        report = limen.swap_(network, "asau")
        assert not report.unreached
        assert network(torch.randn(2, *shape)).shape == (2, 7)
    with pytest.raises(SpecError, match=r"Did you mean 'resnet18'\?"):
        find(f"{library}:resnet_18")


def test_a_transformer_of_timm_takes_the_size_of_the_images() -> None:
    try:
        libraries.timm("resnet18")
    except MissingExtraError as error:
        pytest.skip(str(error))
    network = build("timm:vit_tiny_patch16_224", (1, 32, 48), 7, seed=0)
    report = limen.swap_(network, "asau")
    assert (len(report.sites), report.unreached) == (12, [])
    assert network(torch.randn(2, 1, 32, 48)).shape == (2, 7)
    assert size("timm:vit_tiny_patch16_224", (3, 224, 224), 1000) == size("vit-12x192", (3, 224, 224), 1000)
    assert size("timm:convnext_atto", (3, 224, 224), 1000) == size("convnext-atto", (3, 224, 224), 1000)
