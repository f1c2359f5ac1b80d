"""``limen claims``: the papers' claims, rows kept without paths, a verdict for each claim."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from helpers_lab import Command, command
from helpers_papers import RECIPE, written

from limen.errors import SpecError, StudyError
from limen.lab.metric import EPOCHS
from limen.lab.papers import ledger as ledgers
from limen.lab.papers import recipe as recipes
from limen.lab.papers.ledger import claim as claims
from limen.lab.papers.ledger import formulas, page
from limen.lab.papers.ledger.judging import CONFIRMED, CONTRADICTED, NOT_TESTED, OPEN, Entry
from limen.lab.papers.ledger.measuring import Pair, epochs_to_reach
from limen.lab.records import DataFacts, EpochRow, RunRecord
from limen.lab.settings import StudySettings
from limen.lab.study import rows as stored
from limen.lab.study.rows import Rows
from limen.lab.study.study import Study
from limen.selection import Choice, Observation, Plan

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "docs" / "results"
LEDGER = ledgers.load()
PAPERS = {"adact": LEDGER.papers["adact"]}
FACTS = DataFacts(name="d", classes=(), image_shape=(1,), train=9, validation=1, test=5, fingerprint="0")
CIFAR = "adact-table1-cifar10"
REGRESSION = "apalu-regression-boston"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return command(monkeypatch, capsys)


# The ledger itself


def test_every_claim_can_be_tested_as_it_says():
    for claim in LEDGER.claims:
        if claim.kind == "formula":
            assert claim.check in formulas.CHECKS
        if claim.recipe:
            settings = recipes.load(claim.recipe).study_settings(data="somewhere", full=True)
            trained = set(settings.activations)
            assert claim.one in {*trained, ""}, claim.id
            # Of "the best of nine" the recipe may have some; the verdict then says which are missing.
            assert (
                set(claim.than) & trained
                if claim.kind == "best"
                else claim.kind == "convergence" or (set(claim.than) <= trained)
            ), claim.id


def test_every_recipe_that_a_claim_names_is_there():
    assert [name for name in LEDGER.recipes if name not in recipes.names()] == []


def test_every_published_number_is_a_claim():
    """The rows of a table that a recipe tests, and what was said about layers."""
    for name in recipes.names():
        recipe = recipes.load(name)
        mine = [claim for claim in LEDGER.claims if claim.recipe == name]
        assert mine, f"no claim names the recipe {name}"
        layers = {(layer, claim.extreme) for claim in mine for layer in claim.layers if claim.kind == "layer"}
        assert layers == {(int(row["layer"]), row["claim"]) for row in recipe.published_layers()}, name


@pytest.mark.parametrize("name", formulas.CHECKS)
def test_every_check_is_some_claims(name: str):
    assert name in {claim.check for claim in LEDGER.claims}


def test_checks_see_what_is_wrong():
    assert not formulas.check("apalu-differentiable").holds
    assert not formulas.check("ash-equation-11").holds
    assert formulas.check("ash-keeps-the-percentile").holds
    with pytest.raises(SpecError, match="Did you mean 'apalu-monotone'"):
        formulas.check("apalu-monoton")


BROKEN = {
    "two claims are called 'one'": ('id = "two"', 'id = "one"'),
    "the paper 'nobody' is not one of": ('paper = "adact"', 'paper = "nobody"'),
    "two: value error, a claim of kind 'order' needs than": ('than = ["relu"]\nid = "two"', 'id = "two"'),
    "two.kind": ('kind = "order"\nthan = ["relu"]\nid = "two"', 'kind = "guess"\nthan = ["relu"]\nid = "two"'),
    "two.extra": ('id = "two"', 'id = "two"\nextra = 1'),
    "compared with itself": ('than = ["relu"]\nid = "two"', 'than = ["adact"]\nid = "two"'),
    "are not TOML": ("[[claims]]", "[[claims"),
}


@pytest.mark.parametrize("sentence", BROKEN)
def test_a_broken_ledger_is_one_sentence(sentence: str, tmp_path: Path):
    claim = '[[claims]]\npaper = "adact"\nwords = "w"\nsource = "s"\nrecipe = "r"\none = "adact"\nkind = "order"\n'
    claim += 'than = ["relu"]\n'
    text = '[papers.adact]\ntitle = "t"\nsource = "s"\nknown = "k"\n'
    text += claim + 'id = "one"\n' + claim + 'id = "two"\n'
    path = tmp_path / "claims.toml"
    path.write_text(text)
    assert len(claims.load(path).claims) == 2
    path.write_text(text.replace(*BROKEN[sentence], 1))
    with pytest.raises(SpecError, match=re.escape(sentence)):
        claims.load(path)


# Verdicts


def record(activation: str, seed: int, losses: tuple[float, ...] = (), **metrics: float) -> RunRecord:
    curves = tuple(
        EpochRow(epoch=n, train_loss=0, train_score=0, heldout_loss=loss, heldout_score=0)
        for n, loss in enumerate(losses, start=1)
    )
    return RunRecord(
        activation=activation, seed=seed, status="finished", epochs=len(losses), metrics=metrics, seconds=1,
        ms_per_step=1, peak_memory_mb=1, parameters=1, activation_parameters=0, curves=curves,
    )  # fmt: skip


def study(recipe: str, *, quick: bool = False) -> Study:
    task = recipes.load(recipe).task
    settings = StudySettings(task=task, data="d", activations=("relu",), baseline="relu", seeds=(0, 1, 2))
    return Study(settings=settings, data=FACTS, environment={}, recipe=recipe, quick=quick)


def rows(recipe: str, runs: list[RunRecord], *, quick: bool = False, plan: Plan | None = None) -> Rows:
    return Rows(Path("rows") / recipe, study(recipe, quick=quick), tuple(runs), plan)


def judged(studies: list[Rows], **fields: object) -> Entry:
    given = {"id": "one", "paper": "adact", "words": "w", "source": "s", **fields}
    ledger = ledgers.Ledger(papers=PAPERS, claims=(ledgers.Claim(**given),))
    (entry,) = ledgers.judge(ledger, studies)
    return entry


def scores(metric: str, **by_network: list[float]) -> list[RunRecord]:
    return [
        record(name, seed, **{f"test_{metric}": value, f"best_test_{metric}": value + 0.01})
        for name, values in by_network.items()
        for seed, value in enumerate(values)
    ]


ORDER = {"kind": "order", "recipe": CIFAR, "one": "adact", "than": ("relu",)}
LOW, HIGH, WIDE = [0.60, 0.61, 0.62], [0.650, 0.661, 0.673], [0.55, 0.70, 0.60]


def test_verdicts_on_an_order():
    assert judged([rows(CIFAR, scores("accuracy", relu=LOW, adact=HIGH))], **ORDER).verdict == CONFIRMED
    assert judged([rows(CIFAR, scores("accuracy", relu=HIGH, adact=LOW))], **ORDER).verdict == CONTRADICTED
    entry = judged([rows(CIFAR, scores("accuracy", relu=LOW, adact=WIDE))], **ORDER)
    assert (entry.verdict, entry.verdict_as_the_paper, entry.seeds) == (OPEN, OPEN, 3)
    assert entry.published == "76.6 against 75.9: +0.7"
    assert entry.honest.startswith("61.67 against 61.00: +0.67 (")
    assert entry.as_the_paper.startswith("62.67 against 62.00: +0.67 (")
    assert entry.scale == "convnet, d: 10 training and 5 test images; the paper: CIFAR10, 50,000 and 10,000"


def test_a_scaled_form_is_said_unless_the_papers_own_was_run():
    said = []
    for full in (False, True):
        settings = recipes.load("ash-table2-resnet").study_settings(full=full)
        there = Rows(Path("rows"), study("ash-table2-resnet").model_copy(update={"settings": settings}), (), None)
        said.append(judged([there], kind="order", recipe="ash-table2-resnet", one="ash", than=("relu",)).scale)
    assert [", scaled, " in one for one in said] == [True, False]


def test_only_studies_that_decided_something_are_named():
    full = rows(CIFAR, scores("accuracy", relu=LOW, adact=HIGH))
    quick = rows(CIFAR, scores("accuracy", relu=LOW, adact=HIGH), quick=True)
    other = rows(REGRESSION, scores("rmse", relu=LOW, apalu=HIGH))
    claim = ledgers.Claim(id="one", paper="adact", words="w", source="s", **ORDER)
    ledger = ledgers.Ledger(papers=PAPERS, claims=(claim,))
    text = page.markdown(ledger, ledgers.judge(ledger, [full, other]), [full, other])
    assert text.partition("## The runs")[2].count(f"| `{CIFAR}` | 6 |") == 1
    assert REGRESSION not in text
    assert "## The runs" not in page.markdown(ledger, ledgers.judge(ledger, [quick]), [quick])
    entries = ledgers.judge(ledger, [full, quick])
    assert page.markdown(ledger, entries, [full, quick]).count(f"| `{CIFAR}` | 6 |") == 1


def test_no_verdict_without_rows():
    assert judged([], **ORDER).verdict == NOT_TESTED
    assert judged([], **ORDER, why="so it is read").why == f"the recipe {CIFAR} has not been run; so it is read"
    confirmed = scores("accuracy", relu=LOW, adact=HIGH)
    quick = judged([rows(CIFAR, confirmed, quick=True)], **ORDER)
    assert (quick.verdict, quick.honest) == (NOT_TESTED, "")
    assert quick.why == f"of the recipe {CIFAR} there is only a quick run"
    full = rows(CIFAR, confirmed)
    assert judged([rows(CIFAR, confirmed, quick=True), full], **ORDER).verdict == CONFIRMED
    assert judged([full, rows(CIFAR, confirmed, quick=True)], **ORDER).verdict == CONFIRMED
    with pytest.raises(StudyError, match="name the one that decides"):
        judged([full, full], **ORDER)
    one = judged([rows(CIFAR, scores("accuracy", relu=LOW[:1], adact=HIGH[:1]))], **ORDER)
    assert (one.verdict, one.why) == (NOT_TESTED, "fewer than 2 seeds of both adact and relu are stored")
    assert judged([full], **{**ORDER, "recipe": "none-such"}).why == "there is no recipe none-such"
    untested = judged([full], kind="untested", why="no data")
    assert (untested.verdict, untested.why) == (NOT_TESTED, "no data")


def test_less_is_better_where_the_measure_says_so():
    order = {"kind": "order", "recipe": REGRESSION, "one": "apalu", "than": ("relu",)}
    entry = judged([rows(REGRESSION, scores("rmse", relu=HIGH, apalu=LOW))], **order)
    assert entry.verdict == CONFIRMED
    assert entry.honest.startswith("0.6100 against 0.6613: −0.0513 (−0.")
    assert judged([rows(REGRESSION, scores("rmse", relu=LOW, apalu=HIGH))], **order).verdict == CONTRADICTED


def test_another_metric_has_no_number_as_the_paper():
    runs = [
        record(r.activation, r.seed, test_f1=r.metrics["test_accuracy"])
        for r in scores("accuracy", relu=LOW, adact=HIGH)
    ]
    entry = judged([rows(CIFAR, runs)], **ORDER, metric="f1", published="+1 %")
    assert (entry.verdict, entry.as_the_paper, entry.verdict_as_the_paper) == (CONFIRMED, "", "")
    assert entry.published == "+1 %"


def test_best_of_several():
    best = {**ORDER, "kind": "best", "than": ("relu", "optimized")}
    assert judged([rows(CIFAR, scores("accuracy", relu=LOW, optimized=LOW, adact=HIGH))], **best).verdict == CONFIRMED
    entry = judged([rows(CIFAR, scores("accuracy", relu=WIDE, optimized=LOW, adact=HIGH))], **best)
    assert entry.verdict == OPEN
    assert entry.honest.startswith("least ahead of relu, ")
    above = [0.750, 0.763, 0.771]
    assert (
        judged([rows(CIFAR, scores("accuracy", relu=above, optimized=LOW, adact=HIGH))], **best).verdict == CONTRADICTED
    )
    entry = judged([rows(CIFAR, scores("accuracy", relu=LOW, adact=HIGH))], **best)
    assert (entry.verdict, entry.why) == (NOT_TESTED, "not compared with optimized over 2 seeds or more")


def test_holm_runs_over_the_comparisons_of_a_recipe():
    """A difference that is detected alone is not, beside nine others that are tested with it."""
    near = [0.6060, 0.6200, 0.6330]
    runs = scores("accuracy", relu=LOW, adact=near, **{f"elu:alpha={n}": WIDE for n in range(2, 11)})
    assert judged([rows(CIFAR, runs)], **ORDER).verdict == CONFIRMED
    others = [
        ledgers.Claim(id=f"x{n}", paper="adact", words="w", source="s", **{**ORDER, "than": (f"elu:alpha={n}",)})
        for n in range(2, 11)
    ]
    one = ledgers.Claim(id="one", paper="adact", words="w", source="s", **ORDER)
    first, *_ = ledgers.judge(ledgers.Ledger(papers=PAPERS, claims=(one, *others)), [rows(CIFAR, runs)])
    assert first.verdict == OPEN


def test_reaching_a_value():
    value = {"kind": "value", "recipe": CIFAR, "one": "adact", "at_least": 0.6}
    assert judged([rows(CIFAR, scores("accuracy", adact=HIGH))], **value).verdict == CONFIRMED
    assert judged([rows(CIFAR, scores("accuracy", adact=WIDE))], **value).verdict == OPEN
    assert judged([rows(CIFAR, scores("accuracy", adact=[0.5, 0.51, 0.52]))], **value).verdict == CONTRADICTED
    assert judged([rows(CIFAR, scores("accuracy", adact=[0.9]))], **value).verdict == NOT_TESTED


def test_epochs_to_the_loss_that_both_reach():
    slow, fast = (0.9, 0.8, 0.7, 0.6), (0.8, 0.6, 0.5, 0.55)
    runs = [record("relu", 0, slow), record("adact", 0, fast), record("adact", 1, fast)]
    assert epochs_to_reach(runs, Pair("adact", "relu", EPOCHS)) == ({0: 2.0}, {0: 4.0})
    curves = {"relu": [slow, (0.9, 0.8, 0.7, 0.69, 0.5), (0.9, 0.9, 0.9, 0.7, 0.6)], "adact": [fast, fast, fast]}
    runs = [record(name, seed, losses) for name, many in curves.items() for seed, losses in enumerate(many)]
    claim = {**ORDER, "kind": "convergence"}
    entry = judged([rows(CIFAR, runs)], **claim)
    assert entry.verdict == CONFIRMED
    assert entry.honest.startswith("2.3 against 4.7 epochs: -2.3 (-3.8 to -0.9)")
    assert judged([rows(CIFAR, runs)], **{**claim, "one": "relu", "than": ("adact",)}).verdict == CONTRADICTED


def test_a_loss_that_is_no_number_reaches_nothing():
    nan = float("nan")
    runs = [record("relu", 0, (nan, 0.6)), record("adact", 0, (0.5, 0.4)), record("adact", 1, (nan, nan))]
    assert epochs_to_reach(runs, Pair("adact", "relu", EPOCHS)) == ({0: 1.0}, {0: 2.0})


def test_what_is_less_is_better_of_every_task():
    """Of a distance of images, the smaller one is the better."""
    order = {"kind": "order", "recipe": "ash-generation-fmnist", "one": "ash", "than": ("relu",)}
    entry = judged([rows("ash-generation-fmnist", scores("small_fid", relu=HIGH, ash=LOW))], **order)
    assert entry.verdict == CONFIRMED


def test_segmentation_of_scenes_is_judged_by_the_papers_measure():
    mine = [c for c in LEDGER.claims if c.recipe.startswith(("ash-table6", "ash-table7")) and c.kind != "convergence"]
    assert {claim.metric for claim in mine} == {"miou"}


def test_differences_without_a_spread_are_no_test():
    """A constant difference, or one that is not finite, has no p value."""
    shifted = [value + 0.05 for value in LOW]
    entry = judged([rows(CIFAR, scores("accuracy", relu=LOW, adact=shifted))], **ORDER)
    assert (entry.verdict, entry.why) == (
        NOT_TESTED, "the differences from relu are the same for every seed, or no numbers",
    )  # fmt: skip
    assert judged([rows(CIFAR, scores("accuracy", relu=LOW, adact=[0.6, float("nan"), 0.7]))], **ORDER).why == entry.why
    assert judged([rows(CIFAR, scores("accuracy", relu=LOW, adact=LOW))], **ORDER).verdict == OPEN


def test_seeds_that_are_missing_are_said():
    entry = judged([rows(CIFAR, scores("accuracy", relu=LOW, adact=HIGH[:2]))], **ORDER)
    assert (entry.seeds, entry.why) == (2, "2 of 3 seeds are finished")
    assert judged([rows(CIFAR, scores("accuracy", relu=LOW, adact=HIGH))], **ORDER).why == ""


def plan(*layers: dict[str, float]) -> Plan:
    def choice(index: int, weights: dict[str, float]) -> Choice:
        seeds = tuple(
            Observation(
                {n: w + (e if n == "relu" else 0) for n, w in weights.items()}, dict.fromkeys(weights, 0.0), {}, {}
            )
            for e in (0.0, 0.001, 0.002)
        )
        return Choice(f"layer{index}", max(weights, key=lambda n: weights[n]), "relu", seeds, {n: n for n in weights})

    return Plan(tuple(choice(index, weights) for index, weights in enumerate(layers)))


def test_verdicts_on_weights():
    early = {"mish": 0.2, "elu": 0.1, "relu": 0.5, "silu": 0.2}
    late = {"mish": 0.5, "elu": 0.2, "relu": 0.2, "silu": 0.1}
    found = rows(CIFAR, [], plan=plan(early, early, late, late))
    layer = {"kind": "layer", "recipe": CIFAR, "extreme": "largest", "words": ""}
    entry = judged([found], **layer, layers=(1,))
    assert (entry.verdict, entry.claim.words) == (CONTRADICTED, "Mish leads in the initial layers")
    assert judged([found], **layer, layers=(3,)).verdict == CONTRADICTED  # the paper names ELU
    share = {"kind": "share", "recipe": CIFAR, "layers": (3, 4)}
    assert judged([found], **share, candidates=("relu", "elu")).verdict == CONFIRMED
    assert judged([found], **share, candidates=("mish", "elu")).verdict == CONTRADICTED
    more = {**share, "extreme": "largest"}
    assert judged([found], **more, candidates=("relu", "elu")).verdict == CONTRADICTED
    assert judged([found], **more, candidates=("mish",)).verdict == CONFIRMED
    depth = {"kind": "depth", "recipe": CIFAR, "layers": (1, 4)}
    assert judged([found], **depth, candidates=("relu",)).verdict == CONTRADICTED
    assert judged([found], **depth, candidates=("mish",)).verdict == CONFIRMED
    assert judged([rows(CIFAR, [])], **depth, candidates=("relu",)).why == "no weights are stored"


def test_the_candidate_farthest_from_the_claim_decides():
    """By hand: relu's weights are 0, 0.001 and 0.002 above those given, t(0.975; 2) · 0.001 / √3 = 0.0025."""
    late = {"mish": 0.5, "elu": 0.12, "relu": 0.2, "silu": 0.18}
    early = {"mish": 0.4, "elu": 0.1, "relu": 0.3, "silu": 0.2}
    found = rows(CIFAR, [], plan=plan(early, late, late, late))
    share = {"kind": "share", "recipe": CIFAR, "layers": (1, 4), "candidates": ("mish", "relu", "silu")}
    entry = judged([found], **share, extreme="largest")
    assert (entry.verdict, entry.seeds) == (CONTRADICTED, 3)
    assert entry.honest == "the least of them weighs 0.180 (0.180 to 0.180), an equal share is 0.250"
    entry = judged([found], **share)
    assert (entry.verdict, entry.seeds) == (CONTRADICTED, 3)
    assert entry.honest == "the largest of them weighs 0.500 (0.500 to 0.500), an equal share is 0.250"
    entry = judged([found], **{**share, "candidates": ("relu", "elu")})
    assert entry.honest == "the largest of them weighs 0.301 (0.299 to 0.303), an equal share is 0.250"
    depth = {"kind": "depth", "recipe": CIFAR, "layers": (1, 4)}
    entry = judged([found], **depth, candidates=("relu",))
    assert entry.honest == "relu from 0.301 to 0.201: -0.100 (-0.100 to -0.100)"
    between = rows(CIFAR, [], plan=plan(early, {**late, "relu": 0.25}, late))
    entry = judged([between], **{**depth, "layers": (1, 2, 3)}, candidates=("relu",))
    assert entry.honest == "relu from 0.301 to 0.201: -0.100 (-0.100 to -0.100)"
    layer = {"kind": "layer", "recipe": CIFAR, "extreme": "largest", "words": "", "layers": (1,)}
    entry = judged([found], **layer)
    assert (entry.verdict, entry.seeds) == (CONFIRMED, 3)
    assert entry.honest == "largest mish (0.400, 3 of 3 seeds); lead of the named +0.0990 (+0.0965 to +0.1015)"


def test_a_lead_is_that_of_the_best_named_over_the_best_other():
    """Of the least, that of the lightest named under the lightest other; relu's weight is 0.001 more in the mean."""
    weights = {"mish": 0.3, "elu": 0.2, "relu": 0.25, "silu": 0.1, "rrelu": 0.05, "leaky_relu": 0.07}
    many = plan(weights, weights, weights, weights)
    svhn, fmnist = (rows(f"adact-table1-{name}", [], plan=many) for name in ("svhn", "fmnist"))
    layer = {"kind": "layer", "words": "", "layers": (3,)}
    found = judged([svhn], **layer, recipe="adact-table1-svhn", extreme="largest")
    assert found.honest == "largest mish (0.300, 3 of 3 seeds); lead of the named +0.0490 (+0.0465 to +0.0515)"
    assert found.verdict == CONFIRMED
    found = judged([fmnist], **layer, recipe="adact-table1-fmnist", extreme="least")
    assert found.honest == "largest mish (0.300, 3 of 3 seeds); lead of the named +0.0200 (+0.0200 to +0.0200)"
    assert found.verdict == CONFIRMED


# Rows


def test_rows_come_back_as_they_were_and_name_no_place(run: Command, tmp_path: Path):
    out, home = tmp_path / "study", tmp_path / "rows"
    recipe = written(tmp_path, RECIPE.replace('layers = "layers.csv"\n', ""))
    assert run("reproduce", recipe, "--out", out).code == 0
    outcome = run("report", out, "--store", home, "--markdown", tmp_path / "page.md", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json == {"rows": [str(home / "tiny")], "page": [str(tmp_path / "page.md")]}
    folder = home / "tiny"
    assert {path.name for path in folder.iterdir()} == {
        "study.json", "runs.csv", "curves.csv", "cost.csv", "plan.json",
    }  # fmt: skip
    for path in folder.iterdir():
        assert str(tmp_path) not in path.read_text()
    before, after = stored.read(out), stored.read(folder)
    assert after.plan == before.plan
    assert [row.activation for row in after.costs] == [row.activation for row in before.costs] != []
    assert [row.ratio for row in after.costs] == pytest.approx([row.ratio for row in before.costs], rel=1e-5)
    assert after.recipe == before.recipe == "tiny"
    assert after.study.data == before.study.data
    for one, other in zip(before.runs, after.runs, strict=True):
        assert (one.activation, one.seed, one.status, one.metrics) == (
            other.activation, other.seed, other.status, other.metrics,
        )  # fmt: skip
        assert [r.heldout_loss for r in other.curves] == pytest.approx([r.heldout_loss for r in one.curves], rel=1e-5)
    assert stored.keep(after, tmp_path / "again") == tmp_path / "again" / "tiny"
    for path in folder.iterdir():
        assert (tmp_path / "again" / "tiny" / path.name).read_text() == path.read_text()
    runs = folder / "runs.csv"
    runs.write_text(runs.read_text().replace("finished", "begun", 1))
    assert "runs.csv, line 2: status:" in run("claims", folder).sentence
    runs.write_text("activation,seed\nrelu\n")
    assert "not as many cells" in run("claims", folder).sentence
    assert "stored rows of a study" in run("report", folder).sentence
    runs.write_bytes(b"\xff\xfe\x00")
    assert "runs.csv is not a CSV file in UTF-8" in run("claims", folder).sentence


def test_the_command(run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    outcome = run("claims", RESULTS / "rows", "--json")
    assert outcome.code == 0, outcome.err
    assert len(outcome.json["claims"]) == len(LEDGER.claims) == sum(outcome.json["counts"].values())
    by_id = {row["id"]: row for row in outcome.json["claims"]}
    assert by_id["adact-cifar10-layer3-largest"]["verdict"] == CONTRADICTED
    assert by_id["adact-cifar10-adact-relu"]["paper"] == "adact"
    assert by_id["adact-cifar10-adact-relu"]["verdict_as_the_paper"] == OPEN
    assert all(row["why"] for row in by_id.values() if row["verdict"] == NOT_TESTED)
    assert not any(row["honest"] for row in by_id.values() if row["kind"] == "untested")
    one = run("claims", RESULTS / "rows", "--paper", "asau")
    assert "claims: " in one.out
    assert "AdAct" not in one.out
    assert "no paper is called 'asua'" in run("claims", RESULTS / "rows", "--paper", "asua").sentence
    assert "there is no folder" in run("claims", tmp_path / "none").sentence
    assert "holds no study" in run("claims", tmp_path).sentence
    monkeypatch.chdir(tmp_path)
    assert "there is neither" in run("claims").sentence


def test_the_stored_page_is_that_of_the_stored_rows():
    studies = stored.find([RESULTS / "rows"])
    made = page.markdown(LEDGER, ledgers.judge(LEDGER, studies), studies).splitlines()
    kept = (RESULTS / "claims.md").read_text(encoding="utf-8").splitlines()
    computed = "| the formula |"  # its last digits are the processor's
    assert [line for line in made if computed not in line] == [line for line in kept if computed not in line], (
        "make the page anew: limen claims --markdown docs/results/claims.md"
    )


def test_stored_rows_name_no_machine():
    for path in (RESULTS / "rows").rglob("*.*"):
        assert not re.search(r"(/tmp|/home|/work|/root|[A-Z]:\\)", path.read_text(encoding="utf-8")), path
    with (RESULTS / "rows" / CIFAR / "curves.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 9 * 15
