"""The lab's own networks, and anyone's by ``package.module:factory``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from helpers_lab import data_of, experiment_of, tiny
from torch import nn

from limen.errors import SpecError, StudyError
from limen.lab.networks import NETWORKS, build
from limen.lab.networks.cifar_resnet import ResidualBlock
from limen.lab.study.preparing import probe
from limen.lab.training import run as train


def activations(network: nn.Module) -> int:
    return sum(isinstance(module, nn.ReLU) for module in network.modules())


@pytest.mark.parametrize(("name", "sites"), [("convnet", 4), ("mlp", 2), ("resnet20", 19)])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32)])
def test_shapes_and_sites(name: str, sites: int, shape: tuple[int, int, int]) -> None:
    network = build(name, shape, 7, seed=0)
    logits = network(torch.randn(4, *shape))
    assert logits.shape == (4, 7)
    assert logits.isfinite().all()
    assert activations(network) == sites


SIZES = ((8, 8), (9, 9), (15, 15), (16, 16), (28, 28), (48, 48), (8, 48), (17, 9), (3, 40), (1, 1))


@pytest.mark.parametrize(
    ("name", "size"),
    [("resnet20", size) for size in ((9, 9), (17, 9), (1, 1))]
    + [(name, size) for name in ("convnet", "mlp") for size in SIZES],
)
def test_any_size(name: str, size: tuple[int, int]) -> None:
    network = build(name, (1, *size), 3, seed=0)
    network(torch.randn(2, 1, *size)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_convnet_pools_as_often_as_the_image_allows() -> None:
    def poolings(size: int) -> int:
        return sum(isinstance(m, nn.MaxPool2d) for m in build("convnet", (1, size, size), 2, seed=0).modules())

    assert [poolings(size) for size in (1, 2, 4, 8, 16, 48)] == [0, 1, 2, 3, 4, 4]


def test_resnet20_has_the_papers_size() -> None:
    network = build("resnet20", (3, 32, 32), 10, seed=0)
    assert 269_000 <= sum(parameter.numel() for parameter in network.parameters()) <= 273_000  # He et al.: 0.27 M
    layers = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert len(layers) == 20


def test_resnet20_shortcut_is_option_a() -> None:
    block = ResidualBlock(2, 4, 2)
    x = torch.arange(32.0).reshape(1, 2, 4, 4)
    expected = torch.cat([x[:, :, ::2, ::2], torch.zeros(1, 2, 2, 2)], 1)
    assert torch.equal(block._shortcut(x), expected)
    assert ResidualBlock(4, 4, 1)._shortcut(x) is not None


# --- anyone's network ---

MODULE = """
import torch
from torch import nn

class Small(nn.Sequential):
    def __init__(self, image_shape, n_classes, width=5):
        c, h, w = image_shape
        super().__init__(nn.Flatten(), nn.Linear(c * h * w, width), nn.ReLU(), nn.Linear(width, n_classes))

class Nets:
    small = Small

seen = {}

def everything(image_shape, in_channels, in_chans, image_size, num_classes, n_classes, **rest):
    seen.update(locals())
    return Small(image_shape, num_classes)

def needs_depth(num_classes, depth):
    return Small((1, 8, 8), num_classes)

def returns_text(num_classes):
    return "a network"

def raises(num_classes):
    raise KeyError("no weights")

def asserts_in_forward(num_classes):
    class Picky(Small):
        def forward(self, x):
            assert x.shape[-1] == 224, "wants 224"
    return Picky((1, 8, 8), num_classes)

def gives_a_tuple(num_classes):
    class Two(Small):
        def forward(self, x):
            return super().forward(x), x
    return Two((1, 8, 8), num_classes)

def too_few_outputs(num_classes):
    return Small((1, 8, 8), num_classes - 1)

def another_size(num_classes):
    return Small((1, 4, 4), num_classes)

def no_activation(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))

def functional(num_classes):
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(64, num_classes)
        def forward(self, x):
            for child in self.children():
                x = torch.relu(child(x.flatten(1)))
            return x
    return Functional()

number = 3
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module with networks that lies in the working directory."""
    name = f"own_nets_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(MODULE)
    (tmp_path / "broken_net.py").write_text("def small(:\n")
    (tmp_path / "raising_net.py").write_text("raise RuntimeError('first line\\nsecond line')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    return name


def test_factory_from_the_working_directory(own: str) -> None:
    assert str(Path.cwd()) not in sys.path
    network = build(f"{own}:Small", (2, 3, 4), 6, seed=0)
    assert network(torch.zeros(1, 2, 3, 4)).shape == (1, 6)
    assert network[1].out_features == 5
    assert type(build(f"{own}:Nets.small", (2, 3, 4), 6, seed=0)) is type(network)


def test_factory_is_given_what_it_asks_for(own: str) -> None:
    build(f"{own}:everything", (2, 3, 4), 6, seed=0)
    seen = sys.modules[own].seen
    assert seen == {
        "image_shape": (2, 3, 4), "in_channels": 2, "in_chans": 2, "image_size": (3, 4),
        "num_classes": 6, "n_classes": 6, "rest": {},
    }  # fmt: skip


def test_own_network_is_paired_too(own: str) -> None:
    settings = tiny(network=f"{own}:Small")
    relu, asau = (train.build(experiment_of(settings, data_of(tiny())), name, 0)[0] for name in ("relu", "asau"))
    assert torch.equal(relu[1].weight, asau[1].weight)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("convnett", "no network is called 'convnett'. Did you mean 'convnet'?"),
        ("zzz", f"{', '.join([*NETWORKS][-2:])}. Your own is given as package.module:factory."),
        ("no_such_module:net", "'no_such_module:net' cannot be imported (ModuleNotFoundError: No module named"),
        ("OWN:missing", "cannot be imported (AttributeError"),
        ("OWN:", "cannot be imported"),
        (":net", "cannot be imported"),
        (".nets:net", "cannot be imported"),
        ("broken_net:small", "cannot be imported (SyntaxError"),
        ("raising_net:small", "cannot be imported (RuntimeError: first line)."),
        ("OWN:number", "is int, which cannot be called"),
        ("OWN:needs_depth", "needs depth; it may only need image_shape, in_channels"),
        ("OWN:returns_text", "returned str, not a torch.nn.Module"),
        ("OWN:raises", "failed (KeyError: 'no weights')"),
    ],
)
def test_bad_networks(name: str, expected: str, own: str) -> None:
    with pytest.raises(SpecError) as caught:
        build(name.replace("OWN", own), (1, 8, 8), 10, seed=0)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("factory", "expected"),
    [
        (
            "asserts_in_forward",
            "cannot take images of shape (1, 8, 8) (AssertionError: wants 224); try another",
        ),
        ("another_size", "cannot take images of shape (1, 8, 8) (RuntimeError"),
        ("gives_a_tuple", "gives tuple for 2 images and 10 classes; it must give one number a class"),
        ("too_few_outputs", "gives outputs of shape (2, 9) for 2 images and 10 classes"),
        ("no_activation", "has no activation to replace."),
        (
            "functional",
            "torch.relu(child(x.flatten(1))), and this forward goes through its children); make it a module",
        ),
    ],
)
def test_networks_that_do_not_fit(factory: str, expected: str, own: str) -> None:
    settings = tiny(network=f"{own}:{factory}")
    with pytest.raises(StudyError) as caught:
        probe(experiment_of(settings, data_of(tiny())))
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_probe_leaves_a_good_network_alone(own: str) -> None:
    assert probe(experiment_of(tiny(network=f"{own}:Small"), data_of(tiny()))) == []
