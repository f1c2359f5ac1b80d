"""What needs more memory than there is: refused before it is begun, or one failed run among others."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers_files import FLAT, write_folder
from helpers_lab import Recorder, experiment_of, tiny

from limen import memory
from limen.errors import LimenError, SpecError
from limen.lab.data import load
from limen.lab.study.compare import compare
from limen.lab.study.preparing import probe
from limen.lab.training import room
from limen.lab.training import run as training
from limen.memory import TooLargeError, is_out_of_memory


def there_are(monkeypatch: pytest.MonkeyPatch, size: float) -> None:
    for place in (memory, room):
        monkeypatch.setattr(place, "physical_bytes", lambda: int(size))


@pytest.mark.parametrize("source", ["digits", "folder"])
def test_images_that_do_not_fit_are_refused_before_they_are_read(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there_are(monkeypatch, 1e6)
    if source != "digits":
        source = str(write_folder(tmp_path / "pets", FLAT))
    with pytest.raises(TooLargeError, match=r"images of 4000×4000 pixels needs .* GB of memory and there are 0.0 GB"):
        load(source, image_size=(4000, 4000))
    there_are(monkeypatch, 100)
    with pytest.raises(TooLargeError, match="6 images of 4×6 pixels"):
        load(str(write_folder(tmp_path / "pets", FLAT)))


@pytest.mark.parametrize("size", [(99_999_999, 8), (0, 8), (8, 16_385)])
def test_no_image_has_such_a_size(size: tuple[int, int]) -> None:
    with pytest.raises(SpecError, match="both must be from 1 to 16,384"):
        load("digits", image_size=size)
    with pytest.raises(ValueError, match="image_size"):
        tiny(image_size=size)


@pytest.mark.parametrize(("batch", "expected"), [(64, "a training step of 64"), (2, "a test step of 60")])
def test_a_step_that_does_not_fit_is_refused_before_it_is_made(
    batch: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = experiment_of(tiny(network="convnet", batch_size=batch, eval_batch_size=1000))
    probe(experiment)
    there_are(monkeypatch, 1e5)
    with pytest.raises(TooLargeError, match=rf"{expected}.* inputs of shape \(1, 8, 8\) needs .* give a smaller --"):
        probe(experiment)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (TooLargeError("x"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."), True),
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("shapes differ"), False),
        (ValueError(), False),
    ],
)
def test_what_says_that_there_is_no_memory(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_the_limit_of_a_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text, expected in (("1000\n", 1000), ("max\n", memory._of_machine())):
        (tmp_path / "memory.max").write_text(text)
        monkeypatch.setattr(memory, "_CONTAINER", (str(tmp_path / "none"), str(tmp_path / "memory.max")))
        monkeypatch.setattr(memory, "_of_process", lambda: None)
        assert memory.physical_bytes() == expected


def test_a_run_without_memory_is_one_failed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    really = training.run

    def scarce(experiment: object, activation: str, *more: object, **named: object) -> object:
        if activation == "asau":
            torch.empty(2**60)  # refused at once: no machine has so much
        return really(experiment, activation, *more, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "run", scarce)
    result = compare(tiny(epochs=1, seeds=(0,), activations=("asau", "relu")), tmp_path, Recorder())
    failed, done = result.runs
    assert (failed.status, done.status) == ("failed", "finished")
    assert failed.failure.startswith("there was not enough memory (")
    assert "can't allocate memory" in failed.failure
    assert result.report.exists()


def test_any_other_error_of_a_run_is_no_lack_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: object, **named: object) -> object:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(training, "run", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        compare(tiny(epochs=1, seeds=(0,)), tmp_path, Recorder())
    assert issubclass(TooLargeError, LimenError)
