"""The Python in the documents runs as it stands."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
DOCUMENTS = [path for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if path.exists()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_python_blocks_run(document, capsys):
    blocks = re.findall(r"^```python\n(.*?)^```", document.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.ReLU())
    namespace = {"model": model, "__name__": "document"}
    for block in blocks:
        exec(compile(block, str(document), "exec"), namespace)  # our own documents, not a user's text


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "CONTRIBUTING.md"], ids=lambda path: path.name)
def test_links_to_files_lead_somewhere(document):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), target


def test_the_readmes_table_of_costs_is_that_of_the_stored_rows():
    benchmark = runpy.run_path(str(ROOT / "benchmarks" / "cpu.py"))
    found = json.loads(benchmark["RESULTS"].read_text(encoding="utf-8"))
    assert benchmark["markdown"](found) in DOCUMENTS[0].read_text(encoding="utf-8")
