"""Tuning: the same budget for every activation, on validation data alone, and both answers judged together."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections import Counter
from dataclasses import replace
from html import unescape
from itertools import pairwise
from pathlib import Path

import optuna
import pytest
from helpers_lab import Command, briefly, command, data_of, experiment_of, tiny
from helpers_tuning import BEST, NAN, World, accuracy, ended, made, table, told_of, tuned
from scipy import stats

from limen.errors import SpecError, StudyError
from limen.lab.executing import local
from limen.lab.executing.execution import Execution
from limen.lab.rates import activation_of, name_of, values_of
from limen.lab.records import EpochRow, TrialRow
from limen.lab.settings import StudySettings
from limen.lab.study import result, rows, trials
from limen.lab.study.command import whole_command
from limen.lab.study.planning import plan_seeds
from limen.lab.study.suggesting import JOURNAL, Journal
from limen.lab.study.summary import compared, summarise
from limen.lab.study.trying import DECAYS, REACH, SEED, beside_best, check_tuning, common, ranges
from limen.lab.tasks import registry
from limen.lab.training import run as training

TASK = registry.find("classification")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return command(monkeypatch, capsys)


@pytest.mark.parametrize("tune", [("lr",), ("lr", "weight-decay"), ("lr", "weight-decay", "activation-lr")])
@pytest.mark.parametrize("trials", [1, 2, 3, 4, 9, 20])
def test_common_trials_begin_at_the_shared_rates_and_lie_evenly_about_them(trials: int, tune: tuple[str, ...]) -> None:
    settings = tuned(trials, tune=tune, learning_rate=0.02, weight_decay=0.25, activation_lr=0.007)
    found = common(settings)
    shared = {"learning_rate": 0.02}
    shared |= {"weight_decay": 0.25} if "weight-decay" in tune else {}
    shared |= {"activation_lr": 0.007} if "activation-lr" in tune else {}
    assert found[0] == shared
    assert all({**values, "learning_rate": 0.02} == shared for values in found)
    assert len(found) % 2 == 1
    assert len(found) <= trials
    assert len(found) >= min(3, trials - 1) or len(tune) > 1
    logs = sorted(math.log(values["learning_rate"]) for values in found)
    steps = [after - before for before, after in pairwise(logs)]
    assert steps == pytest.approx([2 * math.log(REACH) / max(1, len(steps))] * len(steps), rel=0.01)
    low, high = ranges(settings)["learning_rate"]
    assert (low, high) == pytest.approx((0.02 / 10**1.5, 0.02 * 10**1.5), rel=0.005)
    assert all(low <= values["learning_rate"] <= high for values in found)


def test_no_room_about_a_rate_is_said_of_that_rate() -> None:
    for named, said in (({"learning_rate": 1e308}, "about 1e+308; give another --lr"),
                        ({"activation_lr": 1e308}, "about 1e+308; give another --activation-lr")):  # fmt: skip
        with pytest.raises(SpecError, match=re.escape(said)):
            check_tuning(tuned(tune=("lr", "activation-lr"), **named))


def test_every_activation_has_the_same_budget_and_its_best_trial_is_its_own(world: World, tmp_path: Path) -> None:
    found = made(tuned(9), tmp_path)
    by = {name: [row for row in found.trials if row.activation == name] for name in BEST}
    assert {name: len(of) for name, of in by.items()} == dict.fromkeys(BEST, 9)
    assert len({tuple(row.learning_rate for row in of if row.common) for of in by.values()}) == 1
    assert {sum(row.common for row in of) for of in by.values()} == {7}
    assert "The first 7 are common to all, the rest follow from the activation’s own." in unescape(
        (tmp_path / "report.html").read_text()
    )
    assert {row.seed for row in found.trials} == {SEED}
    assert SEED not in {seed for _, seed in world.runs}
    for name, of in by.items():
        best = max(of, key=lambda row: (row.score, -row.loss))
        assert [row.chosen for row in of] == [row is best for row in of]
        assert best.score == accuracy(name_of(name, {"learning_rate": best.learning_rate}), SEED)
    assert found.study.settings.own[0] == "relu @ lr=0.001"
    # Trials of its own lie where the activation does well.
    assert all(abs(math.log10(row.learning_rate / BEST[row.activation])) < 1 for row in found.trials if not row.common)
    assert [row["score"] for row in table(tmp_path)] == [str(row.score) for row in found.trials]
    assert {name: len(names) for name, names in found.study.tried.items()} == dict.fromkeys(BEST, 9)


def test_own_rates_that_are_the_shared_ones_are_not_trained_again(world: World, tmp_path: Path) -> None:
    found = made(tuned(3), tmp_path)
    own = found.study.settings.own
    assert [*own] == ["relu @ lr=0.001", "asau @ lr=0.0316", "ash @ lr=0.001"]
    assert Counter(world.runs) == Counter((name, seed) for name in (*BEST, own[1]) for seed in (0, 1))
    by = {(row["activation"], row["seed"]): row for row in table(tmp_path, "runs.csv")}
    assert len(by) == 2 * (len(BEST) + len(own))
    for seed in "01":
        assert by["relu @ lr=0.001", seed]["test_accuracy"] == by["relu", seed]["test_accuracy"]
        assert by["relu @ lr=0.001", seed]["seconds"] == "0.0"


def test_all_comparisons_of_both_answers_are_corrected_together(world: World, tmp_path: Path) -> None:
    found = made(tuned(9, seeds=(0, 1, 2, 3)), tmp_path)
    own = dict(zip(BEST, found.study.settings.own, strict=True))
    pairs = [("asau", "relu"), ("ash", "relu"), (own["asau"], own["relu"]), (own["ash"], own["relu"])]
    seeds = range(4)
    ps = [stats.ttest_rel(*([accuracy(name, seed) for seed in seeds] for name in pair)).pvalue for pair in pairs]
    holm, most = {}, 0.0
    for place, which in enumerate(sorted(range(4), key=lambda which: ps[which])):
        most = max(most, min(1.0, ps[which] * (4 - place)))
        holm[pairs[which][0]] = most
    by = {row.activation: row for row in found.summary}
    assert {name: by[name].p_holm for name, _ in pairs} == pytest.approx(holm)
    assert {name: by[name].baseline for name in by} == {
        **dict.fromkeys(BEST, "relu"),
        **dict.fromkeys(own.values(), own["relu"]),
    }
    assert by[own["relu"]].verdict == by["relu"].verdict == "baseline"


def test_the_same_runs_compared_twice_are_one_comparison() -> None:
    settings = tuned(activations=("relu", "asau"), seeds=(0, 1, 2), own=("relu @ lr=0.001", "asau @ lr=0.001"))
    alone = settings.model_copy(update={"own": (), "tune": ()})
    of = [ended(name, seed, test_accuracy=accuracy(name, seed)) for name in ("relu", "asau") for seed in range(3)]
    again = [one.model_copy(update={"activation": f"{one.activation} @ lr=0.001"}) for one in of]
    twice, once = compared(TASK, settings, [*of, *again]), compared(TASK, alone, of)
    assert twice["asau"] == twice["asau @ lr=0.001"] == once["asau"]
    other = settings.model_copy(update={"own": ("relu @ lr=0.001", "asau @ lr=0.01")})
    assert compared(TASK, other, [*of, *again])["asau"].p_holm == min(1.0, 1 * once["asau"].p)  # the other has no runs
    apart = settings.model_copy(update={"own": ("relu @ lr=0.01", "asau @ lr=0.001")})
    better = [ended("relu @ lr=0.01", seed, test_accuracy=0.99) for seed in range(3)]
    found = compared(TASK, apart, [*of, *again, *better])
    assert found["asau @ lr=0.001"].difference.mean < found["asau"].difference.mean - 0.05
    moved = [one.model_copy(update={"activation": "asau @ lr=0.01"}) for one in of if one.activation == "asau"]
    assert compared(TASK, other, [*of, *again, *moved])["asau"].p_holm == min(1.0, 2 * once["asau"].p)


def test_trials_are_the_same_however_many_at_a_time_and_wherever_it_was_interrupted(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Runs that are feigned here are so in forks alone, and learn nothing there.
    monkeypatch.setattr(local, "_forks_learn", lambda: True)
    settings = tuned(7, activations=("relu", "asau"), seeds=(0,))
    made(settings, tmp_path / "alone")
    whole = (tmp_path / "alone/trials.csv").read_bytes()

    for part, world.stops_after in enumerate((3, 10, 12)):
        world.trials.clear()
        out = tmp_path / f"part{part}"
        with pytest.raises(KeyboardInterrupt):
            made(settings, out)
        journal = out / JOURNAL
        # Half a line, no line of it, nothing: what a process that is killed may leave.
        journal.write_bytes((journal.read_bytes() + b'{"op_code":4,"wor', b"neither\n", b"")[part])
        world.stops_after = None
        made(settings, out)
        assert (out / "trials.csv").read_bytes() == whole
        assert len(world.trials) == 14
    made(settings, tmp_path / "two", Execution(jobs=2))
    assert (tmp_path / "two/trials.csv").read_bytes() == whole
    assert table(tmp_path / "two", "summary.csv") == table(tmp_path / "alone", "summary.csv")


def test_optunas_journal_holds_every_trial_and_a_damaged_one_is_made_anew(world: World, tmp_path: Path) -> None:
    def fails(name: str) -> bool:
        return values_of(name)["learning_rate"] > 0.01

    world.fails = fails
    found = made(tuned(), tmp_path)
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(tmp_path / JOURNAL)))
    for name in BEST:
        mine = [row for row in found.trials if row.activation == name]
        known = optuna.load_study(study_name=name, storage=storage).trials
        assert [trial.params["learning_rate"] for trial in known] == [row.learning_rate for row in mine]
        assert [trial.value for trial in known] == [None if row.status == "failed" else row.score for row in mine]
    assert len(world.trials) == 18
    whole = (tmp_path / "trials.csv").read_bytes()
    for damage in (b"\xff no journal\n", b'{"op_code":99}\n'):
        (tmp_path / JOURNAL).write_bytes(damage)
        (tmp_path / f"{JOURNAL}.lock").write_bytes(b"")  # of a process that was killed
        made(tuned(), tmp_path)
        assert (tmp_path / "trials.csv").read_bytes() == whole
        assert len((tmp_path / JOURNAL).read_bytes().splitlines()) == 18 + len(BEST)
    assert len(world.trials) == 18


def tried(*pairs: tuple[float, float | None]) -> list[tuple[dict[str, float], float | None]]:
    return [({"learning_rate": rate}, goodness) for rate, goodness in pairs]


def test_the_wider_gap_beside_the_best_rate_is_halved_in_the_logarithm() -> None:
    common = [(0.01, 0.8), (0.001, 0.7), (0.1, 0.2)]
    assert beside_best(tried(*common)) == 0.00316  # equal gaps: towards the better neighbour
    assert beside_best(tried(*common, (0.00316, 0.75))) == 0.0316  # now the other is the wider
    assert beside_best(tried(*common, (0.00316, 0.9))) == 0.00562  # a new best, with two near neighbours
    assert beside_best(tried((0.01, 0.1), (0.001, 0.2), (0.1, 0.9))) == 0.0316  # the best at an end
    assert beside_best(tried((0.01, 0.8), (0.001, None), (0.1, 0.1))) == 0.0316  # a failed trial is the worse neighbour
    assert beside_best(tried((0.01, None), (0.1, None))) is None
    assert beside_best(tried((0.01, 0.5))) is None
    assert beside_best(tried((0.01, 0.5), (0.01001, 0.4))) is None  # nothing lies between


def test_suggestions_follow_from_an_activations_trials_alone(tmp_path: Path) -> None:
    within = {"learning_rate": (1e-4, 1e-1), "weight_decay": DECAYS, "activation_lr": (1e-4, 1e-1)}
    journal = Journal(tmp_path / "one", within)
    history = [({"learning_rate": 10.0**-power, "weight_decay": 0.0}, 0.9 - abs(power - 3)) for power in (1, 2, 3, 4)]
    first = journal.suggest("relu", history, 4)
    journal.suggest("asau", [*history, ({"learning_rate": 0.05}, None)], 5)
    assert journal.suggest("relu", history, 4) == first
    assert Journal(tmp_path / "two", within).suggest("asau", history, 4) == first
    assert all(low <= first[name] <= high for name, (low, high) in within.items())
    assert journal.suggest("relu", history, 5) != first
    worse = [(values, None) for values, _ in history]
    assert Journal(tmp_path / "bad", within).suggest("relu", worse, 4).keys() == within.keys()
    near = [journal.suggest("relu", history[:2] + history[2:] * 4, seed)["learning_rate"] for seed in range(12)]
    assert sum(abs(math.log10(rate) + 3) < 0.6 for rate in near) > 6  # where it was best


def test_trials_in_another_order_than_they_were_suggested_in_are_shown_all_the_same(
    world: World, tmp_path: Path
) -> None:
    made(tuned(4, activations=("relu", "asau"), seeds=(0,)), tmp_path)
    stored = json.loads((tmp_path / "study.json").read_text())
    stored["tried"]["asau"].reverse()
    stored["tried"]["gelu"] = []
    (tmp_path / "study.json").write_text(json.dumps(stored))
    result.report(tmp_path)


def test_a_failed_trial_is_worse_than_any_other_and_is_said(world: World, tmp_path: Path, run: Command) -> None:
    world.fails = lambda name: name.startswith("asau") and values_of(name)["learning_rate"] > 2e-3
    found = made(tuned(), tmp_path)
    mine = [row for row in found.trials if row.activation == "asau"]
    assert [row.failure for row in mine if row.status == "failed"] == [NAN] * sum(
        row.learning_rate > 2e-3 for row in mine
    )
    best = next(row for row in mine if row.chosen)
    assert best.learning_rate <= 2e-3
    assert best.score == max(row.score for row in mine if row.status == "finished")
    page = (tmp_path / "report.html").read_text()
    assert "failed and counted as worse than any other: asau at 0.00562" in page
    assert ">failed</td>" in page
    told = " ".join(run("report", tmp_path).out.split())
    assert "trials failed and counted as worse than any other" in told
    assert NAN in told


def test_an_activation_of_which_all_trials_fail_keeps_the_shared_rates(world: World, tmp_path: Path) -> None:
    world.fails = lambda name: True
    found = made(tuned(4), tmp_path)
    assert [values_of(name) for name in found.study.settings.own] == [{"learning_rate": 1e-3}] * 3
    assert all(math.isnan(row.score) for row in found.trials)
    assert {seed for _, seed in world.runs} == {0, 1}
    assert len(world.runs) == 6


def test_equal_scores_go_to_the_lower_loss_and_then_to_the_earlier() -> None:
    names = [name_of("relu", {"learning_rate": rate}) for rate in (0.1, 0.2, 0.3, 0.4)]
    scores = [(0.5, 0.1), (0.7, 0.9), (0.7, 0.4), (0.7, 0.4)]
    known = {
        (name, SEED): ended(name, SEED, val_accuracy=score, val_loss=loss)
        for name, (score, loss) in zip(names, scores, strict=True)
    }
    assert trials.best(names, known, [SEED], TASK.held_to) == names[2]
    lower = registry.find("regression").held_to
    assert not lower.higher_is_better
    errors = {
        (name, SEED): ended(name, SEED, **{lower.on_heldout: score, "val_loss": loss})
        for name, (score, loss) in zip(names, scores, strict=True)
    }
    assert trials.best(names, errors, [SEED], lower) == names[0]


def test_several_settings_are_tuned_and_trained_with_what_was_found(
    monkeypatch: pytest.MonkeyPatch, world: World, tmp_path: Path
) -> None:
    seen: dict[str, StudySettings] = {}
    fake = world.attempt
    monkeypatch.setattr(
        training,
        "attempt",
        lambda experiment, name, *rest: (seen.update({name: experiment.settings}), fake(experiment, name, *rest))[1],
    )
    settings = tuned(
        8, tune=("lr", "weight-decay", "activation-lr"), weight_decay=0.1, protocol="both", observe=("inputs",)
    )
    found = made(settings, tmp_path)
    assert all(one.protocol == "honest" and one.observe == () for one in seen.values())
    for row in found.trials:
        name = next(name for name in found.study.tried[row.activation] if seen[name].learning_rate == row.learning_rate)
        assert (row.weight_decay, row.activation_lr) == (
            seen[name].weight_decay,
            seen[name].activation_lr or seen[name].learning_rate,
        )
        if row.common:
            assert (row.weight_decay, row.activation_lr) == (0.1, row.learning_rate)
        else:
            assert DECAYS[0] <= row.weight_decay <= DECAYS[1]
            assert 1e-3 / REACH <= row.activation_lr <= 1.01e-3 * REACH
    assert {row.common for row in found.trials} == {True, False}
    assert "learning rate 3.16e-05 to 0.0316, weight decay 1e-05 to 1, activation lr" in " ".join(
        note for _, _, notes in told_of(settings, tmp_path) for note in notes
    )


def test_a_tuned_study_goes_on_grows_and_is_one_command(world: World, tmp_path: Path, run: Command) -> None:
    settings = tuned(activations=("relu", "asau"))
    made(settings, tmp_path)
    before = (tmp_path / "trials.csv").read_bytes()
    assert told_of(settings, tmp_path)[0][:2] == (12, 12)
    more = settings.model_copy(update={"activations": ("relu", "ash"), "seeds": (0, 1, 2)})
    assert told_of(more, tmp_path)[0][:2] == (12, 6)  # of those that are asked for now
    grown = made(more, tmp_path)
    assert len(world.trials) == 18
    assert [activation_of(name) for name in grown.study.settings.own] == ["relu", "asau", "ash"]
    assert (tmp_path / "trials.csv").read_bytes().startswith(before)
    assert grown.study.asked[-1].activations == ("ash",)
    assert {(row.activation, row.runs) for row in grown.summary if activation_of(row.activation) == "asau"} == {
        (name, 2) for name in ("asau", grown.study.settings.own[1])
    }
    words = shlex.split(whole_command(grown.study))
    assert words[words.index("--tune") + 1 : words.index("--tune") + 4] == ["lr", "--trials", "6"]
    assert "--own" not in words
    page = (tmp_path / "report.html").read_text()
    assert run("report", tmp_path).code == 0
    assert (tmp_path / "report.html").read_text() == page
    for changed in ({"tune": ("lr", "weight-decay")}, {"tune": (), "trials": None}):
        with pytest.raises(StudyError, match="holds another study"):
            made(settings.model_copy(update=changed), tmp_path)


def test_seeds_go_where_they_decide_and_what_is_built_upon_comes_along(world: World, tmp_path: Path) -> None:
    settings = tuned(9, activations=("relu", "asau"), seeds=tuple(range(14)), max_seeds=14, margin=0.5)
    found = made(settings, tmp_path)
    own = found.study.settings.own
    by = {row.activation: row for row in found.summary}
    assert own[0] == "relu @ lr=0.001"
    assert by["asau"].verdict.startswith("worse")
    assert by["asau"].runs < 14
    assert by[own[1]].runs == by[own[0]].runs == by["relu"].runs >= by["asau"].runs
    assert summarise(TASK, found.study.settings, found.runs, ()) == found.summary


def test_a_plan_from_a_tuned_pilot_knows_all_comparisons_and_pays_no_run_twice(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BEST, "relu", 1e-2)
    monkeypatch.setitem(BEST, "ash", 1e-3)
    own = made(tuned(9), tmp_path).study.settings.own
    found = plan_seeds(0.5, pilot=tmp_path)
    assert {one.activation for one in found.needed} == {"asau", "ash", *own[1:]}
    assert own[2] == "ash @ lr=0.001"  # the runs of ash
    assert found.seconds_a_seed == 2.0 * 5


def test_both_answers_stand_side_by_side_and_rows_are_kept(world: World, tmp_path: Path) -> None:
    found = made(tuned(9, margin=0.5), tmp_path / "study")
    page = (tmp_path / "study/report.html").read_text()
    section = page[page.index('<section id="sensitivity">') :].partition("</section>")[0]
    cells = [part.partition("</tr>")[0] for part in section.split('<tr><th scope="row"><code>')[1:4]]
    by = {row.activation: row for row in found.summary}
    for name, own, text in zip(BEST, found.study.settings.own, cells, strict=True):
        assert text.startswith(f"{name}</code>")
        assert f">{values_of(own)['learning_rate']:g}<" in text
        for row in (by[name], by[own]):
            assert f">{100 * row.mean:.2f} (" in text
            assert f"<td>{row.verdict}</td>" in text
        change = sum(accuracy(own, seed) - accuracy(name, seed) for seed in (0, 1)) / 2
        assert f">{TASK.measure.difference(change)} (" in text
        of_trial = [row.score for row in found.trials if row.activation == name and (row.trial == 1 or row.chosen)]
        assert f">{100 * of_trial[0]:.2f}</td>" in text
        assert f">{100 * of_trial[-1]:.2f}</td>" in text
    assert "9 trials of 1 epoch with seed 10000" in section
    assert "They took 18 s" in section
    kept = rows.read(rows.keep(rows.read(tmp_path / "study"), tmp_path / "kept"))
    for mine, again in zip(found.trials, kept.trials, strict=True):
        assert again == TrialRow(
            **{**mine.model_dump(), "score": float(f"{mine.score:.6g}"), "loss": float(f"{mine.loss:.6g}")}
        )
    assert kept.study.settings.own == found.study.settings.own
    assert summarise(TASK, kept.study.settings, kept.runs, ()) == found.summary


def test_runs_in_two_groups_are_said_on_the_page_and_on_the_terminal(
    world: World, tmp_path: Path, run: Command
) -> None:
    settings = tuned(3, activations=("relu", "asau"), seeds=(0, 1, 2, 3, 4))
    made(settings, tmp_path / "alike")
    assert "two groups" not in (tmp_path / "alike/report.html").read_text()
    assert "two groups" not in run("report", tmp_path / "alike").out
    world.breaks_down = lambda name, seed: name == "asau" and seed == 3
    made(settings, tmp_path / "broken")
    for text in (unescape((tmp_path / "broken/report.html").read_text()), run("report", tmp_path / "broken").out):
        assert "Runs ended in two groups. asau: 1 of 5 runs at 10.00 %, the others at " in " ".join(text.split())


def test_an_own_rate_at_the_end_of_the_range_is_said(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BEST, "asau", 1.0)
    monkeypatch.setitem(BEST, "ash", 1e-9)
    found = made(tuned(3), tmp_path)
    assert [values_of(name)["learning_rate"] for name in found.study.settings.own] == [1e-3, 0.0316, 3.16e-05]
    page = (tmp_path / "report.html").read_text()
    assert "The own rate of asau is the highest that was tried" in page
    assert "The own rate of ash is the lowest that was tried" in page
    assert "The own rate of relu" not in page


def test_study_files_that_name_no_rates_are_refused(world: World, tmp_path: Path) -> None:
    made(tuned(3), tmp_path)
    path = tmp_path / "study.json"
    stored = json.loads(path.read_text())
    for where in ("own", "tried"):
        changed = json.loads(path.read_text())
        if where == "own":
            changed["settings"]["own"] = ["asau @ speed=3"]
        else:
            changed["tried"]["relu"] = ["relu @ lr=nan"]
        path.write_text(json.dumps(changed))
        with pytest.raises(StudyError, match="is no name of runs at rates of their own"):
            result.report(tmp_path)
        path.write_text(json.dumps(stored))
    result.report(tmp_path)


def test_a_trial_is_the_training_of_a_run_and_sees_no_test_example() -> None:
    name = name_of("asau", {"learning_rate": 0.01, "weight_decay": 0.1, "activation_lr": 0.002})
    settings = tiny(epochs=2, protocol="both").of(name)
    assert (settings.learning_rate, settings.weight_decay, settings.activation_lr) == (0.01, 0.1, 0.002)
    honest = settings.model_copy(update={"protocol": "honest"})
    data = data_of(tiny(epochs=2))
    heard: list[EpochRow] = []
    trial = training.attempt(experiment_of(honest, replace(data, test=None)), name, SEED, heard.append)
    whole = training.run(experiment_of(honest, data), name, SEED)
    assert trial.curves == tuple(heard) == whole.curves
    assert trial.best_epoch == whole.best_epoch
    assert trial.metrics == {key: pytest.approx(whole.metrics[key], rel=1e-5) for key in ("val_accuracy", "val_loss")}
    assert (trial.parameters, trial.activation_parameters) == (whole.parameters, whole.activation_parameters)
    other = training.attempt(experiment_of(tiny(epochs=2), data), "asau", SEED)
    assert other.curves != trial.curves


def test_the_command_tunes_and_trains_for_real(run: Command, tmp_path: Path) -> None:
    small = ("--data", "digits", "--network", "mlp", "--limit-train", "100", "--limit-test", "60", "--epochs", "1")
    given = (
        "compare",
        *small,
        "--activations",
        "relu,ash",
        "--seeds",
        "2",
        "--tune",
        "lr",
        "--trials",
        "3",
        "--jobs",
        "1",
    )
    with briefly():
        outcome = run(*given, "--out", tmp_path)
    assert outcome.code == 0, outcome.err
    assert "tuning on validation data, 3 trials of each activation: learning rate 3.16e-05 to 0.0316" in outcome.err
    assert "the shared learning rate is 0.001" in outcome.err
    assert "6/6 ash @ lr=0.0316 · seed 10000: validation " in outcome.err
    assert "8/8 ash @ lr=" in outcome.err
    assert "Own learning rates (shared: 0.001): relu " in outcome.out
    found = rows.read(tmp_path)
    assert len(found.runs) == 8
    by = {(one.activation, one.seed): one for one in found.runs}
    for own in found.study.settings.own:
        same = by[own, 0].metrics == by[activation_of(own), 0].metrics
        assert same == (values_of(own)["learning_rate"] == 1e-3)
