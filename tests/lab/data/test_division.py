"""Dividing: a partition, stratified, the same for the same seed; and the fingerprint of what results."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limen.errors import DataError, SpecError
from limen.lab.data import ByClass, Division, ImageData, Split, divide
from limen.lab.data.by_class import allot


def make(counts: list[int], *, first: int = 0, shuffled: int | None = None) -> Split:
    """A split whose images hold their own number in their first two pixels."""
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    if shuffled is not None:
        labels = labels[torch.from_numpy(np.random.RandomState(shuffled).permutation(len(labels)))]
    numbers = torch.arange(first, first + len(labels))
    images = torch.zeros(len(labels), 1, 2, 2, dtype=torch.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = numbers // 256, numbers % 256
    return Split(images, labels)


def data_of(counts: list[int], **splits: Split | None) -> ImageData:
    classes = tuple(f"class{n}" for n in range(len(counts)))
    parts = {"train": make(counts), "validation": None, "test": None, **splits}
    return ImageData("made", classes, **parts)  # type: ignore[arg-type]


def numbers(split: Split | None) -> list[int]:
    assert split is not None
    return (split.images[:, 0, 0, 0].long() * 256 + split.images[:, 0, 0, 1]).tolist()


def cut(data: ImageData, **options: object) -> ImageData:
    return divide(data, Division(**options), ByClass())  # type: ignore[arg-type]


COUNTS = st.lists(st.integers(3, 60), min_size=2, max_size=6)
FRACTIONS = st.floats(0.01, 0.99)


@given(counts=COUNTS, validation=FRACTIONS, test=FRACTIONS, seed=st.integers(0, 2**32 - 1), mixed=st.booleans())
def test_divide_is_a_stratified_partition(
    counts: list[int], validation: float, test: float, seed: int, mixed: bool
) -> None:
    data = data_of(counts, train=make(counts, shuffled=1 if mixed else None))
    try:
        done = cut(data, validation_fraction=validation, test_fraction=test, seed=seed)
    except DataError:
        # Only a test split that leaves a class with a single image may make validation impossible.
        test_only = cut(data, test_fraction=test, seed=seed, with_validation=False)
        assert test_only.train.labels.bincount(minlength=len(counts)).min() < 2
        return
    parts = [done.train, done.validation, done.test]
    together = [number for part in parts for number in numbers(part)]
    assert sorted(together) == list(range(sum(counts)))
    original = data.train.labels
    for part in parts:
        assert part is not None
        assert numbers(part) == sorted(numbers(part))
        assert part.labels.tolist() == original[numbers(part)].tolist()
        assert set(part.labels.tolist()) == set(range(len(counts)))


@given(counts=st.lists(st.integers(1, 500), min_size=1, max_size=12), share=st.floats(0, 1))
def test_allotment_is_exact_and_nearest_where_it_may_be(counts: list[int], share: float) -> None:
    array = np.array(counts)
    total = max(len(counts), round(share * array.sum()))
    shares = allot(array, total, array)
    ideal = array * (total / array.sum())
    assert shares.sum() == total
    assert (shares >= 1).all()
    assert (shares <= array).all()
    if (ideal >= 1).all():
        assert (np.abs(shares - ideal) < 1 + 1e-9).all()


def test_exact_shares() -> None:
    done = cut(data_of([100, 50, 10]))
    assert done.test is not None
    assert done.validation is not None
    assert done.test.labels.bincount().tolist() == [20, 10, 2]
    assert done.validation.labels.bincount().tolist() == [8, 4, 1]
    assert done.train.labels.bincount().tolist() == [72, 36, 7]


def test_same_seed_same_split_other_seed_other_split() -> None:
    data = data_of([40, 40])
    assert cut(data).facts() == cut(data).facts()
    assert cut(data, seed=1).facts().fingerprint != cut(data).facts().fingerprint


def test_the_split_of_a_seed_never_changes() -> None:
    done = cut(data_of([10, 10]))
    assert (numbers(done.test), numbers(done.validation)) == ([5, 6, 13, 18], [0, 11])


def test_given_splits_are_kept() -> None:
    test, validation = make([5, 5], first=100), make([4, 4], first=200)
    data = data_of([20, 20], test=test, validation=validation)
    done = cut(data)
    assert done.test is test
    assert done.validation is validation
    assert done.train is data.train


def test_validation_is_taken_from_train_and_never_from_a_given_test() -> None:
    data = data_of([20, 20], test=make([5, 5], first=100))
    done = cut(data)
    assert sorted(numbers(done.train) + numbers(done.validation)) == list(range(40))
    assert done.test is data.test


@pytest.mark.parametrize("given_one", [True, False])
def test_without_validation_all_training_images_stay(given_one: bool) -> None:
    data = data_of([20, 20], test=make([5, 5]), validation=make([4, 4]) if given_one else None)
    done = cut(data, with_validation=False)
    assert done.validation is None
    assert numbers(done.train) == list(range(40))


@given(limit=st.integers(3, 200), seed=st.integers(0, 99))
def test_limits_are_stratified_and_keep_every_class(limit: int, seed: int) -> None:
    data = data_of([90, 29, 1], test=make([90, 29, 1]))
    done = cut(data, limit_train=limit, limit_test=limit, seed=seed, with_validation=False)
    for part in (done.train, done.test):
        assert part is not None
        assert len(part) == min(limit, 120)
        assert part.labels.bincount(minlength=3).min() >= 1


def test_the_limit_applies_before_validation_is_taken_out() -> None:
    done = cut(data_of([100, 100]), limit_train=50)
    assert done.validation is not None
    assert (len(done.train), len(done.validation)) == (45, 5)


def test_draws_do_not_depend_on_each_other() -> None:
    data = data_of([100, 100])
    whole, limited = cut(data), cut(data, limit_train=50, limit_test=10, with_validation=False)
    assert set(numbers(limited.test)) < set(numbers(whole.test))
    assert not set(numbers(limited.train)) & set(numbers(whole.test))
    smaller = cut(data, limit_train=20, with_validation=False)
    assert set(numbers(smaller.train)) < set(numbers(limited.train))


@pytest.mark.parametrize(
    ("counts", "options", "expected"),
    [
        ([10, 1], {}, "Class 'class1' of made has 1 training image.* test split.*at least 2"),
        ([10, 2], {}, "Class 'class1' of made has 1 training image.* validation split.*at least 2"),
        ([10, 10], {"limit_train": 3}, "has 1 training image.* raise the limit"),
    ],
)
def test_too_few_images(counts: list[int], options: dict[str, int], expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        cut(data_of(counts), **options)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"validation_fraction": 0.0}, "validation_fraction is 0.0, but must lie between 0 and 1"),
        ({"test_fraction": 1.0}, "test_fraction is 1.0"),
        ({"test_fraction": float("nan")}, "test_fraction is nan"),
        ({"seed": -1}, "seed of the splits is -1"),
        ({"seed": 2**32}, "seed of the splits"),
        ({"limit_train": 1}, "limit of 1 train images is below one for each of the 2 classes"),
        ({"limit_test": 0}, "limit of 0 test images"),
    ],
)
def test_settings_that_make_no_sense(options: dict[str, float], expected: str) -> None:
    with pytest.raises(SpecError, match=expected):
        cut(data_of([20, 20]), **options)


def test_facts() -> None:
    facts = cut(data_of([100, 50, 10])).facts()
    assert (facts.train, facts.validation, facts.test) == (115, 13, 32)
    assert facts.image_shape == (1, 2, 2)
    assert facts.classes == ("class0", "class1", "class2")
    without = data_of([4, 4]).facts()
    assert (without.validation, without.test) == (0, 0)


def test_fingerprint_sees_one_pixel_one_label_the_order_and_the_division() -> None:
    data = data_of([6, 6], test=make([3, 3]))
    seen = {data.facts().fingerprint}
    pixels, labels = data.train.images.clone(), data.train.labels.clone()
    pixels[-1, 0, 1, 1] += 1
    labels[0] = 1
    order = torch.arange(12).flip(0)
    assert data.test is not None
    joined = Split(torch.cat([data.train.images, data.test.images]), torch.cat([data.train.labels, data.test.labels]))
    changed = (
        dataclasses.replace(data, train=Split(pixels, data.train.labels)),
        dataclasses.replace(data, train=Split(data.train.images, labels)),
        dataclasses.replace(data, train=data.train.take(order)),
        dataclasses.replace(data, train=joined, test=None),
        dataclasses.replace(data, test=None),
        dataclasses.replace(data, test=None, validation=data.test),
        dataclasses.replace(data, train=Split(data.train.images.reshape(12, 1, 4, 1), data.train.labels)),
    )
    seen |= {other.facts().fingerprint for other in changed}
    assert len(seen) == 8


def test_splits_refuse_other_types_and_shapes() -> None:
    images, labels = torch.zeros(3, 1, 2, 2, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64)
    with pytest.raises(DataError, match=r"torch.uint8 .* not torch.float32"):
        Split(images.float(), labels)
    with pytest.raises(DataError, match=r"shape \(3,\), not torch.int64 of shape \(2,\)"):
        Split(images, labels[:2])
