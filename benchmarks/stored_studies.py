"""What stored studies say on the page of evidence: runs until it is decided, and each activation at its own rate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from limen.lab.metric import Metric
from limen.lab.records import SummaryRow
from limen.lab.report.contents import Contents
from limen.lab.report.markdown import table
from limen.lab.report.tried import tried
from limen.lab.report.tuning import tuning
from limen.lab.study import rows as stored_rows
from limen.lab.study.summary import summarise

RESULTS = Path(__file__).parents[1] / "docs/results"
ROWS = RESULTS / "rows"
TUNED = ROWS / "fashion-mnist-tuned"
SENSITIVITY = RESULTS / "sensitivity.svg"
WITHIN = 0.7
"""Points: the margin of AdAct's Table 1, which three seeds of the whole data set decide."""

OF_TUNING = """\
`limen compare --data fashion-mnist --image-size 14 --limit-train 1200 --validation-fraction 0.25 --limit-test 1000
--activations relu,ash,asau,apalu,adact --epochs 4 --seeds 5 --margin default --tune lr --trials 7`: Fashion-MNIST at
14×14, 900 training, 300 validation and 1,000 test images, `convnet` ([rows](rows/fashion-mnist-tuned/)).

**What was found.** Nothing is decided, at the shared rate or at own ones: five seeds of this size cannot, within half
a point. All five activations have their best common rate within a factor of six of the shared one, and their curves
fall alike on both sides. And tuning did not help: at own rates the test accuracy of `ash` and `asau` is *lower* by 1.8
and 1.5 points (intervals without 0, of single comparisons, uncorrected), of the others it is what it was. The best of
seven trials, each of one seed on 300 validation images, was the luckiest: `ash` at 0.00562 had 84 % with the tuning's
seed. Tuning needs more validation images than this, or its own rates are noise.
"""


def decided() -> list[str]:
    """The stored studies that were run until each activation's verdict was in, and AdAct's Table 1 within a margin."""
    lines = ["## Until it is decided", ""]
    for study in stored_rows.find([ROWS]):
        settings, data = study.study.settings, study.study.data
        if settings.max_seeds is None:
            continue
        found = summarise(study.task, settings, study.runs, study.costs)
        open_yet = any(row.verdict.startswith("undecided") for row in found)
        lines += [
            f"**{data.name}, `{settings.network}`, {settings.epochs} epochs**: {data.train:,} training, "
            f"{data.validation:,} validation and {data.test:,} test images; at most {settings.max_seeds} seeds, "
            f"{sum(row.runs for row in found)} runs were made ([rows](rows/{study.folder.name}/))."
            f"{' It was stopped before all was decided.' if open_yet else ''}", "",
            *_verdicts(found, study.task.measure), "",
        ]  # fmt: skip
    lines += ["Intervals of differences hold at every look; those of scores are Student's t.", ""]
    full = stored_rows.read(ROWS / "adact-table1-fmnist")
    settings = full.study.settings.model_copy(update={"margin": WITHIN})
    found = summarise(full.task, settings, full.runs, full.costs)
    lines += [
        f"**AdAct's Table 1 on Fashion-MNIST**, at full size ([rows](rows/{full.folder.name}/)), with a margin of "
        f"{WITHIN} points. The margin was chosen after the runs, as the smallest tenth within which three seeds decide "
        "both; the published leads of 0.3 and 0.4 points lie within it, so this does not contradict them.", "",
        *_verdicts(found, full.task.measure), "",
    ]  # fmt: skip
    return lines


def _verdicts(found: Sequence[SummaryRow], measure: Metric) -> list[str]:
    cells = [
        (
            f"`{row.activation}`",
            str(row.runs),
            shown(row.mean, row.low, row.high, measure),
            "" if row.activation == row.baseline
            else shown(row.difference, row.difference_low, row.difference_high, measure, signed=True),
            row.verdict,
        )
        for row in found
    ]  # fmt: skip
    return table(("activation", "seeds", f"test {measure.unit}", f"minus {found[0].baseline}", "verdict"), cells)


def shown(value: float, low: float, high: float, measure: Metric, *, signed: bool = False) -> str:
    """A number with its interval."""
    sign = "+" if signed else ""
    middle, least, most = (measure.in_its_unit(number) for number in (value, low, high))
    return f"{middle:{sign}.2f} ({least:{sign}.2f} to {most:{sign}.2f})".replace("-", "−")


def tuned_study() -> Contents:
    """The stored study in which each activation was tuned."""
    study = stored_rows.read(TUNED)
    summary = summarise(study.task, study.study.settings, study.runs, study.costs)
    return Contents(
        study.task, study.study.settings, study.study.data, study.study.environment, study.runs, study.costs, summary,
        trials=study.trials,
    )  # fmt: skip


def tuned() -> list[str]:
    """Both answers of it, and its trials."""
    contents = tuned_study()
    found = tuning(contents)
    assert found is not None
    unit = contents.metric.unit
    heading = ("activation", "own rate", "validation %, shared", "own", f"test {unit}, shared rate", "verdict",
               f"test {unit}, own rate", "verdict", "own − shared")  # fmt: skip
    answers = [(f"`{name}`", *rest) for name, *rest in found.answers]
    trials = [(f"`{name}`", *scores, others) for name, scores, others in found.table.rows]
    return [
        "## At the shared rate, and each at its own", "", *OF_TUNING.splitlines(), "", *table(heading, answers), "",
        found.budget, *found.warnings, "", "![Validation accuracy against the learning rate](sensitivity.svg)", "",
        *table(("validation %, at rate", *found.table.rates, "its own trials"), trials), "",
    ]  # fmt: skip


def plot_tuned() -> None:
    """Validation accuracy of every trial against its learning rate."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "limen"
    from matplotlib import pyplot

    contents = tuned_study()
    figure, axes = pyplot.subplots(figsize=(6.4, 3.6), layout="constrained")
    for name in contents.settings.activations:
        known = sorted((trial.learning_rate, 100 * trial.score, trial.chosen) for trial in tried(contents.trials)
                       if trial.activation == name and not trial.failed)  # fmt: skip
        (line,) = axes.plot([x for x, *_ in known], [y for _, y, _ in known], marker="o", markersize=3, label=name)
        best = [(x, y) for x, y, chosen in known if chosen]
        axes.plot([x for x, _ in best], [y for _, y in best], "o", markersize=8, color=line.get_color())
    axes.axvline(contents.settings.learning_rate, color="grey", linestyle="--", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlabel("learning rate (dashed: shared; large: own)")
    axes.set_ylabel("validation accuracy (%)")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(SENSITIVITY, metadata={"Date": None})
