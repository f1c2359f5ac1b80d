"""What is said of how networks were trained."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from helpers_lab import tiny
from helpers_report import plain, synthetic

from limen.lab.report.page import render
from limen.lab.report.trained import trained, usual

SAID: dict[str, dict[str, Any]] = {
    "Trained by Adam 0.001.": {},
    "Trained by Adam 0.001; weight decay 0.05 decoupled, none of activations.": {"weight_decay": 0.05},
    "Trained by Adam 0.01; weight decay 0.05 as a part of the gradient, none of activations.": {
        "optimizer": "adam", "weight_decay": 0.05, "learning_rate": 0.01},
    "Trained by SGD 0.1, momentum 0.9 (Nesterov); weight decay 0.0005 as a part of the gradient, none of activations; "
    "the rate rises over 1 epoch, then is multiplied by 0.2 after epochs 6, 12 and 16; training images are moved by up "
    "to an eighth of their sides and half of them mirrored, alike for every activation.": {
        "optimizer": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4, "schedule": "step", "epochs": 20,
        "milestones": (6, 12, 16), "factor": 0.2, "warmup": 1, "augment": "crop+flip"},
    "Trained by SGD 0.1; the rate is multiplied by 0.1 after epoch 1.": {
        "optimizer": "sgd", "schedule": "step", "epochs": 2},
    "Trained by Adam 0.001; the rate rises over three tenths of the steps, then falls to nothing (one cycle).": {
        "schedule": "one-cycle"},
    "Trained by Adam 0.001; the rate rises over 0.5 epochs, then falls to nothing (one cycle).": {
        "schedule": "one-cycle", "warmup": 0.5},
    "Trained by Adam 0.001; the rate rises over 2 epochs; 0.1 of each training label is shared by all classes; "
    "gradients longer than 0.5 are shortened to it; measured is the moving average of the weights (decay 0.99 a "
    "step).": {
        "epochs": 3, "warmup": 2, "label_smoothing": 0.1, "clip": 0.5, "ema": 0.99},
}  # fmt: skip


@pytest.mark.parametrize("sentence", SAID)
def test_every_setting_of_training_is_said(sentence: str) -> None:
    settings = tiny(**SAID[sentence])
    assert trained(settings) == sentence
    assert usual(settings) == (settings.optimizer != "sgd" and sentence.count(";") == bool(settings.weight_decay))


def test_the_report_says_how_it_was_made() -> None:
    study = synthetic()
    sentence = next(said for said in SAID if "Nesterov" in said)
    changed = study.settings.model_copy(update=tiny(**SAID[sentence]).model_dump(include={*SAID[sentence]}) | {
        "learning_rate": 0.1})  # fmt: skip
    page = plain(render(replace(study, settings=changed)))
    assert page.count(sentence) == 2  # below the table, and where it says how it was made
    usual_page = plain(render(study))
    assert usual_page.count("Trained by Adam 0.001.") == 1
    assert usual_page.index("How this was made") < usual_page.index("Trained by Adam 0.001.")
