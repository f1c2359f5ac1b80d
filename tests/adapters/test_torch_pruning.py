"""Activations shrink with their layer; with Torch-Pruning itself where that is installed."""

from __future__ import annotations

import copy

import pytest
import torch
from helpers import LEARNING, library
from torch import nn

import limen
from limen.adapters.torch_pruning import ChannelPruner, keep_channels_

CHANNELS = 6
KEPT = [0, 1, 3, 5]


def apart(name, **form):
    """An activation whose values, of all tensors, differ from channel to channel."""
    module = limen.create(name, **form).eval()
    with torch.no_grad():
        for values in (*module.parameters(), *module.buffers()):
            if values.is_floating_point():
                values.add_(0.2 * torch.rand_like(values))
    return module


def by_channel(module):
    """The values of each parameter, learned or not, of every channel."""
    return {
        name: values.detach().repeat_interleave(module.group_size, 0) if values.numel() > 1 else values.detach()
        for name, values in module.parameter_values().items()
    }


def assert_kept(module, before, kept):
    after = by_channel(module)
    for name, values in before.items():
        expected = values[kept] if len(values.flatten()) > 1 else values
        assert torch.equal(after[name].flatten(), expected.flatten()), name
    assert module(torch.randn(2, len(kept), 3)).shape == (2, len(kept), 3)


FORMS = [{}, {"num_parameters": CHANNELS}, {"num_parameters": 3, "group_size": 2}]


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("name", LEARNING)
def test_every_tensor_of_one_a_channel_shrinks(name, form):
    module = apart(name, **form)
    before, shared = by_channel(module), module.num_parameters == 1
    assert ChannelPruner().get_out_channels(module) == (None if shared else CHANNELS)
    assert ChannelPruner().prune_out_channels(module, [2, 4]) is module
    assert (module.num_parameters, module.group_size) == (1 if shared else len(KEPT), 1)
    assert_kept(module, before, KEPT)
    fresh = limen.create(name, num_parameters=module.num_parameters)
    fresh.load_state_dict(module.state_dict())


@pytest.mark.parametrize(
    ("kept", "form"),
    [([0, 2, 5], (3, 1)), ([0, 1, 4, 5], (2, 2)), ([2, 3], (1, 1)), ([4], (1, 1)), ([0, 1, 2], (3, 1))],
)
def test_groups_stay_where_they_are_even(kept, form):
    for name in ("asau", "adact"):
        module = apart(name, num_parameters=3, group_size=2)
        before = by_channel(module)
        keep_channels_(module, kept)
        assert (module.num_parameters, module.group_size) == form
        expected = {key: values[kept[:1]] if form[0] == 1 else values for key, values in before.items()}
        assert_kept(module, expected, kept)


def test_gradients_types_and_what_is_frozen_stay():
    module = limen.ASAU(num_parameters=4, dtype=torch.float64)
    module.alpha.requires_grad_(False)
    module(torch.randn(3, 4, dtype=torch.float64)).sum().backward()
    gradient = module.beta.grad
    keep_channels_(module, [1, 2])
    assert torch.equal(module.beta.grad, gradient[1:3])
    assert (module.alpha.requires_grad, module.alpha.dtype) == (False, torch.float64)
    assert [name for name, _ in module.named_buffers()] == ["a", "b"]


def test_a_mixture_of_objects_has_the_channels_of_its_candidates():
    module = limen.AdAct((limen.ASAU(num_parameters=4), limen.ReLU()))
    assert ChannelPruner().get_in_channels(module) == 4
    keep_channels_(module, [0, 3])
    assert module.logits.shape == (2,)
    with limen.use_backend("plain"):
        assert module(torch.randn(2, 2)).shape == (2, 2)


def network(make, channels=CHANNELS):
    return nn.Sequential(
        nn.Conv2d(3, channels, 3), nn.BatchNorm2d(channels), make(), nn.Conv2d(channels, 4, 3), nn.Flatten()
    ).eval()


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.a, self.b, self.head = (nn.Conv2d(*sizes, 1) for sizes in ((3, 8), (8, 8), (8, 8), (8, 2)))

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = torch.relu(x + self.b(torch.relu(self.a(x))))
        return self.head(x).mean((2, 3))


@pytest.mark.filterwarnings("ignore:Unwrapped parameters detected")
class TestTorchPruning:
    @pytest.fixture(autouse=True)
    def _registered(self):
        self.library = library("torch_pruning")
        self.x = torch.randn(2, 3, 6, 6)
        library("limen.adapters.torch_pruning").register()
        yield
        library("limen.adapters.torch_pruning").unregister()

    def pruned(self, model, layer, idxs, **named):
        graph = self.library.DependencyGraph().build_dependency(model, self.x, **named)
        graph.get_pruning_group(layer, self.library.prune_conv_out_channels, idxs=idxs).prune()

    @pytest.mark.parametrize("form", FORMS, ids=str)
    @pytest.mark.parametrize("name", LEARNING)
    def test_a_layer_is_pruned_with_its_activation(self, name, form):
        module = apart(name, **form)
        model, before = network(lambda: module), by_channel(module)
        self.pruned(model, model[0], [2, 4])
        assert model[0].out_channels == model[3].in_channels == len(KEPT)
        assert_kept(module, before, KEPT)
        model(self.x).sum().backward()

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_as_the_network_without_those_channels(self, dtype):
        model = network(lambda: apart("asau", num_parameters=CHANNELS)).to(dtype)
        self.x = self.x.to(dtype)
        whole = copy.deepcopy(model)
        with torch.no_grad():
            whole[3].weight[:, [2, 4]] = 0.0
        self.pruned(model, model[0], [2, 4])
        torch.testing.assert_close(model(self.x), whole(self.x))

    def test_a_swapped_network_of_residual_sums_by_a_pruner(self):
        model = Residual()
        limen.swap_(model, "adact", num_parameters="channel", example_inputs=self.x)
        importance = self.library.importance.MagnitudeImportance(p=2)
        pruner = self.library.pruner.MagnitudePruner(
            model, self.x, importance, pruning_ratio=0.5, ignored_layers=[model.head], iterative_steps=2
        )
        for channels in (6, 4):
            pruner.step()
            activations = [module for module in model.modules() if isinstance(module, limen.AdAct)]
            assert [module.num_parameters for module in activations] == [channels] * 3
            assert [tuple(module.logits.shape) for module in activations] == [(channels, 7)] * 3
            model(self.x).sum().backward()

    def test_one_module_in_two_places(self):
        shared = limen.Swish(num_parameters=6)
        model = nn.Sequential(nn.Conv2d(3, 6, 1), shared, nn.Conv2d(6, 6, 1), shared, nn.Conv2d(6, 2, 1)).eval()
        self.pruned(model, model[0], [1])
        assert (model[2].out_channels, shared.num_parameters, len(shared.beta)) == (5, 5, 5)
        model(self.x)

    def test_your_own_pruner_is_taken_and_unregistering_leaves_nothing(self):
        class Refusing(ChannelPruner):
            def prune_out_channels(self, layer, idxs):
                raise NotImplementedError

            prune_in_channels = prune_out_channels

        model = network(lambda: limen.ASAU(num_parameters=CHANNELS))
        with pytest.raises(NotImplementedError):
            self.pruned(model, model[0], [2], customized_pruners={limen.ASAU: Refusing()})
        assert "forward" not in vars(model[2])
        adapter = library("limen.adapters.torch_pruning")
        adapter.register()
        adapter.unregister()
        adapter.unregister()
        graph = self.library.DependencyGraph
        assert graph.build_dependency.__module__.startswith("torch_pruning")
