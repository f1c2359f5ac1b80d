"""``limen swap``: the sites as tables and as JSON."""

from __future__ import annotations

from helpers_lab import Command


def test_swap_prints_tables(run: Command) -> None:
    outcome = run("swap", "resnet20", "--to", "asau", "--keep", "blocks.0.*", "--num-parameters", "channel")
    assert outcome.code == 0
    assert "17 replaced, 2 kept, 0 not reached" in outcome.out
    assert "_resnet.py:" in outcome.out
    assert "num_parameters=64" in " ".join(outcome.out.split())
    assert max(map(len, outcome.out.splitlines())) <= 80


def test_swap_as_json(run: Command) -> None:
    outcome = run("swap", "resnet20", "--to", "asau:beta=2", "--where", "stem.*", "--json")
    assert outcome.code == 0
    assert [site["path"] for site in outcome.json["sites"]] == ["stem.2"]
    assert len(outcome.json["skipped"]) == 18
    for wrong in (["--where", "stam.*"], ["--share", "all"], ["--num-parameters", "many"]):
        assert run("swap", "resnet20", "--to", "asau", *wrong).code == 2
