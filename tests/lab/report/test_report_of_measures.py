"""The report of each kind of measure: which network is better, in which unit, within which bounds."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from helpers_measures import CASES, LARGER, SMALLER, Made, made
from helpers_report import whole
from rich.console import Console

from limen.commands import console
from limen.lab.study.result import report
from limen.lab.study.store import StudyFolder
from limen.lab.tasks import registry


@pytest.fixture(params=[True, False], ids=["gelu-lower", "gelu-higher"])
def gelu_is_lower(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(params=CASES)
def study(request: pytest.FixtureRequest, gelu_is_lower: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    return made(CASES[request.param], tmp_path, monkeypatch, gelu_is_lower=gelu_is_lower)


def test_the_report_and_the_terminal(study: Made):
    case = study.case
    result = report(study.folder)
    measure, factor = registry.find(case.task).measure, case.factor
    size = factor * abs(sum(LARGER) - sum(SMALLER)) / 3
    text = whole(result.report.read_text(encoding="utf-8")).text.replace("\xa0", " ")
    relation = "better" if study.gelu_is_better else "worse"
    amount = f"{size:.2f} points" if case.unit else f"{size:.3f}"
    assert f"gelu is {relation} than relu by {amount} of {measure.tested} (95 % interval " in text
    assert f"gelu is {'worse' if relation == 'better' else 'better'}" not in text
    assert f"Test {measure.title}{' (%)' if case.unit else ''} 95 % interval" in text
    assert f"Validation {measure.title}" not in text  # nothing was noted by epoch
    out = io.StringIO()
    console.print_result(result, Console(file=out, width=120))
    (line,) = (line for line in out.getvalue().splitlines() if " gelu " in line)
    assert relation in line
    assert (f"{measure.title} %" in out.getvalue()) == bool(case.unit)


@pytest.mark.parametrize("name", ["accuracy", "AUROC", "mAP"])
def test_no_interval_of_a_fraction_leaves_it(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    study = made(CASES[name], tmp_path, monkeypatch, gelu_is_lower=True)
    folder, measure = StudyFolder(study.folder), registry.find(study.case.task).measure
    for seed, (high, low) in enumerate(((0.999, 0.001), (1.0, 0.0), (0.980, 0.020))):
        for network, value in (("gelu", high), ("relu", low)):
            run = folder.read_run(network, seed)
            assert run is not None
            folder.write_run(run.model_copy(update={"metrics": {measure.on_test: value, measure.best_on_test: value}}))
    result = report(study.folder)
    with (study.folder / "summary.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["activation"]: row for row in csv.DictReader(file)}
    assert float(rows["gelu"]["high"]) == 1 > float(rows["gelu"]["low"])
    assert float(rows["relu"]["low"]) == 0 < float(rows["relu"]["high"])
    assert float(rows["gelu"]["difference_high"]) == 1 > float(rows["gelu"]["difference_low"])
    assert " to 100.00" in whole(result.report.read_text(encoding="utf-8")).text
    out = io.StringIO()
    console.print_result(result, Console(file=out, width=120))
    lines = out.getvalue().splitlines()
    (index,) = (index for index, line in enumerate(lines) if " gelu " in line)
    assert " ".join(lines[index].split()).startswith("gelu 99.30 +98.60 ")
    assert " ".join(lines[index + 1].split()) == "96.50 to 100.00 +93.00 to +100.00"
    assert " ± " not in lines[index]
