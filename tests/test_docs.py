"""The Python in the documents runs as it stands and prints what it is said to; the commands are ones that there are."""

from __future__ import annotations

import json
import re
import runpy
import shlex
from pathlib import Path

import pytest
import torch
import typer

from limen import cli

ROOT = Path(__file__).parent.parent
DOCUMENTS = [path for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if path.exists()]

PYTHON = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```)?", re.DOTALL | re.MULTILINE)
"""A block, and what it prints where that is shown below it."""
CONSOLE = re.compile(r"^```(?:console|bash)\n(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_python_blocks_run(document, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.ReLU())
    namespace = {"model": model, "__name__": "document"}
    for block, said in PYTHON.findall(document.read_text(encoding="utf-8")):
        exec(compile(block, str(document), "exec"), namespace)  # our own documents, not a user's text
        printed = capsys.readouterr().out
        assert not said or printed == said, block


def commands():
    """Every command of limen's in the documents, as words."""
    for document in (*DOCUMENTS, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs" / "results").glob("*.md"))):
        for block in CONSOLE.findall(document.read_text(encoding="utf-8")):
            for line in re.findall(r"^\$ .*?\b(?<![-./])limen (.*)", block.replace("\\\n", " "), re.MULTILINE):
                yield shlex.split(line, comments=True)


def test_the_commands_have_the_options_that_they_are_shown_with():
    app = typer.main.get_command(cli.application())
    shown = [*commands()]
    assert len(shown) > 50
    for name, *words in shown:
        app.commands[name].make_context(name, words)  # raises for an option that there is not, and runs nothing


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "CONTRIBUTING.md"], ids=lambda path: path.name)
def test_links_to_files_lead_somewhere(document):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), target


def test_the_readmes_table_of_costs_is_that_of_the_stored_rows():
    benchmark = runpy.run_path(str(ROOT / "benchmarks" / "cpu.py"))
    found = json.loads(benchmark["RESULTS"].read_text(encoding="utf-8"))
    assert benchmark["markdown"](found) in DOCUMENTS[0].read_text(encoding="utf-8")
