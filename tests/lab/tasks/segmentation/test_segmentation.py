"""``--task segmentation``: images with masks in every known layout, loss and metrics, from files to report."""

from __future__ import annotations

import importlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_lab import Command, command, described, parts_of
from PIL import ExifTags, Image

from limen.errors import DataError, MissingExtraError
from limen.lab.settings import StudySettings
from limen.lab.tasks import registry as tasks
from limen.lab.tasks.segmentation.masks import IGNORED, MaskData, MaskSplit, load_masks

losses = pytest.importorskip("monai.losses")
READ = {"image_size": None, "grey": False, "ignore_label": None}
SIZE = (12, 20)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return command(monkeypatch, capsys)


def pair(number: int, size: tuple[int, int] = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """A bright block on a dark ground, and where it is; the block's place says which pair it is."""
    random = np.random.default_rng(number)
    mask = np.zeros(size, dtype=np.uint8)
    top, left = random.integers(0, size[0] - 6), random.integers(0, size[1] - 6)
    mask[top : top + 6, left : left + 6] = 1
    image = np.clip(60 + 140 * mask[..., None] + random.normal(0, 8, (*size, 3)), 0, 255).astype(np.uint8)
    return image, mask


def write(path: Path, values: np.ndarray, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **options)


def folder(root: Path, count: int = 12, *, value: int = 255, start: int = 0, size: tuple[int, int] = SIZE) -> Path:
    for number in range(start, start + count):
        image, mask = pair(number, size)
        write(root / "images" / f"{number}.jpg", image, quality=95)
        write(root / "masks" / f"{number}.png", mask * value)
    return root


def zipped(path: Path, source: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(source.rglob("*.*")):
            archive.write(file, file.relative_to(source))


def settings(data: Path, **changed: object) -> StudySettings:
    values = {"task": "segmentation", "data": str(data), "network": "unet", "batch_size": 4, "eval_batch_size": 4}
    return StudySettings(**{**values, "activations": ("relu",), "baseline": "relu", "seeds": (0,), **changed})


def loaded(data: Path, **changed: object) -> MaskData:
    found = tasks.find("segmentation").load(settings(data, **changed))
    assert isinstance(found, MaskData)
    return found


@pytest.mark.parametrize("value", [1, 255, 7])
def test_masks_of_zero_and_another_value_are_background_and_foreground(value: int, tmp_path: Path) -> None:
    name, classes, splits, notes = described(load_masks(str(folder(tmp_path / "blocks", value=value)), **READ))
    assert (name, classes, notes) == ("blocks", ("background", "foreground"), ())
    split = splits["train"]
    assert split.names[:3] == ("images/0.jpg", "images/1.jpg", "images/2.jpg")  # 10 comes after 9
    for number in range(12):
        assert torch.equal(split.masks[number], torch.from_numpy(pair(number)[1]))
        bright = split.images[number].float().mean(0) > 130
        assert (bright == split.masks[number].bool()).float().mean() > 0.95


def test_every_layout_holds_the_same_pairs(tmp_path: Path) -> None:
    plain = folder(tmp_path / "plain")
    zipped(tmp_path / "plain.zip", plain)
    kinds = tmp_path / "kinds"  # as the magnetic tiles lie
    for kind, start in (("MT_Break", 0), ("MT_Crack", 6)):
        folder(kinds / kind, 6, start=start)
    parts = tmp_path / "parts"  # as CamVid lies: train.zip, val.zip, test.zip
    parts.mkdir()
    for part, start, count in (("train", 0, 8), ("val", 8, 2), ("test", 10, 2)):
        folder(tmp_path / "inner" / part, count, start=start)
        zipped(parts / f"{part}.zip", tmp_path / "inner" / part)
    reference = load_masks(str(plain), **READ).train
    for other in (tmp_path / "plain.zip", kinds):
        split = load_masks(str(other), **READ).train
        assert torch.equal(split.masks, reference.masks)
        assert torch.equal(split.images, reference.images)
    for other in (parts, tmp_path / "inner"):
        splits = parts_of(load_masks(str(other), **READ))
        assert {name: len(split) for name, split in splits.items()} == {"train": 8, "validation": 2, "test": 2}
        assert torch.equal(splits["test"].masks, reference.masks[10:])


def test_several_classes_keep_their_values_and_some_do_not_count(tmp_path: Path) -> None:
    folder(tmp_path)
    for number in range(12):
        mask = np.full(SIZE, 3, dtype=np.uint8)
        mask[:4], mask[4:6] = 9, 255
        write(tmp_path / "masks" / f"{number}.png", mask)
    write(tmp_path / "masks" / "0.png", np.full(SIZE, 5, dtype=np.uint8))
    _, classes, splits, notes = described(load_masks(str(tmp_path), **READ))
    assert classes == ("3", "5", "9")
    assert notes == ("Pixels with the value 255 are neither learned nor counted.",)
    assert splits["train"].masks[1, :, 0].tolist() == [2] * 4 + [IGNORED] * 2 + [0] * 6
    _, classes, splits, _ = described(load_masks(str(tmp_path), **{**READ, "ignore_label": 5}))
    assert classes == ("3", "9", "255")
    assert (splits["train"].masks[0] == IGNORED).all()


def test_a_palette_is_not_looked_up_and_one_bit_is_enough(tmp_path: Path) -> None:
    folder(tmp_path)
    image = Image.fromarray(pair(0)[1], mode=None).convert("P")
    image.putpalette([7, 7, 7, 200, 100, 50])
    image.save(tmp_path / "masks" / "0.png")
    Image.fromarray(pair(1)[1] * 255).convert("1").save(tmp_path / "masks" / "1.png")
    for number in range(2, 12):
        write(tmp_path / "masks" / f"{number}.png", pair(number)[1])
    masks = load_masks(str(tmp_path), **READ).train.masks
    assert torch.equal(masks[0], torch.from_numpy(pair(0)[1]))
    assert torch.equal(masks[1], torch.from_numpy(pair(1)[1]))


def turned_by_exif(path: Path, orientation: int) -> None:
    """Say that a stored picture is to be seen turned."""
    with Image.open(path) as picture:
        exif = picture.getexif()
        exif[ExifTags.Base.Orientation] = orientation
        picture.save(path, exif=exif)


def lossless(root: Path) -> Path:
    for number in range(6):
        image, mask = pair(number)
        write(root / "images" / f"{number}.png", image)
        write(root / "masks" / f"{number}.png", mask)
    return root


@pytest.mark.parametrize("orientation", range(2, 9))
def test_image_and_mask_are_turned_by_their_own_exif_or_not_at_all(orientation: int, tmp_path: Path) -> None:
    root = lossless(tmp_path)
    plain = load_masks(str(root), **READ)
    for path in root.rglob("*.png"):
        turned_by_exif(path, orientation)
    both = load_masks(str(root), **READ)
    assert both.notes == plain.notes
    assert both.train.masks.shape[1:] == (SIZE if orientation < 5 else SIZE[::-1])
    assert torch.equal(both.train.masks == 1, both.train.images[:, 0] > 150)
    stored = load_masks(str(root), **READ, orientation="stored")
    assert torch.equal(stored.train.images, plain.train.images)
    assert torch.equal(stored.train.masks, plain.train.masks)


def test_an_image_that_exif_turns_beside_a_mask_that_it_does_not_is_said(tmp_path: Path) -> None:
    root = lossless(tmp_path)
    plain = load_masks(str(root), **READ)
    turned_by_exif(root / "images" / "2.png", 3)
    found = load_masks(str(root), **READ)
    assert torch.equal(found.train.masks, plain.train.masks)
    assert torch.equal(found.train.images[2], plain.train.images[2].flip(1, 2))
    (said,) = set(found.notes) - set(plain.notes)
    assert said.startswith("images/2.png: EXIF turns the image and not its mask")
    turned_by_exif(root / "images" / "2.png", 6)
    with pytest.raises(DataError, match=r"they must be the same. EXIF turns the image; .* give --orientation stored"):
        load_masks(str(root), **READ)
    assert torch.equal(load_masks(str(root), **READ, orientation="stored").train.images, plain.train.images)


def test_blocks_keep_neighbours_together_and_random_does_not(tmp_path: Path) -> None:
    blocks = loaded(folder(tmp_path, 20), split="blocks")
    numbers = [[int(Path(name).stem) for name in part.names] for part in (blocks.train, blocks.validation, blocks.test)]
    assert numbers == [list(range(14)), [14, 15], [16, 17, 18, 19]]
    drawn = loaded(tmp_path)
    parts = [set(part.names) for part in (drawn.train, drawn.validation, drawn.test)]
    assert len(set.union(*parts)) == sum(map(len, parts)) == 20
    assert parts[2] != set(blocks.test.names)
    assert set(loaded(tmp_path, split_seed=1).test.names) != parts[2]
    assert len(loaded(tmp_path, limit_train=9, limit_test=2).test) == 2


def broken(root: Path, what: str) -> str:
    """Break one file of a good folder; return what the message must say."""
    masks, images = root / "masks", root / "images"
    actions = {
        "lonely image": lambda: (masks / "3.png").unlink(),
        "lonely mask": lambda: (images / "3.jpg").unlink(),
        "other size": lambda: write(masks / "3.png", np.zeros((5, 5), np.uint8)),
        "damaged mask": lambda: (masks / "3.png").write_bytes((masks / "3.png").read_bytes()[:50]),
        "damaged image": lambda: (images / "3.jpg").write_bytes(b"no image"),
        "lossy": lambda: (masks / "3.png").rename(masks / "3.jpg"),
        "colour": lambda: write(masks / "3.png", pair(3)[0]),
        "sizes differ": lambda: folder(root, 1, start=3, size=(14, 20)),
        "no masks": lambda: masks.rename(root / "labels"),
        "one class": lambda: [write(path, np.zeros(SIZE, np.uint8)) for path in masks.glob("*")],
        "fractions": lambda: Image.fromarray(np.full(SIZE, 0.9, np.float32)).save(masks / "3.png", "TIFF"),
        "shades": lambda: write(masks / "3.png", np.arange(240, dtype=np.uint8).reshape(SIZE)),
    }
    actions[what]()
    return {
        "lonely image": "3.jpg has no mask",
        "lonely mask": "3.png has no image",
        "other size": "3.png is 5×5 pixels, but its image 'images/3.jpg' is 12×20",
        "damaged mask": "3.png does not decode",
        "damaged image": "3.jpg does not decode",
        "lossy": "3.jpg is stored with losses",
        "colour": "3.png is in colour",
        "sizes differ": "give --image-size",
        "no masks": "has no masks",
        "one class": "nothing to tell apart",
        "fractions": "3.png holds fractions",
        "shades": "240 different values",
    }[what]


@pytest.mark.parametrize(
    "what",
    ["lonely image", "lonely mask", "other size", "damaged mask", "damaged image", "lossy", "colour", "sizes differ",
     "no masks", "one class", "fractions", "shades"],
)  # fmt: skip
def test_what_is_broken_is_named(what: str, run: Command, tmp_path: Path) -> None:
    said = broken(folder(tmp_path / "data"), what)
    outcome = run("compare", "--task", "segmentation", "--data", tmp_path / "data", "--out", tmp_path / "out")
    assert outcome.code == 2
    assert said in outcome.sentence
    assert not (tmp_path / "out").exists()


def test_the_loss_is_monais_where_every_pixel_counts_and_ignores_what_does_not() -> None:
    task = tasks.find("segmentation")
    logits, masks = torch.randn(3, 4, 6, 5), torch.randint(0, 4, (3, 6, 5))
    wanted = losses.DiceCELoss(softmax=True, to_onehot_y=True, batch=True)(logits, masks[:, None])
    assert task.loss(logits, masks).item() == pytest.approx(wanted.item(), rel=1e-5)
    masks[:, 2] = IGNORED
    changed = logits.clone()
    changed[:, :, 2] = 50 * torch.randn(3, 4, 5)
    assert task.loss(changed, masks).item() == pytest.approx(task.loss(logits, masks).item(), rel=1e-5)


def test_a_batch_without_a_pixel_that_counts_teaches_nothing() -> None:
    outputs = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss = tasks.find("segmentation").loss(outputs, torch.full((2, 4, 4), IGNORED))
    loss.backward()
    assert loss.isfinite()
    assert not outputs.grad.any()


def test_the_metrics_are_those_of_the_counted_pixels() -> None:
    task = tasks.find("segmentation")
    masks = torch.tensor([[[1, 1, 1, 0, 0, IGNORED]]], dtype=torch.uint8)
    split = MaskSplit(torch.zeros(1, 1, 1, 6, dtype=torch.uint8), masks, ("a",))
    data = MaskData("d", ("background", "foreground"), split, None, split, ())
    answer = torch.tensor([[[1, 1, 0, 1, 0, 1]]])
    logits = torch.nn.functional.one_hot(answer, 2).movedim(-1, 1).float()
    truth, predicted = task.answer(logits, masks.long(), data)[::-1]
    found = {name: float(metric(predicted, truth)) for name, metric in task.meters(data).items()}
    iou = (2 / 4 + 1 / 3) / 2
    wanted = {"dice": 2 * 2 / (3 + 3), "iou": 2 / 4, "miou": iou, "precision": 2 / 3, "recall": 2 / 3}
    assert found == pytest.approx(wanted)


def test_without_monai_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingExtraError, match=r"pip install 'limen\[monai\]'"):
        tasks.find("segmentation").check(settings(tmp_path))


def test_a_study_of_masks_from_files_to_report(run: Command, tmp_path: Path) -> None:
    folder(tmp_path / "data", 24, size=(16, 24))
    options = ("--task", "segmentation", "--data", tmp_path / "data", "--activations", "relu,asau", "--seeds", "1")
    outcome = run("compare", *options, "--epochs", "10", "--batch-size", "2", "--lr", "0.01",
                  "--out", tmp_path / "out", "--json")  # fmt: skip
    assert outcome.code == 0, outcome.err
    for row in outcome.json["runs"]:
        assert row["test_dice"] > 0.6  # all foreground would give 0.26
        assert row["test_iou"] == pytest.approx(row["test_dice"] / (2 - row["test_dice"]), abs=1e-4)
    page = Path(outcome.json["report"]).read_text(encoding="utf-8")
    for said in ("Predicted masks", "data:image/jpeg;base64,", "Test mIoU (%)", "foreground"):
        assert said in page


def test_the_pictures_are_images(tmp_path: Path) -> None:
    import base64

    task, chosen = tasks.find("segmentation"), settings(folder(tmp_path))
    data = task.load(chosen)
    shown = task.show(task.build("unet", data, 0), data, chosen)
    assert shown is not None
    assert [colour for _, colour in shown.legend] == ["#e63c28"]
    for overlay in shown.images:
        with Image.open(io.BytesIO(base64.b64decode(overlay.picture))) as picture:
            assert picture.size == (3 * SIZE[1], SIZE[0])


def test_one_class_of_every_value_but_0(tmp_path: Path) -> None:
    folder(tmp_path, value=1)
    write(tmp_path / "masks" / "0.png", pair(0)[1] * 2)  # as tumours in a liver
    assert loaded(tmp_path).classes == ("0", "1", "2")
    data = loaded(tmp_path, foreground=True)
    assert data.binary
    assert "The mask values 1, 2 are one class, the foreground." in data.notes
    masks = dict(zip(data.train.names, data.train.masks, strict=True))
    masks |= dict(zip(data.test.names, data.test.masks, strict=True))
    masks |= dict(zip(data.validation.names, data.validation.masks, strict=True))
    assert torch.equal(masks["images/0.jpg"], torch.from_numpy(pair(0)[1]))
    for number in range(12):
        write(tmp_path / "masks" / f"{number}.png", pair(number)[1] + 1)
    with pytest.raises(DataError, match="have no 0"):
        loaded(tmp_path, foreground=True)


def test_a_split_without_training_images_is_refused(tmp_path: Path) -> None:
    folder(tmp_path / "test")
    with pytest.raises(DataError, match="none to train on"):
        load_masks(str(tmp_path), **READ)


def test_a_window_of_scans_is_refused_for_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--intensity is for them alone"):
        load_masks(str(folder(tmp_path)), **READ, intensity=(0.0, 100.0))


def test_no_other_program_reads_a_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import EpsImagePlugin

    ran = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *given, **named: ran.append(given))
    Image.fromarray(pair(3)[1]).save(folder(tmp_path) / "masks" / "3.png", "EPS")
    with pytest.raises(DataError, match=r"3\.png does not decode"):
        load_masks(str(tmp_path), **READ)
    assert ran == []
