"""A synthetic study, and a reader of the page that a report is."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections import Counter
from html.parser import HTMLParser
from typing import Any

import numpy as np

from limen.lab.records import CostRow, DataFacts, EpochRow, LayerShape, RunRecord, SummaryRow
from limen.lab.report.contents import Contents
from limen.lab.settings import StudySettings
from limen.lab.tasks import registry

NAN = math.nan
PATHS = ("features.0.act", "features.1.act", "features.2.act", "head.act")
CANDIDATES = ("relu", "elu", "silu", "mish")
GOODNESS = {"relu": 0.0, "asau": 0.008, "ash": 0.001, "adact": -0.012}
VOID = {"meta", "br", "link", "img", "input", "hr"}
SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
EVIL = "<script>alert(1)</script>"


# --- a synthetic study ---------------------------------------------------------------------------------------


def layer(activation: str, path: str, seed: int, depth: int) -> LayerShape:
    random = np.random.default_rng([seed, depth, len(activation)])
    x = np.linspace(-4, 4, 64)
    slope = 1 + 0.3 * random.standard_normal()
    shapes = {"relu": np.maximum(x, 0), "ash": x / (1 + np.exp(-3 * slope * (x - 0.5)))}
    y = shapes.get(activation, x / (1 + np.exp(-slope * x)))
    density = np.exp(-((x + 0.2 * depth) ** 2) / 2)
    raw = random.random(len(CANDIDATES)) + np.eye(len(CANDIDATES))[depth % len(CANDIDATES)]
    return LayerShape(
        path=path,
        activation=f"{activation.partition(':')[0].upper()}(slope={slope:.3f})",
        x=tuple(x),
        y=tuple(y),
        density=tuple(density / density.sum()),
        parameters={} if activation in ("relu", "adact") else {"alpha": (slope,), "beta": (slope**2, 1.0)},
        weights=dict(zip(CANDIDATES, raw / raw.sum(), strict=True)) if activation == "adact" else {},
    )


def finished(activation: str, seed: int, epochs: int = 12, paths: tuple[str, ...] = PATHS) -> RunRecord:
    random = np.random.default_rng([seed, len(activation)])
    accuracy = 0.965 + GOODNESS.get(activation, 0.0) + 0.002 * seed + 0.001 * random.standard_normal()
    curves = tuple(
        EpochRow(
            epoch=epoch,
            train_loss=2.2 * math.exp(-epoch / (2.4 - 60 * GOODNESS.get(activation, 0.0))) + 0.02 + 0.004 * seed,
            train_score=accuracy - 0.7 * math.exp(-epoch / 1.5) + 0.01,
            heldout_loss=2 * math.exp(-epoch / 2.5) + 0.1 - 3 * GOODNESS.get(activation, 0) + 0.01 * random.random(),
            heldout_score=accuracy - 0.7 * math.exp(-epoch / 1.5) + 0.004 * random.standard_normal(),
            test_score=None,
        )
        for epoch in range(1, epochs + 1)
    )
    return RunRecord(
        activation=activation,
        seed=seed,
        status="finished",
        epochs=epochs,
        best_epoch=epochs,
        metrics={"val_accuracy": accuracy, "test_accuracy": accuracy - 0.002},
        seconds=31.0,
        ms_per_step=3.4,
        peak_memory_mb=41.0,
        parameters=61_706,
        activation_parameters=8,
        curves=curves,
        layers=tuple(layer(activation, path, seed, depth) for depth, path in enumerate(paths)),
    )


def failed(activation: str, seed: int) -> RunRecord:
    return RunRecord(
        activation=activation,
        seed=seed,
        status="failed",
        failure="The loss became NaN in epoch 3.",
        epochs=2,
        seconds=4.0,
        ms_per_step=NAN,
        peak_memory_mb=NAN,
        parameters=61_706,
        activation_parameters=8,
    )


def row(activation: str, runs: tuple[RunRecord, ...], verdict: str, difference: float) -> SummaryRow:
    values = [run.metrics["test_accuracy"] for run in runs]
    tested = len(values) > 1
    mean = math.fsum(values) / len(values) if values else NAN
    is_baseline = verdict == "baseline"
    return SummaryRow(
        activation=activation,
        runs=len(runs),
        failed=0,
        metric="test_accuracy",
        mean=mean,
        low=mean - 0.006 if tested else NAN,
        high=mean + 0.006 if tested else NAN,
        baseline="relu",
        difference=NAN if is_baseline else difference,
        difference_low=difference - 0.006 if tested and not is_baseline else NAN,
        difference_high=difference + 0.006 if tested and not is_baseline else NAN,
        p=0.01 if tested and not is_baseline else NAN,
        p_holm=(0.62 if verdict.startswith("no") else 0.031) if tested and not is_baseline else NAN,
        verdict=verdict,
        ms_ratio=1.0 if is_baseline else 1.1,
        ms_ratio_low=0.9,
        ms_ratio_high=1.2,
        ms_per_step=3.4,
        peak_memory_mb=41.0,
        parameters=61_706,
    )


VERDICTS = {"relu": "baseline", "asau": "better", "adact": "worse"}


def synthetic(
    activations: tuple[str, ...] = ("relu", "asau", "ash", "adact"),
    seeds: tuple[int, ...] = (0, 1, 2),
    epochs: int = 12,
    paths: tuple[str, ...] = PATHS,
    **settings: Any,
) -> Contents:
    runs = tuple(finished(name, seed, epochs, paths) for name in activations for seed in seeds)
    untested = "not tested: one seed"
    summary = tuple(
        row(
            name,
            tuple(run for run in runs if run.activation == name),
            VERDICTS.get(name, "no detectable difference") if len(seeds) > 1 or name == "relu" else untested,
            GOODNESS.get(name, 0.0005),
        )
        for name in activations
    )
    costs = tuple(
        CostRow(
            activation=name,
            ms_per_step=3.4 * (1 + 0.15 * index),
            ratio=1 + 0.15 * index,
            ratio_low=1 + 0.12 * index,
            ratio_high=1 + 0.2 * index,
            peak_memory_mb=41.0 + 3 * index,
            parameters=61_706 + 8 * index,
        )
        for index, name in enumerate(activations)
    )
    return Contents(
        task=registry.find("classification"),
        settings=StudySettings(
            data="digits", activations=activations, baseline="relu", seeds=seeds, epochs=epochs, **settings
        ),
        data=DataFacts(
            name="digits",
            classes=tuple("0123456789"),
            image_shape=(1, 8, 8),
            train=1257,
            validation=140,
            test=360,
            fingerprint="3f" * 32,
        ),
        environment={"limen": "0.1.0", "torch": "2.13.0", "python": "3.11.2", "device": "cpu"},
        runs=runs,
        costs=costs,
        summary=summary,
        command="limen compare --data digits --activations " + ",".join(activations) + " --seeds 3 --out study",
        formulas={"asau": "a·x + (b − a)·x·tanh(α·softplus(β·(b − a)·x))"},
    )


# --- reading a page ------------------------------------------------------------------------------------------


class Reader(HTMLParser):
    """Collects tags, attributes and text, and complains about unbalanced tags."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._seen(tag, attrs)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._seen(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open and "script" not in self.open:
            self.texts.append(data)

    def _seen(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def values(self, name: str) -> list[str]:
        return [value for _, attribute, value in self.attributes if attribute == name]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def plain(markup: str) -> str:
    return " ".join(read(markup).text.split())


def whole(page: str) -> Reader:
    """Read a page and check what holds for every report: well formed, offline, unique ids, no NaN, one script."""
    reader = read(page)
    ids = reader.values("id")
    assert len(ids) == len(set(ids))
    links = reader.values("href")
    pointed = [link[1:] for link in links if link.startswith("#")] + re.findall(r"url\(#([^)]+)\)", page)
    assert set(pointed) <= set(ids)
    assert all(re.match(r"#|data:application/x-tex|runs/[\w-]+\.json$|(runs|summary)\.csv$", link) for link in links)
    assert not reader.values("src")
    only_its_own_script(page, reader)
    assert not reader.tags["link"]
    assert not reader.tags["img"]
    markup = SCRIPT.sub("", page)
    assert "@import" not in markup
    assert "url(http" not in markup
    assert "http:" not in markup
    assert "https:" not in markup
    assert not re.search(r"\b(nan|inf|None)\b", reader.text), reader.text
    assert not re.search(r"\bnan\b", " ".join(value for _, _, value in reader.attributes))
    plots = [index for index, value in enumerate(reader.values("class")) if value == "plot"]
    assert reader.values("role").count("img") == len(plots)
    return reader


def only_its_own_script(page: str, reader: Reader) -> None:
    """The page has one script, and its policy lets no other run, nor any in an attribute."""
    (script,) = SCRIPT.findall(page)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = (value for value in reader.values("content") if value.startswith("default-src"))
    assert f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" == policy
    assert reader.tags["script"] == page.count("<script") == 1
    assert not [name for _, name, _ in reader.attributes if name.startswith("on")]
