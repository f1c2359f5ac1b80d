"""What a person sees while a study runs, all of it on standard error: what was found, bars or lines, a line a run."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from limen.commands.interrupting import stop_if_pressed
from limen.lab.declaration import Declaration
from limen.lab.records import DataFacts, EpochRow, RunRecord
from limen.lab.report.wording import counted, listed
from limen.lab.settings import StudySettings
from limen.lab.study.store import Study

QUIET = 25.0
"""Seconds without a line after which one says what is being done, where no bar moves; 30 are promised."""
MOST_NAMED = 20
"""Of so many classes or columns the names are listed."""


class ProgressListener:
    """Two bars, one for the runs of the study and one for the epochs of the run, and a line for each run that ends.

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
        self.total, self.done = 0, 0
        self.runs = self.progress.add_task("runs", total=None)
        self.run = self.progress.add_task("epochs", total=self.epochs, visible=False)
        self.doing = "reading the data"
        self.began = self.last_line = time.monotonic()
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

    def planned(self, total: int, done: int, notes: Sequence[str]) -> None:
        """Show how much there is to do."""
        self.total, self.done = total, done
        self.progress.update(self.runs, total=total, completed=done)
        names, times = self.settings.activations, len(self.settings.seeds)
        runs = f"{counted(total, 'run')} of {counted(self.epochs, 'epoch')}: {listed(names)}"
        self._print(f"[dim]{escape(runs)}, {'each ' * (len(names) > 1)}{self._times(times)}[/]")
        for note in notes:
            self._print(f"[yellow]{escape(note)}[/]")
        if done:
            self._print(f"continuing: {done} of {total} runs are done already")
        self.doing = "measuring the cost"

    def _times(self, times: int) -> str:
        return ("at most " if self.settings.max_seeds is not None else "") + counted(times, "time")

    def run_started(self, activation: str, seed: int) -> None:
        """Start the epochs' bar anew."""
        stop_if_pressed()
        self.name = f"{escape(activation)} · seed {seed}"
        self.place = f"{activation}, seed {seed}"
        self.doing = f"{self.place}, epoch 1 of {self.epochs}"
        self.progress.reset(self.run, description=self.name, visible=True)

    def epoch(self, row: EpochRow) -> None:
        """Move the epochs' bar."""
        stop_if_pressed()
        scored = f"{self.heldout} {self.measure.said(row.heldout_score)}"
        left = f"epoch {row.epoch + 1} of {self.epochs}" if row.epoch < self.epochs else "testing"
        self.doing = f"{self.place}, {left} ({scored})"
        self.progress.update(self.run, completed=row.epoch, description=f"{self.name} · {scored}")

    def run_ended(self, run: RunRecord) -> None:
        """Print what the run came to."""
        self.done += 1
        self.doing = "measuring the cost"
        self.progress.update(self.runs, completed=self.done)
        if run.status == "failed":
            outcome = f"[red]failed: {escape(run.failure)}[/]"
        else:
            outcome = f"test {self.measure.said(run.metrics[self.measure.on_test])} (best epoch {run.best_epoch})"
        self._print(f"[dim]{self.done}/{self.total}[/] {self.name}: {outcome} [dim]{run.seconds:.1f} s[/]")

    def timing(self, done: int, total: int) -> None:
        """Use the epochs' bar for the rounds of timing."""
        stop_if_pressed()
        self.doing = f"the cost of a step, round {done + 1} of {total}" if done < total else "tables and report"
        self.progress.update(self.run, visible=True, description="cost of a step", total=total, completed=done)

    def _print(self, line: str) -> None:
        self.last_line = time.monotonic()
        self.console.print(line, highlight=False, soft_wrap=True)

    def _speak_up(self) -> None:
        """Say what is being done whenever no line has come for a while."""
        while not self._ended.wait(max(0.0, self.last_line + QUIET - time.monotonic())):
            if time.monotonic() - self.last_line >= QUIET:
                minutes, seconds = divmod(round(time.monotonic() - self.began), 60)
                self._print(f"[dim]after {minutes}:{seconds:02}: {escape(self.doing)}[/]")


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
