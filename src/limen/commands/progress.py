"""What a person sees while a study runs, all of it on standard error: what was found, bars or lines, a line a run."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from limen.commands.interrupting import stop_if_pressed
from limen.lab.declaration import Declaration
from limen.lab.records import DataFacts, EpochRow, RunRecord
from limen.lab.report.wording import counted, listed
from limen.lab.settings import StudySettings
from limen.lab.study.study import Study

QUIET = 25.0
"""Seconds without a line after which one says what is being done, where no bar moves; 30 are promised."""
MOST_SHOWN = 8
"""Of so many runs that are computed at a time each has a bar, and a place in a line."""
MOST_NAMED = 20
"""Of so many classes or columns the names are listed."""


@dataclass
class _Run:
    """A run that is being computed."""

    bar: TaskID
    place: str
    where: str
    left: str

    @property
    def said(self) -> str:
        return f"{self.place}{f' in {self.where}' if self.where else ''}, {self.left}"


class ProgressListener:
    """A bar for the runs of the study, one for the epochs of each run that is computed, a line for each that ends.

    Where nothing can move, as in a file or a pipe, a line after some quiet stands for the bars.
    """

    def __init__(self, task: Declaration, settings: StudySettings) -> None:
        self.settings, self.epochs = settings, settings.epochs
        self.measure = task.measure
        self.heldout = "test" if settings.test_chooses else "validation"
        self.console = Console(stderr=True)
        # Where nothing can move (a file, a pipe), rich would end the bars with an empty line.
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_interactive,
        )
        self.total, self.done, self.known = 0, 0, 0
        self.runs = self.progress.add_task("runs", total=None)
        self.cost = self.progress.add_task("cost of a step", total=None, visible=False)
        self.running: dict[tuple[str, int], _Run] = {}
        self.otherwise = "reading the data"
        self.began = self.training_since = self.last_line = time.monotonic()
        self._ended = threading.Event()
        self._quiet = threading.Thread(target=self._speak_up, daemon=True)

    def __enter__(self) -> ProgressListener:
        self.progress.start()
        if not self.console.is_interactive:
            self._quiet.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self.progress.stop()

    def found(self, study: Study) -> None:
        """Print what there is to learn from, and where."""
        for line in found_lines(study.data):
            self._print(f"[dim]{escape(line)}[/]")
        self._print(f"[dim]{escape(study.settings.network)} on {escape(study.environment.get('device', '?'))}[/]")

    def tuning(self, total: int, done: int, notes: Sequence[str]) -> None:
        """Show how much there is to try before the runs."""
        self.total, self.done, self.known = total, done, done
        self.training_since = time.monotonic()
        self.progress.update(self.runs, total=total, completed=done)
        for note in notes:
            self._print(f"[dim]{escape(note)}[/]")
        if done:
            self._print(f"continuing: {done} of {total} trials are done already")
        self.otherwise = "starting the runs" if done == total else "starting the trials"

    def planned(self, total: int, done: int, notes: Sequence[str]) -> None:
        """Show how much there is to do."""
        self.total, self.done, self.known = total, done, done
        self.training_since = time.monotonic()
        self.progress.update(self.runs, total=total, completed=done)
        names, times = self.settings.activations, len(self.settings.seeds)
        twice = " at the shared and at own rates" if self.settings.tune else ""
        runs = f"{counted(total, 'run')} of {counted(self.epochs, 'epoch')}: {listed(names)}{twice}"
        self._print(f"[dim]{escape(runs)}, {'each ' * (len(names) > 1)}{self._times(times)}[/]")
        for note in notes:
            self._print(f"[yellow]{escape(note)}[/]")
        if done:
            self._print(f"continuing: {done} of {total} runs are done already")
        self.otherwise = "measuring the cost" if done == total else "starting the runs"

    def _times(self, times: int) -> str:
        return ("at most " if self.settings.max_seeds is not None else "") + counted(times, "time")

    def run_started(self, activation: str, seed: int, where: str = "") -> None:
        """Give the run a bar for its epochs."""
        stop_if_pressed()
        bar = self.progress.add_task(f"{escape(activation)} · seed {seed}", total=self.epochs, visible=False)
        self.running[activation, seed] = _Run(bar, f"{activation}, seed {seed}", where, f"epoch 1 of {self.epochs}")
        self._show_first()

    def epoch(self, activation: str, seed: int, row: EpochRow) -> None:
        """Move the bar of its run."""
        stop_if_pressed()
        run = self.running[activation, seed]
        scored = f"{self.heldout} {self.measure.said(row.heldout_score)}"
        left = f"epoch {row.epoch + 1} of {self.epochs}" if row.epoch < self.epochs else "testing"
        run.left = f"{left} ({scored})"
        self.progress.update(run.bar, completed=row.epoch, description=f"{escape(activation)} · seed {seed} · {scored}")

    def run_lost(self, activation: str, seed: int, why: str) -> None:
        """Print that the run begins anew."""
        self._remove(activation, seed)
        self._print(
            f"[yellow]{escape(activation)} · seed {seed}: its process ended {escape(why)}; it is begun again[/]"
        )

    def run_ended(self, run: RunRecord) -> None:
        """Print what the run came to."""
        self.done += 1
        self.total = max(self.total, self.done)  # how many trials are made again is known when they are
        self._remove(run.activation, run.seed)
        self.otherwise = "measuring the cost"
        self.progress.update(self.runs, total=self.total, completed=self.done)
        if run.status == "failed":
            outcome = f"[red]failed: {escape(run.failure)}[/]"
        else:
            outcome = f"{self._scored(run)} (best epoch {run.best_epoch})"
        name = f"{escape(run.activation)} · seed {run.seed}"
        self._print(f"[dim]{self.done}/{self.total}[/] {name}: {outcome} [dim]{run.seconds:.1f} s[/]")

    def _scored(self, run: RunRecord) -> str:
        """Its test score; a trial has none but on validation data."""
        if self.measure.on_test in run.metrics:
            return f"test {self.measure.said(run.metrics[self.measure.on_test])}"
        return f"{self.heldout} {self.measure.said(run.metrics[self.measure.on_heldout])}"

    def waiting(self) -> None:
        """Stop for a Ctrl-C that was dropped."""
        stop_if_pressed()

    def timing(self, done: int, total: int) -> None:
        """Show the rounds of timing."""
        stop_if_pressed()
        for run in list(self.running):
            self._remove(*run)
        self.otherwise = f"the cost of a step, round {done + 1} of {total}" if done < total else "tables and report"
        self.progress.update(self.cost, visible=True, total=total, completed=done)

    @property
    def doing(self) -> str:
        """What is computed now, in words: each run, and how many there are still to come."""
        running = list(self.running.values())
        if not running:
            return self.otherwise
        shown = "; ".join(run.said for run in running[:MOST_SHOWN])
        more = f"; and {len(running) - MOST_SHOWN} more" if len(running) > MOST_SHOWN else ""
        if self.total == 0 or (len(running) == 1 and self.done == self.known):
            return shown + more
        return f"{self.done} of {self.total} runs done{self._until()}; {shown}{more}"

    def _until(self) -> str:
        """How long the rest will take, if it goes on as it did."""
        ended = self.done - self.known
        if not ended:
            return ""
        left = (time.monotonic() - self.training_since) / ended * (self.total - self.done)
        return f", about {_minutes(left)} left"

    def _remove(self, activation: str, seed: int) -> None:
        run = self.running.pop((activation, seed), None)
        if run is not None:
            self.progress.remove_task(run.bar)
        self._show_first()

    def _show_first(self) -> None:
        for run in list(self.running.values())[:MOST_SHOWN]:
            self.progress.update(run.bar, visible=True)

    def _print(self, line: str) -> None:
        self.last_line = time.monotonic()
        self.console.print(line, highlight=False, soft_wrap=True)

    def _speak_up(self) -> None:
        """Say what is being done whenever no line has come for a while."""
        while not self._ended.wait(max(0.0, self.last_line + QUIET - time.monotonic())):
            if time.monotonic() - self.last_line >= QUIET:
                self._print(f"[dim]after {_minutes(time.monotonic() - self.began)}: {escape(self.doing)}[/]")


def _minutes(seconds: float) -> str:
    """As a clock shows it.

    >>> _minutes(75)
    '1:15'
    """
    whole, rest = divmod(round(seconds), 60)
    return f"{whole}:{rest:02}"


def found_lines(data: DataFacts) -> Iterator[str]:
    """What was found, before anything is trained: kind and size, splits, how much there is of each class, columns.

    >>> facts = DataFacts(name="pets", classes=("cat", "dog"), image_shape=(3, 8, 8), train=6, validation=2, test=2,
    ...                   fingerprint="", counts={"train": (4, 2), "validation": (1, 1), "test": (1, 1)})
    >>> print("\\n".join(found_lines(facts)))
    pets: 2 classes, images of 3×8×8; 6 training, 2 validation, 2 test images
    of each class (training/validation/test): cat 4/1/1, dog 2/1/1
    """
    what = data.description or _classes_and_shape(data)
    sizes = f"{data.train:,} training, {data.validation:,} validation, {data.test:,} test {data.unit}"
    yield f"{data.name}: {', '.join(what)}; {sizes}"
    if data.counts:
        splits = {"train": "training", "validation": "validation", "test": "test"}
        kind = f"{data.counted}, " if data.counted else ""
        yield f"of each class ({kind}{'/'.join(splits[name] for name in data.counts)}): {_named(_of_each(data))}"
    if data.columns:
        yield f"columns: {_named(data.columns)}"
    yield from data.notes


def _classes_and_shape(data: DataFacts) -> tuple[str, ...]:
    shape = f"{data.unit} of {'×'.join(map(str, data.image_shape))}"
    return (f"{len(data.classes)} classes", shape) if data.classes else (shape,)


def _of_each(data: DataFacts) -> list[str]:
    by_class = zip(data.classes, zip(*data.counts.values(), strict=True), strict=True)
    return [f"{name} {'/'.join(map(str, counts))}" for name, counts in by_class]


def _named(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
