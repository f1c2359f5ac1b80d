"""Whether the intervals of suites hold what they say: simulated suites in which the truth is known.

    python benchmarks/suites.py          simulates (some seconds), writes results/suites.json
    python benchmarks/suites.py --page   the table of docs/suites.md, from these rows

Every row says how often a 95 % interval held the truth, over 2,000 suites.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from limen.lab.report.markdown import table
from limen.lab.statistics import Course, Interval, beside, interval, relative_changes, stratified, superiority, training

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results/suites.json"
PAGE = ROOT / "docs/suites.md"
SUITES, DRAWS = 2_000, 400
SEEDS = (3, 5, 10)
PROBLEMS = 5
MARKS = ("<!-- coverage -->", "<!-- end of coverage -->")

Array = NDArray[np.float64]
Pairs = list[tuple[Array, Array]]
"""By problem the errors of the baseline and of an activation, by seed."""


# --- suites of which the truth is known ---------------------------------------------------------------------------

TRUE = -0.1
"""A tenth less error, on every problem."""
SPREADS = (0.05, 0.1, 0.15, 0.2, 0.3)
"""Of errors over seeds, as parts of the baseline's, a problem each."""
IMAGES = (359, 1000, 2000, 500, 10_000)


def normal(random: np.random.Generator, seeds: int) -> Pairs:
    """Errors with normal noise, half of which the two share."""
    found = []
    for spread in SPREADS:
        shared, one, other = (spread * random.standard_normal(seeds) / math.sqrt(2) for _ in range(3))
        found.append((1 + shared + one, (1 + TRUE) * (1 + shared + other)))
    return found


def heavy(random: np.random.Generator, seeds: int) -> Pairs:
    """The same with heavy tails: Student's t of three degrees of freedom."""
    scale = [spread / math.sqrt(3) for spread in SPREADS]
    drawn = [(s * random.standard_t(3, seeds), s * random.standard_t(3, seeds)) for s in scale]
    return [(1 + one, (1 + TRUE) * (1 + other)) for one, other in drawn]


def counted(random: np.random.Generator, seeds: int) -> Pairs:
    """The errors of accuracies on so many images, of which one in ten is wrong."""
    return [
        (random.binomial(images, 0.1, seeds) / images, random.binomial(images, 0.1 * (1 + TRUE), seeds) / images)
        for images in IMAGES
    ]


KINDS: dict[str, Callable[[np.random.Generator, int], Pairs]] = {
    "normal": normal,
    "heavy tails": heavy,
    "accuracy on 359 to 10,000 images": counted,
}


# --- intervals ----------------------------------------------------------------------------------------------------


def by_t(pairs: Pairs, random: np.random.Generator) -> Interval:
    """Ours for these problems."""
    found = [relative_changes(list(mine), list(theirs)) for theirs, mine in pairs]
    known = [changes for changes in found if changes is not None]
    # With heavy tails a mean error below 0 is drawn now and then, which no error can be: held by none.
    return stratified(known).found if len(known) == len(found) else Interval(math.nan, math.nan, math.nan)


def by_bootstrap(pairs: Pairs, random: np.random.Generator) -> Interval:
    """The stratified percentile bootstrap, of seeds within problems."""
    total = np.zeros(DRAWS)
    for theirs, mine in pairs:
        drawn = random.integers(0, len(mine), (DRAWS, len(mine)))
        total += mine[drawn].mean(1) / theirs[drawn].mean(1) - 1
    low, high = np.quantile(total / len(pairs), (0.025, 0.975))
    return Interval(float(np.mean(total)) / len(pairs), float(low), float(high))


def changes_held() -> Iterator[dict[str, object]]:
    """How often the mean change of the error lies in its interval."""
    for kind, draw in KINDS.items():
        for seeds in SEEDS:
            random = np.random.default_rng([len(kind), seeds])
            suites = [draw(random, seeds) for _ in range(SUITES)]
            for name, found in (("t within problems", by_t), ("stratified bootstrap", by_bootstrap)):
                yield _row("change of the error", kind, seeds, name, [found(one, random) for one in suites], TRUE)


def like_held() -> Iterator[dict[str, object]]:
    """The same for problems like these, whose true changes differ by 5 %."""
    for seeds in SEEDS:
        random = np.random.default_rng(seeds)
        found = []
        for _ in range(SUITES):
            shifted = [(theirs, mine + 0.05 * random.standard_normal()) for theirs, mine in normal(random, seeds)]
            found.append(interval([float(mine.mean() / theirs.mean() - 1) for theirs, mine in shifted]))
        yield _row("change, problems like these", "normal", seeds, "t over problems", found, TRUE)


def superiority_held() -> Iterator[dict[str, object]]:
    """How often the chance to be better lies in its interval, which differs between problems."""
    chances = np.array([0.5, 0.6, 0.7, 0.9, 0.95])
    for ties in (0.0, 0.2):
        for seeds in SEEDS:
            random = np.random.default_rng([seeds, int(10 * ties)])
            found = []
            for _ in range(SUITES):
                signs = np.where(random.random((seeds, PROBLEMS)) < chances, 1.0, -1.0)
                signs[random.random(signs.shape) < ties] = 0.0
                found.append(superiority([list(column) for column in signs.T]))
            truth = float(np.mean((1 - ties) * chances + ties / 2))
            kind = f"{100 * ties:.0f} % equal runs"
            yield _row("better in a run", kind, seeds, "Clopper and Pearson", found, truth)


def reaching_held() -> Iterator[dict[str, object]]:
    """How often the ratio of epochs lies in its interval: of noisy curves, one of which rises faster."""
    for faster in (1.0, 1.5):
        truth = _ratio_of_many(faster)
        kind = "equal curves" if faster == 1 else f"one rises {faster} times as fast ({truth:.2f} of the epochs)"
        for seeds in SEEDS:
            random = np.random.default_rng([seeds, int(10 * faster)])
            found = []
            for _ in range(SUITES // 2):
                pairs = (beside(_curve(random, faster), _curve(random, 1.0)) for _ in range(seeds))
                found.append(training([pair for pair in pairs if pair is not None]).epochs)
            yield _row("epochs to a score", kind, seeds, "t of logarithms", found, truth)


def _ratio_of_many(faster: float) -> float:
    """The geometric mean that the intervals are about: noise moves it from 1 over the speed."""
    random = np.random.default_rng(1)
    pairs = (beside(_curve(random, faster), _curve(random, 1.0)) for _ in range(10 * SUITES))
    return training([pair for pair in pairs if pair is not None]).epochs.mean if faster != 1 else 1.0


def _curve(random: np.random.Generator, faster: float) -> Course:
    epochs = np.arange(1, 31)
    scores = 1 - np.exp(-faster * epochs / 20) + 0.01 * random.standard_normal(30)
    return Course(epochs.tolist(), scores.tolist())


def _row(what: str, kind: str, seeds: int, by: str, found: list[Interval], truth: float) -> dict[str, object]:
    held = float(np.mean([one.low <= truth <= one.high for one in found]))
    width = float(np.nanmedian([one.high - one.low for one in found]))
    return {"what": what, "kind": kind, "seeds": seeds, "by": by, "held": held, "width": round(width, 4)}


# --- the page -----------------------------------------------------------------------------------------------------


def write_page() -> None:
    """The table, between its marks in the page."""
    rows = json.loads(RESULTS.read_text())["rows"]
    keys = dict.fromkeys((row["what"], row["kind"], row["by"]) for row in rows)
    held = {(row["what"], row["kind"], row["by"], row["seeds"]): f"{100 * row['held']:.1f}" for row in rows}
    cells = [(*key, *(held[(*key, seeds)] for seeds in SEEDS)) for key in keys]
    heading = ("interval of", "data", "by", *(f"{seeds} seeds" for seeds in SEEDS))
    text, lines = PAGE.read_text(encoding="utf-8"), "\n".join(table(heading, cells))
    before, after = text.split(MARKS[0])[0], text.split(MARKS[1])[1]
    PAGE.write_text(f"{before}{MARKS[0]}\n\n{lines}\n\n{MARKS[1]}{after}", encoding="utf-8")


def main() -> None:
    """Simulate, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", action="store_true", help="write the table of docs/suites.md")
    if parser.parse_args().page:
        write_page()
        return
    rows = [*changes_held(), *like_held(), *superiority_held(), *reaching_held()]
    RESULTS.write_text(json.dumps({"suites": SUITES, "problems": PROBLEMS, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
