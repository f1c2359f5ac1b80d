"""The log of a run: when it began and where, its epochs, what it came to, and whatever was printed meanwhile."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from pathlib import Path

from limen.lab.executing.work import Died, Ended, Event, Passed, Said, Started


def note(path: Path, event: Event) -> None:
    """Write what happened to a run at the end of its log."""
    text = event.text if isinstance(event, Said) else f"{datetime.now():%Y-%m-%d %H:%M:%S} {_line(event)}\n"
    # What cannot be written here is no reason to lose a run: where its record cannot be either, that is said.
    with suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(text)


def _line(event: Event) -> str:
    job = event.job
    if isinstance(event, Started):
        return f"{job.activation}, seed {job.seed} begins" + (f" in {event.where}" if event.where else "")
    if isinstance(event, Passed):
        row = event.row
        return (
            f"epoch {row.epoch}: training loss {row.train_loss:.6g}, held-out loss {row.heldout_loss:.6g}, "
            f"held-out score {row.heldout_score:.6g}"
        )
    if isinstance(event, Ended):
        run = event.run
        return f"failed: {run.failure}" if run.status == "failed" else f"finished in {run.seconds:.1f} s"
    return f"its process ended {event.reason}" if isinstance(event, Died) else ""
