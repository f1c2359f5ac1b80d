"""Four images as one: boxes and masks are where their pixels went, and what is hardly seen does not count."""

from __future__ import annotations

import pytest
import torch
from helpers_lab import tiny
from torch import Tensor

from limen.errors import SpecError
from limen.lab.tasks import declared
from limen.lab.tasks.detection.boxes import BoxSplit
from limen.lab.tasks.detection.kinds import NOTHING, ignored
from limen.lab.tasks.detection.masks import numbers_of, packed, unpacked
from limen.lab.tasks.detection.together import LEAST
from limen.lab.training.augmentation import ACROSS, DOWN, DRAWN, draws
from limen.lab.training.batches import Batches
from limen.lab.training.mosaic import corners, fours, mosaic

HEIGHT, WIDTH, COUNT = 12, 16, 40
PLACES = ((0, 0, 7, 5), (9, 6, 16, 12), (2, 7, 3, 11))
"""Corners of the objects of every image, in pixels, moved by the image's number."""


def made(masks: bool) -> BoxSplit:
    """Every object has pixels of a colour that is its own, and the third one does not count."""
    images = torch.zeros(COUNT, 1, HEIGHT, WIDTH, dtype=torch.uint8)
    objects = torch.zeros(COUNT, len(PLACES) + 1, 5 + masks * numbers_of((HEIGHT, WIDTH)))
    objects[..., 0] = NOTHING
    for number, image in enumerate(images):
        for row, (left, top, right, bottom) in enumerate(PLACES):
            left, right = left + number % 2, min(right + number % 2, WIDTH)
            image[0, top:bottom, left:right] = colour = 1 + number * len(PLACES) + row
            kind = ignored(row) if row == 2 else row
            box = [left / WIDTH, top / HEIGHT, right / WIDTH, bottom / HEIGHT]
            objects[number, row, :5] = torch.tensor([kind, *box])
            if masks:
                objects[number, row, 5:] = packed(image[0] == colour)
    return BoxSplit(images, objects, tuple(map(str, range(COUNT))))


def sizes(split: BoxSplit) -> Tensor:
    """How many pixels each colour has in its own image."""
    return torch.bincount(split.images.flatten().long(), minlength=256)


@pytest.mark.parametrize("masks", [False, True])
def test_objects_are_where_their_pixels_are(masks: bool) -> None:
    split, drawn = made(masks), draws(0, 3, COUNT)
    drawn[0, [DOWN, ACROSS]] = 0.0
    drawn[1, [DOWN, ACROSS]] = 1 - 1e-7
    places = fours(torch.arange(COUNT), drawn, COUNT)
    images, objects = BoxSplit.augmented(split.images[places], split.objects[places], drawn, mosaic)
    assert images.shape == split.images.shape
    whole, kinds = sizes(split), set()
    for image, rows in zip(images[:, 0], objects, strict=True):
        there = rows[rows[:, 0] != NOTHING]
        left = image.clone()
        for row in there:
            kind, (x1, y1, x2, y2) = int(row[0]), (row[1:5] * torch.tensor([WIDTH, HEIGHT] * 2)).tolist()
            colours = left[round(y1) : round(y2), round(x1) : round(x2)]
            assert [x1, y1, x2, y2] == pytest.approx([round(side) for side in (x1, y1, x2, y2)], abs=1e-4)
            assert len(colours.unique()) == 1
            colour = int(colours.flatten()[0])
            row_there = (colour - 1) % len(PLACES)
            part = colours.numel() / int(whole[colour])
            assert kind == (row_there if part >= LEAST and row_there < 2 else ignored(row_there))
            kinds.add((kind < NOTHING, row_there))
            if masks:
                shown = unpacked(row[5:], (HEIGHT, WIDTH))
                assert shown.sum() == colours.numel()
                assert (image[shown] == colour).all()
            left[round(y1) : round(y2), round(x1) : round(x2)] = 0
        assert not left.any()  # no object is seen without its row
    assert {(False, 0), (False, 1), (True, 2)} <= kinds


def test_what_is_hardly_seen_is_neither_learned_nor_background() -> None:
    drawn = torch.zeros(1, DRAWN)
    drawn[0, [DOWN, ACROSS]] = 0.5
    begun = corners(drawn, 40, 40)[0].tolist()
    assert begun == [20, 20]
    objects = torch.zeros(1, 4, 3, 5)
    objects[..., 0] = NOTHING
    # Of the first image the lower right quarter is seen: of these boxes an eighth, a twentieth, and nothing.
    objects[0, 0] = torch.tensor([[1, 6, 24, 22, 28], [1, 2, 24, 21, 28], [1, 0, 0, 20, 40.0]]) / torch.tensor(
        [1, 40, 40, 40, 40]
    )
    images = torch.zeros(1, 4, 1, 40, 40, dtype=torch.uint8)
    _, rows = BoxSplit.augmented(images, objects, drawn, mosaic)
    assert rows[0, :, 0].tolist() == [1, ignored(1)]
    torch.testing.assert_close(rows[0, 0, 1:], torch.tensor([0, 4, 2, 8]) / 40)


def test_the_cut_lies_in_the_middle_half_and_every_place_is_as_likely() -> None:
    found = corners(draws(0, 0, 20_000), 8, 1)
    assert torch.bincount(found[:, 0], minlength=9)[2:7].min() > 3600
    assert found[:, 0].unique().tolist() == [2, 3, 4, 5, 6]
    assert found[:, 1].unique().tolist() == [0, 1]


def seen(split: BoxSplit, batch_size: int, part: tuple[int, int] = (0, 1)) -> list[set[bytes]]:
    """Of two epochs the images with the number of their objects, in any order."""
    batches = Batches(split, batch_size, seed=2, part=part, augment=mosaic)
    return [
        {
            image.numpy().tobytes() + bytes([int((rows[:, 0] != NOTHING).sum())])
            for images, objects in batches
            for image, rows in zip(images, objects, strict=True)
        }
        for _ in range(2)
    ]


def test_a_mosaic_depends_on_seed_epoch_and_example_alone() -> None:
    split = made(masks=False)
    first, second = seen(split, 8)
    assert first != second
    assert seen(split, 5) == [first, second]
    halves = [seen(split, 8, (which, 2)) for which in range(2)]
    assert [halves[0][epoch] | halves[1][epoch] for epoch in range(2)] == [first, second]


@pytest.mark.parametrize("name", declared.names())
def test_only_detection_takes_it(name: str) -> None:
    task = declared.find(name)
    if "augment" in task.options:
        settings = tiny(
            **{**task.defaults, "task": name, "augment": "mosaic"},
            **({"target": "x"} if "target" in task.options else {}),
        )
        if name == "detection":
            declared.check_options(task, settings)
        else:
            with pytest.raises(SpecError, match="--augment mosaic is not for"):
                declared.check_options(task, settings)
