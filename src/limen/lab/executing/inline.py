"""One run after the other in this process, with nothing between a study and its runs."""

from __future__ import annotations

from collections.abc import Callable

from typing_extensions import Self

from limen.lab.executing.attempt import attempt
from limen.lab.executing.work import Ended, Event, Job, Passed, Started, Work


class Inline:
    """Computes a job when it is waited for."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.job: Job | None = None

    @property
    def free(self) -> int:
        """One, or none."""
        return int(self.job is None)

    def submit(self, job: Job) -> None:
        """Keep the job until it is waited for."""
        self.job = job

    def wait(self, hear: Callable[[Event], None]) -> None:
        """Compute the job."""
        assert self.job is not None
        job, self.job = self.job, None
        hear(Started(job, ""))
        hear(Ended(job, attempt(self.work, job, lambda row: hear(Passed(job, row)))))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass
