"""``limen inspect``, and what runs observe beside their scores."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from helpers_lab import Command, Recorder, data_of, experiment_of, tiny

import limen
from limen.inspect import statistics
from limen.lab import networks
from limen.lab.papers import observed as observed_page
from limen.lab.records import SiteRow
from limen.lab.settings import StudySettings
from limen.lab.study import rows as stored
from limen.lab.study.compare import compare
from limen.lab.training import run as train
from limen.lab.training.notes import extra, geometric_mean, input_metrics


def test_a_network_on_a_batch(run: Command, tmp_path: Path):
    picture = tmp_path / "new" / "curves.png"
    outcome = run("inspect", "mlp", "--to", "ash", "--batch-size", "50", "--out", picture, "--json")
    assert outcome.code == 0, outcome.err
    assert [site["path"] for site in outcome.json["sites"]] == ["layers.2", "layers.4"]
    first = outcome.json["sites"][0]
    assert (first["values"], first["parameters"]["alpha"]) == (50 * 256, 1.0)
    assert picture.read_bytes().startswith(b"\x89PNG")
    shown = run("inspect", "mlp").out
    assert "initial weights" in shown
    assert max(map(len, run("inspect", "convnet", "--to", "ash", "--batch-size", "50").out.splitlines())) <= 80
    assert "kept" not in shown


def test_trained_weights_are_loaded(run: Command, tmp_path: Path):
    network = networks.build("mlp", (1, 8, 8), 10, seed=5)
    limen.swap_(network, "asau")
    with torch.no_grad():
        network.layers[2].alpha.fill_(3.0)
    torch.save({"state_dict": network.state_dict()}, tmp_path / "weights.pt")
    outcome = run("inspect", "mlp", "--to", "asau", "--weights", tmp_path / "weights.pt", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["sites"][0]["parameters"]["alpha"] == 3.0
    assert "not those of this model" in run("inspect", "mlp", "--weights", tmp_path / "weights.pt").sentence
    assert "no file of weights" in run("inspect", "mlp", "--weights", tmp_path / "none.pt").sentence
    (tmp_path / "broken.pt").write_bytes(b"nothing")
    assert "cannot be read" in run("inspect", "mlp", "--weights", tmp_path / "broken.pt").sentence
    torch.save(torch.ones(2), tmp_path / "tensor.pt")
    assert "not a state dict" in run("inspect", "mlp", "--weights", tmp_path / "tensor.pt").sentence
    torch.save(network, tmp_path / "module.pt")  # would run code if it were unpickled
    assert "cannot be read" in run("inspect", "mlp", "--weights", tmp_path / "module.pt").sentence


def test_what_cannot_be_inspected(run: Command, tmp_path: Path):
    assert "Did you mean 'convnet'" in run("inspect", "convnett").sentence
    assert "--out 'curves.txt'" in run("inspect", "mlp", "--out", "curves.txt").sentence
    assert "--batch-size 1" in run("inspect", "mlp", "--batch-size", "1").sentence


OBSERVING = {"observe": ("gradients", "inputs"), "activations": ("relu", "ash"), "seeds": (0, 1)}


def test_a_study_that_observes(run: Command, tmp_path: Path):
    settings = tiny(**OBSERVING)
    out = tmp_path / "study"
    runs = compare(settings, out, Recorder()).runs
    for one in runs:
        assert [(row.epoch, row.path) for row in one.gradients] == [
            (epoch, path) for epoch in (1, 2) for path in ("layers.2", "layers.4")
        ]
        assert all(row.gradient > 0 for row in one.gradients)
        first, last = ([r.gradient for r in one.gradients if r.path == p] for p in ("layers.2", "layers.4"))
        # Every epoch has the same number of steps, so the mean over steps is that over epochs.
        expected = geometric_mean([a / b for a, b in zip(first, last, strict=True)])
        assert one.metrics["test_gradient_depth_ratio"] == pytest.approx(expected, rel=1e-4)
        assert one.metrics["test_normality"] == pytest.approx(1 - max(site.normal_distance for site in one.sites))
        assert ("test_percentile_agreement" in one.metrics) == (one.activation == "ash")
    folder = stored.keep(stored.read(out), tmp_path / "rows")
    assert {path.name for path in folder.iterdir()} == {
        "study.json", "runs.csv", "curves.csv", "cost.csv", "gradients.csv", "sites.csv",
    }  # fmt: skip
    again = stored.read(folder).runs
    assert [one.gradients for one in again] == [one.gradients for one in runs]
    for one, other in zip(again, runs, strict=True):
        assert str(one.sites) == str(other.sites)  # by text, because NaN differs from itself
    headings = [heading for _, (heading, _) in observed_page.tables(again)]
    assert [heading[0] for heading in headings] == ["activation"] * 3
    learned = run("inspect", out, "--json").json["sites"]
    assert {(row["activation"], row["parameter"]) for row in learned} == {("ash", "z_k"), ("ash", "alpha")}
    assert "z_k" in run("inspect", out).out
    assert "are for models" in run("inspect", out, "--to", "ash").sentence
    assert "no finished run" in run("inspect", folder).sentence


def test_observing_changes_no_number():
    settings = tiny(activations=("asau",), baseline="asau")
    data = data_of(settings)
    plain = train.run(experiment_of(settings, data), "asau", 0)
    watched = StudySettings(**{**settings.model_dump(), "observe": ("gradients", "inputs")})
    seen = train.run(experiment_of(watched, data), "asau", 0, extra=extra(experiment_of(watched, data)))
    assert [row.train_loss for row in seen.curves] == [row.train_loss for row in plain.curves]
    assert plain.metrics.items() <= seen.metrics.items()


def test_the_command_observes(run: Command, tmp_path: Path):
    options = ("--network", "mlp", "--limit-train", "200", "--epochs", "1", "--seeds", "1", "--activations", "relu")
    assert "--observe" in run("compare", *options, "--observe", "dreams", "--out", tmp_path / "no").sentence
    outcome = run("compare", *options, "--observe", "gradients", "--out", tmp_path / "out", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["runs"][0]["test_gradient_depth_ratio"] > 0


def test_what_counts_as_normal():
    torch.manual_seed(0)
    (normal,) = statistics(torch.nn.Sequential(limen.ASH()), torch.randn(20, 5000))
    (skewed,) = statistics(torch.nn.Sequential(limen.ASH()), torch.randn(20, 5000).exp())
    fields = set(SiteRow.model_fields)
    one, other = (
        SiteRow(**{key: value for key, value in site.as_dict().items() if key in fields}) for site in (normal, skewed)
    )
    assert input_metrics([one])["test_normality"] > 0.99
    assert input_metrics([one])["test_percentile_agreement"] > 0.99
    assert input_metrics([one, other])["test_normality"] < 0.8
    assert input_metrics([one, other])["test_percentile_agreement"] < 0.9
    assert input_metrics([]) == {}
    assert math.isnan(geometric_mean([]))
