"""Activations as modules: parameters, sharing, state dicts, copies, devices, printing, compilation, export."""

from __future__ import annotations

import copy
import functools
import inspect
import io
import pickle
import warnings

import pytest
import torch
from helpers import ALL, KEEPING_SHAPE, LEARNING, OF_SAMPLES, activation, sample_input, thoroughly
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.utils import parametrize, prune
from torch.utils.checkpoint import checkpoint

import limen

SCALAR = [name for name in LEARNING if name != "adact"]


def perturb(module: nn.Module) -> None:
    with torch.no_grad():
        for tensor in [*module.parameters(), *module.buffers()]:
            tensor.add_(torch.rand_like(tensor))


def flattened(module: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


@pytest.mark.parametrize("name", SCALAR)
def test_parameters_are_one_dimensional(name):
    for count in (1, 5):
        module = limen.create(name, num_parameters=count)
        shared = {key for key, field in module.fields.items() if getattr(field, "shared", False)}
        for key, parameter in module.named_parameters():
            assert parameter.shape == (1 if key in shared else count,)


@pytest.mark.parametrize("name", LEARNING)
def test_one_parameter_a_channel(name):
    options = {"context": "sample"} if "context" in limen.activations.registry.find(name).fields else {}
    module = activation(name, num_parameters=3, dtype=torch.float64, **options)
    perturb(module)
    x = sample_input(4, 3, 5)
    y = module(x)
    for channel in range(3):
        single = copy.deepcopy(module)
        for shared, source in zip(single.state_dict().values(), module.state_dict().values(), strict=True):
            shared.copy_((source if source.numel() == 1 else source[channel : channel + 1]).expand_as(source))
        torch.testing.assert_close(single(x)[:, channel], y[:, channel])
    last = activation(name, num_parameters=3, channel_dim=-1, dtype=torch.float64, **options)
    last.load_state_dict(module.state_dict())
    torch.testing.assert_close(last(x.movedim(1, -1)).movedim(-1, 1), y)


@pytest.mark.parametrize("name", LEARNING)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["plain", "compiled"])
def test_groups_of_channels_share_a_parameter(name, dtype):
    grouped = activation(name, num_parameters=2, group_size=3, dtype=dtype)
    perturb(grouped)
    single = activation(name, num_parameters=6, dtype=dtype)
    for many, few in zip(single.state_dict().values(), grouped.state_dict().values(), strict=True):
        many.copy_(few.repeat_interleave(len(many) // len(few), dim=0))
    x = sample_input(4, 6, 5, dtype=dtype)
    torch.testing.assert_close(grouped(x), single(x))
    grouped(x).sin().sum().backward()
    single(x).sin().sum().backward()
    for many, few in zip(single.parameters(), grouped.parameters(), strict=True):
        torch.testing.assert_close(few.grad, many.grad.unflatten(0, (len(few), -1)).sum(1))


def test_groups_are_checked():
    with pytest.raises(limen.errors.SpecError, match="needs num_parameters"):
        limen.Swish(group_size=4)
    with pytest.raises(limen.errors.SpecError, match="group_size=0"):
        limen.Swish(num_parameters=2, group_size=0)
    with pytest.raises(limen.errors.ShapeError, match="need 6 channels"):
        limen.Swish(num_parameters=2, group_size=3)(torch.randn(2, 4))


@pytest.mark.parametrize("name", LEARNING)
def test_wrong_number_of_channels_is_explained(name):
    module = activation(name, num_parameters=3)
    with pytest.raises(limen.errors.ShapeError, match=r"need 3 channels in dimension 1 .* shape \(2, 4\)"):
        module(torch.randn(2, 4))
    with pytest.raises(limen.errors.ShapeError, match="need 3 channels"):
        module(torch.randn(3))


@pytest.mark.parametrize("name", ALL)
def test_state_dict_pickle_and_deepcopy(name):
    module = activation(name, dtype=torch.float64)
    perturb(module)
    x = sample_input(2, 6)
    expected = module(x)
    restored = activation(name, dtype=torch.float64)
    stored = io.BytesIO()
    torch.save(module.state_dict(), stored)
    stored.seek(0)
    restored.load_state_dict(torch.load(stored, weights_only=True), strict=True)
    for copied in (restored, copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(copied(x), expected)
        assert repr(copied) == repr(module)


@pytest.mark.parametrize("name", ALL)
def test_meta_device_then_real(name):
    module = limen.create(name, device="meta")
    assert all(tensor.is_meta for tensor in module.state_dict().values())
    assert "meta" in repr(module) or not module.state_dict()
    module.to_empty(device="cpu")
    for owner in module.modules():
        if hasattr(owner, "reset_parameters"):
            owner.reset_parameters()
    fresh = limen.create(name)
    for key, value in fresh.state_dict().items():
        torch.testing.assert_close(module.state_dict()[key], value)
    assert limen.create(name, device="meta").eval()(torch.ones(2, 4, device="meta")).is_meta


@pytest.mark.parametrize("name", LEARNING)
def test_reset_restores_the_given_values(name):
    module = limen.create(name)
    before = flattened(module)
    perturb(module)
    assert not torch.equal(flattened(module), before)
    module.reset_parameters()
    assert torch.equal(flattened(module), before)


@pytest.mark.parametrize("name", ALL)
def test_moves_with_its_model(name):
    model = nn.Sequential(limen.create(name)).to(torch.float64)
    assert all(tensor.dtype == torch.float64 for tensor in model.state_dict().values())
    assert limen.create(name, dtype=torch.bfloat16)(torch.randn(2, 4)).dtype == torch.float32


def test_printing_shows_the_current_values():
    module = limen.ASAU()
    with torch.no_grad():
        module.beta.fill_(2.5)
    assert repr(module) == "ASAU(a=0.01, b=1, alpha=1, beta=2.5)"
    many = limen.Swish(num_parameters=2)
    with torch.no_grad():
        many.beta[0] = 3.0
    assert repr(many) == "Swish(beta=2 in [1, 3], num_parameters=2)"


class TestPrintingWithoutNumbers:
    @pytest.mark.parametrize("name", ALL)
    def test_in_fake_mode(self, name):
        real = limen.create(name)
        with FakeTensorMode():
            fake = limen.create(name)
            for module in (real, fake):
                assert type(module).__name__ in repr(nn.Sequential(nn.Linear(2, 2), module))

    @pytest.mark.parametrize("module", [limen.PReLU(), nn.Sequential(limen.AdAct(("relu", "prelu")))])
    def test_vmap_compiles_without_a_graph_break(self, module):
        torch._dynamo.reset()
        compiled = torch.compile(torch.vmap(module), fullgraph=True, backend="eager")
        x = torch.randn(4, 3)
        torch.testing.assert_close(compiled(x), module(x))

    def test_of_wrapped_parameters(self):
        module, printed = limen.ASAU(), []

        def run(values, x):
            with torch.nn.utils.stateless._reparametrize_module(module, values):
                printed.append(repr(module))
                return module(x)

        values = {name: torch.stack([p, p + 1]) for name, p in module.named_parameters()}
        torch.vmap(run, in_dims=(0, None))(values, torch.randn(3))
        assert printed == ["ASAU()"]

    def test_of_a_shard_that_is_elsewhere(self):
        freed, empty = limen.ASAU(num_parameters=3), limen.ASAU(num_parameters=3)
        freed.beta.untyped_storage().resize_(0)
        empty.beta.data = torch.empty(0)
        assert repr(freed) == repr(empty) == "ASAU(num_parameters=3)"


class TestLearned:
    def test_any_subset(self):
        module = limen.ASAU(learned=("a", "beta"))
        assert list(dict(module.named_parameters())) == ["a", "beta"]
        assert list(dict(module.named_buffers())) == ["b", "alpha"]
        assert not list(limen.ASAU(learned=False).parameters())
        assert len(list(limen.ASAU(learned=True).parameters())) == 4
        assert list(dict(limen.create("asau:learned=b").named_parameters())) == ["b"]

    def test_fixed_values_are_saved_with_the_model(self):
        other = limen.ASAU()
        other.load_state_dict(limen.ASAU(a=0.2).state_dict(), strict=True)
        assert other.a.item() == pytest.approx(0.2)

    def test_swish_and_fixed_ash_switch_off(self):
        assert not list(limen.Swish(learned=False).parameters())
        assert not list(limen.FixedASH(learned=False).parameters())

    def test_unknown_name(self):
        with pytest.raises(limen.errors.SpecError, match="Did you mean 'alpha'"):
            limen.ASAU(learned=("alpah",))


class TestConstruction:
    def test_by_position_and_by_name(self):
        assert repr(limen.ASAU(0.1, 2.0, beta=3.0)) == "ASAU(a=0.1, b=2, alpha=1, beta=3)"

    def test_signature_is_the_documented_one(self):
        assert str(inspect.signature(limen.ASH)).startswith("(z_k=0.001, alpha=1.0, *, context='sample', learned:")
        assert list(inspect.signature(limen.APALU).parameters)[:3] == ["a", "b", "smooth"]

    @pytest.mark.parametrize(
        ("build", "message"),
        [
            (lambda: limen.ASAU(betta=1.0), "no argument 'betta'. Did you mean 'beta'"),
            (lambda: limen.ASAU(1, 2, 3, 4, 5), "at most 4 positional"),
            (lambda: limen.ASAU(1.0, a=1.0), "a was given twice"),
            (lambda: limen.ASAU(beta="x"), "must be a finite number"),
            (lambda: limen.ASAU(beta=float("nan")), "must be a finite number"),
            (lambda: limen.ASAU(num_parameters=0), "num_parameters=0"),
            (lambda: limen.ASH(context="batch"), "no context is called 'batch'. Known: sample, channel, token"),
            (lambda: limen.HardASH(percentile=120), "percentile=120 must lie between 0.0 and 100.0, both excluded"),
            (lambda: limen.GELU(approximate="fast"), "approximate='fast' is not a choice"),
            (lambda: limen.Maxout(pieces=1), "whole number of at least 2"),
            (lambda: limen.ReLU(1.0), "at most 0 positional"),
        ],
    )
    def test_errors_say_what_is_allowed(self, build, message):
        with pytest.raises(limen.errors.SpecError) as caught:
            build()
        assert message in str(caught.value)

    def test_formula_must_match_the_fields(self):
        with pytest.raises(limen.errors.SpecError, match="name one argument after each field"):

            class Wrong(limen.Activation):
                k = limen.Param(1.0)

                @staticmethod
                def formula(x, q):
                    return x * q

    def test_a_user_written_activation_gets_everything(self):
        class Bent(limen.Activation):
            """x·tanh(kx)."""

            k = limen.Param(1.0)

            @staticmethod
            def formula(x, k):
                return x * limen.formula.tanh(k * x)

        limen.register(Bent)
        module = limen.create("bent:k=2", num_parameters=3, dtype=torch.float64)
        x = sample_input(2, 3, 4).requires_grad_()
        assert torch.autograd.gradcheck(module, (x,))
        torch.testing.assert_close(limen.functional.bent(x, 2.0), module(x))
        assert limen.AdAct(("bent", "relu"))(torch.randn(2, 3)).shape == (2, 3)
        from limen.activations.describe import describe

        assert describe("bent").formula == "x*tanh(k*x)"


TRACED = ("relu", "rrelu", "asau", "apalu", "ash", "top_percentile", "adact")
"""One of each kind: fixed, noisy, learned, in pieces, of samples, by selection, a mixture."""


@pytest.mark.parametrize("name", thoroughly(KEEPING_SHAPE, usual=TRACED))
def test_compiles_without_a_graph_break(name):
    torch._dynamo.reset()
    module = activation(name)
    # aot_eager traces forward and backward as Inductor would, without its code generation.
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    x = torch.randn(2, 4, requires_grad=True)
    y = compiled(x)
    y.sum().backward()
    gradient, x.grad = x.grad, None
    expected = module(x)
    expected.sum().backward()
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(gradient, x.grad)


@pytest.mark.parametrize("name", thoroughly(KEEPING_SHAPE, usual=TRACED))
def test_exports(name):
    module = activation(name)
    x = torch.randn(2, 4)
    program = torch.export.export(nn.Sequential(module), (x,), strict=True)
    torch.testing.assert_close(program.module()(x), module(x))


@pytest.mark.parametrize("name", LEARNING)
def test_activation_checkpointing_reproduces_the_gradients(name):
    module = limen.create(name).train()
    x = torch.randn(3, 4)
    results = []
    for checkpointed in (False, True):
        torch.manual_seed(1)
        module.zero_grad()
        leaf = x.clone().requires_grad_()
        run = functools.partial(checkpoint, module, use_reentrant=False) if checkpointed else module
        y = run(leaf)
        y.square().sum().backward()
        results.append([leaf.grad, *(p.grad.clone() for p in module.parameters())])
    for plain, recomputed in zip(*results, strict=True):
        torch.testing.assert_close(recomputed, plain)


class TestChangedLater:
    def test_constants_set_on_the_module_take_effect(self):
        module = limen.LeakyReLU(0.1)
        module.negative_slope = 0.5
        assert module(torch.tensor([-2.0])).item() == -1.0
        assert repr(module) == "LeakyReLU(negative_slope=0.5)"
        with pytest.raises(limen.errors.SpecError, match="must be a finite number"):
            module.negative_slope = "steep"
        ash = limen.ASH(context="sample")
        ash.context = "token"
        x = torch.randn(2, 3, 4)
        torch.testing.assert_close(ash(x), limen.ASH(context="token")(x))

    def test_constants_set_on_a_candidate_take_effect(self):
        mixture = limen.AdAct(("relu", "leaky_relu")).eval()
        mixture(torch.ones(1))
        mixture.candidates[1].negative_slope = 0.5
        assert mixture(torch.tensor([-2.0])).item() == pytest.approx(-0.5)

    def test_a_parametrised_parameter(self):
        module = limen.Swish()
        torch.nn.utils.parametrize.register_parametrization(module, "beta", nn.Softplus())
        x = torch.randn(5)
        torch.testing.assert_close(module(x), x * torch.sigmoid(nn.functional.softplus(torch.tensor(1.0)) * x))
        module(x).sum().backward()
        assert module.parametrizations.beta.original.grad is not None


def every_parameter(name: str) -> list[tuple[dict[str, object], str]]:
    """How to make a registered class, and the path of each parameter that it then has."""
    forms: list[dict[str, object]] = [{}]
    if name == "apalu":
        forms += [{"positive": True}, {"smooth": True, "positive": True}]
    return [(form, path) for form in forms for path, _ in limen.create(name, **form).named_parameters()]


class TestAsTorchsOwn:
    @pytest.mark.parametrize("name", ALL)
    def test_made_without_values(self, name):
        cls = limen.activations.registry.find(name)
        made = torch.nn.utils.skip_init(cls, dtype=torch.float64)
        assert not any(tensor.is_meta for tensor in made.state_dict().values())
        parameters = inspect.signature(cls).parameters.values()
        assert all(p.default is not p.empty for p in parameters)
        assert {"device", "dtype", "num_parameters"} <= {p.name for p in parameters}

    def test_a_constructor_that_hands_on_is_written_out(self):
        class Fixed(limen.ASAU):
            def __init__(self, sharp: bool = True, **common: object) -> None:
                super().__init__(beta=10.0 if sharp else 1.0, **common)

        assert list(inspect.signature(Fixed).parameters)[:3] == ["sharp", "learned", "num_parameters"]
        assert torch.nn.utils.skip_init(Fixed, sharp=False).beta.device.type == "cpu"

    @pytest.mark.parametrize("name", LEARNING)
    def test_every_parameter_can_be_computed(self, name):
        x = torch.randn(2, 4)
        for form, path in every_parameter(name):
            module = activation(name, **form)
            expected = module(x)
            *owners, own = path.split(".")
            owner = module.get_submodule(".".join(owners))
            parametrize.register_parametrization(owner, own, nn.Identity())
            torch.testing.assert_close(module(x), expected)
            module(x).sum().backward()
            assert owner.parametrizations[own].original.grad is not None
            parametrize.remove_parametrizations(owner, own)
            prune.identity(owner, own)
            torch.testing.assert_close(module(x), expected)
            prune.remove(owner, own)
            moved = module.get_parameter(path).detach() + 0.3
            called = torch.func.functional_call(module, {path: moved}, (x,))
            module.get_parameter(path).data.copy_(moved)
            torch.testing.assert_close(called, module(x))


@pytest.mark.parametrize("logits", [1, 4, 9])
@pytest.mark.parametrize(
    "x", [torch.randn(9), torch.randn(9).double(), torch.randn(40000)], ids=["float32", "float64", "long"]
)
def test_logits_of_another_number_are_an_error(logits, x):
    """As after pruning by what does not know them: a kernel would read memory that is not theirs."""
    for training in (True, False):
        mixture = limen.AdAct(("relu", "silu", "mish")).train(training)
        mixture.logits = nn.Parameter(torch.zeros(logits))
        with pytest.raises(
            limen.errors.ShapeError, match=rf"of 3 candidates has as many logits, .* shape \({logits},\)"
        ):
            mixture(x)


@pytest.fixture
def trained():
    mixture = limen.AdAct(("relu", "silu", "mish"))
    torch.nn.init.normal_(mixture.logits)
    mixture.drop_(["relu"])
    return mixture


class TestDropped:
    """A mixture's dropped candidates, from one module to another."""

    @pytest.mark.parametrize("before", [(), ("silu",), ("relu", "mish")])
    @pytest.mark.parametrize("device", ["meta", "cpu"])
    def test_loaded(self, trained, device, before):
        x = torch.randn(5)
        for assign in (True, False):
            fresh = limen.AdAct(("relu", "silu", "mish"), device=device)
            if before:
                fresh.drop_(before)
            if not assign and device == "meta":
                fresh.to_empty(device="cpu")
            fresh.load_state_dict(copy.deepcopy(trained.state_dict()), assign=assign)
            for copied in (fresh, copy.deepcopy(fresh), pickle.loads(pickle.dumps(fresh))):
                assert copied.alive == (1, 2)
                assert torch.equal(copied(x), trained(x))

    def test_another_drop_leaves_an_assigned_state_alone(self, trained):
        state = trained.state_dict()
        fresh = limen.AdAct(("relu", "silu", "mish"))
        fresh.load_state_dict(state, assign=True)
        fresh.drop_(["mish"])
        assert (trained.alive, fresh.alive) == ((1, 2), (1,))
        assert state["weighting.active"].tolist() == [False, True, True]

    def test_without_memory_then_reset(self):
        fresh = limen.AdAct(("relu", "silu", "mish"), device="meta")
        fresh.drop_(["silu"])
        fresh.to_empty(device="cpu")
        fresh.reset_parameters()
        assert fresh.weights.tolist() == [0.5, 0.0, 0.5]


class TestExportsForOtherSizes:
    """What counts elements counts them where the program runs."""

    @pytest.mark.parametrize("spec", thoroughly(OF_SAMPLES, usual=("ash", "top_percentile")))
    @pytest.mark.parametrize("context", thoroughly(["sample", "channel", "token"], usual=("channel",)))
    def test_of_statistics_and_selections(self, spec, context):
        module = activation(spec, context=context)
        self.assert_right_elsewhere(module, {axis: torch.export.Dim.AUTO for axis in range(4)})

    @pytest.mark.parametrize("spec", ["adact", "asau:num_parameters=6", "rrelu", "maxout"])
    def test_of_channels_and_noise(self, spec):
        self.assert_right_elsewhere(activation(spec), {axis: torch.export.Dim.AUTO for axis in (0, 2, 3)})

    def assert_right_elsewhere(self, module, dims):
        program = torch.export.export(module, (torch.randn(3, 6, 5, 4),), dynamic_shapes=(dims,), strict=False).module()
        for shape in ((2, 6, 9, 11), (7, 6, 2, 13)):
            x = torch.randn(shape)
            with limen.use_backend("plain"):
                torch.testing.assert_close(program(x), module(x))

    @pytest.mark.parametrize("percentile", thoroughly([0.0, 1.0, 30.0, 100.0], usual=(0.0, 30.0)))
    @pytest.mark.parametrize("context", thoroughly(["sample", "token"], usual=("token",)))
    def test_a_selection_written_down_by_other_tracers(self, percentile, context):
        module = limen.TopPercentile(percentile, context=context)
        x = torch.randn(3, 10, 6)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tracing, which sizes that are read become part of
            traced = torch.jit.trace(module, x, check_trace=False)
        symbolic = make_fx(module, tracing_mode="symbolic")(x)
        for shape in ((3, 10, 6), (2, 7, 19), (5, 1, 50)):
            other = torch.randn(shape)
            assert torch.equal(traced(other), module(other))
            if 1 not in shape:
                assert torch.equal(symbolic(other), module(other))
