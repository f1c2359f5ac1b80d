"""The report in a browser: every control does what it says, nothing is asked of a network or complained of.

Needs Playwright, which is not among limen's packages, and Debian's Chromium: ``pip install playwright``.
"""

from __future__ import annotations

import csv
import io
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from threading import Thread
from typing import Any
from xml.etree import ElementTree

import pytest
from helpers_report import EVIL, PATHS, synthetic

from limen.lab.report.page import render
from limen.lab.study import serving
from limen.lab.study.store import StudyFolder

sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
CHROMIUM = shutil.which("chromium")
STUDY = Path(__file__).parents[2] / "fixtures" / "studies" / "digits"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.thorough,
    pytest.mark.drawn,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt install chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(synthetic()), encoding="utf-8")
    return path


def opened(browser: Any, where: str | Path, width: int = 1280, **options: Any) -> tuple[Any, list[str]]:
    """A page, and what it complains of or asks for beside itself."""
    address = where if isinstance(where, str) else where.as_uri()
    page = browser.new_page(viewport={"width": width, "height": 900}, **options)
    page.set_default_timeout(120_000)
    heard: list[str] = []
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("dialog", lambda dialog: heard.append(dialog.message))
    page.on("request", lambda request: None if request.url.startswith(address) else heard.append(request.url))
    page.goto(address)
    return page, heard


@pytest.fixture
def page(browser: Any, report: Path) -> Iterator[Any]:
    found, heard = opened(browser, report)
    yield found
    found.close()
    assert heard == []


def names(page: Any) -> list[str]:
    rows = page.locator("#summary table.summary tbody tr:visible")
    return [row.locator("th").inner_text() for row in rows.all()]


def test_tables_sort_by_any_column(page: Any) -> None:
    before = names(page)
    heading = page.locator("#summary table.summary thead th", has_text="Difference")
    for order, expected in (
        ("ascending", ["adact", "ash", "asau", "relu"]),  # what has none is last
        ("descending", ["asau", "ash", "adact", "relu"]),
        ("none", before),
    ):
        heading.get_by_role("button").click()
        assert heading.get_attribute("aria-sort") == order
        assert names(page) == expected
    first = page.locator("#summary table.summary thead th").first
    first.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert names(page) == sorted(before)
    assert first.get_attribute("aria-sort") == "ascending"


def test_tables_filter(page: Any) -> None:
    field = page.get_by_label("Filter rows: Every run")
    rows = page.locator("#runs tbody tr:visible")
    for words, expected in (("ADACT", ["adact"] * 3), ("asau nothing", [])):
        field.fill(words)
        assert [row.locator("th").inner_text() for row in rows.all()] == expected
        assert page.locator("#runs output").inner_text() == f"{len(expected)} of 12 rows"
    field.fill("")
    assert page.locator("#runs tbody tr:visible").count() == 12


def test_of_a_long_table_the_first_rows_are_shown(browser: Any, report: Path, tmp_path: Path) -> None:
    whole = report.read_text(encoding="utf-8")
    first, found, last = re.split(r"(?s)(<tbody>.*?</tbody>)", whole[whole.index('id="runs"') :], maxsplit=1)
    rows = found.removeprefix("<tbody>").removesuffix("</tbody>")
    long = tmp_path / "long.html"
    long.write_text(whole[: whole.index('id="runs"')] + first + f"<tbody>{rows * 50}</tbody>" + last, encoding="utf-8")
    page, heard = opened(browser, long)
    shown, said = page.locator("#runs tbody tr:not([hidden])"), page.locator("#runs output")
    assert (shown.count(), said.inner_text()) == (500, "the first 500 of 600 rows")
    page.get_by_label("Filter rows: Every run").fill("adact")
    assert (shown.count(), said.inner_text()) == (150, "150 of 600 rows")
    page.get_by_label("Filter rows: Every run").fill("")
    page.locator("#runs thead button").first.click()
    assert {row.text_content() for row in shown.locator("th").all()} == {"adact", "asau", "ash", "relu"}
    assert shown.locator("th").first.text_content() == "adact"
    page.get_by_label("Show 500 more rows: Every run").click()
    assert (shown.count(), said.inner_text()) == (600, "")
    assert len([*csv.reader(io.StringIO(saved(page, page.get_by_label("Download as CSV: Every run"))))]) == 601
    page.close()
    assert heard == []


def test_the_legend_switches_lines(page: Any) -> None:
    lines = page.locator('#curves svg [data-series="1"]')
    legend = page.locator("#curves .legend")
    assert lines.count() == 8  # a line and a band in four panels
    entry = legend.get_by_role("button", name="asau")
    entry.click()
    assert entry.get_attribute("aria-pressed") == "false"
    assert page.locator('#curves svg [data-series="1"]:visible').count() == 0
    assert page.locator('#curves svg [data-series="2"]:visible').count() == 8
    legend.get_by_role("button", name="none").click()
    assert page.locator("#curves svg [data-series]:visible").count() == 0
    legend.get_by_role("button", name="all").click()
    assert page.locator("#curves svg [data-series]:visible").count() == 4 * 8


def test_curves_tell_their_values_to_pointer_and_keyboard(page: Any) -> None:
    figure = page.locator("#curves figure.curve").first
    drawing, readout = figure.locator("svg.plot"), figure.locator(".readout")
    cells = figure.locator(".numbers tbody tr").nth(11).locator("td")
    drawing.focus()
    assert readout.inner_text().startswith("Epoch 12: relu")
    assert cells.nth(1).evaluate("cell => cell.firstChild.textContent") in readout.inner_text()
    for key, epoch in (("ArrowLeft", 11), ("Home", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("ArrowLeft", 1)):
        page.keyboard.press(key)
        assert readout.inner_text().startswith(f"Epoch {epoch}: ")
    box = drawing.bounding_box()
    page.mouse.move(box["x"] + box["width"] - 15, box["y"] + 40)
    assert readout.inner_text().startswith("Epoch 12: ")
    page.locator("#curves .legend").get_by_role("button", name="asau").click()
    assert "asau" not in readout.inner_text()


def test_learned_shapes_lie_over_one_another(page: Any) -> None:
    def paths() -> int:
        return int(page.locator("#compare svg.plot > path").count())

    def press(group: str, name: str) -> None:
        page.get_by_role("group", name=group).get_by_role("button", name=name, exact=True).click()

    assert paths() == len(PATHS)
    for seed in ("1", "2"):
        press("Seeds", seed)
    assert paths() == 3 * len(PATHS)
    press("Activations", "relu")
    assert paths() == 2 * 3 * len(PATHS)
    for layer in PATHS[1:]:
        press("Layers", layer)
    press("Activations", "asau")
    for seed in ("1", "2"):
        press("Seeds", seed)
    assert paths() == 1
    page.locator("#compare svg.plot").focus()
    for key, x, y in (("End", "4.00", 4.0), ("Home", "-4.00", 0.0)):
        page.keyboard.press(key)
        said = page.locator("#compare .readout").inner_text()
        assert said.startswith(f"At {x}: relu ")
        assert float(said.rpartition(" ")[2]) == pytest.approx(y, abs=0.01)
    press("Seeds", "0")
    assert "Nothing is chosen" in page.locator("#compare").inner_text()


def saved(page: Any, control: Any) -> str:
    with page.expect_download() as waiting:
        control.click()
    return str(Path(waiting.value.path()).read_text(encoding="utf-8"))


def test_tables_and_figures_can_be_had(page: Any) -> None:
    rows = [*csv.reader(io.StringIO(saved(page, page.get_by_label("Download as CSV: Summary table"))))]
    assert rows[0][:5] == ["Activation", "Test accuracy (%)", "95 % interval", "Difference (points)", "95 % interval"]
    assert [row[0] for row in rows[1:]] == ["relu", "asau", "ash", "adact"]
    assert rows[4][3:5] == ["-1.20", "-1.80 to -0.60"]
    assert len({len(row) for row in rows}) == 1
    for figure in page.locator("main figure:visible:has(svg.plot)").all():
        drawing = saved(page, figure.get_by_role("button", name="Download as SVG"))
        root = ElementTree.fromstring(drawing)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert "var(" not in drawing
        assert "currentColor" not in drawing
    epochs = [*csv.reader(io.StringIO(saved(page, page.get_by_label("Download as CSV: Training loss"))))]
    assert [row[0] for row in epochs[1:]] == [str(epoch) for epoch in range(1, 13)]
    assert r"\begin{tabular}" in saved(page, page.get_by_role("link", name="LaTeX"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_it_fits_any_width_and_every_control_has_a_name_and_a_visible_focus(
    browser: Any, report: Path, width: int, scheme: str
) -> None:
    page, heard = opened(browser, report, width, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for control in page.locator("button:visible, input:visible, a:visible, summary:visible").all():
        assert control.evaluate("e => (e.getAttribute('aria-label') || e.textContent).trim()")
    for control in page.locator("main button:visible").all()[:30]:
        control.focus()
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Tab")
        assert control.evaluate("e => getComputedStyle(e).outlineStyle") != "none"
    levels = [int(tag[1]) for tag in page.locator("h1, h2, h3").evaluate_all("all => all.map(e => e.tagName)")]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert heard == []
    page.close()


def test_paper_shows_what_is_folded_and_no_control(page: Any) -> None:
    assert not page.locator("details.shapes table").last.is_visible()
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details.shapes").last.locator("figure").first.is_visible()
    assert page.locator("button:visible:not(th > button, [data-entry]), input:visible").count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open].shapes").count() == 1


def test_without_scripts_it_is_whole(browser: Any, report: Path) -> None:
    page, _ = opened(browser, report, java_script_enabled=False)
    assert page.locator("button, input").count() == 0
    for section in ("answer", "summary", "accuracy", "curves", "shapes", "weights", "runs", "made"):
        assert page.locator(f"#{section}").is_visible()
    page.close()


def test_hostile_names_do_nothing(browser: Any, tmp_path: Path) -> None:
    spec = f"relu\"'>{EVIL}<img src=x onerror=alert(1)>"
    study = synthetic(("relu", spec), paths=(f"a{EVIL}", '"><svg onload=alert(2)>'))
    data = study.data.model_copy(update={"name": EVIL})
    path = tmp_path / "report.html"
    path.write_text(render(replace(study, data=data, command=EVIL)), encoding="utf-8")
    page, heard = opened(browser, path)
    page.get_by_label("Filter rows: Every run").fill("<img")
    page.locator("#curves svg.plot").first.focus()
    for entry in page.locator(".choice button").all():
        entry.click()
    assert heard == []
    page.close()


class Told:
    """What a server has of a study: its page, and another once the study goes on."""

    def __init__(self) -> None:
        self.seeds = 3
        contents = {seeds: synthetic(seeds=tuple(range(seeds))) for seeds in (3, 4)}
        self._made = {seeds: render(found, str(seeds)).encode() for seeds, found in contents.items()}

    def state(self) -> str:
        return str(self.seeds)

    def page(self) -> bytes:
        return self._made[self.seeds]


def test_what_the_reader_did_stays_when_a_served_page_is_made_anew(browser: Any) -> None:
    with serving._Server((serving.HOST, 0), serving._Handler) as server:
        told: Any = Told()
        server.pages = told
        Thread(target=server.serve_forever, daemon=True).start()
        page, heard = opened(browser, f"http://{serving.HOST}:{server.server_port}/", 700)
        score = page.locator("#runs thead th").nth(2)
        for _ in range(2):
            score.get_by_role("button").click()
        page.locator("#curves .legend").get_by_role("button", name="asau").click()
        page.get_by_role("group", name="Seeds").get_by_role("button", name="1").click()
        folds = page.locator("details[data-name]")
        before = [fold.evaluate("one => one.open") for fold in folds.all()]
        folds.nth(3).locator("summary").first.click()
        table = page.get_by_role("region", name="Summary table")
        table.evaluate("one => { one.scrollLeft = 60; }")
        page.get_by_label("Filter rows: Every run").fill("adact")
        page.locator("#runs").evaluate("one => scrollTo(0, one.offsetTop + 40)")
        told.seeds = 4
        rows = page.locator("#runs tbody tr")
        sync_api.expect(rows).to_have_count(16, timeout=120_000)
        page.wait_for_function("history.scrollRestoration === 'auto'")
        shown = page.locator("#runs tbody tr:visible")
        assert [row.locator("th").inner_text() for row in shown.all()] == ["adact"] * 4
        scores = [float(row.locator("td").nth(1).inner_text()) for row in shown.all()]
        assert score.get_attribute("aria-sort") == "descending"
        assert scores == sorted(scores, reverse=True)
        assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Filter rows: Every run"
        assert page.locator('#curves svg [data-series="1"]:visible').count() == 0
        choice = page.get_by_role("group", name="Seeds").get_by_role("button")
        assert [one.get_attribute("aria-pressed") for one in choice.all()] == ["true", "true", "false", "false"]
        assert [fold.evaluate("one => one.open") for fold in folds.all()] == [*before[:3], not before[3]]
        assert table.evaluate("one => one.scrollLeft") == 60
        assert page.evaluate("scrollY - document.querySelector('#runs').offsetTop") == pytest.approx(40, abs=2)
        server.shutdown()
    page.close()
    assert heard == []


def test_a_served_page_is_made_anew_when_a_run_ends(browser: Any, tmp_path: Path) -> None:
    shutil.copytree(STUDY, tmp_path / "study")
    folder = StudyFolder(tmp_path / "study")
    run = folder.read_run("asau", 1)
    assert run is not None
    folder.run_path("asau", 1).unlink()
    with serving._Server((serving.HOST, 0), serving._Handler) as server:
        server.pages = serving.Pages(folder)
        server.pages.page()  # the first takes seconds
        Thread(target=server.serve_forever, daemon=True).start()
        page, heard = opened(browser, f"http://{serving.HOST}:{server.server_port}/")
        rows = page.locator("#runs tbody tr")
        assert rows.count() == 3
        folder.write_run(run)
        sync_api.expect(rows).to_have_count(4, timeout=120_000)
        page.get_by_role("link", name=re.compile("asau, seed 1")).click()
        assert '"seed":1' in page.content()
        server.shutdown()
    page.close()
    assert heard == []
