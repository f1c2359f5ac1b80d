"""A recipe, a claim and stored runs for each kind of measure, without training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from limen.lab.papers import ledger as ledgers
from limen.lab.papers import recipe as recipes
from limen.lab.records import DataFacts, RunRecord
from limen.lab.settings import StudySettings
from limen.lab.study.store import StudyFolder
from limen.lab.study.study import Study
from limen.lab.tasks import registry
from limen.writing import write_atomically

RECIPE = """
title = "A tiny one"
task = "{task}"
method = "compare"
source = "Nobody 2020, Table 9"
about = "For a test."
departures = ["It is tiny."]
settings = {{ data = "d", activations = ["relu", "silu", "gelu"], seeds = 3, epochs = 2, protocol = "both" }}
quick = {{ epochs = 1 }}
published = {{ table = "tiny.csv", data = "D" }}
"""
SMALLER, MIDDLE, LARGER = (0.600, 0.610, 0.620), (0.624, 0.637, 0.646), (0.650, 0.661, 0.673)


@dataclass(frozen=True)
class Case:
    """A published order, gelu before silu before relu, and how it must be shown."""

    task: str
    metric: str
    """Of the published table and of the claim."""
    relu: str
    silu: str
    gelu: str
    lower_is_better: bool
    shown: tuple[str, str, str]
    """The published values of relu and gelu and their difference, as a page has them."""
    heading: str
    """The columns of the page's numbers."""
    unit: str
    """Of a value."""
    scale: float = 1.0
    """What the stored values are multiplied by."""

    @property
    def factor(self) -> float:
        """What a stored value is multiplied by to be shown."""
        return self.scale * (100 if self.unit else 1)


def _fraction(task: str, metric: str, title: str) -> Case:
    heading = f"| test {title}, % | published | as the paper | honest |"
    return Case(task, metric, "0.650", "0.690", "0.701", False, ("65.0", "70.1", "+5.1"), heading, "%")


NUMBERS = ("3.1", "2.9", "-0.2")
CASES = {
    "accuracy": _fraction("classification", "test_accuracy", "accuracy"),
    "mAP": _fraction("detection", "map50", "mAP@50"),
    "AUROC": _fraction("anomaly", "auroc", "AUROC"),
    "RMSE": Case("regression", "rmse", "3.1", "3.0", "2.9", True, NUMBERS,
                 "| test RMSE | published | as the paper | honest |", "", 5.0),
    "MAE": Case("forecasting", "mae", "3.1", "3.0", "2.9", True, NUMBERS,
                "| test RMSE | published MAE | as the paper | honest |", "", 5.0),
    "Fréchet distance": Case("generation", "small_fid", "3.1", "3.0", "2.9", True, NUMBERS,
                             "| test small FID | published | as the paper | honest |", "", 5.0),
}  # fmt: skip


@dataclass(frozen=True)
class Made:
    """A study that follows the case's recipe."""

    case: Case
    folder: Path
    gelu_is_lower: bool

    @property
    def gelu_is_better(self) -> bool:
        """Whether what was measured agrees with the paper."""
        return self.gelu_is_lower == self.case.lower_is_better

    @property
    def verdict(self) -> str:
        """What is said of the published order."""
        return "confirmed" if self.gelu_is_better else "contradicted"

    @property
    def sign(self) -> str:
        """Of the measured difference, gelu minus relu."""
        return "-" if self.gelu_is_lower else "+"

    def claim(self, **changed: Any) -> ledgers.Claim:
        """That gelu is better than relu."""
        task = registry.find(self.case.task)
        other = "" if task.metric(self.case.metric) == task.measure else self.case.metric
        words: dict[str, Any] = {
            "id": "one",
            "paper": "adact",
            "words": "w",
            "source": "s",
            "recipe": "tiny",
            "metric": other,
        }
        return ledgers.Claim(
            **{**words, "recipe": "tiny", "kind": "order", "one": "gelu", "than": ("relu",), **changed}
        )


def made(case: Case, home: Path, monkeypatch: pytest.MonkeyPatch, *, gelu_is_lower: bool) -> Made:
    """Write the recipe, its table and the runs."""
    monkeypatch.setattr(recipes, "RECIPES", home)
    (home / "tiny.toml").write_text(RECIPE.format(task=case.task), encoding="utf-8")
    values = (("relu", case.relu), ("silu", case.silu), ("gelu", case.gelu))
    lines = [f"D,{network},{case.metric},{value},Nobody" for network, value in values]
    (home / "tiny.csv").write_text("\n".join(["data,network,metric,value,source", *lines]) + "\n", encoding="utf-8")
    folder = StudyFolder(home / "study")
    write_atomically(folder.path / "study.json", _study(case).model_dump_json())
    of_gelu, of_relu = (SMALLER, LARGER) if gelu_is_lower else (LARGER, SMALLER)
    measured = {"relu": of_relu, "silu": MIDDLE, "gelu": of_gelu}
    for network, scores in measured.items():
        for seed, score in enumerate(scores):
            folder.write_run(_run(case, network, seed, case.scale * score))
    return Made(case, folder.path, gelu_is_lower)


def _study(case: Case) -> Study:
    seeds, activations = (0, 1, 2), ("relu", "silu", "gelu")
    settings = StudySettings(task=case.task, data="d", activations=activations, baseline="relu", seeds=seeds)
    facts = DataFacts(name="d", classes=(), image_shape=(1,), train=9, validation=1, test=5, fingerprint="0")
    return Study(settings=settings, data=facts, environment={}, recipe="tiny")


def _run(case: Case, network: str, seed: int, score: float) -> RunRecord:
    task = registry.find(case.task)
    noted = (task.measure.on_test, task.metric(case.metric).on_test, task.measure.best_on_test)
    return RunRecord(
        activation=network, seed=seed, status="finished", epochs=2, metrics=dict.fromkeys(noted, score),
        seconds=1, ms_per_step=1, peak_memory_mb=1, parameters=1, activation_parameters=0,
    )  # fmt: skip
