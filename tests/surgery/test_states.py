"""What lives on through a swap: items, states, hooks, modes, frozenness and statistics."""

from __future__ import annotations

import copy
import pickle

import nasty
import pytest
import torch
from torch import nn

import limen


def test_items_of_a_swapped_sequential_can_be_moved(inputs):
    model = nasty.Items()
    report = limen.swap_(model, "asau")
    model.insert(0, nn.Linear(4, 4))
    model[-1] = nn.Linear(4, 2)
    del model[1]
    assert [type(item).__name__ for item in model] == ["Linear", "ASAU", "Linear"]
    assert list(model._modules) == ["0", "1", "2", report.sites[-1].path]
    assert model(inputs).shape == (3, 2)


def test_states_from_between_two_swaps_load():
    model = nn.Sequential(nn.Linear(4, 4), nn.PReLU(), nn.Linear(4, 4), nn.ReLU())
    states = [copy.deepcopy(model.state_dict())]
    for activation in ("asau", "swish", "asau"):
        limen.swap_(model, activation, where=["1"] if activation == "swish" else None)
        states.append(copy.deepcopy(model.state_dict()))
    with torch.no_grad():
        for state in states:
            for parameter in model[0].parameters():
                parameter.fill_(7)
            model.load_state_dict(state, strict=True)
            assert torch.equal(model[0].weight, state["0.weight"])
    del states[-1]["3.beta"]
    with pytest.raises(RuntimeError, match="Missing"):
        model.load_state_dict(states[-1])


def test_states_of_what_had_parameters_load_where_nothing_has():
    model = nn.Sequential(nn.Linear(4, 4), nn.PReLU(), nn.Linear(4, 4), nn.PReLU())
    state = copy.deepcopy(model.state_dict())
    limen.swap_(model, "silu")
    model.load_state_dict(state, strict=True)
    with pytest.raises(RuntimeError, match="Unexpected"):
        model.load_state_dict({**state, "1.slope": torch.zeros(1)})


def test_old_states_of_a_part_load_there(inputs):
    model = nn.Sequential(nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.PReLU())), nn.PReLU())
    old = copy.deepcopy(model[0].state_dict())
    report = limen.swap_(model, "asau", example_inputs=inputs)
    whole = copy.deepcopy(model.state_dict())
    for part in (model, pickle.loads(pickle.dumps(model))):
        part[0].load_state_dict(old, strict=True)
        part[0][0].load_state_dict({key[2:]: value for key, value in old.items()}, strict=True)
    with pytest.raises(RuntimeError, match="Missing"):
        model.load_state_dict({key: value for key, value in whole.items() if not key.startswith("0.0.1.")})
    report.undo()
    model[0].load_state_dict(old, strict=True)
    assert not model[0]._load_state_dict_pre_hooks


def test_hooks_modes_and_frozenness_are_kept(inputs):
    model = nn.Sequential(nn.Linear(4, 4), nn.PReLU()).eval()
    model[1].requires_grad_(False)
    calls = []
    handle = model[1].register_forward_hook(lambda *_: calls.append(1))
    limen.swap_(model, "asau")
    assert not model[1].training
    assert not any(p.requires_grad for p in model[1].parameters())
    model(inputs)
    handle.remove()
    model(inputs)
    assert calls == [1]


def test_the_model_itself(inputs):
    model = nn.ReLU()
    report = limen.swap_(model, "asau", example_inputs=inputs)
    assert torch.equal(model(inputs), limen.ASAU()(inputs))
    assert list(model.state_dict()) == ["activation.alpha", "activation.beta", "activation.a", "activation.b"]
    report.undo()
    assert type(model) is nn.ReLU
    assert torch.equal(model(inputs), inputs.relu())


def test_batch_norm_statistics_are_estimated_anew_and_restored():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.BatchNorm1d(4)).eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    report = limen.swap_(model, "asau", example_inputs=torch.randn(64, 4), reestimate_batch_norm=True)
    assert report.renormalised == 1
    assert not torch.equal(model[2].running_mean, before["2.running_mean"])
    report.undo()
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
