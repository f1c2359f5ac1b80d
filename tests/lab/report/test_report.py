"""The report page: what it says, that it says it safely, and that it never breaks on missing numbers."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import matplotlib
import pytest
from helpers_report import CANDIDATES, EVIL, NAN, PATHS, SCRIPT, failed, plain, row, synthetic, whole

from limen.lab.records import EpochRow, LayerShape
from limen.lab.report.answer import answer
from limen.lab.report.contents import Contents
from limen.lab.report.page import render
from limen.lab.report.sites import sites, weight_table, winners
from limen.lab.report.verdict import notices, paragraph


@pytest.fixture(scope="module")
def study() -> Contents:
    return synthetic()


@pytest.fixture(scope="module")
def page(study: Contents) -> str:
    return render(study)


# --- the page ------------------------------------------------------------------------------------------------


@pytest.mark.drawn
def test_page_holds_every_part_of_the_study(study: Contents, page: str) -> None:
    reader = whole(page)
    for expected in (*study.activations, *PATHS, *CANDIDATES, *study.environment.values(), study.command):
        assert expected in reader.text
    for section in ("answer", "summary", "accuracy", "curves", "shapes", "weights", "runs", "made"):
        assert section in reader.values("id")
    assert "failures" not in reader.values("id")
    assert "Training loss" in reader.text
    assert "Validation accuracy (%)" in reader.text
    assert reader.values("class").count("plot") == 3 + 4 + len(study.activations) * len(PATHS)
    assert study.formulas["asau"] in reader.text
    assert "61\u202f706" in page


@pytest.mark.drawn
def test_summary_table_shows_the_rows(study: Contents, page: str) -> None:
    text = whole(page).text
    for summary in study.summary:
        assert f"{100 * summary.mean:.2f}" in text
        assert f"{100 * summary.low:.2f} to {100 * summary.high:.2f}" in text
    assert "+0.80 +0.20 to +1.40 0.031 ▲ better" in text
    assert "−1.20 −1.80 to −0.60 0.031 ▼ worse" in text
    assert "≈ no detectable difference" in text


@pytest.mark.drawn
def test_figures_say_in_words_what_they_show(page: str) -> None:
    labels = [value for tag, name, value in whole(page).attributes if tag == "svg" and name == "aria-label"]
    assert len(labels) == len(set(labels)) == 3 + 4 + 16
    assert any("asau" in label and "features.1.act" in label for label in labels)
    assert any("adact time 1.45×" in label for label in labels)


@pytest.mark.drawn
def test_figures_take_colours_and_font_from_the_page(page: str) -> None:
    drawings = "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))
    assert "currentColor" in drawings
    assert "var(--series-0)" in drawings
    assert not re.search(r"(fill|stroke): #", drawings)
    assert "font-family" not in drawings
    assert "DejaVu" not in page
    used = set(re.findall(r"var\((--[\w-]+)", SCRIPT.sub("", page)))
    assert used - {"--share"} <= set(re.findall(r"(--[\w-]+):", page))


@pytest.mark.drawn
def test_same_contents_same_page(study: Contents, page: str) -> None:
    before = matplotlib.rcParams.copy()
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "axes.grid": True}):
        assert render(study) == page
    assert matplotlib.rcParams.copy() == before


@pytest.mark.drawn
@pytest.mark.thorough
def test_page_is_small_with_eight_activations() -> None:
    names = ("relu", "asau", "ash", "adact", "apalu", "mish", "swish:beta=2", "silu")
    page = render(synthetic(names))
    whole(page)
    assert len(page.encode()) < 1_500_000


# --- the verdict ---------------------------------------------------------------------------------------------


def test_verdict_of_a_decided_study(study: Contents) -> None:
    text = plain(paragraph(study)).replace("\xa0", " ")
    assert text.startswith("asau is better than relu by 0.80 points of test accuracy")
    assert "(95 % interval 0.20 to 1.40, Holm-corrected p = 0.031)" in text
    assert "adact is worse than relu by 1.20 points" in text
    assert "(95 % interval 0.60 to 1.80," in text
    assert "No detectable difference from relu for ash ." in text
    assert "from 1.00 times torch.nn.ReLU’s time ( relu , the cheapest) to 1.45 times ( adact )" in text
    assert "failed" not in text
    assert notices(study) == []


def test_verdict_when_nothing_differs() -> None:
    text = plain(answer(synthetic(("relu", "ash", "mish"))))
    assert text == "Over 3 seeds, no activation differs detectably from relu in test accuracy."
    assert "better" not in text


def test_verdict_of_one_seed_tests_nothing() -> None:
    study = synthetic(seeds=(0,))
    text = plain(answer(study)) + plain(paragraph(study))
    assert text.startswith("With one seed nothing can be tested")
    assert "better" not in text
    assert "worse" not in text
    reader = whole(render(study))
    assert "? not tested: one seed" in reader.text
    assert "+0.80 –" in reader.text


def test_verdict_of_a_lone_activation() -> None:
    study = synthetic(("relu",))
    assert plain(answer(study)).startswith("Only relu was trained")
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


@pytest.mark.drawn
def test_difference_of_another_metric_is_no_percentage(study: Contents) -> None:
    rows = tuple(summary.model_copy(update={"metric": "test_mcc"}) for summary in study.summary)
    other = replace(study, summary=rows)
    assert "asau is better than relu by 0.0080 of test MCC" in plain(paragraph(other))
    assert "Test MCC by activation" in whole(render(other)).text


# --- what may be missing -------------------------------------------------------------------------------------


def test_failed_runs_are_listed(study: Contents) -> None:
    runs = (*study.runs[:-1], failed("adact", 2))
    rows = (*study.summary[:3], study.summary[3].model_copy(update={"runs": 2, "failed": 1}))
    text = whole(render(replace(study, runs=runs, summary=rows))).text
    assert "1 of 12 runs failed ( adact ) and is left out of the numbers." in text
    assert "The loss became NaN in epoch 3." in text.replace("the loss", "The loss")
    assert "1 failed" in text


@pytest.mark.drawn
def test_all_runs_failed() -> None:
    study = synthetic(("relu", "ash"))
    runs = tuple(failed(name, seed) for name in ("relu", "ash") for seed in range(3))
    rows = tuple(row(name, (), "every run failed", NAN) for name in ("relu", "ash"))
    reader = whole(render(replace(study, runs=runs, costs=(), summary=rows)))
    assert "Every run failed; there is no result to compare." in reader.text
    assert "plot" not in reader.values("class")


@pytest.mark.drawn
def test_nothing_was_recorded_yet(study: Contents) -> None:
    reader = whole(render(replace(study, runs=(), costs=(), summary=(), environment={}, command="")))
    assert "Nothing was run yet." in reader.text


@pytest.mark.drawn
def test_runs_without_curves_layers_or_costs(study: Contents) -> None:
    runs = tuple(run.model_copy(update={"curves": (), "layers": ()}) for run in study.runs)
    text = whole(render(replace(study, runs=runs, costs=()))).text
    assert "No finished run kept its epochs." in text
    assert "No finished run recorded the shapes of its layers." in text
    assert "The cost of a training step was not measured." in text


@pytest.mark.drawn
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


@pytest.mark.drawn
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
    assert "<img" not in page.replace(SCRIPT.search(page)[0], "")
    assert reader.text.count(EVIL) >= 8
    assert "$x^&lt;script&gt;" in "".join(re.findall(r"<text.*?</text>", page, re.DOTALL))


@pytest.mark.drawn
def test_undecodable_and_exotic_names_can_be_written() -> None:
    study = synthetic(("relu", "激活"))
    data = study.data.model_copy(update={"classes": ("caf\udce9",)})
    page = render(replace(study, data=data))
    assert "激活" in whole(page).text
    assert page.encode("utf-8")


@pytest.mark.drawn
def test_long_names_are_cut_in_figures_only() -> None:
    spec = "adact:candidates=" + ",".join(f"candidate{index}" for index in range(12))
    page = render(synthetic(("relu", spec)))
    drawn = re.findall(r"<text[^>]*>([^<]*)</text>", page)
    assert spec in whole(page).text
    named = [text for text in drawn if text.startswith("adact")]
    assert named
    assert max(map(len, named)) <= 24


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


@pytest.mark.drawn
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


@pytest.mark.drawn
@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_stand_out_from_their_background(page: str, scheme: int) -> None:
    block = page.split("@media screen and (prefers-color-scheme: dark)")[scheme]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
    lines = [name for name in colours if name.startswith(("series", "baseline"))]
    assert len(lines) == 9
    assert min(contrast(colours[name], colours["paper"]) for name in lines) >= 3  # WCAG 2.2, graphics
    for text in ("good", "bad", "warn"):
        assert contrast(colours[text], colours[f"{text}-tint"]) >= 4.5  # WCAG 2.2, text
    assert contrast(colours["muted"], colours["paper"]) >= 4.5
    assert contrast(colours["muted"], colours["tint"]) >= 4.5
