"""``limen compare``: its table, its JSON, and the command that its study keeps."""

from __future__ import annotations

from pathlib import Path

from helpers_commands import FAST
from helpers_lab import Command

from limen.lab.study import store


def test_compare_prints_a_table(run: Command) -> None:
    outcome = run(*FAST, "--out", "out")
    assert outcome.code == 0
    head, *_ = outcome.out.splitlines()
    assert head.rstrip().endswith("digits · mlp · 1 epoch")
    assert all(word in outcome.out for word in ("relu", "asau", "baseline", "Report: out/report.html"))
    assert max(map(len, outcome.out.splitlines())) <= 80
    assert "4/4 asau · seed 1: test " in outcome.err
    assert "Report" not in outcome.err


def test_compare_as_json(run: Command) -> None:
    outcome = run(*FAST, "--seeds", "1", "--out", "out", "--json")
    assert outcome.code == 0
    found = outcome.json
    assert found.keys() == {"summary", "runs", "report"}
    assert [row["activation"] for row in found["runs"]] == ["relu", "asau"]
    assert 0 <= found["runs"][0]["test_accuracy"] <= 1
    assert found["summary"][0]["verdict"] == "baseline"
    assert found["summary"][1]["low"] is None  # one seed has no interval
    assert Path(found["report"]).exists()
    assert "2/2 asau · seed 0" in outcome.err  # progress goes to standard error
    again = run("report", "out", "--json")
    assert again.code == 0
    assert again.err == ""
    assert again.json == found


def test_the_command_is_kept_in_the_study(run: Command, tmp_path: Path) -> None:
    run(*FAST, "--activations", "relu, asau:beta=2", "--seeds", "1", "--out", "out")
    known = store.StudyFolder(tmp_path / "out").read_study()
    assert known is not None
    assert known.command.startswith("limen compare --data digits")
    assert "'relu, asau:beta=2'" in known.command
    assert known.settings.activations == ("relu", "asau:beta=2")
