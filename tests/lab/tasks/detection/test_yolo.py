"""The YOLO: its parts by hand, which anchor learns what, and that it learns."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import limen
from limen.lab.tasks import registry as tasks
from limen.lab.tasks.detection import default_boxes, geometry
from limen.lab.tasks.detection.kinds import NOTHING, ignored
from limen.lab.tasks.detection.yolo import ANCHORED, ANCHORS, YOLO, SpatialPyramid, complete_overlap

OBJECTS = torch.tensor([[[1, 0.1, 0.1, 0.5, 0.6], [ignored(0), 0.6, 0.6, 0.9, 0.9], [NOTHING, 0, 0, 0, 0]]])


def network(shape: tuple[int, int, int] = (3, 64, 96), classes: int = 2) -> YOLO:
    torch.manual_seed(0)
    return YOLO(shape, classes, width=4)


def test_sizes_by_name() -> None:
    found = {}
    for name in ("yolo-nano", "yolo-medium"):
        with torch.device("meta"):
            made = tasks.find("detection").networks[name](image_shape=(3, 64, 64), num_classes=80)
        found[name] = sum(parameter.numel() for parameter in made.parameters())
    assert list(found.values()) == [1_870_861, 18_879_213]


def test_every_activation_is_reached_and_every_parameter_learns() -> None:
    made = network()
    count = sum(isinstance(module, nn.SiLU) for module in made.modules())
    report = limen.swap_(made, "relu")
    assert (len(report.sites), report.unreached) == (count, [])
    made.losses(torch.rand(2, 3, 64, 96), OBJECTS.expand(2, -1, -1)).backward()
    assert all(parameter.grad is not None for parameter in made.parameters())


@pytest.mark.parametrize("shape", [(1, 24, 40), (3, 64, 96)])
def test_untrained_boxes_are_anchors_in_the_middle_of_their_cells(shape: tuple[int, int, int]) -> None:
    made = network(shape).eval()
    for head in made.heads:
        nn.init.zeros_(head.weight)
    raw = made.raw(torch.rand(1, *shape))
    across, down = (math.ceil(side / 32) for side in (shape[2], shape[1]))
    assert raw.boxes.shape == (1, 3 * across * down * (16 + 4 + 1), 4)
    coarse = raw.boxes[0, -3 * across * down :]
    middle = (coarse[0, :2] + coarse[0, 2:]) / 2
    assert middle.tolist() == pytest.approx([16 / shape[2], 16 / shape[1]], abs=1e-6)
    pixels = (coarse[:3, 2:] - coarse[:3, :2]) * torch.tensor([shape[2], shape[1]])
    short = min(shape[1:])
    assert pixels.flatten().tolist() == pytest.approx([v * short / ANCHORED for size in ANCHORS[2] for v in size])
    assert raw.objectness.sigmoid().flatten().tolist() == pytest.approx([0.01] * raw.boxes.shape[1], rel=1e-4)


def test_an_object_is_learned_in_its_cell_by_the_anchors_that_fit() -> None:
    made = network()
    image, box, number = made.assigned(OBJECTS)
    assert (image.tolist(), set(number.tolist())) == ([0] * len(box), {0})
    cells, steps = made.cells[box], made.steps[box]
    assert ((cells <= 0.3) & (cells + steps > 0.3)).all(1)[0]
    sizes = made.anchors[box]
    wanted = torch.tensor([0.4, 0.5])
    alike = torch.minimum(sizes, wanted).prod(1)
    alike = alike / (sizes.prod(1) + wanted.prod() - alike)
    assert (alike > 0.25).all()
    tiny = torch.tensor([[[0.0, 0.5, 0.5, 0.5005, 0.5005]]])  # like no anchor
    assert len(made.assigned(tiny)[1]) == 1


def test_what_is_not_learned_is_not_called_wrong() -> None:
    made = network()
    raw = made.raw(torch.rand(1, 3, 64, 96))
    place = raw.boxes[0, 7]
    unlearned = torch.cat([torch.tensor([float(ignored(0))]), place])[None, None]
    inside = geometry.overlap(raw.boxes[0], place[None])[:, 0] >= 0.5
    loud = raw._replace(objectness=torch.where(inside, 5.0, raw.objectness))
    only_nothing = torch.full((1, 1, 5), float(NOTHING))
    assert made.loss_of(loud, unlearned) < made.loss_of(loud, only_nothing)
    assert made.loss_of(loud, unlearned) < made.loss_of(raw, only_nothing)


def test_complete_overlap_by_hand() -> None:
    one, other = torch.tensor([[0.0, 0.0, 2.0, 4.0]]), torch.tensor([[1.0, 0.0, 5.0, 2.0]])
    overlap = 2 / (8 + 8 - 2)
    apart = (2**2 + 1**2) / (5**2 + 4**2)
    shape = 4 / math.pi**2 * (math.atan(0.5) - math.atan(2.0)) ** 2
    expected = overlap - apart - shape**2 / (1 - overlap + shape)
    assert complete_overlap(one, other).item() == pytest.approx(expected, abs=1e-6)
    flat = torch.tensor([[1.0, 1.0, 1.0, 1.0]], requires_grad=True)
    complete_overlap(flat, other).sum().backward()
    assert flat.grad is not None
    assert flat.grad.isfinite().all()


def test_the_pyramid_pools_over_5_9_and_13_places() -> None:
    pyramid = SpatialPyramid(8).eval()
    x = torch.randn(1, 8, 16, 16)
    narrow = pyramid.narrow(x)
    views = [narrow, *(nn.functional.max_pool2d(narrow, size, 1, padding=size // 2) for size in (5, 9, 13))]
    assert torch.equal(pyramid(x), pyramid.wide(torch.cat(views, 1)))


def test_a_box_is_stated_with_the_score_of_its_likeliest_class() -> None:
    made = network()
    raw = made.raw(torch.rand(1, 3, 64, 96))
    objectness, classes = torch.full_like(raw.objectness, -20.0), raw.classes.clone()
    objectness[0, 7], classes[0, 7] = 2.0, torch.tensor([0.0, 1.0])
    answer = default_boxes.detections(made.stated(raw._replace(objectness=objectness, classes=classes)))
    expected = torch.sigmoid(torch.tensor(2.0)) * torch.sigmoid(torch.tensor(1.0))
    assert answer[0, 0, :2].tolist() == pytest.approx([expected.item(), 1.0], abs=1e-4)
    assert answer[0, 0, 2:].tolist() == pytest.approx(raw.boxes[0, 7].clamp(0, 1).tolist(), abs=1e-5)
    assert answer[0, 1, 0] == 0


@pytest.mark.slow
def test_it_learns_two_images_by_heart() -> None:
    made = network((3, 32, 32))
    image = torch.rand(2, 3, 32, 32)
    objects = torch.tensor([[[1, 0.1, 0.1, 0.6, 0.7]], [[0, 0.4, 0.3, 0.9, 0.8]]])
    optimiser = torch.optim.Adam(made.parameters(), 5e-3)
    for _ in range(60):
        optimiser.zero_grad()
        made.losses(image, objects).backward()
        optimiser.step()
    answer = default_boxes.detections(made.stated(made.raw(image)))
    assert answer[:, 0, 1].tolist() == [1, 0]
    overlap = torch.stack([geometry.overlap(answer[i, :1, 2:], objects[i, :, 1:])[0, 0] for i in range(2)])
    assert (overlap > 0.6).all()
