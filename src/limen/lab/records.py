"""What a study stores: one record a run, the cost of each activation, the summary. All of it is plain JSON.

A record holds everything the tables and the report show, so both can be made again without training again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal

from annotated_types import Ge
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator
from typing_extensions import Self


class Record(BaseModel):
    """Base of the stored records: unknown keys are an error, NaN and infinity survive the round trip."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")


Whole = Annotated[int, Ge(0)]
"""A number of things, which may be none."""


def of_one_length(**columns: Sequence[Any]) -> None:
    """Raise where columns that belong together have not as many entries each.

    >>> of_one_length(x=(1.0, 2.0), y=(1.0,))
    Traceback (most recent call last):
    ValueError: x and y must be of one length, and have 2 and 1 entries
    """
    lengths = [len(column) for column in columns.values()]
    if len(set(lengths)) > 1:
        raise ValueError(f"{_and(columns)} must be of one length, and have {_and(map(str, lengths))} entries")


def _and(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}"


class DataFacts(Record):
    """What was learned from and tested on."""

    name: str
    classes: tuple[str, ...]
    image_shape: tuple[int, ...]
    """Shape of one input; of an image channels, height, width."""
    train: Whole
    validation: Whole
    test: Whole
    fingerprint: str
    """SHA-256 over all inputs and targets in the order used."""
    unit: str = "images"
    """What is counted."""
    description: tuple[str, ...] = ()
    """The data in a few words; empty: its classes and image shape say it."""
    notes: tuple[str, ...] = ()
    """What was done to the data that a reader must know, such as how blanks were filled."""
    counts: dict[str, tuple[Whole, ...]] = {}
    """By split, how much there is of each class; empty: of a version that did not count, or without classes."""
    counted: str = ""
    """What that is, where it is not the unit: ``objects``."""
    columns: tuple[str, ...] = ()
    """What one input is made of, where that has names."""
    transfer: Whole = 0
    """Examples of other data that were tested too."""
    transfer_name: str = ""
    """What those are called."""


class EpochRow(Record):
    """One epoch of one run. ``heldout`` is the validation split, or the test set under the paper's protocol.

    A score is the task's measure: accuracy for classification, by which name the first studies stored it.
    """

    epoch: Annotated[int, Ge(1)]
    train_loss: float
    train_score: float = Field(validation_alias=AliasChoices("train_score", "train_accuracy"))
    heldout_loss: float
    heldout_score: float = Field(validation_alias=AliasChoices("heldout_score", "heldout_accuracy"))
    test_score: float | None = Field(None, validation_alias=AliasChoices("test_score", "test_accuracy"))
    """Noted under the protocol ``both`` only, and used for nothing in the run."""


class WeightsRow(Record):
    """A mixture's weights after an epoch (0: before training)."""

    epoch: Whole
    path: str
    weights: dict[str, float]


class GradientRow(Record):
    """The loss's gradient at one activation site over one epoch."""

    epoch: Annotated[int, Ge(1)]
    path: str
    gradient: float
    """L2 norm of the gradient with respect to the site's outputs, the geometric mean over the epoch's steps."""


class SiteRow(Record):
    """What one activation site of a tested network receives from held-out examples: ``limen.inspect.statistics``."""

    path: str
    values: int
    mean: float
    deviation: float
    skewness: float
    kurtosis: float
    normal_distance: float
    sample_distance: float
    output_zero: float
    flat: float
    z: float
    percentile: float
    kept: float


class LayerShape(Record):
    """The function that one activation site computes after training, over the inputs it really sees."""

    path: str
    """The module's path in the model, such as ``features.0.act``."""
    activation: str
    """The module as printed, current parameter values included."""
    x: tuple[float, ...]
    """Mean input in each bin."""
    y: tuple[float, ...]
    """Mean output in each bin, the same length as ``x``."""
    density: tuple[float, ...]
    """Fraction of the site's inputs in each bin, the same length as ``x``; sums to at most 1."""
    parameters: dict[str, tuple[float, ...]] = {}
    """Learned parameters by name; one value, or one for each channel."""
    weights: dict[str, float] = {}
    """Mixture weight of each candidate, for mixtures (AdAct) only; sums to 1."""

    @model_validator(mode="after")
    def _bins(self) -> Self:
        of_one_length(x=self.x, y=self.y, density=self.density)
        return self


class Scatter(Record):
    """Predicted against true values, for the report; a sample of the test set, evenly spaced."""

    kind: Literal["scatter"] = "scatter"
    quantity: str
    true: tuple[float, ...]
    predicted: tuple[float, ...]

    @model_validator(mode="after")
    def _points(self) -> Self:
        of_one_length(true=self.true, predicted=self.predicted)
        return self


class Series(Record):
    """A forecast beside what came, over the test span."""

    kind: Literal["series"] = "series"
    quantity: str
    times: tuple[str, ...]
    true: tuple[float, ...]
    predicted: tuple[float, ...]

    @model_validator(mode="after")
    def _steps(self) -> Self:
        of_one_length(times=self.times, true=self.true, predicted=self.predicted)
        return self


class Overlay(Record):
    """One image with its true masks or boxes and its predicted ones laid over it."""

    name: str
    picture: str
    """A JPEG in base64, side by side: the image, the image with what is true, the image with what is predicted."""


class Overlays(Record):
    """Some test images with their masks or boxes."""

    kind: Literal["overlays"] = "overlays"
    drawn: Literal["mask", "boxes"] = "mask"
    legend: tuple[tuple[str, str], ...]
    """Class and colour (``#rrggbb``) of what is laid over."""
    images: tuple[Overlay, ...]


class Heatmaps(Record):
    """Some test images with a map of how strange each pixel is."""

    kind: Literal["heatmaps"] = "heatmaps"
    images: tuple[Overlay, ...]
    masks: bool
    """Whether the true mask stands between the image and the map."""
    by_gradient: bool
    """Whether the map is how much each pixel moves the score, because the network's own has no places."""


class Attention(Record):
    """Some test images with where the network looked to name their class."""

    kind: Literal["attention"] = "attention"
    images: tuple[Overlay, ...]


class Confusion(Record):
    """How many test examples of each true class were taken for each class."""

    kind: Literal["confusion"] = "confusion"
    classes: tuple[str, ...]
    counts: tuple[tuple[Whole, ...], ...]
    """A row a true class, a column a predicted one."""

    @model_validator(mode="after")
    def _square(self) -> Self:
        of_one_length(classes=self.classes, counts=self.counts)
        for row in self.counts:
            of_one_length(classes=self.classes, row=row)
        return self


class Grid(Record):
    """Generated images, and real ones for comparison, each as a JPEG in base64."""

    kind: Literal["grid"] = "grid"
    picture: str
    real: str


class Written(Record):
    """How well each place of a window is predicted, and what a language model writes."""

    kind: Literal["written"] = "written"
    places: tuple[Annotated[int, Ge(1)], ...]
    """Of the predicted token in its window, counted from 1."""
    bits: tuple[float, ...]
    """The mean loss there, in bits a token."""
    unit: str
    """What a token is: ``characters``."""
    prompt: str
    """What it was given of the test text."""
    sample: str
    """How it went on."""

    @model_validator(mode="after")
    def _places(self) -> Self:
        of_one_length(places=self.places, bits=self.bits)
        return self


Shown = Annotated[
    Scatter | Series | Overlays | Heatmaps | Attention | Confusion | Grid | Written,
    Field(discriminator="kind"),
]
"""What the report draws of a tested network."""


class Asked(Record):
    """What a study was asked for anew, when it began or later."""

    when: str
    """ISO 8601 in UTC; empty: of a version that did not note it."""
    activations: tuple[str, ...] = ()
    seeds: tuple[Whole, ...] = ()


class Origin(Record):
    """The study that a run or the costs belong to, which may since have become another."""

    fingerprint: str
    """Of its data."""
    settings: dict[str, Any]
    """All that may not differ where a study goes on."""


class RunRecord(Record):
    """One activation trained with one seed."""

    activation: str
    """The activation's spec as given, such as ``asau`` or ``asau:beta=2``."""
    seed: Whole
    status: Literal["finished", "failed"]
    failure: str = ""
    """For a failed run: the sentence that says why and in which epoch."""
    epochs: Whole
    """Epochs completed."""
    best_epoch: Whole = 0
    """The epoch (counted from 1) whose weights were tested; 0 for a failed run."""
    metrics: dict[str, float] = {}
    """Such as ``val_accuracy``, ``test_accuracy``, ``test_f1``, ``test_loss``; accuracies are fractions of 1."""
    seconds: float
    ms_per_step: float
    """Median wall time of a training step in this run, in milliseconds."""
    peak_memory_mb: float
    """Peak memory of live tensors in a training step, in 10^6 bytes."""
    parameters: Whole
    activation_parameters: Whole
    curves: tuple[EpochRow, ...] = ()
    layers: tuple[LayerShape, ...] = ()
    weights: tuple[WeightsRow, ...] = ()
    """For the search of a selection: how its mixtures' weights went."""
    gradients: tuple[GradientRow, ...] = ()
    """Where the study observes gradients."""
    sites: tuple[SiteRow, ...] = ()
    """Where the study observes the inputs of its activations."""
    plan: dict[str, Any] | None = None
    """For the search: the plan it came to; for the optimised network: the plan it was built by."""
    shown: Shown | None = None
    """What the report draws of this run's predictions."""
    origin: Origin | None = None
    """None: of a version that did not say."""

    @model_validator(mode="after")
    def _epochs(self) -> Self:
        noted = [row.epoch for row in self.curves]
        if any(later <= earlier for earlier, later in pairwise(noted)):
            raise ValueError("the epochs of its curves do not follow one another")
        last = max((self.best_epoch, *noted))
        if last > self.epochs:
            raise ValueError(f"it has epoch {last}, and only {self.epochs} were completed")
        return self


TORCHS_RELU = "torch.nn.ReLU"
"""What is timed beside a study's activations, of which ``relu`` is limen's own: the network with torch's."""


def failed_run(activation: str, seed: int, failure: str) -> RunRecord:
    """The record of a run of which there is nothing but the reason that it failed."""
    return RunRecord(
        activation=activation,
        seed=seed,
        status="failed",
        failure=failure,
        epochs=0,
        seconds=0.0,
        ms_per_step=math.nan,
        peak_memory_mb=math.nan,
        parameters=0,
        activation_parameters=0,
    )


class TrialRow(Record):
    """One trial of the tuning of one activation: trained as a run is, and never tested."""

    activation: str
    trial: Annotated[int, Ge(1)]
    """Of this activation's, in the order in which they were suggested."""
    common: bool
    """Whether every activation has this one; else it follows from the activation's own trials."""
    learning_rate: float
    weight_decay: float
    activation_lr: float
    """Of the activation's own parameters: the learning rate, where nothing else was asked for."""
    seed: Whole
    epochs: Whole
    best_epoch: Whole
    metric: str
    """What is tuned for, such as ``val_accuracy``."""
    score: float
    """Its best value over the epochs; NaN of a failed trial, which counts as worse than any other."""
    loss: float
    """The held-out loss of the same epoch."""
    chosen: bool
    """Whether the activation is compared with these rates, its own."""
    status: Literal["finished", "failed"]
    failure: str
    seconds: float


class CostRow(Record):
    """Time of a training step relative to ``torch.nn.ReLU``'s, measured interleaved: a round times each once."""

    activation: str
    ms_per_step: float
    ratio: float
    """Median over rounds of (this activation's step) / (``torch.nn.ReLU``'s step of the same round)."""
    ratio_low: float
    ratio_high: float
    """Quartiles of that ratio over the rounds."""
    peak_memory_mb: float
    parameters: int


class SummaryRow(Record):
    """One activation over all its seeds. Intervals: :func:`.statistics.interval`; differences are paired by seed."""

    activation: str
    runs: int
    failed: int
    metric: str
    mean: float
    low: float
    high: float
    baseline: str
    difference: float
    difference_low: float
    difference_high: float
    p: float
    p_holm: float
    verdict: str
    """``baseline``, ``better``, ``worse``, ``no detectable difference``, ``reference`` for what is no activation but
    stands beside them (the naive forecast), or why it could not be tested. With a margin what it begins with is
    ``better``, ``worse``, ``equivalent`` or ``undecided``."""
    detectable: float = math.nan
    """The smallest true difference that as many pairs show in 80 of 100 studies, in the measure's unit (points)."""
    margin: float = math.nan
    """Below which differences do not matter, in the same unit; NaN where none was given."""
    p_equivalence: float = math.nan
    """That the difference is as large as the margin or larger, corrected like ``p_holm``."""
    ms_ratio: float
    """Time of a training step relative to ``torch.nn.ReLU``'s, with its quartiles."""
    ms_ratio_low: float
    ms_ratio_high: float
    ms_per_step: float
    peak_memory_mb: float
    parameters: int
    reach_pairs: int = 0
    """Seeds of which the curves say how soon a score was reached; 0 where there are none."""
    reached: int = 0
    """Those of them in which the baseline's best validation score was reached."""
    epochs_ratio: float = math.nan
    """Epochs to the best validation score that both reach, over the baseline's; geometric mean with its interval."""
    epochs_ratio_low: float = math.nan
    epochs_ratio_high: float = math.nan
    epochs_at_least: float = math.nan
    """Epochs to the baseline's own best score over the baseline's: no less than this where some runs never had it."""
    step_ratio: float = math.nan
    """Time of a training step over the baseline's."""
    time_ratio: float = math.nan
    """``epochs_ratio`` times ``step_ratio``, with the interval over seeds: training time over the baseline's."""
    time_ratio_low: float = math.nan
    time_ratio_high: float = math.nan
    transfer: float = math.nan
    """The metric on other data that were tested too, with its interval; NaN where there are none."""
    transfer_low: float = math.nan
    transfer_high: float = math.nan
    transfer_difference: float = math.nan
    """From the baseline there, paired by seed, with its interval."""
    transfer_difference_low: float = math.nan
    transfer_difference_high: float = math.nan
