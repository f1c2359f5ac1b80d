"""A YOLO: one look at three scales. Written after its papers, with sizes of our own.

Redmon & Farhadi 2018, 1804.02767 (anchors on three scales, objectness); Bochkovskiy et al. 2020, 2004.10934 (its
fourth version: CSP backbone, spatial pyramid pooling, path aggregation, CIoU); Wang et al. 2019, 1911.11929 (CSP);
Liu et al. 2018, 1803.01534 (path aggregation); Zheng et al. 2019, 1911.08287 (CIoU).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limen.lab.networks.layers import ImageShape, filled_up
from limen.lab.tasks.detection import default_boxes, geometry
from limen.lab.tasks.detection.kinds import NOTHING

STRIDES = (8, 16, 32)
ANCHORS = (
    ((10, 13), (16, 30), (33, 23)),
    ((30, 61), (62, 45), (59, 119)),
    ((116, 90), (156, 198), (373, 326)),
)
"""Width and height of those of each stride, of an image of this many pixels (1804.02767, §2.3)."""
ANCHORED = 416
GRID = 1.1
"""A centre reaches so much further than its cell that it can lie on its border (2004.10934, "grid sensitivity")."""
FITTING = 0.25
"""Overlap of an object and an anchor, laid on one another, from which the anchor learns it beside the best one."""
NEAR = 0.5
"""A box that overlaps an object by so much is not wrong for saying that something is there (1804.02767, §2.1)."""
PRIOR = 0.01
"""How likely an object is anywhere, before anything was learned."""
BOX, CLASS = 2.0, 1.0
"""What the losses of a box's place and of its class are multiplied by; that of its objectness is not."""
WIDEST = 4.0
"""The logarithm of no stretch of an anchor goes further."""


class Raw(NamedTuple):
    """What the heads of all three scales give, cell by cell."""

    objectness: Tensor
    """(N, boxes): logits that there is an object."""
    classes: Tensor
    """(N, boxes, classes): logits of its class, if there is."""
    boxes: Tensor
    """(N, boxes, 4): corners, as fractions of the image."""


class YOLO(nn.Module):
    """A backbone of cross-stage partial blocks, a pyramid that goes down and up again, and a head at three strides.

    With a stem of 16 channels and 80 classes 1.9 million weights. Published with Mish and LeakyReLU; here with SiLU.
    """

    def __init__(self, image_shape: ImageShape, num_classes: int, width: int = 16, blocks: int = 1) -> None:
        super().__init__()
        channels, height, width_of_image = image_shape
        self.classes, self.multiple = num_classes, max(STRIDES)
        widths = [width * 2**stage for stage in range(5)]
        self.stem = convolution(channels, width, 3, 2)
        self.stages = nn.ModuleList(
            nn.Sequential(convolution(narrow, wide, 3, 2), CrossStage(wide, wide, count * blocks))
            for narrow, wide, count in zip(widths, widths[1:], (1, 2, 3, 1), strict=False)
        )
        self.pyramid = SpatialPyramid(widths[4])
        self.neck = PathAggregation(widths[2:])
        self.heads = nn.ModuleList(nn.Conv2d(wide, len(ANCHORS[0]) * (5 + num_classes), 1) for wide in widths[2:])
        for head in self.heads:
            _begin(head, num_classes)
        places = _places((height, width_of_image), self.multiple)
        for name, value in zip(("cells", "steps", "anchors"), places, strict=True):
            self.register_buffer(name, value, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """The likeliest class of each box in the task's form, (N, boxes, 1 + classes + 4 + 4)."""
        return self.stated(self.raw(images))

    def stated(self, raw: Raw) -> Tensor:
        """The same, of what the heads gave: a box is of a class as far as there is an object, and it is one of it."""
        likely, label = raw.classes.sigmoid().max(-1)
        return default_boxes.stated(raw.objectness.sigmoid() * likely, label, raw.boxes, self.classes)

    def raw(self, images: Tensor) -> Raw:
        """What the heads give."""
        x = self.stem(filled_up(images, self.multiple))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        levels = self.neck([maps[1], maps[2], self.pyramid(maps[3])])
        answers = torch.cat(
            [
                head(level).permute(0, 2, 3, 1).reshape(len(images), -1, 5 + self.classes)
                for head, level in zip(self.heads, levels, strict=True)
            ],
            1,
        ).to(self.get_buffer("cells").dtype)
        cells, steps, anchors = (self.get_buffer(name) for name in ("cells", "steps", "anchors"))
        centres = cells + (GRID * answers[..., :2].sigmoid() - (GRID - 1) / 2) * steps
        sizes = anchors * answers[..., 2:4].clamp(max=WIDEST).exp()
        return Raw(answers[..., 4], answers[..., 5:], geometry.corners(torch.cat([centres, sizes], -1)))

    def losses(self, images: Tensor, objects: Tensor) -> Tensor:
        """The loss of what it says of a batch; objects that are not learned are left out."""
        return self.loss_of(self.raw(images), objects)

    def loss_of(self, raw: Raw, objects: Tensor) -> Tensor:
        """CIoU of the boxes that learn an object, entropy of their classes and of all objectness, for each of them."""
        with torch.no_grad():
            image, box, number = self.assigned(objects)
            there = torch.zeros_like(raw.objectness)
            there[image, box] = 1
            truth = objects[image, number]
            labels = F.one_hot(truth[:, 0].long(), self.classes).to(raw.classes.dtype)
            counts = (there > 0) | ~_near(raw.boxes, objects)
        place = (1 - complete_overlap(raw.boxes[image, box], truth[:, 1:])).sum()
        kind = F.binary_cross_entropy_with_logits(raw.classes[image, box], labels, reduction="sum")
        something = F.binary_cross_entropy_with_logits(raw.objectness, there, weight=counts.float(), reduction="sum")
        return (BOX * place + CLASS * kind + something) / max(1, len(box))

    def assigned(self, objects: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Which boxes learn which objects: image, box and object of each pair.

        An object is learned in the cell of its centre, by the anchor that is most like it and by all that fit.
        """
        cells, steps, anchors = (self.get_buffer(name) for name in ("cells", "steps", "anchors"))
        corners = objects[..., 1:]
        centres, sizes = (corners[..., :2] + corners[..., 2:]) / 2, corners[..., 2:] - corners[..., :2]
        within = centres[..., None, :] - cells
        here = ((within >= 0) & (within < steps)).all(-1) & (objects[..., 0] > NOTHING)[..., None]
        shared = torch.minimum(sizes[..., None, :], anchors).prod(-1)
        alike = shared / (sizes.prod(-1)[..., None] + anchors.prod(-1) - shared) * here
        best = alike.amax(-1, keepdim=True)
        image, number, box = (here & ((alike == best) | (alike > FITTING))).nonzero(as_tuple=True)
        return image, box, number


class ConvolutionBlock(nn.Sequential):
    """A convolution without bias, batch normalisation, SiLU."""


def convolution(channels: int, width: int, kernel: int = 1, stride: int = 1) -> ConvolutionBlock:
    """Keeps the size, but for the stride."""
    made = nn.Conv2d(channels, width, kernel, stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(made.weight, mode="fan_out", nonlinearity="relu")
    return ConvolutionBlock(made, nn.BatchNorm2d(width), nn.SiLU())


class CrossStage(nn.Module):
    """Half of the channels go through residual blocks, the other half past them; both are joined (1911.11929)."""

    def __init__(self, channels: int, width: int, count: int, *, shortcut: bool = True) -> None:
        super().__init__()
        half = width // 2
        self.through, self.past = convolution(channels, half), convolution(channels, half)
        self.blocks = nn.Sequential(*(Residual(half, shortcut) for _ in range(count)))
        self.joined = convolution(2 * half, width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W)."""
        joined: Tensor = self.joined(torch.cat([self.blocks(self.through(x)), self.past(x)], 1))
        return joined


class Residual(nn.Module):
    """1×1 and 3×3, added to what came in."""

    def __init__(self, channels: int, shortcut: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(convolution(channels, channels), convolution(channels, channels, 3))
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        out: Tensor = self.body(x)
        return x + out if self.shortcut else out


class SpatialPyramid(nn.Module):
    """Maxima over 5×5, 9×9 and 13×13 places beside the place itself: each is the 5×5 maximum of the one before."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.narrow, self.pool = convolution(channels, half), nn.MaxPool2d(5, 1, padding=2)
        self.wide = convolution(4 * half, channels)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        views = [self.narrow(x)]
        for _ in range(3):
            views.append(self.pool(views[-1]))
        wide: Tensor = self.wide(torch.cat(views, 1))
        return wide


class PathAggregation(nn.Module):
    """What coarse maps show goes to the finer ones, and what these then show goes back (1803.01534)."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        fine, middle, coarse = widths
        self.to_middle, self.to_fine = convolution(coarse, middle), convolution(middle, fine)
        self.middle = CrossStage(2 * middle, middle, 1, shortcut=False)
        self.fine = CrossStage(2 * fine, fine, 1, shortcut=False)
        self.from_fine, self.from_middle = convolution(fine, fine, 3, 2), convolution(middle, middle, 3, 2)
        self.middle_again = CrossStage(2 * fine, middle, 1, shortcut=False)
        self.coarse_again = CrossStage(2 * middle, coarse, 1, shortcut=False)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Maps of the same shapes, the finest first."""
        fine, middle, coarse = maps
        above = self.to_middle(coarse)
        middle = self.to_fine(self.middle(torch.cat([_twice(above), middle], 1)))
        fine = self.fine(torch.cat([_twice(middle), fine], 1))
        again = self.middle_again(torch.cat([self.from_fine(fine), middle], 1))
        return [fine, again, self.coarse_again(torch.cat([self.from_middle(again), above], 1))]


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def _begin(head: nn.Module, classes: int) -> None:
    """Small weights, so that boxes begin as their anchors, and objects begin as rare as they are."""
    assert isinstance(head, nn.Conv2d)
    assert head.bias is not None
    nn.init.normal_(head.weight, std=0.01)
    nn.init.zeros_(head.bias)
    with torch.no_grad():
        head.bias.view(-1, 5 + classes)[:, 4] = math.log(PRIOR / (1 - PRIOR))


def _places(image: tuple[int, int], multiple: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of each box the upper left corner of its cell, the cell's size, its anchor's: fractions of the image."""
    sides = torch.tensor([image[1], image[0]], dtype=torch.float32)
    cells, steps, anchors = [], [], []
    for stride, sizes in zip(STRIDES, ANCHORS, strict=True):
        rows, columns = (-(-side // multiple) * multiple // stride for side in image)
        down, across = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        corners = torch.stack([across, down], -1).reshape(-1, 1, 2).expand(-1, len(sizes), -1)
        cells.append(corners.reshape(-1, 2) * stride / sides)
        steps.append((stride / sides).expand_as(cells[-1]))
        scaled = torch.tensor(sizes, dtype=torch.float32) * (min(image) / ANCHORED) / sides
        anchors.append(scaled.expand(rows * columns, -1, -1).reshape(-1, 2))
    return torch.cat(cells), torch.cat(steps), torch.cat(anchors)


def _near(boxes: Tensor, objects: Tensor) -> Tensor:
    """Which boxes overlap any object, learned or not, by :data:`NEAR`."""
    there = (objects[..., 0] != NOTHING)[..., None]
    return (geometry.overlap(objects[..., 1:], boxes.detach()) * there >= NEAR).any(1)


def complete_overlap(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of pairs (K, 4), less what centres and shapes differ by (1911.08287, eq. 7 to 11).

    >>> box = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    >>> complete_overlap(box, box).item(), complete_overlap(box, box + 2).item()
    (1.0, -0.25)
    """
    inside = (torch.minimum(boxes[:, 2:], others[:, 2:]) - torch.maximum(boxes[:, :2], others[:, :2])).clamp(min=0)
    shared = inside.prod(-1)
    overlap = shared / (geometry.area(boxes) + geometry.area(others) - shared).clamp(min=1e-9)
    around = torch.maximum(boxes[:, 2:], others[:, 2:]) - torch.minimum(boxes[:, :2], others[:, :2])
    apart = (boxes[:, :2] + boxes[:, 2:] - others[:, :2] - others[:, 2:]).square().sum(-1) / 4
    angles = [torch.atan2(*(box[:, 2:] - box[:, :2]).clamp(min=1e-9).unbind(-1)) for box in (boxes, others)]
    shape = (angles[1] - angles[0]).square() * (4 / math.pi**2)
    with torch.no_grad():
        weight = shape / (1 - overlap + shape).clamp(min=1e-9)
    return overlap - apart / around.square().sum(-1).clamp(min=1e-9) - weight * shape
