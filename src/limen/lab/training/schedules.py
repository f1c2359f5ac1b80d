"""How the learning rate goes, from step to step: torch's own schedulers."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    SequentialLR,
)

from limen.errors import StudyError
from limen.lab.settings import StudySettings

RISE = 0.3
"""Part of a study in which one-cycle rises, where no warm-up says it."""
FEWEST = 3
"""Steps of a cycle: torch's rise ends before its second step, so that of two steps the first divides by nothing."""


def steps_of(settings: StudySettings, batches: int) -> int:
    """Steps of an optimiser in an epoch of so many batches."""
    return math.ceil(batches / settings.accumulate)


def require_steps(settings: StudySettings, batches: int) -> None:
    """Raise where a cycle has too few steps."""
    total = steps_of(settings, batches) * settings.epochs
    if settings.schedule == "one-cycle" and total < FEWEST:
        raise StudyError(
            f"--schedule one-cycle needs {FEWEST} steps or more, and this study has {total} of {settings.batch_size} "
            "examples; give more --epochs, or a smaller --batch-size."
        )


def advice(settings: StudySettings, batches: int) -> list[str]:
    """What is possible and hardly meant."""
    if settings.ema is None:
        return []
    total, memory = steps_of(settings, batches) * settings.epochs, round(1 / (1 - settings.ema))
    if total > 3 * memory:
        return []
    return [
        f"--ema {settings.ema:g} averages over about the last {memory:,} steps, and a run has {total:,}: what is "
        "measured lags behind what was learned"
    ]


def scheduler_of(optimiser: Optimizer, settings: StudySettings, steps: int) -> LRScheduler | None:
    """What is told of every step, of which an epoch has so many; None where the rate stays."""
    total = steps * settings.epochs
    rising = min(round(settings.warmup * steps), total - 1)
    if settings.schedule == "one-cycle":
        return _cycle(optimiser, rising or round(RISE * total), total)
    after = _after(optimiser, settings, steps, rising)
    if not rising:
        return after
    # The first step has 1/(rising + 1) of the rate, and the first one after these has all of it.
    rise = LinearLR(optimiser, start_factor=1 / (rising + 1), total_iters=rising)
    return rise if after is None else SequentialLR(optimiser, [rise, after], [rising])


def _after(optimiser: Optimizer, settings: StudySettings, steps: int, rising: int) -> LRScheduler | None:
    """What follows the warm-up, and counts from its end."""
    if settings.schedule == "cosine":
        return CosineAnnealingLR(optimiser, T_max=steps * settings.epochs - rising)
    if settings.schedule == "step":
        places = [epoch * steps - rising for epoch in settings.falls]
        return MultiStepLR(optimiser, places, gamma=settings.factor)
    return None


def _cycle(optimiser: Optimizer, rising: int, total: int) -> LRScheduler:
    rates = [group["lr"] for group in optimiser.param_groups]
    part = min(max(2, rising), total - 1) / total if total >= FEWEST else 1.0
    # Momentum stays what it is: torch would let it go the other way, from 0.95 to 0.85 whatever was asked for.
    return OneCycleLR(optimiser, rates, total_steps=total, pct_start=part, cycle_momentum=False)
