"""Folders that cannot be written or hold something else, full disks, runs that fail: what is there is kept."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from helpers_commands import FAST, refused
from helpers_lab import Command, Recorder, experiment_of, stored, tiny

from limen.lab.study import conducting, store
from limen.lab.study.compare import compare


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished study. Tests may only read it."""
    out = tmp_path_factory.mktemp("studies") / "finished"
    torch.manual_seed(0)
    compare(tiny(epochs=1, seeds=(0,)), out, Recorder())
    return out


def test_the_folder_of_another_study(run: Command, finished: Path) -> None:
    before = stored(finished)
    sentence = refused(run, *FAST, "--epochs", "2", "--out", finished)
    assert f"{finished} holds another study (epochs 1 there, 2 now); choose another --out" in sentence
    assert stored(finished) == before


def test_a_folder_with_foreign_results(run: Command, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/runs.csv").write_text("mine")
    assert "holds 'runs.csv' but no study.json" in refused(run, *FAST, "--out", "out")
    assert (tmp_path / "out/runs.csv").read_text() == "mine"


def test_a_damaged_run_is_named(run: Command, finished: Path, tmp_path: Path) -> None:
    for name, (content, _) in stored(finished).items():
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_bytes(content)
    (tmp_path / "out/runs/asau-seed0.json").write_bytes(b"{")
    for arguments in ((*FAST, "--out", "out"), ("report", "out")):
        sentence = refused(run, *arguments)
        assert "out/runs/asau-seed0.json cannot be read" in sentence
        assert sentence.endswith("delete it to make it anew.")


def test_a_folder_in_use(run: Command, tmp_path: Path) -> None:
    with store.StudyFolder(tmp_path / "out").lock():
        sentence = refused(run, *FAST, "--out", "out")
    assert f"another limen is writing to out (process {os.getpid()} on " in sentence
    assert sentence.endswith("; wait for it, or choose another --out.")


def test_a_file_in_place_of_a_folder(run: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for out in ("file", "file/below"):
        sentence = refused(run, *FAST, "--out", out)
        assert f"the folder {out} cannot be made" in sentence
        assert "choose another --out" in sentence
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a place where not even root can write")
def test_a_place_where_nobody_can_write(run: Command) -> None:
    assert "/proc/limen-test" in refused(run, *FAST, "--out", "/proc/limen-test/out")


@contextmanager
def nobody() -> Iterator[None]:
    """Permission bits do not bind root, so be someone else."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_no_permission_to_write(run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    experiment = experiment_of(tiny())
    monkeypatch.setattr(conducting, "prepare", lambda task, settings: experiment)
    with nobody():
        sentence = refused(run, *FAST, "--out", locked / "out")
    assert f"no permission to write or read {locked / 'out'}" in sentence
    assert "choose another folder" in sentence


def test_a_full_disk_keeps_what_is_done(run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written, really = [], os.fsync

    def full_after_six(descriptor: int) -> None:
        if len(written) == 6:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(descriptor)
        really(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full_after_six)
        outcome = run(*FAST, "--out", "out")
    assert outcome.code == 2
    assert "Traceback" not in outcome.err
    assert outcome.err.splitlines()[-1] == (
        "limen: the disk is full, writing failed; free some space and give the same command, nothing is lost."
    )
    # study.json, then for each run its record and two tables: the second run's last table did not fit.
    kept = {name: content for name, content in stored(tmp_path / "out").items() if name.startswith("runs/")}
    assert kept.keys() == {"runs/relu-seed0.json", "runs/asau-seed0.json"}
    assert not any(path.name.startswith(".") and path.name != ".lock" for path in (tmp_path / "out").rglob("*"))
    again = run(*FAST, "--out", "out")
    assert again.code == 0
    assert "continuing: 2 of 4 runs are done already" in again.err
    assert {name: stored(tmp_path / "out")[name] for name in kept} == kept


def test_a_disk_that_is_full_from_the_start(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        assert "the disk is full" in refused(run, *FAST, "--out", "out")


def test_report_of_nothing(run: Command, tmp_path: Path) -> None:
    assert "there is no study in none: study.json is missing" in refused(run, "report", "none")
    (tmp_path / "file").write_text("")
    assert "there is no study in file" in refused(run, "report", "file")


def test_every_run_failed(run: Command) -> None:
    outcome = run(*FAST, "--lr", "1e30", "--out", "out", "--json")
    assert outcome.code == 2
    assert "Traceback" not in outcome.err
    assert outcome.err.count("limen:") == 1
    assert outcome.err.splitlines()[-1] == (
        "limen: every run failed: the loss stopped being finite; try a smaller --lr."
    )
    found = outcome.json
    assert {row["status"] for row in found["runs"]} == {"failed"}
    assert all("the loss became" in row["failure"] for row in found["runs"])
    assert {row["mean"] for row in found["summary"]} == {None}
    assert run("report", "out").code == 2
