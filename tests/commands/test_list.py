"""``limen list`` names everything that can be named."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
from helpers_lab import Command

import limen
from limen import catalogue
from limen.activations.describe import entry
from limen.errors import SpecError
from limen.lab import data, networks


def test_list_names_everything(run: Command) -> None:
    outcome = run("list")
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert set(limen.names()) <= set(lines)
    assert f"networks: {', '.join(networks.NETWORKS)}" in outcome.out
    assert all(name in lines[-1] for name in data.names())


def test_list_as_json(run: Command) -> None:
    outcome = run("list", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    found = outcome.json
    assert [item["name"] for item in found["activations"]] == list(limen.names())
    assert all(item["formula"] and item["source"] for item in found["activations"])
    asau = next(item for item in found["activations"] if item["name"] == "asau")
    assert asau["parameters"] == {"alpha": 1.0, "beta": 1.0}
    assert asau["settings"] == {"a": 0.01, "b": 1.0}
    assert found["networks"] == list(networks.NETWORKS)
    assert found["data"] == list(data.names())


def test_list_names_what_others_registered(run: Command) -> None:
    @limen.register("mine")
    class Mine(limen.Activation):
        """Mine."""

        @staticmethod
        def formula(x: Any) -> Any:
            return x

    assert "mine" in run("list").out.splitlines()


def test_the_table_says_what_the_classes_say() -> None:
    """Else: python -m limen.activations.describe."""
    told = json.loads(catalogue.FILE.read_text(encoding="utf-8"))
    assert told == json.loads(json.dumps([asdict(entry(name)) for name in limen.names()]))


@pytest.mark.parametrize("spec", ["asua", "asau:bta=1", "adact:candidate=relu", "relu:learned=none", "asau:beta"])
def test_the_table_refuses_as_the_classes_do(spec: str) -> None:
    with pytest.raises(SpecError) as known:
        limen.create(spec)
    with pytest.raises(SpecError) as foreseen:
        catalogue.check_spec(spec)
    assert str(foreseen.value) == str(known.value)
