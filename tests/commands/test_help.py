"""``--help`` of every command has an example and loads nothing heavy."""

from __future__ import annotations

import inspect
import runpy
import subprocess
import sys

import pytest
from helpers_lab import Command

from limen import cli

COMMANDS = tuple(cli.COMMANDS)


def test_the_commands_are_the_documented_ones() -> None:
    assert {"compare", "report", "list", "doctor"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_each_command_has_help_with_an_example(name: str, flag: str, run: Command) -> None:
    outcome = run(name, flag)
    assert (outcome.code, outcome.err) == (0, "")
    assert f"Example: limen {name}" in outcome.out


def test_help_names_every_command(run: Command) -> None:
    outcome = run("--help")
    assert outcome.code == 0
    assert all(name in outcome.out for name in COMMANDS)
    assert "Example: limen compare" in outcome.out
    assert run().code in (0, 2)  # no arguments: help as well, not an error of ours


def test_the_package_runs_as_a_module(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["somewhere/limen/__main__.py", "show", "--help"])
    with pytest.raises(SystemExit) as ending:
        runpy.run_module("limen", run_name="__main__", alter_sys=True)
    assert ending.value.code == 0
    assert "Usage: limen show" in capsys.readouterr().out
    assert runpy.run_module("limen")["main"] is cli.main  # to be imported starts nothing


def test_what_is_said_of_a_command_before_it_is_imported_is_how_its_docstring_begins() -> None:
    for info in cli.application().registered_commands:
        assert info.callback is not None
        told = inspect.getdoc(info.callback) or ""
        assert " ".join(told.split("\n\n")[0].split()) == cli.COMMANDS[info.name or ""].about


def test_no_other_command_is_imported() -> None:
    for called in ((), ("doctor",)):
        registered = cli.application(called).registered_commands
        assert [info.name for info in registered] == list(COMMANDS)
        assert {info.name for info in registered if info.callback is not cli._not_imported} == set(called)


def test_a_mistyped_command_is_suggested(run: Command) -> None:
    outcome = run("lst")
    assert outcome.code == 2
    assert "No such command 'lst'. Did you mean 'list'?" in outcome.err


IMPORTS = """
import sys
sys.argv = ["limen", *sys.argv[1:]]
from limen.cli import main
try:
    main()
except SystemExit as ending:
    assert not ending.code, ending.code
heavy = sorted({"torch", "lightning", "numpy", "scipy", "sklearn", "sympy"} & sys.modules.keys())
sys.exit(f"imported {heavy}" if heavy else 0)
"""


@pytest.mark.parametrize("arguments", [["--help"], ["compare", "--help"], ["list"], ["list", "--json"]])
def test_what_imports_nothing_heavy(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Example:" in done.stdout or arguments[0] == "list"


def test_without_the_commands_packages() -> None:
    code = "import sys; sys.modules['typer'] = None; import limen.cli"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr == "limen: the commands need more packages; install them with: pip install 'limen[lab]'\n"
