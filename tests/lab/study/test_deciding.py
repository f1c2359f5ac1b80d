"""Which runs are wanted next, what --margin and --seeds auto make of stored runs, and how many seeds are planned."""

from __future__ import annotations

import csv
import json
import math
import random
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers_lab import TINY_OPTIONS, Command, command, tiny

import limen.lab
from limen.errors import SpecError, StudyError
from limen.lab.records import RunRecord
from limen.lab.settings import SelectSettings, StudySettings
from limen.lab.statistics import tost, word_of
from limen.lab.study.command import whole_command
from limen.lab.study.deciding import Deciding, Pair, check_verdicts, wanted
from limen.lab.study.planning import Needed, SeedPlan
from limen.lab.study.store import StudyFolder
from limen.lab.study.summary import summarise
from limen.lab.tasks import registry

FIXTURES = Path(__file__).parents[2] / "fixtures/studies"
TASK = registry.find("classification")
CENTRES = {"relu": 0.0, "asau": 0.03, "ash": 0.0, "apalu": 0.0}
SPREADS = {"relu": 0.0, "asau": 0.002, "ash": 0.001, "apalu": 0.02}
"""Against a margin of half a point: better at once, equivalent at once, open for long."""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return command(monkeypatch, capsys)


def record(activation: str, seed: int, accuracy: float | None = None, seconds: float = 2.0) -> RunRecord:
    if accuracy is None:
        noise = np.random.default_rng([seed, *activation.encode()]).standard_normal()
        accuracy = 0.9 + CENTRES[activation] + SPREADS[activation] * noise
    failed = math.isnan(accuracy)
    return RunRecord(
        activation=activation, seed=seed, status="failed" if failed else "finished",
        failure="it was nan." if failed else "", epochs=0 if failed else 1,
        metrics={} if failed else {"test_accuracy": accuracy}, seconds=seconds, ms_per_step=1, peak_memory_mb=1,
        parameters=1, activation_parameters=0,
    )  # fmt: skip


def auto(most: int = 20, margin: float = 0.5, names: tuple[str, ...] = tuple(CENTRES)) -> StudySettings:
    return tiny(activations=names, seeds=tuple(range(most)), max_seeds=most, margin=margin)


def simulated(settings: StudySettings, workers: int = 1, failing: str = "") -> list[RunRecord]:
    """A study run by so many workers, whose runs end in any order."""
    agenda, running, draw = Deciding(TASK, settings, []), [], random.Random(3)
    while True:
        while len(running) < workers and (pair := agenda.next()) is not None:
            running.append(pair)
        if not running:
            return agenda.runs
        activation, seed = running.pop(draw.randrange(len(running)))
        agenda.ended(record(activation, seed, math.nan if activation == failing else None))


def verdicts(settings: StudySettings, runs: list[RunRecord]) -> dict[str, str]:
    return {row.activation: row.verdict for row in summarise(TASK, settings, runs, ())}


def test_a_fixed_study_wants_every_run_with_seeds_outermost() -> None:
    settings = tiny(activations=("relu", "asau"), seeds=(0, 1, 2))
    done = [record("relu", 0), record("asau", 1)]
    assert wanted(TASK, settings, done) == [("asau", 0), ("relu", 1), ("relu", 2), ("asau", 2)]


def test_what_is_decided_gets_no_more_runs_and_the_baseline_as_long_as_anything_is_open() -> None:
    settings = auto()
    runs = simulated(settings)
    count = {name: sum(run.activation == name for run in runs) for name in CENTRES}
    assert count["relu"] == count["apalu"] == 20
    assert count["asau"] < 12
    assert count["ash"] < 12
    found = verdicts(settings, runs)
    assert (found["asau"], found["ash"]) == ("better", "equivalent within 0.5")
    assert found["apalu"].startswith("undecided (about ")


def test_when_all_is_decided_nothing_is_wanted() -> None:
    settings = auto(names=("relu", "asau", "ash"))
    runs = simulated(settings)
    assert wanted(TASK, settings, runs) == []
    assert len({run.seed for run in runs}) < 12


def test_several_workers_come_to_the_verdicts_of_one() -> None:
    settings = auto()
    alone, together = simulated(settings), simulated(settings, workers=5)
    assert verdicts(settings, together) == verdicts(settings, alone)
    pairs: list[Pair] = [(run.activation, run.seed) for run in together]
    assert len(pairs) == len(set(pairs))
    assert len(together) <= len(alone) + 5 * len(CENTRES)


def test_a_run_that_is_still_to_come_holds_back_those_of_later_seeds() -> None:
    settings = auto(names=("relu", "asau"))
    whole = [record(name, seed) for seed in range(12) for name in ("relu", "asau")]
    gap = [run for run in whole if (run.activation, run.seed) != ("asau", 3)]
    rows = [summarise(TASK, settings, runs, ())[1] for runs in (gap, whole[:6])]
    assert rows[0].verdict == rows[1].verdict
    failed = [*gap, record("asau", 3, math.nan)]
    assert verdicts(settings, failed)["asau"] == "better"


def test_an_activation_that_only_fails_gets_three_runs() -> None:
    settings = auto(names=("relu", "asau", "ash"))
    runs = simulated(settings, failing="ash")
    assert sum(run.activation == "ash" for run in runs) == 3
    found = verdicts(settings, runs)
    assert (found["asau"], found["ash"]) == ("better", "undecided: no finished pair")
    assert len(simulated(settings, failing="relu")) < 12


def test_a_search_goes_on_for_the_network_that_it_optimises() -> None:
    settings = SelectSettings(
        kind="select", data="digits", candidates=("relu", "silu"), activations=("relu", "adact", "optimized"),
        baseline="relu", seeds=tuple(range(15)), max_seeds=15, margin=0.5,
    )  # fmt: skip
    values = {"relu": 0.9, "adact": 0.95}
    runs = [record(name, seed, values.get(name, 0.9 + 0.03 * (-1) ** seed) + 0.0001 * seed)
            for seed in range(10) for name in settings.activations]  # fmt: skip
    assert verdicts(settings, runs)["adact"] == "better"
    assert wanted(TASK, settings, runs)[:3] == [("relu", 10), ("adact", 10), ("optimized", 10)]

    def needs(pair: Pair) -> Pair | None:
        return ("adact", pair[1]) if pair[0] == "optimized" else None

    agenda = Deciding(TASK, settings, runs, needs)
    assert [agenda.next() for _ in range(3)] == [("relu", 10), ("adact", 10), None]
    agenda.ended(record("adact", 10, 0.95))
    assert [agenda.next() for _ in range(2)] == [("optimized", 10), None]
    agenda.ended(record("optimized", 10, 0.93))
    agenda.ended(record("relu", 10, 0.9))
    assert agenda.next() == ("relu", 11)


def test_the_runs_are_the_same_however_many_are_computed_at_a_time() -> None:
    settings = tiny(activations=("relu", "ash", "asau", "apalu"), seeds=tuple(range(20)), max_seeds=20, margin=3.0)
    spread = {"relu": 0.0, "ash": 0.02, "asau": 0.001, "apalu": 0.06}

    def run_all(at_a_time: int, last_first: bool) -> list[Pair]:
        agenda, running, computed = Deciding(TASK, settings, []), [], []
        while True:
            while len(running) < at_a_time and (pair := agenda.next()) is not None:
                running.append(pair)
            if not running:
                return sorted(computed)
            name, seed = running.pop(-1 if last_first else 0)
            agenda.ended(record(name, seed, 0.9 + spread[name] * math.sin(7 * seed + len(name))))
            computed.append((name, seed))

    one_by_one = run_all(1, last_first=False)
    assert len(one_by_one) < 4 * 20
    assert {tuple(run_all(at_a_time, last_first)) for at_a_time in (2, 3, 8) for last_first in (False, True)} == {
        tuple(one_by_one)
    }


def test_the_summary_of_a_margin_is_in_points() -> None:
    settings = tiny(activations=("relu", "ash", "apalu"), seeds=tuple(range(5)), margin=0.5)
    runs = [record(name, seed) for name in settings.activations for seed in settings.seeds]
    relu, ash, apalu = summarise(TASK, settings, runs, ())
    differences = [record("ash", seed).metrics["test_accuracy"] - 0.9 for seed in range(5)]
    assert math.isnan(relu.margin)
    assert ash.margin == 0.5
    assert ash.p_equivalence == pytest.approx(2 * tost(differences, 0.005))
    assert 0.05 < ash.detectable < 1 < apalu.detectable < 20
    assert (ash.verdict, word_of(apalu.verdict)) == ("equivalent within 0.5", "undecided")


@pytest.mark.parametrize(("options", "sentence"), [
    ("--seeds auto", "--seeds auto needs a --margin, the difference that does not matter"),
    ("--seeds auto --margin 0.5 --max-seeds 8", "with 4 comparisons no difference can be found before 9 seeds; give 9"),
    ("--seeds auto --margin 0.5 --activations relu", "--seeds auto decides between activations, and one was named"),
    ("--seeds auto --margin 0.5 --max-seeds 0", "--max-seeds 0 is not possible"),
    ("--seeds 5 --max-seeds 9", "--max-seeds 9 belongs to --seeds auto, and a number was given; leave one of"),
    ("--seeds some", "--seeds some is not possible: give the number of runs of each activation, from 1 to 10,000."),
    ("--margin 0", "--margin 0.0 is not possible: input should be greater than 0."),
    ("--margin -1", "--margin -1.0 is not possible"),
    ("--margin nan", "--margin nan is not possible"),
    ("--margin inf", "--margin inf is not possible"),
    ("--margin wide", "--margin 'wide' is no number; give the difference that does not matter"),
    ("--margin 100", "--margin 100 is not possible: accuracy lies between 0 and 100 %, so that no difference"),
    ("--task regression --data x.csv --target y --margin default", "--margin default is not possible: RMSE is in the"),
    ("--sd 1", "--difference and --sd belong to --plan; add it, or leave them out."),
    ("--plan", "--plan knows no spread between seeds: there is no study in out."),
    ("--plan --sd 0", "the standard deviation is 0.0, and must be a finite number above 0"),
    ("--plan --sd 1 --difference -1", "the difference is -1.0, and must be a finite number above 0"),
    ("--plan --sd 1 --difference 100", "--difference 100 is not possible: accuracy lies between 0 and 100 %"),
])  # fmt: skip
def test_bad_input_is_a_sentence(
    options: str, sentence: str, run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = run("compare", *shlex.split(options), "--out", "out")
    assert outcome.code == 2
    assert sentence in outcome.sentence
    assert list(tmp_path.iterdir()) == []


def test_a_margin_of_a_metric_without_a_range_may_be_any_number() -> None:
    rmse = registry.find("regression").measure
    check_verdicts(rmse, tiny(margin=1e6))
    with pytest.raises(SpecError, match=r"in the unit of the RMSE\."):
        check_verdicts(rmse, tiny(seeds=tuple(range(9)), max_seeds=9))


@pytest.mark.slow
def test_a_study_runs_until_it_is_decided_and_is_one_command(run: Command, tmp_path: Path) -> None:
    small = (
        *TINY_OPTIONS,
        "--epochs",
        "1",
        "--activations",
        "relu,leaky_relu",
        "--device",
        "cpu",
        "--out",
        tmp_path / "o",
    )
    outcome = run("compare", *small, "--seeds", "auto", "--max-seeds", "8", "--margin", "30")
    assert outcome.code == 0, outcome.err
    assert "equivalent" in outcome.out
    assert "within 30" in " ".join(outcome.out.split())
    rows = list(csv.DictReader((tmp_path / "o/summary.csv").read_text().splitlines()))
    assert [row["runs"] for row in rows] == ["6", "6"]
    assert rows[1]["verdict"] == "equivalent within 30"
    study = StudyFolder(tmp_path / "o").read_study()
    assert study is not None
    words = shlex.split(whole_command(study))
    assert [words[words.index(option) + 1] for option in ("--seeds", "--max-seeds", "--margin")] == ["auto", "8", "30"]
    page = (tmp_path / "o/report.html").read_text()
    assert "up to 8 seeds" in page
    assert "Equivalent to <code>relu</code> within 30 points: <code>leaky_relu</code>." in page
    assert "hold whenever one looks" in page
    assert "p values were looked at before" not in page
    again = run("compare", *small, "--seeds", "6")
    assert again.code == 0, again.err
    assert "equivalent within 30" in (tmp_path / "o/summary.csv").read_text()  # what may be looked at stays so


# --- studies that grew ---


def grown(folder: Path, seeds: int) -> Path:
    """The stored study with copies of its runs as further seeds, asked for later."""
    shutil.copytree(FIXTURES / "digits", folder)
    held = json.loads((folder / "study.json").read_text())
    held["settings"]["seeds"] = [*range(seeds)]
    held["asked"] = [{"when": "2026-11-01T10:00:00+00:00", "activations": ["relu", "asau"], "seeds": [0, 1]},
                     {"when": "2026-11-02T10:00:00+00:00", "seeds": [*range(2, seeds)]}]  # fmt: skip
    (folder / "study.json").write_text(json.dumps(held))
    for seed in range(2, seeds):
        for name in ("relu", "asau"):
            one = json.loads((folder / f"runs/{name}-seed{seed % 2}.json").read_text())
            (folder / f"runs/{name}-seed{seed}.json").write_text(json.dumps({**one, "seed": seed}))
    return folder


@pytest.mark.parametrize(
    ("seeds", "said"), [(4, "From 7 seeds on, an interval"), (8, "that hold at every look (95 %): asau ")]
)
def test_a_study_that_got_more_seeds_says_that_it_was_looked_at(
    seeds: int, said: str, run: Command, tmp_path: Path
) -> None:
    outcome = run("report", grown(tmp_path / "digits", seeds))
    assert outcome.code == 0, outcome.err
    for text in ((tmp_path / "digits/report.html").read_text(), " ".join(outcome.out.split())):
        assert "its p values were looked at before" in text
        assert said in text
    assert max(len(line) for line in outcome.out.splitlines() if not line.startswith("Report: ")) <= 80


# --- planning ---


def test_a_plan_from_a_deviation() -> None:
    found = limen.lab.plan_seeds(0.5, sd=0.59)
    assert (found.needed[0].to_differ, found.needed[0].to_equate, found.seeds) == (13, 14, 14)
    assert math.isnan(found.seconds)
    assert limen.lab.plan_seeds(0.5, sd=0.59, comparisons=4).seeds > 14
    assert limen.lab.plan_seeds(0.001, sd=0.59).seeds is None
    with pytest.raises(SpecError, match="give one of them"):
        limen.lab.plan_seeds(0.5)
    with pytest.raises(SpecError, match="0 comparisons are none"):
        limen.lab.plan_seeds(0.5, sd=1, comparisons=0)
    with pytest.raises(AttributeError, match="no attribute 'plan_needs'"):
        _ = limen.lab.plan_needs


def test_the_activation_that_needs_most_seeds_decides_how_many_there_are() -> None:
    needed = [Needed(name, 0.5, 3, 0.4, *seeds) for name, seeds in (("asau", (5, 7)), ("ash", (9, 4)))]
    plan = SeedPlan(0.5, "", tuple(needed), seconds_a_seed=2.0, done=3)
    assert (plan.seeds, plan.seconds) == (9, 12.0)
    assert SeedPlan(0.5, "", (*needed, Needed("relu", 0.5, 3, 0.4, None, 4)), 2.0, 3).seeds is None


def test_a_plan_from_a_pilot_knows_its_spread_and_its_seconds(run: Command, tmp_path: Path) -> None:
    pilot = FIXTURES / "digits"
    found = limen.lab.plan_seeds(5, pilot=pilot)
    runs = StudyFolder(pilot).read_runs(StudyFolder(pilot).read_study().settings)
    accuracy = {(run.activation, run.seed): run.metrics["test_accuracy"] for run in runs}
    apart = [100 * (accuracy["asau", seed] - accuracy["relu", seed]) for seed in (0, 1)]
    (needed,) = found.needed
    assert needed.deviation == pytest.approx(np.std(apart, ddof=1))
    assert (needed.pairs, found.unit) == (2, "points")
    assert found.seconds_a_seed == pytest.approx(sum(run.seconds for run in runs) / 2)
    assert found.seconds == pytest.approx((found.seeds - 2) * found.seconds_a_seed)
    outcome = run("compare", "--plan", "--difference", "5", "--out", pilot)
    assert outcome.code == 0, outcome.err
    assert f"{found.seeds} seeds decide either way: {found.seeds - 2} more" in " ".join(outcome.out.split())
    assert max(map(len, outcome.out.splitlines())) <= 80
    told = run("compare", "--plan", "--margin", "5", "--out", pilot, "--json").json
    assert (told["seeds"], told["needed"][0]["activation"]) == (found.seeds, "asau")
    assert "21 seeds decide either way" in run("compare", "--plan", "--sd", "0.6", "--out", tmp_path).out


def test_a_pilot_that_says_nothing_about_the_spread(tmp_path: Path) -> None:
    folder = grown(tmp_path / "digits", 2)
    for name in ("relu", "asau"):
        (folder / f"runs/{name}-seed1.json").unlink()
    with pytest.raises(StudyError, match="says nothing about the spread between seeds"):
        limen.lab.plan_seeds(0.5, pilot=folder)
    with pytest.raises(StudyError, match="no study in"):
        limen.lab.plan_seeds(0.5, pilot=tmp_path / "nowhere")
    with pytest.raises(SpecError, match="a difference of 100 cannot be"):
        limen.lab.plan_seeds(100, pilot=FIXTURES / "digits")
