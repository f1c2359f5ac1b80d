"""``limen select``: the three networks over seeds, the plan, resuming, the options beyond the paper."""

from __future__ import annotations

import csv
import json
import re
import time
from pathlib import Path

import pytest
import torch
from helpers import thoroughly
from helpers_lab import (
    TINY_OPTIONS,
    Command,
    Recorder,
    briefly,
    command,
    data_of,
    experiment_of,
    forked_command,
    stored,
)
from helpers_lab import tiny as tiny_study
from helpers_tasks import made

import limen
from limen.errors import SpecError, StudyError
from limen.lab import networks
from limen.lab.records import TORCHS_RELU
from limen.lab.settings import SelectSettings
from limen.lab.study import searching
from limen.lab.study.compare import compare
from limen.lab.study.result import Result
from limen.lab.study.searching import Selection
from limen.lab.study.select import check, select
from limen.lab.tasks import registry
from limen.lab.training.batches import Batches
from limen.lab.training.mixtures import LearnOnHeldout
from limen.selection import mixtures

NAMES = ["relu", "adact", "optimized"]
TIMES = {"seconds", "ms_per_step", "ms_ratio", "ms_ratio_low", "ms_ratio_high"}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return command(monkeypatch, capsys)


def tiny(**changed: object) -> SelectSettings:
    values = {
        "kind": "select", "data": "digits", "network": "mlp", "activations": tuple(NAMES), "baseline": "relu",
        "candidates": ("relu", "silu", "prelu"), "seeds": (0, 1), "epochs": 2, "limit_train": 200, "limit_test": 60,
    }  # fmt: skip
    return SelectSettings(**{**values, **changed})


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return [{key: value for key, value in row.items() if key not in TIMES} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A selection of one seed, as the paper has it."""
    torch.manual_seed(0)
    with briefly():
        return select(tiny(seeds=(0,)), tmp_path_factory.mktemp("plain"), Recorder())


def test_the_command_writes_the_contract(run: Command, tmp_path: Path):
    out = tmp_path / "first"
    outcome = run(
        "select", *TINY_OPTIONS, "--seeds", "2", "--epochs", "2", "--protocol", "both", "--json", "--out", out
    )
    assert outcome.code == 0, outcome.err
    runs = rows(out / "runs.csv")
    assert [(row["activation"], row["seed"]) for row in runs] == [(name, str(s)) for name in NAMES for s in (0, 1)]
    assert [row["activation"] for row in rows(out / "summary.csv")] == NAMES
    search = next(row for row in runs if row["activation"] == "adact")
    gap = float(search["test_accuracy"]) - float(search["baked_test_accuracy"])
    assert float(search["discretisation_gap"]) == pytest.approx(gap, abs=1e-6)
    assert int(search["best_epoch"]) <= 2
    assert all(float(row["best_test_accuracy"]) >= float(row["test_accuracy"]) - 1e-6 for row in runs)
    plan = limen.Plan.load(out / "plan.json")
    assert plan.seeds == 2
    assert outcome.json["plan"] == json.loads((out / "plan.json").read_text())
    page = (out / "report.html").read_text()
    for part in ("Selection", "Weights over the epochs", "Mixture weights", "Discretisation gap", "<svg", *NAMES):
        assert part in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_the_optimised_network_is_the_plan_of_its_seed(tmp_path: Path):
    result = select(tiny(), tmp_path, Recorder())
    by_name = {(run.activation, run.seed): run for run in result.runs}
    for seed in (0, 1):
        search, optimised = by_name["adact", seed], by_name["optimized", seed]
        plan = limen.Plan.from_dict(search.plan)
        assert optimised.plan == search.plan
        modules = [layer.activation.partition("(")[0] for layer in optimised.layers]
        assert modules == [type(limen.create(site.activation)).__name__ for site in plan.sites]
        epochs = sorted({row.epoch for row in search.weights})
        assert epochs == [0, 1, 2]
        assert all(sum(row.weights.values()) == pytest.approx(1, abs=1e-4) for row in search.weights)
    assert result.plan.sites[0].weights == limen.Plan.load(tmp_path / "plan.json").sites[0].weights
    assert {row.activation for row in result.costs} == {*NAMES, TORCHS_RELU}


def test_the_networks_of_a_seed_start_from_the_same_weights():
    settings, data = tiny(), data_of(tiny())
    plain = networks.build("mlp", data.image_shape, 10, 3)
    mixed = networks.build("mlp", data.image_shape, 10, 3)
    selection = Selection(experiment_of(settings), settings)
    selection._mix(mixed)
    applied = networks.build("mlp", data.image_shape, 10, 3)
    state = torch.random.get_rng_state()
    limen.apply_(applied, limen.select(mixed))
    assert torch.equal(state, torch.random.get_rng_state())
    for index in (1, 3, 5):
        assert torch.equal(plain.layers[index].weight, mixed.layers[index].weight)
        assert torch.equal(plain.layers[index].weight, applied.layers[index].weight)


def test_noting_the_test_accuracy_changes_no_run(tmp_path: Path):
    honest = compare(tiny_study(seeds=(0,)), tmp_path / "honest", Recorder())
    both = compare(tiny_study(seeds=(0,), protocol="both"), tmp_path / "both", Recorder())
    for one, other in zip(honest.runs, both.runs, strict=True):
        assert one.metrics == {name: other.metrics[name] for name in one.metrics}
        noted = [row.test_score for row in other.curves]
        assert other.metrics["best_test_accuracy"] == max(noted)
        assert noted[int(other.metrics["best_test_epoch"]) - 1] == max(noted)
        assert noted[other.best_epoch - 1] == pytest.approx(other.metrics["test_accuracy"], abs=1e-6)
        assert all(row.test_score is None for row in one.curves)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"temperature": (1.0, 0.05)}, marks=pytest.mark.thorough),
        pytest.param({"entropy": (0.0, 1.0)}, marks=pytest.mark.thorough),
        pytest.param({"sampling": "gumbel"}, marks=pytest.mark.thorough),
        pytest.param({"sampling": "gumbel_straight_through", "temperature": (2.0, 0.5)}, marks=pytest.mark.thorough),
        pytest.param({"sampling": "straight_through"}, marks=pytest.mark.thorough),
        pytest.param({"weights_from": 0.3}, marks=pytest.mark.thorough),
        pytest.param({"drop_below": 0.3333}, marks=pytest.mark.thorough),
        pytest.param({"rule": "grouped"}, marks=pytest.mark.thorough),
    ],
    ids=str,
)
def test_what_goes_beyond_the_paper_runs_and_repeats(options: dict[str, object], plain: Result, tmp_path: Path):
    settings = tiny(seeds=(0,), **options)
    first = select(settings, tmp_path / "a", Recorder())
    again = select(settings, tmp_path / "b", Recorder())
    assert not first.failed
    assert [run.metrics for run in first.runs] == [run.metrics for run in again.runs]
    assert first.runs[0].metrics == plain.runs[0].metrics  # the baseline knows nothing of it
    changed = first.runs[1].weights[-1].weights != plain.runs[1].weights[-1].weights
    assert changed != (options == {"rule": "grouped"})


def test_another_selection_is_refused(tmp_path: Path):
    select(tiny(seeds=(0,), epochs=1), tmp_path, Recorder())
    with pytest.raises(StudyError, match="candidates"):
        select(tiny(seeds=(0,), epochs=1, candidates=("relu", "mish")), tmp_path, Recorder())
    with pytest.raises(StudyError, match="made by limen select"):
        compare(tiny_study(epochs=1), tmp_path, Recorder())
    more = select(tiny(seeds=(0, 1), epochs=1), tmp_path, Recorder())
    assert more.plan.seeds == 2


BAD = {
    "--candidates relu": "--candidates must name at least two",
    "--candidates relu,misch": "Did you mean 'mish'",
    "--candidates relu,maxout": "changes the shape",
    "--baseline adact": "fixed activation",
    "--baseline optimized": "fixed activation",
    "--temperature 1-2": "--temperature '1-2' is not of the form from:to",
    "--temperature 0:1": "--temperature",
    "--drop-below 2": "--drop-below",
    "--weights-from 1": "--weights-from",
    "--sampling dice": "--sampling",
    "--rule best": "--rule",
    "--seeds 0": "--seeds 0 is not possible",
}


@pytest.mark.parametrize("options", BAD)
def test_bad_input_is_one_sentence(options: str, run: Command, tmp_path: Path):
    out = tmp_path / "none"
    outcome = run("select", *TINY_OPTIONS, *options.split(), "--out", out)
    assert outcome.code == 2
    assert BAD[options] in outcome.sentence
    assert not out.exists()


def test_a_failed_search_fails_its_optimised_network_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    original = searching._mix

    def broken(settings, network):
        report = original(settings, network)
        with torch.no_grad():
            next(m for m in network.modules() if isinstance(m, limen.AdAct)).logits.fill_(float("nan"))
        return report

    monkeypatch.setattr(searching, "_mix", broken)
    result = select(tiny(seeds=(0,), epochs=1), tmp_path, Recorder())
    assert [run.status for run in result.runs] == ["finished", "failed", "failed"]
    assert "no plan" in result.runs[2].failure
    assert result.plan is None
    assert not (tmp_path / "plan.json").exists()


def test_candidates_without_a_name_are_refused_before_anything():
    with pytest.raises(SpecError, match="adactt"):
        check(registry.find("classification"), tiny(candidates=("relu", "adactt")))


HARDEST = {
    "protocol": "paper", "temperature": (1.0, 0.1), "entropy": (0.0, 0.1), "weights_from": 0.3, "drop_below": 0.05,
    "observe": ("gradients", "inputs"),
}  # fmt: skip


@pytest.mark.parametrize("options", [pytest.param({}, id="as the paper", marks=pytest.mark.thorough), HARDEST])
@pytest.mark.parametrize("name", thoroughly(registry.names(), usual=("classification", "regression")))
def test_every_task_can_be_searched(name: str, options: dict[str, object], tmp_path: Path):
    task = registry.find(name)
    (tmp_path / "data").mkdir()
    data = made(name, tmp_path / "data")
    defaults = {"task": name, "limit_train": None, "limit_test": None, **task.defaults}
    result = select(tiny(**{**defaults, **data, "seeds": (0,), **options}), tmp_path / "out", Recorder())
    assert [run.status for run in result.runs] == ["finished"] * 3, result.failed
    _, search, optimised = result.runs
    measured, baked = (search.metrics[f"{kind}{task.measure.on_test}"] for kind in ("", "baked_"))
    better = task.measure.goodness(measured) > task.measure.goodness(baked)
    gap = search.metrics["discretisation_gap"]
    assert abs(gap) == pytest.approx(abs(measured - baked))
    assert gap > 0 if better else gap <= 0
    assert {layer.path for layer in optimised.layers} <= {site.path for site in result.plan.sites}
    assert {row.activation for row in result.costs} == {*NAMES, TORCHS_RELU}
    found = re.search(r"with all weights kept, changes the .*? by ([+−-])", result.report.read_text())
    assert gap == 0 or found[1] == ("+" if baked > measured else "−")
    if options:
        assert all(run.sites and run.gradients and run.metrics["test_gradient_depth_ratio"] for run in result.runs)


def test_each_part_of_two_that_compete_learns_its_weights_from_its_own_loss(tmp_path: Path):
    """A step down the generator's loss leaves the discriminator's mixtures alone, and the other way about."""
    task = registry.find("generation")
    settings = tiny(task="generation", **{**task.defaults, **made("generation", tmp_path)})
    data = data_of(settings)
    network = task.build("dcgan", data, 0)
    Selection(experiment_of(settings, data), settings)._mix(network)
    batch = next(iter(Batches(data.train, 8)))
    for (part, loss), name in zip(task.objectives(network), ("discriminator", "generator"), strict=True):
        before = {path: mixture.logits.clone() for path, mixture in mixtures(network)}
        LearnOnHeldout(part, [batch], loss, lr=0.1).search.step(lambda loss=loss: loss(batch))
        moved = {path for path, mixture in mixtures(network) if not torch.equal(mixture.logits, before[path])}
        assert moved == {path for path in before if path.startswith(f"{name}.")}


@pytest.mark.thorough
def test_a_killed_selection_continues(tmp_path: Path):
    out = tmp_path / "killed"
    arguments = ("select", *TINY_OPTIONS, "--seeds", "2", "--epochs", "6", "--out", out)
    for stop_at in (1, 4):
        process = forked_command(tmp_path / "said", *arguments)
        deadline = time.monotonic() + 120
        while len(list((out / "runs").glob("[!.]*.json"))) < stop_at:
            assert time.monotonic() < deadline
            assert process.running(), process.said()
            time.sleep(0.002)
        time.sleep(0.05)
        process.kill()
    kept = {name: value for name, value in stored(out).items() if name.startswith("runs/") and "/." not in name}
    assert 4 <= len(kept) < 6
    done = forked_command(tmp_path / "said", *arguments).wait()
    assert done.code == 0, done.err
    assert f"continuing: {len(kept)} of 6 runs are done already" in done.err
    after = stored(out)
    assert {name: after[name] for name in kept} == kept
    straight = tmp_path / "straight"
    settings = tiny(candidates=("relu", "elu", "leaky_relu", "prelu", "rrelu", "silu", "mish"), epochs=6)
    select(settings, straight, Recorder())
    assert rows(out / "runs.csv") == rows(straight / "runs.csv")
    assert (out / "plan.json").read_text() == (straight / "plan.json").read_text()


def test_channels_last_reaches_the_feature_maps():
    from limen.lab.training import run as train

    settings = tiny(network="convnet", channels_last=True)
    network, _ = train.build(experiment_of(settings, data_of(tiny())), "relu", 0)
    seen: list[bool] = []
    network.features[1].register_forward_hook(
        lambda m, x, y: seen.append(y.is_contiguous(memory_format=torch.channels_last) and not y.is_contiguous())
    )
    plain, _ = train.build(experiment_of(tiny(network="convnet"), data_of(tiny())), "relu", 0)
    images = data_of(tiny()).train.images[:4].float()
    assert torch.allclose(network(images), plain(images), atol=1e-3)
    assert seen == [True]


def test_a_larger_rate_of_the_activations_lets_the_weights_decide(plain: Result, tmp_path: Path):
    fast = select(tiny(seeds=(0,), activation_lr=0.3), tmp_path, Recorder())
    assert fast.runs[0].metrics == plain.runs[0].metrics  # ReLU has no parameters
    assert all(a.entropy < b.entropy for a, b in zip(fast.plan.sites, plain.plan.sites, strict=True))
