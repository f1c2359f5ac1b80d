"""How the networks of a study were trained, in words."""

from __future__ import annotations

from collections.abc import Iterator

from limen.lab.report.wording import listed
from limen.lab.settings import StudySettings

NAMES = {"adam": "Adam", "adamw": "Adam", "sgd": "SGD"}
AUGMENTED = {
    "flip": "half of the training images are mirrored",
    "crop+flip": "training images are moved by up to an eighth of their sides and half of them mirrored",
    "randaugment-like": "training images are moved, mirrored and changed twice at random (like RandAugment)",
    "mosaic": "training images are windows on four of them laid together",
}


def optimiser(settings: StudySettings) -> str:
    """The optimiser, its rate and its momentum.

    >>> optimiser(StudySettings(data="digits", activations=("relu",), baseline="relu", seeds=(0,)))
    'Adam 0.001'
    """
    momentum = f", momentum {settings.momentum:g}" if settings.momentum else ""
    nesterov = " (Nesterov)" if settings.nesterov else ""
    return f"{NAMES[settings.optimizer]} {settings.learning_rate:g}{momentum}{nesterov}"


def trained(settings: StudySettings) -> str:
    """All of it as one sentence.

    >>> print(trained(StudySettings(data="digits", activations=("relu",), baseline="relu", seeds=(0,), optimizer="sgd",
    ...                             momentum=0.9, schedule="cosine", warmup=1)))
    Trained by SGD 0.1, momentum 0.9; the rate rises over 1 epoch, then falls along a cosine.
    """
    return f"Trained by {'; '.join((optimiser(settings), *_decay(settings), *_further(settings)))}."


def usual(settings: StudySettings) -> bool:
    """Whether it is Adam alone, as for every study before there was a choice."""
    return settings.optimizer != "sgd" and not list(_further(settings))


def _decay(settings: StudySettings) -> Iterator[str]:
    if settings.weight_decay:
        how = "decoupled" if settings.optimizer == "adamw" else "as a part of the gradient"
        yield f"weight decay {settings.weight_decay:g} {how}, none of activations"


def _further(settings: StudySettings) -> Iterator[str]:
    yield from _schedule(settings)
    if settings.augment != "none":
        yield f"{AUGMENTED[settings.augment]}, alike for every activation"
    if settings.label_smoothing:
        yield f"{settings.label_smoothing:g} of each training label is shared by all classes"
    if settings.clip is not None:
        yield f"gradients longer than {settings.clip:g} are shortened to it"
    if settings.ema is not None:
        yield f"measured is the moving average of the weights (decay {settings.ema:g} a step)"


def _schedule(settings: StudySettings) -> Iterator[str]:
    warmup = f"{settings.warmup:g} {'epoch' if settings.warmup == 1 else 'epochs'}"
    rises = f"the rate rises over {warmup}" if settings.warmup else ""
    if settings.schedule == "one-cycle":
        yield f"{rises or 'the rate rises over three tenths of the steps'}, then falls to nothing (one cycle)"
    elif settings.schedule != "constant":
        falls = "falls along a cosine" if settings.schedule == "cosine" else _steps(settings)
        yield f"{rises}, then {falls}" if rises else f"the rate {falls}"
    elif rises:
        yield rises


def _steps(settings: StudySettings) -> str:
    epochs = [f"{epoch}" for epoch in settings.falls]
    return f"is multiplied by {settings.factor:g} after {'epoch' if len(epochs) == 1 else 'epochs'} {listed(epochs)}"
