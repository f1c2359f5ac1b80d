"""Whether verdicts are true, and what they cost: simulated studies in which the truth is known.

    python benchmarks/evidence.py            simulates (some two minutes on one core), writes results/evidence.json
    python benchmarks/evidence.py --others   the same data through autorank and baycomp, which must be installed
    python benchmarks/evidence.py --page     docs/results/evidence.md and its plots, from these rows and stored ones

A study is a row of paired differences of two activations, in standard deviations where not said otherwise. It is looked
at after every seed from the second on, up to 30.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats
from stored_studies import ROWS, decided, plot_tuned, tuned

from limen.lab.metric import ACCURACY
from limen.lab.report.markdown import table
from limen.lab.statistics import LEVEL, fewest_seeds, interval, one_of_two, power, seeds_for, tost
from limen.lab.statistics.planning import seeds_for_equivalence
from limen.lab.statistics.sequential import anytime_p, log_wealth
from limen.lab.study import rows as stored_rows

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results/evidence.json"
PAGE, PLOT = ROOT / "docs/results/evidence.md", ROOT / "docs/results/evidence.svg"
ALPHA = 1 - LEVEL
STUDIES, SEEDS = 10_000, 30
EFFECTS, MARGINS = (0.25, 0.5, 1.0, 2.0), (0.5, 1.0, 2.0)
LONGEST = 400
"""Seeds until which a verdict is waited for."""

Array = NDArray[np.float64]


# --- data -----------------------------------------------------------------------------------------------------


def real_residuals() -> Array:
    """The differences of all stored comparisons by accuracy, each less its mean and over its deviation."""
    found: list[float] = []
    for study in stored_rows.find([ROWS]):
        settings, measure = study.study.settings, study.task.measure
        if measure != ACCURACY or settings.tune or settings.max_seeds is not None:
            continue
        by_seed = {
            name: {r.seed: r.metrics[measure.on_test] for r in study.runs if r.activation == name and r.metrics}
            for name in settings.activations
        }
        for name in settings.activations:
            pairs = sorted(by_seed[name].keys() & by_seed[settings.baseline].keys())
            apart = np.array([by_seed[name][seed] - by_seed[settings.baseline][seed] for seed in pairs])
            if name != settings.baseline and len(apart) > 2 and apart.std() > 0:
                found += list((apart - apart.mean()) / apart.std())
    return np.array(found)


def without_difference(random: np.random.Generator, studies: int, seeds: int) -> Iterator[tuple[str, Array]]:
    """Kinds of studies in which two activations do not differ in the mean."""
    shape = (studies, seeds)
    collapsed: Array = np.asarray(random.standard_normal(shape) + 0.4, dtype=np.float64)
    yield "normal", random.standard_normal(shape)
    yield "heavy tails (t, 3 degrees)", random.standard_t(3, shape)
    right = (random.binomial(359, 0.95, shape).astype(np.float64) for _ in range(2))
    accuracies: Array = (next(right) - next(right)).astype(np.float64)
    yield "accuracy on 359 images", accuracies
    changed = random.poisson(2, shape)
    few: Array = np.asarray(2.0 * random.binomial(changed, 0.5) - changed, dtype=np.float64)
    yield "two of 359 images change", few
    yield "one of two values", random.choice([-1.0, 1.0], shape)
    yield "stored rows, resampled", random.choice(real_residuals(), shape)
    collapsed[random.random(shape) < 0.05] -= 8.0
    yield "skewed: 1 of 20 runs collapses", collapsed


# --- methods that were considered -----------------------------------------------------------------------------


def bet(x: Array) -> Array:
    """Two-sided p after each seed: what limen uses."""
    found: Array = np.minimum(1.0, 2 * np.minimum(anytime_p(x), anytime_p(-x)))
    return found


def t_mixture(x: Array, variance: float = 1.0) -> Array:
    """The t test's e-process with a normal effect of this variance (Lai 1976; Wang and Ramdas 2025)."""
    n = np.arange(1, x.shape[-1] + 1)
    total, squares = np.cumsum(x, -1), np.cumsum(x * x, -1)
    left = np.maximum(squares - total**2 / (n + 1 / variance), 1e-300)
    log_e = -0.5 * np.log1p(n * variance) + n / 2 * (np.log(np.maximum(squares, 1e-300)) - np.log(left))
    return np.minimum(1.0, np.exp(-np.maximum.accumulate(log_e, -1)))


def signs_only(x: Array) -> Array:
    """A bet on signs whatever the size, the chance of a sign above 0 uniform."""
    above, n = np.cumsum(x > 0, -1), np.cumsum(x != 0, -1)
    log_e = special.betaln(above + 1, n - above + 1) + n * math.log(2)
    return np.minimum(1.0, np.exp(-np.maximum.accumulate(log_e, -1)))


def bounded(x: Array, deviation: float = 0.006) -> Array:
    """A bet on accuracies as numbers between -1 and 1 (Waudby-Smith and Ramdas 2024), of a usual deviation."""
    part = np.clip(x * deviation, -1, 1)
    bets = [np.cumsum(np.log1p(s * size * part), -1) for size in (0.1, 0.3, 0.9) for s in (-1, 1)]
    return np.minimum(1.0, np.exp(math.log(6) - np.maximum.accumulate(np.logaddexp.reduce(bets, axis=0), -1)))


def t_test(x: Array) -> Array:
    """Scipy's one-sample t test at each look, as if it were the only one."""
    n = np.arange(2, x.shape[-1] + 1)
    mean = np.cumsum(x, -1)[..., 1:] / n
    deviation = np.sqrt(np.maximum(np.cumsum(x * x, -1)[..., 1:] - n * mean**2, 0) / (n - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * stats.t.sf(np.abs(mean) * np.sqrt(n) / deviation, n - 1)
    p = np.where(deviation > 1e-9, p, 1.0)
    return np.concatenate([np.ones((*x.shape[:-1], 1)), p], -1)


def t_test_spent(x: Array) -> Array:
    """The same with its level divided by the looks that are planned."""
    return np.minimum(1.0, t_test(x) * (SEEDS - 1))


METHODS: dict[str, Callable[[Array], Array]] = {
    "limen: bet on signs and sizes": bet,
    "t test e-process": t_mixture,
    "bet on signs alone": signs_only,
    "bet on bounded differences": bounded,
    "t test, 5 % spent over 30 looks": t_test_spent,
    "t test, looking after every seed": t_test,
}


# --- measurements ---------------------------------------------------------------------------------------------


def false_verdicts(random: np.random.Generator) -> list[dict[str, Any]]:
    """In how many studies without a difference one was found by then, at any look."""
    found = []
    for kind, x in without_difference(random, STUDIES, SEEDS):
        for name, method in METHODS.items():
            ever = np.minimum.accumulate(method(x), -1) < ALPHA
            by_seed = [round(float(part), 4) for part in ever.mean(0)]
            found.append({"data": kind, "method": name, "studies": STUDIES, "by_seed": by_seed, "false": by_seed[-1]})
        if kind == "normal":
            check = [stats.ttest_1samp(row[:12], 0).pvalue for row in x[:50]]
            assert np.allclose(check, t_test(x[:50])[:, 11])
    return found


def several_activations(random: np.random.Generator) -> list[dict[str, Any]]:
    """Studies of four activations and a baseline: how many had any false verdict, of those that can be false."""
    studies, margin = 4000, 1.0
    found = []
    for said, centres in {
        "none differs": (0.0, 0.0, 0.0, 0.0),
        "all differ by the margin": (margin,) * 4,
        "two differ by the margin, two do not": (0.0, 0.0, margin, margin),
        "two differ by far, two do not": (0.0, 0.0, 4.0, 4.0),
    }.items():
        base = random.standard_normal((studies, 1, SEEDS)) / math.sqrt(2)
        x = random.standard_normal((studies, 4, SEEDS)) / math.sqrt(2) - base + np.array(centres)[:, None]
        p = bet(x)[..., -1]
        far = np.maximum(anytime_p(x + margin), anytime_p(margin - x))[..., -1]
        wrong = np.array([_any_false(p[row], far[row], centres, margin) for row in range(studies)])
        found.append({"truth": said, "design": "any time", "studies": studies, "false": float(wrong.mean())})
        p, far = t_test(x)[..., 9], _two_one_sided(x[..., :10], margin)
        wrong = np.array([_any_false(p[row], far[row], centres, margin) for row in range(studies)])
        found.append({"truth": said, "design": "fixed, 10 seeds", "studies": studies, "false": float(wrong.mean())})
    return found


def _any_false(p: Array, far: Array, centres: tuple[float, ...], margin: float) -> bool:
    of_zero, of_margin = one_of_two(list(p), list(far))
    zero = any(q < ALPHA for q, centre in zip(of_zero, centres, strict=True) if centre == 0)
    return zero or any(q < ALPHA for q, centre in zip(of_margin, centres, strict=True) if abs(centre) >= margin)


def _two_one_sided(x: Array, margin: float) -> Array:
    nearest = margin - np.abs(x.mean(-1))
    found: Array = stats.t.sf(nearest / stats.sem(x, axis=-1), x.shape[-1] - 1)
    assert math.isclose(found[0, 0], tost(list(x[0, 0]), margin))
    return found


def false_equivalence(random: np.random.Generator) -> list[dict[str, Any]]:
    """In how many studies whose difference is the margin itself equivalence was found, at any look up to 100 seeds."""
    shape, point = (4000, 100), 359 * 0.005
    changed = random.poisson(1, shape) - random.poisson(1 + point, shape)
    kinds = {
        "normal, margin 1 SD": (random.standard_normal(shape) - 1, 1.0),
        "heavy tails (t, 3 degrees), margin 1": (random.standard_t(3, shape) - 1, 1.0),
        "accuracy on 359 images, margin 0.5 points": (
            random.binomial(359, 0.95, shape) - random.binomial(359, 0.955, shape), point),
        "few of 359 images change, margin 0.5 points": (changed, point),
    }  # fmt: skip
    found = []
    for kind, (differences, margin) in kinds.items():
        x: Array = np.asarray(differences, dtype=np.float64)
        p = np.maximum(anytime_p(x + margin), anytime_p(margin - x))[:, -1]
        found.append({"data": kind, "studies": shape[0], "false": float((p < ALPHA).mean())})
    return found


def seeds_to_a_verdict(random: np.random.Generator) -> list[dict[str, Any]]:
    """How many seeds it takes to find a difference, and to find two equal activations equivalent."""
    found = []
    for comparisons in (1, 4):
        level = ALPHA / comparisons
        for effect in EFFECTS:
            x = random.standard_normal((2000, LONGEST)) + effect
            wins = log_wealth(x) >= math.log(2 / level)
            row = {"truth": f"{effect:g} SD apart", "comparisons": comparisons, **_waited(wins)}
            found.append({**row, "fixed": seeds_for(effect, 1.0, level)})
        for margin in MARGINS:
            x = random.standard_normal((2000, LONGEST))
            wins = np.maximum(anytime_p(x + margin), anytime_p(margin - x)) <= level
            row = {"truth": f"equal, margin {margin:g} SD", "comparisons": comparisons, **_waited(wins)}
            found.append({**row, "fixed": seeds_for_equivalence(margin, 1.0, level)})
    return found


def _waited(wins: NDArray[np.bool_]) -> dict[str, float]:
    first = np.where(wins.any(-1), wins.argmax(-1) + 1, LONGEST + 1)
    median, most = (float(np.quantile(first, part)) for part in (0.5, 0.8))
    within = float((first <= SEEDS).mean())
    return {"median": median, "four_of_five": most, "within_30": round(within, 3)}


def candidates(random: np.random.Generator) -> list[dict[str, Any]]:
    """Seeds until each method that was considered finds a difference of 1 SD, and of 2."""
    found = []
    for effect in (1.0, 2.0):
        x = random.standard_normal((2000, 100)) + effect
        for name, method in METHODS.items():
            if method is not t_test:
                wins = method(x[:, :SEEDS] if method is t_test_spent else x) < ALPHA
                found.append({"effect": effect, "method": name, **_waited(wins)})
    return found


def formulas(random: np.random.Generator) -> list[dict[str, Any]]:
    """Power, equivalence and intervals against simulation."""
    found = []
    for pairs, effect in ((3, 3.0), (5, 1.7), (10, 1.0)):
        x = random.standard_normal((40_000, pairs)) + effect
        simulated = float((stats.ttest_1samp(x, 0, axis=1).pvalue < ALPHA).mean())
        found.append({"what": f"power of {pairs} pairs at {effect:g} SD", "formula": power(effect, pairs, ALPHA),
                      "simulated": simulated})  # fmt: skip
    x = random.standard_normal((4000, 8)) + 1.0
    false = float(np.mean([tost(list(row), 1.0) < ALPHA for row in x]))
    found.append({"what": "equivalence found at the margin itself", "formula": ALPHA, "simulated": false})
    held = [interval(list(row)) for row in random.standard_normal((4000, 5))]
    inside = float(np.mean([one.low <= 0 <= one.high for one in held]))
    found.append({"what": "t intervals that hold the mean", "formula": LEVEL, "simulated": inside})
    return found


def others(random: np.random.Generator) -> list[dict[str, Any]]:
    """The same kinds of data through autorank and baycomp, looked at after 5, 10, … 30 seeds."""
    autorank, baycomp, pandas = map(import_module, ("autorank", "baycomp", "pandas"))

    looks, studies = range(5, SEEDS + 1, 5), 100
    found = []
    for kind, x in without_difference(random, studies, SEEDS):
        wrong = {"autorank": 0, "baycomp": 0, "limen: bet on signs and sizes": 0, "scipy's t test": 0}
        for row in x:
            base = random.standard_normal(SEEDS)
            said = {name: False for name in wrong}
            for n in looks:
                frame = pandas.DataFrame({"a": base[:n] + row[:n], "b": base[:n]})
                with warnings.catch_warnings(), contextlib.redirect_stdout(None):
                    warnings.simplefilter("ignore")
                    ranked = autorank.autorank(frame, alpha=ALPHA, verbose=False)
                    left, right = baycomp.two_on_single(base[:n] + row[:n], base[:n], rope=0)
                    said["scipy's t test"] |= bool(stats.ttest_1samp(row[:n], 0).pvalue < ALPHA)
                said["autorank"] |= bool(ranked.pvalue < ALPHA)
                said["baycomp"] |= max(left, right) > LEVEL
                said["limen: bet on signs and sizes"] |= bool(bet(row[:n])[-1] < ALPHA)
            for name, was_wrong in said.items():
                wrong[name] += was_wrong
        found += [{"data": kind, "method": name, "studies": studies, "false": count / studies}
                  for name, count in wrong.items()]  # fmt: skip
    return found


# --- the page -------------------------------------------------------------------------------------------------

EXPLANATION = """\
How often a verdict is false, and how many seeds it takes: simulated studies in which the truth is known. Made by
`python benchmarks/evidence.py` ([rows](../../benchmarks/results/evidence.json)); `--page` makes this page from them.

**What decides.** `--seeds auto` bets on the sign of each paired difference, with a stake that grows with its size. Its
assumption: differences are independent and symmetric about their centre. Two activations that do not differ can be
exchanged within each seed, so that under "no difference" it holds whatever the tails are and however few values an
accuracy has. Against a margin it is assumed of the shifted differences. Where differences are skewed, the verdict is
about their centre, the typical seed, and not about the mean: see the last row of the first table, where one run in
twenty collapses and the mean difference is 0, while the typical seed is better by 0.4 SD.
"""


def page(rows: dict[str, Any]) -> str:
    """The page of all rows."""
    lines = ["# Evidence: are verdicts true, and what do they cost?", "", *EXPLANATION.splitlines(), ""]
    lines += ["## False verdicts at any look", "", *_false_table(rows["false_verdicts"]), ""]
    lines += [f"Studies without a difference in the mean, {STUDIES:,} of each kind, looked at after every seed up to "
              f"{SEEDS}; the simulation's own error is 0.2 points.", ""]  # fmt: skip
    lines += ["![False verdicts against seeds looked at](evidence.svg)", ""]
    lines += ["## False equivalence at any look", ""]
    cells = [(row["data"], _percent(row["false"])) for row in rows["false_equivalence"]]
    lines += [*table(("data, differing by the margin", "found equivalent"), cells), ""]
    lines += ["4,000 studies of each kind, looked at after every seed up to 100.", ""]
    lines += ["## Seeds to a verdict", "", *_seeds_table(rows["seeds_to_a_verdict"]), ""]
    lines += ["Fixed: the seeds with which a study planned for exactly this difference finds it in 80 of 100 cases, "
              "which takes knowing it beforehand. Normal differences.", ""]  # fmt: skip
    lines += ["## Several activations", "", *_several_table(rows["several_activations"]), ""]
    lines += ["Any false verdict in a study of four activations against one baseline, margin 1 SD; by four times the "
              "margin is far.", ""]  # fmt: skip
    lines += ["## What else was considered", "", *_candidates_table(rows["candidates"]), ""]
    lines += ["The t test's e-process needs no fewer seeds, and finds differences that are none where they take two "
              "values. A bet on bounded differences uses nothing but that accuracies lie between 0 and 1, and with a "
              "hundred seeds has seen nothing.", ""]  # fmt: skip
    lines += decided()
    lines += tuned()
    lines += ["## Formulas against simulation", "", *_formula_table(rows["formulas"]), ""]
    if rows.get("others"):
        lines += ["## Other libraries, looked at after 5, 10, … 30 seeds", "", *_others_table(rows["others"]), ""]
        lines += [f"{rows['others'][0]['studies']} studies of each kind; autorank {rows['versions']['autorank']} (its "
                  f"p value below 5 %), baycomp {rows['versions']['baycomp']} (`two_on_single`, a probability above "
                  "95 %). Neither promises anything to who looks before the end; the "
                  "simulation's own error is 2 to 5 points.", ""]  # fmt: skip
    return "\n".join(lines).rstrip() + "\n"


def _percent(part: float) -> str:
    return f"{100 * part:.1f} %"


def _pivot(rows: list[dict[str, Any]], down: str, across: str) -> list[str]:
    names = list(dict.fromkeys(row[across] for row in rows))
    cells = {(row[down], row[across]): _percent(row["false"]) for row in rows}
    kinds = list(dict.fromkeys(row[down] for row in rows))
    return table((down, *names), [(kind, *(cells[kind, name] for name in names)) for kind in kinds])


def _false_table(rows: list[dict[str, Any]]) -> list[str]:
    return _pivot(rows, "data", "method")


def _others_table(rows: list[dict[str, Any]]) -> list[str]:
    return _pivot(rows, "data", "method")


def _several_table(rows: list[dict[str, Any]]) -> list[str]:
    return _pivot(rows, "truth", "design")


def _seeds_table(rows: list[dict[str, Any]]) -> list[str]:
    def waited(seeds: float) -> str:
        return f"{seeds:.0f}" if seeds <= LONGEST else f"over {LONGEST}"

    heading = ("truth", "comparisons", "median", "4 of 5 studies", "decided within 30", "fixed")
    return table(heading, [
        (r["truth"], str(r["comparisons"]), waited(r["median"]), waited(r["four_of_five"]),
         f"{100 * r['within_30']:.0f} %", str(r["fixed"])) for r in rows
    ])  # fmt: skip


def _candidates_table(rows: list[dict[str, Any]]) -> list[str]:
    names = list(dict.fromkeys(row["method"] for row in rows))
    found = {(row["method"], row["effect"]): row for row in rows}

    def cell(name: str, effect: float) -> str:
        row = found[name, effect]
        return f"{row['median']:.0f}, {row['four_of_five']:.0f}" if row["four_of_five"] <= LONGEST else "not within 100"

    return table(("method", "1 SD: median, 4 of 5", "2 SD: median, 4 of 5"),
                 [(name, cell(name, 1.0), cell(name, 2.0)) for name in names])  # fmt: skip


def _formula_table(rows: list[dict[str, Any]]) -> list[str]:
    cells = [(row["what"], _percent(row["formula"]), _percent(row["simulated"])) for row in rows]
    return table(("what", "formula", "simulated"), cells)


def plot(rows: dict[str, Any]) -> None:
    """False verdicts against seeds looked at: looking with a t test, and with limen's bet, on all kinds of data."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "limen"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 3.6))
    colours = {"t test, looking after every seed": "#b3432b", "limen: bet on signs and sizes": "#1f6f8b"}
    for row in rows["false_verdicts"]:
        if row["method"] in colours and not row["data"].startswith("skewed"):
            axes.plot(range(1, SEEDS + 1), [100 * part for part in row["by_seed"]], color=colours[row["method"]],
                      linewidth=1.3)  # fmt: skip
    axes.axhline(100 * ALPHA, color="#777777", linestyle=(0, (4, 3)), linewidth=1)
    for name, colour in colours.items():
        axes.plot([], [], color=colour, label=name)
    axes.legend(frameon=False)
    axes.set_xlabel("seeds, looked at after each")
    axes.set_ylabel("studies with a false verdict (%)")
    axes.set_ylim(0)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(PLOT, metadata={"Date": None})


def main() -> None:
    """Simulate, or make the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--others", action="store_true", help="add autorank and baycomp")
    parser.add_argument("--page", action="store_true", help="only the page, from stored rows")
    asked = parser.parse_args()
    rows: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if asked.others:
        from importlib.metadata import version

        rows["others"] = others(np.random.default_rng(9))
        rows["versions"] = {name: version(name) for name in ("autorank", "baycomp")}
    elif not asked.page:
        began = time.perf_counter()
        measured = (false_verdicts, several_activations, seeds_to_a_verdict, candidates, formulas, false_equivalence)
        for number, measure in enumerate(measured):
            rows[measure.__name__] = measure(np.random.default_rng(number))
            print(f"{measure.__name__}: {time.perf_counter() - began:.0f} s", file=sys.stderr)
        rows["fewest"] = {str(k): fewest_seeds(ALPHA / k, two_sided=True) for k in (1, 2, 4)}
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    PAGE.write_text(page(rows))
    plot(rows)
    plot_tuned()
    print(f"Page: {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
