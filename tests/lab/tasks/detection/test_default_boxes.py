"""Boxes as tensors, the loss and answer of default boxes, and average precision, each against a plain reference."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from limen.lab.tasks.detection import default_boxes, geometry
from limen.lab.tasks.detection.average_precision import AveragePrecision, interpolated
from limen.lab.tasks.detection.kinds import NOTHING, ignored
from limen.lab.tasks.registry import find


def boxes(count: int, seed: int, size: float = 0.3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * (1 - size)
    return torch.cat([corner, corner + size * torch.rand(count, 2, generator=generator)], 1)


def plain_overlap(one: list[float], other: list[float]) -> float:
    across = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    down = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    both = (one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1])
    return across * down / (both - across * down) if across * down else 0.0


def test_overlaps_and_suppression_are_those_of_the_loops() -> None:
    for seed in range(5):
        found = boxes(60, seed)
        overlaps = [[plain_overlap(a, b) for b in found.tolist()] for a in found.tolist()]
        assert torch.allclose(geometry.overlap(found, found), torch.tensor(overlaps), atol=1e-5)
        kept: list[int] = []
        for index in range(60):
            if all(overlaps[index][other] <= 0.2 for other in kept):
                kept.append(index)
        assert geometry.unsuppressed(found, 0.2).nonzero().flatten().tolist() == kept
        assert 5 < len(kept) < 55
    both = torch.stack([boxes(9, 0), boxes(9, 1)])
    assert torch.equal(geometry.unsuppressed(both, 0.1)[1], geometry.unsuppressed(both[1], 0.1))


def centred(corners: torch.Tensor) -> torch.Tensor:
    return torch.cat([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], 1)


DEFAULTS = torch.tensor(
    [[0.0, 0.0, 0.5, 0.5], [0.5, 0.0, 1.0, 0.5], [0.0, 0.5, 0.5, 1.0], [0.5, 0.5, 1.0, 1.0], [0.1, 0.1, 0.3, 0.3]]
)


def test_objects_go_to_their_best_box_and_to_those_they_overlap_by_half() -> None:
    objects = torch.tensor(
        [
            [
                [1.0, 0.0, 0.0, 0.5, 0.4],  # box 0 by 0.8
                [0.0, 0.60, 0.60, 0.75, 0.75],  # box 3 by 0.09 only, but no other is better
                [ignored(0), 0.0, 0.5, 0.5, 0.9],  # box 2 by 0.8, and is not learned
                [NOTHING, 0.0, 0.0, 0.0, 0.0],
            ]
        ]
    )
    label, index = default_boxes.assign(centred(DEFAULTS)[None], objects)
    assert label.tolist() == [[2, 0, default_boxes.LEFT_OUT, 1, 0]]
    assert index[0, [0, 3]].tolist() == [0, 1]


def test_the_loss_is_the_sum_by_hand() -> None:
    torch.manual_seed(0)
    logits, given = torch.randn(2, 5, 3), torch.randn(2, 5, 4)
    defaults = centred(DEFAULTS)
    objects = torch.full((2, 2, 5), -1.0)
    objects[0, 0] = torch.tensor([1.0, 0.0, 0.0, 0.5, 0.4])
    objects[:, :, 1:][objects[:, :, 0] < 0] = 0
    outputs = torch.cat([logits, given, defaults.expand(2, -1, -1)], -1)
    wanted = [
        (0.25 - 0.25) / 0.5 / 0.1, (0.2 - 0.25) / 0.5 / 0.1, math.log(0.5 / 0.5) / 0.2, math.log(0.4 / 0.5) / 0.2
    ]  # fmt: skip
    place = sum(0.5 * d * d if abs(d) < 1 else abs(d) - 0.5 for d in (given[0, 0] - torch.tensor(wanted)).tolist())
    entropy = -logits.log_softmax(-1)
    negatives = sorted(entropy[0, 1:, 0].tolist())[-3:]  # three for the one with an object
    other = sorted(entropy[1, :, 0].tolist())[-3:]  # and three of an image without any
    by_hand = place + entropy[0, 0, 2].item() + sum(negatives) + sum(other)
    assert default_boxes.loss(outputs, objects).item() == pytest.approx(by_hand, rel=1e-5)


def test_three_boxes_without_object_are_learned_for_each_with_one() -> None:
    label = torch.tensor([[1, 2, *[0] * 8], [0] * 10])
    hardest = default_boxes._hardest(torch.arange(20.0).view(2, 10), label)
    assert [row.nonzero().flatten().tolist() for row in hardest] == [[4, 5, 6, 7, 8, 9], [7, 8, 9]]


def test_objects_that_do_not_count_and_padding_change_no_gradient() -> None:
    torch.manual_seed(0)
    outputs = torch.cat([torch.randn(1, 5, 3), torch.randn(1, 5, 4), centred(DEFAULTS)[None]], -1)
    objects = torch.tensor([[[0.0, *DEFAULTS[0].tolist()]]])
    padded = F.pad(objects, (0, 0, 0, 3))
    padded[:, 1:, 0] = NOTHING
    assert default_boxes.loss(outputs, padded) == default_boxes.loss(outputs, objects)
    padded[0, 1] = torch.tensor([ignored(1), *DEFAULTS[2].tolist()])
    changed = outputs.clone()
    changed[0, 2, :7] = 30 * torch.randn(7)  # the box there is neither object nor background
    assert default_boxes.loss(changed, padded).item() == pytest.approx(default_boxes.loss(outputs, padded).item())


def test_offsets_and_boxes_undo_each_other() -> None:
    truth, defaults = boxes(50, 1), centred(boxes(50, 2)).clamp(min=0.05)
    assert torch.allclose(geometry.moved(geometry.offsets(truth, defaults), defaults), truth, atol=1e-5)
    together = geometry.offsets(truth.view(5, 10, 4), defaults.view(5, 10, 4))
    assert torch.equal(together, geometry.offsets(truth, defaults).view(5, 10, 4))
    assert torch.isfinite(geometry.moved(torch.full((50, 4), 1e6), defaults)).all()


def test_a_perfect_output_is_answered_by_its_objects_best_first() -> None:
    objects = torch.tensor([[0.0, 0.1, 0.1, 0.4, 0.4], [1.0, 0.5, 0.5, 0.9, 0.8], [1.0, 0.1, 0.12, 0.4, 0.4]])
    defaults = centred(objects[:, 1:]).repeat(2, 1)
    logits = torch.full((6, 3), -20.0)
    logits[:3, 0] = 0
    logits[torch.arange(3), objects[:, 0].long() + 1] = torch.tensor([1.0, 3.0, 2.0])
    logits[3:, 0] = 0
    outputs = torch.cat([logits, torch.zeros(6, 4), defaults], -1)[None]
    found = default_boxes.detections(outputs)[0]
    assert found.shape == (100, 6)
    assert found[:3, 1].tolist() == [1, 1, 0]  # one box may hold objects of two classes
    assert torch.allclose(found[:3, 2:], objects[[1, 2, 0], 1:], atol=1e-6)
    assert found[0, 0] == pytest.approx(math.exp(3) / (math.exp(3) + 1))
    assert (found[3:] == 0).all()


def measured(detected: list, objects: list, classes: int = 1, thresholds: tuple[int, ...] = (0,)) -> float:
    metric = AveragePrecision(classes, thresholds)
    for found, truth in zip(detected, objects, strict=True):
        metric.update(torch.tensor(found).reshape(1, -1, 6), torch.tensor(truth).reshape(1, -1, 5))
    return float(metric.compute())


A, B, FAR = (0.0, 0.0, 0.4, 0.4), (0.5, 0.5, 0.9, 0.9), (0.0, 0.8, 0.1, 0.9)
TWO = [[0.0, *A], [0.0, *B]]


@pytest.mark.parametrize(
    ("detected", "objects", "wanted"),
    [
        ([[0.9, 0, *A], [0.8, 0, *B]], TWO, 1.0),
        ([[0.9, 0, *A]], TWO, 51 / 101),  # recalls 0, 0.01, …, 0.5 are reached
        ([[0.9, 0, *A], [0.8, 0, *FAR], [0.7, 0, *B]], TWO, (51 + 50 * 2 / 3) / 101),
        ([[0.9, 0, *FAR], [0.8, 0, *A], [0.7, 0, *B]], TWO, 2 / 3),  # the precision of a higher recall counts
        ([[0.9, 0, *A], [0.8, 0, *A]], TWO, 51 / 101),  # an object is found once
        ([[0.9, 1, *A], [0.8, 1, *B]], TWO, 0.0),  # another class
        ([], TWO, 0.0),
        ([[0.9, 0, *FAR]], [], 0.0),
        ([[0.9, 0, *B], [0.8, 0, *A]], [[0.0, *A], [ignored(0), *B]], 1.0),  # what does not count costs nothing
        ([[0.9, 0, *B], [0.8, 0, *B], [0.7, 0, *A]], [[0.0, *A], [ignored(0), *B]], 1.0),  # however often
    ],
)
def test_average_precision_by_hand(detected: list, objects: list, wanted: float) -> None:
    assert measured([detected], [objects]) == pytest.approx(wanted)


def test_the_mean_is_over_classes_with_objects_and_over_thresholds() -> None:
    found = [[[0.9, 0, *A], [0.8, 1, *FAR], [0.3, 2, *B]]]
    truth = [[[0.0, *A], [1.0, *B]]]
    assert measured(found, truth, classes=3) == pytest.approx(0.5)
    shifted = (0.0, 0.0, 0.4, 0.4 * 0.72)  # overlaps by 0.72: found at 0.5, 0.55, …, 0.7
    assert measured([[[0.9, 0, *shifted]]], [[[0.0, *A]]], thresholds=tuple(range(10))) == pytest.approx(0.5)


def test_images_come_together_by_score_and_batches_do_not_matter() -> None:
    detected = [[[0.5, 0, *A]], [[0.9, 0, *FAR], [0.6, 0, *B]]]
    objects = [[[0.0, *A]], [[0.0, *B]]]
    # By score: wrong, found, found.
    assert measured(detected, objects) == pytest.approx(interpolated(np.array([0, 1, 1], np.int8), 2))
    metric = AveragePrecision(1, (0,))
    together = torch.zeros(2, 2, 6)
    together[0, :1], together[1] = torch.tensor(detected[0]), torch.tensor(detected[1])
    metric.update(together, torch.tensor(objects))
    assert float(metric.compute()) == pytest.approx(2 / 3)


@pytest.mark.parametrize(("overlap", "reached"), [(0.49, 0), (0.51, 1), (0.54, 1), (0.56, 2), (0.94, 9), (0.96, 10)])
def test_an_overlap_counts_from_its_own_threshold_on(overlap: float, reached: int) -> None:
    part = (0.0, 0.0, 0.4 * overlap, 0.4)  # of A, so that this is their overlap
    found, truth = [[[0.9, 0, *part]]], [[[0.0, *A]]]
    assert [measured(found, truth, thresholds=(index,)) for index in range(10)] == [1.0] * reached + [0.0] * (
        10 - reached
    )
    assert measured(found, truth, thresholds=tuple(range(10))) == pytest.approx(reached / 10)


def test_the_metrics_of_the_task_take_the_networks_output() -> None:
    class Data:
        classes = ("a", "b")

    from limen.lab.tasks.detection.boxes import BoxData, BoxSplit

    split = BoxSplit(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.zeros(1, 1, 5), ("x",))
    data = BoxData("d", Data.classes, split, None, split, ())
    task = find("detection")
    logits = torch.tensor([[[0.0, 9.0, 0.0], [0.0, 0.0, 9.0], [9.0, 0.0, 0.0]]])
    outputs = torch.cat([logits, torch.zeros(1, 3, 4), centred(torch.tensor([A, B, FAR]))[None]], -1)
    objects = torch.tensor([[[0.0, *A], [0.0, *B]]])
    found = {name: float(metric(*task.answer(outputs, objects, data))) for name, metric in task.meters(data).items()}
    assert found == pytest.approx({"map50": 51 / 101, "map": 51 / 101})
    assert float(task.train_meter(data)(*task.answer(outputs, objects, data))) == pytest.approx(0.5)
