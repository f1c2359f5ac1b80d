"""One answer over problems, from stored rows: its numbers, and what is said where there are none."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_lab import tiny
from helpers_report import SCRIPT
from markupsafe import Markup
from scipy import stats

from limen.errors import SpecError, StudyError
from limen.lab.records import CostRow, DataFacts, EpochRow, RunRecord, failed_run
from limen.lab.report.suite import figures
from limen.lab.report.suite.sentences import sentences
from limen.lab.study.store import StudyFolder
from limen.lab.suites import folder as folders
from limen.lab.suites.folder import Entry, Known
from limen.lab.suites.running import Outcome, check_continues, conclude, keep, report
from limen.lab.suites.suite import Problem, Suite

Values = Mapping[str, Sequence[float | None]]
"""The measure by activation and seed; None of a run that failed."""


def stored(home: Path, name: str, values: Values, **changed: Any) -> Entry:
    """A problem's folder with these results, as a study leaves it."""
    seeds = tuple(range(max(map(len, values.values()))))
    settings = tiny(activations=tuple(values), baseline=next(iter(values)), seeds=seeds, **changed)
    metric = "rmse" if settings.task == "regression" else "accuracy"
    folder = StudyFolder(home / name)
    facts = DataFacts(
        name=name, classes=(), image_shape=(1,), train=1, validation=1, test=1, fingerprint="f", unit="rows"
    )
    study = folder.open(settings, facts, {}, "")
    for activation, results in values.items():
        for seed, value in enumerate(results):
            folder.write_run(
                failed_run(activation, seed, "it broke") if value is None else _run(activation, seed, value, metric)
            )
    costs = [
        CostRow(
            activation=name, ms_per_step=1, ratio=1 + i / 4, ratio_low=1, ratio_high=2, peak_memory_mb=1, parameters=1
        )
        for i, name in enumerate(values)
    ]
    folder.write_costs(costs, study.origin)
    return Entry(name=name)


def _run(activation: str, seed: int, value: float, metric: str) -> RunRecord:
    curves = tuple(
        EpochRow(epoch=e, train_loss=1, train_score=0, heldout_loss=1, heldout_score=value * (0.5 + e / 4))
        for e in (1, 2)
    )
    return RunRecord(
        activation=activation, seed=seed, status="finished", epochs=2, best_epoch=2, curves=curves, seconds=1,
        metrics={f"test_{metric}": value, f"val_{metric}": value}, ms_per_step=1, peak_memory_mb=1, parameters=1,
        activation_parameters=0,
    )  # fmt: skip


def concluded(home: Path, *entries: Entry, differences: str = "relative") -> Outcome:
    known = Known(version=1, title="Some", differences=differences, command="limen compare", problems=entries)
    return conclude(home, known)


FIRST: Values = {"relu": (0.90, 0.92, 0.91), "asau": (0.95, 0.94, 0.96), "ash": (0.89, 0.93, 0.91)}
SECOND: Values = {"relu": (0.60, 0.55, 0.65), "asau": (0.70, 0.60, 0.72), "ash": (0.50, 0.58, 0.61)}
REGRESSION: dict[str, Any] = {
    "task": "regression", "data": "x.csv", "target": "y", "network": "dnn", "limit_train": None, "limit_test": None
}  # fmt: skip


@pytest.fixture
def two(tmp_path: Path) -> Outcome:
    return concluded(tmp_path, stored(tmp_path, "first", FIRST), stored(tmp_path, "second", SECOND))


# --- its numbers ---


def test_the_change_is_the_mean_of_parts_of_the_baselines_error(two: Outcome) -> None:
    asau, ash = two.contents.lines
    parts = [np.mean(1 - np.array(v["asau"])) / np.mean(1 - np.array(v["relu"])) - 1 for v in (FIRST, SECOND)]
    assert asau.change == pytest.approx(100 * np.mean(parts))
    assert asau.change_low < asau.change < asau.change_high
    assert (asau.problems, asau.pairs) == (2, 6)
    assert asau.superior == 1.0
    assert ash.superior == pytest.approx((0.5 * 3 / 3 + 1 / 3) / 2)
    assert (asau.rank, ash.rank) == (1.0, pytest.approx(2.75))
    assert asau.p_holm == pytest.approx(min(1, 2 * asau.p))
    assert math.isnan(asau.like_low), "two problems are too few to speak of others"


def test_runs_at_rates_of_their_own_are_the_problems_own(two: Outcome, tmp_path: Path) -> None:
    entries = [
        stored(tmp_path / "tuned", "first", FIRST, tune=("lr",)),
        stored(tmp_path / "tuned", "second", SECOND),
    ]
    folder = StudyFolder(tmp_path / "tuned" / "first")
    study = folder.read_study()
    assert study is not None
    own = ("relu @ lr=0.001", "asau @ lr=0.01")
    folder.write_study(study.model_copy(update={"settings": study.settings.model_copy(update={"own": own})}))
    for name in own:
        folder.write_run(_run(name, 0, 0.1, "accuracy"))
    found = concluded(tmp_path / "tuned", *entries)
    assert found.contents.lines == two.contents.lines
    assert [problem.missing for problem in found.contents.problems] == [0, 0]
    assert any(said.startswith("Activations were tuned in first;") for said in sentences(found.contents))
    assert not any("tuned" in said for said in sentences(two.contents))


def test_in_points_it_is_the_mean_difference(tmp_path: Path) -> None:
    entries = stored(tmp_path, "first", FIRST), stored(tmp_path, "second", SECOND)
    asau, _ = concluded(tmp_path, *entries, differences="points").contents.lines
    apart = [np.array(v["relu"]) - np.array(v["asau"]) for v in (FIRST, SECOND)]
    assert asau.change == pytest.approx(100 * np.mean(apart))
    welch = stats.ttest_ind(100 * apart[0], -100 * apart[1], equal_var=False)
    assert asau.p == pytest.approx(welch.pvalue)


def test_lower_is_better_where_it_is_and_problems_like_these_are_over_three(tmp_path: Path) -> None:
    third = {"relu": (3.0, 3.3, 2.9), "asau": (2.0, 2.2, 2.1), "ash": (3.1, 3.2, 3.3)}
    entries = [stored(tmp_path, "first", FIRST), stored(tmp_path, "second", SECOND)]
    outcome = concluded(tmp_path, *entries, stored(tmp_path, "third", third, **REGRESSION))
    asau, ash = outcome.contents.lines
    means = [one.cells["asau"].change.mean for one in outcome.contents.counted]
    assert means[2] == pytest.approx(100 * (np.mean(third["asau"]) / np.mean(third["relu"]) - 1))
    low, high = stats.ttest_1samp(means, 0).confidence_interval()
    assert (asau.like_low, asau.like_high) == pytest.approx((low, high))
    assert asau.verdict == "better"
    assert ash.verdict == "no detectable difference"
    said = " ".join(sentences(outcome.contents))
    assert "Over all 3 problems, 3 seeds of each, with errors in percent of relu’s error" in said
    assert "For problems like these" in said


def test_time_is_that_of_the_epochs_times_the_step_and_json_holds_no_nan(two: Outcome) -> None:
    asau, ash = two.contents.lines
    # Curves rise to each run's value in the second epoch: asau has relu's best sooner, at 1.25 times a step.
    assert (asau.reached, asau.reach_pairs) == (6, 6)
    assert asau.time_ratio < 1.25
    assert asau.time_at_least == pytest.approx(asau.time_ratio)
    assert ash.reached == 3
    held = json.loads((two.report.parent / "suite.json").read_text(), parse_constant=pytest.fail)
    assert held["answer"]["activations"][0]["like_low"] is None
    assert (two.report.parent / "suite.csv").read_text().startswith("activation,baseline,problems,pairs,change,")


def test_the_page_links_the_problems_own_and_is_made_again_from_rows(two: Outcome) -> None:
    home, page = two.report.parent, two.report.read_text()
    assert 'href="first/report.html"' not in page
    (home / "first" / "report.html").write_text("its own")
    again = report(home)
    made = again.report.read_text()
    assert '<a href="first/report.html">first</a>' in made
    assert "<svg" in made
    assert "http" not in SCRIPT.sub("", made).replace("http-equiv", "")
    assert again.contents.lines == two.contents.lines


# --- where numbers are missing ---

SAID: dict[str, tuple[Sequence[Values], str]] = {
    "one problem failed everywhere": (
        [FIRST, {name: (None, None) for name in FIRST}],
        "1 of 2 problems is in no number: p1 (every run failed: it broke)",
    ),
    "the baseline failed everywhere": (
        [{**FIRST, "relu": (None, None, None)}, {**SECOND, "relu": (None, None, None)}],
        "None of 2 problems has a result to compare. 2 of 2 problems are in no number: p0 (no run of relu finished",
    ),
    "an activation failed everywhere": (
        [{**FIRST, "asau": (None, None, None)}, {**SECOND, "asau": (None, None, None)}],
        "asau could not be compared (not tested: no finished pair).",
    ),
    "an activation failed on one problem": (
        [{**FIRST, "asau": (None, None, None)}, SECOND],
        ", over 1 of them): ",
    ),
    "identical runs": (
        [{**FIRST, "asau": FIRST["relu"]}, {**SECOND, "asau": SECOND["relu"]}],
        "asau makes as much error as relu (0.0 to 0.0, p = 1.00 after Holm): no detectable difference.",
    ),
    "all seeds equal": (
        [{"relu": (0.5, 0.5), "asau": (0.6, 0.6)}, {"relu": (0.5, 0.5), "asau": (0.7, 0.7)}],
        "asau makes 30.0 % less error than relu; not tested: no spread between seeds.",
    ),
    "one seed": (
        [{"relu": (0.5,), "asau": (0.6,)}, {"relu": (0.5,), "asau": (0.7,)}],
        "asau makes 30.0 % less error than relu; not tested: needs 2 seeds.",
    ),
    "a baseline without error": (
        [FIRST, {**SECOND, "relu": (1.0, 1.0, 1.0)}],
        "p1 (relu makes no error in any run, of which no part can be taken; differences = 'points' would do)",
    ),
    "one problem alone": ([FIRST], "Over one problem, 3 seeds of each"),
}


@pytest.mark.parametrize("case", SAID)
def test_a_sentence_says_it_and_never_nan(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "draw", lambda *arguments: Markup("<svg/>"))
    values, words = SAID[case]
    entries = [stored(tmp_path, f"p{number}", one) for number, one in enumerate(values)]
    outcome = concluded(tmp_path, *entries)
    said = " ".join(sentences(outcome.contents))
    assert words in said
    page = outcome.report.read_text()
    assert "nan" not in said
    assert ">nan<" not in page.lower()
    json.loads((tmp_path / "suite.json").read_text(), parse_constant=pytest.fail)


def test_a_problem_that_raised_was_damaged_or_is_to_come_is_said(tmp_path: Path) -> None:
    damaged = stored(tmp_path, "damaged", SECOND)
    StudyFolder(tmp_path / "damaged").run_path("ash", 0).write_text("{")
    entries = [stored(tmp_path, "fine", FIRST), Entry(name="raised", failure="there is no such column"), damaged]
    said = " ".join(sentences(concluded(tmp_path, *entries, Entry(name="later")).contents))
    assert "Over 1 of 4 problems" in said
    assert "3 of 4 problems are in no number: raised (there is no such column), damaged (" in said
    assert "later (it has not been begun)" in said


def test_runs_to_come_and_seeds_that_results_decided_are_said(tmp_path: Path) -> None:
    unfinished = stored(tmp_path, "unfinished", FIRST)
    StudyFolder(tmp_path / "unfinished").run_path("ash", 2).unlink()
    auto = stored(tmp_path, "auto", SECOND, margin=0.5, max_seeds=30)
    said = " ".join(sentences(concluded(tmp_path, unfinished, auto).contents))
    assert "Runs are still to come in unfinished." in said
    assert "Results decided how many seeds there are in auto" in said


def test_kept_rows_are_a_suite_too_and_name_no_folder_of_this_machine(two: Outcome, tmp_path: Path) -> None:
    kept = keep(two.report.parent, tmp_path / "home")
    assert sorted(path.name for path in kept.iterdir()) == ["first", "second", "suite.csv", "suite.json"]
    assert not any(str(tmp_path) in path.read_text() for path in kept.rglob("*.*"))
    (kept / "first" / "report.html").unlink(missing_ok=True)
    again = report(kept).contents
    assert [line.change for line in again.lines] == pytest.approx([line.change for line in two.contents.lines])
    assert [line.time_ratio for line in again.lines] == pytest.approx([line.time_ratio for line in two.contents.lines])


def test_suite_json_of_a_stranger_names_no_folder_outside(tmp_path: Path) -> None:
    concluded(tmp_path, stored(tmp_path, "first", FIRST))
    path = tmp_path / folders.SUITE
    path.write_text(path.read_text().replace('"name": "first",\n   "failure"', '"name": "../x",\n   "failure"'))
    with pytest.raises(Exception, match="names no folder inside of it"):
        report(tmp_path)
    known = json.loads(path.read_text())
    path.write_text(json.dumps({**known, "version": folders.VERSION + 1}))
    with pytest.raises(StudyError, match="has version 2, and this limen reads version 1; update limen"):
        folders.read(tmp_path)
    path.write_text("{}")
    with pytest.raises(Exception, match=r"suite\.json cannot be read \(version: field required\)"):
        report(tmp_path)


def test_the_diagram_of_ranks_joins_what_is_alike(two: Outcome) -> None:
    picture = figures.ranking(two.contents)
    assert picture is not None
    assert "asau 1.00" in picture.svg
    assert two.contents.ranks is not None
    assert two.contents.ranks.alike == (("asau", "relu", "ash"),)


def test_a_problems_folder_is_one_inside_of_the_suites() -> None:
    for name in ("", ".x", "..", "a/b", "a\\b", "a:b", "a\nb", "x" * 101, "Report.HTML"):
        with pytest.raises(SpecError, match="is not possible"):
            Suite("", "relative", (Problem(name, tiny()),)).check()
    Suite("", "relative", (Problem("x" * 100, tiny()),)).check()


def test_a_folder_that_holds_another_study_is_refused_and_its_threads_are_taken(tmp_path: Path) -> None:
    stored(tmp_path, "first", FIRST)
    mine = tiny(activations=tuple(FIRST), seeds=(0, 1, 2))
    check_continues(Suite("", "relative", (Problem("first", mine), Problem("later", mine))), tmp_path)
    other = mine.model_copy(update={"learning_rate": 0.5})
    with pytest.raises(StudyError, match=r"first holds another study than the problem 'first' asks for \("):
        check_continues(Suite("", "relative", (Problem("first", other),)), tmp_path)
