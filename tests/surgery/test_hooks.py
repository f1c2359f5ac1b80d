"""Each site has hooks of its own, those of what it stands for among them, which go when their handles say so."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

import limen


class Twice(nn.Module):
    """Calls one activation at two places."""

    def __init__(self, act):
        super().__init__()
        self.a, self.b, self.act = nn.Linear(4, 4), nn.Linear(4, 4), act

    def forward(self, x):
        return self.act(self.b(self.act(self.a(x))))


class Hidden(nn.Module):
    """Holds activations that are not registered."""

    def __init__(self, act):
        super().__init__()
        self.a, self.acts = nn.Linear(4, 4), [act, act]

    def forward(self, x):
        return self.acts[1](self.acts[0](self.a(x)) + 1)


def listed(act):
    return nn.Sequential(nn.Linear(4, 4), act, nn.Linear(4, 4), act)


@pytest.fixture(params=[Twice, Hidden, listed])
def network(request):
    torch.manual_seed(0)
    return request.param


@pytest.fixture
def x():
    return torch.randn(8, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)


def sites(model):
    return [module for module in model.modules() if isinstance(module, limen.ASAU)]


KINDS = {
    "forward": ("register_forward_hook", {}),
    "first": ("register_forward_hook", {"prepend": True}),
    "with keywords": ("register_forward_hook", {"with_kwargs": True}),
    "always": ("register_forward_hook", {"always_call": True}),
    "before": ("register_forward_pre_hook", {}),
    "before, with keywords": ("register_forward_pre_hook", {"with_kwargs": True}),
    "backward": ("register_full_backward_hook", {}),
    "before backward": ("register_full_backward_pre_hook", {}),
    "state": ("register_state_dict_post_hook", {}),
    "before the state": ("register_state_dict_pre_hook", {}),
    "before loading": ("register_load_state_dict_pre_hook", {}),
    "after loading": ("register_load_state_dict_post_hook", {}),
}


def use(model, x):
    model(x).sum().backward()
    model.load_state_dict(model.state_dict())


@pytest.mark.parametrize("kind", KINDS)
def test_old_hooks_come_along_to_each_site_and_go_by_the_old_handle(kind, network, x):
    act, called = nn.ReLU(), []
    model = network(act)
    method, options = KINDS[kind]

    def hook(module, *_, **__):
        called.append(id(module))

    handle = getattr(act, method)(hook, **options)
    use(model, x)
    old = {name: held for name, held in vars(act).items() if name.endswith("hooks")}
    report = limen.swap_(model, "asau", example_inputs=x)
    called.clear()
    use(model, x)
    assert set(called) == {id(site) for site in sites(model)}
    handle.remove()
    called.clear()
    use(model, x)
    assert not called
    report.undo()
    assert all(vars(act)[name] is held for name, held in old.items())
    use(model, x)
    assert not called


def test_a_new_hook_is_on_its_own_site_only(network, x):
    act, called = nn.ReLU(), []
    act.register_forward_hook(lambda *_: called.append("old"))
    model = network(act)
    report = limen.swap_(model, "asau")
    first, second = sites(model)
    handle = first.register_forward_hook(lambda *_: called.append("new"), prepend=True)
    model(x)
    assert called == ["new", "old", "old"]
    handle.remove()
    second.register_forward_pre_hook(lambda *_: called.append("before"))
    called.clear()
    model(x)
    assert sorted(called) == ["before", "old", "old"]
    report.undo()
    called.clear()
    model(x)
    assert called == ["old", "old"]


def test_hooks_that_change_values_keep_their_order_through_two_swaps(x):
    act = nn.ReLU()
    handles = [act.register_forward_hook(lambda _, __, y, k=k: y * 2 + k) for k in (1, 2)]
    handles.append(act.register_forward_hook(lambda _, __, y: y - 5, prepend=True))
    model = Twice(act)
    first = limen.swap_(model, nn.ReLU, example_inputs=x)
    second = limen.swap_(model, nn.ReLU, example_inputs=x)
    expected = copy.deepcopy(model)
    for removed in (0, 2, 1):
        assert torch.equal(model(x), copy.deepcopy(model)(x))
        handles[removed].remove()
    assert not model.act._forward_hooks
    assert not model.act_2._forward_hooks
    assert expected.act._forward_hooks
    second.undo()
    first.undo()
    assert not act._forward_hooks


def shift(_, __, y):
    return y + 1


def test_carried_hooks_copy_pickle_and_compile(x):
    act = nn.ReLU()
    handle = act.register_forward_hook(shift)
    model = Twice(act)
    limen.swap_(model, "asau")
    expected = model(x)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(twin(x), expected)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    assert torch.allclose(compiled(x), expected)
    handle.remove()
    assert not torch.equal(model(x), expected)


def test_statistics_part_the_sites_of_one_module(x):
    model = Twice(nn.ReLU())
    limen.swap_(model, "asau")
    with torch.no_grad():
        model.b.bias.fill_(50.0)
    first, second = limen.inspect.statistics(model, x)
    assert abs(first.mean) < 5 < 45 < second.mean


def test_what_arrives_at_two_places_of_one_module_is_not_mixed(x):
    act = nn.ReLU()
    model = nn.Sequential(nn.Linear(4, 4), act, nn.Linear(4, 6), act)
    limen.swap_(model, "asau", num_parameters="channel", example_inputs=x.detach())
    assert [site.num_parameters for site in sites(model)] == [4, 6]
