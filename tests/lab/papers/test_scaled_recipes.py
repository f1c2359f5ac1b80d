"""Recipes that are scaled to run without a GPU, and the paper's form of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers_lab import Command, command

from limen.errors import SpecError
from limen.lab.papers import recipe, reproduce
from limen.lab.report.trained import usual
from limen.lab.settings import StudySettings
from limen.lab.study.learning import check_training
from limen.lab.tasks import declared

RECIPE = """
title = "A scaled one"
task = "classification"
method = "compare"
source = "Nobody 2020, Table 9"
about = "For a test."
departures = ["It is ours."]
scaled_departures = ["It is small."]

[settings]
data = "digits"
network = "mlp"
activations = ["relu", "asau", "ash"]
seeds = 1
epochs = 3
protocol = "both"

[scaled]
activations = ["relu", "ash"]
limit_train = 100
limit_test = 60
epochs = 2

[quick]
epochs = 1

[published]
table = "table.csv"
data = "DIGITS"
train_images = 100
test_images = 60
"""
TABLE = """data,network,metric,value,source
DIGITS,relu,test_accuracy,0.91,"Nobody 2020, Table 9"
DIGITS,asau,test_accuracy,0.92,"Nobody 2020, Table 9"
DIGITS,ash,test_accuracy,0.93,"Nobody 2020, Table 9"
"""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return command(monkeypatch, capsys)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "table.csv").write_text(TABLE)
    (tmp_path / "scaled.toml").write_text(RECIPE)
    return tmp_path / "scaled.toml"


def sizes(settings: StudySettings) -> tuple[int, int | None, int]:
    return settings.epochs, settings.limit_train, len(settings.activations)


def test_three_sizes(path: Path) -> None:
    found = recipe.load(str(path))
    scaled, full, quick = (found.study_settings(**size) for size in ({}, {"full": True}, {"quick": True}))
    assert (sizes(scaled), sizes(full), sizes(quick)) == ((2, 100, 2), (3, None, 3), (1, 100, 2))
    assert [found.is_full(settings) for settings in (scaled, full, quick)] == [False, True, False]
    assert recipe.load("adact-table1-svhn").is_full(recipe.load("adact-table1-svhn").study_settings())


def test_the_scaled_form_says_so_and_judges_what_it_ran(run: Command, path: Path, tmp_path: Path) -> None:
    outcome = run("reproduce", path, "--out", tmp_path / "out", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["notices"] == ["Scaled down to run without a GPU; --full runs the paper's form."]
    found = reproduce.read(tmp_path / "out")
    assert found.departures == ("It is small.", "It is ours.")
    assert [row.claim for row in found.orders] == ["ash is better than relu"]
    assert [(row.network, row.seeds) for row in found.numbers] == [("relu", 1), ("asau", 0), ("ash", 1)]
    refused = run("reproduce", path, "--out", tmp_path / "out", "--full")
    assert refused.code == 2
    assert "epochs" in refused.sentence or "activations" in refused.sentence


def test_the_papers_form(run: Command, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = path.read_text().replace("epochs = 3", "epochs = 1\nlimit_train = 80\nlimit_test = 40")
    path.write_text(text)
    monkeypatch.chdir(tmp_path)
    outcome = run("reproduce", path, "--full", "--json")
    assert outcome.code == 0, outcome.err
    found = reproduce.read(tmp_path / "runs" / "scaled-full")
    assert found.full
    assert found.departures == ("It is ours.",)
    assert len(found.orders) == 3
    assert not any("--full" in notice for notice in found.notices)


def test_two_sizes_at_once(run: Command) -> None:
    assert run("reproduce", "ash-table2-wrn", "--quick", "--full").sentence == (
        "limen: --quick and --full are two sizes of a recipe; give one of them."
    )


def test_a_setting_that_cannot_be_in_the_scaled_form_is_named(path: Path) -> None:
    path.write_text(RECIPE.replace("limit_train = 100\n", "limit_train = 0\n"))
    with pytest.raises(SpecError, match="limit_train"):
        recipe.load(str(path))


@pytest.mark.parametrize("name", recipe.names())
def test_every_size_of_a_recipe_can_be_trained(name: str) -> None:
    found = recipe.load(name)
    for size in ({}, {"full": True}, {"quick": True}):
        settings = found.study_settings(data="somewhere", **size)
        declared.check_options(found.problem, settings)
        check_training(settings)


PUBLISHED = {
    "ash-table2-wrn": (0.1, 5e-4, True, 128, 200, (60, 120, 160), 0.2),
    "ash-table2-resnet": (0.1, 1e-4, False, 128, 182, (91, 136), 0.1),
    "ash-table2-densenet": (0.1, 1e-4, True, 64, 300, (150, 225), 0.1),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_residual_and_dense_networks_train_as_their_papers_in_the_full_form(name: str) -> None:
    found = recipe.load(name)
    full, scaled = found.study_settings(full=True), found.study_settings()
    assert (
        full.learning_rate,
        full.weight_decay,
        full.nesterov,
        full.batch_size,
        full.epochs,
        full.falls,
        full.factor,
    ) == (PUBLISHED[name])
    assert (full.optimizer, full.momentum, full.schedule, full.augment) == ("sgd", 0.9, "step", "crop+flip")
    assert usual(scaled)
    assert (scaled.learning_rate, scaled.weight_decay, scaled.batch_size) == (1e-3, 0.0, 64)
