"""A study that was asked for more says when, and gives one command that makes all of it again."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers_lab import Command, command, tiny
from pydantic import TypeAdapter

from limen.commands.study import validated
from limen.lab.fields import SelectFields, StudyFields
from limen.lab.option import hints, options
from limen.lab.records import Asked, DataFacts
from limen.lab.settings import SelectSettings, StudySettings
from limen.lab.study.command import whole_command
from limen.lab.study.store import StudyFolder
from limen.lab.study.study import Study
from limen.lab.tasks import registry

FIXTURES = Path(__file__).parents[2] / "fixtures/studies"
FACTS = DataFacts(name="d", classes=("a",), image_shape=(1,), train=2, validation=1, test=1, fingerprint="ab")
DATE = r"20\d\d-\d\d-\d\d \d\d:\d\d UTC"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return command(monkeypatch, capsys)


def opened(path: Path, **changed: Any) -> Study:
    folder = StudyFolder(path)
    return folder.open(tiny(**changed), FACTS, {}, "")


def test_each_addition_is_noted_once_with_its_date(tmp_path: Path) -> None:
    first = opened(tmp_path)
    assert [(one.activations, one.seeds) for one in first.asked] == [(("relu", "asau"), (0, 1))]
    before = (tmp_path / "study.json").read_bytes()
    assert opened(tmp_path, seeds=(0,)).asked == first.asked
    assert opened(tmp_path).asked == first.asked
    assert (tmp_path / "study.json").read_bytes() == before
    more = opened(tmp_path, activations=("relu", "ash"), seeds=(0, 1, 2))
    assert more.asked[:1] == first.asked
    assert [(one.activations, one.seeds) for one in more.asked[1:]] == [(("ash",), (2,))]
    assert all(re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", one.when) for one in more.asked)
    assert StudyFolder(tmp_path).read_study() == more


def test_an_old_folder_that_grows_says_that_its_beginning_has_no_date(tmp_path: Path, run: Command) -> None:
    shutil.copytree(FIXTURES / "digits", tmp_path / "digits")
    folder = StudyFolder(tmp_path / "digits")
    known = folder.read_study()
    assert known is not None
    assert known.asked == ()
    grown = known.settings.model_copy(update={"seeds": (0, 1, 2)})
    study = folder.open(grown, known.data, {}, known.command)
    assert study.asked[0] == Asked(when="", activations=("relu", "asau"), seeds=(0, 1))
    assert study.asked[1].seeds == (2,)
    outcome = run("report", tmp_path / "digits")
    assert "It began before its dates were noted with relu and asau" in " ".join(outcome.out.split())


def test_a_grown_study_says_so_everywhere_and_is_one_command(run: Command, tmp_path: Path) -> None:
    small = ("--data", "digits", "--network", "mlp", "--limit-train", "100", "--limit-test", "60", "--epochs", "1")
    assert run("compare", *small, "--activations", "relu", "--seeds", "1", "--out", tmp_path / "out").code == 0
    page = (tmp_path / "out/report.html").read_text()
    assert "This study grew" not in page
    outcome = run("compare", *small, "--activations", "gelu", "--baseline", "relu", "--out", tmp_path / "out")
    assert outcome.code == 2  # the baseline is not among them
    more = ("--activations", "relu,swish:beta=2", "--seeds", "2", "--lr", "0.001")
    outcome = run("compare", *small, *more, "--out", tmp_path / "out")
    assert outcome.code == 0
    page = (tmp_path / "out/report.html").read_text()
    for text in (page, " ".join(outcome.out.split())):
        found = re.search(
            rf"This study grew\. It began on {DATE} with relu, seed 0; on {DATE} (.*?) were added\.", text
        )
        assert found
        assert found[1] == "swish:beta=2 and seed 1"
    made = re.search(r"<pre><code>(.*?)</code></pre>", page)
    assert made
    words = shlex.split(made[1])
    assert words[:2] == ["limen", "compare"]
    assert words[words.index("--activations") + 1] == "relu,swish:beta=2"
    assert words[words.index("--seeds") + 1] == "2"
    known = StudyFolder(tmp_path / "out").read_study()
    assert known is not None
    assert known.settings.activations == ("relu", "swish:beta=2")


EXAMPLES: dict[str, Any] = {
    "data": "my data/it's.csv", "task": "forecasting", "target": "-price", "time": "day", "drop": ("a, b", "id"),
    "window": 7, "ignore_label": 3, "foreground": True, "intensity": (-160.0, 240.0), "orientation": "stored",
    "normal_class": "3", "split": "blocks", "tokens": "bytes", "stride": 3, "text": "a b", "test_data": "other data/b",
    "data_dir": "sets", "network": "lstm",
    "activations": ("asau", "relu", "ash:z_k=1,alpha=2"), "baseline": "relu", "seeds": (0, 1, 2, 3), "epochs": 3,
    "margin": 0.5, "max_seeds": 4,
    "protocol": "both", "batch_size": 32, "eval_batch_size": 10, "learning_rate": 1e-05, "activation_lr": 0.2,
    "weight_decay": 0.1, "image_size": (8, 9), "grey": True, "limit_train": 201, "limit_test": 20,
    "validation_fraction": 0.2, "test_fraction": 0.3, "split_seed": 1, "channels_last": True,
    "observe": ("gradients", "inputs"), "device": "cpu",
    "threads_per_run": 2, "candidates": ("relu", "silu"), "rule": "grouped",
    "temperature": (1.0, 0.1), "entropy": (0.0, 0.1), "sampling": "gumbel", "weights_from": 0.3, "drop_below": 0.05,
    "devices": 2, "strategy": "fsdp", "precision": "bf16-mixed", "accumulate": 4, "compile": True,
    "checkpoint_every": 5, "log": ("tensorboard", "wandb"),
    "optimizer": "sgd", "momentum": 0.9, "nesterov": True, "schedule": "step", "warmup": 0.5, "milestones": (1, 2),
    "factor": 0.2, "augment": "crop+flip", "label_smoothing": 0.1, "clip": 0.5, "ema": 0.99,
    "tune": ("lr", "activation-lr"), "trials": 12, "trial_seeds": 3,
}  # fmt: skip


@pytest.mark.parametrize("fields", [StudyFields, SelectFields])
def test_every_option_is_written_as_it_is_read(fields: type) -> None:
    for name, option in options(fields).items():
        value = EXAMPLES[name]
        given = option.write(value)
        kind = option.given or TypeAdapter(hints(fields)[name]).validate_python
        if option.given == list[str]:
            assert option.read(["x", given]) == (*value, "x")
        else:
            back = kind(given) if kind is not option.given or option.given in (int, Path) else given
            assert (option.read(back) if option.read else back) == value, name


@pytest.mark.parametrize("kind", [StudySettings, SelectSettings])
def test_the_whole_command_gives_the_settings_again(kind: type[StudySettings], run: Command, monkeypatch: Any) -> None:
    fixed = {"kind": "select", "activations": ("relu", "adact", "optimized")} if kind is SelectSettings else {}
    settings = kind(**{name: EXAMPLES[name] for name in kind.model_fields if name in EXAMPLES} | fixed)
    study = Study(settings=settings, data=FACTS, environment={}, command="limen compare --seeds 9 --out='a b'")
    words = shlex.split(whole_command(study))
    found = {}

    def heard(_: Any, kind: Any, given: Any, out: Path, as_json: bool, execution: Any) -> None:
        found.update(settings=validated(kind, given, registry.find(given["task"])), out=out)

    monkeypatch.setattr("limen.commands.study.run", heard)
    assert run(*words[1:]).code == 0
    assert found["settings"].model_dump() == settings.model_dump()
    assert found["out"] == Path("a b")


def test_what_is_left_out_of_the_command_is_the_default(run: Command, monkeypatch: Any) -> None:
    for task in registry.ALL:
        settings = StudySettings(**{**tiny().model_dump(), "task": task.name, "limit_train": None, **task.defaults})
        words = shlex.split(whole_command(Study(settings=settings, data=FACTS, environment={})))
        assert "--batch-size" not in words
        assert "--lr" not in words
        assert ("--task" in words) == (task.name != "classification")


@pytest.mark.parametrize("rate", [0.1, 1e-3, 0.05])
def test_the_rate_of_sgd_is_its_own(rate: float) -> None:
    whole = tiny().model_dump(exclude={"learning_rate"}) | {"optimizer": "sgd"}
    assert StudySettings(**whole).learning_rate == 0.1
    assert StudySettings(**whole, learning_rate=1e-3).learning_rate == 1e-3
    settings = StudySettings(**whole, learning_rate=rate)
    words = shlex.split(whole_command(Study(settings=settings, data=FACTS, environment={})))
    assert ("--lr" in words) == (rate != 0.1)


def test_a_recipes_command_has_all_seeds() -> None:
    def study(command: str, *asked: Asked) -> Study:
        return Study(settings=tiny(), data=FACTS, environment={}, command=command, recipe="r", asked=asked)

    began, more = Asked(when="", seeds=(0,)), Asked(when="", seeds=(1,))
    assert whole_command(study("limen reproduce r --quick", began)) == "limen reproduce r --quick"
    assert whole_command(study("limen reproduce r --quick", began, more)) == "limen reproduce r --quick --seeds 2"
    assert whole_command(study("limen reproduce r --seeds=1 --out x")) == "limen reproduce r --out x --seeds 2"
