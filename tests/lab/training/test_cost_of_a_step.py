"""What a training step costs: every network against torch's own ReLU at the same places, which has a row of its own."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import pytest
from helpers_lab import experiment_of, tiny
from helpers_report import plain, synthetic
from rich.console import Console
from torch import nn

from limen.commands.console import summary_table
from limen.lab.records import TORCHS_RELU, CostRow
from limen.lab.report.page import render
from limen.lab.report.verdict import paragraph
from limen.lab.training import cost


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """Every network that is timed, none of which takes a step."""
    found: list[nn.Module] = []

    def kept(network: nn.Module, experiment: object) -> object:
        found.append(network)
        return lambda: None

    monkeypatch.setattr(cost, "_step", kept)
    monkeypatch.setattr(cost.running, "step_memory", lambda network, experiment: 10**6)
    return found


def test_every_network_is_timed_against_torchs_relu(built: list[nn.Module], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([1.0, 2.0, 6.0, 3.0] * 30)  # the reference, a second one, relu, gelu
    monkeypatch.setattr(cost, "_timed", lambda step, device: next(clock))
    monkeypatch.setattr(cost, "_rotated", lambda names, by: names)
    experiment = experiment_of(tiny(activations=("relu", "gelu")))
    rows = {row.activation: row for row in cost.measure(experiment)}
    assert [(name, row.ratio) for name, row in rows.items()] == [(TORCHS_RELU, 2.0), ("relu", 6.0), ("gelu", 3.0)]
    kinds = [{type(module) for module in network.modules() if not list(module.children())} for network in built]
    assert nn.ReLU in kinds[0]
    assert kinds[0] == kinds[1]
    assert nn.ReLU not in kinds[2] | kinds[3]
    assert rows[TORCHS_RELU].parameters == rows["relu"].parameters


class Smooth(nn.Module):
    """A network that was built with another activation than ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.GELU(), nn.Linear(4, 10))


def test_a_network_of_other_activations_is_timed_against_relu_too(
    built: list[nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost.running, "bare", lambda experiment, seed: Smooth())
    cost.measure(experiment_of(tiny(activations=("relu",))))
    assert [type(network.layers[2]).__module__.partition(".")[0] for network in built] == ["torch", "torch", "limen"]
    assert all(type(network.layers[2]).__name__ == "ReLU" for network in built)


def reference() -> CostRow:
    return CostRow(activation=TORCHS_RELU, ms_per_step=3.1, ratio=1.01, ratio_low=0.97, ratio_high=1.04,
                   peak_memory_mb=40.5, parameters=61_706)  # fmt: skip


def test_tables_show_the_reference_and_the_spread() -> None:
    made = synthetic()
    study = replace(made, costs=(reference(), *made.costs))
    text = plain(render(study))
    assert f"{TORCHS_RELU} – – – – – · timed only – 1.01 0.97 to 1.04 3.1 ms 40.5 61 706 –" in text.replace(
        "\N{NARROW NO-BREAK SPACE}", " "
    )
    assert "1.10 0.90 to 1.20 3.4 ms" in text
    assert "second such network" in text
    assert "second such network" not in plain(render(made))  # of a study that has not timed one
    assert "from 1.00 times torch.nn.ReLU’s time ( relu , the cheapest)" in plain(paragraph(study))
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(summary_table(study.summary, study.metric, "a title", study.costs))
    shown = console.export_text()
    assert max(map(len, shown.splitlines())) <= 80
    for quartile in ("0.90–", "1.20", "0.97–", "1.04", "torch.", "ReLU"):
        assert f" {quartile} " in shown


def test_the_widest_table_cuts_nothing_off() -> None:
    study = synthetic(("relu", "adact"))
    wide = {"mean": 0.93, "low": 0.4011, "high": 1.0, "difference": 0.1, "difference_low": -1.0, "difference_high": 1.0}
    costly = {"p_holm": 0.5, "peak_memory_mb": 234.5, "ms_ratio": 11.0, "ms_ratio_low": 10.5, "ms_ratio_high": 12.5}
    verdicts = ("baseline", "no detectable difference")
    rows = [
        row.model_copy(update={**wide, **costly, "verdict": verdict})
        for row, verdict in zip(study.summary, verdicts, strict=True)
    ]
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(summary_table(rows, study.metric, "a title", [reference()]))
    shown = console.export_text()
    assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown
    for whole_word in ("baseline", "detectable", "-100.00 to +100.00", "40.11 to 100.00", "10.50–", "12.50", "234.5"):
        assert whole_word in shown


def test_what_was_not_timed_is_a_dash() -> None:
    made = synthetic()
    rows = [row.model_copy(update=dict.fromkeys(("ms_ratio", "ms_ratio_low", "ms_ratio_high"), math.nan))
            for row in made.summary]  # fmt: skip
    assert "nan" not in plain(render(replace(made, summary=tuple(rows), costs=()))).lower()
