"""Ctrl-C in the last moments of a command: a sentence, exit code 130, everything that is finished kept."""

from __future__ import annotations

import atexit
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from helpers_commands import FAST
from helpers_lab import Command, stored

from limen.commands import interrupting
from limen.lab.report import page
from limen.lab.study.store import StudyFolder

SENTENCE = f"limen: {interrupting.SENTENCE}"


@pytest.fixture(autouse=True)
def _as_python_starts() -> None:
    """Whoever runs the tests may have told them to ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
    atexit.unregister(interrupting._end_at_once)
    interrupting._pressed.clear()


class Finalised:
    """Ctrl-C comes while this is let go, where Python cannot raise it."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def pressed() -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studies") / "finished"


LAST = {
    "tables": (StudyFolder, "write_tables"),
    "drawing": (page, "render"),
}


@pytest.mark.parametrize("how", [pressed, Finalised], ids=["raised", "dropped"])
@pytest.mark.parametrize("moment", LAST)
def test_ctrl_c_in_the_last_moments(
    moment: str, how: Callable[[], object], run: Command, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not finished.exists():
        assert run(*FAST, "--seeds", "1", "--out", finished).code == 0
    before = stored(finished)
    owner, name = LAST[moment]
    really = getattr(owner, name)

    def interrupted(*arguments: Any) -> Any:
        how()
        return really(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, interrupted)
        outcome = run(*FAST, "--seeds", "1", "--out", finished)
    assert outcome.code == 130
    assert "Traceback" not in outcome.err
    assert "ignored" not in outcome.err
    assert outcome.err.splitlines()[-1] == SENTENCE
    assert outcome.err.count("limen:") == 1
    after = stored(finished)
    assert {key: kept for key, kept in after.items() if key.startswith("runs/")} == {
        key: kept for key, kept in before.items() if key.startswith("runs/")
    }
    assert not [key for key in after if "/." in key]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_dropped_ctrl_c_stops_at_the_next_epoch(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StudyFolder, "write_run", lambda *_: pytest.fail("a run ended after Ctrl-C"))
    monkeypatch.setattr("limen.commands.progress.ProgressListener.run_started", lambda *_: Finalised() and None)
    outcome = run(*FAST, "--out", "out")
    assert (outcome.code, outcome.err.splitlines()[-1]) == (130, SENTENCE)


def test_pressing_it_again_does_not_stop_what_the_first_has_begun_to_end() -> None:
    ended = []
    with interrupting.noticed(), pytest.raises(KeyboardInterrupt):  # noqa: PT012
        try:
            pressed()
        finally:
            pressed()
            ended.append("all")
    assert ended == ["all"]


SLOW_TO_END = """
import atexit, contextlib, signal, time
from limen import cli
from limen.commands import common
atexit.register(time.sleep, 600)  # what takes down libraries
with contextlib.suppress(Exception):
    common.command(lambda: signal.raise_signal(signal.SIGINT))()
"""


def test_after_ctrl_c_nothing_is_taken_down_piece_by_piece() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SLOW_TO_END],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    assert (done.returncode, done.stderr) == (130, f"{SENTENCE}\n")


ENDING = """
import atexit, os, signal
from limen import cli
from limen.commands import common
atexit.register(os.kill, os.getpid(), signal.SIGINT)  # what libraries do while Python ends, interrupted
print("done", end="")
common.command(lambda: None)()
"""


def test_ctrl_c_while_python_ends() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENDING],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "done", f"{SENTENCE}\n")


def test_a_command_knows_nothing_of_the_one_before(run: Command) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in the background of a shell, where nothing is noticed
    interrupting._pressed.set()
    assert run("reproduce", "--list").code == 0
