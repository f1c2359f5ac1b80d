"""What a report says first, in a sentence and a figure, and what lies behind its figures: numbers, records, LaTeX."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from helpers_lab import briefly
from helpers_report import plain, read, synthetic, whole
from matplotlib.figure import Figure

from limen.lab.report import latex, tables
from limen.lab.report.answer import MOST_NAMED, answer
from limen.lab.report.contents import Contents
from limen.lab.report.figures import svg
from limen.lab.report.figures.curves import curves
from limen.lab.report.figures.differences import differences
from limen.lab.report.figures.shapes import values
from limen.lab.report.numbers import MOST_ROWS
from limen.lab.report.page import render
from limen.lab.report.sites import sites


def judged(verdicts: dict[str, str], detectable: float = math.nan, margin: float | None = None) -> Contents:
    study = synthetic(("relu", *verdicts), margin=margin)
    rows = tuple(
        row if row.activation == "relu"
        else row.model_copy(update={"verdict": verdicts[row.activation], "detectable": detectable})
        for row in study.summary
    )  # fmt: skip
    return replace(study, summary=rows)


# --- the sentence --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("verdicts", "said"), [
    ({"ash": "no detectable difference", "adact": "worse", "asau": "better"},
     "asau is better than relu in test accuracy (by 0.80 points); adact is worse (by 1.20 points); ash does not differ "
     "detectably (a true difference of 1.90 points could be missed)."),
    ({"asau": "equivalent within 0.5", "ash": "undecided (about 12 more seeds)"},
     "asau is equivalent to relu in test accuracy within 0.5 points; ash is undecided."),
    ({"asau": "better", "ash": "better, by less than 0.5", "adact": "every run failed"},
     "asau and ash are better than relu in test accuracy (by 0.80 and 0.10 points); adact was not tested."),
])  # fmt: skip
def test_every_kind_of_verdict_has_a_clause(verdicts: dict[str, str], said: str) -> None:
    assert plain(answer(judged(verdicts, 1.9, margin=0.5))) == f"Over 3 seeds, {said}"


def test_of_many_alike_their_number_is_said() -> None:
    many = {f"asau:beta={number}": "no detectable difference" for number in range(MOST_NAMED + 1)}
    assert plain(answer(judged({"asau": "better", **many}, 400.0))).endswith(
        f"; {MOST_NAMED + 1} activations do not differ detectably (a true difference of any size could be missed)."
    )


# --- the figure ----------------------------------------------------------------------------------------------------


def test_the_figure_says_what_is_shaded() -> None:
    with briefly():
        found = differences(judged({"asau": "better"}, detectable=1.9))
        assert found is not None
        assert found.numbers is not None
        assert "fewer than 80 of 100 studies" in found.caption
        assert found.numbers.headings[-1] == "Could see (points)"
        assert found.numbers.rows[1] == ("asau", (("+0.80", "+0.20 to +1.40"), ("1.90", "")))
        found = differences(judged({"asau": "better"}, margin=0.5))
        assert found is not None
        assert "smaller than the margin of 0.5 points" in found.caption
        assert differences(synthetic(("relu",))) is None


# --- what lies behind ----------------------------------------------------------------------------------------------


def test_the_numbers_behind_curves_are_those_of_the_runs() -> None:
    study = synthetic(("relu", "asau"), epochs=3 * MOST_ROWS)
    with briefly():
        loss = next(iter(curves(study)))
    table = loss.numbers
    assert table is not None
    assert table.headings == ("Epoch", "relu", "asau")
    assert table.series == (0, 1)
    assert len(table.rows) == MOST_ROWS
    assert (table.rows[0][0], table.rows[-1][0]) == ("1", str(3 * MOST_ROWS))
    losses = [run.curves[0].train_loss for run in study.finished("asau")]
    mean, span = table.rows[0][1][1]
    assert float(mean) == pytest.approx(sum(losses) / len(losses), rel=1e-3)
    assert [float(end) for end in span.split(" to ")] == pytest.approx([min(losses), max(losses)], rel=1e-3)


def test_the_numbers_behind_shapes_are_those_of_the_layers() -> None:
    site = sites(synthetic(("relu", "asau")).finished("asau"))[0]
    (zero, two, beyond) = values(site, (0.0, 2.0, 9.0))
    at_two = [float(np.interp(2.0, shape.x, shape.y)) for _, shape in site.shapes]
    assert abs(float(zero[0].replace("−", "-").replace("×10^", "e"))) < 1e-2
    assert float(two[0]) == pytest.approx(sum(at_two) / 3, rel=1e-2)
    assert beyond == ("–", "")


def test_what_is_drawn_can_be_read_off_again() -> None:
    x, y = np.array([-2.0, 0.5, 3.0]), np.array([1.0, -4.0, 2.5])

    def paint(figure: Figure) -> None:
        axes = svg.panel(figure, 30, 20, 10, 5)
        (line,) = axes.plot(x, y)
        svg.mark(line, seed="7")
        svg.frame(axes)

    root = ElementTree.fromstring(svg.draw((300, 200), "p-", "a line", paint))
    (group,) = (one for one in root.iter() if "data-frame" in one.attrib)
    left, top, right, bottom = map(float, group.attrib["data-frame"].split(","))
    assert (left, top, right, bottom) == pytest.approx((30, 5, 290, 180))
    (line,) = (one for one in group.iter() if one.attrib.get("data-seed") == "7")
    places = np.array([*map(float, re.findall(r"-?[\d.]+", line[0].attrib["d"]))]).reshape(-1, 2)
    (low, high), (under, over) = (map(float, group.attrib[f"data-{name}"].split(",")) for name in "xy")
    np.testing.assert_allclose(low + (places[:, 0] - left) / (right - left) * (high - low), x, atol=1e-3)
    np.testing.assert_allclose(over - (places[:, 1] - top) / (bottom - top) * (over - under), y, atol=1e-3)


def test_every_run_links_to_its_record_where_there_is_one() -> None:
    study = synthetic(("relu", "asau"), (0, 1))
    records = {("asau", 1): "runs/asau-seed1.json"}
    with briefly():
        alone, beside = whole(render(study)), whole(render(replace(study, records=records)))
    assert [link for link in beside.values("href") if ".json" in link] == ["runs/asau-seed1.json"]
    assert {"summary.csv", "runs.csv"} <= {*beside.values("href")}
    assert not [link for link in alone.values("href") if "csv" in link or "json" in link]


def test_the_table_for_latex_is_escaped() -> None:
    study = synthetic(("relu", r"a_b&{%}\x#$~^"))
    made = latex.table(study, tables.summary_lines(study))
    assert r"a\_b\&\{\%\}\textbackslash{}x\#\$\textasciitilde{}\textasciicircum{}" in made
    rows = [line for line in made.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 3
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {6}
    assert not re.search("[−–×]", made)
    assert [link for link in read(f'<a href="{latex.link(made)}"></a>').values("href")] == [latex.link(made)]
