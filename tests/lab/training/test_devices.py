"""Runs on several devices and in other precisions: the numbers of one device, or one sentence where they cannot be."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import KEEPING_SHAPE, thoroughly
from helpers_lab import data_of, experiment_of, tiny
from helpers_processes import all_averaged, all_trained, averaged, in_two_processes, network, pooled, trained
from test_checkpoints import Interrupting

from limen.errors import SpecError
from limen.lab.data import Split
from limen.lab.records import RunRecord
from limen.lab.settings import SelectSettings
from limen.lab.study.store import StudyFolder
from limen.lab.tasks import registry as tasks
from limen.lab.training import devices
from limen.lab.training import run as train
from limen.lab.training.batches import Batches

SOME = {"a few": ("asau",), "all": KEEPING_SHAPE}
DROPPED = [("adact", strategy, ("relu", "prelu")) for strategy in ("ddp", "fsdp")]


@pytest.mark.parametrize("which", thoroughly(SOME, usual=("a few",)))
def test_activations_learn_the_same_in_two_processes_as_in_one(which: str, tmp_path: Path) -> None:
    cases = [*DROPPED, *((name, strategy, ()) for strategy in ("ddp", "fsdp") for name in SOME[which])]
    found = in_two_processes(all_trained, tmp_path, cases)
    for (name, strategy, dropped), weights in zip(cases, found, strict=True):
        alone, start = trained(name, "", dropped), network(name, dropped).state_dict()
        assert weights.keys() == alone.keys(), (name, strategy)
        for key, value in alone.items():
            assert weights[key] == pytest.approx(value, rel=1e-4, abs=1e-5), (name, strategy, key)
        assert any(value.flatten().tolist() != alone[key] for key, value in start.items()), name


def test_averages_of_clipped_steps_are_the_same_in_two_processes_as_in_one(tmp_path: Path) -> None:
    alone = averaged("")
    for found in in_two_processes(all_averaged, tmp_path, ("ddp", "fsdp")):
        assert found.keys() == alone.keys()
        for key, value in alone.items():
            assert found[key] == pytest.approx(value, rel=1e-4, abs=1e-6), key


def test_sums_and_counts_are_of_all_processes(tmp_path: Path) -> None:
    mean, accuracy, ranks = in_two_processes(pooled, tmp_path)
    assert mean == pytest.approx((2 * 1 + 3 * 3) / 4)
    assert accuracy == pytest.approx(4 / 5)
    assert ranks == [0, 1]


@pytest.mark.parametrize("of", [2, 3, 8])
def test_the_parts_of_a_batch_are_the_batch(of: int) -> None:
    split = Split(torch.arange(43, dtype=torch.uint8).reshape(43, 1, 1, 1), torch.arange(43))
    whole = Batches(split, 8, seed=3)
    parts = [Batches(split, 8, seed=3, part=(which, of)) for which in range(of)]
    for index, (batch, *shares) in enumerate(zip(whole, *parts, strict=True)):
        mine = [labels[: part.own(index)] for part, (_, labels) in zip(parts, shares, strict=True)]
        assert torch.cat(mine).sort().values.tolist() == batch[1].sort().values.tolist()
        assert all(len(labels) for _, labels in shares)  # every process has something to take part with
        assert whole.size(index) == len(batch[1])


def run_of(activation: str = "asau", **changed: Any) -> RunRecord:
    return train.run(experiment_of(tiny(**changed), data_of(tiny())), activation, 0)


def test_batches_put_together_are_one_step() -> None:
    one = run_of(batch_size=60, epochs=3)
    put_together = run_of(batch_size=20, accumulate=3, epochs=3)
    assert len(put_together.curves) == 3
    for ours, theirs in zip(put_together.curves, one.curves, strict=True):
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-3)
        assert ours.heldout_loss == pytest.approx(theirs.heldout_loss, rel=1e-3)
    assert run_of(batch_size=20, epochs=3).curves[-1].heldout_loss < 0.9 * one.curves[-1].heldout_loss


@pytest.mark.slow
def test_mixed_precision_computes_in_halves_and_keeps_single_precision_weights() -> None:
    seen = set()
    handle = torch.nn.modules.module.register_module_forward_hook(
        lambda module, inputs, output: seen.add(output.dtype) if isinstance(module, torch.nn.Linear) else None
    )
    try:
        half = run_of(precision="bf16-mixed")
    finally:
        handle.remove()
    assert torch.bfloat16 in seen
    assert half.metrics["test_loss"] == pytest.approx(run_of().metrics["test_loss"], rel=0.02)
    assert half.metrics["test_loss"] != run_of().metrics["test_loss"]


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
@pytest.mark.parametrize("activation", ["asau", "ash"])
def test_two_devices_are_as_one(strategy: str, activation: str) -> None:
    one, two = run_of(activation), run_of(activation, devices=2, strategy=strategy)
    for ours, theirs in zip(two.curves, one.curves, strict=True):
        for name, value in theirs.model_dump(exclude_none=True).items():
            assert getattr(ours, name) == pytest.approx(value, rel=1e-4)
    assert two.metrics == pytest.approx(one.metrics, rel=1e-4)
    assert two.parameters == one.parameters


WAY: dict[str, Any] = {
    "optimizer": "sgd", "momentum": 0.9, "schedule": "cosine", "warmup": 1, "augment": "randaugment-like",
    "label_smoothing": 0.1, "clip": 0.5, "ema": 0.8, "epochs": 3,
}  # fmt: skip


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_devices_are_as_one_whatever_they_train_by(strategy: str, tmp_path: Path) -> None:
    one = run_of(**WAY)
    two = run_of(**WAY, devices=2, strategy=strategy)
    assert two.metrics == pytest.approx(one.metrics, rel=1e-4)
    for ours, theirs in zip(two.curves, one.curves, strict=True):
        for name, value in theirs.model_dump(exclude_none=True).items():
            assert getattr(ours, name) == pytest.approx(value, rel=1e-4), name
    experiment = replace(
        experiment_of(tiny(**WAY, devices=2, strategy=strategy, checkpoint_every=1), data_of(tiny())), place=tmp_path
    )
    with pytest.raises(KeyboardInterrupt):
        train.run(experiment, "asau", 0, Interrupting(2))
    resumed = train.run(experiment, "asau", 0)
    assert repr(resumed.curves) == repr(two.curves)
    assert resumed.metrics == two.metrics


@pytest.mark.thorough
@pytest.mark.slow
def test_a_compiled_run_is_as_any() -> None:
    found = run_of(compile=True)
    assert found.metrics == pytest.approx(run_of().metrics, rel=1e-3)


@pytest.mark.thorough
@pytest.mark.slow
def test_torchrun_trains_a_study_and_one_process_writes_it(tmp_path: Path) -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    words = ["--data", "digits", "--network", "mlp", "--limit-train", "200", "--limit-test", "60", "--epochs", "2",
             "--activations", "relu,asau", "--seeds", "1", "--devices", "2",
             "--out", str(tmp_path / "study")]  # fmt: skip
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port)]
    done = subprocess.run(
        [*torchrun, "-m", "limen", "compare", *words],
        capture_output=True, text=True, timeout=280, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "study" / "runs.csv").read_text()
    assert table.count("finished") == 2
    assert done.stdout.count("Report: ") == 1  # of one process
    stored = StudyFolder(tmp_path / "study").read_run("asau", 0)
    assert stored is not None
    assert stored.metrics["test_loss"] == pytest.approx(run_of().metrics["test_loss"], rel=1e-4)


REFUSED: dict[str, dict[str, Any]] = {
    "--devices 4000 is more than there are: ": {"devices": 4000},
    "--strategy ddp is for several devices; add --devices 2, or leave it out.": {"strategy": "ddp"},
    "--precision 16-mixed is for GPUs, and --device is cpu; give --precision bf16-mixed or 32.": {
        "precision": "16-mixed"
    },
    "--observe gradients looks at whole batches, which --devices 2 divides; leave one of them out.": {
        "devices": 2, "observe": ("gradients",)},
    "--devices 2 and --device mps exclude each other; give --device cuda or cpu.": {"devices": 2, "device": "mps"},
    "--strategy fsdp and --precision 16-mixed exclude each other; give --precision bf16-mixed.": {
        "devices": 2, "strategy": "fsdp", "precision": "16-mixed"},
    "--devices 3 cannot share a batch of 2; give a larger --batch-size.": {"devices": 3, "batch_size": 2},
}  # fmt: skip


@pytest.mark.parametrize("sentence", REFUSED)
def test_what_cannot_be_computed_is_refused(sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "available", lambda kind: 8)
    with pytest.raises(SpecError) as caught:
        devices.check(tiny(**REFUSED[sentence]))
    assert str(caught.value).startswith(sentence)


def test_a_search_does_not_shard_its_mixtures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "available", lambda kind: 8)
    chosen = SelectSettings(kind="select", data="digits", activations=("relu",), baseline="relu", seeds=(0,),
                            candidates=("relu", "silu"), devices=2, strategy="fsdp")  # fmt: skip
    with pytest.raises(SpecError, match="--strategy fsdp shards the mixtures that a search reads; give --strategy ddp"):
        devices.check(chosen)


@pytest.mark.parametrize("option", ["devices", "accumulate"])
@pytest.mark.parametrize("name", tasks.names())
def test_tasks_of_more_than_one_loss_share_no_batch(name: str, option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "available", lambda kind: 8)
    task = tasks.find(name)
    chosen = tiny(**{"task": name, option: 2})
    if name not in ("anomaly", "generation"):
        devices.check(chosen, divisible=task.divisible)
        return
    with pytest.raises(SpecError, match=f"--{option} 2 is not for --task {name}"):
        devices.check(chosen, divisible=task.divisible)


def test_without_a_compiler_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices.shutil, "which", lambda name: None)
    with pytest.raises(SpecError, match="--compile needs a C\\+\\+ compiler"):
        devices.check(tiny(compile=True))
