"""What a run leaves behind in the process that computed it: its record, and nothing else."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import pytest
from torch import nn

from limen.lab.executing.attempt import NO_MEMORY, attempt
from limen.lab.executing.work import Job
from limen.lab.records import EpochRow, RunRecord, failed_run


class Training:
    """Makes a network that only Python's search frees, as hooks that name their own network make it."""

    def __init__(self, fits: bool) -> None:
        self.fits = fits
        self.network: Callable[[], nn.Module | None] = lambda: None

    def run(self, job: Job, listener: Callable[[EpochRow], None]) -> RunRecord:
        network = nn.Linear(2, 2)
        network.register_forward_hook(lambda *_: network.reset_parameters())
        self.network = weakref.ref(network)
        if not self.fits:
            raise MemoryError
        return failed_run(job.activation, job.seed, "nothing was computed.")


@pytest.mark.parametrize("fits", [True, False])
def test_the_network_of_a_run_is_freed_when_it_ends(fits: bool) -> None:
    training = Training(fits)
    record = attempt(training, Job("relu", 0), lambda row: None)
    assert record.failure.startswith("nothing was computed" if fits else NO_MEMORY)
    assert training.network() is None
