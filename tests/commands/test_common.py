"""What commands share: what the system says becomes a sentence, and JSON is strict."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers_commands import FAST, refused
from helpers_lab import Command

from limen import cli
from limen.errors import SpecError
from limen.lab.numerals import finite
from limen.lab.study import compare as study


def test_debug_lets_the_error_through(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in (["compare", "--seeds", "0", "--debug"], ["--debug", "compare", "--seeds", "0"]):
        monkeypatch.setattr(sys, "argv", ["limen", *place])
        with pytest.raises(SpecError, match="--seeds 0 is not possible"):
            cli.main()
    assert "limen: --seeds" in refused(run, "compare", "--seeds", "0")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/a/b"), "no permission to write or read /a/b; choose"),
        (OSError(errno.EROFS, "Read-only file system", "/a/b"), "no permission to write or read /a/b; choose"),
        (OSError(errno.ENOSPC, "No space left", "/a/b"), "the disk is full, writing /a/b failed; free"),
        (OSError(errno.EIO, "Input/output error", "/a/b"), "Input/output error /a/b."),
        (ModuleNotFoundError("No module named 'lightning'", name="lightning"), "pip install 'limen[lab]'"),
    ],
)
def test_what_the_system_says_becomes_a_sentence(
    error: Exception, expected: str, run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **named: object) -> None:
        raise error

    monkeypatch.setattr(study, "compare", fail)
    assert expected in run("compare").err


def test_ctrl_c(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(study, "compare", interrupt)
    outcome = run("compare")
    assert outcome.code == 130
    assert outcome.sentence == "limen: interrupted; finished runs are kept, and the same command continues."


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": [float("nan"), 1.5], "b": (float("inf"), "x")}, {"a": [None, 1.5], "b": [None, "x"]}),
        ({"a": -float("inf"), "b": {"c": float("nan")}, "d": True}, {"a": None, "b": {"c": None}, "d": True}),
    ],
)
def test_what_json_cannot_say_is_null(value: Any, expected: Any) -> None:
    assert finite(value) == expected


def test_words_that_are_no_text_are_refused(run: Command, tmp_path: Path) -> None:
    word = os.fsdecode(b"caf\xe9")
    for option in ("--data", "--out"):
        assert r"'caf\udce9' is no text in UTF-8; rename" in refused(run, *FAST, option, word)


def test_what_a_terminal_obeys_is_shown_and_not_said(run: Command, tmp_path: Path) -> None:
    name = "pets\x1b[31m\nred"
    (tmp_path / name).mkdir()
    sentence = refused(run, "compare", "--data", f"./{name}")
    assert r"pets\x1b[31m\nred is empty" in sentence


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail]\nDefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
    ],
)
def test_no_memory_is_one_sentence(error: Exception, run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **named: object) -> None:
        raise error

    monkeypatch.setattr(study, "compare", fail)
    assert "limen: there is not enough memory (" in refused(run, "compare")


def test_another_error_of_the_runtime_is_let_through(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **named: object) -> None:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(study, "compare", fail)
    monkeypatch.setattr(sys, "argv", ["limen", "compare"])
    with pytest.raises(RuntimeError, match="shapes differ"):
        cli.main()
