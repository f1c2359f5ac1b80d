"""Kernels outlive the compiler that built them: on the same processor, for the same user."""

import json
import os
import warnings

import pytest
import torch
from helpers_building import SOURCE, counted_calls, libraries, needs_gcc, needs_root, own_folder, works

import limen
from limen.errors import LimenError
from limen.formula import tanh
from limen.kernels.c import build
from limen.kernels.c.build import NoCompilerError, cache_size, cache_trouble
from limen.warming import calls_in, calls_of, warm

pytestmark = needs_gcc


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    yield from own_folder(tmp_path, monkeypatch)


@pytest.fixture
def lose_compiler(tmp_path, monkeypatch):
    """What a container does that is built with a compiler and run without."""

    def lose(cause="no program"):
        if cause == "named":
            monkeypatch.setenv("LIMEN_CC", "no-such-cc")
        elif cause == "no program":
            monkeypatch.delenv("LIMEN_CC", raising=False)
            monkeypatch.delenv("CC", raising=False)
            monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
        else:
            script = tmp_path / "broken-cc"
            script.write_text("#!/bin/sh\nexit 1\n")
            script.chmod(0o755)
            monkeypatch.setenv("LIMEN_CC", str(script))
        build.forget()

    return lose


def fresh(name):
    """An activation that no other test has kernels of in this process."""

    class Fresh(limen.Activation):
        k = limen.Param(0.5)

        @staticmethod
        def formula(x, k):
            return x * tanh(k * x)

    Fresh.__name__ = Fresh.__qualname__ = name
    Fresh.formula.__qualname__ = f"{name}.formula"
    return Fresh


@pytest.mark.parametrize("cause", ["no program", "named", "broken"])
def test_a_library_is_used_without_its_compiler(lose_compiler, cause):
    assert works()
    lose_compiler(cause)
    assert works()
    assert build.find_compiler().gone
    assert [loaded.compiled for loaded in build.journal()] == [False]
    with pytest.raises(NoCompilerError, match=r"It is not among the kernels kept in .*limen warm"):
        works(SOURCE + "// another")


def test_of_every_compiler_that_was_there(tmp_path, monkeypatch, lose_compiler):
    assert works()
    counted_calls(tmp_path, monkeypatch)
    assert works(SOURCE + "// by the second", "second")
    lose_compiler()
    assert works()
    assert works(SOURCE + "// by the second", "second")


def test_from_a_folder_that_cannot_be_written(monkeypatch, lose_compiler):
    """As in a container whose file system is read-only; root can write anywhere, so the question is answered for it."""
    assert works()
    access = os.access
    monkeypatch.setattr("os.access", lambda path, mode, **named: not mode & os.W_OK and access(path, mode))
    monkeypatch.setattr("os.supports_effective_ids", {os.access})
    lose_compiler()
    assert works()
    assert "cannot be written to" in cache_trouble()
    assert cache_size()[0] == 2


def test_never_on_another_processor(monkeypatch, lose_compiler):
    assert works()
    lose_compiler()
    monkeypatch.setattr(build, "cpu_identity", lambda: "another machine")
    with pytest.raises(NoCompilerError, match=r"^No C compiler was found.* for another processor, so they are not"):
        works()
    assert build.journal() == ()
    monkeypatch.undo()


def shared(path):
    path.chmod(0o770)


def given_away(path):
    os.chown(path, 65534, 65534)


@pytest.mark.parametrize("damage", [shared, pytest.param(given_away, marks=needs_root)])
def test_never_what_others_can_write(folder, lose_compiler, damage):
    assert works()
    for kind in ("*.so", "*.probe", ""):
        damage(next(folder.glob(kind)) if kind else folder)
        lose_compiler()
        with pytest.raises(NoCompilerError):
            works()


@pytest.mark.parametrize("form", [{}, {"num_parameters": 4}], ids=str)
def test_warmed_activations_need_no_compiler(lose_compiler, form):
    """Small calls and large ones, images in both layouts and features, with and without gradients."""
    loaded, without = warm(calls_of(fresh("Warmed")(**form)), ["float32"])
    assert without == {}
    assert any(one.compiled and one.seconds > 0 for one in loaded)
    lose_compiler()
    module = fresh("Warmed")(**form)  # the same source, of which this process has nothing in memory
    images = torch.randn(2, 4, 3, 3)
    for x in (images, images.to(memory_format=torch.channels_last), torch.randn(2, 4), torch.randn(2, 4, 100, 100)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            module(x)
            module(x.clone().requires_grad_()).sum().backward()
    assert not any(one.compiled for one in build.journal())
    assert {one.name for one in build.journal()} == {one.name for one in loaded} - {"short_call"}  # made once a process


def test_what_was_not_warmed_runs_on_torchs_operators_and_says_so_once(lose_compiler):
    assert works()
    lose_compiler()
    module, x = fresh("Cold")(), torch.randn(3, 4)
    with pytest.warns(UserWarning, match="Cold.formula runs on torch's operators, without a kernel: No C compiler"):
        y = module(x)
    torch.testing.assert_close(y, x * torch.tanh(0.5 * x))
    for _ in range(2):
        module(x.clone().requires_grad_()).sum().backward()


def test_a_models_calls():
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(16, 2))
    limen.swap_(model, "asau", num_parameters="channel")
    calls = calls_in(model, torch.zeros(2, 1, 4, 4))
    assert [(type(call.activation), tuple(call.like.shape)) for call in calls] == [(limen.ASAU, (2, 4, 2, 2))] * 2
    assert [call.like.is_contiguous() for call in calls] == [True, False]


def test_what_cannot_be_built_or_kept_is_an_error(folder, lose_compiler):
    lose_compiler()
    with pytest.raises(LimenError, match="No C compiler was found"):
        warm(calls_of(limen.ReLU()))


def test_a_folder_that_keeps_nothing_is_an_error(folder):
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(LimenError, match="can be written to by others"):
        warm(calls_of(limen.ReLU()))
    assert libraries(folder) == []


def test_json_of_the_record_tells_the_compiler(folder):
    assert works()
    content = next(folder.glob("*.probe")).read_bytes()
    # What follows is a digest, whose bytes may be any.
    record = json.loads(content[: content.rindex(b"\nlimen entry")])
    assert record["path"] == build.find_compiler().path
