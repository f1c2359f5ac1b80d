"""The segmentation networks: shapes, sites that a swap reaches, and what is theirs by construction."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import limen
from limen.errors import MissingExtraError, SpecError
from limen.lab import networks
from limen.lab.networks.factory import construct
from limen.lab.tasks.segmentation.networks import NETWORKS
from limen.lab.tasks.segmentation.networks.layers import ASPP, SqueezeExcite
from limen.lab.tasks.segmentation.networks.transnetr import _joined, _patches

pytest.importorskip("monai.networks.nets")
SITES = {"unet": 9, "deeplabv3plus": 27, "efficientnet-unet": 59, "double-unet": 56, "transnetr": 29}
PARAMETERS = {
    "unet": 206_188,
    "deeplabv3plus": 774_874,
    "efficientnet-unet": 5_366_686,
    "double-unet": 1_091_310,
    "transnetr": 781_650,
}
"""As in docs/tasks.md."""
KEPT = {"efficientnet-unet": 16, "double-unet": 11, "transnetr": 3}
"""Gates of squeeze-and-excitation, the mask between the U-Nets, and the softmax of attention."""


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("channels", "classes", "size"), [(1, 2, (32, 32)), (3, 5, (21, 38))])
def test_every_network_answers_in_the_size_of_the_image(
    name: str, channels: int, classes: int, size: tuple[int, int]
) -> None:
    network = NETWORKS[name](channels, classes).eval()
    assert network(torch.randn(2, channels, *size)).shape == (2, classes, *size)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_swap_reaches_every_activation(name: str) -> None:
    network = NETWORKS[name](1, 2)
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[name]
    report = limen.swap_(network, "asau")
    assert (len(report.sites), len(report.skipped)) == (SITES[name], KEPT.get(name, 0))
    assert not report.unreached
    left = (nn.ReLU, nn.PReLU, nn.SiLU, nn.GELU, nn.LeakyReLU)
    assert not any(isinstance(module, left) for module in network.modules())
    network(torch.randn(2, 1, 32, 32)).square().mean().backward()
    for path, parameter in network.named_parameters():
        if path.startswith("body.encoder._blocks.0.0._swish."):  # of a branch that MONAI's block never takes
            continue
        assert parameter.grad is not None, path  # no part is left out of the answer
        assert torch.isfinite(parameter.grad).all(), path


def test_the_second_unet_sees_the_image_through_the_first_ones_mask() -> None:
    network = NETWORKS["double-unet"](1, 2).eval()
    seen = []
    network.second.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    network.mask.register_forward_hook(lambda module, inputs, mask: seen.append(mask))
    image = torch.randn(2, 1, 16, 16)
    network(image)
    mask, second = seen
    assert torch.allclose(second, image * mask.softmax(1)[:, 1:])


def test_patches_are_put_together_as_they_were_cut() -> None:
    x = torch.randn(2, 3, 8, 12)
    patches = _patches(x, 4)
    assert patches.shape == (2, 6, 48)
    assert torch.equal(patches[0, 1], x[0, :, :4, 4:8].flatten())
    assert torch.equal(_joined(patches, x, 4), x)


def test_the_pyramid_sees_far_and_the_gate_weighs_channels() -> None:
    x = torch.zeros(2, 4, 13, 13)
    x[:, :, 0, 0] = 1
    pyramid = ASPP(4, 8).eval()
    assert pyramid(x).shape == (2, 8, 13, 13)
    reached = pyramid.atrous[2][0](x)[0, 0] != 0
    assert reached.nonzero().tolist() == [[0, 0], [0, 6], [6, 0], [6, 6]]
    gate = SqueezeExcite(8)
    x = torch.randn(2, 8, 4, 4)
    weights = gate(x) / x
    assert torch.allclose(weights, weights[:, :, :1, :1].expand_as(weights))
    assert ((weights > 0) & (weights < 1)).all()


class FakeUnet(nn.Module):
    """Stands for segmentation_models_pytorch.Unet, whose arguments it has."""

    def __init__(self, encoder_name="resnet34", encoder_weights="imagenet", in_channels=3, classes=1, **rest) -> None:
        super().__init__()
        self.options = (encoder_name, encoder_weights)
        self.layer = nn.Conv2d(in_channels, classes, 1)

    def forward(self, x):
        assert x.shape[2] % 32 == 0
        assert x.shape[3] % 32 == 0
        return self.layer(x)


def test_networks_of_segmentation_models_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    offered = networks.described((2, 20, 50), 4)
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'limen\[smp\]'"):
        construct("smp:FakeUnet", offered, 0)
    library = SimpleNamespace(FakeUnet=FakeUnet, other=3)
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", library)
    for name, encoder in (("smp:FakeUnet", "resnet34"), ("smp:FakeUnet:mit_b0", "mit_b0")):
        network = construct(name, offered, 0)
        assert network.body.options == (encoder, None)  # untrained
        assert network(torch.randn(1, 2, 20, 50)).shape == (1, 4, 20, 50)
    with pytest.raises(SpecError, match="Did you mean 'FakeUnet'"):
        construct("smp:FakeUne", offered, 0)
