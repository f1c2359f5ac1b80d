"""Which executor computes the runs of a study, and how many at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from limen.lab.executing.capacity import crowded, jobs_that_fit
from limen.lab.executing.execution import Execution
from limen.lab.executing.inline import Inline
from limen.lab.executing.local import Processes
from limen.lab.executing.on_ray import Tasks, connected
from limen.lab.executing.work import Executor, Work
from limen.lab.settings import StudySettings


@contextmanager
def engine(
    work: Work, execution: Execution, settings: StudySettings, *, at_most: int
) -> Iterator[tuple[Executor, list[str]]]:
    """An executor for at most so many runs, and what must be said of it."""
    threads = settings.threads_per_run
    if not at_most or settings.devices > 1:
        yield Inline(work), []
        return
    if execution.on_ray:
        with connected(execution, settings.network) as ray, Tasks(ray, work, execution, threads, at_most) as tasks:
            yield tasks, []
        return
    jobs = min(at_most, execution.jobs or jobs_that_fit(threads, settings.device))
    said = crowded(jobs, threads) if execution.jobs else ""
    if jobs == 1 and execution.timeout_per_run is None:
        yield Inline(work), [said] if said else []
        return
    with Processes(work, jobs, threads, execution.timeout_per_run, settings.device) as processes:
        yield processes, [said] if said else []
