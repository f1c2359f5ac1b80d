"""Runs in processes of this machine: the same rows, whatever happens to a process."""

from __future__ import annotations

import os
import pickle
import re
import resource
import shutil
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import FORKS, thoroughly
from helpers_executing import die, done_to_runs, rows, until
from helpers_lab import TINY, Recorder, experiment_of, forked_command, stored, tiny

from limen.errors import SpecError, StudyError
from limen.lab.executing import capacity, local
from limen.lab.executing.capacity import crowded, jobs_that_fit
from limen.lab.executing.execution import ONE, Execution
from limen.lab.executing.sharing import pack, write
from limen.lab.executing.worker import sendable
from limen.lab.records import RunRecord
from limen.lab.settings import OPTIMIZED, SEARCHED, SelectSettings
from limen.lab.study.compare import Comparison, compare
from limen.lab.study.running import ATTEMPTS
from limen.lab.study.select import select
from limen.lab.study.store import StudyFolder

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are made and ended as on Linux")

TWO = Execution(jobs=2)
BRIEF = {"epochs": 1, "limit_train": 100}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose runs came one after the other."""
    out = tmp_path_factory.mktemp("alone")
    compare(tiny(**BRIEF), out, Recorder())
    return out


def test_rows_are_the_same_bit_for_bit_in_whatever_order_runs_end(
    alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = StudyFolder(tmp_path).run_path("asau", 0)
    done_to_runs(monkeypatch, lambda activation, seed: (activation, seed) == ("relu", 0) and until(second.exists))
    heard = Recorder()
    compare(tiny(**BRIEF), tmp_path, heard, execution=TWO)
    assert (heard.ended[0].activation, heard.ended[0].seed) == ("asau", 0)
    assert len(set(heard.places)) == 2
    assert all(place.startswith("process ") for place in heard.places)
    assert rows(tmp_path) == rows(alone)
    log = (tmp_path / "logs" / "asau-seed1.log").read_text()
    assert "asau, seed 1 begins in process " in log
    assert "epoch 1: training loss " in log
    assert "finished in " in log


def test_a_run_whose_process_is_killed_is_begun_again(
    alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = tmp_path / "killed"

    def once(activation: str, seed: int) -> None:
        if (activation, seed) == ("asau", 0) and not killed.exists():
            killed.touch()
            die()

    done_to_runs(monkeypatch, once)
    heard = Recorder()
    compare(tiny(**BRIEF), tmp_path / "out", heard, execution=TWO)
    assert heard.lost == [("asau", 0, "by SIGKILL")]
    assert heard.started.count(("asau", 0)) == 2
    assert rows(tmp_path / "out") == rows(alone)
    assert "its process ended by SIGKILL" in (tmp_path / "out" / "logs" / "asau-seed0.log").read_text()


def test_a_run_whose_process_always_ends_is_one_failed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done_to_runs(monkeypatch, lambda activation, seed: activation == "asau" and os._exit(3))
    heard = Recorder()
    result = compare(tiny(**BRIEF, seeds=(0,)), tmp_path, heard, execution=TWO)
    by_name = {run.activation: run for run in result.runs}
    assert by_name["relu"].status == "finished"
    assert by_name["asau"].status == "failed"
    assert by_name["asau"].failure == (
        "its process ended with exit code 3, the last of 3 times beside no other; its log holds what it printed."
    )
    assert len(heard.lost) == ATTEMPTS - 1
    assert len(rows(tmp_path)) == 2


def test_a_run_that_does_not_end_is_one_failed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done_to_runs(monkeypatch, lambda activation, seed: activation == "asau" and time.sleep(600))
    result = compare(tiny(**BRIEF, seeds=(0,)), tmp_path, Recorder(), execution=Execution(jobs=1, timeout_per_run=2.5))
    by_name = {run.activation: run for run in result.runs}
    assert by_name["relu"].status == "finished"
    assert by_name["asau"].failure == "it had not ended after 2.5 seconds (--timeout-per-run)."


def test_a_run_without_memory_is_one_failed_run_and_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scarce(activation: str, seed: int) -> None:
        if activation == "asau":
            held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (held + 2**26, resource.RLIM_INFINITY))
            try:
                torch.ones(2**28)
            finally:
                resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    done_to_runs(monkeypatch, scarce)
    result = compare(tiny(**BRIEF, seeds=(0,)), tmp_path, Recorder(), execution=TWO)
    by_name = {run.activation: run for run in result.runs}
    assert by_name["relu"].status == "finished"
    assert by_name["asau"].failure.startswith("there was not enough memory (")


def test_an_error_of_ones_own_code_is_raised_and_what_is_done_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(activation: str, seed: int) -> None:
        if activation == "asau":
            time.sleep(1)
            raise SpecError("the network 'gone:net' cannot be imported.")

    done_to_runs(monkeypatch, broken)
    with pytest.raises(SpecError, match="cannot be imported"):
        compare(tiny(**BRIEF, seeds=(0,)), tmp_path, Recorder(), execution=TWO)
    assert StudyFolder(tmp_path).read_run("relu", 0) is not None
    assert "Traceback" in (tmp_path / "logs" / "asau-seed0.log").read_text()


class UnsendableError(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__("three")


def test_an_error_that_cannot_be_sent_is_said() -> None:
    assert str(sendable(UnsendableError(1, 2))) == "a run failed (UnsendableError: three)."
    error = SpecError("as it is")
    assert sendable(error) is error


class Removing(Recorder):
    """Removes the folder when the second run has ended."""

    def __init__(self, out: Path) -> None:
        super().__init__()
        self.out = out

    def run_ended(self, run: RunRecord) -> None:
        super().run_ended(run)
        if len(self.ended) == 1:
            shutil.rmtree(self.out)


@pytest.mark.parametrize("execution", [ONE, TWO], ids=["alone", "processes"])
def test_a_folder_that_is_removed_is_one_sentence_and_what_ends_after_is_kept(
    execution: Execution, tmp_path: Path
) -> None:
    out, settings = tmp_path / "out", tiny(**BRIEF)
    with pytest.raises(StudyError, match=f"the folder {out} was removed while its study ran"):
        compare(settings, out, Removing(out), execution=execution)
    assert len([name for name in stored(out) if name.startswith("runs/")]) == 1
    heard = Recorder()
    compare(settings, out, heard)
    assert len(heard.ended) == 3


def test_a_clock_that_goes_back_breaks_nothing(alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began = time.time()
    ticks = iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: began - 3600 * next(ticks))
    compare(tiny(**BRIEF), tmp_path, Recorder(), execution=Execution(jobs=2, timeout_per_run=300))
    assert rows(tmp_path) == rows(alone)


def test_a_study_goes_on_with_its_threads_and_refuses_others(alone: Path, tmp_path: Path) -> None:
    out = shutil.copytree(alone, tmp_path / "out")
    text = (out / "study.json").read_text()
    before_it_was_a_setting = re.sub(r',\s*"threads_per_run": 1', "", text).replace('"threads": "1"', '"threads": "2"')
    assert before_it_was_a_setting.count("threads_per_run") == 0
    (out / "study.json").write_text(before_it_was_a_setting)
    for path in (out / "runs").iterdir():
        path.write_text(path.read_text().replace(',"threads_per_run":1', ""))
    (out / "cost.json").unlink()
    study = compare(tiny(**BRIEF), out, Recorder()).study
    assert study.settings.threads_per_run == 2
    assert torch.get_num_threads() == 1
    with pytest.raises(StudyError, match="threads_per_run 2 there, 1 now"):
        compare(tiny(**BRIEF, threads_per_run=1), out, Recorder())


@pytest.mark.parametrize("threads", thoroughly((1, 2), usual=(1,)))
def test_a_network_of_ones_own_lies_in_another_folder(threads: int, tmp_path: Path) -> None:
    """Two threads a run are processes that are no forks, and import it themselves."""
    (tmp_path / "beside_it.py").write_text("from torch import nn\n\nWIDTH = 8\n")
    (tmp_path / "own_net.py").write_text(
        "from beside_it import WIDTH, nn\n\n\n"
        "def build(in_channels, image_size, num_classes):\n"
        "    size = in_channels * image_size[0] * image_size[1]\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(size, WIDTH), nn.ReLU(), nn.Linear(WIDTH, num_classes))\n"
    )
    settings = ("--data", "digits", "--network", "own_net:build", "--activations", "relu,asau", "--limit-train", "100")
    brief = ("--seeds", "1", "--epochs", "1", "--threads-per-run", str(threads), "--jobs", "2", "--out", "out")
    outcome = forked_command(tmp_path / "said", "compare", *settings, *brief, where=tmp_path).wait()
    assert outcome.code == 0, outcome.err
    assert [(row["activation"], row["status"]) for row in rows(tmp_path / "out")] == [
        ("relu", "finished"),
        ("asau", "finished"),
    ]
    logs = [(tmp_path / "out" / "logs" / f"{name}-seed0.log").read_text() for name in ("relu", "asau")]
    assert len({re.findall("begins in process ([0-9]+)", log)[0] for log in logs}) == 2


def test_what_is_shared_is_the_same_over_the_same_memory(tmp_path: Path) -> None:
    experiment = experiment_of(tiny())
    packed = pack(Comparison(experiment))
    written = write(packed, tmp_path / "data")
    assert len(pickle.dumps(written)) < 10_000 < (tmp_path / "data").stat().st_size
    for opened in (packed.open(), written.open()):
        assert isinstance(opened, Comparison)
        data = opened.experiment.data
        assert data.facts() == experiment.data.facts()
        assert opened.experiment.settings == experiment.settings
        assert all(tensor.data_ptr() % 64 == 0 for tensor in data.train.tensors)
    before = (tmp_path / "data").read_bytes()
    data.train.tensors[0].zero_()
    assert (tmp_path / "data").read_bytes() == before


def test_an_address_of_rays_client_is_known_however_it_is_given() -> None:
    assert {Execution(on=on).address for on in ("ray://host:1", "ray:ray://host:1")} == {"ray://host:1"}
    assert [Execution(on=on).address for on in ("ray", "ray:auto", "ray:host:1")] == ["", "auto", "host:1"]


def test_how_many_runs_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "cores", lambda: 8)
    for threads, available, expected in ((1, 10**12, 8), (3, 10**12, 2), (16, 10**12, 1), (1, 250, 2), (1, 50, 1)):
        monkeypatch.setattr(capacity, "available_bytes", lambda there=available: there)
        monkeypatch.setattr(capacity, "resident_bytes", lambda: 100)
        assert jobs_that_fit(threads, "cpu") == expected
    assert jobs_that_fit(1, "cuda") == 1
    assert crowded(4, 2) == ""
    assert (
        crowded(9, 1) == "9 runs at a time of 1 thread on 8 cores: they wait for one another; --jobs 8 takes no longer"
    )


def test_a_fork_is_made_only_where_nothing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    monkeypatch.setattr(local, "_forks_learn", lambda: False)
    assert local._context(1, "cpu").get_start_method() == "forkserver"
    monkeypatch.setattr(local, "_forks_learn", lambda: True)
    assert local._context(1, "cpu").get_start_method() == "fork"
    assert local._context(2, "cpu").get_start_method() == "forkserver"
    assert local._context(1, "cuda").get_start_method() == "forkserver"
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    assert local._context(1, "cpu").get_start_method() == "forkserver"


class Nested(torch.autograd.Function):
    """A gradient within a gradient, deeper than torch goes without threads of its own."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, depth: int) -> torch.Tensor:
        ctx.depth = depth
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        with torch.enable_grad():
            x = torch.ones(1, requires_grad=True)
            (Nested.apply(x, ctx.depth - 1) if ctx.depth else x).sum().backward()
        return gradients[0], None


def tell_whether_forks_learn(link: Connection) -> None:
    told = [local._forks_learn()]
    Nested.apply(torch.ones(1, requires_grad=True), 100).sum().backward()
    link.send([*told, local._forks_learn()])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_forks_do_not_learn_where_torch_has_begun_threads_for_gradients() -> None:
    ours, theirs = FORKS.Pipe()
    process = FORKS.Process(target=tell_whether_forks_learn, args=(theirs,))
    process.start()
    assert ours.poll(60)
    assert ours.recv() == [True, False]
    process.join()


@pytest.mark.thorough
def test_a_selection_is_the_same_though_a_search_and_its_network_follow_one_another(tmp_path: Path) -> None:
    names = ("relu", SEARCHED, OPTIMIZED)
    settings = SelectSettings(
        **{**TINY, **BRIEF, "kind": "select", "activations": names, "candidates": ("relu", "silu"), "limit_train": 100}
    )
    for name, execution in (("one", ONE), ("two", TWO)):
        select(settings, tmp_path / name, Recorder(), execution=execution)
    assert rows(tmp_path / "one") == rows(tmp_path / "two")
    assert (tmp_path / "one" / "plan.json").read_bytes() == (tmp_path / "two" / "plan.json").read_bytes()
