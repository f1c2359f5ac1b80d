"""What is wrong in settings and can be said without torch, which takes seconds to import."""

from __future__ import annotations

from limen.catalogue import check_specs
from limen.errors import SpecError
from limen.lab import networks
from limen.lab.declaration import Declaration
from limen.lab.settings import SelectSettings, StudySettings
from limen.lab.study.deciding import check_verdicts
from limen.lab.study.learning import check_training
from limen.lab.study.trying import check_tuning
from limen.lab.tasks import declared


def foresee(task: Declaration, settings: StudySettings) -> None:
    """Raise for a name of an activation, of a network or of data that does not exist, and for an option too many."""
    if isinstance(settings, SelectSettings):
        check_specs((*settings.candidates, settings.baseline))
    else:
        check_specs(settings.activations)
        check_list(settings)
    check_task(task, settings)
    task.look(settings)
    if settings.test_data is not None:
        task.look(settings.model_copy(update={"data": settings.test_data}))


def check_list(settings: StudySettings) -> None:
    """Raise where activations are not named once each, or the baseline is none of them."""
    if len(set(settings.activations)) < len(settings.activations):
        raise SpecError(f"an activation is named twice in {', '.join(settings.activations)}; name each once.")
    if settings.baseline not in settings.activations:
        raise SpecError(
            f"the baseline {settings.baseline!r} is not among the activations "
            f"{', '.join(settings.activations)}; add it."
        )


def check_task(task: Declaration, settings: StudySettings) -> None:
    """Raise for an option or the name of a network that the task does not have."""
    declared.check_options(task, settings)
    check_training(settings)
    check_verdicts(task.measure, settings)
    check_tuning(settings)
    networks.check_name(settings.network, task.networks)
