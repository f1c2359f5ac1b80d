"""The compiled kernels against the plain formula: values, gradients, layouts, types, threads, extremes, noise."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
import torch
from helpers import (
    ALL,
    COMPILED,
    DTYPES,
    LAYOUTS,
    LEARNING,
    activation,
    assert_as_good_as_plain,
    assert_right_at,
    dense,
    gradients,
    perturbed,
    sample_input,
)
from hypothesis import given, settings
from hypothesis import strategies as st

import limen
from limen.activations.registry import find
from limen.kernels import c, dispatch, eager, plain
from limen.kernels.noise import counter_noise, new_seed

LINEAR = ("relu", "leaky_relu", "rrelu", "hard_ash")
"""Piecewise linear without parameters: their second derivatives are 0, and autograd records none."""


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", COMPILED)
def test_layouts(name, layout):
    make, channels, channel_dim = LAYOUTS[layout]
    x = make()
    assert_as_good_as_plain(perturbed(name, num_parameters=channels, channel_dim=channel_dim), x, torch.randn(x.shape))


@pytest.mark.parametrize("layout", ["odd", "channels last", "transposed"])
@pytest.mark.parametrize("name", COMPILED)
def test_the_result_is_laid_out_as_the_input(name, layout):
    x = LAYOUTS[layout][0]()
    for output in gradients(perturbed(name), x, torch.randn(x.shape), "c")[:2]:
        assert output.stride() == x.stride() or not find(name).elementwise


@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@pytest.mark.parametrize("channels", [1, 5])
@pytest.mark.parametrize("name", COMPILED)
def test_half_types(name, channels, dtype):
    module = perturbed(name, num_parameters=channels)
    x, g = dense((3, 5, 67)).to(dtype), torch.randn(3, 5, 67).to(dtype)
    assert_as_good_as_plain(module, x, g)


@pytest.mark.parametrize("context", ["sample", "channel", "token"])
@pytest.mark.parametrize("channels", [1, 6])
@pytest.mark.parametrize("memory", ["contiguous", "channels last"])
def test_contexts(context, channels, memory):
    for name in ("ash", "leaky_ash", "fixed_ash", "hard_ash"):
        module = limen.create(name, context=context, num_parameters=channels, dtype=torch.float32).eval()
        reference = limen.create(name, context=context, num_parameters=channels, dtype=torch.float64).eval()
        x = dense((4, 6, 5, 9))
        x = x.to(memory_format=torch.channels_last) if memory == "channels last" else x
        g = torch.randn(x.shape)
        mine, truth = gradients(module, x, g, "c"), gradients(reference, x.double(), g.double(), "plain")
        for got, want in zip(mine, truth, strict=True):
            torch.testing.assert_close(got.double(), want, rtol=1e-4, atol=1e-5)


def test_a_large_mean_does_not_cancel_the_deviation():
    x = torch.randn(2, 10_000) + 30_000
    _, statistics = eager.forward(limen.ASH()._bound[0], x, limen.ASH().tensors(), 1, None)
    torch.testing.assert_close(statistics[:, 0].double(), x.double().mean(1), rtol=1e-7, atol=0)
    torch.testing.assert_close(statistics[:, 1].double(), x.double().std(1, correction=0), rtol=1e-6, atol=0)
    constant = torch.full((2, 5000), 0.1, requires_grad=True)
    with limen.use_backend("c"):
        y = limen.ASH(z_k=3.0)(constant)
    (slope,) = torch.autograd.grad(y.sum(), constant)
    assert torch.equal(y, constant / 2)
    torch.testing.assert_close(slope, torch.full_like(slope, 0.5))


@pytest.mark.parametrize("size", [5, 300, 5000])
@pytest.mark.parametrize(
    "sample",
    [
        lambda n: torch.randn(n) * 1e37,
        lambda n: torch.tensor([3e37, -3e37]).repeat(n)[:n] * torch.rand(n),
        lambda n: torch.randn(n) * 1e-25,
        lambda n: torch.randn(n).exp().pow(4),
        lambda n: torch.randn(n).sort().values + 100,
        lambda n: torch.cat([torch.full((n // 2,), 1000.0), torch.randn(n - n // 2)]),
        lambda n: torch.cat([torch.full((1,), 1e6), torch.randn(n - 1)]),
    ],
    ids=["large", "large of both signs", "tiny", "skewed", "sorted", "constant in half", "outlier first"],
)
def test_statistics_of_awkward_samples(sample, size):
    x = sample(size)[None]
    _, statistics = eager.forward(limen.ASH()._bound[0], x, limen.ASH().tensors(), 1, None)
    mean, deviation = x.double().mean(1), x.double().std(1, correction=0)
    torch.testing.assert_close(statistics[:, 1].double(), deviation, rtol=2e-6, atol=0)
    assert (statistics[:, 0].double() - mean).abs() <= 1e-6 * deviation + 1e-7 * mean.abs()


@pytest.mark.parametrize("shape", [(8, 20_000), (64, 32, 40), (2, 3, 25_000)], ids=str)
@pytest.mark.parametrize("channels", [1, "all"])
@pytest.mark.parametrize("name", [name for name in LEARNING if name in COMPILED])
def test_the_same_bits_for_any_number_of_threads(name, channels, shape):
    module = perturbed(name, num_parameters=shape[1] if channels == "all" and shape[1] < 100 else 1)
    x, g = torch.randn(shape), torch.randn(shape)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(gradients(module, x, g, "c"))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("name", COMPILED)
def test_saved_for_backward_is_the_input_and_little_else(name):
    from limen.bench import saved_bytes

    x = torch.randn(16, 4000, requires_grad=True)
    module = activation(name)
    with limen.use_backend("c"):
        saved = saved_bytes(module, x)
    few = 16 * 2 * 4 + 4 * sum(p.numel() for p in [*module.parameters(), *module.buffers()]) + 7 * 28 + 8
    assert saved <= x.numel() * 4 + few


@pytest.mark.parametrize("name", [name for name in COMPILED if name not in LINEAR])
def test_second_derivatives(name):
    module = perturbed(name)
    x = sample_input(3, 5, dtype=torch.float32).requires_grad_()
    second = []
    for backend in ("c", "plain"):
        with limen.use_backend(backend):
            y = module(x)
        (first,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        second.append(torch.autograd.grad(first.square().sum(), [x, *module.parameters()], allow_unused=True))
    for ours, theirs in zip(*second, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


VALUES = st.one_of(
    st.floats(width=32, allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, -0.0, 1e-45, -1e-45, 1e-38, 1e38, -1e38, 88.0, -88.0, 104.0, float("inf"), float("-inf")]),
)


@pytest.mark.parametrize("name", [name for name in COMPILED if find(name).elementwise])
@settings(deadline=None, max_examples=150)
@given(st.lists(VALUES, min_size=1, max_size=8))
def test_extreme_inputs(name, values):
    assert_right_at(activation(name), torch.tensor(values, dtype=torch.float32))


@pytest.mark.parametrize("name", LEARNING)
def test_frozen_parameters_get_no_gradient(name):
    module = activation(name).requires_grad_(False)
    x = torch.randn(4, 5, requires_grad=True)
    module(x).sum().backward()
    assert x.grad is not None
    assert all(parameter.grad is None for parameter in module.parameters())
    module.requires_grad_(True)
    module(x.detach()).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


def test_shared_and_channel_parameters_together():
    x = dense((4, 3, 50)).requires_grad_()
    alpha = torch.tensor([1.0, 0.5, 2.0], requires_grad=True)
    beta = torch.tensor(1.5, requires_grad=True)
    found = []
    for backend in ("c", "plain"):
        with limen.use_backend(backend):
            y = limen.functional.asau(x, 0.01, 1.0, alpha, beta)
        found.append(torch.autograd.grad(y.square().sum(), [x, alpha, beta]))
    for ours, theirs in zip(*found, strict=True):
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


class TestNoise:
    def test_kernel_and_torch_draw_the_same(self):
        seed = torch.tensor([123_456_789])
        module = limen.RReLU().train()
        bound = module.bind(training=True)
        for x in (-torch.ones(5000), -torch.ones(3, 4, 5, 6).to(memory_format=torch.channels_last)):
            ours, _ = eager.forward(bound, x, (), 1, seed)
            torch.testing.assert_close(ours, plain.evaluate(bound, x, (), 1, seed), rtol=1e-6, atol=0)

    def test_is_uniform_and_uncorrelated(self):
        noise = counter_noise(torch.empty(200_000), torch.tensor([7]), 0)
        other = counter_noise(torch.empty(200_000), torch.tensor([8]), 0)
        assert 0 <= noise.min() < 1e-4
        assert 1 - 1e-4 < noise.max() < 1
        assert noise.mean().item() == pytest.approx(0.5, abs=3e-3)
        assert noise.var().item() == pytest.approx(1 / 12, abs=1e-3)
        for pair in (torch.stack([noise[1:], noise[:-1]]), torch.stack([noise, other])):
            assert abs(torch.corrcoef(pair)[0, 1].item()) < 0.01

    def test_every_call_draws_anew_and_manual_seed_repeats(self):
        module, x = limen.RReLU().train(), -torch.ones(100)
        torch.manual_seed(5)
        first, second = module(x), module(x)
        torch.manual_seed(5)
        assert not torch.equal(first, second)
        assert torch.equal(module(x), first)

    def test_candidates_of_a_mixture_draw_apart(self):
        module = limen.AdAct(("rrelu", "rrelu")).train()
        bound = module.bind(training=True)
        assert len(bound.noise) == 2
        x, seed = torch.randn(50, 7), new_seed()
        mine, _ = eager.forward(bound, x, module.tensors(), 1, seed)
        torch.testing.assert_close(mine, plain.evaluate(bound, x, module.tensors(), 1, seed))


class TestChoice:
    def test_plain_and_c_are_really_different_paths(self, monkeypatch):
        calls = []
        original = c.run_forward
        monkeypatch.setattr(c, "run_forward", lambda *a: calls.append(1) or original(*a))
        x = torch.randn(40_000)
        with limen.use_backend("plain"):
            limen.ASAU()(x)
        assert not calls
        with limen.use_backend("c"):
            limen.ASAU()(x)
        assert calls
        limen.ASAU()(x.double())
        assert len(calls) == 1

    def test_names(self):
        with pytest.raises(limen.errors.SpecError, match="Did you mean 'plain'"), limen.use_backend("plan"):
            pass

    def test_insisting_on_c_says_why_it_cannot_be(self):
        with limen.use_backend("c"):
            with pytest.raises(limen.errors.LimenError, match="float64"):
                limen.ASAU()(torch.zeros(2, dtype=torch.float64))
            with pytest.raises(limen.errors.LimenError, match="selects the largest"):
                limen.TopPercentile()(torch.zeros(2, 3))

    def test_a_formula_that_cannot_be_traced_says_so_once(self):
        class Odd(limen.Activation):
            @staticmethod
            def formula(x):
                return x if x.sum() > 0 else 2 * x

        module = Odd()
        with pytest.warns(UserWarning, match=r"Odd.formula runs on torch's operators.*does not become an expression"):
            assert module(torch.ones(3)).tolist() == [1.0] * 3
        assert module(-torch.ones(3)).tolist() == [-2.0] * 3  # filterwarnings=error: a second warning would fail here
        assert "expression" in dispatch.why_no_kernel(module.bind(training=True))

    @pytest.mark.parametrize("compiler", ["/bin/false", "/no/such/compiler"])
    def test_without_a_compiler_one_warning_and_the_plain_path(self, compiler, tmp_path):
        code = (
            "import warnings, torch, limen\n"
            "with warnings.catch_warnings(record=True) as caught:\n"
            "    warnings.simplefilter('always')\n"
            "    y = [limen.create(n)(torch.ones(2, 4)) for n in ('asau', 'ash', 'asau')]\n"
            "print(len(caught), str(caught[0].message))\n"
        )
        environment = {"LIMEN_CC": compiler, "LIMEN_CACHE": str(tmp_path), "PATH": "/usr/bin:/bin"}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
        assert done.stdout.startswith("1 limen runs on torch's operators, without kernels:")
        assert compiler in done.stdout


class TestOperators:
    @pytest.mark.parametrize("name", COMPILED)
    def test_opcheck(self, name):
        from limen.kernels import operators  # noqa: F401  # registers them
        from limen.kernels.bound import key_of

        module = perturbed(name, num_parameters=3)
        x = torch.randn(4, 3, 5, requires_grad=True)
        arguments = (key_of(module._bound[False]), x, list(module.tensors()), 1, None)
        if any(t.grad_fn is not None for t in module.tensors()):
            arguments = (*arguments[:2], [t.detach().requires_grad_() for t in module.tensors()], 1, None)
        torch.library.opcheck(torch.ops.limen.forward.default, arguments)

    @pytest.mark.parametrize("name", COMPILED)
    def test_compiled_programs_call_the_kernel(self, name):
        torch._dynamo.reset()
        graphs = []

        def note(graph, _):
            graphs.append(graph)
            return graph.forward

        torch.compile(activation(name), fullgraph=True, backend=note)(torch.randn(2, 6))
        assert "limen.forward" in graphs[0].code

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["asau", "ash", "adact"])
    def test_inductor(self, name):
        torch._dynamo.reset()
        module = perturbed(name)
        compiled = torch.compile(torch.nn.Sequential(torch.nn.Linear(8, 8), module), fullgraph=True)
        x = torch.randn(4, 8, requires_grad=True)
        compiled(x).square().sum().backward()
        ours = [x.grad.clone(), *(p.grad.clone() for p in compiled.parameters())]
        x.grad = None
        compiled.zero_grad()
        with limen.use_backend("plain"):
            compiled._orig_mod(x).square().sum().backward()
        for mine, its in zip(ours, [x.grad, *(p.grad for p in compiled.parameters())], strict=True):
            torch.testing.assert_close(mine, its, rtol=1e-4, atol=1e-5)

    def test_training_noise_under_compile(self):
        torch._dynamo.reset()
        compiled = torch.compile(limen.RReLU().train(), fullgraph=True, backend="aot_eager")
        x = -torch.ones(1000)
        first, second = compiled(x), compiled(x)
        assert not torch.equal(first, second)
        assert (-first).min() >= 1 / 8
        assert (-first).max() <= 1 / 3

    def test_memory_is_counted_through_the_operator(self):
        from limen.lab.training.memory import peak_memory

        x, module = torch.randn(1000, requires_grad=True), limen.ASAU()
        assert peak_memory(lambda: module(x)) < 20_000  # the plain path holds seven tensors of 4000 bytes and more


DDP = """
import os, sys, torch, limen
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel as DDP
rank = int(sys.argv[1])
os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=sys.argv[2])
dist.init_process_group("gloo", rank=rank, world_size=2)
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(4, 6), limen.create(sys.argv[3], num_parameters=6), torch.nn.Linear(6, 2))
both = torch.randn(8, 4)
parallel = DDP(model)
parallel(both[4 * rank : 4 * rank + 4]).square().mean().backward()
ours = [p.grad.clone() for p in model.parameters()]
model.zero_grad()
model(both).square().mean().backward()
for mine, whole in zip(ours, model.parameters()):
    torch.testing.assert_close(mine, whole.grad, rtol=1e-4, atol=1e-6)
dist.barrier()
os._exit(0)  # gloo's threads are sometimes still running when Python tears them down
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["asau", "apalu", "swish"])
def test_distributed_data_parallel(name, unused_port):
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", DDP, str(rank), str(unused_port), name], stderr=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    outcomes = [(worker.communicate(timeout=120)[1], worker.returncode) for worker in workers]
    assert [code for _, code in outcomes] == [0, 0], outcomes


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class TestMemorySafety:
    """Kernels read and write by address: whatever has no ordinary memory must never reach them."""

    @pytest.mark.parametrize("elements", [4, 50_000])
    def test_parameters_elsewhere_are_refused(self, elements):
        with pytest.raises(limen.errors.LimenError, match="parameters are on meta"):
            limen.ASAU(device="meta")(torch.zeros(elements))

    def test_negative_views_are_read_right(self):
        z = torch.complex(torch.randn(6), torch.randn(6)).conj()
        assert z.imag.is_neg()
        torch.testing.assert_close(limen.Swish()(z.imag), torch.nn.functional.silu(z.imag.resolve_neg()))

    def test_meta_and_fake_inputs_stay_symbolic(self):
        from torch._subclasses.fake_tensor import FakeTensorMode

        assert limen.ReLU()(torch.empty(3, device="meta")).is_meta
        with FakeTensorMode(allow_non_fake_inputs=True):
            assert limen.ASAU()(torch.empty(2, 3)).shape == (2, 3)

    def test_mismatched_parameter_counts_are_refused(self):
        with pytest.raises((RuntimeError, limen.errors.ShapeError)):
            limen.functional.asau(torch.zeros(2, 5), torch.zeros(3), 1.0, torch.ones(5), 1.0)

    def test_from_several_threads(self):
        from concurrent.futures import ThreadPoolExecutor

        module, inputs = limen.AdAct().eval(), [torch.randn(64, 1000) for _ in range(16)]
        expected = [module(x) for x in inputs]
        with ThreadPoolExecutor(8) as pool:
            for got, want in zip(pool.map(module, inputs), expected, strict=True):
                assert torch.equal(got, want)

    def test_in_a_forked_child(self):
        module, x = limen.ASAU(), torch.randn(200_000)
        module(x)
        child = os.fork()
        if child == 0:
            signal.alarm(60)  # a hang ends here
            module(x)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0


def test_everything_registered_is_compiled_or_says_why_not():
    for name in ALL:
        reason = dispatch.why_no_kernel(limen.create(name).bind(training=True))
        assert bool(reason) == bool(find(name).plain_only)
