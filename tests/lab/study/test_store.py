"""The folder of a study: files written whole or not at all, one study to a folder, one process to a folder."""

from __future__ import annotations

import errno
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers_lab import TINY, tiny

from limen.errors import StudyError
from limen.lab.records import CostRow, DataFacts, EpochRow, RunRecord
from limen.lab.settings import EXTENDABLE, OF_TUNING, StudySettings
from limen.lab.study.forms import as_csv, run_row
from limen.lab.study.store import StudyFolder
from limen.writing import write_atomically

FACTS = DataFacts(
    name="digits", classes=("0", "1"), image_shape=(1, 8, 8), train=2, validation=1, test=1, fingerprint="abc"
)


def record(activation: str = "asau", seed: int = 0, **changed: object) -> RunRecord:
    values = {
        "activation": activation,
        "seed": seed,
        "status": "finished",
        "epochs": 1,
        "best_epoch": 1,
        "metrics": {"test_accuracy": 0.9},
        "seconds": 1.5,
        "ms_per_step": 2.5,
        "peak_memory_mb": 0.5,
        "parameters": 10,
        "activation_parameters": 2,
    }
    return RunRecord.model_validate({**values, **changed})


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    """A folder with a study in it."""
    folder = StudyFolder(tmp_path / "study")
    folder.path.mkdir()
    folder.open(tiny(), FACTS, {"torch": "1"}, "limen compare")
    return folder


def all_files(path: Path) -> set[str]:
    return {str(found.relative_to(path)) for found in path.rglob("*")}


# --- atomic writes ---


def no_space(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "table.csv"
    write_atomically(path, "old")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", no_space)
        with pytest.raises(OSError, match="No space left"):
            write_atomically(path, "new" * 10_000)
    assert path.read_text() == "old"
    assert all_files(tmp_path) == {"table.csv"}
    write_atomically(path, "new")
    assert path.read_text() == "new"


@pytest.mark.parametrize("interrupting", ["chmod", "replace"])
def test_an_interrupted_write_leaves_the_old_file(
    interrupting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "table.csv"
    write_atomically(path, "old")
    with monkeypatch.context() as patched:
        patched.setattr(os, interrupting, interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_atomically(path, "new")
    assert path.read_text() == "old"
    assert all_files(tmp_path) == {"table.csv"}


def test_a_device_and_a_pipe_stay_what_they_are(tmp_path: Path) -> None:
    # Tried on ones of its own: as root, a file put in the place of /dev/null takes it from the whole machine.
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for name in (pipe, link):
        reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        write_atomically(name, "ü")
        assert os.read(reading, 10) == "ü".encode()
        os.close(reading)
    assert pipe.is_fifo()
    assert link.is_symlink()
    with pytest.raises(OSError, match="directory"):
        write_atomically(tmp_path, "")


def test_the_file_is_whole_on_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = tmp_path / "table.csv", []
    really = os.fsync

    def flushed(descriptor: int) -> None:
        seen.append((os.fstat(descriptor).st_size, path.exists()))
        really(descriptor)

    monkeypatch.setattr(os, "fsync", flushed)
    write_atomically(path, "ü" * 50)
    assert seen == [(100, False)]
    assert path.read_text(encoding="utf-8") == "ü" * 50


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_follow_the_umask(mask: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        write_atomically(tmp_path / "table.csv", "text")
        (tmp_path / "plain.csv").write_text("text")
        assert os.umask(mask) == mask  # reading the umask has put it back
    finally:
        os.umask(before)
    modes = {name: (tmp_path / name).stat().st_mode & 0o777 for name in ("table.csv", "plain.csv")}
    assert modes == {"table.csv": 0o666 & ~mask, "plain.csv": 0o666 & ~mask}


# --- run files ---

ODD = (
    "asau", "asau:beta=2", "asau:beta=-2", "asau:beta=2.0", "asau:beta=2,alpha=3", "asau beta 2", "ASAU", "asau ",
    "../../x", "../x", "/etc/x", "x", "..", ".", "", "a/b", "a\\b", "a\0b", "ü", "con", "x" * 500, "x" * 501, "x" * 60,
    "asau:beta=2:", "asau\n", "adact:candidates=relu+silu", "adact:candidates=relu-silu",
)  # fmt: skip


def test_odd_specs_never_clash_and_never_leave_the_folder(folder: StudyFolder) -> None:
    paths = {(spec, seed): folder.run_path(spec, seed) for spec in ODD for seed in (0, 1, 10)}
    assert len({str(path).lower() for path in paths.values()}) == len(paths)
    for path in paths.values():
        assert path.parent == folder.path / "runs"
        assert len(path.name) < 120
        assert path.name.isascii()
        assert not path.name.startswith(".")


def test_odd_specs_are_read_back(folder: StudyFolder) -> None:
    for index, spec in enumerate(ODD):
        folder.write_run(record(spec, 0, parameters=index))
    assert [folder.read_run(spec, 0) for spec in ODD] == [
        record(spec, 0, parameters=index) for index, spec in enumerate(ODD)
    ]
    assert len(list((folder.path / "runs").iterdir())) == len(ODD)


def test_a_plain_name_is_a_plain_file_name(folder: StudyFolder) -> None:
    assert folder.run_path("leaky_relu", 3).name == "leaky_relu-seed3.json"


def test_numbers_survive_the_round_trip(folder: StudyFolder) -> None:
    row = EpochRow(
        epoch=1, train_loss=math.inf, train_accuracy=0.1 + 0.2, heldout_loss=-math.inf, heldout_accuracy=1 / 3
    )
    run = record(peak_memory_mb=math.nan, curves=(row,), metrics={"test_loss": 1e-300, "test_accuracy": 0.1})
    folder.write_run(run)
    found = folder.read_run("asau", 0)
    assert found is not None
    assert found.curves == run.curves
    assert found.metrics == run.metrics
    assert math.isnan(found.peak_memory_mb)


def test_costs_survive_the_round_trip(folder: StudyFolder) -> None:
    assert folder.read_costs() == ()
    row = CostRow(
        activation="asau", ms_per_step=1.5, ratio=1.1, ratio_low=math.inf, ratio_high=2, peak_memory_mb=3, parameters=4
    )
    folder.write_costs([row])
    assert folder.read_costs() == (row,)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"activation": "asau"}', "\0\0\0", '{"seed": "x"}'])
def test_a_damaged_run_is_named(content: str, folder: StudyFolder) -> None:
    path = folder.run_path("asau", 0)
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(StudyError) as caught:
        folder.read_runs(tiny())
    message = str(caught.value)
    assert message.startswith(f"{path} cannot be read (")
    assert message.endswith("delete it to make it anew.")
    assert "\n" not in message
    path.unlink()
    assert folder.read_runs(tiny()) == ()


def test_half_a_run_is_damaged(folder: StudyFolder) -> None:
    folder.write_run(record())
    path = folder.run_path("asau", 0)
    whole = path.read_bytes()
    for part in (1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:part])
        with pytest.raises(StudyError, match=r"asau-seed0\.json cannot be read"):
            folder.read_run("asau", 0)


def test_unknown_keys_are_damage(folder: StudyFolder) -> None:
    path = folder.run_path("asau", 0)
    write_atomically(path, record().model_dump_json()[:-1] + ',"more":1}')
    with pytest.raises(StudyError, match="more: Extra inputs"):
        folder.read_run("asau", 0)


def test_a_damaged_study_and_damaged_costs_are_named(folder: StudyFolder) -> None:
    (folder.path / "cost.json").write_text("[1]")
    with pytest.raises(StudyError, match=r"cost\.json cannot be read"):
        folder.read_costs()
    (folder.path / "study.json").write_text('{"settings": ')
    # To delete it would not help: the rest of the folder is no study without it.
    with pytest.raises(StudyError, match=r"study\.json cannot be read.*choose another --out\."):
        folder.open(tiny(), FACTS, {}, "")


# --- one study to a folder ---


def test_the_same_study_continues(folder: StudyFolder) -> None:
    study = folder.open(tiny(), FACTS, {"torch": "2"}, "limen compare again")
    assert study.settings == tiny()
    assert folder.read_study() == study
    assert study.environment == {"torch": "2"}


def test_activations_and_seeds_may_be_added(folder: StudyFolder) -> None:
    more = folder.open(tiny(activations=("ash", "relu"), seeds=(0, 1, 2)), FACTS, {}, "")
    assert more.settings.activations == ("relu", "asau", "ash")
    assert more.settings.seeds == (0, 1, 2)
    fewer = folder.open(tiny(activations=("relu",), seeds=(0,)), FACTS, {}, "")
    assert fewer.settings.activations == ("relu", "asau", "ash")
    assert fewer.settings.seeds == (0, 1, 2)


def test_where_a_study_runs_may_change(folder: StudyFolder) -> None:
    study = folder.open(tiny(device="cuda", data_dir="/elsewhere"), FACTS, {}, "")
    assert (study.settings.device, study.settings.data_dir) == ("cuda", "/elsewhere")


OTHER = {
    "task": "regression",
    "target": "price",
    "time": "day",
    "drop": ("id",),
    "window": 5,
    "ignore_label": 11,
    "split": "blocks",
    "foreground": True,
    "intensity": (-160.0, 240.0),
    "orientation": "stored",
    "normal_class": "3",
    "test_data": "another.csv",
    "tokens": "bytes",
    "stride": 3,
    "text": "body",
    "observe": ("gradients",),
    "data": "mnist",
    "image_size": (8, 9),
    "grey": True,
    "limit_train": 201,
    "limit_test": None,
    "network": "convnet",
    "baseline": "asau",
    "epochs": 3,
    "batch_size": 32,
    "eval_batch_size": 10,
    "learning_rate": 0.1,
    "weight_decay": 0.1,
    "activation_lr": 0.2,
    "channels_last": True,
    "threads_per_run": 2,
    "protocol": "paper",
    "validation_fraction": 0.2,
    "test_fraction": 0.3,
    "split_seed": 1,
    "devices": 2,
    "strategy": "ddp",
    "precision": "bf16-mixed",
    "accumulate": 2,
    "compile": True,
    "optimizer": "adam",
    "momentum": 0.9,
    "nesterov": True,
    "schedule": "cosine",
    "warmup": 0.5,
    "milestones": (1, 2),
    "factor": 0.2,
    "augment": "flip",
    "label_smoothing": 0.1,
    "clip": 1.0,
    "ema": 0.9,
}


def test_every_setting_is_either_extendable_or_tested_below() -> None:
    # What tunes is tested with tuning.
    assert set(OTHER) | EXTENDABLE | OF_TUNING == set(StudySettings.model_fields)


@pytest.mark.parametrize("key", OTHER)
def test_another_setting_is_refused_and_named(key: str, folder: StudyFolder) -> None:
    before = (folder.path / "study.json").read_bytes()
    with pytest.raises(StudyError) as caught:
        folder.open(tiny(**{key: OTHER[key]}), FACTS, {}, "")
    there = TINY.get(key, StudySettings.model_fields[key].default)
    assert f"({key} {there!r} there, {OTHER[key]!r} now)" in str(caught.value)
    assert "choose another --out or the same settings" in str(caught.value)
    assert (folder.path / "study.json").read_bytes() == before


def test_several_differences_are_all_named(folder: StudyFolder) -> None:
    with pytest.raises(StudyError, match=r"network 'mlp' there, 'convnet' now; epochs 2 there, 7 now"):
        folder.open(tiny(network="convnet", epochs=7), FACTS, {}, "")


def test_changed_data_is_refused(folder: StudyFolder) -> None:
    with pytest.raises(StudyError, match="the images of 'digits' have changed since"):
        folder.open(tiny(), FACTS.model_copy(update={"fingerprint": "def"}), {}, "")


@pytest.mark.parametrize("name", ["runs.csv", "summary.csv", "report.html", "cost.json", "runs"])
def test_a_folder_with_foreign_files_is_refused(name: str, tmp_path: Path) -> None:
    if name == "runs":
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_text("mine")
    with pytest.raises(StudyError, match=f"holds '{name}' but no study.json"):
        StudyFolder(tmp_path).open(tiny(), FACTS, {}, "")
    assert not (tmp_path / "study.json").exists()


def test_a_folder_with_other_files_is_fine(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    StudyFolder(tmp_path).open(tiny(), FACTS, {}, "")


# --- one process to a folder ---

HOLD = """
import sys
from pathlib import Path
from limen.lab.study.store import StudyFolder
lock = StudyFolder(Path(sys.argv[1])).lock()
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_told_and_a_dead_one_holds_nothing(tmp_path: Path) -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(
            StudyError,
            match=rf"another limen is writing to {tmp_path} \(process {other.pid} on .*, since 2.*\); wait for it",
        ):
            StudyFolder(tmp_path).lock()
    finally:
        other.kill()
        other.communicate()
    with StudyFolder(tmp_path).lock():
        pass


def test_the_lock_is_given_back(tmp_path: Path) -> None:
    for _ in range(2):
        with StudyFolder(tmp_path / "new").lock(), pytest.raises(StudyError, match="another limen"):
            StudyFolder(tmp_path / "new").lock()


@pytest.mark.parametrize("inside", ["", "below", "far/below"])
def test_a_folder_that_cannot_be(inside: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StudyError, match=r"cannot be made .*choose another --out"):
        StudyFolder(tmp_path / "file" / inside).lock()
    assert (tmp_path / "file").read_text() == "mine"


# --- tables ---


def test_a_row_has_the_metrics_and_no_curves() -> None:
    failed = record(
        "ash:z_k=1,alpha=2", 1, status="failed", failure='it said "no", twice', metrics={}, peak_memory_mb=math.nan
    )
    text = as_csv([run_row(record()), run_row(failed)])
    head, first, second = text.splitlines()
    assert head == (
        "activation,seed,status,epochs,best_epoch,seconds,ms_per_step,peak_memory_mb,parameters,"
        "activation_parameters,test_accuracy,failure"
    )
    assert first == "asau,0,finished,1,1,1.5,2.5,0.5,10,2,0.9,"
    assert second == '"ash:z_k=1,alpha=2",1,failed,1,1,1.5,2.5,nan,10,2,,"it said ""no"", twice"'
