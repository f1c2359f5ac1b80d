"""What is wrong in how a study trains, and known without torch."""

from __future__ import annotations

from limen.errors import SpecError
from limen.lab.settings import SelectSettings, StudySettings


def check_training(settings: StudySettings) -> None:
    """Raise for settings of the optimiser and of its rate that exclude each other."""
    _check_momentum(settings)
    _check_warmup(settings)
    if settings.schedule == "step":
        _check_milestones(settings)
    else:
        _check_no_milestones(settings)
    if isinstance(settings, SelectSettings):
        _check_search(settings)


def _check_search(settings: SelectSettings) -> None:
    if settings.weights_from is not None and settings.optimizer == "sgd" and settings.activation_lr is None:
        raise SpecError(
            "--weights-from learns the mixture by an Adam of its own, for which the learning rate of sgd is too large; "
            "give --activation-lr, such as 0.001."
        )


def _check_momentum(settings: StudySettings) -> None:
    by = settings.optimizer
    if settings.momentum and by != "sgd":
        raise SpecError(
            f"--momentum {settings.momentum:g} is for --optimizer sgd, and --optimizer is {by}, which has its own; "
            "leave it out, or give --optimizer sgd."
        )
    if settings.nesterov and not settings.momentum:
        raise SpecError(
            f"--nesterov needs --momentum above 0, and it is 0 with --optimizer {by}; give --optimizer sgd "
            "--momentum 0.9, or leave it out."
        )


def _check_warmup(settings: StudySettings) -> None:
    if settings.warmup and settings.warmup >= settings.epochs:
        raise SpecError(
            f"--warmup {settings.warmup:g} leaves nothing of a study of --epochs {settings.epochs}; give fewer epochs "
            "of warm-up, or more epochs."
        )


def _check_milestones(settings: StudySettings) -> None:
    given, last = settings.milestones, settings.epochs - 1
    if not settings.falls:
        raise SpecError("--schedule step lowers the rate between epochs, and --epochs is 1; give --epochs 2 or more.")
    if list(given) != sorted(set(given)):
        raise SpecError(f"--milestones {_listed(given)} must rise, such as 60,120.")
    if settings.falls[-1] > last:
        raise SpecError(
            f"--milestones {_listed(given)} is beyond the study: of --epochs {settings.epochs} the last can be {last}."
        )
    if settings.falls[0] <= settings.warmup:
        raise SpecError(
            f"the rate falls after epoch {settings.falls[0]}, when --warmup {settings.warmup:g} has not ended before; "
            "give a shorter warm-up, or later --milestones."
        )


def _check_no_milestones(settings: StudySettings) -> None:
    usual = type(settings).model_fields
    for name, text in (("milestones", _listed(settings.milestones)), ("factor", f"{settings.factor:g}")):
        if getattr(settings, name) != usual[name].default:
            raise SpecError(
                f"--{name} {text} is for --schedule step, and --schedule is {settings.schedule}; leave it out, or give "
                "--schedule step."
            )


def _listed(epochs: tuple[int, ...]) -> str:
    return ",".join(map(str, epochs))
