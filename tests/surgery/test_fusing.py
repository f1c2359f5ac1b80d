"""What stands beside an activation in a model is computed with it, and all else is as it was."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import helpers_fusing as spelled
import pytest
import torch
from helpers import thoroughly
from helpers_fusing import Block, assert_close, assert_fused_is_the_same, trained
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import limen
from limen.beside import pairs
from limen.errors import LimenError
from limen.kernels import normed, summed
from limen.lab.networks.cifar_resnet import CifarResNet
from limen.lab.networks.densenet import DenseNet
from limen.lab.networks.mobilenet import MobileNet
from limen.lab.networks.preactivation import WideResNet


@pytest.fixture
def x() -> Tensor:
    return spelled.inputs()


@pytest.mark.parametrize("kind", spelled.SPELLINGS)
def test_every_spelling_is_found_and_computes_the_same(kind, x):
    model = kind()
    report = assert_fused_is_the_same(model, x)
    assert sorted(pair.kind for pair in report.pairs) == sorted(spelled.SPELLINGS[kind])
    assert report.left == []


@pytest.mark.parametrize("kind", spelled.SPELLINGS)
@pytest.mark.parametrize("to", ["asau", "relu"])
def test_what_a_swap_rewrote_is_fused_too(kind, to, x):
    model = kind()
    report = limen.swap_(model, to)
    fused = assert_fused_is_the_same(model, x)
    assert len(fused.pairs) == len(spelled.SPELLINGS[kind])
    fused.undo()
    report.undo()
    assert type(model) is kind


def test_a_swap_that_wrote_calls_is_undone_after_the_fusing(x):
    report = limen.swap_(model := spelled.Stepwise(), "asau")
    fused = limen.fuse_(model)
    with pytest.raises(LimenError, match="undo that first"):
        report.undo()
    fused.undo()
    report.undo()
    assert type(model) is spelled.Stepwise


def test_a_block_with_a_layer_in_its_shortcut(x):
    model = spelled.Residual()
    model.down = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
    report = assert_fused_is_the_same(model, x)
    assert [pair.kind for pair in report.pairs] == ["norm", "norm and sum"]


def test_a_part_that_comes_later_is_run(x):
    model, plain = spelled.Stepwise(), None
    plain = copy.deepcopy(model)
    limen.fuse_(model)
    for one in (model, plain):
        one.drop = nn.Hardtanh(-0.5, 0.5)
        one.pass1 = nn.Tanh()
    assert_close(trained(model, x), trained(plain, x))


def test_neighbours_in_a_sequential(x):
    model = nn.Sequential(
        nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4), nn.Identity(), nn.GELU("tanh"), nn.GroupNorm(2, 4), nn.Mish()
    )
    report = assert_fused_is_the_same(model, x)
    assert [pair.path for pair in report.pairs] == ["1, 3", "4, 5"]
    model.append(nn.BatchNorm2d(4))
    assert len(model) == 7
    assert isinstance(model[6], nn.BatchNorm2d)
    assert torch.isfinite(model(x)).all()


class Twice(Block):
    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(x)
        return self.act1(y) + y


class Looped(Block):
    def forward(self, x: Tensor) -> Tensor:
        y = x
        for _ in range(2):
            x = x + y
            y = self.bn1(x)
            z = self.act1(y)
        return z


class SharedNorm(Block):
    def forward(self, x: Tensor) -> Tensor:
        return self.act1(self.bn1(self.act2(self.bn1(x))))


class Overwritten(Block):
    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(x)
        z = self.relu(x.data)
        return self.act1(y + z)


class Branch(Block):
    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(x)
        if x.sum() > 1e9:
            return y
        return self.act1(y)


class SelfGated(Block):
    def forward(self, x: Tensor) -> Tensor:
        x = x * 1
        return self.relu(x) * x


class Closure(Block):
    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(x)
        later = lambda: y  # noqa: E731
        return self.act1(y) + later()


class Exact(Block):
    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.bn1(x), approximate="tanh")


class Other(Block):
    def forward(self, x: Tensor) -> Tensor:
        return F.hardswish(self.bn1(x))


LEFT: list[tuple[type[Block], str]] = [
    (Twice, ""),
    (Looped, ""),
    (SharedNorm, "its norm is used at several places"),
    (Overwritten, "a sum and its activation take as long"),
    (Branch, ""),
    (SelfGated, "it overwrites its input"),
    (Closure, ""),
    (Exact, "called with more than its input"),
    (Other, "no formula of hardswish"),
]


@pytest.mark.parametrize(("kind", "reason"), LEFT)
def test_what_is_not_exact_is_left(kind, reason, x):
    report = assert_fused_is_the_same(kind(), x)
    assert report.pairs == []
    assert [reason in left.reason for left in report.left] == ([True] * len(report.left) if reason else [])
    assert bool(report.left) == bool(reason)


class OwnNorm(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 2


class OwnAct(limen.ASAU):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 2


def _hooked(module: nn.Module) -> nn.Module:
    module.register_forward_hook(lambda *_: None)
    return module


@pytest.mark.parametrize(
    ("norm", "act", "reason"),
    [
        (nn.LayerNorm(63), nn.ReLU(), "LayerNorm of 63 values is as fast by itself; it takes 64"),
        (nn.RMSNorm((3, 5)), nn.ReLU(), "RMSNorm of 15 values is as fast by itself; it takes 16"),
        (nn.LayerNorm(64), limen.ASAU(num_parameters=4), "a weight for each place"),
        (nn.SyncBatchNorm(4), nn.ReLU(), "SyncBatchNorm is computed by itself"),
        (nn.InstanceNorm2d(4), nn.ReLU(), "InstanceNorm2d is computed by itself"),
        (OwnNorm(4), nn.ReLU(), "OwnNorm is a class of its own"),
        (nn.BatchNorm2d(4), OwnAct(), "no formula of OwnAct"),
        (nn.BatchNorm2d(4), nn.Hardswish(), "no formula of Hardswish"),
        (nn.BatchNorm2d(4), limen.ASH(), "takes statistics of its own input"),
        (_hooked(nn.BatchNorm2d(4)), nn.ReLU(), "a hook watches BatchNorm2d"),
        (nn.BatchNorm2d(4), _hooked(nn.ReLU()), "a hook watches ReLU"),
        (nn.BatchNorm2d(4).double(), nn.ReLU(), "no kernels of float64"),
        (nn.GroupNorm(2, 4), _hooked(limen.ASAU()), "a hook watches ASAU"),
    ],
)
def test_why_neighbours_are_left(norm, act, reason):
    model = nn.Sequential(norm, act)
    report = limen.fuse_(model)
    assert report.pairs == []
    assert [reason in left.reason for left in report.left] == [True]
    assert type(model) is nn.Sequential


ROWS = nn.LayerNorm(96), nn.LayerNorm((8, 96), bias=False), nn.RMSNorm(96)


@pytest.mark.parametrize("norm", thoroughly(ROWS, usual=ROWS[:1]), ids=str)
def test_norms_of_rows_are_one_step_with_what_follows(norm, monkeypatch):
    """A GELU of torch's, whose choice of form is the word none, follows one of them."""
    model = nn.Sequential(nn.Linear(96, 96), norm, nn.Identity(), limen.ASAU(), nn.RMSNorm(96), nn.GELU())
    for weight in (*norm.parameters(), model[4].weight):
        nn.init.uniform_(weight, 0.5, 2.0)
    steps: list[nn.Module] = []
    rows = normed.record_sampled
    monkeypatch.setattr(normed, "record_sampled", lambda *given: steps.append(given[0]) or rows(*given))
    report = assert_fused_is_the_same(model, torch.randn(5, 8, 96))
    assert [pair.path for pair in report.pairs] == ["1, 3", "4, 5"]
    assert len(steps) == 4  # two pairs, in training and in evaluation
    assert report.left == []


def test_a_sum_behind_a_norm_of_rows_is_left():
    class Sums(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.act = nn.LayerNorm(96), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.act(self.norm(x) + x)

    report = limen.fuse_(Sums())
    assert [left.reason for left in report.left] == ["LayerNorm and a sum are computed one after the other"]


class Indexing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.BatchNorm2d(4), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def test_a_sequential_whose_items_are_run_one_by_one():
    assert [left.reason for left in limen.fuse_(Indexing()).left] == ["what holds it runs its items one by one"]


def test_nothing_to_fuse_is_no_error():
    report = limen.fuse_(nn.Linear(2, 2))
    assert (report.pairs, report.left, str(report)) == ([], [], "0 fused, 0 left")


@pytest.mark.parametrize("given", [None, "resnet", nn.Linear])
def test_what_is_no_model(given):
    with pytest.raises(LimenError, match="fuse_ takes a model"):
        limen.fuse_(given)


# What comes after.


def test_hooks_that_come_later_see_what_they_would_have_seen(x):
    model = spelled.Nested()
    limen.fuse_(model)
    seen: list[Any] = []
    handles = [m.register_forward_hook(lambda m, i, o: seen.append(type(m))) for m in (model.bn1, model.act2)]
    model(x)
    assert seen == [nn.BatchNorm2d, limen.ASAU]
    for handle in handles:
        handle.remove()
    every = nn.modules.module.register_module_forward_hook(lambda m, i, o: seen.append(type(m)))
    model(x)
    every.remove()
    assert seen.count(nn.BatchNorm2d) == 3
    vars(model.bn1)["forward"] = lambda x: x * 0
    assert torch.equal(model.bn1(x), x * 0)
    plain = copy.deepcopy(model)
    plain.__class__ = spelled.Nested
    torch.testing.assert_close(model(x), plain(x))


def test_kernels_run_while_it_trains(x, monkeypatch):
    model, ran = spelled.Residual(), []
    limen.fuse_(model)
    for home, name in ((normed, "record_sampled"), (summed, "record")):
        monkeypatch.setattr(home, name, _noting(getattr(home, name), ran, name))
    model(x)
    assert ran == ["record_sampled", "record"]
    model(x[..., :8, :8].contiguous())
    assert len(ran) == 2


def _noting(function, ran, name):
    def noted(*given):
        ran.append(name)
        return function(*given)

    return noted


def test_an_activation_put_in_later_is_run(x):
    model = spelled.Nested()
    plain = copy.deepcopy(model)
    limen.fuse_(model)
    for one in (model, plain):
        one.act1, one.bn2 = nn.Hardswish(), nn.Identity()
    torch.testing.assert_close(model(x), plain(x))


def test_copies_and_pickles_stay_fused(x):
    model = nn.ModuleList([spelled.Residual(), spelled.Gates(), nn.Sequential(nn.BatchNorm2d(4), nn.ReLU())])
    report = limen.fuse_(model)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert [type(m) for m in other] == [type(m) for m in model]
        for one, two in zip(model, other, strict=True):
            torch.testing.assert_close(one(x), two(x))
    report.undo()
    report.undo()
    assert [type(m) for m in model] == [spelled.Residual, spelled.Gates, nn.Sequential]


def test_undoing_after_another_change_is_refused(x):
    model = spelled.Nested()
    report = limen.fuse_(model)
    model.__class__ = type("Later", (spelled.Nested,), {})
    with pytest.raises(LimenError, match="has been changed since"):
        report.undo()


def test_fusing_twice_does_nothing(x):
    model = spelled.Nested()
    limen.fuse_(model)
    again = limen.fuse_(model)
    assert again.pairs == []
    assert [left.reason for left in again.left] == ["it is fused already"]
    with pytest.raises(LimenError, match="parts of this model are fused"):
        limen.swap_(model, "asau")


@pytest.mark.slow
@pytest.mark.parametrize("kind", thoroughly([spelled.Residual, spelled.Gates], usual=[spelled.Gates]))
def test_compiled_exported_and_traced_it_is_plain(kind, x):
    model = kind()
    plain = copy.deepcopy(model)
    limen.fuse_(model)
    wanted = trained(copy.deepcopy(plain), x)
    compiled: Any = torch.compile(copy.deepcopy(model), backend="aot_eager", fullgraph=True)
    assert_close(trained(compiled, x), wanted)
    exported = torch.export.export(copy.deepcopy(model).eval(), (x,))
    torch.testing.assert_close(exported.module()(x), plain.eval()(x))
    assert not [node for node in exported.graph.nodes if "limen" in str(node.target)]


def test_traced_by_fx_its_parts_are_modules(x):
    model = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU())
    limen.fuse_(model)
    graph = torch.fx.symbolic_trace(spelled.Nested())
    limen.fuse_(traced := spelled.Nested())
    assert [n.target for n in torch.fx.symbolic_trace(traced).graph.nodes] == [n.target for n in graph.graph.nodes]


def test_autocast_checkpointing_and_frozen_norms(x):
    model = spelled.Residual()
    plain = copy.deepcopy(model)
    limen.fuse_(model)
    with torch.autocast("cpu", torch.bfloat16):
        found, wanted = model(x), plain(x)
    assert found.dtype == wanted.dtype
    torch.testing.assert_close(found, wanted, rtol=0.05, atol=0.05)
    for one in (model, plain):
        one.bn2.eval()
    pairs = [checkpoint(one, x.clone().requires_grad_(), use_reentrant=False) for one in (model, plain)]
    torch.testing.assert_close(*pairs)
    for y in pairs:
        y.sum().backward()
    torch.testing.assert_close(model.bn1.running_mean, plain.bn1.running_mean)
    torch.testing.assert_close(model.conv1.weight.grad, plain.conv1.weight.grad, rtol=1e-4, atol=1e-5)


def test_wrappers_are_looked_into(x):
    inner = spelled.Nested()
    assert [pair.path for pair in limen.fuse_(nn.DataParallel(inner)).pairs] == ["module", "module"]


# The proof.


def test_example_inputs_prove_it_and_leave_no_trace(x):
    model = spelled.Residual().train()
    state = copy.deepcopy(model.state_dict())
    report = limen.fuse_(model, example_inputs=x)
    assert report.output_drift is not None
    assert report.gradient_drift is not None
    assert max(report.output_drift, report.gradient_drift) < 1e-5
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert report.as_dict()["output_drift"] == report.output_drift
    assert "gradients" in str(report)


@pytest.mark.parametrize(("wrong", "what"), [(1.01, "outputs"), (None, "gradients")])
def test_a_model_that_computes_something_else_is_put_back(wrong, what, x, monkeypatch):
    def other(norm, activation, x, *between):
        y = activation(norm(x))
        return y * wrong if wrong else y.detach() + y * 0.9 - (y * 0.9).detach()

    model = spelled.Nested()
    monkeypatch.setattr(pairs, "norm_act", other)
    with pytest.raises(LimenError, match=what):
        limen.fuse_(_fresh(model), example_inputs=x)


def _fresh(model: nn.Module) -> nn.Module:
    """Of a class that no test has fused yet, as fused classes are made once."""
    model.extra = nn.Identity()
    model.__class__ = type("Fresh", (spelled.Nested,), {})
    return model


def test_an_input_that_it_does_not_take(x):
    with pytest.raises(LimenError, match="the model raised"):
        limen.fuse_(spelled.Nested(), example_inputs=x[:, :2])


def test_swapped_and_fused_at_once(x):
    model = spelled.Residual()
    classes = [type(module) for module in model.modules()]
    report = limen.swap_(model, "asau", example_inputs=iter([x]), fuse=True)
    assert report.fused is not None
    assert len(report.fused.pairs) == 2
    assert "2 fused, 0 left" in str(report)
    assert len(report.as_dict()["fused"]["pairs"]) == 2
    act, model.relu = model.relu, nn.Tanh()
    with pytest.raises(LimenError, match="Nothing was undone"):
        report.undo()
    model.relu = act
    assert report.fused.changed
    report.undo()
    assert [type(module) for module in model.modules()] == classes


# Networks of others.


NETWORKS: dict[str, tuple[Any, int]] = {
    "ResNet-8": (lambda: CifarResNet((3, 16, 16), 4, depth=8), 7),
    "WRN-10-1": (lambda: WideResNet((3, 16, 16), 4, depth=10, factor=1), 7),
    "DenseNet-16": (lambda: DenseNet((3, 16, 16), 4, depth=16, growth=4), 15),
    "MobileNet": (lambda: MobileNet((3, 16, 16), 4, factor=0.05), 27),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_the_lab(name):
    torch.manual_seed(0)
    make, pairs = NETWORKS[name]
    model = make()
    limen.swap_(model, "asau")
    report = assert_fused_is_the_same(model, torch.randn(8, 3, 16, 16), rtol=3e-3)
    assert (len(report.pairs), report.left) == (pairs, [])


SMALL = {"vocab_size": 20, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["Llama", "Mistral", "Qwen2", "Gemma", "Phi3"])
@pytest.mark.parametrize("to", ["", "asau"])
def test_gates_of_language_models(kind, to):
    library = pytest.importorskip("transformers")
    torch.manual_seed(0)
    more = {"num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    model = getattr(library, f"{kind}ForCausalLM")(getattr(library, f"{kind}Config")(**SMALL, **more))
    if to:
        limen.swap_(model, to)
    state = list(model.state_dict())
    report = limen.fuse_(model, example_inputs={"input_ids": torch.randint(0, 20, (2, 5))})
    assert [pair.kind for pair in report.pairs] == ["gate", "gate"]
    assert report.output_drift is not None
    assert report.gradient_drift is not None
    assert max(report.output_drift, report.gradient_drift) < 1e-5
    assert list(model.state_dict()) == state
    report.undo()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "pairs"), [("resnet18", 17), ("efficientnet_b0", 33), ("mobilenetv3_small_050", 12)])
@pytest.mark.parametrize("to", ["", "asau"])
def test_networks_of_timm(name, pairs, to):
    library = pytest.importorskip("timm")
    torch.manual_seed(0)
    model = library.create_model(name, num_classes=4)
    if to:
        limen.swap_(model, to)
    report = limen.fuse_(model, example_inputs=torch.randn(2, 3, 64, 64))
    assert len(report.pairs) >= (pairs if to or name != "mobilenetv3_small_050" else 6)
    assert report.output_drift is not None
    assert report.gradient_drift is not None
    assert max(report.output_drift, report.gradient_drift) < 1e-2
    state = model.state_dict()
    report.undo()
    model.load_state_dict(state)
