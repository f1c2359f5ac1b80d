"""Kernels that come with the package: found before the cache, by their source, without a compiler."""

import ctypes
import itertools
import warnings
from types import SimpleNamespace

import pytest
import torch
from helpers_building import needs_gcc, own_folder

import limen
from limen import shipping
from limen.activations.registry import create, names
from limen.diagnosis import diagnose
from limen.kernels.c import build, shipped, short_calls, threads
from limen.shipping import TYPES, build_library, calls_of_all, sources_of
from limen.warming import CHANNELS, DTYPES, calls_of

KIND = shipped.processor()
pytestmark = [needs_gcc, pytest.mark.skipif(not KIND, reason="needs a processor that kernels are shipped for")]


class Leaning(limen.Activation):
    """A formula that costs little to compile, and that nothing else has."""

    k = limen.Param(0.25)

    @staticmethod
    def formula(x, k):
        return x * k + 3.0


@pytest.fixture(scope="module")
def libraries(tmp_path_factory):
    folder = tmp_path_factory.mktemp("libraries")
    build_library(set(sources_of(calls_of(Leaning()), ["float32"])), folder / f"{KIND}.so", "gcc", KIND, 2)
    return folder


@pytest.fixture
def installed(libraries, tmp_path, monkeypatch):
    """As after an installation on a machine without a compiler, with nothing in the cache."""
    for _ in own_folder(tmp_path, monkeypatch):
        monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
        monkeypatch.setattr(shipped, "FOLDER", libraries)
        short_calls._maker.cache_clear()
        yield libraries
    short_calls._maker.cache_clear()


def test_no_compiler_is_needed(installed):
    """For small calls and large ones, with gradients and without: the numbers of the formula, and no warning."""
    module = Leaning()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for x in (torch.randn(7), torch.randn(40_000)):
            torch.testing.assert_close(module(x), x * 0.25 + 3)
            x.requires_grad_()
            by_x, by_k = torch.autograd.grad(module(x).sum(), [x, module.k])
            torch.testing.assert_close(by_x, torch.full_like(x, 0.25))
            torch.testing.assert_close(by_k, x.detach().sum().reshape(1), rtol=1e-4, atol=1e-3)
    assert build.journal() != ()
    assert all(one.shipped and not one.compiled for one in build.journal())
    assert short_calls.why_not_native() == ""
    found = diagnose()
    assert found["kernels"]["came with limen"].startswith(f"{installed / KIND}.so")
    assert found["path"]["cpu"].startswith("c (the kernels that came with limen")


def test_only_what_has_this_very_source(installed):
    source, *_ = sources_of(calls_of(Leaning()), ["float32"])
    assert shipped.find(source) is not None
    assert shipped.find(source + " ") is None

    class Changed(Leaning):
        @staticmethod
        def formula(x, k):
            return x * k + 4.0

    said = r"Changed.formula runs on torch's operators.*No C compiler was found.*limen\[compiler\]"
    with pytest.warns(UserWarning, match=said) as given:
        results = [Changed()(torch.zeros(3)).tolist() for _ in range(2)]
    assert results == [[4.0] * 3] * 2
    assert len(given) == 1


def test_on_the_threads_of_torch(installed):
    found = (ctypes.c_void_p * 3).in_dll(shipped.library(), "limen_threads")
    assert list(found) == threads.entry_points()


def test_a_library_that_cannot_be_loaded_is_none(installed, tmp_path, monkeypatch):
    (tmp_path / f"{KIND}.so").write_bytes(b"garbage")
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    build.forget()
    assert shipped.library() is None
    assert diagnose()["path"]["cpu"].startswith("plain")


@pytest.mark.parametrize(
    ("machine", "features", "kind"),
    [
        ("x86_64", shipped.X86["x86-64-v4"] | {"sse"}, "x86-64-v4"),
        ("AMD64", shipped.X86["x86-64-v4"] - {"avx512vl"}, "x86-64-v3"),
        ("x86_64", shipped.X86["x86-64-v3"] - {"fma"}, ""),
        ("aarch64", frozenset(), "aarch64"),
        ("riscv64", frozenset(), ""),
    ],
)
def test_by_the_features_of_the_processor(monkeypatch, machine, features, kind):
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(shipped, "_features", lambda: features)
    monkeypatch.setattr("sys.platform", "linux")
    assert shipped.processor() == kind
    monkeypatch.setattr("sys.platform", "darwin")
    assert shipped.processor() == ""


@pytest.mark.thorough
@pytest.mark.parametrize("chosen", [pytest.param(("asau", "ash"), id="two"), pytest.param(names(), id="all")])
def test_all_built_in_activations(installed, tmp_path, monkeypatch, chosen):
    """In every layout and type, with one parameter and with one a channel, in training and in evaluation."""
    monkeypatch.undo()
    target = tmp_path / "all" / f"{KIND}.so"
    build_library(set(sources_of(calls_of_all(chosen), TYPES)), target, "gcc", KIND, 2)
    for _ in own_folder(tmp_path, monkeypatch):
        monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
        monkeypatch.setattr(shipped, "FOLDER", target.parent)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for name, dtype in itertools.product(chosen, TYPES):
                call_all(name, DTYPES[dtype])
        assert all(one.shipped for one in build.journal())


def call_all(name, dtype):
    own = create(name)
    forms = [own, create(name, num_parameters=CHANNELS)] if list(own.parameters()) else [own]
    for activation, like in (call for form in forms for call in calls_of(form)):
        for training in (False, True):
            activation.train(training)
            x = torch.randn_like(like, dtype=dtype).requires_grad_()
            activation(x).sum().backward()
            with torch.no_grad():
                activation(x)


def test_both_modes_of_an_activation_have_kernels():
    sources = set(sources_of(calls_of(create("rrelu")), ["float32"]))
    assert len({"noise0" in source for source in sources}) == 2


def test_what_was_built_is_said(tmp_path, monkeypatch, capsys):
    def build(sources, target, cc, processor, jobs):
        target.write_bytes(bytes(1_500_000))
        assert (set(sources), cc, processor, jobs) == ({"int f;"}, "gcc", "x86-64-v3", 1)

    times = iter((10.0, 17.0))
    monkeypatch.setattr(shipping, "build_library", build)
    monkeypatch.setattr(shipping, "sources_of", lambda *_: ["int f;"])
    monkeypatch.setattr(shipping, "time", SimpleNamespace(monotonic=lambda: next(times)))
    monkeypatch.setattr(shipping, "os", SimpleNamespace(cpu_count=lambda: None, environ={}))
    monkeypatch.setattr("sys.argv", ["shipping", str(tmp_path), "--cc", "gcc", "--processors", "x86-64-v3"])
    shipping.main()
    assert capsys.readouterr().out == f"{tmp_path / 'x86-64-v3.so'}: 1 kernels, 1.5 MB, built in 7 s\n"
