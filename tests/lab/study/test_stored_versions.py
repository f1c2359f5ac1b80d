"""Studies that older versions stored are read, reported and continued; those of newer versions are refused.

``tests/fixtures/studies`` was written by the version before files said theirs:

    limen compare --data digits --network mlp --activations relu,asau --seeds 2 --epochs 2 --limit-train 200 \
        --limit-test 60 --protocol both --observe gradients,inputs --device cpu --out digits
    limen select --data digits --network mlp --candidates relu,silu,prelu --seeds 2 --epochs 2 --limit-train 200 \
        --limit-test 60 --device cpu --out select
    limen compare --task regression --data heights.csv --target height --activations relu,apalu --seeds 2 --epochs 3 \
        --device cpu --out regression
    limen report digits regression select --store rows
"""

from __future__ import annotations

import csv
import io
import json
import math
import shlex
import shutil
from pathlib import Path

import pytest
from helpers_lab import Command, command

from limen.lab.study import rows
from limen.lab.study.forms import VERSION, as_csv
from limen.lab.study.store import StudyFolder

FIXTURES = Path(__file__).parents[2] / "fixtures/studies"
STUDIES = ("digits", "regression", "select")
DERIVED = ("runs.csv", "summary.csv", "plan.json")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return command(monkeypatch, capsys)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of all of them, and the working directory."""
    shutil.copytree(FIXTURES, tmp_path / "studies")
    monkeypatch.chdir(tmp_path / "studies")
    return tmp_path / "studies"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}


def unchanged(name: str, now: dict[str, bytes], kept: tuple[str, ...]) -> bool:
    """Whether files are as they were, but for ends of intervals beyond an accuracy's bound, which are cut off now."""
    before = contents(FIXTURES / name)
    before["summary.csv"] = cut_off(before["summary.csv"], most=1.0 if name != "regression" else math.inf)
    return all(now[file] == before[file] for file in before if file.startswith(kept))


def cut_off(summary: bytes, most: float) -> bytes:
    """A summary whose upper ends are no higher."""
    rows = list(csv.DictReader(io.StringIO(summary.decode())))
    return as_csv([{**row, "high": str(min(float(row["high"]), most))} for row in rows]).encode()


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_of_version_1_is_reported_to_the_byte(name: str, here: Path, run: Command) -> None:
    assert "version" not in json.loads((here / name / "study.json").read_text())
    for derived in DERIVED:
        (here / name / derived).unlink(missing_ok=True)
    outcome = run("report", name)
    assert outcome.code == 0, outcome.err
    assert unchanged(name, contents(here / name), ("",))
    assert "<svg" in (here / name / "report.html").read_text()


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_of_version_1_goes_on(name: str, here: Path, run: Command) -> None:
    known = StudyFolder(here / name).read_study()
    arguments = shlex.split(known.command)[1:]
    outcome = run(*arguments)
    assert outcome.code == 0, outcome.err
    total = len(known.settings.activations) * len(known.settings.seeds)
    assert f"continuing: {total} of {total} runs are done already" in outcome.err
    assert "seed" not in outcome.err
    assert unchanged(name, contents(here / name), ("runs", "summary.csv", "cost.json", "plan.json"))
    more = run(*arguments, "--seeds", "3")
    assert more.code == 0, more.err
    trained = [line.partition(" ")[2].partition(":")[0] for line in more.err.splitlines() if "· seed" in line]
    assert sorted(trained) == sorted(f"{activation} · seed 2" for activation in known.settings.activations)
    now = contents(here / name)
    assert unchanged(name, now, ("runs/", "cost.json"))
    versions = {file: json.loads(held).get("version", 1) for file, held in now.items() if file.startswith("runs/")}
    assert {file for file, version in versions.items() if version == VERSION} == {
        file for file in versions if file.endswith("seed2.json")
    }
    assert json.loads(now["study.json"])["version"] == VERSION
    assert len(StudyFolder(here / name).read_runs(StudyFolder(here / name).read_study().settings)) == total * 3 // 2


@pytest.mark.parametrize("name", STUDIES)
def test_stored_rows_of_version_1_are_read_and_stored_alike(name: str, here: Path, tmp_path: Path) -> None:
    found = rows.read(here / "rows" / name)
    study = rows.read(here / name)
    assert [run.metrics for run in found.runs] == [run.metrics for run in study.runs]
    again = rows.keep(found, tmp_path / "again")
    now, before = contents(again), contents(FIXTURES / "rows" / name)
    assert now.keys() == before.keys()
    assert all(now[file] == before[file] for file in before if file != "study.json")
    held = json.loads(before["study.json"])
    later = {name: value for name, value in study.study.settings.model_dump(mode="json").items()
             if name not in study.study.settings.model_fields_set}  # fmt: skip
    later["threads_per_run"] = int(held["environment"]["threads"])  # where it was noted before it was a setting
    held["settings"] = later | held["settings"]
    nothing = {"counts": {}, "counted": "", "columns": [], "transfer": 0, "transfer_name": ""}
    held["data"] = {**nothing, **held["data"]}
    empty = {"formulas": {}, "asked": [], "tried": {}, "began_with": None}  # what versions 1 and 2 did not note
    assert json.loads(now["study.json"]) == {"version": VERSION, **empty, **held}


def newer(path: Path) -> None:
    held = json.loads(path.read_text())
    held = held if isinstance(held, dict) else {"rows": held}
    path.write_text(json.dumps({**held, "version": VERSION + 1, "a later word": 1}))


@pytest.mark.parametrize("file", ["study.json", "runs/relu-seed0.json", "cost.json"])
def test_a_newer_version_is_refused(file: str, here: Path, run: Command) -> None:
    newer(here / "digits" / file)
    outcome = run("report", "digits")
    assert outcome.code == 2
    assert outcome.sentence == (
        f"limen: digits/{file} has version {VERSION + 1}, and this limen reads versions 1 to {VERSION}; update limen."
    )


def test_newer_rows_and_plans_are_refused(here: Path, run: Command) -> None:
    newer(here / "rows/select/plan.json")
    assert (
        f"rows/select/plan.json has version {VERSION + 1}, and this limen reads version 1, and 2 of harvested plans"
        in run("claims", "rows").sentence
    )
    newer(here / "rows/digits/study.json")
    assert f"rows/digits/study.json has version {VERSION + 1}" in run("claims", "rows").sentence


@pytest.mark.parametrize("version", ["two", None, 1.5, 0])
def test_what_is_no_version_is_refused(version: object, here: Path, run: Command) -> None:
    path = here / "digits/runs/relu-seed0.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": version}))
    assert "digits/runs/relu-seed0.json cannot be read (version" in run("report", "digits").sentence
