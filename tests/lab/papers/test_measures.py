"""A published order of each kind of measure, read in its own direction and shown in its own unit."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from helpers_measures import CASES, LARGER, SMALLER, Made, made
from helpers_papers import TABLE, written
from rich.console import Console

from limen.commands import claims_table, console
from limen.errors import SpecError
from limen.lab.papers import ledger as ledgers
from limen.lab.papers import page, recipe, reproduce
from limen.lab.papers.ledger import page as ledger_page
from limen.lab.papers.table import read
from limen.lab.papers.verdicts import order_rows
from limen.lab.study import rows as stored
from limen.lab.tasks import registry

PAPERS = {"adact": ledgers.load().papers["adact"]}


@pytest.fixture(params=[True, False], ids=["gelu-lower", "gelu-higher"])
def gelu_is_lower(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(params=CASES)
def study(request: pytest.FixtureRequest, gelu_is_lower: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    return made(CASES[request.param], tmp_path, monkeypatch, gelu_is_lower=gelu_is_lower)


def printed(*shown: object) -> str:
    out = io.StringIO()
    for one in shown:
        Console(file=out, width=200).print(one)
    return out.getvalue()


def difference(study: Made) -> str:
    """How the measured difference begins, gelu minus relu."""
    size = study.case.factor * abs(sum(LARGER) - sum(SMALLER)) / 3
    return f"{study.sign}{size:.2f}" if study.case.unit else f"{study.sign}{size:.3f}"


def test_the_page_in_markdown(study: Made):
    case = study.case
    relu, gelu, published = case.shown
    text = page.markdown([reproduce.read(study.folder)], "T")
    assert case.heading in text
    assert f"| relu | {relu} | " in text
    assert f"| gelu | {gelu} | " in text
    unit = ", points" if case.unit else ""
    assert f"| claim | published | as the paper{unit} | verdict | honest{unit} | verdict |" in text
    (line,) = (line for line in text.splitlines() if line.startswith("| gelu is better than relu"))
    assert line.startswith(f"| gelu is better than relu | {published} | {difference(study)} (")
    assert line.count(study.verdict) == 2
    assert line.endswith(f"| **{study.verdict}** |")
    assert ("%" in text.replace("95 % over", "").replace("at 95\n", "").replace("\n% over", "")) == bool(case.unit)


def test_the_terminal(study: Made):
    case = study.case
    found = reproduce.read(study.folder)
    out = io.StringIO()
    console.print_reproduction(found, Console(file=out, width=200))
    text = out.getvalue()
    unit = " points" if case.unit else ""
    assert f"gelu is better than relu (published {case.shown[2]}): {study.verdict}, {difference(study)} (" in text
    assert f"){unit}; as the paper measures {study.verdict}" in text
    heading = next(line for line in text.splitlines() if "as the paper" in line)
    assert heading.count("%") == (3 if case.unit else 0)
    assert ("published MAE" in heading) == ("MAE" in case.heading)
    shown = printed(console.summary_table(found.summary, found.task.measure, "T"))
    (line,) = (line for line in shown.splitlines() if " gelu " in line)
    assert ("better" if study.gelu_is_better else "worse") in line
    assert f" {difference(study)} ± " in line


def test_the_ledger(study: Made):
    case = study.case
    ledger = ledgers.Ledger(papers=PAPERS, claims=(study.claim(), study.claim(id="two", kind="best")))
    studies = [stored.read(study.folder)]
    entries = ledgers.judge(ledger, studies)
    relu, gelu, published = case.shown
    for entry in entries:
        assert entry.verdict == study.verdict
        assert f": {difference(study).replace('-', '−')} (" in entry.honest
        if case.metric != "mae":  # the best epoch is noted by the measure that decides
            assert entry.published == f"{gelu} against {relu}: {published}"
            assert entry.verdict_as_the_paper == study.verdict
    assert f"**{study.verdict}**" in ledger_page.markdown(ledger, entries, studies)
    assert study.verdict in printed(*claims_table.tables(ledger, entries))


def test_reaching_a_value_is_at_most_that_where_less_is_better(study: Made):
    gelu = SMALLER if study.gelu_is_lower else LARGER
    for value, beyond in ((min(gelu) - 0.1, "below"), (max(gelu) + 0.1, "above")):
        claim = study.claim(kind="value", at_least=study.case.scale * value, than=())
        (entry,) = ledgers.judge(ledgers.Ledger(papers=PAPERS, claims=(claim,)), [stored.read(study.folder)])
        reached = (beyond == "above") == study.case.lower_is_better
        assert entry.verdict == ("confirmed" if reached else "contradicted")


def test_of_several_the_one_least_ahead_is_said(study: Made):
    claim = study.claim(kind="best", than=("relu", "silu"))
    (entry,) = ledgers.judge(ledgers.Ledger(papers=PAPERS, claims=(claim,)), [stored.read(study.folder)])
    nearest = "silu" if study.gelu_is_better else "relu"
    assert entry.honest.startswith(f"least ahead of {nearest}, ")
    if study.case.metric != "mae":
        assert entry.published.endswith(" (silu)")


@pytest.mark.parametrize("metric", ["rsme", "accuracy", "val_rmse"])
def test_a_metric_that_the_task_does_not_have_is_one_error(
    metric: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    study = made(CASES["RMSE"], tmp_path, monkeypatch, gelu_is_lower=True)
    known = "the task regression has no metric '{}', only rmse, mae, r2, loss,"
    with pytest.raises(SpecError, match=f"the claim one: {known.format(metric)}"):
        ledgers.judge(ledgers.Ledger(papers=PAPERS, claims=(study.claim(metric=metric),)), [stored.read(study.folder)])
    table = tmp_path / "tiny.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("rmse", metric), encoding="utf-8")
    with pytest.raises(SpecError, match=f"tiny.toml: the table tiny.csv, D: {known.format(metric)}"):
        recipe.load("tiny")


def test_a_table_of_two_metrics_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made(CASES["RMSE"], tmp_path, monkeypatch, gelu_is_lower=True)
    table = tmp_path / "tiny.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("gelu,rmse", "gelu,mae"), encoding="utf-8")
    with pytest.raises(SpecError, match="its numbers are of rmse, mae; leave one metric"):
        recipe.load("tiny")


def test_equal_is_what_the_table_prints_as_equal():
    def ahead(metric: str, one: str, other: str) -> float:
        rows = [{"network": name, "metric": metric, "value": value} for name, value in (("a", one), ("b", other))]
        return read(rows, registry.find("regression")).ahead("a", "b")

    assert ahead("rmse", "0.0002", "0.0003") > 0
    assert ahead("rmse", "3.10", "3.1") == 0
    assert ahead("r2", "0.81", "0.80") > 0


@pytest.mark.parametrize(
    ("adact", "relation"), [("0.91", "is as good as"), ("0.910", "is as good as"), ("0.92", "is better than")]
)
def test_an_order_is_what_the_table_prints(adact: str, relation: str, tmp_path: Path):
    path = written(tmp_path, table=TABLE.replace("adact,test_accuracy,0.92", f"adact,test_accuracy,{adact}"))
    assert [row.claim for row in order_rows(recipe.load(str(path)), [])] == [f"adact {relation} relu"]
