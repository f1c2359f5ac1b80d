"""The commands: bad input is exit code 2 and one sentence, ``--json`` is JSON, ``--help`` has an example."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args, get_type_hints

import click
import pytest
import torch
import typer
from helpers_lab import TINY_OPTIONS, Command, Recorder, command, experiment_of, stored, subprocess_command, tiny
from PIL import Image

import limen
from limen import cli
from limen.commands.common import finite
from limen.errors import SpecError
from limen.lab import data, networks
from limen.lab.fields import SelectFields, StudyFields
from limen.lab.option import NOT_AN_OPTION
from limen.lab.settings import SelectSettings, StudySettings
from limen.lab.study import compare as study
from limen.lab.study import store
from limen.lab.study.compare import compare
from limen.lab.tasks import registry
from limen.lab.training.task import Task

FAST = ("compare", *TINY_OPTIONS, "--epochs", "1", "--seeds", "2", "--activations", "relu,asau")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """``limen ARGUMENTS`` in this process."""
    return command(monkeypatch, capsys)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that goes wrong may write to the repository."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


def refused(run: Command, *arguments: str | Path) -> str:
    outcome = run(*arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    return outcome.sentence


# --- bad input ---

BAD = {
    "--activations asua": "no activation is called 'asua'. Did you mean 'asau'?",
    "--activations relu,asau:beta": "'beta' is not of the form argument=value",
    "--activations relu,asau:gamma=1": "ASAU has no argument 'gamma'.",
    "--activations relu,relu": "named twice in relu, relu; name each once.",
    "--activations ,": "--activations must name at least one",
    "--activations relu,maxout": "'maxout' changes the shape of its input",
    "--baseline elu": "the baseline 'elu' is not among the activations relu, ash, asau, apalu, adact; add it.",
    "--data digitz": "called 'digitz' and no such path exists. Did you mean 'digits'?",
    "--data gone/photos.zip": "gone/photos.zip does not exist; check the spelling",
    "--network convnett": "no network is called 'convnett'. Did you mean 'convnet'?",
    "--network nowhere.nets:small": "'nowhere.nets:small' cannot be imported (ModuleNotFoundError: No module named",
    "--seeds 0": "--seeds 0 is not possible: give the number of runs of each activation, 1 or more.",
    "--seeds -2": "--seeds -2 is not possible",
    "--epochs 0": "--epochs 0 is not possible: input should be greater than or equal to 1.",
    "--protocol foo": "--protocol 'foo' is not possible: input should be 'honest', 'paper' or 'both'.",
    "--image-size foo": "--image-size 'foo' is not a size; give 32, or 32x48 for height x width.",
    "--image-size 8x8x8": "--image-size '8x8x8' is not a size",
    "--image-size 0": "--image-size '0' is not a size",
    "--image-size ²": "--image-size '²' is not a size",
    "--lr 0": "--learning-rate 0.0 is not possible",
    "--lr nan": "--learning-rate nan is not possible",
    "--lr inf": "--learning-rate inf is not possible: input should be a finite number.",
    "--weight-decay -1": "--weight-decay -1.0 is not possible",
    "--batch-size 1": "--batch-size 1 is not possible",
    "--eval-batch-size 0": "--eval-batch-size 0 is not possible",
    "--validation-fraction 1": "--validation-fraction 1.0 is not possible",
    "--test-fraction 0": "--test-fraction 0.0 is not possible",
    "--split-seed -1": "--split-seed -1 is not possible",
    "--limit-train 5": "limit of 5 train images is below one for each of the 10 classes of digits; raise it to 10",
    "--limit-train 0": "--limit-train 0 is not possible",
    "--limit-test 3": "limit of 3 test images is below one for each of the 10 classes",
    "--device foo": "the device 'foo' cannot be used here",
    "--device cuda:99": "the device 'cuda:99' cannot be used here",
}


@pytest.mark.parametrize("options", BAD)
def test_bad_options_end_in_one_sentence(options: str, run: Command, tmp_path: Path) -> None:
    assert BAD[options] in refused(run, "compare", *options.split(), "--out", "out")
    assert list(tmp_path.iterdir()) == []  # refused before anything was written


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(run: Command) -> None:
    sentence = refused(run, "compare", "--device", "cuda", "--out", "out")
    assert "the device 'cuda' cannot be used here" in sentence
    assert sentence.endswith("use --device cpu.")


@pytest.mark.parametrize("arguments", [["compare", "--seeds", "x"], ["compare", "--foo"], ["foo"], ["report"]])
def test_what_is_no_command_or_option(arguments: list[str], run: Command) -> None:
    outcome = run(*arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    assert any(word in outcome.err for word in ("--seeds", "--foo", "'foo'", "'out'", "OUT"))


def test_a_bad_option_in_a_process_of_its_own(tmp_path: Path) -> None:
    outcome = subprocess_command("compare", "--activations", "asua", cwd=tmp_path)
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.sentence == "limen: no activation is called 'asua'. Did you mean 'asau'?"


def test_debug_lets_the_error_through(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in (["compare", "--seeds", "0", "--debug"], ["--debug", "compare", "--seeds", "0"]):
        monkeypatch.setattr(sys, "argv", ["limen", *place])
        with pytest.raises(SpecError, match="--seeds 0 is not possible"):
            cli.main()
    assert "limen: --seeds" in refused(run, "compare", "--seeds", "0")


# --- bad images ---


def png(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (8, 8), shade).save(file, "PNG")
    return file.getvalue()


def packed(path: Path, folders: dict[str, int], **more: bytes) -> Path:
    """A zip with so many images in each folder."""
    with zipfile.ZipFile(path, "w") as archive:
        for folder, count in folders.items():
            for index in range(count):
                archive.writestr(f"{folder}/{index}.png", png(20 * index))
        for name, content in more.items():
            archive.writestr(name, content)
    return path


def refused_data(run: Command, path: Path, *options: str) -> str:
    return refused(run, "compare", "--data", path, "--out", "out", *options)


def test_good_images_are_compared(run: Command, tmp_path: Path) -> None:
    path = packed(tmp_path / "pets.zip", {"cat": 8, "dog": 8})
    outcome = run(
        "compare", "--data", path, "--network", "mlp", "--activations", "relu", "--seeds", "1", "--epochs", "1"
    )
    assert outcome.code == 0
    assert (tmp_path / "runs/pets-mlp/report.html").exists()  # the default --out
    assert "pets" in outcome.out


def test_a_truncated_zip(run: Command, tmp_path: Path) -> None:
    path = packed(tmp_path / "pets.zip", {"cat": 8, "dog": 8})
    os.truncate(path, path.stat().st_size // 2)
    sentence = refused_data(run, path)
    assert str(path) in sentence
    assert "damaged or incomplete" in sentence


def test_an_image_that_does_not_decode(run: Command, tmp_path: Path) -> None:
    path = packed(tmp_path / "pets.zip", {"cat": 8, "dog": 8}, **{"cat/bad.png": png(0)[:40]})
    assert f"'cat/bad.png' in {path} does not decode as an image" in refused_data(run, path)


def test_one_class_only(run: Command, tmp_path: Path) -> None:
    assert "only one class, 'cat'" in refused_data(run, packed(tmp_path / "pets.zip", {"cat": 8}))


def test_class_sets_that_differ(run: Command, tmp_path: Path) -> None:
    path = packed(tmp_path / "pets.zip", {"train/cat": 4, "train/dog": 4, "test/cat": 4, "test/cow": 4})
    sentence = refused_data(run, path)
    assert "class 'cow'" in sentence or "class 'dog'" in sentence


def test_too_few_images_to_divide(run: Command, tmp_path: Path) -> None:
    assert "every class needs at least 2" in refused_data(run, packed(tmp_path / "pets.zip", {"cat": 1, "dog": 9}))


def test_a_network_that_needs_larger_images(run: Command, tmp_path: Path) -> None:
    (tmp_path / "own_large_net.py").write_text(
        "from torch import nn\n"
        "def large(num_classes):\n"
        "    return nn.Sequential(nn.Conv2d(1, 4, 11), nn.ReLU(), nn.Flatten(), nn.LazyLinear(num_classes))\n"
    )
    sentence = refused(run, *FAST, "--network", "own_large_net:large", "--out", "out")
    assert "cannot take images of shape (1, 8, 8)" in sentence
    assert "try another --image-size or --network" in sentence


# --- bad places ---


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished study. Tests may only read it."""
    out = tmp_path_factory.mktemp("studies") / "finished"
    torch.manual_seed(0)
    compare(tiny(epochs=1, seeds=(0,)), out, Recorder())
    return out


def test_the_folder_of_another_study(run: Command, finished: Path) -> None:
    before = stored(finished)
    sentence = refused(run, *FAST, "--epochs", "2", "--out", finished)
    assert f"{finished} holds another study (epochs 1 there, 2 now); choose another --out" in sentence
    assert stored(finished) == before


def test_a_folder_with_foreign_results(run: Command, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/runs.csv").write_text("mine")
    assert "holds 'runs.csv' but no study.json" in refused(run, *FAST, "--out", "out")
    assert (tmp_path / "out/runs.csv").read_text() == "mine"


def test_a_damaged_run_is_named(run: Command, finished: Path, tmp_path: Path) -> None:
    for name, (content, _) in stored(finished).items():
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_bytes(content)
    (tmp_path / "out/runs/asau-seed0.json").write_bytes(b"{")
    for arguments in ((*FAST, "--out", "out"), ("report", "out")):
        sentence = refused(run, *arguments)
        assert "out/runs/asau-seed0.json cannot be read" in sentence
        assert sentence.endswith("delete it to make it anew.")


def test_a_folder_in_use(run: Command, tmp_path: Path) -> None:
    with store.StudyFolder(tmp_path / "out").lock():
        assert "another limen is writing to out; wait for it" in refused(run, *FAST, "--out", "out")


def test_a_file_in_place_of_a_folder(run: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for out in ("file", "file/below"):
        sentence = refused(run, *FAST, "--out", out)
        assert f"the folder {out} cannot be made" in sentence
        assert "choose another --out" in sentence
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a place where not even root can write")
def test_a_place_where_nobody_can_write(run: Command) -> None:
    assert "/proc/limen-test" in refused(run, *FAST, "--out", "/proc/limen-test/out")


@contextmanager
def nobody() -> Iterator[None]:
    """Permission bits do not bind root, so be someone else."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_no_permission_to_write(run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    experiment = experiment_of(tiny())
    monkeypatch.setattr(study, "prepare", lambda task, settings: experiment)
    with nobody():
        sentence = refused(run, *FAST, "--out", locked / "out")
    assert f"no permission to write or read {locked / 'out'}" in sentence
    assert "choose another folder" in sentence


def test_a_full_disk_keeps_what_is_done(run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written, really = [], os.fsync

    def full_after_six(descriptor: int) -> None:
        if len(written) == 6:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(descriptor)
        really(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full_after_six)
        outcome = run(*FAST, "--out", "out")
    assert outcome.code == 2
    assert "Traceback" not in outcome.err
    assert outcome.err.splitlines()[-1] == (
        "limen: the disk is full, writing failed; free some space and give the same command, nothing is lost."
    )
    # study.json, then for each run its record and two tables: the second run's last table did not fit.
    kept = {name: content for name, content in stored(tmp_path / "out").items() if name.startswith("runs/")}
    assert kept.keys() == {"runs/relu-seed0.json", "runs/asau-seed0.json"}
    assert not any(path.name.startswith(".") and path.name != ".lock" for path in (tmp_path / "out").rglob("*"))
    again = run(*FAST, "--out", "out")
    assert again.code == 0
    assert "continuing: 2 of 4 runs are done already" in again.err
    assert {name: stored(tmp_path / "out")[name] for name in kept} == kept


def test_a_disk_that_is_full_from_the_start(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        assert "the disk is full" in refused(run, *FAST, "--out", "out")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/a/b"), "no permission to write or read /a/b; choose"),
        (OSError(errno.EROFS, "Read-only file system", "/a/b"), "no permission to write or read /a/b; choose"),
        (OSError(errno.ENOSPC, "No space left", "/a/b"), "the disk is full, writing /a/b failed; free"),
        (OSError(errno.EIO, "Input/output error", "/a/b"), "Input/output error /a/b."),
        (ModuleNotFoundError("No module named 'lightning'", name="lightning"), "pip install 'limen[lab]'"),
    ],
)
def test_what_the_system_says_becomes_a_sentence(
    error: Exception, expected: str, run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **named: object) -> None:
        raise error

    monkeypatch.setattr(study, "compare", fail)
    assert expected in run("compare").err


def test_ctrl_c(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(study, "compare", interrupt)
    outcome = run("compare")
    assert outcome.code == 130
    assert outcome.sentence == "limen: interrupted; finished runs are kept, and the same command continues."


def test_report_of_nothing(run: Command, tmp_path: Path) -> None:
    assert "there is no study in none: study.json is missing" in refused(run, "report", "none")
    (tmp_path / "file").write_text("")
    assert "there is no study in file" in refused(run, "report", "file")


def test_every_run_failed(run: Command) -> None:
    outcome = run(*FAST, "--lr", "1e30", "--out", "out", "--json")
    assert outcome.code == 2
    assert "Traceback" not in outcome.err
    assert outcome.err.count("limen:") == 1
    assert outcome.err.splitlines()[-1] == (
        "limen: every run failed: the loss stopped being finite; try a smaller --lr."
    )
    found = outcome.json
    assert {row["status"] for row in found["runs"]} == {"failed"}
    assert all("the loss became" in row["failure"] for row in found["runs"])
    assert {row["mean"] for row in found["summary"]} == {None}
    assert run("report", "out").code == 2


# --- good output ---


def test_compare_prints_a_table(run: Command) -> None:
    outcome = run(*FAST, "--out", "out")
    assert outcome.code == 0
    head, *_ = outcome.out.splitlines()
    assert "digits · mlp · 1 epochs" in head
    assert all(word in outcome.out for word in ("relu", "asau", "baseline", "Report: out/report.html"))
    assert max(map(len, outcome.out.splitlines())) <= 80
    assert "4/4 asau · seed 1: test " in outcome.err
    assert "Report" not in outcome.err


def test_compare_as_json(run: Command) -> None:
    outcome = run(*FAST, "--seeds", "1", "--out", "out", "--json")
    assert outcome.code == 0
    found = outcome.json
    assert found.keys() == {"summary", "runs", "report"}
    assert [row["activation"] for row in found["runs"]] == ["relu", "asau"]
    assert 0 <= found["runs"][0]["test_accuracy"] <= 1
    assert found["summary"][0]["verdict"] == "baseline"
    assert found["summary"][1]["low"] is None  # one seed has no interval
    assert Path(found["report"]).exists()
    assert "2/2 asau · seed 0" in outcome.err  # progress goes to standard error
    again = run("report", "out", "--json")
    assert again.code == 0
    assert again.err == ""
    assert again.json == found


def test_swap_prints_tables(run: Command) -> None:
    outcome = run("swap", "resnet20", "--to", "asau", "--keep", "blocks.0.*", "--num-parameters", "channel")
    assert outcome.code == 0
    assert "17 replaced, 2 kept, 0 not reached" in outcome.out
    assert "_resnet.py:" in outcome.out
    assert "num_parameters=64" in " ".join(outcome.out.split())
    assert max(map(len, outcome.out.splitlines())) <= 80


def test_swap_as_json(run: Command) -> None:
    outcome = run("swap", "resnet20", "--to", "asau:beta=2", "--where", "stem.*", "--json")
    assert outcome.code == 0
    assert [site["path"] for site in outcome.json["sites"]] == ["stem.2"]
    assert len(outcome.json["skipped"]) == 18
    for wrong in (["--where", "stam.*"], ["--share", "all"], ["--num-parameters", "many"]):
        assert run("swap", "resnet20", "--to", "asau", *wrong).code == 2


def test_the_command_is_kept_in_the_study(run: Command, tmp_path: Path) -> None:
    run(*FAST, "--activations", "relu, asau:beta=2", "--seeds", "1", "--out", "out")
    known = store.StudyFolder(tmp_path / "out").read_study()
    assert known is not None
    assert known.command.startswith("limen compare --data digits")
    assert "'relu, asau:beta=2'" in known.command
    assert known.settings.activations == ("relu", "asau:beta=2")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": [float("nan"), 1.5], "b": (float("inf"), "x")}, {"a": [None, 1.5], "b": [None, "x"]}),
        ({"a": -float("inf"), "b": {"c": float("nan")}, "d": True}, {"a": None, "b": {"c": None}, "d": True}),
    ],
)
def test_what_json_cannot_say_is_null(value: Any, expected: Any) -> None:
    assert finite(value) == expected


def test_list_names_everything(run: Command) -> None:
    outcome = run("list")
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert set(limen.names()) <= set(lines)
    assert f"networks: {', '.join(networks.NETWORKS)}" in outcome.out
    assert all(name in lines[-1] for name in data.names())


def test_list_as_json(run: Command) -> None:
    outcome = run("list", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    found = outcome.json
    assert [item["name"] for item in found["activations"]] == list(limen.names())
    assert all(item["formula"] and item["source"] for item in found["activations"])
    asau = next(item for item in found["activations"] if item["name"] == "asau")
    assert asau["parameters"] == {"alpha": 1.0, "beta": 1.0}
    assert asau["settings"] == {"a": 0.01, "b": 1.0}
    assert found["networks"] == list(networks.NETWORKS)
    assert found["data"] == list(data.names())


def test_list_names_what_others_registered(run: Command) -> None:
    @limen.register("mine")
    class Mine(limen.Activation):
        """Mine."""

        @staticmethod
        def formula(x: Any) -> Any:
            return x

    assert "mine" in run("list").out.splitlines()


def test_doctor(run: Command) -> None:
    outcome = run("doctor")
    assert (outcome.code, outcome.err) == (0, "")
    found = run("doctor", "--json").json
    assert {"versions", "devices", "path"} <= found.keys()
    assert found["versions"]["torch"] == torch.__version__
    assert found["versions"]["limen"] == limen.__version__
    assert "threads" in found["devices"]["cpu"]
    assert ("cuda:0" in found["devices"]) == torch.cuda.is_available()
    assert found["path"]["cpu"]
    for section, entries in found.items():
        assert section in outcome.out
        assert all(f"{name} " in outcome.out and value in outcome.out for name, value in entries.items())


# --- help ---

COMMANDS = tuple(
    info.name or info.callback.__name__.rstrip("_") for info in cli.app.registered_commands if info.callback
)


def test_the_commands_are_the_documented_ones() -> None:
    assert {"compare", "report", "list", "doctor"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_each_command_has_help_with_an_example(name: str, flag: str, run: Command) -> None:
    outcome = run(name, flag)
    assert (outcome.code, outcome.err) == (0, "")
    assert f"Example: limen {name}" in outcome.out


def test_help_names_every_command(run: Command) -> None:
    outcome = run("--help")
    assert outcome.code == 0
    assert all(name in outcome.out for name in COMMANDS)
    assert "Example: limen compare" in outcome.out
    assert run().code in (0, 2)  # no arguments: help as well, not an error of ours


IMPORTS = """
import sys
sys.argv = ["limen", *sys.argv[1:]]
from limen.cli import main
try:
    main()
except SystemExit as ending:
    assert not ending.code, ending.code
heavy = sorted({"torch", "lightning", "numpy", "scipy", "sklearn", "sympy"} & sys.modules.keys())
sys.exit(f"imported {heavy}" if heavy else 0)
"""


@pytest.mark.parametrize("arguments", [["--help"], ["compare", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Example:" in done.stdout


def test_without_the_commands_packages() -> None:
    code = "import sys; sys.modules['typer'] = None; import limen.cli"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr == "limen: the commands need more packages; install them with: pip install 'limen[lab]'\n"


# --- settings and their options ---

STUDIES = {"compare": (StudyFields, StudySettings), "select": (SelectFields, SelectSettings)}
NO_OPTIONS = {"compare": set(), "select": {"kind", "activations"}}


def parameters(name: str) -> dict[str, click.Parameter]:
    group: Any = typer.main.get_command(cli.app)
    return {parameter.name: parameter for parameter in group.commands[name].params}


@pytest.mark.parametrize("name", STUDIES)
def test_every_setting_is_an_option_with_help_or_says_that_it_is_none(name: str, run: Command) -> None:
    fields, settings = STUDIES[name]
    known, declared = parameters(name), get_type_hints(fields, include_extras=True)
    assert declared.keys() == settings.model_fields.keys()
    without = {field for field, hint in declared.items() if NOT_AN_OPTION in get_args(hint)}
    assert without == NO_OPTIONS[name]
    assert known.keys() - {"out", "as_json", "help"} == declared.keys() - without
    for field in declared.keys() - without:
        assert f"--{field.replace('_', '-')}" in known[field].opts
        assert len(known[field].help.rstrip(".")) > 10


GIVEN = {"target": "x", "time": "x", "window": "7", "ignore_label": "3", "foreground": "", "intensity": "1,2",
         "normal_class": "x", "split": "blocks", "image_size": "8", "grey": "", "channels_last": ""}  # fmt: skip
"""A value of each option that not every task has."""


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.parametrize("task", registry.ALL, ids=lambda task: task.name)
def test_options_of_other_tasks_are_refused(task: Task, name: str, run: Command, tmp_path: Path) -> None:
    assert set(GIVEN) == set().union(*(other.options for other in registry.ALL))
    for option in sorted(registry.hidden_options(task)):
        flag = f"--{option.replace('_', '-')}"
        sentence = refused(run, name, "--task", task.name, flag, *filter(None, [GIVEN[option]]), "--out", "out")
        assert sentence.startswith(f"limen: {flag} ")
        assert f"is not an option of --task {task.name}, only of " in sentence
    assert list(tmp_path.iterdir()) == []
