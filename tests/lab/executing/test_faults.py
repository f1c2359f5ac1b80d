"""Faults really caused: a command that is killed or interrupted, two of them, a full disk, other engines."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from helpers_executing import children, done_to_runs, living, rows, until
from helpers_lab import TINY_OPTIONS, Forked, Recorder, forked_command, tiny

from limen.commands.interrupting import SENTENCE
from limen.lab.executing.execution import ONE, Execution
from limen.lab.study.compare import compare

# Each starts a command, and waits.
pytestmark = [
    pytest.mark.faults,
    pytest.mark.thorough,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are made and ended as on Linux"),
]

SECONDS_TO_END = 5
"""In which all processes are gone."""


def started(tmp_path: Path, *options: str, out: str = "out", said: str = "said") -> Forked:
    names = ("--activations", "relu,asau,elu,gelu", "--seeds", "2", "--epochs", "3", "--jobs", "2")
    return forked_command(tmp_path / said, "compare", *TINY_OPTIONS, *names, *options, "--out", tmp_path / out)


def stored_runs(out: Path) -> list[Path]:
    return sorted((out / "runs").glob("*.json"))


def settings() -> object:
    return tiny(activations=("relu", "asau", "elu", "gelu"), epochs=3)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study of ``started``, one run after the other."""
    out = tmp_path_factory.mktemp("alone")
    compare(settings(), out, Recorder(), execution=ONE)
    return out


@pytest.mark.parametrize("how", ["interrupted", "killed"])
def test_a_command_that_ends_early_leaves_no_process_and_continues(how: str, alone: Path, tmp_path: Path) -> None:
    command = started(tmp_path)
    until(lambda: stored_runs(tmp_path / "out"))
    workers = children(command.process.pid)
    assert workers
    ended = time.monotonic()
    if how == "interrupted":
        command.interrupt()
        outcome = command.wait()
        assert outcome.code == 130
        assert outcome.err.splitlines()[-1] == f"limen: {SENTENCE}"
        assert "Traceback" not in outcome.err
    else:
        command.kill()
    until(lambda: not living(workers), SECONDS_TO_END)
    assert time.monotonic() - ended < SECONDS_TO_END
    kept = {path: path.stat().st_mtime_ns for path in stored_runs(tmp_path / "out")}
    assert 0 < len(kept) < 8
    assert started(tmp_path).wait().code == 0
    assert rows(tmp_path / "out") == rows(alone)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_ctrl_c_while_no_run_ends(tmp_path: Path) -> None:
    command = started(tmp_path, "--epochs", "100000")
    until(lambda: len(children(command.process.pid)) == 2)
    workers = children(command.process.pid)
    began = time.monotonic()
    command.interrupt()
    assert command.wait().code == 130
    assert time.monotonic() - began < SECONDS_TO_END
    assert living(workers) == []


def test_a_worker_that_is_killed_or_stopped_costs_no_row(alone: Path, tmp_path: Path) -> None:
    command = started(tmp_path, "--timeout-per-run", "300")
    for ended in range(1, 4):
        until(lambda least=ended: len(stored_runs(tmp_path / "out")) >= least)
        for worker in children(command.process.pid)[:1]:
            os.kill(worker, signal.SIGKILL)
    outcome = command.wait()
    assert outcome.code == 0
    assert rows(tmp_path / "out") == rows(alone)


def test_a_second_command_is_told_of_the_first(tmp_path: Path) -> None:
    first = started(tmp_path)
    until(lambda: stored_runs(tmp_path / "out"))
    second = started(tmp_path, said="second").wait()
    assert second.code == 2
    last = second.err.splitlines()[-1]
    assert f"another limen is writing to {tmp_path / 'out'} (process {first.process.pid} on " in last
    assert first.wait().code == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk cannot be made here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_is_one_sentence_and_keeps_what_is_done(small_disk: Path, alone: Path, tmp_path: Path) -> None:
    outcome = started(tmp_path, out="disk/out").wait()
    assert outcome.code == 2
    assert "Traceback" not in outcome.err
    last = outcome.err.splitlines()[-1]
    assert last.startswith("limen: the disk is full, writing ")
    assert last.endswith("free some space and give the same command, nothing is lost.")
    kept = stored_runs(small_disk / "out")
    assert kept
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    again = started(tmp_path, out="disk/out").wait()
    assert again.code == 0
    assert f"continuing: {len(kept)} of 8 runs are done already" in again.err
    assert rows(small_disk / "out") == rows(alone)


@pytest.fixture
def little_memory() -> Iterator[Path]:
    """A group of processes that the kernel gives 64 MB; it ends one that takes more."""
    home = Path("/sys/fs/cgroup/memory")
    limit = "memory.limit_in_bytes" if home.is_dir() else "memory.max"
    group = (home if home.is_dir() else home.parent) / f"limen-{os.getpid()}"
    try:
        group.mkdir()
        (group / limit).write_text(str(2**26))
    except OSError:
        pytest.skip("memory cannot be limited here")
    yield group
    group.rmdir()


def test_a_run_that_the_kernel_ends_for_its_memory_is_one_failed_run_and_others_go_on(
    little_memory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(activation: str, seed: int) -> None:
        if activation == "asau":
            (little_memory / "cgroup.procs").write_text(str(os.getpid()))
            torch.ones(2**27)

    done_to_runs(monkeypatch, greedy)
    heard = Recorder()
    result = compare(tiny(epochs=1), tmp_path, heard, execution=Execution(jobs=2))
    assert [(run.activation, run.status) for run in result.runs] == [
        ("relu", "finished"), ("relu", "finished"), ("asau", "failed"), ("asau", "failed")
    ]  # fmt: skip
    for run in result.failed:
        assert run.failure.startswith("its process ended by SIGKILL, the last of 3 times beside no other; the system ")
        assert "where memory is short: another study with a smaller --batch-size" in run.failure
    assert len(heard.lost) == 4


def test_four_at_a_time(alone: Path, tmp_path: Path) -> None:
    compare(settings(), tmp_path, Recorder(), execution=Execution(jobs=4))
    assert rows(tmp_path) == rows(alone)


def test_processes_that_are_no_forks(tmp_path: Path) -> None:
    of_two = tiny(threads_per_run=2, network="convnet", seeds=(0,), epochs=1, limit_train=100)
    for name, execution in (("one", ONE), ("two", Execution(jobs=2))):
        compare(of_two, tmp_path / name, Recorder(), execution=execution)
    assert rows(tmp_path / "one") == rows(tmp_path / "two")
