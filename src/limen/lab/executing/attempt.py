"""A run, or that there was no memory for it: another activation may need less, and those done are kept."""

from __future__ import annotations

from collections.abc import Callable

from limen.collecting import freed_afterwards
from limen.lab.executing.work import Job, Work
from limen.lab.records import EpochRow, RunRecord, failed_run
from limen.memory import is_out_of_memory

NO_MEMORY = "there was not enough memory"
"""How the failure of such a run begins."""
LONGEST_REASON = 200
"""Characters."""


def attempt(work: Work, job: Job, listener: Callable[[EpochRow], None]) -> RunRecord:
    """Train the run of a job, and keep nothing of it but its record."""
    with freed_afterwards():
        try:
            return work.run(job, listener)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            reason = " ".join(str(error).split())[:LONGEST_REASON] or type(error).__name__
    return failed_run(job.activation, job.seed, f"{NO_MEMORY} ({reason}).")


def too_slow(job: Job, seconds: float) -> RunRecord:
    """The record of a run that was ended because it did not end."""
    return failed_run(job.activation, job.seed, f"it had not ended after {seconds:g} seconds (--timeout-per-run).")
