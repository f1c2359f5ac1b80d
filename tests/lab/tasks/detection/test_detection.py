"""``--task detection``: Pascal VOC and COCO in every known layout, average precision, loss, from files to report."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_lab import Command, command, data_of, described, experiment_of, parts_of
from PIL import ExifTags, Image

from limen.errors import DataError, SpecError
from limen.lab.settings import StudySettings
from limen.lab.study.preparing import probe
from limen.lab.tasks import registry as tasks
from limen.lab.tasks.detection.boxes import BoxData, load_boxes
from limen.lab.tasks.detection.kinds import NOTHING, ignored
from limen.surgery import swap_

READ = {"image_size": None, "grey": False}
SIZE = (24, 40)
"""Height and width."""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return command(monkeypatch, capsys)


def scene(number: int) -> tuple[np.ndarray, list[tuple[str, tuple[int, int, int, int]]]]:
    """A dark image with a bright square, and a red one in every other, and where they are: left, top, right, bottom."""
    random = np.random.default_rng(number)
    image = random.integers(20, 50, (*SIZE, 3), dtype=np.uint8)
    things = []
    for label, colour, start in (("white", (230, 230, 230), 0), ("red", (230, 30, 30), SIZE[1] // 2))[: 1 + number % 2]:
        side = int(random.integers(8, 13))
        left = start + int(random.integers(0, SIZE[1] // 2 - side))
        top = int(random.integers(0, SIZE[0] - side))
        image[top : top + side, left : left + side] = colour
        things.append((label, (left, top, left + side, top + side)))
    return image, things


def write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **({"quality": 95} if path.suffix == ".jpg" else {}))


def xml(things: list, size: tuple[int, int] = SIZE, times: float = 1, difficult: str = "0") -> str:
    """VOC's form, which counts pixels from 1."""
    objects = "".join(
        f"<object><name>{label}</name><difficult>{difficult}</difficult><bndbox><xmin>{times * box[0] + 1:g}</xmin>"
        f"<ymin>{times * box[1] + 1:g}</ymin><xmax>{times * box[2]:g}</xmax><ymax>{times * box[3]:g}</ymax></bndbox>"
        "</object>"
        for label, box in things
    )
    height, width = size
    return f"<annotation><size><width>{width}</width><height>{height}</height></size>{objects}</annotation>"


def voc(root: Path, count: int = 12, *, start: int = 0, images: str = "JPEGImages", times: int = 1) -> Path:
    for number in range(start, start + count):
        image, things = scene(number)
        write(root / images / f"{number}.jpg", image)
        path = root / ("Annotations" if images else "") / f"{number}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(xml(things, (SIZE[0] * times, SIZE[1] * times), times))
    return root


def lists(root: Path, **parts: range) -> None:
    (root / "ImageSets" / "Main").mkdir(parents=True)
    for name, numbers in parts.items():
        (root / "ImageSets" / "Main" / f"{name}.txt").write_text("".join(f"{number}\n" for number in numbers))


def coco(file: Path, images: Path, numbers: range, prefix: str = "") -> None:
    stated, boxes = [], []
    for number in numbers:
        image, things = scene(number)
        write(images / f"{number}.jpg", image)
        stated.append({"id": number, "file_name": f"{prefix}{number}.jpg", "height": SIZE[0], "width": SIZE[1]})
        for label, (left, top, right, bottom) in things:
            category = {"white": 1, "red": 2}[label]
            box = [left, top, right - left, bottom - top]
            boxes.append({"id": len(boxes), "image_id": number, "category_id": category, "bbox": box, "iscrowd": 0})
    categories = [{"id": 0, "name": "nothing"}, {"id": 1, "name": "white"}, {"id": 2, "name": "red"}]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"images": stated, "annotations": boxes, "categories": categories}))


def zipped(path: Path, source: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(source.rglob("*.*")):
            archive.write(file, file.relative_to(source))
    return path


def settings(data: Path, **changed: object) -> StudySettings:
    task = tasks.find("detection")
    values = {"task": "detection", "data": str(data), **task.defaults, "batch_size": 4, "eval_batch_size": 4}
    return StudySettings(**{**values, "activations": ("relu",), "baseline": "relu", "seeds": (0,), **changed})


def loaded(data: Path, **changed: object) -> BoxData:
    found = tasks.find("detection").load(settings(data, **changed))
    assert isinstance(found, BoxData)
    return found


def check(objects: torch.Tensor, number: int, classes: tuple[str, ...]) -> None:
    """The rows of an image are those of its scene."""
    things = scene(number)[1]
    wanted = [[classes.index(label), *np.array(box) / [*SIZE[::-1], *SIZE[::-1]]] for label, box in things]
    assert torch.allclose(objects[: len(things)], torch.tensor(wanted, dtype=torch.float32), atol=1e-6)
    assert (objects[len(things) :, 0] == NOTHING).all()


def test_voc_in_every_layout(tmp_path: Path) -> None:
    plain = voc(tmp_path / "VOC2007")
    places = [plain, zipped(tmp_path / "z.zip", plain), voc(tmp_path / "images", images="images")]
    places.append(voc(tmp_path / "beside", images=""))
    for place in places:
        name, classes, splits, notes = described(load_boxes(str(place), **READ))
        assert (name, classes, list(splits), notes) == (place.name.partition(".")[0], ("red", "white"), ["train"], ())
        for number in range(12):  # 10 comes after 9
            check(splits["train"].objects[number], number, classes)
            assert splits["train"].names[number].endswith(f"{number}.jpg")


def test_split_lists_and_split_folders(tmp_path: Path) -> None:
    listed = voc(tmp_path / "listed")
    lists(listed, train=range(6), val=range(6, 8), trainval=range(8), test=range(8, 11))  # 11 is in no list
    inner = tmp_path / "inner"
    for part, start, count in (("train", 0, 6), ("valid", 6, 2), ("test", 8, 3)):
        voc(inner / part, count, start=start, images="images")
    for place in (listed, inner):
        splits = parts_of(load_boxes(str(place), **READ))
        assert {name: len(split) for name, split in splits.items()} == {"train": 6, "validation": 2, "test": 3}
        check(splits["test"].objects[0], 8, ("red", "white"))
    both = voc(tmp_path / "both")
    lists(both, trainval=range(9), test=range(9, 12))
    assert {name: len(split) for name, split in parts_of(load_boxes(str(both), **READ)).items()} == {
        "train": 9,
        "test": 3,
    }


def test_coco_in_every_layout(tmp_path: Path) -> None:
    for part, numbers in (("train", range(8)), ("val", range(8, 10)), ("test", range(10, 12))):
        coco(tmp_path / "a" / "annotations" / f"instances_{part}2017.json", tmp_path / "a" / f"{part}2017", numbers)
        beside = tmp_path / "b" / part
        coco(beside / "_annotations.coco.json", beside, numbers)
    for place in (tmp_path / "a", tmp_path / "b", zipped(tmp_path / "c.zip", tmp_path / "a")):
        _, classes, splits, notes = described(load_boxes(str(place), **READ))
        assert classes == ("white", "red")  # in the order of the file, not of the alphabet
        assert notes == ("No box has the class nothing; left out.",)
        assert {name: len(split) for name, split in splits.items()} == {"train": 8, "validation": 2, "test": 2}
        check(splits["test"].objects[1], 11, classes)
    coco(tmp_path / "d" / "instances.json", tmp_path / "d" / "images", range(7), prefix="images/")
    assert list(parts_of(load_boxes(str(tmp_path / "d"), **READ))) == ["train"]


def test_boxes_stated_for_another_size_are_scaled(tmp_path: Path) -> None:
    """As in the halved images of BCCD, whose XML is of the whole ones."""
    _, _, splits, notes = described(load_boxes(str(voc(tmp_path, times=2)), **READ))
    assert notes == (
        "The boxes of 12 images were scaled by 0.5: their annotations state another size than the images have.",
    )
    objects = splits["train"].objects
    plain = load_boxes(str(voc(tmp_path / "plain")), **READ).train.objects
    # VOC counts from 1, so that the left end 2·x + 1 is (2·x)/2 again.
    assert torch.allclose(objects, plain, atol=1e-6)
    small = load_boxes(str(tmp_path / "plain"), image_size=(12, 10), grey=True).train
    assert small.images.shape == (12, 1, 12, 10)
    assert torch.equal(small.objects, plain)


def test_boxes_that_are_none_are_left_out_and_counted(tmp_path: Path) -> None:
    voc(tmp_path)
    odd = [("white", (5, 5, 6, 5)), ("white", (50, 5, 60, 9)), ("white", (30, 20, 48, 30)), ("red", (0, 0, 9, 9))]
    (tmp_path / "Annotations" / "0.xml").write_text(xml(odd))
    (tmp_path / "Annotations" / "2.xml").write_text(xml(scene(2)[1], difficult="1"))
    _, classes, splits, notes = described(load_boxes(str(tmp_path), **READ))
    assert notes == (
        "Of 21 boxes 1 reached beyond the image and were clipped.",
        "Of 21 boxes 1 had no area and were left out.",
        "Of 21 boxes 1 lay outside of the image and were left out.",
        "Of 21 boxes 1 marked difficult are neither learned nor counted.",
    )
    first = splits["train"].objects[0]
    assert first[:, 0].tolist() == [1, 0]
    assert first[0, 1:].tolist() == pytest.approx([30 / 40, 20 / 24, 1, 1])
    assert splits["train"].objects[2, 0, 0] == ignored(classes.index("white"))


def broken_voc(root: Path, what: str) -> str:
    """Break one file of a good folder; return what the message must say."""
    one, image = root / "Annotations" / "3.xml", root / "JPEGImages" / "3.jpg"
    good = one.read_text()
    actions = {
        "lonely image": (one.unlink, "3.jpg has no annotation"),
        "lonely annotation": (image.unlink, "3.xml has no image"),
        "no xml": (lambda: one.write_text(good[:60]), "3.xml is not XML"),
        "entities": (lambda: one.write_text("<!DOCTYPE a [<!ENTITY b 'c'>]>" + good), "3.xml defines entities"),
        "entities in utf-16": (
            lambda: one.write_text("<!DOCTYPE a [<!ENTITY b 'c'>]>" + good, encoding="utf-16"),
            "3.xml defines entities",
        ),
        "no size": (lambda: one.write_text(good.replace("<width>40", "<width>1e300")), "3.xml states a size of 1e+300"),
        "annotated twice": (
            lambda: [(root / "labels").mkdir(), (root / "labels" / "3.xml").write_text(good)],
            "3.jpg is annotated twice",
        ),
        "no number": (lambda: one.write_text(good.replace("<xmin>", "<xmin>x")), "bndbox/xmin is 'x"),
        "infinite": (lambda: one.write_text(good.replace("<xmax>", "<xmax>1e999")), "not a number"),
        "no name": (lambda: one.write_text(good.replace("white", "")), "an object without a name"),
        "other shape": (lambda: one.write_text(good.replace("<width>40", "<width>60")), "3.xml states 60×24 pixels"),
        "damaged image": (lambda: image.write_bytes(image.read_bytes()[:200]), "3.jpg does not decode"),
        "sizes differ": (
            lambda: [write(image, np.zeros((10, 10, 3), np.uint8)), one.write_text(xml([], (10, 10)))],
            "give --image-size",
        ),
        "nothing": (lambda: [path.write_text(xml([])) for path in one.parent.glob("*")], "no box to learn"),
        "unlisted": (lambda: lists(root, train=range(14)), "lists '12' for train but has no Annotations/12.xml"),
        "listed twice": (lambda: lists(root, train=range(9), test=range(8, 12)), "8.xml is listed for t"),
        "outside": (
            lambda: [path.write_text(xml([("a", (90, 90, 99, 99))])) for path in one.parent.glob("*")],
            "12 of the 12 boxes",
        ),
        "no annotations": (lambda: [path.unlink() for path in one.parent.glob("*")], "has no annotations"),
    }
    action, said = actions[what]
    action()
    return said


@pytest.mark.parametrize(
    "what",
    ["lonely image", "lonely annotation", "no xml", "entities", "entities in utf-16", "no size", "annotated twice",
     "no number", "infinite", "no name", "other shape",
     "damaged image", "sizes differ", "nothing", "unlisted", "listed twice", "outside", "no annotations"],
)  # fmt: skip
def test_what_is_broken_in_voc_is_named(what: str, run: Command, tmp_path: Path) -> None:
    said = broken_voc(voc(tmp_path / "data"), what)
    outcome = run("compare", "--task", "detection", "--data", tmp_path / "data", "--out", tmp_path / "out")
    assert outcome.code == 2
    assert said in outcome.sentence
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        (("annotations", 0, "bbox"), [1, 2, 3], "not four numbers"),
        (("annotations", 0, "bbox"), [1, 2, 3, float("nan")], "not four numbers"),
        (("annotations", 0, "image_id"), 99, "of an image that is not listed"),
        pytest.param(("annotations", 0, "bbox"), [1, 2, 3, 10**400], "not four numbers", id="beyond all floats"),
        (("annotations", 0, "image_id"), [0], "of an image that is not listed"),
        (("annotations", 0, "category_id"), 99, "a category that is not listed"),
        (("annotations", 0, "category_id"), {}, "a category that is not listed"),
        (("images", 1, "file_name"), "0.jpg", "0.jpg is annotated twice"),
        pytest.param(("images", 1, "width"), 10**400, "wide and 24 high", id="beyond all images"),
        (("images", 1, "file_name"), "x.jpg", "the image 'x.jpg' is not there"),
        (("images", 1, "id"), 0, "an image with the id 0"),
        (("images", 1, "width"), 30, "states 30×24 pixels"),
        (("categories", 1, "name"), "red", "two categories one name"),
        (("categories",), None, "has no list 'categories'"),
    ],
)
def test_what_is_broken_in_coco_is_named(key: tuple, value: object, said: str, tmp_path: Path) -> None:
    file = tmp_path / "instances.json"
    coco(file, tmp_path, range(6))
    content = json.loads(file.read_text())
    place = content
    for part in key[:-1]:
        place = place[part]
    place[key[-1]] = value
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=said):
        load_boxes(str(tmp_path), **READ)


def test_truncated_archives_and_two_kinds_are_refused(tmp_path: Path) -> None:
    whole = zipped(tmp_path / "whole.zip", voc(tmp_path / "plain"))
    cut = tmp_path / "cut.zip"
    cut.write_bytes(whole.read_bytes()[:-2000])
    with pytest.raises(DataError, match="damaged or incomplete"):
        load_boxes(str(cut), **READ)
    coco(tmp_path / "plain" / "instances.json", tmp_path / "plain" / "other", range(3))
    with pytest.raises(DataError, match=r"both XML .* and JSON"):
        load_boxes(str(tmp_path / "plain"), **READ)
    (tmp_path / "plain" / "instances.json").write_text("{")
    for path in (tmp_path / "plain" / "Annotations").glob("*"):
        path.unlink()
    with pytest.raises(DataError, match="is not JSON"):
        load_boxes(str(tmp_path / "plain"), **READ)


def test_the_lab_divides_and_blocks_keep_neighbours(tmp_path: Path) -> None:
    blocks = loaded(voc(tmp_path, 20), split="blocks")
    numbers = [[int(Path(name).stem) for name in part.names] for part in (blocks.train, blocks.validation, blocks.test)]
    assert numbers == [list(range(14)), [14, 15], [16, 17, 18, 19]]
    drawn = loaded(tmp_path, limit_train=9, limit_test=2)
    assert (len(drawn.train) + len(drawn.validation), len(drawn.test)) == (9, 2)
    assert drawn.facts().image_shape == (3, *SIZE)


def test_every_activation_of_the_ssd_is_reached_and_its_boxes_cover_the_image() -> None:
    network = tasks.find("detection").networks["ssd"]((3, 96, 128), 3)
    defaults = network(torch.zeros(2, 3, 96, 128))[0, :, -4:]
    assert len(defaults) == 4 * (24 * 32 + 12 * 16 + 6 * 8 + 3 * 4)
    assert defaults[:, :2].min() > 0 and defaults[:, :2].max() < 1  # noqa: PT018
    assert defaults[0].tolist() == pytest.approx([0.5 / 32, 0.5 / 24, 0.1 * 96 / 128, 0.1])
    assert sum(isinstance(module, torch.nn.ReLU) for module in network.modules()) == 9
    report = swap_(network, "asau")
    assert (len(report.sites), report.unreached) == (9, [])  # a stem and four stages of two
    for size in ((1, 16, 16), (3, 50, 33)):
        other = tasks.find("detection").networks["ssd"](size, 1)
        assert other(torch.zeros(2, *size)).shape[::2] == (2, 10)


@pytest.mark.thorough
def test_a_study_of_boxes_from_files_to_report(run: Command, tmp_path: Path) -> None:
    voc(tmp_path / "data", 40)
    options = ("--task", "detection", "--data", tmp_path / "data", "--activations", "relu,asau", "--seeds", "1")
    outcome = run("compare", *options, "--epochs", "12", "--batch-size", "4", "--lr", "0.01",
                  "--out", tmp_path / "out", "--json")  # fmt: skip
    assert outcome.code == 0, outcome.err
    for row in outcome.json["runs"]:
        assert row["test_map50"] > 0.5, row
        assert 0 < row["test_map"] < row["test_map50"]
    page = Path(outcome.json["report"]).read_text(encoding="utf-8")
    for said in ("Predicted boxes", "data:image/jpeg;base64,", "mAP@50 (%)", "mAP@[.5:.95]", "red", "img-src data:",
                 "Training default box accuracy (%)"):  # fmt: skip
        assert said in page


def test_a_network_of_ones_own_may_have_any_number_of_boxes_but_not_of_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_detector.py").write_text(
        "from torch import nn\n"
        "class Own(nn.Module):\n"
        "    def __init__(self, num_classes, extra=0):\n"
        "        super().__init__()\n"
        "        self.act, self.width = nn.ReLU(), num_classes + 9 + extra\n"
        "    def forward(self, x):\n"
        "        return self.act(x.new_ones(len(x), 7, self.width))\n"
        "def wrong(num_classes):\n"
        "    return Own(num_classes, 1)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    chosen = settings(voc(tmp_path / "data"))
    data = data_of(chosen)
    probe(experiment_of(chosen.model_copy(update={"network": "own_detector:Own"}), data))
    with pytest.raises(Exception, match=r"outputs of shape \(2, 7, 12\) .* \(2, -1, 11\)"):
        probe(experiment_of(chosen.model_copy(update={"network": "own_detector:wrong"}), data))


def test_options_of_other_tasks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="--ignore-label"):
        tasks.check_options(tasks.find("detection"), settings(tmp_path, ignore_label=3))


def test_a_stated_size_below_a_pixel_is_none(tmp_path: Path) -> None:
    one = voc(tmp_path) / "Annotations" / "3.xml"
    one.write_text(one.read_text().replace("<width>40", "<width>0.5"))
    check(load_boxes(str(tmp_path), **READ).train.objects[3], 3, ("red", "white"))


def test_a_split_without_images_is_none(tmp_path: Path) -> None:
    coco(tmp_path / "instances_train.json", tmp_path, range(6))
    coco(tmp_path / "instances_val.json", tmp_path, range(0))
    assert set(parts_of(load_boxes(str(tmp_path), **READ))) == {"train"}


@pytest.mark.parametrize("blocks", ["random", "blocks"])
def test_some_images_are_left_to_learn_from_whatever_the_fraction_and_the_seed(blocks: str, tmp_path: Path) -> None:
    data = loaded(voc(tmp_path), validation_fraction=0.99, split_seed=2**32 - 1, split=blocks)
    assert (len(data.train), len(data.test)) == (1, 2)


def test_an_image_that_exif_turns_is_said_and_may_be_taken_as_stored(tmp_path: Path) -> None:
    image = Image.fromarray(scene(0)[0])
    exif = image.getexif()
    exif[ExifTags.Base.Orientation] = 3
    for number in range(6):
        image.save(tmp_path / f"{number}.png", **({"exif": exif} if number == 2 else {}))
        (tmp_path / f"{number}.xml").write_text(xml(scene(0)[1]))
    found = load_boxes(str(tmp_path), image_size=None, grey=False)
    assert any(note.startswith("2.png: EXIF turns the image") for note in found.notes)
    assert torch.equal(found.train.images[2], found.train.images[0].flip(1, 2))
    stored = load_boxes(str(tmp_path), image_size=None, grey=False, orientation="stored")
    assert torch.equal(stored.train.images[2], stored.train.images[0])
    assert not any("EXIF" in note for note in stored.notes)


def test_an_image_of_another_split_or_of_a_shared_name_is_never_taken_for_the_one_that_lacks(tmp_path: Path) -> None:
    root = tmp_path / "splits"
    coco(root / "annotations" / "instances_train2017.json", root / "train2017", range(6))
    (root / "val2017").mkdir()
    (root / "train2017" / "3.jpg").rename(root / "val2017" / "3.jpg")
    with pytest.raises(DataError, match=r"the image '3.jpg' is not there"):
        load_boxes(str(root), **READ)
    shared = tmp_path / "shared"
    coco(shared / "instances.json", shared / "one", range(6), prefix="one/")
    text = (shared / "instances.json").read_text()
    (shared / "instances.json").write_text(text.replace("one/3.jpg", "two/2.jpg"))
    with pytest.raises(DataError, match=r"the image 'two/2.jpg' is not there"):
        load_boxes(str(shared), **READ)


def test_images_in_another_folder_than_stated_are_found_by_their_last_names_and_said(tmp_path: Path) -> None:
    coco(tmp_path / "test_data" / "annotations" / "instances_train.json", tmp_path / "test_data" / "pictures", range(6),
         prefix="images/")  # fmt: skip
    found = load_boxes(str(tmp_path), **READ)
    assert len(found.train) == 6
    said = "test_data/pictures/0.jpg and 5 more: found by the last name alone; the JSON states another folder."
    assert found.notes[0] == said


def test_an_annotation_that_names_another_image_is_said(tmp_path: Path) -> None:
    root = voc(tmp_path, 6)
    for number, name in ((1, "1.jpg"), (2, "long gone.jpg"), (3, "4.jpg")):
        path = root / "Annotations" / f"{number}.xml"
        path.write_text(path.read_text().replace("<size>", f"<filename>{name}</filename><size>"))
    (said,) = load_boxes(str(root), **READ).notes
    assert said == "JPEGImages/3.jpg: the annotation's <filename> is that of another image; its own name counts."
