"""``limen show`` writes one file that asks for nothing else; ``limen plot`` a figure."""

from __future__ import annotations

import re
import webbrowser
from pathlib import Path

import pytest
import torch
from helpers import thoroughly
from helpers_commands import refused
from helpers_lab import Command

import limen
from limen.activations.registry import find
from limen.commands.show import WITHOUT_CURVE


def test_a_page_is_one_file_without_a_network(run: Command, tmp_path: Path) -> None:
    outcome = run("show", "swish:beta=2,relu,adact", "--html", tmp_path / "shapes.html")
    assert (outcome.code, outcome.out) == (0, f"Page: {tmp_path / 'shapes.html'}\n")
    page = (tmp_path / "shapes.html").read_text(encoding="utf-8")
    assert len(page.encode()) < 300_000
    assert "default-src 'none'" in page
    assert not re.search(r"""(src|href)=["'](?!data:)|@import|url\(""", page)
    assert re.findall(r"https?://[^\s\"']+", page) == ["http://www.w3.org/2000/svg"]
    assert '"name": "swish:beta=2"' in page
    assert '"name": "logit of prelu"' in page


def test_without_a_file_a_browser_opens_a_temporary_one(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address))
    outcome = run("show", "relu")
    said, no_browser = outcome.out.splitlines()
    where = Path(said.removeprefix("Page: "))
    assert opened == [where.as_uri()]
    assert "explorer" in where.read_text(encoding="utf-8")
    assert "open that file" in no_browser
    where.unlink()


def test_what_is_said_to_have_no_curve_has_none() -> None:
    assert set(WITHOUT_CURVE) == {name for name in limen.names() if find(name).plain_only}


@pytest.mark.parametrize("arguments", [("relu,relu",), ("relu", "--html", "page.txt"), ("top_percentile",), (",",)])
def test_show_refuses_in_a_sentence(run: Command, arguments: tuple[str, ...]) -> None:
    assert refused(run, "show", *arguments)


@pytest.mark.parametrize("kind", thoroughly(["svg", "png"], ["svg"]))
def test_a_figure_has_the_kind_that_its_name_says(run: Command, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "new" / f"shapes.{kind}"
    assert run("plot", "asau,mish", "--out", out).out == f"Figure: {out}\n"
    assert out.read_bytes()[:64].lstrip().startswith({"svg": b"<?xml", "png": b"\x89PNG"}[kind])


@pytest.mark.parametrize(
    "arguments",
    [
        *(("maxout", "--out", "a.svg"), ("relu", "--out", "a.gif"), (",", "--out", "a.svg")),
        ("relu", "--out", "a.svg", "--edge", "nan"),
    ],
)
def test_plot_refuses_in_a_sentence(run: Command, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert refused(run, "plot", *arguments)
    assert not [*tmp_path.iterdir()]


def test_plots_take_names_and_modules_and_draw_slopes() -> None:
    axes = limen.inspect.plot(["relu", torch.nn.Tanh()], slope=True, edge=2.0)
    relu, tanh = (line.get_data() for line in axes.get_lines())
    assert (relu[0][0], relu[0][-1], relu[1][0], relu[1][-1]) == (-2.0, 2.0, 0.0, 1.0)
    assert max(tanh[1]) == pytest.approx(1.0, abs=1e-4)
    assert axes.get_ylabel() == "slope"
    for nothing in ([], [3], "maxout"):
        with pytest.raises(limen.LimenError):
            limen.inspect.plot(nothing)
