"""A wheel's kernels on a processor that can run those of several levels: which are taken, and what they compute."""

import copy

import pytest
import torch
from helpers import KEEPING_SHAPE, assert_same_for_any_threads, exact, gradients
from helpers_building import needs_gcc, own_folder, run_python

import limen
from limen.activations.registry import create
from limen.kernels.c import build, calls, shipped, short_calls
from limen.shipping import TYPES, build_library, calls_of_all, sources_of
from limen.warming import CHANNELS, DTYPES, calls_of

# What torch has found out about this processor, by its own means.
CAPABILITIES = {"AVX2": "x86-64-v3", "AVX512": "x86-64-v4"}
BEST = CAPABILITIES.get(torch.backends.cpu.get_cpu_capability(), "")
HERE = [kind for kind in reversed(shipped.X86) if kind <= BEST]
RUNNABLE = [
    pytest.param(kind, marks=pytest.mark.skipif(kind not in HERE, reason=f"needs a processor of level {kind}"))
    for kind in reversed(shipped.X86)
]
FEW = ("relu", "ash")

pytestmark = needs_gcc


def built(folder, names, dtypes):
    sources = set(sources_of(calls_of_all(names), dtypes))
    for kind in HERE:
        build_library(sources, folder / f"{kind}.so", "gcc", kind, 2)
    return folder


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    return built(tmp_path_factory.mktemp("few"), FEW, ["float32"])


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    return built(tmp_path_factory.mktemp("everything"), limen.names(), TYPES)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Take the libraries in a folder for those of the package, of no better level than one, without a compiler."""

    def take(folder, kind):
        monkeypatch.setattr(shipped, "FOLDER", folder)
        monkeypatch.setattr(shipped, "_features", lambda: shipped.X86[kind])
        forget()

    for _ in own_folder(tmp_path, monkeypatch):
        monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
        yield take
    forget()


def forget():
    """What this process has loaded: functions of one library would be called after another was chosen."""
    build.forget()
    for cached in (calls.forward_function, calls.backward_function, calls.short_functions, short_calls._maker):
        cached.cache_clear()


@pytest.mark.skipif(not HERE, reason="needs a processor that kernels are shipped for")
def test_the_best_level_of_this_processor_is_taken(few, tmp_path):
    """As the system tells which files a new process has in its memory."""
    said = run_python(
        f"""
        import pathlib, torch, limen
        from limen.kernels.c import build, shipped
        shipped.FOLDER = pathlib.Path({str(few)!r})
        limen.create("ash")(torch.randn(3, 40))
        assert build.journal() and all(one.shipped for one in build.journal()), build.journal()
        print(*{{line.split()[-1] for line in open("/proc/self/maps") if {str(few)!r} in line}})
        """,
        LIMEN_CACHE=str(tmp_path / "cache"),
        PATH="",
    )
    assert said.split() == [str(few / f"{BEST}.so")]


@pytest.mark.parametrize("kind", RUNNABLE)
def test_each_level_computes_the_formula(few, install, kind):
    install(few, kind)
    for name in FEW:
        check(name, torch.float32)
    assert shipped.library()._name == str(few / f"{kind}.so")
    assert build.journal()
    assert all(one.shipped for one in build.journal())


@pytest.mark.thorough
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("kind", RUNNABLE)
def test_all_built_in_activations_at_each_level(everything, install, kind, dtype):
    """In every layout, with one parameter and one a channel, by values, gradients, threads, and awkward numbers."""
    install(everything, kind)
    for name in KEEPING_SHAPE:
        if not limen.activations.registry.find(name).plain_only:
            check(name, DTYPES[dtype])
    assert shipped.library()._name == str(everything / f"{kind}.so")
    assert len(build.journal()) > 50
    assert all(one.shipped for one in build.journal())


def check(name, dtype):
    """An activation in all the ways it meets memory, in samples small and large."""
    for module, like in forms(name):
        module.eval()
        for shape in (tuple(like.shape), (5, like.shape[1], 33, 31)[: like.ndim]):
            x = torch.randn(shape).to(dtype)
            x = x.to(memory_format=torch.channels_last) if like.stride(1) == 1 and like.ndim == 4 else x
            g = torch.randn(shape).to(dtype)
            assert_right(module, x, g)
        assert_same_for_any_threads(lambda module=module, x=x, g=g: gradients(module, x, g, "c"))
        if limen.activations.registry.find(name).elementwise:
            assert_awkward_numbers_pass(module, shape, dtype)


def assert_right(module, x, g):
    """No worse than twice torch's operators, plus rounding: of the scale, and of the terms of a parameter's sum."""
    ours, torchs, truth = gradients(module, x, g, "c"), gradients(module, x, g, "plain"), exact(module, x, g)
    # Sums over thousands of terms cancel: of Derf's they are a thousand times the sum.
    roundings = [0.0, 0.0, *(1e-7 * size for size in sizes_of_terms(module, x.double(), g.double()))]
    for mine, its, want, rounding in zip(ours, torchs, truth, roundings, strict=True):
        assert mine.dtype == its.dtype
        allowed = 2 * (its.double() - want).abs().max() + 1e-6 * want.abs().max() + rounding + 1e-30
        assert (mine.double() - want).abs().max() <= allowed


def sizes_of_terms(module, x, g):
    """For each parameter what the terms of its gradient sum up to without their signs, of a channel on average."""
    double = copy.deepcopy(module).double()
    for parameter in double.parameters():
        # With both signs, since the same added to all logits of a mixture changes nothing.
        step = 1e-5 * torch.ones_like(parameter).flatten().cumsum(0).remainder(2).mul(2).sub(1).view_as(parameter)
        with torch.no_grad(), limen.use_backend("plain"):
            parameter.add_(step)
            above = double(x)
            parameter.sub_(2 * step)
            below = double(x)
            parameter.add_(step)
        yield ((above - below) / 2e-5 * g).abs().sum().item() / double.num_parameters


def forms(name):
    """Calls with one parameter for all and one a channel, no parameter as it began."""
    own = create(name)
    for form in [own, create(name, num_parameters=CHANNELS)] if list(own.parameters()) else [own]:
        with torch.no_grad():
            for parameter in form.parameters():
                parameter.add_(0.2 * torch.rand_like(parameter))
        yield from calls_of(form)


def assert_awkward_numbers_pass(module, shape, dtype):
    """NaN stays where it was, and touches nothing else; the smallest numbers are flushed to 0 no more than by plain."""
    x = torch.randn(shape).to(dtype)
    with limen.use_backend("c"):
        clean = module(x)
    x.view(-1)[::7] = float("nan")
    with limen.use_backend("c"):
        found = module(x)
    assert torch.equal(found.isnan(), x.isnan())
    assert torch.equal(found[~x.isnan()], clean[~x.isnan()])
    tiny = torch.full(shape, 2.0**-130).to(dtype)
    with limen.use_backend("c"):
        found = module(tiny)
    with limen.use_backend("plain"):
        right = module(tiny)
    torch.testing.assert_close(found, right, rtol=2**-7, atol=2.0**-140)
