"""The Triton kernels without a GPU: interpreted, against the plain formula; and compiled for GPUs that are not here."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import (
    COMPILED,
    DTYPES,
    LAYOUTS,
    activation,
    assert_as_good_as_plain,
    assert_right_at,
    dense,
    gradients,
    perturbed,
)
from helpers_functions import OF_ONE_NUMBER

import limen
from limen.activations.registry import find
from limen.kernels import dispatch, plain
from limen.kernels.bound import BoundFormula
from limen.kernels.c import run as c_run
from limen.kernels.call import Call
from limen.kernels.layout import Plan
from limen.kernels.noise import uniform_of
from limen.kernels.triton import build, launch
from limen.kernels.triton import run as triton_run

pytestmark = [
    pytest.mark.triton,
    pytest.mark.skipif(not build.installed(), reason="Triton is not installed: pip install 'limen[triton]'"),
]
interpreted = pytest.mark.skipif(
    not build.installed() or not build.interpreted(),
    reason="TRITON_INTERPRET=1 has to be set before pytest starts: make test-triton",
)
ELEMENTWISE = [name for name in COMPILED if find(name).elementwise]
OF_SAMPLES = [name for name in COMPILED if not find(name).elementwise]


@interpreted
class TestAgainstThePlainFormula:
    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("name", COMPILED)
    def test_layouts(self, name, layout):
        make, channels, channel_dim = LAYOUTS[layout]
        x = make()
        module = perturbed(name, num_parameters=channels, channel_dim=channel_dim)
        assert_as_good_as_plain(module, x, torch.randn(x.shape), "triton")

    @pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
    @pytest.mark.parametrize("channels", [1, 5])
    @pytest.mark.parametrize("name", COMPILED)
    def test_half_types(self, name, channels, dtype):
        module = perturbed(name, num_parameters=channels)
        x, g = dense((3, 5, 67)).to(dtype), torch.randn(3, 5, 67).to(dtype)
        assert_as_good_as_plain(module, x, g, "triton")

    @pytest.mark.parametrize("context", ["sample", "channel", "token"])
    @pytest.mark.parametrize("channels", [1, 6])
    @pytest.mark.parametrize("memory", ["contiguous", "channels last"])
    @pytest.mark.parametrize("size", [9, 150], ids=["one visit", "spread"])
    def test_contexts(self, context, channels, memory, size):
        x = dense((2, 6, 2, size))
        x = x.to(memory_format=torch.channels_last) if memory == "channels last" else x
        g = torch.randn(x.shape)
        for name in OF_SAMPLES:
            module = limen.create(name, context=context, num_parameters=channels).eval()
            reference = limen.create(name, context=context, num_parameters=channels, dtype=torch.float64).eval()
            mine, truth = gradients(module, x, g, "triton"), gradients(reference, x.double(), g.double(), "plain")
            for got, want in zip(mine, truth, strict=True):
                torch.testing.assert_close(got.double(), want, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("name", ELEMENTWISE)
    def test_extreme_inputs(self, name):
        edges = torch.tensor([0.0, -0.0, 1e-45, 1e-38, 0.3, 1.0, 9.0, 17.0, 87.0, 88.0, 104.0, 1e4, 1e38, float("inf")])
        anything = torch.randint(0, 2**31 - 1, (300,), dtype=torch.int32).view(torch.float32)
        x = torch.cat([edges, anything])
        assert_right_at(activation(name), torch.cat([x, -x]), "triton")

    @pytest.mark.parametrize("packed", [False, True], ids=["apart", "halves"])
    @pytest.mark.parametrize("name", ["asau", "ash", "rrelu", "adact"])
    def test_gates(self, name, packed):
        """Formulas of two inputs in every layout, also of halves that are read in place."""
        for make, channels, channel_dim in LAYOUTS.values():
            x = make()
            up, g = torch.randn_like(x), torch.randn(x.shape)
            module = limen.GLU(perturbed(name, num_parameters=channels, channel_dim=channel_dim), packed=packed)
            leaves = [torch.cat([x, up], -1)] if packed else [x.detach(), up]
            found = []
            for backend in ("triton", "plain"):
                own = [leaf.clone().requires_grad_() for leaf in leaves]
                with limen.use_backend(backend):
                    y = module(*own)
                found.append([y, *torch.autograd.grad(y, [*own, *module.parameters()], g)])
            for ours, theirs in zip(*found, strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)

    def test_shared_and_channel_parameters_together(self):
        x = dense((4, 3, 50)).requires_grad_()
        alpha, beta = torch.tensor([1.0, 0.5, 2.0], requires_grad=True), torch.tensor(1.5, requires_grad=True)
        found = []
        for backend in ("triton", "plain"):
            with limen.use_backend(backend):
                y = limen.functional.asau(x, 0.01, 1.0, alpha, beta)
            found.append(torch.autograd.grad(y.square().sum(), [x, alpha, beta]))
        for ours, theirs in zip(*found, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("layout", ["odd", "rows", "channels last", "with gaps"])
    @pytest.mark.parametrize("name", ["asau", "ash"])
    def test_gradients_laid_out_as_what_they_are_of(self, name, layout):
        """Also where the upstream gradient is a view of the opposite sign."""
        make, channels, _ = LAYOUTS[layout]
        module, leaf = perturbed(name, num_parameters=channels), make().requires_grad_()
        with limen.use_backend("triton"):
            y = module(leaf)
        g, leaves = torch.randn(y.shape), [leaf, *module.parameters()]
        found = torch.autograd.grad(y, leaves, torch._neg_view(-g), retain_graph=True)
        for got, want, tensor in zip(found, torch.autograd.grad(y, leaves, g), leaves, strict=True):
            torch.testing.assert_close(got, want)
            assert got.stride() == torch.empty_like(tensor).stride()

    @pytest.mark.parametrize("name", ["asau", "ash", "adact"])
    def test_the_same_bits_every_time(self, name):
        module, x, g = perturbed(name), torch.randn(3, 3001), torch.randn(3, 3001)
        first, second = (gradients(module, x, g, "triton") for _ in range(2))
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))

    @pytest.mark.parametrize("name", ["apalu", "ash", "adact"])
    def test_second_derivatives(self, name):
        module = perturbed(name)
        x = dense((3, 5)).requires_grad_()
        second = []
        for backend in ("triton", "plain"):
            with limen.use_backend(backend):
                y = module(x)
            (first,) = torch.autograd.grad(y.sum(), x, create_graph=True)
            second.append(torch.autograd.grad(first.square().sum(), [x, *module.parameters()], allow_unused=True))
        for ours, theirs in zip(*second, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("name", COMPILED)
    def test_saved_for_backward_is_the_input_and_little_else(self, name):
        from limen.bench import saved_bytes

        x = torch.randn(4, 600, requires_grad=True)
        module = limen.create(name).train()
        with limen.use_backend("triton"):
            saved = saved_bytes(module, x)
        few = 4 * 2 * 4 + 4 * sum(p.numel() for p in [*module.parameters(), *module.buffers()]) + 7 * 28 + 8
        assert saved <= x.numel() * 4 + few


@interpreted
class TestElementaryFunctions:
    @pytest.mark.parametrize("name", OF_ONE_NUMBER)
    def test_accuracy(self, name):
        low, high = OF_ONE_NUMBER[name].whole
        near = torch.linspace(max(low, -1), min(high, 1), 2001)
        x = torch.cat([torch.linspace(low, high, 4001), near])
        function = getattr(limen.formula, name)
        with limen.use_backend("triton"):
            got = dispatch.evaluate(BoundFormula(function), x, (), 1).double()
        want = function(x.double())
        # Of the value itself where the function has no zero but at 0; sine and cosine of their scale.
        scale = torch.ones_like(want) if name in ("sin", "cos") else want.abs()
        assert ((got - want).abs() <= 4e-7 * scale + 1e-37).all(), ((got - want).abs() / (scale + 1e-37)).max()

    def test_constants_that_triton_would_take_for_float64(self):
        """Numbers below the normal ones of float32 and above its largest, and those that float64 alone can hold."""

        def formula(u):
            return u * 1e-45 * 1e38 + 0.1 + limen.formula.minimum(u, 1e300)

        x = torch.tensor([1.0, -2.0, 3.5])
        with limen.use_backend("triton"):
            got = dispatch.evaluate(BoundFormula(formula), x, (), 1)
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, x + 0.1, rtol=1e-6, atol=1e-6)


@interpreted
class TestSamples:
    def statistics(self, x):
        module = limen.ASH()
        return triton_run.forward(module._bound[0], x, module.tensors(), 1, None)[1]

    @pytest.mark.parametrize("size", [700, 10_000], ids=["one visit", "spread"])
    def test_a_large_mean_does_not_cancel_the_deviation(self, size):
        x = torch.randn(2, size) + 30_000
        found = self.statistics(x)
        torch.testing.assert_close(found[:, 0].double(), x.double().mean(1), rtol=1e-7, atol=0)
        torch.testing.assert_close(found[:, 1].double(), x.double().std(1, correction=0), rtol=1e-6, atol=0)

    @pytest.mark.parametrize("size", [700, 5000], ids=["one visit", "spread"])
    def test_a_constant_sample_has_no_deviation(self, size):
        x = torch.full((2, size), 0.1, requires_grad=True)
        with limen.use_backend("triton"):
            y = limen.ASH(z_k=3.0)(x)
        (slope,) = torch.autograd.grad(y.sum(), x)
        assert torch.equal(y, x / 2)
        torch.testing.assert_close(slope, torch.full_like(slope, 0.5))

    @pytest.mark.parametrize("size", [700, 5000], ids=["one visit", "spread"])
    def test_squares_beyond_float32(self, size):
        x = torch.randn(2, size) * 1e30
        found = self.statistics(x)
        torch.testing.assert_close(found[:, 1].double(), x.double().std(1, correction=0), rtol=1e-5, atol=0)


def scaled_by_two_noises(x, first, second):
    return x * first * second


@interpreted
class TestNoise:
    def test_every_path_draws_the_same_bits(self):
        seed = torch.tensor([123_456_789])
        bound = BoundFormula(scaled_by_two_noises, noise=("first", "second"))
        for x in (torch.ones(3000), torch.ones(3, 4, 5, 6).to(memory_format=torch.channels_last)):
            call = Call(bound, x, (), 1, seed)
            by_triton = triton_run.forward(*call)[0]
            assert torch.equal(by_triton, c_run.forward(*call)[0])
            assert torch.equal(by_triton, plain.evaluate(*call))

    def test_places_beyond_32_bits(self):
        module = build.load(
            "import triton\nimport triton.language as tl\nfrom limen.kernels.triton.math import uniform\n\n\n"
            "@triton.jit\ndef draw(places, out, seed, WIDE: tl.constexpr, BLOCK: tl.constexpr):\n"
            "    at = tl.arange(0, BLOCK)\n"
            "    key = tl.load(seed).to(tl.uint32)\n"
            "    tl.store(out + at, uniform(tl.load(places + at), key, WIDE))\n",
            "places",
        )
        places = torch.randint(0, 2**40, (64,))
        seed, out = torch.tensor([77]), torch.empty(64)
        module.draw[(1,)](places, out, seed, WIDE=True, BLOCK=64)
        assert torch.equal(out, uniform_of(places, seed))
        module.draw[(1,)](places % 2**32, out, seed, WIDE=False, BLOCK=64)
        assert torch.equal(out, uniform_of(places % 2**32, seed))

    def test_backward_draws_what_forward_drew(self):
        x = torch.randn(2000, requires_grad=True)
        with limen.use_backend("triton"):
            y = limen.RReLU().train()(x)
        (slope,) = torch.autograd.grad(y.sum(), x)
        torch.testing.assert_close(slope * x, y)


@interpreted
class TestUnderCompile:
    @pytest.mark.parametrize("name", ["asau", "ash", "adact", "rrelu"])
    def test_one_operator_without_a_break(self, name):
        torch._dynamo.reset()
        module, x = perturbed(name), torch.randn(4, 6, requires_grad=True)
        with limen.use_backend("triton"):
            y = torch.compile(module, fullgraph=True, backend="aot_eager")(x)
            found = torch.autograd.grad(y.square().sum(), [x, *module.parameters()])
        with limen.use_backend("plain"):
            want = torch.autograd.grad(module(x).square().sum(), [x, *module.parameters()])
        for ours, theirs in zip(found, want, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)

    def test_the_operator_runs_tritons_kernels(self, monkeypatch):
        ran = []
        real = triton_run._run
        monkeypatch.setattr(triton_run, "_run", lambda x, calls: (ran.append(len(calls)), real(x, calls)))
        torch._dynamo.reset()
        with limen.use_backend("triton"):
            torch.compile(limen.ASAU(), fullgraph=True, backend="aot_eager")(
                torch.randn(4, requires_grad=True)
            ).sum().backward()
        assert ran == [1, 1]


class TestChoosing:
    def test_without_triton_it_says_how_to_get_it(self, monkeypatch):
        monkeypatch.setattr(build, "installed", lambda: False)
        with (
            pytest.raises(limen.errors.LimenError, match=r"pip install 'limen\[triton\]'"),
            limen.use_backend("triton"),
        ):
            pass

    def test_without_a_gpu_it_says_what_to_set(self, monkeypatch):
        monkeypatch.setattr(build, "interpreted", lambda: False)
        monkeypatch.setattr(build, "has_device", lambda: False)
        with pytest.raises(limen.errors.LimenError, match="TRITON_INTERPRET=1"), limen.use_backend("triton"):
            pass

    @interpreted
    def test_insisting_says_why_it_cannot_be(self):
        with limen.use_backend("triton"):
            with pytest.raises(limen.errors.LimenError, match="float64"):
                limen.ASAU()(torch.zeros(2, dtype=torch.float64))
            with pytest.raises(limen.errors.LimenError, match="sorting"):
                limen.TopPercentile()(torch.zeros(2, 2))
            assert limen.ASAU()(torch.zeros(0)).shape == (0,)

    @interpreted
    def test_parameters_elsewhere_are_named(self):
        with limen.use_backend("triton"), pytest.raises(limen.errors.LimenError, match="on meta; move one"):
            limen.ASAU(device="meta")(torch.zeros(2))

    def test_auto_leaves_cpu_tensors_to_c(self, monkeypatch):
        monkeypatch.setattr(triton_run, "forward", lambda *_: pytest.fail("Triton ran"))
        limen.ASAU()(torch.zeros(2))

    def test_a_kernels_text_is_known_without_a_file(self):
        kernels = build.forward_kernels(limen.ASAU()._bound[0], "shared")
        assert not Path(kernels.__file__).exists()
        assert "tl.store(y + at" in inspect.getsource(kernels.forward.fn)

    def test_doctor_says_what_triton_does(self):
        from limen.diagnosis import diagnose

        assert "triton" in diagnose()["path"]["gpu"].lower()


class TestLaunch:
    def test_the_launch_fits_the_device_and_covers_the_input(self):
        device = launch.Device(launch.FAMILIES["nvidia"], 132)
        large = launch.elementwise(Plan("shared", inner=2**26), device, 4, backward=False)
        assert large.programs == 132 * device.family.programs
        assert launch.elementwise(Plan("shared", inner=5), device, 4, backward=False).programs == 1
        for plan in (Plan("row", 32, 64, 3136), Plan("row", 256, 512, 49), Plan("row", 1, 100_000, 16)):
            found = launch.elementwise(plan, device, 2, backward=True)
            assert found.programs == plan.channels * found.parts
            assert found.rows * found.cols <= 1024
        assert launch.one_visit(Plan("sample", 64, 1, 16384), device, 4, backward=False) is not None
        assert launch.one_visit(Plan("sample", 64, 1, 16385), device, 4, backward=False) is None


GROUPS = [COMPILED[start::4] for start in range(4)]


@pytest.mark.parametrize("group", range(4))
def test_every_kernel_compiles_for_gpus_that_are_not_here(group):
    """Without float64, without spilled registers, and reading 16 bytes at once where the rows allow."""
    found = compiled_for_gpus(GROUPS[group])
    assert {row["activation"] for row in found} == set(GROUPS[group])
    assert {row["target"] for row in found} == {"sm_80", "sm_90", "gfx942"}
    for row in found:
        assert row["bytes"] > 1000, row
        assert not row["float64"], row
        assert row.get("stack", 0) == 0, row
        if row["layout"] in ("shared", "lane", "spread", "one visit") and row["kernel"] != "join_moments":
            assert row["read"] == 16, row


def test_kernels_for_more_than_31_bits_of_elements_compile():
    """Places are 64-bit numbers there, and everything else holds as before."""
    found = compiled_for_gpus(["asau", "rrelu", "ash"], "--wide")
    assert {row["kernel"] for row in found} >= {"forward", "backward", "part_moments", "row_sums", "backward_rows"}
    assert not any(row["float64"] or row.get("stack", 0) for row in found)


def test_the_benchmark_runs_without_a_gpu(tmp_path):
    """On a few elements, in the interpreter: every part leaves rows, and the table ends the output."""
    script = Path(__file__).parents[2] / "benchmarks" / "gpu.py"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TRITON_INTERPRET": "1"}
    command = [sys.executable, str(script), "--tiny", "--out", str(tmp_path / "gpu.json")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert {row["part"] for row in rows} == {"elementwise", "samples", "channels", "fused", "calls", "step"}
    assert {row.get("path") for row in rows} >= {"limen", "builtin", "eager", "compile", "operator", "inlined"}
    assert all(row["both_ms"] > 0 for row in rows if "both_ms" in row)
    assert {row["network"] for row in rows if row["part"] == "step"} == {"ResNet-18", "ViT-S"}
    assert done.stdout.splitlines()[-1].split()[:2] == ["ViT-S", "adact"]


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_every_kernel_compiles_in_every_type():
    found = compiled_for_gpus(COMPILED, "--dtypes", "all")
    assert len({(row["activation"], row["target"], row["dtype"]) for row in found}) == len(COMPILED) * 9
    assert not any(row["float64"] or row.get("stack", 0) for row in found)


def compiled_for_gpus(names, *options):
    """What ``triton_compiling`` prints, in a process that does not interpret."""
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), *sys.path])}
    environment.pop("TRITON_INTERPRET", None)
    command = [sys.executable, str(here / "triton_compiling.py"), *names, *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]
