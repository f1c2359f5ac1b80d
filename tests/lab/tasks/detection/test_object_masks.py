"""Masks in COCO's three forms against pycocotools' values, broken ones, and what Mask R-CNN is given and gives."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from helpers_lab import data_of, experiment_of
from PIL import Image
from torch import Tensor, nn

from limen.errors import DataError, MissingExtraError, SpecError
from limen.lab.settings import StudySettings
from limen.lab.tasks import registry as tasks
from limen.lab.tasks.detection import default_boxes, libraries
from limen.lab.tasks.detection.boxes import BoxSplit, load_boxes
from limen.lab.tasks.detection.kinds import NOTHING
from limen.lab.tasks.detection.masks import numbers_of, packed, read_mask, shared, unpacked
from limen.lab.tasks.detection.meters import MaskPrecision, without_masks
from limen.lab.training import run as train
from limen.lab.training.augmentation import flipped

POLYGON = [1.2, 0.5, 7.9, 2.2, 5.5, 6.4, 2.0, 5.1]
INSIDE = ("000000000", "011110000", "001111110", "001111100", "001111100", "000111000", "000000000")
"""pycocotools 2.0.11."""
WITH_CORNER = ("000000011", "011110001", *INSIDE[2:])
SIZE = (7, 9)


def drawn(mask: np.ndarray) -> tuple[str, ...]:
    return tuple("".join(map(str, row)) for row in mask.astype(int).tolist())


def runs_of(mask: np.ndarray) -> list[int]:
    flat = mask.T.flatten()
    edges = np.flatnonzero(np.diff(flat)) + 1
    return [0] * int(flat[0]) + np.diff([0, *edges, len(flat)]).tolist()


def test_every_form_of_a_mask() -> None:
    mask = read_mask([POLYGON], SIZE, "here")
    assert drawn(mask) == INSIDE
    assert drawn(read_mask([POLYGON[2:] + POLYGON[:2]], SIZE, "here")) == INSIDE
    assert drawn(read_mask([POLYGON, [6, 0, 9, 0, 9, 3]], SIZE, "here")) == WITH_CORNER
    for counts in ("8163M1O01O0O1N7", runs_of(mask)):
        assert drawn(read_mask({"size": [7, 9], "counts": counts}, SIZE, "here")) == INSIDE
    long = np.zeros((40, 50), dtype=bool)
    long[3:33, 5:40] = True
    long[10:12] = False
    text = "[672>8BH" + ">8BH" * 33 + ">e<"  # runs of more than five bits, and differences below 0
    assert (read_mask({"size": [40, 50], "counts": text}, (40, 50), "here") == long).all()
    everything = read_mask({"size": [7, 9], "counts": [0, 63]}, SIZE, "here")
    assert everything.all()


@pytest.mark.parametrize(
    ("segmentation", "expected"),
    [
        ([], r"has the segmentation \[\]; give a list of polygons"),
        ("8163", "has the segmentation '8163'; give a list of polygons"),
        ([[1, 2, 3, 4]], "a polygon of 4 numbers, x and y of 2 points; give .* at least three points"),
        ([[1, 2, 3, 4, 5, 6, 7]], "a polygon of 7 numbers, x and y of 3.5 points"),
        ([[1, 2, 3, 4, 5, "6"]], r"which is no list of numbers"),
        ([1, 2, 3, 4, 5, 6], "has the polygon 1, which is no list of numbers"),
        ([[1, 2, 3, 4, 5, float("nan")]], "a point at nan; points are pixels"),
        ([[1, 2, 3, 4, 5, float("inf")]], "a point at inf"),
        ([[1, 2, 3, 4, 5, 10**400]], "a point at"),
        ({"size": [9, 7], "counts": [63]}, r"a mask of size \[9, 7\] \(height, width\), and its image is 7×9"),
        ({"counts": [63]}, "a mask of size None"),
        ({"size": [7, 9]}, "has the counts None; they are a list of whole numbers, or a string"),
        ({"size": [7, 9], "counts": [1, 2.5]}, r"has the counts \[1, 2.5\]"),
        ({"size": [7, 9], "counts": [60]}, "has runs of 60 pixels in all, and its mask has 63; the counts are damaged"),
        ({"size": [7, 9], "counts": [70, -7]}, "a run below 0"),
        ({"size": [7, 9], "counts": "81 3"}, "has counts with ' ' where none can be"),
        ({"size": [7, 9], "counts": "8163M1O01O0O1NP"}, "end within a number"),
        ({"size": [7, 9], "counts": "8163"}, "the counts are damaged"),
    ],
)
def test_a_broken_mask_is_one_sentence(segmentation: Any, expected: str) -> None:
    with pytest.raises(DataError, match=f"^object 3 .*{expected}"):
        read_mask(segmentation, SIZE, "object 3")


def test_masks_are_packed_and_unpacked_and_compared() -> None:
    masks = torch.rand(3, 2, 7, 9) > 0.5
    rows = packed(masks)
    assert rows.shape == (3, 2, numbers_of((7, 9)))
    assert torch.equal(unpacked(rows, (7, 9)), masks)
    one, other = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    one[:, :2], other[:, :, 1:] = True, True
    overlap, within = shared(one, other)
    assert (overlap.item(), within.item()) == (pytest.approx(6 / 14), pytest.approx(6 / 8))


def test_masks_are_mirrored_with_their_images() -> None:
    images = torch.randint(0, 256, (2, 1, 4, 6), dtype=torch.uint8)
    masks = images[:, 0] > 100
    row = torch.tensor([0.0, 0.1, 0.2, 0.5, 0.9]).expand(2, -1)
    objects = torch.cat([row, packed(masks)], -1)[:, None]
    drawn_numbers = torch.tensor([[0.2] * 7, [0.8] * 7])
    changed, targets = BoxSplit.augmented(images, objects, drawn_numbers, flipped)
    assert torch.equal(unpacked(targets[:, 0, 5:], (4, 6)), changed[:, 0] > 100)
    assert targets[0, 0, :5].tolist() == pytest.approx([0, 0.5, 0.2, 0.9, 0.9])
    assert torch.equal(targets[1], objects[1])


def coco(folder: Path, count: int = 12, **changed: Any) -> Path:
    """Bright squares on dark images, in turn with a polygon, counts and a string."""
    folder.mkdir(exist_ok=True)
    images, annotations = [], []
    for number in range(count):
        pixels = np.full((32, 48, 3), 30, dtype=np.uint8)
        left, top = 4 + number % 5, 3 + number % 4
        pixels[top : top + 16, left : left + 20] = 220
        Image.fromarray(pixels).save(folder / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "height": 32, "width": 48})
        mask = pixels[..., 0] > 100
        corners = [left, top, left + 20, top, left + 20, top + 16, left, top + 16]
        forms = [[corners], {"size": [32, 48], "counts": runs_of(mask)}]
        found = {"id": number, "image_id": number, "category_id": 1, "bbox": [left, top, 20, 16], "iscrowd": 0}
        annotations.append({**found, "segmentation": forms[number % 2], **changed})
    categories = [{"id": 1, "name": "square"}]
    (folder / "instances.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    return folder


def test_masks_are_read_where_they_are_wanted(tmp_path: Path) -> None:
    folder = coco(tmp_path)
    data = load_boxes(str(folder), image_size=None, grey=True, masks=True)
    assert data.mask_numbers == numbers_of((32, 48))
    masks = unpacked(data.train.objects[:, 0, 5:], (32, 48))
    assert torch.equal(masks, data.train.images[:, 0] > 100)
    smaller = load_boxes(str(folder), image_size=(16, 24), grey=True, masks=True).train
    halves = unpacked(smaller.objects[:, 0, 5:], (16, 24))
    assert (halves.sum((1, 2)) == 80).all()
    assert load_boxes(str(folder), image_size=None, grey=True).mask_numbers == 0


def test_an_object_without_a_mask_or_with_a_broken_one_is_named(tmp_path: Path) -> None:
    folder = coco(tmp_path, segmentation=None)
    load_boxes(str(folder), image_size=None, grey=True)
    with pytest.raises(DataError, match=r"'square' of '0.png' has no mask, .*fasterrcnn_resnet50_fpn\.$"):
        load_boxes(str(folder), image_size=None, grey=True, masks=True)
    coco(tmp_path, segmentation=[[1, 2, 3, 4]])
    with pytest.raises(DataError, match=r"'square' of '0.png' has a polygon of 4 numbers"):
        load_boxes(str(folder), image_size=None, grey=True, masks=True)


class Answering(nn.Module):
    """Answers and losses in the form of torchvision's Mask R-CNN."""

    def __init__(self, body: object, **options: object) -> None:
        super().__init__()
        self.given, self.seen = options, []

    def forward(self, images: list[Tensor], truth: list[dict[str, Tensor]] | None = None) -> object:
        if self.training:
            self.seen = truth
            return {"mask": torch.tensor(2.0)}
        masks = torch.zeros(1, 1, *images[0].shape[1:])
        masks[0, 0, 2:5, 3:9] = 0.9
        boxes = torch.tensor([[3.0, 2, 9, 5]])
        found = {"boxes": boxes, "labels": torch.tensor([2]), "scores": torch.tensor([0.8]), "masks": masks}
        return [found if image.sum() == 0 else {name: part[:0] for name, part in found.items()} for image in images]


@pytest.fixture
def torchvision(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The parts of torchvision that Mask R-CNN is made of, each of which says what it was given."""
    names = {
        "anchor_utils": ("AnchorGenerator",),
        "backbone_utils": ("BackboneWithFPN",),
        "faster_rcnn": ("MultiScaleRoIAlign", "TwoMLPHead", "FastRCNNPredictor"),
        "mask_rcnn": ("MaskRCNNHeads", "MaskRCNNPredictor"),
    }
    parts = {
        part: SimpleNamespace(**{name: lambda *given, **named: (*given, *named.values()) for name in inside})
        for part, inside in names.items()
    }
    parts["backbone_utils"].resnet = SimpleNamespace(resnet18=lambda weights: SimpleNamespace(inplanes=512))
    parts["mask_rcnn"].MaskRCNN = Answering
    module = SimpleNamespace(**parts)
    monkeypatch.setattr(libraries, "detectors", lambda name: module)
    return module


def test_widths_and_regions_of_mask_rcnn_are_in_its_name(torchvision: SimpleNamespace) -> None:
    networks = tasks.find("detection").networks
    given = networks["maskrcnn-resnet18-w64-r128"](image_size=(200, 400), num_classes=2).model.given
    assert given["box_head"] == (64 * 49, 256)
    assert given["mask_head"] == (64, (64, 64, 64, 64), 1)
    assert given["mask_roi_pool"] == (["0", "1", "2", "3"], 14, 2, 56)  # 224 of 800 pixels
    assert given["rpn_anchor_generator"][0] == ((8,), (16,), (32,), (64,), (128,))
    counts = [given[f"rpn_{when}_nms_top_n_{mode}"] for when in ("pre", "post") for mode in ("train", "test")]
    assert (given["box_batch_size_per_image"], counts) == (128, [500, 250, 500, 250])
    given = networks["maskrcnn-resnet18"](image_size=(200, 400), num_classes=2).model.given
    counts = [given[f"rpn_{when}_nms_top_n_{mode}"] for when in ("pre", "post") for mode in ("train", "test")]
    assert (given["box_batch_size_per_image"], counts) == (512, [2000, 1000, 2000, 1000])
    assert given["box_head"] == (256 * 49, 1024)
    with pytest.raises(SpecError, match="'maskrcnn-r0' has the regions 0; give more"):
        networks["maskrcnn-r0"]


def test_mask_rcnn_takes_masks_and_gives_them(torchvision: SimpleNamespace) -> None:
    network = tasks.find("detection").networks["maskrcnn-resnet18"](image_size=(8, 16), num_classes=2)
    masks = torch.rand(1, 2, 8, 16) > 0.5
    objects = torch.tensor([[[1.0, 0.25, 0.5, 0.5, 1.0], [NOTHING, 0, 0, 0, 0]]])
    objects = torch.cat([objects, packed(masks)], -1)
    assert network.losses(torch.zeros(1, 1, 8, 16), objects) == 2
    truth = network.model.seen[0]
    assert torch.equal(truth["masks"], masks[0, :1].to(torch.uint8))
    assert truth["boxes"].tolist() == [[4, 4, 8, 8]]
    outputs = network.eval()(torch.zeros(1, 1, 8, 16))
    boxes, truth_boxes = without_masks(outputs, objects)
    assert (boxes.shape, truth_boxes.shape) == ((1, 100, 11), (1, 2, 5))
    assert default_boxes.detections(boxes)[0, 0, :2].tolist() == pytest.approx([0.8, 1.0])
    found = unpacked(outputs[0, :, 11:], (8, 16))
    assert (found[0, 2:5, 3:9].all(), int(found.sum())) == (True, 18)
    meter = MaskPrecision(2, (8, 16), thresholds=(0,))
    exact = torch.cat([objects[:, :1, :5], packed(found[None, :1])], -1)
    meter.update(outputs, exact)
    assert meter.compute() == 1
    nothing = network(torch.ones(1, 1, 8, 16))  # an image in which no region is an object
    assert nothing.shape == outputs.shape
    assert default_boxes.detections(nothing[..., :11])[0, :, 0].max() == 0


WARNS = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
"""pycocotools' decoding does, beside NumPy 2."""


def blob(random: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(size, dtype=bool)
    top, left, height, width = random.integers([0, 0, 3, 3], [size[0] - 8, size[1] - 8, 9, 9])
    mask[top : top + height, left : left + width] = True
    return mask


@WARNS
def test_polygons_and_strings_are_those_of_pycocotools() -> None:
    tools = pytest.importorskip("pycocotools.mask")
    random = np.random.default_rng(0)
    for number in range(200):
        height, width = (int(side) for side in random.integers(1, 50, 2))
        points = random.random((int(random.integers(3, 9)), 2)) * [width * 1.4, height * 1.4] - [width / 5, height / 5]
        polygon = (points.round() if number % 3 == 0 else points).flatten().tolist()
        theirs = tools.decode(tools.frPyObjects([polygon], height, width))[..., 0]
        assert (read_mask([polygon], (height, width), "here") == theirs).all()
        mask = random.random((height, width)) < random.random()
        text = tools.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
        assert (read_mask({"size": [height, width], "counts": text}, (height, width), "here") == mask).all()


@WARNS
def test_mask_precision_is_that_of_pycocotools() -> None:
    tools = pytest.importorskip("pycocotools.mask")
    theirs, evaluation = (importlib.import_module(f"pycocotools.{name}") for name in ("coco", "cocoeval"))
    random, size, classes = np.random.default_rng(3), (24, 30), 2
    meters = [MaskPrecision(classes, size, thresholds=which) for which in (tuple(range(10)), (0,))]
    annotations, answers = [], []

    def encoded(mask: np.ndarray) -> Any:
        return tools.encode(np.asfortranarray(mask.astype(np.uint8)))

    for image in range(12):
        there = [blob(random, size) for _ in range(int(random.integers(1, 5)))]
        kinds, crowds = random.integers(0, classes, len(there)), random.random(len(there)) < 0.15
        for mask, kind, crowd in zip(there, kinds, crowds, strict=True):
            known = {"image_id": image, "category_id": int(kind), "iscrowd": int(crowd), "area": float(mask.sum())}
            segmentation = encoded(mask)
            annotations.append(
                {**known, "id": len(annotations) + 1, "segmentation": segmentation, "bbox": [0, 0, 1, 1]}
            )
        said = [np.roll(there[int(random.integers(0, len(there)))], int(random.integers(-2, 3)), 1) for _ in range(6)]
        said += [blob(random, size) for _ in range(2)]
        scores, labels = random.random(8) * 0.9 + 0.05, random.integers(0, classes, 8)
        answers += [
            {"image_id": image, "category_id": int(label), "score": float(score), "segmentation": encoded(mask)}
            for mask, score, label in zip(said, scores, labels, strict=True)
        ]
        rows = torch.tensor([[-2.0 - kind if crowd else kind] for kind, crowd in zip(kinds, crowds, strict=True)])
        place = torch.tensor([0.0, 0, 1, 1])
        truth = torch.cat([rows, place.expand(len(rows), -1), packed(torch.from_numpy(np.stack(there)))], -1)
        boxes = default_boxes.stated(
            torch.from_numpy(scores), torch.from_numpy(labels), place.double().expand(8, -1), classes
        )
        outputs = torch.cat([boxes, packed(torch.from_numpy(np.stack(said)))], -1)
        for meter in meters:
            meter.update(outputs[None], truth[None])
    with contextlib.redirect_stdout(io.StringIO()):
        known = theirs.COCO()
        images = [{"id": image, "height": size[0], "width": size[1]} for image in range(12)]
        categories = [{"id": label, "name": str(label)} for label in range(classes)]
        known.dataset = {"images": images, "annotations": annotations, "categories": categories}
        known.createIndex()
        judged = evaluation.COCOeval(known, known.loadRes(answers), "segm")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    assert [float(meter.compute()) for meter in meters] == pytest.approx(judged.stats[:2].tolist(), abs=1e-6)
    assert judged.stats[0] > 0.02


@pytest.fixture
def real() -> ModuleType:
    """torchvision's detectors, where they can be imported."""
    try:
        return libraries.detectors("maskrcnn")
    except MissingExtraError as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_mask_rcnn_has_the_weights_of_the_published_one(real: ModuleType) -> None:
    published = real.maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=91).state_dict()
    ours = tasks.find("detection").networks["maskrcnn"](image_size=(800, 1066), num_classes=90).model
    assert {name: part.shape for name, part in ours.state_dict().items()} == {
        name: part.shape for name, part in published.items()
    }
    sizes = tuple((side,) for side in (32, 64, 128, 256, 512))
    assert ours.rpn.anchor_generator.sizes == sizes
    assert ours.roi_heads.mask_roi_pool.canonical_scale == 224


@pytest.mark.slow
def test_mask_rcnn_of_torchvision_runs_as_a_study(tmp_path: Path, real: ModuleType) -> None:
    task = tasks.find("detection")
    values = {
        **task.defaults,
        "network": "maskrcnn-resnet18-w16-r16",
        "image_size": (32, 48),
        "epochs": 1,
        "batch_size": 4,
    }
    chosen = StudySettings(
        task="detection", data=str(coco(tmp_path)), activations=("relu",), baseline="relu", seeds=(0,), **values
    )
    run = train.run(experiment_of(chosen, data_of(chosen)), "relu", 0)
    assert run.status == "finished"
    assert {"test_map50", "test_map", "test_mask_map50", "test_mask_map"} <= run.metrics.keys()
