"""Grad-CAM against hand computations, and in a study from image to report."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pytest
import torch
from helpers_lab import Recorder, data_of, experiment_of, tiny
from PIL import Image
from torch import Tensor, nn

from limen.lab.networks import build
from limen.lab.records import Attention
from limen.lab.study.compare import compare
from limen.lab.tasks.classification.attention import attention
from limen.lab.tasks.classification.grad_cam import grad_cam
from limen.lab.training import run as train


class Pooled(nn.Module):
    """A feature map, its mean over places, a linear layer: the case of CAM, where alpha is known without gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(2, 3, 3, padding=1)
        self.classifier = nn.Linear(3, 4)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.features(images).mean((2, 3)))


def test_after_mean_pooling_it_is_the_class_activation_map() -> None:
    torch.manual_seed(0)
    network, images = Pooled(), torch.randn(5, 2, 6, 7)
    classes = torch.tensor([0, 1, 2, 3, 0])
    maps, logits = grad_cam(network, images, classes)
    assert maps is not None
    with torch.no_grad():
        features = network.features(images)
        by_hand = torch.einsum("nk,nkhw->nhw", network.classifier.weight[classes] / 42, features).clamp(min=0)
        assert torch.allclose(logits, network(images))
    largest = by_hand.amax((1, 2), keepdim=True)
    assert (largest > 0).all()
    assert torch.allclose(maps, by_hand / largest, atol=1e-6)


def test_by_hand_with_an_activation_behind_the_feature_map() -> None:
    """One channel of 2 x 2, squared by hand: dy/dA is 2wA, so alpha is the mean of 2wA."""

    class Squares(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Conv2d(1, 1, 1, bias=False)
            nn.init.ones_(self.features.weight)

        def forward(self, images: Tensor) -> Tensor:
            squares = self.features(images).pow(2).flatten(1)
            return torch.stack([squares @ torch.tensor([1.0, 2.0, 0.0, -1.0]), -squares.sum(1)], 1)

    image = torch.tensor([[[[3.0, 1.0], [2.0, 0.5]]]])
    maps, logits = grad_cam(Squares(), image)
    assert logits.tolist() == [[10.75, -14.25]]
    # alpha = (2*1*3 + 2*2*1 + 0 - 2*1*0.5) / 4 = 2.25 > 0, so the map is the image, divided by its largest value
    assert torch.allclose(maps, image[:, 0] / 3)
    maps, _ = grad_cam(Squares(), image, torch.tensor([1]))
    assert maps.tolist() == [[[0.0, 0.0], [0.0, 0.0]]]  # alpha is negative: nothing speaks for the class


def test_it_leaves_the_network_as_it_was() -> None:
    network = build("resnet20", (1, 16, 16), 3, seed=0).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.no_grad():
        maps, _ = grad_cam(network, torch.randn(2, 1, 16, 16))
    assert maps is not None
    assert maps.shape == (2, 16, 16)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())


def test_an_image_does_not_depend_on_its_neighbours() -> None:
    torch.manual_seed(0)
    network, images = build("convnet", (3, 16, 16), 3, seed=0), torch.randn(4, 3, 16, 16)
    together, _ = grad_cam(network, images)
    alone, _ = grad_cam(network, images[2:3])
    assert torch.allclose(together[2:3], alone, atol=1e-5)


def test_a_network_without_feature_maps_has_none() -> None:
    assert grad_cam(build("mlp", (1, 8, 8), 3, seed=0), torch.randn(2, 1, 8, 8))[0] is None
    settings = tiny()
    assert attention(train.bare(experiment_of(settings), 0), data_of(settings), "cpu") is None


@pytest.mark.parametrize("network", ["resnet20", "densenet-10-4", "mobilenet-0.1"])
def test_some_test_images_of_several_classes(network: str) -> None:
    settings = tiny(network=network)
    found = attention(train.build(experiment_of(settings), "ash", 0)[0], data_of(settings), "cpu")
    assert found is not None
    assert len(found.images) == 4
    assert len({image.name.partition(",")[0] for image in found.images}) > 2
    for image in found.images:
        with Image.open(io.BytesIO(base64.b64decode(image.picture))) as picture:
            assert picture.size == (192, 96)


@pytest.mark.thorough
def test_in_the_report(tmp_path: Path) -> None:
    result = compare(tiny(network="resnet20", seeds=(0,), epochs=1), tmp_path, Recorder())
    assert all(isinstance(run.shown, Attention) for run in result.runs)
    page = result.report.read_text()
    assert "Where the networks look (Grad-CAM)" in page
    assert page.count("data:image/jpeg;base64,") == 8
    for name in ("Test accuracy (%)", "Test top-5 accuracy (%)", "Test MCC", "Test F1"):
        assert name in page
