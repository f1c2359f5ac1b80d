"""Where the runs of a study are computed and how many at a time, which may differ from call to call: no row changes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from limen.errors import SpecError

LOCAL, RAY = "local", "ray"
MOST_JOBS = 4096
"""More processes than anything here is made for."""


@dataclass(frozen=True)
class Execution:
    """How many runs are computed at a time, where, and how long each may take."""

    jobs: int | None = None
    """None: as many as cores and memory allow."""
    on: str = LOCAL
    """``local``: processes on this machine; ``ray``: Ray started for this study; ``ray:ADDRESS``: one that runs."""
    cpus_per_run: float | None = None
    """What Ray sets aside for a run; None: a processor for each of its threads."""
    gpus_per_run: float = 0.0
    """What Ray sets aside for a run; a part of one lets several runs share it."""
    timeout_per_run: float | None = None
    """Seconds after which a run that has not ended is recorded as failed."""

    @property
    def on_ray(self) -> bool:
        """Whether the runs are Ray's tasks."""
        return self.on != LOCAL

    @property
    def address(self) -> str:
        """Where Ray is to be found; empty: it is to be started here."""
        return self.on if self.on.startswith(f"{RAY}://") else self.on.partition(":")[2]

    def check(self, device: str, devices: int = 1) -> None:
        """Raise for what cannot be, before any data is read; ``devices`` is on how many at once a run trains."""
        if self.jobs is not None and not 1 <= self.jobs <= MOST_JOBS:
            raise SpecError(
                f"--jobs {self.jobs} is not possible: give the number of runs at a time, from 1 to {MOST_JOBS:,}."
            )
        if self.on not in (LOCAL, RAY) and not (self.on.startswith(f"{RAY}:") and self.address):
            raise SpecError(f"--on {self.on!r} is not possible; give local, ray, ray:auto or ray:HOST:PORT.")
        if self.timeout_per_run is not None and not 0 < self.timeout_per_run < math.inf:
            raise SpecError(f"--timeout-per-run {self.timeout_per_run} is not possible; give seconds above 0.")
        if devices > 1 and (self.on_ray or (self.jobs or 1) > 1 or self.timeout_per_run is not None):
            raise SpecError(
                f"--devices {devices} makes processes for each run, one run after the other in this process; leave "
                "--jobs, --on and --timeout-per-run out, or give --devices 1."
            )
        self._check_shares(device)

    def _check_shares(self, device: str) -> None:
        shares = {"--cpus-per-run": self.cpus_per_run, "--gpus-per-run": self.gpus_per_run}
        for option, share in shares.items():
            if share is not None and not 0 <= share < math.inf:
                raise SpecError(f"{option} {share} is not possible; give a number from 0 on, such as 0.5.")
            if share and not self.on_ray:
                raise SpecError(f"{option} is what Ray sets aside for a run; give it with --on ray.")
        if self.on_ray and device.startswith("cuda") and not self.gpus_per_run:
            raise SpecError(
                "Ray shows a GPU to a run only where it is set aside for it; give --gpus-per-run, such as 1."
            )


ONE = Execution(jobs=1)
"""One run after the other, in this process."""
