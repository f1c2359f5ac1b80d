"""Surgery takes care: of what it was told to keep, of overwritten inputs, of lists, of failures and of undo."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import limen
from limen.errors import LimenError


@pytest.fixture
def x():
    torch.manual_seed(0)
    return torch.randn(5, 4)


class Remembering(nn.Module):
    """Holds a tensor with a history, which cannot be deep-copied."""

    def forward(self, x):
        self.loss = (x * x).mean()
        return x


class Locked(nn.Module):
    """Holds a lock, which cannot be deep-copied either."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()

    def forward(self, x):
        with self.lock:
            return x


@pytest.mark.parametrize("other", [Remembering, Locked])
def test_a_module_that_cannot_be_copied_is_no_obstacle(other, x):
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), other())
    model(x)
    assert [site.path for site in limen.swap_(model, "asau").sites] == ["1"]


class Residual(nn.Module):
    """Its branch overwrites what the shortcut adds."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 4))

    def forward(self, x):
        return x + self.body(x)


class Statement(nn.Module):
    """Relies on the overwriting alone."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(4, 4)

    def forward(self, x):
        F.relu(x, inplace=True)
        return self.last(x)


@pytest.mark.parametrize("block", [Residual, Statement])
def test_a_second_swap_still_overwrites(block, x):
    model = nn.Sequential(nn.Linear(4, 4), block())
    before = model(x)
    limen.swap_(model, "swish")
    assert not torch.equal(model(x), before)
    limen.swap_(model, "relu")
    torch.testing.assert_close(model(x), before)


class Twice(nn.Module):
    """Calls what it holds two times, once with an argument more."""

    def __init__(self, act):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.act = act

    def forward(self, x):
        return self.act(self.second(self.act(self.first(x))))

    def by_hand(self, x, first, second):
        return second(self.second(first(self.first(x))))


class Sloped(Twice):
    """Each call has a slope of its own, one known only when it runs."""

    def __init__(self):
        super().__init__(F.leaky_relu)

    def forward(self, x):
        return self.act(self.second(self.act(self.first(x), 0.3)), x.shape[1] / 10)


ONLY_THE_FIRST = [{"where": "act"}, {"keep": "act_2"}]


@pytest.mark.parametrize("options", ONLY_THE_FIRST)
@pytest.mark.parametrize("act", [nn.ReLU(), F.relu], ids=["module", "function"])
def test_a_call_that_is_kept_still_computes_what_it_did(act, options, x):
    model = Twice(act)
    before = model(x)
    report = limen.swap_(model, "swish", example_inputs=x, **options)
    assert [site.path for site in report.sites] == ["act"]
    assert [site.path for site in report.skipped] == ["act_2"]
    torch.testing.assert_close(model(x), model.by_hand(x, F.silu, F.relu))
    second = limen.swap_(model, "gelu", where="act_2")
    assert [site.path for site in second.sites + second.skipped] == ["act_2", "act"]
    torch.testing.assert_close(model(x), model.by_hand(x, F.silu, F.gelu))
    second.undo()
    report.undo()
    assert type(model) is Twice
    assert not hasattr(model, "act_2")
    assert torch.equal(model(x), before)


def test_a_call_that_is_kept_keeps_its_arguments(x):
    model = Sloped()
    limen.swap_(model, "swish", where="act", example_inputs=x)
    torch.testing.assert_close(model(x), model.by_hand(x, F.silu, lambda t: F.leaky_relu(t, 0.4)))


def test_weights_of_an_original_that_stays_load_and_go_back(x):
    model, other = Twice(nn.PReLU()), Twice(nn.PReLU(init=0.7))
    report = limen.swap_(model, "swish:beta=2", where="act")
    model.load_state_dict(other.state_dict(), strict=True)
    swish = limen.Swish(beta=2.0)
    torch.testing.assert_close(model(x), other.by_hand(x, swish, other.act))
    with torch.no_grad():
        model.act_2.weight.fill_(0.1)
    model.load_state_dict(model.state_dict(), strict=True)
    assert model.act_2.weight.item() == pytest.approx(0.1)
    back = Twice(nn.PReLU())
    back.load_state_dict(report.original_state(model.state_dict()), strict=True)
    assert back.act.weight.item() == pytest.approx(0.1)
    incomplete = {key: value for key, value in model.state_dict().items() if not key.startswith("act_2")}
    with pytest.raises(RuntimeError, match="act_2"):
        model.load_state_dict(incomplete, strict=True)


class Features(nn.Module):
    """Keeps what each layer of a Sequential gives, as perceptual losses do."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 4), nn.ReLU(True), nn.Linear(4, 4), nn.ReLU(True))

    def forward(self, x):
        found = []
        for layer in self.layers:
            x = layer(x)
            found.append(x)
        return torch.stack(found)


class Indexed(Features):
    """Reaches into a Sequential by index."""

    def forward(self, x):
        first = self.layers[0](x)
        return self.layers[1:](first) + first


class Named(Features):
    """Aliases the Sequential."""

    def forward(self, x):
        layers = self.layers
        first = layers[0](x)
        return layers[1](first) + first


class Layers(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 4)


class Inserted(Layers):
    def forward(self, x):
        kept = []
        h = self.first(x)
        kept.insert(0, h)
        h = F.relu_(h)
        return self.last(h) + kept[0]


class Viewed(Layers):
    def forward(self, x):
        h = self.first(x)
        view = h.view(-1)
        h = F.relu_(h)
        return self.last(h) + view.view(h.shape)


class Beside(Layers):
    def forward(self, x):
        h = self.first(x)
        h = F.relu_(h) + h
        return self.last(h)


class Branched(Layers):
    def forward(self, x):
        out = x.clone()
        held = [out]
        if x.shape[0] > 100:
            out = self.first(x)
        out = F.relu(out, inplace=True)
        return self.last(out) + held[0]


@pytest.mark.parametrize("examples", [False, True])
@pytest.mark.parametrize("network", [Features, Indexed, Named, Inserted, Viewed, Beside, Branched])
def test_an_overwritten_input_that_something_holds_is_overwritten_still(network, examples, x):
    model = network()
    before = model(x)
    limen.swap_(model, "relu", example_inputs=x if examples else None)
    torch.testing.assert_close(model(x), before)


def test_what_a_hook_holds_is_overwritten_still(x):
    for index in (0, 1):
        model, held = nn.Sequential(nn.Linear(4, 4), nn.ReLU(True)), []
        model[index].register_forward_hook(lambda *given, held=held: held.append(given))
        limen.swap_(model, "relu")
        assert "inplace" in repr(model[1])


class Plain(Layers):
    """Nothing else holds what is overwritten here."""

    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(nn.Linear(4, 4), nn.ReLU(True))

    def forward(self, x):
        h = self.first(self.block(x))
        size = h.shape[0]
        h = F.relu_(h)
        return self.last(h) * size


def test_nothing_is_copied_where_nothing_holds_the_input(x):
    model = Plain().eval()
    limen.swap_(model, "relu", example_inputs=x)
    assert "inplace" not in repr(model)


class Hidden(Layers):
    """Holds a list of layers where the source does not show it."""

    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(nn.Linear(4, 4), nn.ReLU(True))

    def forward(self, x):
        first, act = getattr(self, "bl" + "ock")._modules.values()
        h = first(x)
        return act(h) + h


def test_examples_prove_that_nothing_holds_an_overwritten_input(x):
    model = Hidden().eval()
    before = model(x)
    with pytest.raises(LimenError, match=r"keep some sites \(block\.1\)"):
        limen.swap_(model, "relu", example_inputs=x)
    assert torch.equal(model(x), before)
    assert not model.block[1].training


def test_an_error_after_the_installation_leaves_the_model_as_it_was(x):
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    before, state = model[2], {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        limen.swap_(model, "asau", example_inputs=torch.randn(1, 4), reestimate_batch_norm=True)
    assert model[2] is before
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert not model._load_state_dict_pre_hooks


class Widths(nn.Module):
    """One call for layers of several widths."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 8), nn.Linear(8, 5)])

    def forward(self, x):
        for layer in self.layers:
            x = F.relu(layer(x))
        return x


def test_channels_that_differ_from_call_to_call_cannot_be_told(x):
    model = Widths()
    with pytest.raises(LimenError, match="at relu_1 cannot be told: 8 and 5 arrive there"):
        limen.swap_(model, "asau", num_parameters="channel", example_inputs=x)
    assert type(model) is Widths
    limen.swap_(model, "asau", warm_start=True, example_inputs=x)


def test_undo_out_of_order_is_refused_and_harmless(x):
    for first_where, second_where in [(None, None), ("relu_1", "relu_2"), (["act", "relu_1"], "relu_2")]:
        model = Mixed()
        before = model(x)
        first = limen.swap_(model, "asau", where=first_where)
        second = limen.swap_(model, "swish", where=second_where)
        swapped = model(x)
        with pytest.raises(LimenError, match="undo"):
            first.undo()
        assert torch.equal(model(x), swapped)
        second.undo()
        first.undo()
        first.undo()
        assert type(model) is Mixed
        assert torch.equal(model(x), before)


@pytest.mark.parametrize(("first", "second"), [("act", "relu_1"), ("relu_1", "act")])
def test_swaps_that_do_not_touch_undo_in_any_order(first, second, x):
    model = Mixed()
    before = model(x)
    reports = [limen.swap_(model, "asau", where=first), limen.swap_(model, "swish", where=second)]
    for report in reports:
        report.undo()
    assert type(model) is Mixed
    assert torch.equal(model(x), before)


class Mixed(Layers):
    """A module and a call."""

    def __init__(self):
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, x):
        return F.relu(F.relu(self.last(self.act(self.first(x)))) - 1)


def test_undo_after_an_edit_is_refused():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU())
    report = limen.swap_(model, "asau")
    model[1] = nn.Tanh()
    with pytest.raises(LimenError, match="at '1' this swap put ASAU and there is Tanh now"):
        report.undo()
    assert [type(module).__name__ for module in model] == ["Linear", "Tanh", "Linear", "ASAU"]
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU())
    report = limen.swap_(model, "asau")
    asau = model[3]
    del model[3]
    with pytest.raises(LimenError, match="at '3' this swap put ASAU and there is nothing now"):
        report.undo()
    model.append(asau)
    report.undo()
    assert [type(module).__name__ for module in model] == ["Linear", "ReLU", "Linear", "ReLU"]


class Tabled(nn.Module):
    """Holds its activations in a dictionary, a list and a tuple."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.table, self.row, self.pair = {"r": F.relu}, [nn.GELU()], (F.silu, 3)

    def forward(self, x):
        return self.pair[0](self.row[0](self.table["r"](self.layer(x))))


def test_what_a_list_holds_is_swapped_a_second_time(x):
    model = Tabled()
    before = model(x)
    first = limen.swap_(model, "asau")
    named = limen.swap_(model, "relu", where="table_r")
    expected = model.pair_0(model.row_0(F.relu(model.layer(x))))
    torch.testing.assert_close(model(x), expected)
    second = limen.swap_(model, "swish")
    assert [site.path for site in second.sites] == ["table_r", "row_0", "pair_0"]
    torch.testing.assert_close(model(x), F.silu(F.silu(F.silu(model.layer(x)))))
    model(x).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    for report in (second, named, first):
        report.undo()
    assert model.table == {"r": F.relu}
    assert model.pair == (F.silu, 3)
    assert torch.equal(model(x), before)


def test_two_items_of_one_list_undo_in_any_order(x):
    model = Tabled()
    model.row = [nn.GELU(), F.relu]
    limen.swap_(model, "asau")
    held = list(model.row)
    reports = [limen.swap_(model, "swish", where="row_0"), limen.swap_(model, "swish", where="row_1")]
    assert all(isinstance(item, limen.Swish) for item in model.row)
    for report in reports:
        report.undo()
    assert all(a is b for a, b in zip(model.row, held, strict=True))
    assert [model.row_0, model.row_1] == held
