"""``--task anomaly``: every known layout, what is broken is named, scores, networks, from files to report."""

from __future__ import annotations

import base64
import io
import math
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_lab import Command, command, data_of, experiment_of
from PIL import ExifTags, Image
from torch import Tensor, nn

import limen
from limen.errors import DataError, SpecError
from limen.lab.data import Division
from limen.lab.settings import StudySettings
from limen.lab.tasks import registry as tasks
from limen.lab.tasks.anomaly.cut_paste import cut_and_paste
from limen.lab.tasks.anomaly.data import UNKNOWN, AnomalyData, AnomalySplit
from limen.lab.tasks.anomaly.deep_svdd import DeepSVDD, LeNet, PretrainedDeepSVDD
from limen.lab.tasks.anomaly.distillation import Distillation
from limen.lab.tasks.anomaly.division import divide_normal
from limen.lab.tasks.anomaly.features import Fixed
from limen.lab.tasks.anomaly.flow import Coupling, Flow
from limen.lab.tasks.anomaly.padim import PaDiM
from limen.lab.tasks.anomaly.scores import ImageAUROC, PixelAUROC
from limen.lab.training import notes as observing
from limen.lab.training import run as train
from limen.lab.training.batches import Batches

SIZE = (16, 24)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return command(monkeypatch, capsys)


def thing(number: int, defect: bool, size: tuple[int, int] = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """A smooth slope, with a bright spot where it is broken."""
    random = np.random.default_rng(number)
    image = 60 + 3 * np.arange(size[1])[None] + random.normal(0, 4, size)
    mask = np.zeros(size, dtype=np.uint8)
    if defect:
        top, left = random.integers(0, size[0] - 5), random.integers(0, size[1] - 5)
        mask[top : top + 5, left : left + 5] = 255
    return np.clip(image + 0.4 * mask, 0, 255).astype(np.uint8), mask


def write(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def mvtec(root: Path, *, train: int = 20, masks: bool = True) -> Path:
    for number in range(train):
        write(root / "train" / "good" / f"{number:03}.png", thing(number, False)[0])
    for number in range(4):
        write(root / "test" / "good" / f"{number:03}.png", thing(100 + number, False)[0])
    for kind, start in (("crack", 200), ("dent", 300)):
        for number in range(3):
            image, mask = thing(start + number, True)
            write(root / "test" / kind / f"{number:03}.png", image)
            if masks:
                write(root / "ground_truth" / kind / f"{number:03}_mask.png", mask)
    return root


def kinds(root: Path) -> Path:
    for kind, count, start in (("MT_Free", 12, 0), ("MT_Crack", 3, 200), ("MT_Fray", 3, 300)):
        for number in range(start, start + count):
            image, mask = thing(number, start > 0)
            write(root / kind / "images" / f"{number}.png", image)
            write(root / kind / "masks" / f"{number}.png", mask)
    return root


def zipped(source: Path) -> Path:
    path = source.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(source.rglob("*.*")):
            archive.write(file, file.relative_to(source))
    return path


def settings(data: Path | str, **changed: object) -> StudySettings:
    values = {"task": "anomaly", "data": str(data), "network": "padim", "batch_size": 8, "eval_batch_size": 8}
    return StudySettings(**{**values, "activations": ("relu",), "baseline": "relu", "seeds": (0,), **changed})


def loaded(data: Path | str, **changed: object) -> AnomalyData:
    found = tasks.find("anomaly").load(settings(data, **changed))
    assert isinstance(found, AnomalyData)
    return found


def test_mvtec_folders_and_archives_hold_the_same_with_the_mask_of_each_defect(tmp_path: Path) -> None:
    plain = mvtec(tmp_path / "below" / "screw")
    (plain / "license.txt").write_text("free")
    for data in (loaded(plain), loaded(zipped(plain)), loaded(tmp_path / "below")):
        assert (len(data.train), len(data.validation), len(data.test)) == (18, 2, 10)
        assert not data.train.anomalous.any()
        assert not data.validation.anomalous.any()
        assert data.test.anomalous.tolist() == [False] * 4 + [True] * 6
        for index, number in enumerate((200, 201, 202, 300, 301, 302)):
            image, mask = thing(number, True)
            assert torch.equal(data.test.images[4 + index, 0], torch.from_numpy(image))
            assert torch.equal(data.test.masks[4 + index], torch.from_numpy(mask // 255))
        assert data.facts().description[1] == "4 normal and 6 anomalous ones to test"


def test_without_ground_truth_images_alone_are_tested(tmp_path: Path) -> None:
    data = loaded(mvtec(tmp_path, masks=False))
    assert not data.has_masks
    assert (data.test.masks[4:] == UNKNOWN).all()
    assert set(tasks.find("anomaly").meters(data)) == {"auroc"}


def test_kinds_with_masks_learn_from_the_normal_one_and_thin_defects_survive_resizing(tmp_path: Path) -> None:
    root = kinds(tmp_path / "tiles")
    thin = np.zeros(SIZE, dtype=np.uint8)
    thin[7, 3] = 255
    write(root / "MT_Crack" / "masks" / "200.png", thin)
    write(root / "MT_Fray" / "masks" / "300.png", np.zeros(SIZE, dtype=np.uint8))
    data = loaded(root, image_size=(8, 12), test_fraction=0.25)
    assert (len(data.train), len(data.validation), len(data.test)) == (8, 1, 3 + 6)
    everything = [*data.train.names, *data.validation.names, *data.test.names]
    assert len(set(everything)) == 18
    masks = dict(zip(data.test.names, data.test.masks, strict=True))
    assert masks["MT_Crack/images/200.png"].nonzero().tolist() == [[3, 1]]
    assert (masks["MT_Fray/images/300.png"] == UNKNOWN).all()
    assert "MT_Fray/images/300.png" in data.notes[0]
    assert loaded(root, image_size=(8, 12), split_seed=1).train.names != data.train.names
    for kind in root.iterdir():  # as published, images and masks lie in one folder
        for file in [*kind.rglob("*.png")]:
            name = f"{file.stem}.{'jpg' if file.parent.name == 'images' else 'png'}"
            write(tmp_path / "published" / kind.name / "Imgs" / name, np.asarray(Image.open(file)))
    assert len(loaded(tmp_path / "published").test) == 2 + 6


def test_one_class_of_any_set_is_normal_and_the_rest_of_the_test_set_is_not(tmp_path: Path) -> None:
    data = loaded("digits", normal_class="3", limit_test=100)
    assert set(data.train.names) == set(data.validation.names) == {"3"}
    assert [name != "3" for name in data.test.names] == data.test.anomalous.tolist()
    assert len(data.test) == 100
    assert 5 <= 100 - int(data.test.anomalous.sum()) <= 15
    for name in "ab":
        for number in range(12):
            write(tmp_path / name / f"{number}.png", thing(number, name == "b")[0])
    assert set(loaded(tmp_path, normal_class="a").train.names) == {"a"}
    for part in ("train", "val", "test"):
        shutil.copytree(tmp_path, tmp_path / "divided" / part, ignore=lambda *_: {"divided"})
    data = loaded(tmp_path / "divided", normal_class="b")
    assert [len(split) for split in (data.train, data.validation, data.test)] == [12, 12, 24]
    assert data.test.anomalous.tolist() == [True] * 12 + [False] * 12
    with pytest.raises(SpecError, match="which class of digits is normal"):
        loaded("digits")
    with pytest.raises(SpecError, match="digits has no class '33'"):
        loaded("digits", normal_class="33")
    settings = StudySettings(data="digits", activations=("relu",), baseline="relu", seeds=(0,), normal_class="3")
    with pytest.raises(
        SpecError, match="--normal-class '3' is not an option of --task classification, only of anomaly"
    ):
        tasks.check_options(tasks.find("classification"), settings)


def broken(root: Path, what: str) -> str:
    """Break one thing of a good folder; return what the message must say."""
    crack, truth = root / "test" / "crack", root / "ground_truth" / "crack"
    small = np.zeros((5, 5), np.uint8)
    actions = {
        "no mask": (lambda: (truth / "001_mask.png").unlink(), "001.png has no mask in ground_truth/crack"),
        "no image": (lambda: (crack / "001.png").unlink(), "001_mask.png has no image"),
        "mask of another size": (lambda: write(truth / "001_mask.png", small), "001_mask.png is 5×5 pixels, but its"),
        "image of another size": (lambda: write(root / "train" / "good" / "001.png", small), "give --image-size"),
        "damaged image": (lambda: (crack / "001.png").write_bytes(b"no image"), "001.png does not decode"),
        "damaged mask": (lambda: (truth / "001_mask.png").write_bytes(b"no mask"), "001_mask.png does not decode"),
        "no normal test images": (lambda: shutil.rmtree(root / "test" / "good"), "no images in test/good"),
        "nothing to learn from": (lambda: (root / "train" / "good").rename(root / "train" / "x"), "no images in train"),
        "an empty kind": (lambda: [path.unlink() for path in [*crack.glob("*"), *truth.glob("*")]], "has no images"),
        "anomalies to learn from": (
            lambda: write(root / "train" / "bad" / "1.png", thing(1, True)[0]),
            "1.png is not normal",
        ),
        "too few": (
            lambda: [path.unlink() for path in (root / "train" / "good").glob("*[1-9].png")],
            "2 normal images",
        ),
    }
    act, said = actions[what]
    act()
    return said


@pytest.mark.parametrize(
    "what",
    ["no mask", "no image", "mask of another size", "image of another size", "damaged image", "damaged mask",
     "no normal test images", "nothing to learn from", "an empty kind", "anomalies to learn from", "too few"],
)  # fmt: skip
def test_what_is_broken_is_named(what: str, run: Command, tmp_path: Path) -> None:
    said = broken(mvtec(tmp_path / "data"), what)
    outcome = run("compare", "--task", "anomaly", "--data", tmp_path / "data", "--out", tmp_path / "out")
    assert outcome.code == 2
    assert said in outcome.sentence
    assert not (tmp_path / "out").exists()


def test_a_truncated_archive_and_undivided_kinds_are_refused(tmp_path: Path) -> None:
    archive = zipped(mvtec(tmp_path / "data"))
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(DataError, match="damaged or incomplete"):
        loaded(archive)
    root = kinds(tmp_path / "tiles")
    (root / "MT_Free").rename(root / "MT_Plain")
    with pytest.raises(DataError, match=r"does not say which of .* is normal; give --normal-class"):
        loaded(root)
    assert len(loaded(root, normal_class="MT_Plain").test) == 2 + 6
    mvtec(tmp_path / "several" / "screw")
    mvtec(tmp_path / "several" / "bottle")
    with pytest.raises(DataError, match="several categories"):
        loaded(tmp_path / "several")


def test_the_area_is_exact_for_scores_of_any_size_and_nothing_where_all_is_normal() -> None:
    scores = torch.tensor([1e4, 1e4 + 1, -50.0, 3.0])  # a sigmoid would make the first two a tie
    truth = torch.tensor([0, 1, 0, 1])
    maps, masks = scores[:, None, None].expand(-1, 2, 3).clone(), torch.zeros(4, 2, 3, dtype=torch.uint8)
    masks[truth == 1, 1, 2] = 1
    metric = ImageAUROC()
    metric.update(maps[:2], masks[:2])
    metric.update(maps[2:], masks[2:])
    assert float(metric.compute()) == pytest.approx(3 / 4)
    assert math.isnan(_of(ImageAUROC(), maps[truth == 0], masks[truth == 0]))


def test_pixels_are_counted_where_their_kind_is_known() -> None:
    maps = torch.tensor([[[0.0, 1.0, 2.0, 9.0]], [[5.0, 5.0, 5.0, 5.0]]])
    masks = torch.tensor([[[0, 1, 0, 1]], [[UNKNOWN] * 4]], dtype=torch.uint8)
    assert _of(PixelAUROC(), maps, masks) == pytest.approx(3 / 4)
    assert _of(PixelAUROC(stride=3), maps, masks) == 1  # the first and the fourth remain


def _of(metric: ImageAUROC | PixelAUROC, maps: Tensor, masks: Tensor) -> float:
    metric.update(maps, masks)
    return float(metric.compute())


def test_the_published_network_has_the_published_size_and_no_biases() -> None:
    network = LeNet((1, 28, 28))
    assert sum(parameter.numel() for parameter in network.parameters()) == 7272
    assert not any(name.endswith("bias") for name, _ in network.named_parameters())


@pytest.mark.parametrize("factory", [DeepSVDD, PretrainedDeepSVDD, PaDiM])
@pytest.mark.parametrize("shape", [(1, 16, 24), (3, 40, 33)])
def test_networks_of_a_shape_give_a_map_of_it(factory: type[nn.Module], shape: tuple[int, int, int]) -> None:
    assert factory(shape).eval()(torch.randn(2, *shape)).shape == (2, *shape[1:])


@pytest.mark.parametrize("factory", [Distillation, Flow])
def test_networks_of_any_shape_leave_the_teacher_as_it_is(factory: type[nn.Module]) -> None:
    network = factory(3)
    assert network.eval()(torch.randn(2, 3, 21, 30)).shape == (2, 21, 30)
    paths = [site.path for site in limen.swap_(network, "apalu").sites]
    assert len(paths) == {Distillation: 6, Flow: 8}[factory]
    assert not any(path.startswith("teacher") for path in paths)
    x = torch.randn(50)
    assert torch.equal(Fixed()(x), x.relu())


def test_one_seed_has_one_teacher_whatever_the_activation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("limen.lab.tasks.anomaly.distillation.PRETEXT_STEPS", 3)
    chosen = settings(mvtec(tmp_path), network="distillation")
    data = data_of(chosen)
    teachers = []
    for activation, seed in (("relu", 0), ("apalu", 0), ("relu", 1)):
        network, _ = train.build(experiment_of(chosen, data), activation, seed)
        before = network.teacher.stages[0][0].weight.clone()
        torch.randn(seed + 5)  # what was drawn meanwhile does not matter
        tasks.find("anomaly").begin(network, data, chosen)
        assert not torch.equal(network.teacher.stages[0][0].weight, before)
        assert not any(parameter.requires_grad for parameter in network.teacher.parameters())
        assert not network.train().teacher.training
        teachers.append(network.teacher.state_dict())
    assert all(torch.equal(teachers[0][name], teachers[1][name]) for name in teachers[0])
    assert not all(torch.equal(teachers[0][name], teachers[2][name]) for name in teachers[0])


def test_the_flow_has_the_volume_that_its_jacobian_says() -> None:
    coupling = Coupling(6).double()
    nn.init.normal_(coupling.subnet[-1].weight)
    x = torch.randn(1, 6, dtype=torch.double)
    jacobian = torch.autograd.functional.jacobian(lambda point: coupling(point)[0][0], x)[:, 0]
    assert coupling(x)[1].item() == pytest.approx(torch.linalg.slogdet(jacobian).logabsdet.item())


def test_padim_measures_as_the_gaussian_of_each_place_says(tmp_path: Path) -> None:
    chosen = settings(mvtec(tmp_path))
    data = data_of(chosen)
    network = tasks.find("anomaly").build("padim", data, 0)
    tasks.find("anomaly").settle(network, data, chosen)
    network.eval()
    with torch.no_grad():
        images, _ = next(iter(Batches(data.train, len(data.train))))
        features = network._at_places(images)[:, 5].double()
        spread = torch.cov(features.T) + 0.01 * torch.eye(features.shape[1])
        offset = network._at_places(images[:1])[0, 5].double() - features.mean(0)
        wanted = (offset @ torch.linalg.solve(spread, offset)).sqrt()
        places = (network._at_places(images[:1]) - network.mean)[0, 5]
        assert torch.sqrt(places @ network.precision[5] @ places).item() == pytest.approx(wanted.item(), rel=1e-3)


def test_the_centre_is_the_mean_point_kept_from_zero(tmp_path: Path) -> None:
    chosen = settings(mvtec(tmp_path), network="deep-svdd")
    data = data_of(chosen)
    network = tasks.find("anomaly").build("deep-svdd", data, 0)
    tasks.find("anomaly").begin(network, data, chosen)
    network.eval()
    with torch.no_grad():
        mean = torch.cat([network.points(images) for images, _ in Batches(data.train, 8, seed=0)]).mean(0)
    assert network.centre.abs().min() >= 0.1 - 1e-6
    far = mean.abs() >= 0.1
    assert torch.allclose(network.centre[far], mean[far], atol=1e-5)


def test_pieces_are_pasted_where_the_marks_say() -> None:
    images = torch.rand(40, 2, 20, 30) * 2 - 1
    changed, marks = cut_and_paste(images, torch.Generator().manual_seed(0))
    differs = (changed - images).abs().amax(1)
    assert ((differs > 0.1) == (marks > 0)).all()
    assert (marks.flatten(1).sum(1) > 0).float().mean() > 0.8
    assert (marks.mean((1, 2)) < 0.2).all()
    assert torch.equal(changed, cut_and_paste(images, torch.Generator().manual_seed(0))[0])


def test_the_epoch_is_that_of_the_lowest_loss_of_normal_images(tmp_path: Path) -> None:
    chosen = settings(mvtec(tmp_path), network="deep-svdd", epochs=4, learning_rate=0.01)
    record = train.run(experiment_of(chosen), "relu", 0)
    assert record.best_epoch == min(record.curves, key=lambda row: row.heldout_loss).epoch
    assert all(math.isnan(row.heldout_score) for row in record.curves)


class Brightness(nn.Module):
    """Someone's own network: one number a pixel, nothing more."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(in_channels, 4, 1), nn.ReLU(), nn.Conv2d(4, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)[:, 0].square()


def test_a_network_of_ones_own_is_trained_on_the_mean_of_its_map(tmp_path: Path) -> None:
    chosen = settings(mvtec(tmp_path), network="test_anomaly:Brightness", epochs=2, learning_rate=0.01)
    record = train.run(experiment_of(chosen), "apalu", 0)
    assert record.status == "finished"
    assert record.curves[1].train_loss < record.curves[0].train_loss


def test_a_study_from_files_to_report(run: Command, tmp_path: Path) -> None:
    data = zipped(mvtec(tmp_path / "data", train=40))
    options = ("--task", "anomaly", "--data", data, "--network", "padim", "--activations", "relu,apalu", "--seeds", "1")
    outcome = run("compare", *options, "--epochs", "6", "--batch-size", "8", "--lr", "0.003",
                  "--out", tmp_path / "out", "--json")  # fmt: skip
    assert outcome.code == 0, outcome.err
    for row in outcome.json["runs"]:
        assert row["test_auroc"] > 0.9
        assert row["test_pixel_auroc"] > 0.8
    page = Path(outcome.json["report"]).read_text(encoding="utf-8")
    for said in ("Localisation maps", "data:image/jpeg;base64,", "Test pixel AUROC (%)", "the true mask"):
        assert said in page


@pytest.mark.parametrize(("network", "panels", "by_gradient"), [("padim", 3, False), ("deep-svdd", 3, True)])
def test_the_pictures_show_image_mask_and_map(network: str, panels: int, by_gradient: bool, tmp_path: Path) -> None:
    task, chosen = tasks.find("anomaly"), settings(mvtec(tmp_path), network=network)
    data = task.load(chosen)
    shown = task.show(task.build(network, data, 0), data, chosen)
    assert shown is not None
    assert (shown.by_gradient, shown.masks, len(shown.images)) == (by_gradient, True, 5)
    assert shown.images[-1].name.startswith("test/good")
    for overlay in shown.images:
        with Image.open(io.BytesIO(base64.b64decode(overlay.picture))) as picture:
            assert picture.size == (panels * SIZE[1] * 128 // SIZE[0], 128)


def test_a_limit_keeps_both_kinds() -> None:
    masks = torch.zeros(20, 2, 2, dtype=torch.uint8)
    masks[4:] = UNKNOWN
    split = AnomalySplit(torch.zeros(20, 1, 2, 2, dtype=torch.uint8), masks, ("",) * 20)
    data = AnomalyData("d", (), split.take(torch.arange(4)), None, split)
    assert (
        divide_normal(data, Division(limit_test=5, with_validation=False)).test.anomalous.tolist()
        == [False] + [True] * 4
    )


def test_for_one_seed_padim_sees_the_same_pieces_whatever_the_activation_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from limen.lab.tasks.anomaly import features

    seen: dict[str, list[Tensor]] = {}

    def noted(images: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        changed, marks = cut_and_paste(images, generator)
        seen.setdefault(now[0], []).append(marks)
        return changed, marks

    monkeypatch.setattr(features, "cut_and_paste", noted)
    chosen, now = settings(mvtec(tmp_path), epochs=2), [""]
    data = data_of(chosen)
    for run, (activation, seed) in {"a": ("relu", 0), "b": ("rrelu", 0), "c": ("relu", 1)}.items():
        now[0] = run  # the second draws random numbers of its own
        train.run(experiment_of(chosen, data), activation, seed)
    assert len(seen["a"]) > 5
    assert all(torch.equal(a, b) for a, b in zip(seen["a"], seen["b"], strict=True))
    assert not torch.equal(seen["a"][0], seen["c"][0])
    assert not torch.equal(seen["a"][0], seen["a"][1])


def test_two_images_of_one_kind_and_name_are_refused(tmp_path: Path) -> None:
    kinds(tmp_path)
    image, _ = thing(0, False)
    write(tmp_path / "more" / "MT_Free" / "images" / "3.png", image)
    with pytest.raises(DataError, match="has the kind and the name of"):
        loaded(tmp_path)


def test_some_normal_images_are_left_to_learn_from(tmp_path: Path) -> None:
    data = loaded(kinds(tmp_path), test_fraction=0.4, validation_fraction=0.99, split_seed=2**32 - 1)
    assert (len(data.train), len(data.validation)) == (1, 6)


def test_a_decoder_that_is_dropped_before_training_is_not_observed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PretrainedDeepSVDD, "STEPS", 2)
    chosen = settings(mvtec(tmp_path), network="deep-svdd-pretrained", observe=("gradients",), epochs=1)
    data = data_of(chosen)
    record = train.run(experiment_of(chosen, data), "relu", 0, extra=observing.extra(experiment_of(chosen, data)))
    assert {row.path for row in record.gradients} == {"encoder.features.2", "encoder.features.6"}
    assert record.metrics["test_gradient_depth_ratio"] > 0


def test_image_and_mask_are_turned_by_their_own_exif(tmp_path: Path) -> None:
    plain = loaded(mvtec(tmp_path))
    for path in (*(tmp_path / "test").rglob("*.png"), *(tmp_path / "ground_truth").rglob("*.png")):
        turned_by_exif(path, 3)
    both = loaded(tmp_path)
    assert torch.equal(both.test.masks, plain.test.masks.flip(1, 2))
    assert torch.equal(both.test.images, plain.test.images.flip(2, 3))
    assert both.notes == plain.notes
    for path in (tmp_path / "ground_truth").rglob("*.png"):
        turned_by_exif(path, 1)
    assert [note for note in loaded(tmp_path).notes if "EXIF turns the image and not its mask" in note]
    assert torch.equal(loaded(tmp_path, orientation="stored").test.images, plain.test.images)


def test_a_mask_of_a_normal_image_marks_nothing_and_an_image_has_one_mask(tmp_path: Path) -> None:
    root = kinds(tmp_path / "kinds")
    write(root / "MT_Free" / "masks" / "3.png", thing(200, True)[1])
    with pytest.raises(DataError, match=r"3.png marks something, but its image 'MT_Free/images/3.png' is"):
        loaded(root)
    twice = mvtec(tmp_path / "mvtec")
    shutil.copy(twice / "ground_truth" / "dent" / "000_mask.png", twice / "ground_truth" / "dent" / "000.png")
    with pytest.raises(DataError, match=r"is of the same image as 'ground_truth/dent/000.*png'; keep one of them"):
        loaded(twice)


def turned_by_exif(path: Path, orientation: int) -> None:
    """Say that a stored picture is to be seen turned."""
    with Image.open(path) as picture:
        exif = picture.getexif()
        exif[ExifTags.Base.Orientation] = orientation
        picture.save(path, exif=exif)
