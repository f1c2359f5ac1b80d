"""Every way of calling an activation is reached, and the model stays a model: gradients, copies, states, undo."""

from __future__ import annotations

import copy
import inspect
import pickle
import traceback
import typing

import nasty
import pytest
import torch
from checks import assert_same, check_swap, evaluated
from torch import nn
from torch.nn import functional as F

import limen
from limen.errors import LimenError, SpecError

UNTRAINED = {"Branches": ("gelu_1", "gelu_2"), "Held": ("table_relu",)}
"""Sites in branches that the examples do not take."""


@pytest.fixture
def inputs():
    return torch.randn(3, nasty.WIDTH)


@pytest.mark.parametrize("network", nasty.ALL, ids=lambda cls: cls.__name__)
def test_every_call_is_a_site(network, inputs):
    untrained = UNTRAINED.get(network.__name__, ())
    report = check_swap(network, inputs, sites=network.sites, untrained=untrained)
    assert len(report.skipped) == getattr(network, "kept", 0)


@pytest.mark.parametrize("network", nasty.ALL, ids=lambda cls: cls.__name__)
def test_a_relu_for_a_relu_changes_nothing(network, inputs):
    """Every nn.ReLU, F.relu, x.relu_() and clamp(min=0) replaced by limen's ReLU: the same network, in place or not."""
    torch.manual_seed(0)
    model, x = network().double(), inputs.double()
    before = evaluated(model, x)
    with limen.swapped(model, "relu", where=nn.ReLU) as report:
        assert report.sites
        now = evaluated(model, x)
    for a, b in zip(before, now, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("network", nasty.ALL, ids=lambda cls: cls.__name__)
def test_compile_without_graph_breaks(network, inputs):
    model = network().eval()
    limen.swap_(model, "asau")
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(inputs), model(inputs))


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("network", nasty.ALL, ids=lambda cls: cls.__name__)
def test_export(network, strict, inputs):
    model = network().eval()
    if network is nasty.Child and strict:
        with pytest.raises(RuntimeError):  # checkpoint: no better before the swap
            torch.export.export(model, (inputs,), strict=strict)
        return
    limen.swap_(model, "asau")
    program = torch.export.export(model, (inputs,), strict=strict)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(inputs), model(inputs))


def test_locations_name_file_and_line(inputs):
    model = nasty.Functions()
    report = limen.swap_(model, "asau")
    lines = inspect.getsource(nasty).splitlines()
    for site in report.sites:
        file, _, line = site.location.rpartition(":")
        assert file == nasty.__file__
        assert "self." in lines[int(line) - 1]
    assert "F.relu(self.a(x))" in lines[int(report.sites[0].location.rpartition(":")[2]) - 1]


def test_tracebacks_and_source_stay_right():
    model = nasty.Functions()
    limen.swap_(model, "asau")
    with pytest.raises(RuntimeError) as caught:
        model(torch.randn(3, 5))
    frame = next(f for f in traceback.extract_tb(caught.value.__traceback__) if f.filename == nasty.__file__)
    assert frame.line == "x = F.relu(self.a(x))"
    assert inspect.getsource(type(model).forward) == inspect.getsource(nasty.Functions.forward)
    assert isinstance(model, nasty.Functions)
    assert type(model).__name__ == "Functions"


def test_share_instance_keeps_the_tie(inputs):
    model = nasty.Instances()
    report = limen.swap_(model, "asau", share="instance", example_inputs=inputs)
    assert [site.path for site in report.sites] == ["relu", "loop", "acts.gelu"]
    tied = nn.ReLU()
    pair = nn.Sequential(tied, nn.Linear(2, 2), tied)
    limen.swap_(pair, "asau", share="instance")
    assert pair[0] is pair[2]


def test_one_class_may_be_swapped_in_one_place_only(inputs):
    model = nn.Sequential(nasty.Functions(), nasty.Functions())
    report = limen.swap_(model, "asau", where="0.*", example_inputs=inputs)
    assert len(report.sites) == 9
    assert {site.reason for site in report.skipped} == {"not named by where"}
    assert type(model[1]) is nasty.Functions
    second = limen.swap_(model, "swish", where=["1.relu*", "0.relu_1"])
    assert {site.path for site in second.sites} == {"0.relu_1", "1.relu_1", "1.relu_2", "1.relu_3", "1.relu_4",
                                                    "1.relu_5"}  # fmt: skip
    assert isinstance(model[0].relu_1, limen.Swish)
    second.undo()
    report.undo()
    assert type(model[0]) is nasty.Functions


def test_a_class_in_where_selects_calls_too(inputs):
    report = limen.swap_(nasty.Functions(), "asau", where=nn.LeakyReLU)
    assert [site.before for site in report.sites] == ["LeakyReLU(negative_slope=0.2)"]


def test_a_path_that_fits_nothing_is_an_error():
    with pytest.raises(SpecError, match=r"where='relu_9' fits none of the model's 9 sites\. Did you mean 'relu_"):
        limen.swap_(nasty.Functions(), "asau", where="relu_9")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": ["rleu_1"]}, r"keep='rleu_1' fits none of the model's 9 sites\. Did you mean 'relu_"),
        ({"where": ["relu_1", 3]}, "where=3 says of no site"),
        ({"where": 3}, "where=3 says of no site"),
        ({"keep": None}, "keep=None says of no site"),
        ({"keep": nn.ReLU()}, r"keep=ReLU\(\) says of no site"),
    ],
)
def test_a_choice_that_means_nothing_is_an_error(options, message):
    model = nasty.Functions()
    with pytest.raises(SpecError, match=message):
        limen.swap_(model, "asau", **options)
    assert type(model) is nasty.Functions


class Index(nn.Module):
    """A layer in front and a name in where do not make an index an activation's input."""

    def __init__(self):
        super().__init__()
        self.table, self.act = nn.Embedding(4, 4), nn.ReLU()

    def forward(self, index):
        return F.relu(self.table(self.act(index - 1)))


def test_integers_are_no_input_for_an_activation():
    model, index = Index().eval(), torch.tensor([0, 1, 4])
    report = limen.swap_(model, "asau", where="*", example_inputs=index)
    assert [site.path for site in report.sites] == ["relu_1"]
    assert [(site.path, site.reason) for site in report.skipped] == [("act", "its input is a tensor of integers")]
    assert type(model.act) is nn.ReLU
    assert model(index).shape == (3, 4)


def test_guards_are_replaced_when_named(inputs):
    report = limen.swap_(nasty.Guards(), "asau", where="*")
    assert len(report.sites) == 4


@pytest.mark.parametrize("examples", [(), (torch.ones(2, 4), torch.ones(2, 4))])
def test_examples_that_do_not_fit_are_an_error(examples):
    with pytest.raises(LimenError, match=rf"holds {len(examples)} arguments, and the model's forward\(x\) does not"):
        limen.swap_(nasty.Functions(), "asau", example_inputs=examples)


def test_what_is_no_model_is_an_error():
    with pytest.raises(LimenError, match=r"an nn\.Module, and str was given"):
        limen.swap_("x", "asau")


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


class Classes(nasty.Base):
    """Class methods, called by instance, class and name; they call a static one and one another."""

    factor = 2

    @classmethod
    def one(cls, x):
        return F.relu(x) * cls.factor + cls.still(cls.two(x)) + len(cls.__mro__)

    @classmethod
    def two(cls, x):
        return F.gelu(x)

    @staticmethod
    def still(x):
        return F.silu(x) + 1

    def forward(self, x):
        other = self.two
        return self.one(self.a(x)) + Classes.two(self.b(x)) + other(x)


class Outside(nasty.Base):
    """A class method of another class."""

    def forward(self, x):
        return Classes.two(self.a(x))


def test_class_methods_are_reached(inputs):
    check_swap(Classes, inputs, sites=3)
    model = Classes().eval()
    before = evaluated(model, inputs)
    limen.swap_(model, limen.ReLU, where=nn.ReLU)
    assert_same(evaluated(model, inputs), before)
    assert torch.equal(type(model).two(inputs), F.gelu(inputs))
    (named,) = limen.swap_(Outside(), "asau").unreached
    assert "two, a class method of another object" in named


def test_gates_are_replaced_when_named(inputs):
    model = nasty.Gates()
    report = limen.swap_(model, "asau", where="sigmoid_*", example_inputs=inputs)
    assert len(report.sites) == 3


def test_gates_are_kept_with_the_reason():
    reasons = [site.reason for site in limen.swap_(nasty.Gates(), "asau").skipped]
    assert sum("output head" in reason for reason in reasons) == 1
    assert sum("recurrent" in reason for reason in reasons) == 1
    assert sum("weighs several" in reason for reason in reasons) == 1
    assert sum(reason == "a gate, not an activation" for reason in reasons) == 3


class Iterating(nn.Module):
    """Its forward would meet a registered activation among its children."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        for child in self.children():
            x = F.relu(child(x))
        return x


class Unknown(nn.Module):
    """Activations behind what only a run can tell."""

    def __init__(self):
        super().__init__()
        self.name = "relu"
        self.layer = nn.Linear(4, 4)

    @property
    def act(self):
        return F.gelu

    def forward(self, x):
        return self.act(self.layer(x))

    def predict(self, x):
        return torch.sigmoid(self(x))


def test_what_cannot_be_reached_is_named(inputs):
    (named,) = limen.swap_(Iterating(), "asau").unreached
    assert "F.relu(child(x))" in named
    assert f"{__file__}:" in named
    report = limen.swap_(Unknown(), "asau", example_inputs=inputs)
    (named,) = report.unreached
    assert "gelu, seen while the model ran" in named
    (kept,) = report.skipped
    assert "Unknown.predict: sigmoid" in kept.before
    namespace = {"nn": nn, "F": F, "__name__": "typed"}
    exec("class Typed(nn.Module):\n    def forward(self, x):\n        return F.relu(x.sum(0))", namespace)
    (named,) = limen.swap_(nn.Sequential(namespace["Typed"](), nn.ReLU()), "asau").unreached
    assert "relu in Typed.forward, and there is no source to rewrite" in named


class Default(nn.Module):
    """A function as a default argument."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x, act=F.gelu):
        return act(F.relu(self.layer(x)))


def test_more_that_is_named(inputs):
    report = limen.swap_(Default(), "asau")
    assert len(report.sites) == 1
    (named,) = report.unreached
    assert named.endswith("gelu as a default argument")
    graph = torch.fx.symbolic_trace(nasty.Items())
    report = limen.swap_(graph, "asau", example_inputs=inputs)
    assert [site.path for site in report.sites] == ["1"]
    assert any("relu at node relu" in named for named in report.unreached)


def test_a_compiled_model(inputs):
    model = nasty.Functions()
    compiled = torch.compile(model, backend="eager")
    before = compiled(inputs)
    report = limen.swap_(compiled, "asau", example_inputs=inputs)
    assert len(report.sites) == 9
    assert not report.unreached
    torch.testing.assert_close(compiled(inputs), model(inputs))
    report.undo()
    torch.testing.assert_close(compiled(inputs), before)


def test_metaclasses_slots_and_registries():
    """Deriving a class must not tell those who keep count of subclasses."""

    class Registering(nn.Module):
        __slots__ = ("slot",)
        seen: typing.ClassVar[list] = []

        def __init_subclass__(cls, *, tag, **kwargs):
            super().__init_subclass__(**kwargs)
            Registering.seen.append(tag)

    class Registered(Registering, tag="one"):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            return F.relu(self.layer(x))

    model = Registered()
    model.slot = 3
    assert len(limen.swap_(model, "asau").sites) == 1
    assert model.slot == 3
    assert Registering.seen == ["one"]


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


@pytest.mark.parametrize("to", ["asau:beta=2", limen.ASAU(beta=2.0), lambda: limen.ASAU(beta=2.0), limen.ASAU])
def test_all_that_an_activation_may_be_given_as(to, inputs):
    model = nasty.Instances()
    report = limen.swap_(model, to, example_inputs=inputs)
    assert len({id(m) for m in model.modules() if isinstance(m, limen.ASAU)}) == len(report.sites) == 5


def test_a_parameter_a_channel(inputs):
    model = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(), nn.ReLU(), nn.Flatten(),
        nn.LazyLinear(5), nn.GELU(),
    )  # fmt: skip
    images = torch.randn(2, 1, 8, 8)
    model(images)
    limen.swap_(model, "asau", num_parameters="channel")
    shapes = [(m.num_parameters, m.channel_dim) for m in model if isinstance(m, limen.ASAU)]
    assert shapes == [(6, 1), (6, 1), (5, -1)]
    nested = nasty.Functions()
    limen.swap_(nested, "asau", num_parameters="channel")
    assert {(m.num_parameters, m.channel_dim) for m in nested.modules() if isinstance(m, limen.ASAU)} == {(4, -1)}
    nested(inputs).sum().backward()


def test_channels_that_cannot_be_told_stop_before_anything_is_replaced(inputs):
    model = nn.Sequential(nn.Flatten(), nn.ReLU())
    with pytest.raises(LimenError, match="example_inputs"):
        limen.swap_(model, "asau", num_parameters="channel")
    assert type(model[1]) is nn.ReLU
    limen.swap_(model, "asau", num_parameters="channel", example_inputs=inputs)
    assert model[1].num_parameters == 4


def test_warm_start_comes_near_and_says_how_far(inputs):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    x = torch.randn(256, 4)
    before = evaluated(model, x)
    with limen.swapped(model, "asau", example_inputs=x) as cold:
        pass
    assert_same(evaluated(model, x), before)
    warm = limen.swap_(model, "asau", warm_start=True, example_inputs=x)
    assert all(site.drift < site.fit_before for site in warm.sites)
    assert warm.drift < cold.drift / 3
    alone = nn.Sequential(nn.ReLU())
    assert limen.swap_(alone, "swish", warm_start=True).sites[0].drift < 0.05


def test_batch_norm_statistics_are_estimated_anew_and_restored():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.BatchNorm1d(4)).eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    report = limen.swap_(model, "asau", example_inputs=torch.randn(64, 4), reestimate_batch_norm=True)
    assert report.renormalised == 1
    assert not torch.equal(model[2].running_mean, before["2.running_mean"])
    report.undo()
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
