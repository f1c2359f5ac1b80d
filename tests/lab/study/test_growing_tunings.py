"""A tuning that comes later, or gets more trials or seeds: what was tried stays, and each has the same budget."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from helpers_tuning import BEST, World, made, table, tuned

from limen.errors import StudyError
from limen.lab.rates import values_of
from limen.lab.study import result
from limen.lab.study.suggesting import JOURNAL
from limen.lab.study.trying import SEED


def test_trials_may_get_more_seeds_later_and_another_rate_with_them(world: World, tmp_path: Path) -> None:
    lucky, best = "asau @ lr=0.000178", "asau @ lr=0.00562"
    world.lucky[lucky] = 0.3
    once = tuned(6, activations=("relu", "asau"))
    assert lucky in made(once, tmp_path).study.settings.own
    known = [*world.seeds]
    more = made(once.model_copy(update={"trial_seeds": 3}), tmp_path)
    assert best in more.study.settings.own
    assert world.seeds[: len(known)] == known
    assert {seed for _, seed in world.seeds[len(known) :]} == {SEED + 1, SEED + 2}
    # Runs at the former rate stay, and no table has them.
    assert len({name for name, _ in world.runs if name.startswith("asau @")}) == 2
    assert {row["activation"] for row in table(tmp_path, "runs.csv")} == set(more.study.settings.compared)
    assert lucky not in more.study.settings.compared
    # Fewer are as if none were asked for: what was found stays.
    again = made(once, tmp_path)
    assert (again.study.settings, again.trials) == (more.study.settings, more.trials)
    journal = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(tmp_path / JOURNAL)))
    values = [trial.value for trial in optuna.load_study(study_name="asau", storage=journal).trials]
    names = more.study.tried["asau"]
    seeds = {name: [seed for one, seed in world.seeds if one == name] for name in names}
    assert values == [
        pytest.approx(sum(world.score(name, seed) for seed in seeds[name]) / len(seeds[name])) for name in names
    ]


def test_trials_may_become_more_and_what_was_tried_stays(world: World, tmp_path: Path) -> None:
    settings = tuned(4, activations=("relu", "asau"))
    few = made(settings, tmp_path)
    assert {sum(row.common for row in few.trials if row.activation == name) for name in ("relu", "asau")} == {3}
    before = [*world.trials]
    more = made(settings.model_copy(update={"trials": 9, "activations": ("relu", "asau", "ash")}), tmp_path)
    assert world.trials[: len(before)] == before
    assert len(world.trials) == len(set(world.trials)) == 27
    for name in ("relu", "asau"):
        assert more.study.tried[name][:4] == few.study.tried[name]
    # Those common to all are what the tuning began with, of the activation that was added as well.
    rates = {name: [row.learning_rate for row in more.trials if row.activation == name and row.common] for name in BEST}
    assert [*rates.values()] == [[0.001, 3.16e-05, 0.0316]] * 3
    assert "The first 3 are common to all" in (tmp_path / "report.html").read_text()
    assert values_of(more.study.settings.own[1])["learning_rate"] == pytest.approx(BEST["asau"], rel=0.3)
    # Fewer are as if none more had been asked for.
    again = made(settings, tmp_path)
    assert (again.study.settings, again.trials) == (more.study.settings, more.trials)
    assert len(world.trials) == 27


def test_more_trials_are_for_all_activations(world: World, tmp_path: Path) -> None:
    settings = tuned(4, activations=("relu", "asau"), trial_seeds=2)
    made(settings, tmp_path)
    before = (tmp_path / "study.json").read_bytes()
    for changed in ({"trials": 6}, {"trial_seeds": 3}, {"trials": None}):
        with pytest.raises(StudyError, match=r"add asau to --activations, or leave .* as they were \(4 and 2\)"):
            made(settings.model_copy(update={"activations": ("relu", "ash"), **changed}), tmp_path)
    assert (tmp_path / "study.json").read_bytes() == before
    made(settings.model_copy(update={"activations": ("relu", "ash"), "trials": 3, "trial_seeds": 1}), tmp_path)


def test_a_tuning_that_grew_and_has_not_ended_is_said(world: World, tmp_path: Path) -> None:
    settings = tuned(4, activations=("relu", "asau"), seeds=(0,))
    made(settings, tmp_path)
    assert "has not ended" not in (tmp_path / "report.html").read_text()
    for changed in ({"trials": 7}, {"trial_seeds": 3}):
        world.stops_after = len(world.trials) + 1
        with pytest.raises(KeyboardInterrupt):
            made(settings.model_copy(update=changed), tmp_path)
        result.report(tmp_path)
        page = (tmp_path / "report.html").read_text()
        assert "got more trials or seeds and has not ended, so own rates may change" in page
        world.stops_after = None
        made(settings.model_copy(update=changed), tmp_path)
        assert "has not ended" not in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(("before", "now", "number"), [(None, None, 9), (None, 6, 9), (6, None, 9), (12, None, 12)])
def test_as_many_trials_stay_as_were_ever_asked_for(
    before: int | None, now: int | None, number: int, world: World, tmp_path: Path
) -> None:
    settings = tuned(activations=("relu",), seeds=(0,), trials=before)
    made(settings, tmp_path)
    found = made(settings.model_copy(update={"trials": now}), tmp_path)
    assert len(found.study.tried["relu"]) == number
    assert f"the same budget: {number} trials" in (tmp_path / "report.html").read_text()


def test_a_study_can_be_tuned_after_its_runs_and_is_as_if_it_had_been_at_once(world: World, tmp_path: Path) -> None:
    settings, later = tuned(activations=("relu", "asau")), tmp_path / "later"
    at_once = made(settings, tmp_path / "at once")
    made(settings.model_copy(update={"tune": (), "trials": None}), later)
    kept = {path.name: path.read_bytes() for path in (later / "runs").iterdir()}
    found = made(settings, later)
    assert (found.runs, found.trials, found.summary) == (at_once.runs, at_once.trials, at_once.summary)
    assert found.study.settings == at_once.study.settings
    assert {name: (later / "runs" / name).read_bytes() for name in kept} == kept
    with pytest.raises(StudyError, match=r"tune \('lr',\) there, \(\) now"):
        made(settings.model_copy(update={"tune": (), "trials": None}), later)
