"""What runs elsewhere is what runs here: workflows' steps are the Makefile's, and Pythons are named that were tried."""

import json
import re
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[1].split())
VARIABLES = set(re.findall(r"^([A-Z_]+) \??:?=", MAKEFILE, re.MULTILINE))
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in ROOT.glob(".github/workflows/*")}
JOBS = {(name, job): told for name, workflow in WORKFLOWS.items() for job, told in workflow["jobs"].items()}
PUBLISHES = ("release", "publish")


def steps_of(job):
    return [step["run"] for step in job["steps"] if "run" in step]


@pytest.mark.parametrize("job", [name for name in JOBS if name != PUBLISHES], ids="/".join)
def test_a_job_makes_what_the_makefile_has(job):
    assert steps_of(JOBS[job])
    for line in "\n".join(steps_of(JOBS[job])).splitlines():
        make, target, *given = line.split(maxsplit=2)
        assert (make, target in TARGETS) == ("make", True), line
        assert set(re.findall(r"([A-Z_]+)=", " ".join(given))) <= VARIABLES, line


def test_what_publishes_runs_nothing_and_has_no_secret():
    job = JOBS[PUBLISHES]
    assert steps_of(job) == []
    assert job["permissions"] == {"id-token": "write"}
    assert "secrets" not in (ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8")
    assert job["needs"] == "build"
    assert "make release-check" in steps_of(JOBS["release", "build"])


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_may_only_read(name):
    assert WORKFLOWS[name]["permissions"] == {"contents": "read"}


@pytest.mark.parametrize("target", ["lint", "suite", "audit", "docs"])
def test_each_change_is_held_by(target):
    assert f"make {target}" in [line for name, job in JOBS.items() if name[0] == "ci" for line in steps_of(job)]


def test_a_container_for_developers_makes_what_the_makefile_has():
    told = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text(encoding="utf-8"))
    assert told["postCreateCommand"].removeprefix("make ") in TARGETS


def test_pythons_are_named_that_were_tried():
    """Those that the package names, those that are tried elsewhere, and those that the stored matrix has whole."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    named = set(re.findall(r'"Programming Language :: Python :: (3\.\d+)"', project))
    rows = json.loads((ROOT / "docs/results/matrix.json").read_text(encoding="utf-8")).values()
    steps = ("install", "import", "shipped", "compiled", "transformer", "study")
    passed = {row["python"] for row in rows if all(row.get(step, "").startswith("yes") for step in steps)}
    assert named == passed
    assert set(WORKFLOWS["matrix"]["jobs"]["quick"]["strategy"]["matrix"]["python"]) == named
