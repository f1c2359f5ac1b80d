"""Every task's metrics beside scikit-learn's, where truth or answer is as poor as can be."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from sklearn import metrics as known
from torch import Tensor

from limen.lab.data import ImageData, Split
from limen.lab.tasks import registry as tasks
from limen.lab.tasks.anomaly.data import AnomalyData, AnomalySplit
from limen.lab.tasks.anomaly.scores import ImageAUROC, PixelAUROC
from limen.lab.tasks.detection.average_precision import THRESHOLDS, AveragePrecision
from limen.lab.tasks.detection.kinds import NOTHING, ignored
from limen.lab.tasks.numbers.data import NumberData, NumberSplit
from limen.lab.tasks.segmentation.masks import BINARY, IGNORED, MaskData, MaskSplit
from limen.lab.training.guesses import GuessAccuracy
from limen.lab.training.meter import Meter

MIXED = [0, 1] * 5
POOR = {
    "a constant answer": (MIXED, [0] * 10),
    "the other constant answer": (MIXED, [1] * 10),
    "a rare class that is never answered": ([0] * 99 + [1], [0] * 100),
    "a rare class that is answered once too often": ([0] * 99 + [1], [0] * 98 + [1, 1]),
    "one true class": ([0] * 10, MIXED),
    "the other true class": ([1] * 10, MIXED),
    "one class alone": ([0] * 10, [0] * 10),
    "the other class alone": ([1] * 10, [1] * 10),
    "all wrong": ([0] * 10, [1] * 10),
    "turned round": (MIXED, MIXED[::-1]),
    "all right": (MIXED, MIXED),
    "one sample, right": ([1], [1]),
    "one sample, wrong": ([0], [1]),
}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """scikit-learn warns of what is not defined, and gives 0."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def images(classes: int) -> ImageData:
    split = Split(torch.zeros(1, 1, 2, 2, dtype=torch.uint8), torch.zeros(1).long())
    return ImageData("made", tuple(map(str, range(classes))), split, split, split)


def masks(classes: int) -> MaskData:
    blank = torch.zeros(1, 1, 2, 2, dtype=torch.uint8)
    split = MaskSplit(blank, blank[:, 0], ("one",))
    return MaskData("made", BINARY if classes == 2 else tuple(map(str, range(classes))), split, split, split)


def numbers() -> NumberData:
    split = NumberSplit(torch.zeros(1, 1), torch.zeros(1, 2))
    return NumberData("made", (), split, split, split, target="y", description=())


def computed(meters: dict[str, Meter], *batches: tuple[Tensor, Tensor]) -> dict[str, float]:
    for meter in meters.values():
        for batch in batches:
            meter.update(*batch)
    return {name: float(meter.compute()) for name, meter in meters.items()}


def logits(answers: Tensor, classes: int) -> Tensor:
    return torch.nn.functional.one_hot(answers, classes).float()


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("case", POOR)
def test_scores_of_classes_are_scikit_learns(case: str, classes: int) -> None:
    truth, answers = map(torch.tensor, POOR[case])
    macro = {"average": "macro"}
    wanted = {"accuracy": known.accuracy_score(truth, answers), "mcc": known.matthews_corrcoef(truth, answers)}
    wanted["f1"] = known.f1_score(truth, answers, **macro)
    found = computed(tasks.find("classification").meters(images(classes)), (logits(answers, classes), truth))
    assert {name: found[name] for name in wanted} == pytest.approx(wanted, abs=1e-6)
    sequence = computed(tasks.find("sequence").meters(images(classes)), (logits(answers, classes), truth))
    assert sequence == pytest.approx({name: wanted[name] for name in sequence}, abs=1e-6)
    if classes == 7:
        every = known.top_k_accuracy_score(
            truth, logits(answers, 7) + torch.arange(7, 0, -1) / 99, k=5, labels=range(7)
        )
        assert found["top5_accuracy"] == pytest.approx(every)


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("case", POOR)
def test_scores_of_pixels_are_scikit_learns(case: str, classes: int) -> None:
    truth, answers = map(torch.tensor, POOR[case])
    average = {"average": "binary" if classes == 2 else "macro"}
    scores = {"dice": known.f1_score, "iou": known.jaccard_score}
    scores |= {"precision": known.precision_score, "recall": known.recall_score}
    wanted = {name: score(truth, answers, **average) for name, score in scores.items()}
    wanted["miou"] = known.jaccard_score(truth, answers, average="macro")
    found = computed(
        tasks.find("segmentation").meters(masks(classes)), (answers[:3], truth[:3]), (answers[3:], truth[3:])
    )
    assert found == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("common", [1, 9, 190, 999])
def test_a_constant_answer_has_no_correlation(common: int) -> None:
    metric = tasks.find("classification").meters(images(2))["mcc"]
    for label, count in ((0, common), (1, 1)):
        metric.update(logits(torch.zeros(count).long(), 2), torch.full((count,), label))
    assert float(metric.compute()) == 0


@pytest.mark.parametrize("common", [10**6, 10**7])
def test_the_correlation_of_many_samples_keeps_its_digits(common: int) -> None:
    counts = torch.tensor([[common, 1], [1, 1]])
    metric = tasks.find("classification").meters(images(2))["mcc"]
    metric.counts += counts
    wanted = (common - 1) / math.sqrt((common + 1) ** 2 * 4)
    assert float(metric.compute()) == pytest.approx(wanted, rel=1e-6)


def test_of_equal_logits_the_first_class_is_guessed_and_nan_is_never_right() -> None:
    truth = torch.arange(7)
    assert float(_of(GuessAccuracy(5), torch.zeros(7, 7), truth)) == pytest.approx(5 / 7)
    assert float(_of(GuessAccuracy(), torch.zeros(7, 7), truth)) == pytest.approx(1 / 7)
    for first in (1, 5):
        assert float(_of(GuessAccuracy(first), torch.full((7, 7), math.nan), truth)) == 0
    assert float(_of(GuessAccuracy(), torch.zeros(0, 7), truth[:0])) == 0


def _of(metric: Meter, *batch: Tensor) -> Tensor:
    metric.update(*batch)
    found: Tensor = metric.compute()
    return found


def _first_all_right(name: str) -> tuple[dict[str, Meter], list[tuple[Tensor, Tensor]]]:
    """A task's meters, a batch whose every answer is right, and one whose answers are any."""
    torch.manual_seed(0)
    truth = torch.randint(7, (40,))
    any_truth = torch.randint(7, (40,))
    if name in ("classification", "sequence"):
        return tasks.find(name).meters(images(7)), [(logits(truth, 7), truth), (torch.randn(40, 7), any_truth)]
    if name == "segmentation":
        return tasks.find(name).meters(masks(7)), [(truth, truth), (torch.randint(7, (40,)), any_truth)]
    if name in ("regression", "forecasting"):
        return tasks.find(name).meters(numbers()), [(torch.ones(4), torch.ones(4)), (torch.randn(9), torch.randn(9))]
    marked = (torch.rand(8, 3, 3) > 0.9).to(torch.uint8)
    split = AnomalySplit(torch.zeros(8, 1, 3, 3, dtype=torch.uint8), marked, ("",) * 8)
    data = AnomalyData("made", (), split, split, split)
    return tasks.find("anomaly").meters(data), [(marked.float(), marked), (torch.randn(8, 3, 3), marked)]


@pytest.mark.parametrize("name", ["classification", "sequence", "segmentation", "regression", "anomaly"])
def test_a_meter_that_begins_again_is_as_new(name: str) -> None:
    meters, batches = _first_all_right(name)
    used = computed(meters, *batches)
    for meter in meters.values():
        meter.reset()
    assert computed(meters, batches[0]) == computed(_first_all_right(name)[0], batches[0]) != used
    for meter in meters.values():
        assert not set(vars(meter)) - {*meter.state, "device", "classes", "score", "each", "first", "stride"}


@pytest.mark.parametrize("level", [0.0, 3e3, 1e6])
@pytest.mark.parametrize("unit", [1e-25, 1e-4, 1.0, 1e20])
def test_scores_of_numbers_are_scikit_learns_in_any_unit(unit: float, level: float) -> None:
    random = np.random.default_rng(0)
    truth, answers = (unit * (level + random.normal(size=100)) for _ in range(2))
    found = computed(tasks.find("regression").meters(numbers()), (torch.from_numpy(answers), torch.from_numpy(truth)))
    assert found["rmse"] == pytest.approx(known.root_mean_squared_error(truth, answers), rel=1e-5)
    assert found["mae"] == pytest.approx(known.mean_absolute_error(truth, answers), rel=1e-5)
    assert found["r2"] == pytest.approx(known.r2_score(truth, answers), rel=1e-5)


def test_a_truth_that_never_changes_is_explained_or_not() -> None:
    truth = torch.full((100,), 0.1)
    meters = tasks.find("regression").meters
    assert computed(meters(numbers()), (truth, truth))["r2"] == 1
    assert computed(meters(numbers()), (truth + 1e-3, truth))["r2"] == 0
    assert math.isnan(computed(meters(numbers()), (truth[:1], truth[:1]))["r2"])


def test_a_level_loses_none_of_a_forecasts_changes() -> None:
    last, unit, change = torch.full((50,), 1e7), torch.full((50,), 0.01), torch.randn(50)
    targets, outputs = torch.stack([change, unit, last], 1), torch.randn(50, 1)
    task = tasks.find("forecasting")
    found = computed(task.meters(numbers()), task.answer(outputs, targets, numbers()))
    assert found["rmse"] == pytest.approx(0.01 * float((outputs[:, 0] - change).square().mean().sqrt()), rel=1e-5)


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1.0, 1e12, 1e30])
@pytest.mark.parametrize("ties", [False, True])
def test_the_area_is_scikit_learns_for_scores_of_any_size(scale: float, ties: bool) -> None:
    random = np.random.default_rng(0)
    scores = (random.integers(0, 4, 60) if ties else random.normal(size=60)).astype(np.float32) * np.float32(scale)
    truth = random.integers(0, 2, 60)
    maps, marked = (torch.from_numpy(values).reshape(60, 1, 1) for values in (scores, truth))
    wanted = known.roc_auc_score(truth, scores)
    assert float(_of(ImageAUROC(), maps, marked)) == pytest.approx(wanted, rel=1e-6)
    assert float(_of(PixelAUROC(), maps, marked)) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize(("scores", "truth", "wanted"), [
    ([1.0, 1.0], [0, 1], 0.5),
    ([math.inf, 1.0], [0, 1], 0.0),
    ([-math.inf, math.inf], [0, 1], 1.0),
    ([1.0], [1], math.nan),
    ([1.0, 2.0], [1, 1], math.nan),
    ([math.nan, 2.0], [1, 0], math.nan),
])  # fmt: skip
def test_the_area_of_poor_scores(scores: list[float], truth: list[int], wanted: float) -> None:
    maps, marked = torch.tensor(scores)[:, None, None], torch.tensor(truth)[:, None, None]
    assert float(_of(ImageAUROC(), maps, marked)) == pytest.approx(wanted, nan_ok=True)


def test_pixels_that_do_not_count_alone_are_no_failure() -> None:
    task, data = tasks.find("segmentation"), masks(7)
    nothing, some = torch.full((2, 4, 4), IGNORED), torch.randint(7, (2, 4, 4))
    outputs = torch.randn(2, 7, 4, 4)
    answers = [task.answer(outputs, targets, data) for targets in (nothing, some)]
    assert computed(task.meters(data), *answers) == computed(task.meters(data), answers[1])
    assert set(computed(task.meters(data), answers[0]).values()) == {0.0}


def _scene(random: np.random.Generator, classes: int) -> tuple[Tensor, Tensor]:
    """Boxes with scores in a coarse grid, so that scores and overlaps tie; some objects do not count."""
    count, found = random.integers(0, 6), random.integers(0, 9)
    corner = random.integers(0, 4, (count + found, 2)) / 8
    boxes = np.concatenate([corner, corner + random.integers(1, 5, (count + found, 2)) / 8], 1)
    label = random.integers(0, classes, count + found)
    label[:count] = [ignored(kind) if random.random() < 0.3 else kind for kind in label[:count]]
    score = random.integers(0, 5, (found, 1)) / 4  # 0 is none
    objects = np.concatenate([label[:count, None], boxes[:count]], 1)
    filled = np.concatenate([objects, np.tile([float(NOTHING), 0, 0, 0, 0], (9 - count, 1))])
    detected = np.concatenate([score, label[count:, None], boxes[count:]], 1)
    return (
        torch.from_numpy(np.concatenate([detected, np.zeros((9 - found, 6))])).float(),
        torch.from_numpy(filled).float(),
    )


def _plain_average_precision(scenes: list[tuple[Tensor, Tensor]], classes: int, least: float) -> float:
    """COCO's evaluation, box by box: the reference that is written to be read."""
    every = []
    for label in range(classes):
        judged, objects = [], 0
        for detected, truth in scenes:
            counted = [row[1:].tolist() for row in truth if int(row[0]) == label]
            crowds = [row[1:].tolist() for row in truth if int(row[0]) == ignored(label)]
            objects += len(counted)
            taken: set[int] = set()
            own = [row for row in detected.tolist() if row[0] > 0 and row[1] == label]
            for score, _, *box in sorted(own, key=lambda row: -row[0]):
                best, chosen = least, None
                for index, other in enumerate(counted):
                    if index not in taken and _overlap(box, other) >= best:
                        best, chosen = _overlap(box, other), index
                if chosen is not None:
                    taken.add(chosen)
                    judged.append((score, True))
                elif not any(_overlap(box, crowd, of_first=True) >= least for crowd in crowds):
                    judged.append((score, False))
        if objects:
            every.append(_interpolated([right for _, right in sorted(judged, key=lambda pair: -pair[0])], objects))
    return sum(every) / len(every) if every else 0.0


def _overlap(one: list[float], other: list[float], *, of_first: bool = False) -> float:
    across = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    down = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    first, second = ((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return across * down / (first if of_first else first + second - across * down)


def _interpolated(right: list[bool], objects: int) -> float:
    points = [(sum(right[:n]) / objects, sum(right[:n]) / n) for n in range(1, len(right) + 1)]
    places = np.linspace(0, 1, 101)
    return sum(max((best for recall, best in points if recall >= place), default=0.0) for place in places) / 101


@pytest.mark.parametrize("seed", range(12))
def test_average_precision_is_cocos(seed: int) -> None:
    random = np.random.default_rng(seed)
    scenes = [_scene(random, 3) for _ in range(4)]
    for index in (0, 4):
        metric = AveragePrecision(3, thresholds=(index,))
        metric.update(*map(torch.stack, zip(*scenes, strict=True)))
        wanted = _plain_average_precision(scenes, 3, THRESHOLDS[index])
        assert float(metric.compute()) == pytest.approx(wanted, abs=1e-6)


def test_without_objects_or_without_boxes_there_is_no_precision() -> None:
    detected, objects = torch.tensor([[[0.9, 0, 0, 0, 1, 1]]]), torch.tensor([[[0.0, 0, 0, 1, 1]]])
    nothing = torch.tensor([[[float(NOTHING), 0, 0, 0, 0]]])
    for pair in ((detected, nothing), (0 * detected, objects), (0 * detected, nothing)):
        assert float(_of(AveragePrecision(2), *pair)) == 0
