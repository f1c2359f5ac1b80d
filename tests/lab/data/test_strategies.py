"""Every strategy of dividing: a partition, the same for the same seed, with draws that never change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limen.errors import DataError, SpecError
from limen.lab.data import ByClass, Data, Division, Samples, divide
from limen.lab.data.division import Strategy
from limen.lab.data.strategies import AtRandom, InBlocks, InGroups, InTime, Shuffled
from limen.lab.settings import StudySettings
from limen.lab.tasks.anomaly.data import AnomalyData, AnomalySplit
from limen.lab.tasks.anomaly.division import divide_normal


@dataclass(frozen=True, eq=False)
class Numbered(Samples):
    """Examples that are their own numbers, of two classes in turn, three to a group."""

    numbers: torch.Tensor
    labels: torch.Tensor
    groups: tuple[int, ...]


def numbered(count: int, first: int = 0) -> Numbered:
    numbers = torch.arange(first, first + count)
    return Numbered(numbers, numbers % 2, tuple((numbers // 3).tolist()))


def data_of(count: int, **splits: Numbered) -> Data[Numbered]:
    return Data("made", ("a", "b"), numbered(count), splits.get("validation"), splits.get("test"))


def numbers(split: Any) -> list[int]:
    return [] if split is None else split.tensors[0].flatten().tolist()


def parts(data: Data[Any]) -> tuple[list[int], list[int], list[int]]:
    return numbers(data.train), numbers(data.validation), numbers(data.test)


def name_of(value: object) -> str:
    return type(value).__name__


STRATEGIES: dict[str, Strategy[Any]] = {
    "class": ByClass(),
    "random": AtRandom(),
    "blocks": InBlocks(),
    "groups": InGroups(AtRandom()),
    "blocks of groups": InGroups(InBlocks()),
    "shuffled": Shuffled(),
    "time": InTime(),
}
DIVISIONS = st.builds(
    Division,
    validation_fraction=st.floats(0.05, 0.4),
    test_fraction=st.floats(0.05, 0.4),
    seed=st.integers(0, 2**32 - 1),
    with_validation=st.booleans(),
)
EVERY = pytest.mark.parametrize("by", STRATEGIES.values(), ids=STRATEGIES)


@EVERY
@given(count=st.integers(24, 90), division=DIVISIONS)
def test_every_example_is_in_one_part(by: Strategy[Any], count: int, division: Division) -> None:
    train, validation, test = parts(divide(data_of(count), division, by))
    assert sorted(train + validation + test) == list(range(count))
    assert train
    assert test
    assert bool(validation) == division.with_validation


@EVERY
@given(division=DIVISIONS, limit=st.integers(12, 60))
def test_limits_leave_so_many_and_repeat_none(by: Strategy[Any], division: Division, limit: int) -> None:
    given_test = numbered(40, first=100)
    limited = Division(**{**vars(division), "limit_train": limit, "limit_test": limit})
    train, validation, test = parts(divide(data_of(50, test=given_test), limited, by))
    assert len(train) + len(validation) == min(limit, 50)
    assert len(test) == min(limit, 40)
    assert len({*train, *validation, *test}) == min(limit, 50) + min(limit, 40)
    assert set(test) <= set(range(100, 140))


@EVERY
@given(count=st.integers(24, 60), division=DIVISIONS)
def test_the_same_seed_draws_the_same(by: Strategy[Any], count: int, division: Division) -> None:
    assert parts(divide(data_of(count), division, by)) == parts(divide(data_of(count), division, by))


@pytest.mark.parametrize(
    "by", [ByClass(), AtRandom(), InGroups(AtRandom()), Shuffled()], ids=lambda by: type(by).__name__
)
def test_another_seed_draws_otherwise(by: Strategy[Any]) -> None:
    one, other = (parts(divide(data_of(60), Division(seed=seed), by)) for seed in (0, 1))
    assert all(set(a) != set(b) for a, b in zip(one, other, strict=True))


@EVERY
def test_parts_that_come_with_the_data_are_kept(by: Strategy[Any]) -> None:
    data = data_of(30, validation=numbered(7, first=100), test=numbered(8, first=200))
    done = divide(data, Division(), by)
    assert done.validation is data.validation
    assert done.test is data.test
    assert sorted(numbers(done.train)) == list(range(30))
    assert divide(data, Division(with_validation=False), by).validation is None


@given(count=st.integers(24, 90), division=DIVISIONS, blocks=st.booleans())
def test_groups_are_never_divided(count: int, division: Division, blocks: bool) -> None:
    done = divide(data_of(count), division, InGroups(InBlocks() if blocks else AtRandom()))
    groups = [set(part.groups) for part in (done.train, done.validation, done.test) if part is not None]
    assert sum(map(len, groups)) == len(set.union(*groups)) == -(-count // 3)


@given(count=st.integers(24, 90), division=DIVISIONS, by=st.sampled_from([InTime(), InBlocks()]))
def test_time_and_blocks_never_reach_forward(count: int, division: Division, by: Strategy[Any]) -> None:
    train, validation, test = parts(divide(data_of(count), division, by))
    assert train + validation + test == list(range(count))


def test_a_limit_in_time_keeps_what_is_nearest() -> None:
    train, validation, test = parts(divide(data_of(40), Division(limit_train=10, limit_test=3), InTime()))
    assert (train, validation, test) == (list(range(22, 30)), [30, 31], [32, 33, 34])


@given(count=st.integers(30, 60), seed=st.integers(0, 2**32 - 1))
def test_of_classes_a_larger_limit_contains_a_smaller_one(count: int, seed: int) -> None:
    divisions = (Division(seed=seed, limit_train=limit, with_validation=False) for limit in (4, 12))
    small, large = (set(numbers(divide(data_of(count), division, ByClass()).train)) for division in divisions)
    assert small < large


# Training, validation and test as they were drawn before any strategy had a name: stored studies rest on them.

FREE = {
    "class": ([1, 2, 3, 6, 7, 10, 13, 14, 15, 17, 18], [0, 9, 16], [4, 5, 8, 11, 12, 19]),
    "random": ([0, 2, 8, 10, 11, 13, 14, 16, 17, 18, 19], [1, 5, 6], [3, 4, 7, 9, 12, 15]),
    "blocks": ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [11, 12, 13], [14, 15, 16, 17, 18, 19]),
    "groups": ([0, 1, 2, 6, 7, 8, 9, 10, 11, 18, 19], [15, 16, 17], [3, 4, 5, 12, 13, 14]),
    "blocks of groups": ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], [12, 13, 14], [15, 16, 17, 18, 19]),
    "shuffled": ([19, 10, 14, 8, 16, 9, 12, 7, 3, 4, 15], [18, 6, 13], [1, 17, 2, 5, 11, 0]),
    "time": ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [11, 12, 13], [14, 15, 16, 17, 18, 19]),
    "normal": ([3, 4, 7, 8, 9, 10, 13, 14, 16, 18, 19], [6, 12, 15], [0, 1, 2, 5, 11, 17, 100, 101, 102, 103, 104]),
}
LIMITED = {
    "class": ([4, 5, 7, 8, 10, 11, 12, 13, 17, 18], [1, 14], [3, 6, 16]),
    "random": ([5, 9, 10, 11, 14, 15, 16, 17, 18, 19], [1, 13], [2, 7, 12]),
    "blocks": ([0, 1, 4, 5, 6, 7, 8, 9, 10, 11], [12, 13], [15, 18, 19]),
    "groups": ([0, 1, 4, 5, 12, 13, 14, 15, 16, 17], [18, 19], [7, 10, 11]),
    "blocks of groups": ([0, 1, 4, 5, 6, 7, 8, 9, 10, 11], [13, 14], [15, 16, 19]),
    "shuffled": ([13, 18, 14, 9, 10, 6, 0, 4, 7, 12], [8, 16], [11, 17, 19]),
    "time": ([2, 3, 4, 5, 6, 7, 8, 9, 10, 11], [12, 13], [14, 15, 16]),
    "normal": ([0, 2, 6, 7, 8, 9, 12, 13, 14, 16], [10, 18], [5, 17, 104]),
}


def normal(data: Data[Numbered], division: Division) -> AnomalyData:
    """The same numbers as normal images, beside five anomalies from 100."""
    images = torch.arange(len(data.train), dtype=torch.uint8)[:, None, None, None]
    strange = torch.arange(100, 105, dtype=torch.uint8)[:, None, None, None]
    names = ("",) * len(images)
    train = AnomalySplit(images, torch.zeros(len(images), 1, 1, dtype=torch.uint8), names)
    anomalies = AnomalySplit(strange, torch.ones(5, 1, 1, dtype=torch.uint8), names[:5])
    return divide_normal(AnomalyData("made", (), train, None, None, anomalies=anomalies), division)


@pytest.mark.parametrize(("limits", "seed", "known"), [({}, 7, FREE), ((12, 3), 2**32 - 1, LIMITED)])
@pytest.mark.parametrize("name", FREE)
def test_a_draw_never_changes(name: str, limits: tuple[int, ...], seed: int, known: dict[str, Any]) -> None:
    of_limits = dict(zip(("limit_train", "limit_test"), limits, strict=False))
    division = Division(validation_fraction=0.2, test_fraction=0.3, seed=seed, **of_limits)
    undivided = data_of(20)
    done = normal(undivided, division) if name == "normal" else divide(undivided, division, STRATEGIES[name])
    assert parts(done) == known[name]


# What cannot be


@pytest.mark.parametrize(
    ("by", "fewest", "expected"),
    [
        (AtRandom(), 5, "made has 4 images to divide; 5 or more are needed: add some[.]$"),
        (InBlocks(), 5, "made has 4 images to divide"),
        (InGroups(AtRandom()), 4, "made has too few scans"),
        (Shuffled(), 3, "made has 2 images to divide; 3 or more are needed"),
        (InTime(), 4, "made has 3 images, of which --test-fraction 0.2 leaves fewer than 2"),
    ],
    ids=name_of,
)
def test_too_few_to_divide(by: Strategy[Any], fewest: int, expected: str) -> None:
    division = Division(with_validation=False)
    assert all(parts(divide(data_of(fewest), division, by))[::2])
    with pytest.raises(DataError, match=expected):
        divide(data_of(fewest - 1), division, by)


def test_where_a_limit_left_too_few_it_is_named() -> None:
    with pytest.raises(DataError, match=r"made has 3 images to divide; 5 or more .* or raise --limit-train"):
        divide(data_of(20), Division(limit_train=3), AtRandom())


def test_a_division_is_that_of_the_settings_and_refuses_what_is_none() -> None:
    common = {"data": "d", "activations": ("relu",), "baseline": "relu", "seeds": (0,)}
    assert Division.of(StudySettings(**common)) == Division()
    changed = StudySettings(
        **common,
        validation_fraction=0.3,
        test_fraction=0.4,
        split_seed=5,
        limit_train=9,
        limit_test=8,
        protocol="paper",
    )
    assert Division.of(changed) == Division(0.3, 0.4, 5, False, 9, 8)
    with pytest.raises(SpecError, match="validation_fraction is 1, but must lie between 0 and 1"):
        Division(validation_fraction=1)
