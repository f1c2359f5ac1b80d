"""Calls on a few elements, in C and in Python: as in the general way, and given up where they are not for it."""

from __future__ import annotations

import copy
import gc
import sys

import pytest
import torch
from helpers import COMPILED, DTYPES, LEARNING, activation, perturbed
from helpers_building import in_child

import limen
from limen.kernels.c import calls as c_calls
from limen.kernels.c import run, short_calls
from limen.kernels.c.calls import run_forward, short_functions
from limen.kernels.call import Call, Prepared, prepare

NATIVE = not short_calls.why_not_native()


def calls(module: limen.Activation, dtype: torch.dtype = torch.float32) -> list[short_calls.ShortCall]:
    """The short calls of an activation's formula: what is used here, and the one in Python."""
    bound = module._bound[module.training]
    return [short_calls.short_call(bound, dtype), short_calls.ByAddress(bound, short_functions(bound, dtype))]


def tensors_of(module: limen.Activation) -> tuple[torch.Tensor, ...]:
    return (module.logits, *module._own()) if isinstance(module, limen.AdAct) else module.tensors()


SHORT = [name for name in COMPILED if short_calls.suits(activation(name)._bound[False])]


@pytest.mark.parametrize("shape", [(64,), (1, 1), (3, 5, 7), (0, 3), (4, 0), (2, 4099), ()], ids=str)
@pytest.mark.parametrize("name", SHORT)
def test_as_in_the_general_way(name, shape):
    module, x = perturbed(name), torch.randn(shape)
    bound, tensors = module._bound[False], tensors_of(module)
    for call in calls(module):
        y = call(x, tensors, None)
        if y is None:
            assert x.numel() == 0 or (bound.contexts and x.ndim == 0)
            continue
        with limen.use_backend("plain"):
            torch.testing.assert_close(y, module(x), rtol=1e-5, atol=1e-6)
        assert y.shape == x.shape
        assert y.stride() == x.stride()


@pytest.mark.thorough
@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
def test_half_types(dtype):
    for name in SHORT:
        module, x = perturbed(name), torch.randn(6, 50).to(dtype)
        with torch.no_grad():
            expected, _ = run_forward(general(module, x))
        for call in calls(module, dtype):
            torch.testing.assert_close(call(x, tensors_of(module), None), expected)


def general(module: limen.Activation, x: torch.Tensor) -> Prepared:
    """What the general call is given."""
    tensors = [tensor.detach() for tensor in module.tensors()]
    return prepare(Call(module._bound[False], x, tensors, module.channel_dim, None))


@pytest.mark.parametrize("name", [name for name in SHORT if activation(name)._bound[False].contexts])
def test_the_statistics_of_each_sample(name):
    module, x = activation(name), torch.randn(5, 3, 11) + 100
    _, expected = run_forward(general(module, x))
    for call in calls(module):
        statistics = torch.full((5, 2), torch.nan)
        call(x, module.tensors(), statistics)
        torch.testing.assert_close(statistics, expected, rtol=0, atol=0)


class Own(torch.Tensor):
    """A class that may mean anything by its operations."""


def test_what_it_is_not_for():
    plain, by_channel = activation("asau"), activation("asau", num_parameters=4)
    negated = torch.randn(4, 4, dtype=torch.complex64).conj().imag
    assert negated.is_neg()
    inputs = {
        "too many elements": (torch.randn(40_000), plain.tensors()),
        "another layout": (torch.randn(4, 4).t(), plain.tensors()),
        "sparse": (torch.randn(4, 4).to_sparse(), plain.tensors()),
        "the opposite sign": (negated, plain.tensors()),
        "nothing": (torch.randn(0), plain.tensors()),
        "a parameter a channel": (torch.randn(2, 4), by_channel.tensors()),
        "a half parameter": (torch.randn(4), (*plain.tensors()[:3], torch.ones(1, dtype=torch.bfloat16))),
        "a parameter without memory": (torch.randn(4), (*plain.tensors()[:3], torch.ones(1, device="meta"))),
        "too few parameters": (torch.randn(4), plain.tensors()[:3]),
        "too many parameters": (torch.randn(4), (*plain.tensors(), torch.ones(1))),
        "no parameters": (torch.randn(4), ()),
        "a tensor of another class": (torch.randn(4), (*plain.tensors()[:3], torch.ones(1).as_subclass(Own))),
    }
    for reason, (x, tensors) in inputs.items():
        for call in calls(plain):
            assert call(x, tensors, None) is None, reason


@pytest.mark.parametrize(("elements", "short"), [(5, True), (32_767, True), (32_768, False), (40_000, False)])
def test_few_elements_are_all_that_it_is_tried_on(elements, short, monkeypatch):
    module = limen.ASAU()
    bound = module._bound[True]
    module(torch.randn(3))  # after which there is a short call
    tried = []
    calls = {torch.float32: lambda *given: tried.append(given)}
    monkeypatch.setattr(type(bound), "short_calls", property(lambda self: calls), raising=False)
    run.forward(bound, torch.randn(elements), [tensor.detach() for tensor in module.tensors()], 1, None)
    assert len(tried) == short


@pytest.mark.parametrize("elements", [5, 40_000])
def test_a_module_with_too_few_tensors(elements):
    class Short(limen.ASAU):
        def tensors(self):
            return super().tensors()[:1]

    for recorded in (False, True):
        with torch.set_grad_enabled(recorded), pytest.raises(TypeError, match="takes 4 tensors, and 1 were given"):
            Short()(torch.randn(elements))


@pytest.mark.skipif(not NATIVE, reason=short_calls.why_not_native())
def test_wrong_arguments_are_errors():
    module = activation("asau")
    call = short_calls.short_call(module._bound[False], torch.float32)
    with pytest.raises(TypeError, match="takes x, a tuple or list"):
        call(torch.randn(3))
    with pytest.raises(TypeError):
        call("text", module.tensors(), None)
    with pytest.raises(TypeError):
        call(torch.randn(3), (torch.ones(1),) * 4, "text")
    assert call(torch.randn(3), (1.0,) * 4, None) is None


@pytest.mark.skipif(not NATIVE, reason=short_calls.why_not_native())
@pytest.mark.parametrize("name", ["asau", "ash", "adact"])
def test_nothing_is_held_on_to(name):
    module, x, statistics = activation(name), torch.randn(4, 16), torch.empty(4, 2)
    tensors, refused = tensors_of(module), torch.randn(16, 4).t()
    (call, _) = calls(module)
    before = None
    for turn in range(3):
        for _ in range(100):
            call(x, tensors, statistics if name == "ash" else None)
            call(refused, tensors, None)
            with pytest.raises(TypeError):
                call("text", tensors, None)
        gc.collect(1)
        held = [sys.getrefcount(each) for each in (x, refused, statistics, *tensors, torch.float32)]
        if turn:
            assert held == before
        before = held


@pytest.mark.parametrize("made", ["nothing", "another torch"])
def test_where_they_cannot_be_made_in_c(monkeypatch, made):
    if made == "nothing":
        monkeypatch.setattr(short_calls, "source", lambda: "#error not today\n")
    else:
        monkeypatch.setattr(short_calls, "Tensor", object)
    short_calls._maker.cache_clear()
    try:
        assert "the compiler cannot build them" in short_calls.why_not_native()
        module, x = activation("ash"), torch.randn(4, 5)
        call = short_calls.short_call(module._bound[False], torch.float32)
        assert isinstance(call, short_calls.ByAddress)
        torch.testing.assert_close(call(x, module.tensors(), None), module(x), rtol=0, atol=0)
    finally:
        monkeypatch.undo()
        short_calls._maker.cache_clear()


class TestMixtures:
    """AdAct hands its logits on; the weights are made where they are used."""

    @pytest.mark.parametrize("training", [False, True])
    @pytest.mark.parametrize("elements", [12, 40_000])
    def test_gradients_of_logits(self, training, elements):
        module = perturbed("adact").train(training)
        x, g = torch.randn(4, elements // 4), torch.randn(4, elements // 4)
        found = {}
        for backend in ("c", "plain"):
            torch.manual_seed(1)
            leaf = x.clone().requires_grad_()
            with limen.use_backend(backend):
                y = module(leaf)
            if training and backend == "plain":
                continue  # torch's own noise
            found[backend] = torch.autograd.grad(y, [leaf, *module.parameters()], g)
        weights = module.tensors()
        assert sum(w.item() for w in weights[:7]) == pytest.approx(1)
        if training:
            assert found["c"][1].abs().sum() > 0
        else:
            for got, want in zip(found["c"], found["plain"], strict=True):
                torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4 * want.abs().max().item())
        torch.testing.assert_close(found["c"][1].sum(), torch.tensor(0.0), atol=1e-3, rtol=0)  # a softmax's

    def test_the_first_call_has_the_bits_of_the_others(self):
        x = torch.randn(3, 40)
        for training, recorded in [(True, True), (True, False), (False, True), (False, False)] * 10:
            made = perturbed("adact", candidates=("silu", "mish", "gelu", "elu")).train(training)
            bound = made._bound[training]
            bound.short_calls.clear()  # as in a process that has not called it yet
            with torch.set_grad_enabled(recorded):
                first = made(x)
                assert len(bound.short_calls) == 1
                assert torch.equal(first, made(x))

    def test_frozen_logits_and_frozen_slope(self):
        for frozen in ("logits", "candidates.3.weight"):
            module = limen.AdAct()
            module.get_parameter(frozen).requires_grad_(False)
            module(torch.randn(5)).sum().backward()
            assert module.get_parameter(frozen).grad is None
            others = [p.grad for name, p in module.named_parameters() if name != frozen]
            assert all(gradient is not None for gradient in others)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=str)
    def test_logits_of_other_types(self, dtype):
        module, x = perturbed("adact"), torch.randn(3, 9)
        want = torch.autograd.grad(module(x).sum(), module.logits)[0]
        module.dtype_asked = dtype
        module.to(dtype)
        got = torch.autograd.grad(module(x).sum(), module.logits)[0]
        assert got.dtype is dtype
        torch.testing.assert_close(got.float(), want, rtol=0.05, atol=0.05)

    @pytest.mark.parametrize("elements", [12, 40_000])
    def test_one_weight_is_all(self, elements):
        """Then the result is that candidate's own, to the last bit, and a short call leaves it to the caller."""
        module, x = perturbed("adact"), torch.randn(elements)
        for index, member in enumerate(module.members):
            module.logits.data.zero_()[index] = 40.0
            with torch.no_grad():
                assert torch.equal(module(x), member(x))
            assert [call(x[:12], tensors_of(module), None) for call in calls(module)] == [None, None]
        module.logits.data[0] = 25.0  # near enough to count
        assert all(call(x[:12], tensors_of(module), None) is not None for call in calls(module))

    def test_logits_that_are_not_numbers(self):
        module = limen.AdAct().eval()
        module.logits.data[0] = torch.nan
        assert module(torch.randn(4)).isnan().all()

    def test_a_constant_changed_on_a_candidate(self):
        module, x = limen.AdAct(("relu", "leaky_relu")).eval(), torch.tensor([-1.0, 2.0])
        before = module(x)
        for copied in (module, copy.deepcopy(module)):
            copied.members[1].negative_slope = 0.5
            torch.testing.assert_close(copied(x), torch.tensor([-0.25, 2.0]))
            copied.members[1].negative_slope = 0.01
            torch.testing.assert_close(copied(x), before)

    @pytest.mark.parametrize("recorded", [False, True])
    def test_logits_with_gaps(self, recorded):
        module, x = limen.AdAct().eval(), torch.randn(5)
        for logits in (torch.randn(7, 3)[:, 1], torch.randn(14)[::2], torch.randn(1).expand(7)):
            module.logits.data = logits
            with limen.use_backend("plain"):
                want = module(x)
            with torch.set_grad_enabled(recorded):
                torch.testing.assert_close(module(x), want)
            for call in calls(module):
                assert call(x, tensors_of(module), None) is None

    def test_weights_given_apart(self):
        """As a weighting or a caller of the function has them."""
        module, x = perturbed("adact"), torch.randn(3, 4)
        for call in calls(module):
            torch.testing.assert_close(call(x, module.tensors(), None), call(x, tensors_of(module), None))
        weighted = copy.deepcopy(module)
        weighted.shape_weights().temperature.fill_(0.5)
        with limen.use_backend("plain"):
            want = weighted(x)
        with torch.no_grad():
            torch.testing.assert_close(weighted(x), want)

    def test_a_replaced_candidate(self):
        module, x = limen.AdAct(("relu", "prelu", "mish")).eval(), -torch.ones(3)
        module(x)
        module.candidates[1] = limen.PReLU(0.9)
        for backend in ("auto", "plain"):
            with limen.use_backend(backend), torch.no_grad():
                alone = torch.stack([member(x) for member in module.members])
                torch.testing.assert_close(module(x), alone.mean(0))

    def test_replicas_have_their_own_candidates(self):
        """What torch.nn.parallel.replicate does, on one device."""
        module, x = limen.AdAct(("relu", "prelu")).eval(), -torch.ones(3)
        module(x)
        replica = module._replicate_for_data_parallel()
        candidates = module.candidates._replicate_for_data_parallel()
        slopes = module.members[1]._replicate_for_data_parallel()
        slopes._parameters["weight"] = torch.nn.Parameter(torch.tensor([0.5]))
        replica._parameters = dict(module._parameters)
        candidates._modules = {"0": module.members[0], "1": slopes}
        replica._modules = {"candidates": candidates}
        torch.testing.assert_close(replica(x), torch.full((3,), -0.25))
        torch.testing.assert_close(module(x), torch.full((3,), -0.125))

    def test_a_mixture_in_a_mixture(self):
        inner = limen.AdAct(("relu", "silu"))
        inner.logits.data = torch.tensor([1.0, -1.0])
        module, x = limen.AdAct((inner, "mish")).eval(), torch.randn(5)
        want = (inner.eval()(x) + limen.Mish()(x)) / 2
        for recorded in (False, True):
            with torch.set_grad_enabled(recorded):
                torch.testing.assert_close(module(x), want)
        module(x).sum().backward()
        assert inner.logits.grad.abs().sum() > 0

    def test_logits_a_channel_where_they_were_shared(self):
        module = limen.AdAct(("relu", "silu")).eval()
        module.logits = torch.nn.Parameter(torch.tensor([[3.0, 0.0], [1.0, 1.0]]))
        by_channel = limen.AdAct(("relu", "silu"), num_parameters=2).eval()
        by_channel.logits = module.logits
        x = torch.randn(4, 2)
        torch.testing.assert_close(module(x), by_channel(x))

    def test_candidates_that_compute_their_tensors(self):
        module = limen.AdAct(("relu", limen.APALU(smooth=True), "prelu")).eval()
        torch.nn.utils.parametrize.register_parametrization(module.members[2], "weight", torch.nn.Softplus())
        x = torch.randn(6)
        with limen.use_backend("plain"):
            want = module(x)
        torch.testing.assert_close(module(x), want)
        with torch.no_grad():
            torch.testing.assert_close(module(x), want)

    def test_parametrised_logits(self):
        module = perturbed("adact")
        torch.nn.utils.parametrize.register_parametrization(module, "logits", torch.nn.Softplus())
        x = torch.randn(6)
        with limen.use_backend("plain"):
            want = module(x)
        torch.testing.assert_close(module(x), want)


@pytest.mark.parametrize("name", LEARNING)
def test_parameters_that_take_another_place(name):
    """A module is asked for its tensors in every call: whatever became of them since counts."""
    module, x = perturbed(name), torch.randn(4, 6)
    before = module(x).detach()
    parameter_name, parameter = next(iter(module.named_parameters()))
    *owner, last = parameter_name.split(".")
    holder = module.get_submodule(".".join(owner))
    replaced = torch.nn.Parameter(parameter.detach() + torch.arange(1.0, parameter.numel() + 1))
    setattr(holder, last, replaced)
    with limen.use_backend("plain"):
        want = module(x)
    assert not torch.equal(want, before)
    torch.testing.assert_close(module(x), want)
    functional = torch.func.functional_call(module, {parameter_name: parameter}, (x,))
    torch.testing.assert_close(functional, before)
    torch.testing.assert_close(module(x), want)


def test_a_forked_process_computes_on_one_thread(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(c_calls, "_forked", False)  # this process may be one itself
    assert c_calls.threads_for(10**9) == 8
    assert in_child(lambda: c_calls.threads_for(10**9)) == 1
