"""Training images are changed by numbers that depend on seed, epoch and example alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers_lab import data_of, experiment_of, tiny
from scipy import ndimage
from test_ways_of_training import by_hand
from torch import Tensor

from limen.errors import SpecError
from limen.lab.data import Split
from limen.lab.tasks import declared
from limen.lab.tasks.detection.boxes import BoxSplit
from limen.lab.tasks.detection.kinds import NOTHING, ignored
from limen.lab.tasks.segmentation.masks import IGNORED, MaskSplit
from limen.lab.training import augmentation, supervised
from limen.lab.training import run as train
from limen.lab.training.augmentation import BY_NAME, CHANGES, DRAWN, draws
from limen.lab.training.batches import Batches

NAMES = tuple(name for name, augment in BY_NAME.items() if augment)


def pictures(count: int = 40, channels: int = 3, height: int = 10, width: int = 17) -> Tensor:
    made = torch.randint(0, 256, (count, channels, height, width), generator=torch.Generator().manual_seed(1))
    return made.to(torch.uint8)


def changed(name: str, images: Tensor, drawn: Tensor) -> Tensor:
    augment = BY_NAME[name]
    assert augment is not None
    return augment(images, drawn)


@pytest.mark.parametrize("name", ["flip", "crop+flip"])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_moved_and_mirrored(name: str, channels: int) -> None:
    images, drawn = pictures(channels=channels), draws(3, 4, 40)
    found = changed(name, images, drawn)
    assert torch.equal(found, by_hand(images, drawn, name))
    assert found.is_contiguous()


def test_every_place_of_a_crop_is_as_likely() -> None:
    drawn = draws(0, 0, 6000)
    found = torch.bincount(augmentation.whole(drawn[:, augmentation.DOWN], 5), minlength=5)
    assert found.min() > 1000
    assert augmentation.whole(torch.ones(1), 5).tolist() == [4]
    flips = (drawn[:, augmentation.FLIP] < 0.5).float().mean()
    assert flips == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("name", NAMES)
def test_an_image_alone_is_changed_as_among_others(name: str) -> None:
    images, drawn = pictures(), draws(0, 1, 40)
    found = changed(name, images, drawn)
    assert (found.dtype, found.shape) == (torch.uint8, images.shape)
    for place in (0, 7, 39):
        assert torch.equal(changed(name, images[[place]], drawn[[place]]), found[[place]])
    assert (found != images).flatten(1).any(1).float().mean() > 0.3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (3, 1)])
def test_the_smallest_images_can_be_changed(name: str, size: tuple[int, int]) -> None:
    images = pictures(20, 1, *size)
    assert changed(name, images, draws(0, 0, 20)).shape == images.shape


def test_draws_are_of_seed_and_epoch() -> None:
    torch.manual_seed(5)
    torch.rand(3)
    assert torch.equal(draws(1, 2, 9), draws(1, 2, 9))
    seen = {tuple(draws(seed, epoch, 9).flatten().tolist()) for seed in range(4) for epoch in range(4)}
    assert len(seen) == 16
    assert draws(2**32 - 1, 10**6 - 1, 2).shape == (2, DRAWN)


def seen_of(images: Tensor, batch_size: int, part: tuple[int, int] = (0, 1)) -> list[dict[int, Tensor]]:
    """Of two epochs, the images by their index."""
    split = Split(images, torch.arange(len(images)))
    batches = Batches(split, batch_size, seed=2, part=part, augment=BY_NAME["randaugment-like"])
    return [
        {label: image for inputs, labels in batches for image, label in zip(inputs, labels.tolist(), strict=True)}
        for _ in range(2)
    ]


def same(ours: dict[int, Tensor], theirs: dict[int, Tensor]) -> bool:
    return ours.keys() <= theirs.keys() and all(torch.equal(image, theirs[label]) for label, image in ours.items())


def test_what_an_image_becomes_depends_on_seed_epoch_and_index_only() -> None:
    images = pictures(24)
    first, second = seen_of(images, 8)
    assert not same(first, second)
    for batch_size, part in ((4, (0, 1)), (8, (0, 2)), (8, (1, 2)), (24, (2, 3))):
        again = seen_of(images, batch_size, part)
        assert same(again[0], first)
        assert same(again[1], second)


def test_only_training_passes_are_augmented() -> None:
    split = Split(pictures(6), torch.arange(6))
    inputs, _ = next(iter(Batches(split, 6, augment=BY_NAME["flip"])))
    assert torch.equal(inputs, Split.batch(split.images, split.labels)[0])
    experiment = experiment_of(tiny(augment="flip"), data_of(tiny()))
    assert experiment.training(0).augment is not None
    assert experiment.evaluated(experiment.heldout).augment is None


@pytest.mark.parametrize("name", ["flip", "crop+flip"])
def test_masks_move_with_their_images(name: str) -> None:
    drawn = draws(5, 0, 40)
    masks = pictures(40, 1)[:, 0] % 4
    masks[masks == 3] = IGNORED
    images = masks[:, None].expand(-1, 3, -1, -1).contiguous()
    augment = BY_NAME[name]
    assert augment is not None
    found, moved = MaskSplit.augmented(images, masks, drawn, augment)
    assert torch.equal(found, by_hand(images, drawn, name))
    by_pixel = by_hand(masks[:, None].int() + 1, drawn, name)[:, 0] - 1
    assert torch.equal(moved.int(), by_pixel.where(by_pixel >= 0, torch.tensor(IGNORED)))
    assert moved.dtype == torch.uint8


def test_boxes_are_mirrored_with_their_images() -> None:
    count, width, height = 20, 16, 12
    images = torch.zeros(count, 1, height, width, dtype=torch.uint8)
    objects = torch.full((count, 3, 5), 0.0)
    objects[:, 2, 0] = NOTHING
    for number, image in enumerate(images):
        for row, (kind, left, top, right, bottom) in enumerate([(0, number % 5, 1, 7, 5), (ignored(1), 9, 6, 15, 11)]):
            objects[number, row] = torch.tensor([kind, left / width, top / height, right / width, bottom / height])
            image[0, top:bottom, left:right] = 100 + row
    drawn = draws(1, 1, count)
    found, moved = BoxSplit.augmented(images, objects, drawn, augmentation.flipped)
    for before, image, rows in zip(objects, found, moved, strict=True):
        assert torch.equal(rows[2], before[2])
        assert torch.equal(rows[:, 0], before[:, 0])
        for row in range(2):
            where = (image[0] == 100 + row).nonzero()
            (top, left), (bottom, right) = where.amin(0).tolist(), (where.amax(0) + 1).tolist()
            expected = [left / width, top / height, right / width, bottom / height]
            assert rows[row, 1:].tolist() == pytest.approx(expected, abs=1e-6)
    assert not torch.equal(moved, objects)


@pytest.mark.parametrize("name", declared.names())
def test_what_a_tasks_truth_cannot_follow_is_refused(name: str) -> None:
    task = declared.find(name)
    own = {option: "x" for option in ("target",) if option in task.options}
    for augment in NAMES:
        settings = tiny(**{**task.defaults, "task": name, "augment": augment, **own})
        if "augment" in task.options and augment in task.augments:
            declared.check_options(task, settings)
            continue
        why = "images have no boxes" if augment == "mosaic" else "would not follow the images"
        said = "is not an option of" if "augment" not in task.options else f"{why}; give flip"
        with pytest.raises(SpecError, match=said):
            declared.check_options(task, settings)


def batches_of(activation: str, **settings: Any) -> list[Tensor]:
    seen = []
    step = supervised.Supervised.step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            supervised.Supervised,
            "step",
            lambda self, batch, index: (seen.append(batch[0].clone()), step(self, batch, index))[1],
        )
        train.run(experiment_of(tiny(**settings), data_of(tiny())), activation, 3)
    return seen


def test_every_activation_sees_the_same_images() -> None:
    relu, rrelu = (batches_of(name, augment="randaugment-like") for name in ("relu", "rrelu"))
    assert len(relu) == 6
    assert all(map(torch.equal, relu, rrelu))
    assert not any(map(torch.equal, relu, batches_of("relu")))


@pytest.mark.parametrize("change", CHANGES[1:], ids=lambda change: change.__name__.strip("_"))
def test_a_change_of_no_strength_is_none_and_of_more_is_one(change: Any) -> None:
    images = pictures(4).float()
    nothing = change(images, torch.zeros(4, 1, 1, 1))
    if change is not augmentation._autocontrast:
        assert (nothing - images).abs().max() < 0.05
    for strength in (-0.8, 0.8):
        found = change(images, torch.full((4, 1, 1, 1), strength))
        assert found.shape == images.shape
        assert change is augmentation._autocontrast or (found - images).abs().max() > 5


def one(change: Any, strength: float, pixels: list[float]) -> list[float]:
    found = change(torch.tensor(pixels).reshape(1, 1, 1, -1), torch.full((1, 1, 1, 1), strength))
    return [round(value, 3) for value in found.flatten().tolist()]


def test_changes_of_colour_follow_their_formulas() -> None:
    assert one(augmentation._brightness, 0.5, [100.0, 200.0]) == [145.0, 290.0]
    assert one(augmentation._contrast, -0.5, [100.0, 200.0]) == [122.5, 177.5]
    assert one(augmentation._posterize, 1.0, [255.0, 37.0, 15.0]) == [240.0, 32.0, 0.0]
    assert one(augmentation._posterize, -0.25, [255.0, 37.0]) == [254.0, 36.0]
    assert one(augmentation._solarize, 0.4, [100.0, 160.0, 255.0]) == [100.0, 95.0, 0.0]
    assert one(augmentation._autocontrast, 0.3, [50.0, 100.0, 150.0]) == [0.0, 127.5, 255.0]
    assert one(augmentation._autocontrast, 0.3, [70.0, 70.0]) == [70.0, 70.0]
    assert one(augmentation._sharpness, 1.0, [10.0, 40.0, 10.0])[1] == pytest.approx(40 + 0.9 * 20, abs=0.01)
    assert one(augmentation._colour, 0.7, [10.0, 40.0]) == [10.0, 40.0]  # a grey image has none
    coloured = augmentation._colour(
        torch.tensor([0.0, 90.0, 180.0]).reshape(1, 3, 1, 1), torch.full((1, 1, 1, 1), -1.0)
    )
    assert coloured.flatten().tolist() == pytest.approx([81.0, 90.0, 99.0])


def test_turning_and_shearing_are_about_the_middle() -> None:
    rough = pictures(1, 1, 24, 33)[0, 0].numpy().astype(np.float64)
    smooth = torch.from_numpy(ndimage.gaussian_filter(rough, 2)).float()[None, None]
    inside = slice(8, 16), slice(11, 22)
    turned = augmentation._rotate(smooth, torch.full((1, 1, 1, 1), 0.5))[0, 0].numpy()
    expected = ndimage.rotate(smooth[0, 0].numpy(), 15, reshape=False, order=1)
    assert np.abs(turned[inside] - expected[inside]).max() < 0.5
    assert np.abs(turned[inside] - smooth[0, 0].numpy()[inside]).max() > 2
    for shear, axis in ((augmentation._shear_across, 1), (augmentation._shear_down, 0)):
        found = shear(smooth, torch.full((1, 1, 1, 1), 1.0))[0, 0].numpy()
        matrix = np.eye(2)
        # Along each side places count from −1 to 1, so a shear is in units of sides.
        matrix[axis, 1 - axis] = 0.3 * (33 / 24 if axis else 24 / 33)
        middle = np.array([11.5, 16.0])
        whole = ndimage.affine_transform(smooth[0, 0].numpy(), matrix, middle - matrix @ middle, order=1)
        assert np.abs(found[inside] - whole[inside]).max() < 0.5
