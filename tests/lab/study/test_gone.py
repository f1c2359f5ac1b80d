"""A report is made from the stored rows, whatever they were made with is gone since."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from helpers_files import png, write_folder
from helpers_lab import Command, command

import limen
from limen.activations import registry
from limen.lab.study.store import StudyFolder
from limen.lab.tasks import registry as tasks

FIXTURES = Path(__file__).parents[2] / "fixtures/studies"


NETWORK = """
import limen
from torch import nn


@limen.register("mine")
class Mine(limen.Activation):
    \"\"\"Twice x.\"\"\"

    written = "twice x"

    @staticmethod
    def formula(x):
        return 2 * x


def build(in_channels, num_classes, image_size):
    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * image_size[0] * image_size[1], 4), nn.ReLU(),
                         nn.Linear(4, num_classes))
"""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return command(monkeypatch, capsys)


def test_the_users_module_and_the_data_are_gone(run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mynets.py").write_text(NETWORK)
    members = {f"{name}/{n}.png": png(value + n) for name, value in (("dog", 100), ("cat", 0)) for n in range(8)}
    write_folder(tmp_path / "pets", members)
    __import__("mynets")
    made = run(
        "compare", "--data", "pets", "--network", "mynets:build", "--activations", "mine,relu", "--seeds", "1",
        "--epochs", "1", "--baseline", "relu", "--out", "out",
    )  # fmt: skip
    assert made.code == 0, made.err
    before = {name: (tmp_path / "out" / name).read_bytes() for name in ("report.html", "runs.csv", "summary.csv")}
    assert b"twice x" in before["report.html"]

    (tmp_path / "mynets.py").unlink()
    shutil.rmtree(tmp_path / "pets")
    del sys.modules["mynets"], registry._CLASSES["mine"]
    with pytest.raises(limen.errors.SpecError):
        limen.create("mine")
    again = run("report", "out")
    assert again.code == 0, again.err
    assert again.out == made.out
    assert {name: (tmp_path / "out" / name).read_bytes() for name in before} == before
    assert run("report", "out", "--store", "rows").code == 0
    assert run("claims", "rows").code == 0
    refused = run("compare", "--data", "pets", "--out", "out")
    assert refused.code == 2


def test_a_study_without_its_class_has_the_formula_that_is_stored(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(FIXTURES / "digits", tmp_path / "out")
    folder = StudyFolder(tmp_path / "out")
    study = folder.read_study()
    assert study is not None
    assert "tanh(alpha" in page(run, folder.path)
    monkeypatch.delitem(registry._CLASSES, "asau")
    assert "tanh(alpha" not in page(run, folder.path)  # an old folder, which stored none
    known = study.model_copy(update={"formulas": {"asau": "as it was stored"}})
    (folder.path / "study.json").write_text(known.model_dump_json())
    assert "as it was stored" in page(run, folder.path)


def page(run: Command, out: Path) -> str:
    outcome = run("report", out)
    assert outcome.code == 0, outcome.err
    return (out / "report.html").read_text()


def test_the_candidates_of_a_selection_are_gone(run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(FIXTURES / "select", tmp_path / "select")
    for name in ("relu", "silu", "prelu", "adact"):
        monkeypatch.delitem(registry._CLASSES, name)
    assert "Selection" in page(run, tmp_path / "select")


OPTIONAL = ("monai", "nibabel", "timm", "torchvision", "segmentation_models_pytorch", "sklearn", "pooch", "requests")


@pytest.mark.parametrize("task", ["segmentation", "detection", "generation", "anomaly", "sequence", "forecasting"])
def test_the_libraries_of_a_task_are_gone(
    task: str, run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(FIXTURES / "digits", tmp_path / "out")
    folder = StudyFolder(tmp_path / "out")
    study = folder.read_study()
    assert study is not None
    of = tasks.find(task)
    settings = study.settings.model_copy(update={"task": task, "network": "smp:Unet"})
    for run_record in folder.read_runs(study.settings):
        folder.write_run(run_record.model_copy(update={"metrics": {of.measure.on_test: 0.5}}))
    (folder.path / "study.json").write_text(study.model_copy(update={"settings": settings}).model_dump_json())
    for name in [*sys.modules]:
        if name.partition(".")[0] in OPTIONAL:
            monkeypatch.delitem(sys.modules, name)
    for name in OPTIONAL:
        monkeypatch.setitem(sys.modules, name, None)
    assert "smp:Unet" in page(run, tmp_path / "out")
