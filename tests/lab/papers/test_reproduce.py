"""``limen reproduce``: recipes, their checks, verdicts, the page."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
from helpers_lab import Command, Recorder, command
from helpers_papers import RECIPE, TABLE, written

from limen.errors import SpecError, StudyError
from limen.lab.metric import ACCURACY
from limen.lab.papers import page as reproduction_page
from limen.lab.papers import recipe, reproduce
from limen.lab.papers import verdicts as claims
from limen.lab.records import RunRecord
from limen.lab.statistics import correct
from limen.lab.tasks import registry as tasks
from limen.selection import Choice, Observation, Plan


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return command(monkeypatch, capsys)


@pytest.mark.parametrize("name", recipe.names())
def test_every_recipe_is_valid_and_says_what_is_ours(name: str):
    found = recipe.load(name)
    assert found.departures
    settings, quick = (found.study_settings(data="somewhere", quick=quick) for quick in (False, True))
    assert settings.task == found.task
    tasks.check_options(found.problem, settings)
    assert settings.network in found.problem.networks
    assert quick.epochs < settings.epochs
    full = found.study_settings(data="somewhere", full=True)
    assert full.network in found.problem.networks
    assert set(settings.activations) <= set(full.activations)
    published = {row["network"] for row in found.published_rows()}
    assert not published or published & set(settings.activations)
    assert all(0 < float(row["value"]) <= 1 for row in found.published_rows())


@pytest.mark.parametrize("name", [name for name in recipe.names() if name.startswith("adact-table1")])
def test_the_recipes_of_adacts_table_follow_the_paper(name: str):
    found = recipe.load(name)
    assert found.departures
    rows = found.published_rows()
    assert {row["network"] for row in rows} == {"relu", "adact", "optimized"}
    assert all(0.5 < float(row["value"]) < 1 for row in rows)
    settings = found.study_settings(data="digits")
    assert (settings.epochs, settings.batch_size, settings.eval_batch_size) == (15, 64, 1000)
    assert (settings.learning_rate, settings.protocol, len(settings.seeds)) == (1e-3, "both", 3)
    assert settings.candidates == ("relu", "elu", "leaky_relu", "prelu", "rrelu", "silu", "mish")
    quick = found.study_settings(quick=True, data="digits")
    assert quick.epochs < settings.epochs
    assert quick.limit_train is not None
    for row in found.published_layers():
        assert set(row["candidates"].split("|")) <= set(settings.candidates)


def test_list(run: Command):
    outcome = run("reproduce", "--list", "--json")
    assert [row["name"] for row in outcome.json] == list(recipe.names())
    assert "adact-table1-svhn" in run("reproduce", "--list").out


def test_a_recipe_of_ones_own_runs_and_makes_its_page(run: Command, tmp_path: Path):
    out = tmp_path / "out"
    path = written(tmp_path)
    outcome = run("reproduce", path, "--out", out, "--json")
    assert outcome.code == 0, outcome.err
    kinds = [row["kind"] for row in outcome.json["rows"]]
    assert kinds == ["number", "number", "order", "layer", "layer"]
    assert outcome.json["notices"] == []
    with (out / "reproduction.csv").open(newline="") as file:
        stored = list(csv.DictReader(file))
    assert [row["kind"] for row in stored] == kinds
    found = reproduce.read(out)
    assert found.numbers[0].published == 0.91
    with (out / "runs.csv").open(newline="") as file:
        runs = {(r["activation"], r["seed"]): r for r in csv.DictReader(file)}
    honest = [float(runs["relu", str(seed)]["test_accuracy"]) for seed in (0, 1)]
    best = [float(runs["relu", str(seed)]["best_test_accuracy"]) for seed in (0, 1)]
    assert found.numbers[0].honest.mean == pytest.approx(sum(honest) / 2)
    assert found.numbers[0].paper.mean == pytest.approx(sum(best) / 2)
    again = run("reproduce", path, "--out", out)
    assert "continuing: 6 of 6" in again.err
    assert "adact is better than relu (published +1.0)" in again.out
    page = tmp_path / "page.md"
    assert run("report", out, "--markdown", page, "--title", "Tiny").code == 0
    text = page.read_text()
    assert text.startswith("# Tiny\n")
    assert "SiLU leads" in text
    assert "- It is tiny." in text
    assert "| relu | 91.0 |" in text
    assert "Not every run is finished" not in text
    for stored in (out / "runs").glob("relu-*1*"):
        stored.unlink()
    assert run("report", out, "--markdown", page, "--title", "Tiny").code == 0
    assert "Not every run is finished: of 2 seeds relu 1" in page.read_text()


def test_quick_is_labelled_everywhere(run: Command, tmp_path: Path):
    out = tmp_path / "quick"
    outcome = run("reproduce", written(tmp_path), "--quick", "--out", out)
    assert outcome.code == 0, outcome.err
    assert "Scaled down (--quick)" in outcome.out
    assert "Not the paper's amount of data" in outcome.out.replace("\n", " ").replace("  ", " ")
    found = reproduce.read(out)
    assert {row.honest_verdict for row in found.orders} == {reproduce.NO_VERDICT}
    assert {row.verdict for row in found.layers} == {reproduce.NO_VERDICT}
    page = reproduction_page.markdown([found], "Tiny")
    assert "(quick, scaled down)" in page
    assert "confirmed**" not in page.replace("**confirmed** and", "")
    assert "Scaled down. This is the quick form" in (out / "report.html").read_text()
    with (out / "reproduction.csv").open(newline="") as file:
        assert {row["quick"] for row in csv.DictReader(file)} == {"True"}
    chosen = recipe.load(str(tmp_path / "tiny.toml"))
    with pytest.raises(StudyError, match="another study"):
        reproduce.run(chosen, chosen.study_settings(), out, Recorder())


def test_a_plain_study_is_no_reproduction(run: Command, tmp_path: Path):
    out = tmp_path / "plain"
    options = ("--network", "mlp", "--limit-train", "200", "--epochs", "1", "--seeds", "1", "--activations", "relu")
    assert run("compare", *options, "--out", out).code == 0
    assert "holds no reproduction" in run("report", out, "--markdown", tmp_path / "p.md").sentence
    assert "add --markdown" in run("report", out, out).sentence


BROKEN = {
    "is not TOML": ("title =", "title"),
    "epochs": ("epochs = 2\n", "epochs = 0\n"),
    "no task is called 'origami'": ('"classification"', '"origami"'),
    "published.train_images": ("train_images = 300", 'train_images = "many"'),
    "extra inputs are not permitted": ("[quick]\n", "[quick]\nepoch = 3\n"),
    "title: field required": ('title = "A tiny one"', ""),
    "candidates": ('["relu", "silu"]', '["relu"]'),
    "settings.protocol: 'honest'": ('"both"', '"honest"'),
    "no published table": ('"tiny.csv"', '"none.csv"'),
    "has no rows of 'MNIST'": ('"DIGITS"', '"MNIST"'),
}


@pytest.mark.parametrize("sentence", BROKEN)
def test_a_broken_recipe_is_one_sentence(sentence: str, run: Command, tmp_path: Path):
    path = written(tmp_path, RECIPE.replace(*BROKEN[sentence], 1))
    outcome = run("reproduce", path, "--out", tmp_path / "out")
    assert outcome.code == 2
    assert sentence in outcome.sentence
    assert not (tmp_path / "out").exists()


def test_bad_tables_and_names_are_one_sentence(run: Command, tmp_path: Path):
    path = written(tmp_path, table=TABLE.replace("0.92", "high"))
    assert "line 3: the value 'high' is not a number" in run("reproduce", path).sentence
    path = written(tmp_path, table=TABLE.replace("data,network", "data,net"))
    assert "the columns must be data, network, metric, value, source" in run("reproduce", path).sentence
    assert "Did you mean 'adact-table1-fmnist'" in run("reproduce", "adact-table1-fmnis").sentence
    assert "there is no recipe at" in run("reproduce", tmp_path / "none.toml").sentence
    assert "name a recipe" in run("reproduce").sentence
    assert "needs --data" in run("reproduce", "adact-table1-fer").sentence
    assert "--seeds 0" in run("reproduce", "adact-table1-fmnist", "--seeds", "0").sentence
    with pytest.raises(SpecError, match="no recipe"):
        recipe.load("../published/adact-table1")


def judged(differences: list[float]) -> object:
    baseline = dict.fromkeys(range(len(differences)), 0.5)
    return correct([ACCURACY.compare({seed: 0.5 + d for seed, d in enumerate(differences)}, baseline)])[0]


def test_verdicts_on_orders():
    above, below, unclear = judged([0.010, 0.011, 0.012]), judged([-0.010, -0.011, -0.012]), judged([0.01, -0.02, 0.03])
    assert claims.verdict(0.003, above) == "confirmed"
    assert claims.verdict(0.003, below) == "contradicted"
    assert claims.verdict(0.003, unclear) == "undecided"
    assert claims.verdict(-0.003, below) == "confirmed"
    assert claims.verdict(-0.003, above) == "contradicted"
    assert claims.verdict(0.0, above) == "contradicted"
    assert claims.verdict(0.0, unclear) == "undecided"
    assert claims.verdict(0.003, judged([0.01])) == "not tested"


def choice(*weights: dict[str, float]) -> Choice:
    seeds = tuple(Observation(w, dict.fromkeys(w, 0.0), {}, {}) for w in weights)
    names = tuple(weights[0])
    return Choice("layer", max(names, key=lambda n: weights[0][n]), names[0], seeds, {n: n for n in names})


def test_verdicts_on_layers(tmp_path: Path):
    clear = choice(*({"relu": 0.2 - e, "silu": 0.5 + e, "mish": 0.3} for e in (0.0, 0.01, 0.02)))
    tied = choice(*({"relu": 0.3, "silu": 0.3 + e, "mish": 0.4 - e} for e in (0.1, 0.0, 0.05)))
    chosen = recipe.load(str(written(tmp_path)))
    first, second = claims.layer_rows(chosen, Plan((clear, clear)))
    assert (first.verdict, second.verdict) == ("confirmed", "confirmed")
    assert "silu (0.510, 3 of 3 seeds)" in first.winner
    first, second = claims.layer_rows(chosen, Plan((tied, tied)))
    assert first.verdict == "undecided"
    other = choice(*({"relu": 0.6 + e, "silu": 0.2 - e, "mish": 0.2} for e in (0.0, 0.01, 0.02)))
    assert [row.verdict for row in claims.layer_rows(chosen, Plan((other, other)))] == ["contradicted"] * 2
    single = choice({"relu": 0.2, "silu": 0.5, "mish": 0.3})
    assert claims.layer_rows(chosen, Plan((single,)))[0].verdict == "not tested"
    assert claims.layer_rows(chosen, None) == []


def test_numbers_without_runs_are_dashes(tmp_path: Path):
    chosen = recipe.load(str(written(tmp_path)))
    failed = RunRecord(
        activation="relu", seed=0, status="failed", epochs=0, seconds=0, ms_per_step=0, peak_memory_mb=0,
        parameters=0, activation_parameters=0,
    )  # fmt: skip
    rows = claims.number_rows(chosen, [failed])
    assert all(math.isnan(row.honest.mean) for row in rows)
    assert claims.order_rows(chosen, [failed])[0].honest == "–"
