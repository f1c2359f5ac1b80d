"""How many cores there are: the machine's, those a process is bound to, or its container's share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from limen.lab.executing import capacity


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("150000 100000", 2), ("200000 100000", 2), ("50000 100000", 1), ("900000 100000", 8), ("max 100000", 8), ("", 8)],
)
def test_a_containers_share_is_rounded_up_and_no_more_than_there_are(
    quota: str, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(capacity, "_QUOTA", tmp_path / "cpu.max")
    (tmp_path / "cpu.max").write_text(quota)
    assert capacity.cores() == cores


@pytest.mark.parametrize(("count", "cores"), [(6, 6), (None, 1)])
def test_where_no_process_is_bound_the_machines_cores_count(
    count: int | None, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    monkeypatch.setattr(capacity, "_QUOTA", tmp_path / "missing")
    assert capacity.cores() == cores
