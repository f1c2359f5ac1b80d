"""What the tests of commands share: a tiny comparison, and a refusal."""

from __future__ import annotations

from pathlib import Path

from helpers_lab import TINY_OPTIONS, Command

FAST = ("compare", *TINY_OPTIONS, "--epochs", "1", "--seeds", "2", "--activations", "relu,asau", "--jobs", "1")
"""In this process, where a test can change what happens."""


def refused(run: Command, *arguments: str | Path) -> str:
    """The sentence with which ``limen ARGUMENTS`` refuses."""
    outcome = run(*arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    return outcome.sentence
