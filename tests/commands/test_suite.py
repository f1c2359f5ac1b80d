"""``limen compare --suite``: what its file may say, what is refused before anything is trained, what it leaves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from helpers_commands import refused
from helpers_lab import Command, briefly

from limen.commands import suite_file
from limen.lab.report.suite import figures

DEFAULTS = '[defaults]\nactivations = ["relu", "asau"]\nseeds = 2\nepochs = 1\n'
DIGITS = '[[problem]]\ndata = "digits"\nnetwork = "mlp"\n'
TINY = "limit-train = 100\nlimit-test = 50\n"


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    return tmp_path / "suite.toml"


BAD = {
    "no TOML": ("[defaults", "is not TOML"),
    "empty": ("", "there is no problem; add one below a line [[problem]]"),
    "an unknown key": ("titel = 'x'\n" + DIGITS, "there is no key 'titel'. Did you mean 'title'?"),
    "no table of defaults": ("defaults = 3\n" + DIGITS, "must be a table of options: [defaults]"),
    "no tables of problems": ("problem = 3\n", "must be tables, each below a line [[problem]]"),
    "an option that is none": (DIGITS + "epoch = 3\n", "problem 1: there is no option 'epoch'. Did you mean 'epochs'?"),
    "a default that is none": ("[defaults]\nepoch = 3\n" + DIGITS, "defaults: there is no option 'epoch'."),
    "an option of the machine": (DEFAULTS + "jobs = 3\n" + DIGITS, "defaults: there is no option 'jobs'."),
    "twice": (DIGITS + "batch-size = 8\nbatch_size = 8\n", "batch_size stands there twice"),
    "no data": ('[[problem]]\nnetwork = "mlp"\n', "problem 1: data is missing"),
    "data that are not there": ('[[problem]]\ndata = "digts"\n', "problem 1: digts-convnet: No data set is called"),
    "a task that is none": (DIGITS + 'task = "clasification"\n', "Did you mean 'classification'?"),
    "a network that is none": ('[[problem]]\ndata = "digits"\nnetwork = "mpl"\n', "Did you mean 'mlp'?"),
    "a list of nothing": ('[[problem]]\ndata = []\nnetwork = "mlp"\n', "data [] is not possible"),
    "epochs that are words": (
        DIGITS + 'schedule = "step"\nmilestones = ["one"]\n',
        "milestones ['one'] is not possible; give a list of whole numbers",
    ),
    "names that are numbers": (DIGITS + "tune = [1]\n", "tune [1] is not possible; give a list of names in quotes"),
    "a list where one is meant": (DIGITS + "epochs = [1, 2]\n", "give one value; lists are for data and network"),
    "a text for a number": (DIGITS + 'epochs = "3"\n', "epochs '3' is not possible; give a whole number"),
    "a fraction of an epoch": (DIGITS + "epochs = 1.5\n", "epochs 1.5 is not possible; give a whole number"),
    "truth for a number": (DIGITS + "epochs = true\n", "epochs True is not possible"),
    "a number for truth": (DIGITS + "grey = 1\n", "grey 1 is not possible; give true or false"),
    "a table for a text": (DIGITS + "split = {}\n", "split {} is not possible"),
    "out of bounds": (DIGITS + "epochs = 0\n", "--epochs 0 is not possible"),
    "another task's option": (DIGITS + 'target = "y"\n', "is not an option of --task classification"),
    "two of one name": (DIGITS + DIGITS, "two problems are called 'digits-mlp'"),
    "two of nearly one name": (DIGITS + "name='a'\n" + DIGITS + "name='A'\n", "two problems are called 'A'"),
    "a path outside": (DIGITS + 'name = "../x"\n', "it names a folder inside of --out"),
    "a hidden name": (DIGITS + 'name = ".."\n', "it names a folder inside of --out"),
    "one of its files": (DIGITS + 'name = "suite.json"\n', "or a file of the suite"),
    "a name that is no text": (DIGITS + "name = 3\n", "name 3 is no text"),
    "other activations": (
        DIGITS + DIGITS + 'name = "b"\nactivations = ["relu", "ash"]\n',
        "activations of problem 'b': ['ash', 'relu'], and of 'digits-mlp': ['adact', 'apalu', 'asau', 'ash', 'relu']",
    ),
    "one activation": ('[defaults]\nactivations = ["relu"]\n' + DIGITS, "and one was named"),
    "a value that cannot be": ('[defaults]\nactivations = ["relu", "prelu:alpha=x"]\n' + DIGITS, "alpha"),
    "an unknown activation": ('[defaults]\nactivations = ["relu", "asua"]\n' + DIGITS, "asau"),
    "no way of comparing": ('differences = "percent"\n' + DIGITS, "give relative or points"),
    "points of what has none": (
        'differences = "points"\n[[problem]]\ntask = "regression"\ndata = "x.csv"\ntarget = "y"\n',
        "problem 'x-dnn' cannot be combined with the others: RMSE is not in percent; give differences = 'relative'",
    ),
    "auto without a margin": ('[defaults]\nseeds = "auto"\n' + DIGITS, "--seeds auto needs a --margin"),
    "several devices": (DIGITS + "devices = 2\n", "a suite trains each run on one device"),
    "too many": (
        "[[problem]]\ndata = [" + '"digits",' * 40 + "]\nnetwork = [" + '"mlp",' * 40 + "]\n",
        "more than 1,000 problems",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_cannot_be_is_refused_whole(case: str, suite: Path, run: Command, tmp_path: Path) -> None:
    text, words = BAD[case]
    (Path.cwd() / "x.csv").write_text("x,y\n1,2\n")
    suite.write_text(text)
    said = refused(run, "compare", "--suite", suite, "--out", tmp_path / "out")
    assert words in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--data", "digits"), "--data belongs into"),
        (("--plan",), "--plan is about one study"),
        (("--epochs", "0"), "--epochs 0 is not possible"),
        (("--jobs", "0"), "--jobs 0 is not possible"),
    ],
)
def test_options_beside_a_suite_that_cannot_be(
    arguments: tuple[str, ...], words: str, suite: Path, run: Command
) -> None:
    suite.write_text(DEFAULTS + DIGITS)
    assert words in refused(run, "compare", "--suite", suite, *arguments)


def test_lists_are_read_where_the_command_line_has_commas(suite: Path) -> None:
    text = DEFAULTS + DIGITS + 'schedule = "step"\nmilestones = [1, 2]\nepochs = 3\ntune = ["activation-lr", "lr"]\n'
    suite.write_text(text)
    (problem,) = suite_file.read(suite, {}).problems
    assert problem.settings.milestones == (1, 2)
    assert problem.settings.tune == ("lr", "activation-lr")


def test_no_file_and_a_folder(run: Command, tmp_path: Path) -> None:
    assert "there is no suite at" in refused(run, "compare", "--suite", tmp_path / "no.toml")
    assert refused(run, "compare", "--suite", tmp_path)


@pytest.fixture
def done(suite: Path, run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A suite of three problems, one of which fails, in the folder ``out``."""
    monkeypatch.setattr(figures, "draw", lambda *arguments: "<svg/>")
    (tmp_path / "bad.csv").write_text("x,y\n1,here\n2,there\n")
    failing = f'[[problem]]\nname = "bad"\ntask = "regression"\ndata = "{tmp_path / "bad.csv"}"\ntarget = "y"\n'
    suite.write_text("title = 'Mine'\n" + DEFAULTS + failing + DIGITS + "name = 'fast'\nlr = 0.01\n" + TINY)
    with briefly():
        outcome = run("compare", "--suite", suite, "--out", tmp_path / "out", "--jobs", "1")
    assert outcome.code == 0, outcome.err
    assert "Mine · 1 of 2 problems" in outcome.out
    assert "Over 1 of 2 problems, 2 seeds of each" in outcome.out
    assert "1 of 2 problems is in no number: bad (" in " ".join(outcome.out.split())
    assert max(map(len, outcome.out.splitlines()[:-1])) <= 80
    assert "problem 2 of 2: fast" in outcome.err
    return tmp_path / "out"


@pytest.mark.slow
def test_one_problem_fails_and_the_others_go_on(done: Path, suite: Path, run: Command) -> None:
    held = json.loads((done / "suite.json").read_text())
    assert [problem["name"] for problem in held["problems"]] == ["bad", "fast"]
    assert "y" in held["problems"][0]["failure"]
    assert (done / "fast" / "report.html").exists()
    study = json.loads((done / "fast" / "study.json").read_text())
    assert study["settings"]["learning_rate"] == 0.01
    assert "--lr 0.01" in (done / "fast" / "report.html").read_text()
    before = (done / "suite.csv").read_bytes()
    with briefly():
        again = run("compare", "--suite", suite, "--out", done, "--jobs", "1", "--json")
    assert "continuing: 4 of 4 runs are done already" in again.err
    assert again.json["sentences"][0].startswith("Over 1 of 2 problems")
    assert (done / "suite.csv").read_bytes() == before
    other = refused(run, "compare", "--suite", suite, "--out", done, "--epochs", "3")
    assert "holds another study than the problem 'fast' asks for (epochs 3, where study.json says 1)" in other
    assert "holds a study and no suite" in refused(run, "compare", "--suite", suite, "--out", done / "fast")
    shutil.rmtree(done / "fast")
    reported = run("report", done)
    assert reported.code == 2
    assert "fast (it has not been begun)" in reported.err


@pytest.mark.slow
def test_where_all_fail_the_command_does(suite: Path, run: Command, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("x,y\n1,here\n2,there\n")
    suite.write_text(f'[[problem]]\nname = "bad"\ntask = "regression"\ndata = "{tmp_path / "bad.csv"}"\ntarget = "y"\n')
    outcome = run("compare", "--suite", suite, "--out", tmp_path / "out", "--jobs", "1")
    assert outcome.code == 2
    assert "None of 1 problem has a result to compare." in outcome.err.splitlines()[-1]
