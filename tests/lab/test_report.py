"""The report page: what it says, that it says it safely, and that it never breaks on missing numbers."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pytest

from limen.lab.records import CostRow, DataFacts, EpochRow, LayerShape, RunRecord, SummaryRow
from limen.lab.report import Contents, render
from limen.lab.report.sites import sites, weight_table, winners
from limen.lab.report.verdict import notices, paragraph
from limen.lab.settings import StudySettings

NAN = math.nan
PATHS = ("features.0.act", "features.1.act", "features.2.act", "head.act")
CANDIDATES = ("relu", "elu", "silu", "mish")
GOODNESS = {"relu": 0.0, "asau": 0.008, "ash": 0.001, "adact": -0.012}
VOID = {"meta", "br", "link", "img", "input", "hr"}
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
            train_accuracy=accuracy - 0.7 * math.exp(-epoch / 1.5) + 0.01,
            heldout_loss=2 * math.exp(-epoch / 2.5) + 0.1 - 3 * GOODNESS.get(activation, 0) + 0.01 * random.random(),
            heldout_accuracy=accuracy - 0.7 * math.exp(-epoch / 1.5) + 0.004 * random.standard_normal(),
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
    **settings: object,
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
        if "style" not in self.open:
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
    """Read a page and check what holds for every report: well formed, offline, unique ids, no NaN, no script."""
    reader = read(page)
    ids = reader.values("id")
    assert len(ids) == len(set(ids))
    pointed = [v[1:] for v in reader.values("href")] + re.findall(r"url\(#([^)]+)\)", page)
    assert set(pointed) <= set(ids)
    assert all(value.startswith("#") for value in reader.values("href"))
    assert not reader.values("src")
    assert not reader.tags["script"]
    assert not reader.tags["link"]
    assert not reader.tags["img"]
    assert "@import" not in page
    assert "url(http" not in page
    assert "http:" not in page
    assert "https:" not in page
    assert not re.search(r"\b(nan|inf|None)\b", reader.text), reader.text
    assert not re.search(r"\bnan\b", " ".join(value for _, _, value in reader.attributes))
    plots = [index for index, value in enumerate(reader.values("class")) if value == "plot"]
    assert reader.values("role").count("img") == len(plots)
    return reader


@pytest.fixture(scope="module")
def study() -> Contents:
    return synthetic()


@pytest.fixture(scope="module")
def page(study: Contents) -> str:
    return render(study)


# --- the page ------------------------------------------------------------------------------------------------


def test_page_holds_every_part_of_the_study(study: Contents, page: str) -> None:
    reader = whole(page)
    for expected in (*study.activations, *PATHS, *CANDIDATES, *study.environment.values(), study.command):
        assert expected in reader.text
    for section in ("summary", "accuracy", "curves", "shapes", "weights", "cost", "made"):
        assert section in reader.values("id")
    assert "failures" not in reader.values("id")
    assert "Training loss" in reader.text
    assert "Validation accuracy (%)" in reader.text
    assert reader.values("class").count("plot") == 1 + 4 + len(study.activations) * len(PATHS) + 2
    assert study.formulas["asau"] in reader.text
    assert "61\u202f706" in page


def test_summary_table_shows_the_rows(study: Contents, page: str) -> None:
    text = whole(page).text
    for summary in study.summary:
        assert f"{100 * summary.mean:.2f}" in text
        assert f"{100 * summary.low:.2f} to {100 * summary.high:.2f}" in text
    assert "+0.80 +0.20 to +1.40 0.031 ▲ better" in text
    assert "−1.20 −1.80 to −0.60 0.031 ▼ worse" in text
    assert "≈ no detectable difference" in text


def test_figures_say_in_words_what_they_show(page: str) -> None:
    labels = [value for tag, name, value in whole(page).attributes if tag == "svg" and name == "aria-label"]
    assert len(labels) == len(set(labels)) == 1 + 4 + 16 + 2
    assert any("asau" in label and "features.1.act" in label for label in labels)
    assert any("adact 1.45×" in label for label in labels)


def test_figures_take_colours_and_font_from_the_page(page: str) -> None:
    drawings = "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))
    assert "currentColor" in drawings
    assert "var(--series-0)" in drawings
    assert not re.search(r"(fill|stroke): #", drawings)
    assert "font-family" not in drawings
    assert "DejaVu" not in page
    used = set(re.findall(r"var\((--[\w-]+)", page))
    assert used - {"--share"} <= set(re.findall(r"(--[\w-]+):", page))


def test_same_contents_same_page(study: Contents, page: str) -> None:
    before = matplotlib.rcParams.copy()
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "axes.grid": True}):
        assert render(study) == page
    assert matplotlib.rcParams.copy() == before


def test_page_is_small_with_eight_activations() -> None:
    names = ("relu", "asau", "ash", "adact", "apalu", "mish", "swish:beta=2", "silu")
    page = render(synthetic(names))
    whole(page)
    assert len(page.encode()) < 1_500_000


# --- the verdict ---------------------------------------------------------------------------------------------


def test_verdict_of_a_decided_study(study: Contents) -> None:
    text = plain(paragraph(study)).replace("\xa0", " ")
    assert "Over 3 seeds, asau is better than relu by 0.80 points of test accuracy" in text
    assert "(95 % interval 0.20 to 1.40, Holm-corrected p = 0.031)" in text
    assert "adact is worse than relu by 1.20 points" in text
    assert "(95 % interval 0.60 to 1.80," in text
    assert "No detectable difference from relu for ash ." in text
    assert "from 1.00 times ReLU’s time ( relu , the cheapest) to 1.45 times ( adact )" in text
    assert "failed" not in text
    assert notices(study) == []


def test_verdict_when_nothing_differs() -> None:
    text = plain(paragraph(synthetic(("relu", "ash", "mish"))))
    assert text.startswith("Over 3 seeds, no activation differs detectably from relu in test accuracy.")
    assert "better" not in text


def test_verdict_of_one_seed_tests_nothing() -> None:
    study = synthetic(seeds=(0,))
    text = plain(paragraph(study))
    assert text.startswith("With one seed nothing can be tested")
    assert "better" not in text
    assert "worse" not in text
    reader = whole(render(study))
    assert "? not tested: one seed" in reader.text
    assert "+0.80 –" in reader.text


def test_verdict_of_a_lone_activation() -> None:
    study = synthetic(("relu",))
    assert plain(paragraph(study)).startswith("Only relu was trained")
    whole(render(study))


def test_untested_activations_are_named_with_their_reason(study: Contents) -> None:
    rows = (*study.summary[:3], study.summary[3].model_copy(update={"verdict": "fewer than two pairs"}))
    assert "Not tested: adact (fewer than two pairs)." in plain(paragraph(replace(study, summary=rows)))


def test_papers_protocol_and_subset_are_said() -> None:
    study = synthetic(("relu", "ash"), protocol="paper", limit_train=500, limit_test=100)
    text = whole(render(study)).text
    assert "The test set chose the epoch" in text
    assert "optimistic" in text
    assert "at most 500 images of the training set" in text
    assert "at most 100 images of the test set" in text
    assert "Test loss" in text
    assert "Validation loss" not in text


def test_difference_of_another_metric_is_no_percentage(study: Contents) -> None:
    rows = tuple(summary.model_copy(update={"metric": "test_f1"}) for summary in study.summary)
    other = replace(study, summary=rows)
    assert "asau is better than relu by 0.0080 of test F1" in plain(paragraph(other))
    assert "Test F1 by activation" in whole(render(other)).text


# --- what may be missing -------------------------------------------------------------------------------------


def test_failed_runs_are_listed(study: Contents) -> None:
    runs = (*study.runs[:-1], failed("adact", 2))
    rows = (*study.summary[:3], study.summary[3].model_copy(update={"runs": 2, "failed": 1}))
    text = whole(render(replace(study, runs=runs, summary=rows))).text
    assert "1 of 12 runs failed ( adact ) and is left out of the numbers." in text
    assert "The loss became NaN in epoch 3." in text.replace("the loss", "The loss")
    assert "1 failed" in text


def test_all_runs_failed() -> None:
    study = synthetic(("relu", "ash"))
    runs = tuple(failed(name, seed) for name in ("relu", "ash") for seed in range(3))
    rows = tuple(row(name, (), "every run failed", NAN) for name in ("relu", "ash"))
    reader = whole(render(replace(study, runs=runs, costs=(), summary=rows)))
    assert "Every run failed; there is no result to compare." in reader.text
    assert "plot" not in reader.values("class")


def test_nothing_was_recorded_yet(study: Contents) -> None:
    reader = whole(render(replace(study, runs=(), costs=(), summary=(), environment={}, command="")))
    assert "Nothing was run yet." in reader.text


def test_runs_without_curves_layers_or_costs(study: Contents) -> None:
    runs = tuple(run.model_copy(update={"curves": (), "layers": ()}) for run in study.runs)
    text = whole(render(replace(study, runs=runs, costs=()))).text
    assert "No finished run kept its epochs." in text
    assert "No finished run recorded the shapes of its layers." in text
    assert "The cost of a training step was not measured." in text


def test_missing_numbers_are_dashes(study: Contents) -> None:
    gaps = LayerShape(
        path="gap", activation="ASH()", x=(NAN, 0.0), y=(0.0, NAN), density=(0.5, 0.5), parameters={"z": (NAN,)}
    )
    hollow = LayerShape(path="hollow.act", activation="AdAct()", x=(), y=(), density=(), weights={"relu": NAN})
    flat = LayerShape(path="flat", activation="ASH()", x=(1.0,), y=(1.0,), density=(0.0,))
    epoch = EpochRow(epoch=1, train_loss=NAN, train_accuracy=NAN, heldout_loss=math.inf, heldout_accuracy=0.5)
    broken = {"layers": (gaps, hollow, flat), "curves": (epoch,), "metrics": {"test_accuracy": NAN}}
    numbers = ("mean", "low", "high", "difference", "p_holm", "ms_ratio", "ms_per_step", "peak_memory_mb")
    rows = (*study.summary[:2], study.summary[2].model_copy(update=dict.fromkeys(numbers, NAN)), study.summary[3])
    costs = tuple(
        cost.model_copy(update=dict.fromkeys(("ratio", "ratio_low", "peak_memory_mb"), NAN))
        if cost.activation == "ash"
        else cost
        for cost in study.costs
    )
    runs = tuple(run.model_copy(update=broken) if run.activation == "ash" else run for run in study.runs)
    reader = whole(render(replace(study, runs=runs, summary=rows, costs=costs)))
    assert reader.text.count("–") > 8


# --- what must not be trusted --------------------------------------------------------------------------------


def test_names_are_escaped_everywhere() -> None:
    spec = f"$x^{EVIL}$&\x00"
    study = synthetic(("relu", spec), paths=(f"a.{EVIL}", '"><img src=x onerror=alert(2)>'))
    settings = study.settings.model_copy(update={"network": EVIL, "data": EVIL})
    data = study.data.model_copy(update={"classes": (EVIL, "ok"), "name": EVIL})
    bad_run = failed(spec, 9).model_copy(update={"failure": EVIL})
    hostile = replace(
        study,
        settings=settings,
        data=data,
        runs=(*study.runs, bad_run),
        environment={EVIL: EVIL},
        command=EVIL,
        formulas={spec: EVIL},
    )
    page = render(hostile)
    reader = whole(page)
    assert "<script" not in page
    assert "<img" not in page
    assert reader.text.count(EVIL) >= 8
    assert "$x^&lt;script&gt;" in "".join(re.findall(r"<text.*?</text>", page, re.DOTALL))


def test_undecodable_and_exotic_names_can_be_written() -> None:
    study = synthetic(("relu", "激活"))
    data = study.data.model_copy(update={"classes": ("caf\udce9",)})
    page = render(replace(study, data=data))
    assert "激活" in whole(page).text
    assert page.encode("utf-8")


def test_long_names_are_cut_in_figures_only() -> None:
    spec = "adact:candidates=" + ",".join(f"candidate{index}" for index in range(12))
    page = render(synthetic(("relu", spec)))
    drawn = re.findall(r"<text[^>]*>([^<]*)</text>", page)
    assert spec in whole(page).text
    assert max(map(len, drawn)) <= 24


# --- the pieces ----------------------------------------------------------------------------------------------


def test_winner_of_each_layer_and_seed() -> None:
    study = synthetic()
    layers = sites(study.finished("adact"))
    assert [site.path for site in layers] == list(PATHS)
    for site in layers:
        for seed, shape in site.shapes:
            best = max(shape.weights, key=lambda name: shape.weights[name])
            said = winners(site)
            assert best in said
            assert str(seed) in said or "all 3 seeds" in said
    table = weight_table(layers)
    first = table.rows[0][1][0]
    weights = [shape.weights["relu"] for _, shape in layers[0].shapes]
    assert first.text == f"{sum(weights) / 3:.2f}"


def test_parameters_show_mean_and_range() -> None:
    study = synthetic(("relu", "asau"), paths=("act",))
    alphas = [shape.parameters["alpha"][0] for _, shape in sites(study.finished("asau"))[0].shapes]
    text = whole(render(study)).text
    assert f"{sum(alphas) / 3:.3g} {min(alphas):.3g} to {max(alphas):.3g}" in text


def test_layers_of_different_kinds_are_labelled() -> None:
    study = synthetic(("relu", "ash"))
    layers = study.runs[3].layers
    mixed = (layers[0].model_copy(update={"activation": "Mish()"}), *layers[1:])
    runs = (*study.runs[:3], *(run.model_copy(update={"layers": mixed}) for run in study.runs[3:]))
    text = whole(render(replace(study, runs=runs))).text
    assert "features.0.act Mish" in text
    assert "head.act ASH" in text


def luminance(colour: str) -> float:
    channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_stand_out_from_their_background(page: str, scheme: int) -> None:
    block = page.split("@media (prefers-color-scheme: dark)")[scheme]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
    lines = [name for name in colours if name.startswith(("series", "baseline"))]
    assert len(lines) == 9
    assert min(contrast(colours[name], colours["paper"]) for name in lines) >= 3  # WCAG 2.2, graphics
    for text in ("good", "bad", "warn"):
        assert contrast(colours[text], colours[f"{text}-tint"]) >= 4.5  # WCAG 2.2, text
    assert contrast(colours["muted"], colours["paper"]) >= 4.5
    assert contrast(colours["muted"], colours["tint"]) >= 4.5
