"""``--task generation``: images, the DCGAN, its training, the small Fréchet distance, from files to report."""

from __future__ import annotations

import base64
import copy
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from helpers_lab import Command, command, experiment_of
from PIL import Image
from torch import nn
from torch.nn import functional as F

import limen
from limen.errors import DataError, SpecError
from limen.lab.records import Grid
from limen.lab.settings import StudySettings
from limen.lab.tasks import registry as tasks
from limen.lab.tasks.generation.dcgan import DCGAN
from limen.lab.tasks.generation.embedding import learn_embedding
from limen.lab.tasks.generation.frechet import SmallFID
from limen.lab.tasks.generation.pictures import LATENT, PictureData, load_pictures
from limen.lab.tasks.generation.training import Adversarial
from limen.lab.training import run as train
from limen.lab.training.batches import Batches

READ = {"data_dir": None, "image_size": None, "grey": False}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return command(monkeypatch, capsys)


def picture(number: int, size: tuple[int, int] = (8, 8)) -> np.ndarray:
    """A bright bar below a dark ground."""
    random = np.random.default_rng(number)
    values = random.integers(0, 40, (*size, 3), dtype=np.uint8)
    values[-2:, : 3 + number % 4] = 200 + number % 50
    return values


def folder(root: Path, count: int = 12, *, start: int = 0, size: tuple[int, int] = (8, 8)) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for number in range(start, start + count):
        Image.fromarray(picture(number, size)).save(root / f"{number}.png")
    return root


def settings(data: Path | str = "digits", **changed: object) -> StudySettings:
    values = {"task": "generation", "data": str(data), "network": "dcgan", "batch_size": 16, "eval_batch_size": 50}
    common = {"activations": ("relu",), "baseline": "relu", "seeds": (0,), "learning_rate": 2e-4, "epochs": 1}
    return StudySettings(**{**values, **common, **changed})


@pytest.fixture(scope="module")
def digits() -> PictureData:
    found = tasks.find("generation").load(settings(limit_train=400, limit_test=100))
    assert isinstance(found, PictureData)
    return found


def moments(features: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    values = features.double().numpy()
    return values.mean(0), np.cov(values, rowvar=False)


def test_the_distance_is_frechets_by_scipys_matrix_root() -> None:
    torch.manual_seed(0)
    embedding = nn.Sequential(nn.Flatten(), nn.Linear(32 * 32, 8), nn.Tanh())
    embedding.num_features = 8
    fake, real = torch.rand(90, 1, 32, 32) * 2 - 1, torch.rand(120, 1, 32, 32).pow(3) * 2 - 1
    (mu, s), (nu, t) = moments(embedding(fake).detach()), moments(embedding(real).detach())
    root = scipy.linalg.sqrtm(s @ t)
    wanted = np.square(mu - nu).sum() + np.trace(s + t - 2 * root.real)
    metric = SmallFID(embedding)
    for a, b in zip(fake.split(30), real.split(40), strict=True):
        metric.update(a, b)
    assert float(metric.compute()) == pytest.approx(wanted, rel=1e-3)


def test_identical_sets_have_no_distance_whatever_their_order(digits: PictureData) -> None:
    _, images = next(iter(Batches(digits.test, 100)))
    metric = SmallFID(digits.embedding)
    metric.update(images, images.flip(0))
    assert float(metric.compute()) == pytest.approx(0, abs=1e-3)


def test_the_distance_orders_what_the_eye_orders(digits: PictureData) -> None:
    _, real = next(iter(Batches(digits.test, 100)))
    _, others = next(iter(Batches(digits.train, 100, seed=0)))
    torch.manual_seed(0)
    blurred = F.interpolate(F.avg_pool2d(others, 2), (8, 8))
    noise = torch.rand_like(real) * 2 - 1
    found = []
    for fake in (others, blurred, noise):
        metric = SmallFID(digits.embedding)
        metric.update(fake, real)
        found.append(float(metric.compute()))
    assert found == sorted(found)
    assert 2 * found[0] < found[1]
    assert tasks.find("generation").reference_metrics(digits)["small_fid"] < 0.7 * found[1]


def test_the_embedding_depends_on_the_images_alone_and_leaves_the_random_numbers(digits: PictureData) -> None:
    images = digits.train.images[:80]
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    first = learn_embedding(images)
    assert torch.equal(torch.rand(2), expected)
    pixels = images.float() / 127.5 - 1
    assert torch.equal(first(pixels), learn_embedding(images)(pixels))
    features = digits.embedding(digits.train.images.float() / 127.5 - 1)
    alive = features.std(0) > 0
    assert alive.sum() > 20
    torch.testing.assert_close(features.mean(0), torch.zeros(64), atol=1e-3, rtol=0)
    torch.testing.assert_close(features.std(0, correction=0)[alive], torch.ones(int(alive.sum())), atol=1e-2, rtol=0)


@pytest.mark.parametrize(
    ("shape", "stages"), [((1, 28, 28), 2), ((3, 32, 32), 3), ((3, 64, 64), 4), ((1, 8, 8), 1), ((3, 48, 64), 3)]
)
def test_the_dcgan_makes_images_of_the_size_and_every_activation_is_reached(
    shape: tuple[int, int, int], stages: int
) -> None:
    network = DCGAN(shape, LATENT)
    images = network(torch.randn(2, LATENT))
    assert images.shape == (2, *shape)
    assert images.abs().max() <= 1
    assert network.discriminator(images).shape == (2, 1)
    report = limen.swap_(network, "ash")
    assert len(report.sites) == 2 * stages
    assert not any(isinstance(module, nn.ReLU) for module in network.modules())
    assert isinstance(network.generator[-1], nn.Tanh)


def test_the_dcgan_of_the_papers_width_has_its_layers() -> None:
    class Published(DCGAN):
        WIDTH = 128

    network = Published((3, 64, 64), 100)
    convolutions = [m for m in network.generator if isinstance(m, nn.ConvTranspose2d)]
    assert [m.in_channels for m in convolutions] == [1024, 512, 256, 128]  # Figure 1 of the paper
    assert {m.kernel_size for m in convolutions} == {(4, 4)}
    counts = 100 * 1024 * 16 + 16 * (1024 * 512 + 512 * 256 + 256 * 128 + 128 * 3) + 3 + 2 * (1024 + 512 + 256 + 128)
    assert sum(p.numel() for p in network.generator.parameters()) == counts


@pytest.mark.parametrize("size", [(30, 30), (3, 3), (28, 30)])
def test_sizes_that_cannot_be_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(SpecError, match="give --image-size, such as 28, 32"):
        DCGAN((1, *size), LATENT)


def test_a_step_is_the_papers_by_hand(digits: PictureData) -> None:
    chosen, task = settings(), tasks.find("generation")
    network = task.build("dcgan", digits, 0)
    ours, by_hand = network, copy.deepcopy(network)
    batches = Batches(digits.train.take(torch.arange(32)), 16)
    module = Adversarial(ours, task, digits, chosen)
    torch.manual_seed(5)
    module.begin()
    for index, batch in enumerate(batches):
        module.step(batch, index)
    torch.manual_seed(5)
    random = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
    critic, maker = by_hand.discriminator, by_hand.generator
    adams = [torch.optim.Adam(part.parameters(), 2e-4, betas=(0.5, 0.999)) for part in (critic, maker)]
    for _, real in batches:
        fake = maker(torch.randn(16, LATENT, generator=random))
        loss = -F.logsigmoid(critic(real)).mean() - F.logsigmoid(-critic(fake.detach())).mean()
        adams[0].zero_grad()
        loss.backward()
        adams[0].step()
        adams[1].zero_grad()
        (-F.logsigmoid(critic(fake)).mean()).backward()
        adams[1].step()
    for name, value in by_hand.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-4, atol=1e-6)


def test_for_one_seed_every_activation_sees_the_same_noise(
    digits: PictureData, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, list[torch.Tensor]] = {}

    def noted(self: DCGAN, noise: torch.Tensor) -> torch.Tensor:
        if self.training:
            seen.setdefault(now[0], []).append(noise.clone())
        return self.generator(noise)

    monkeypatch.setattr(DCGAN, "forward", noted)
    now = [""]
    for activation in ("relu", "rrelu"):  # the second draws random numbers of its own
        now[0] = activation
        train.run(experiment_of(settings(limit_train=400, limit_test=100), digits), activation, 4)
    assert len(seen["relu"]) > 10
    for a, b in zip(seen["relu"], seen["rrelu"], strict=True):
        assert torch.equal(a, b)


def test_a_loss_that_is_not_finite_ends_the_run(digits: PictureData) -> None:
    record = train.run(experiment_of(settings(learning_rate=1e30, limit_train=400, limit_test=100), digits), "relu", 0)
    assert record.status == "failed"
    assert record.failure.startswith("the loss became")


def test_images_are_found_wherever_they_lie(tmp_path: Path) -> None:
    plain = folder(tmp_path / "plain")
    reference = load_pictures(str(plain), **READ)
    assert (len(reference.train), reference.classes, reference.test) == (12, ("image",), None)
    assert torch.equal(reference.train.images[10], torch.from_numpy(picture(10)).permute(2, 0, 1))
    for number in range(12):
        source = plain / f"{number}.png"
        target = tmp_path / "deep" / "celebs" / ("a" if number < 6 else "b") / source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    with zipfile.ZipFile(tmp_path / "deep.zip", "w") as archive:
        for file in sorted((tmp_path / "deep").rglob("*.png")):
            archive.write(file, file.relative_to(tmp_path))
    for other in (tmp_path / "deep", tmp_path / "deep.zip"):
        assert torch.equal(load_pictures(str(other), **READ).train.images, reference.train.images)
    for part, start in (("train", 0), ("val", 20), ("test", 30)):
        folder(tmp_path / "parts" / part, 4, start=start)
    parts = load_pictures(str(tmp_path / "parts"), **READ)
    assert parts.test is not None
    assert torch.equal(parts.test.images[0], torch.from_numpy(picture(30)).permute(2, 0, 1))


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("damaged", "3.png does not decode as an image"),
        ("sizes", "resize them all while loading, for example with --image-size"),
        ("empty", "holds no image"),
        ("mixed", "mixes split folders with other images"),
        ("odd", "give --image-size, such as 28, 32"),
        ("one", "too few to take a test split out of"),
    ],
)
def test_what_is_broken_is_named(what: str, said: str, run: Command, tmp_path: Path) -> None:
    data = folder(tmp_path / "data", {"one": 1, "odd": 30}.get(what, 12), size=(9, 9) if what == "odd" else (8, 8))
    actions = {
        "damaged": lambda: (data / "3.png").write_bytes((data / "3.png").read_bytes()[:60]),
        "sizes": lambda: Image.fromarray(picture(3, (9, 8))).save(data / "3.png"),
        "empty": lambda: [path.unlink() for path in data.glob("*")],
        "mixed": lambda: folder(data / "train", 3),
    }
    actions.get(what, lambda: None)()
    outcome = run("compare", "--task", "generation", "--data", data, "--out", tmp_path / "out")
    assert outcome.code == 2
    assert said in outcome.sentence
    assert not (tmp_path / "out").exists()


def test_a_network_without_a_discriminator_is_refused(digits: PictureData, monkeypatch: pytest.MonkeyPatch) -> None:
    task = tasks.find("generation")
    monkeypatch.setattr(type(task), "networks", {"half": lambda image_shape: nn.Identity()})
    with pytest.raises(SpecError, match="no module 'generator'"):
        task.build("half", digits, 0)


def test_too_few_images_for_a_distance_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 held-out image; 2 or more"):
        tasks.find("generation").load(settings(folder(tmp_path, 12)))


def test_a_study_of_images_from_files_to_report(run: Command, tmp_path: Path) -> None:
    folder(tmp_path / "data", 120)
    options = ("--task", "generation", "--data", tmp_path / "data", "--activations", "relu,ash", "--seeds", "1")
    rest = ("--epochs", "3", "--batch-size", "16", "--lr", "0.002", "--protocol", "both",
            "--out", tmp_path / "out", "--json")  # fmt: skip
    outcome = run("compare", *options, *rest)
    assert outcome.code == 0, outcome.err
    found = {row["activation"]: row["mean"] for row in outcome.json["summary"]}
    assert set(found) == {"relu", "ash", "training images"}
    assert found["training images"] < min(found["relu"], found["ash"])
    for row in outcome.json["runs"]:
        assert row["best_test_small_fid"] <= row["test_small_fid"] * (1 + 1e-4)
    page = Path(outcome.json["report"]).read_text(encoding="utf-8")
    for said in ("Generated images", "real test images", "data:image/jpeg;base64,", "quarter turns", "small FID"):
        assert said in page
    before = {path: path.read_bytes() for path in (tmp_path / "out" / "runs").glob("*")}
    assert run("compare", *options, *rest).code == 0
    assert before == {path: path.read_bytes() for path in (tmp_path / "out" / "runs").glob("*")}


def test_the_picture_is_a_grid_of_images(digits: PictureData) -> None:
    task = tasks.find("generation")
    shown = task.show(task.build("dcgan", digits, 0), digits, settings())
    assert isinstance(shown, Grid)
    for stored in (shown.picture, shown.real):
        with Image.open(io.BytesIO(base64.b64decode(stored))) as image:
            assert image.size == (10 * 8 * 7, 6 * 8 * 7)


def test_a_metric_takes_no_others_embedding_to_its_device(digits: PictureData) -> None:
    metric = tasks.find("generation").meters(digits)["small_fid"]
    metric.to("meta")  # stands for a GPU, on which the reference would then look for real images in vain
    assert all(value.device.type == "cpu" for value in digits.embedding.state_dict().values())
    assert tasks.find("generation").reference_metrics(digits)["small_fid"] > 0
