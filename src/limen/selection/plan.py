"""A plan: the chosen activation of every site of a model, as readable, versioned JSON."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limen.errors import PlanError
from limen.reading import read_whole
from limen.selection.checks import Fields
from limen.selection.choice import Choice
from limen.writing import write_atomically

FORMAT = "limen.plan"
VERSIONS = {1: ("largest", "grouped"), 2: ("harvested",)}
"""The rules that came with each version. A plan is written in that of its rule, so that older readers read it."""
LARGEST = 2**26
"""Bytes of a plan's file."""
RULES = VERSIONS[1]
"""By which a mixture's winner is chosen."""
HARVESTED = "harvested"
"""The rule of a plan that holds what activations have learned, and chose nothing."""


@dataclass(frozen=True)
class Plan:
    """The chosen activation of every site of a model.

    >>> import limen, torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU())
    >>> report = limen.swap_(model, lambda: limen.AdAct(("relu", "silu")))
    >>> with torch.no_grad():
    ...     _ = model[1].logits.copy_(torch.tensor([0.0, 1.0]))
    >>> print(limen.select(model))
    1 site, 1 seed, the candidate with the largest weight
      1: silu 0.73, then relu (margin +0.4621, entropy 0.84, one seed)
    One seed cannot tell a margin from noise; select over several networks trained with different seeds.
    """

    sites: tuple[Choice, ...]
    rule: str = "largest"
    """``largest``: the largest single weight, as the paper; ``grouped``: two-line candidates count as one;
    ``harvested``: no choice, but learned values (:func:`limen.harvest`)."""

    @property
    def seeds(self) -> int:
        """How many networks the choice was made from."""
        return len(self.sites[0].seeds) if self.sites else 0

    @property
    def winners(self) -> dict[str, str]:
        """The winner of each site, by the site's path."""
        return {site.path: site.winner for site in self.sites}

    def warnings(self) -> list[str]:
        """What must be known before believing the plan, in sentences.

        >>> import limen, torch
        >>> limen.select(torch.nn.Sequential(limen.AdAct())).warnings()[-1][:25]
        'One seed cannot tell a ma'
        """
        if self.rule == HARVESTED:
            from limen.selection.learned import (
                disagreements,  # with torch, which whoever only reads a plan can do without
            )

            return [warning for site in self.sites for warning in disagreements(site)]
        one = "One seed cannot tell a margin from noise; select over several networks trained with different seeds."
        return [w for site in self.sites for w in site.warnings()] + ([one] if self.seeds == 1 else [])

    def __str__(self) -> str:
        if self.rule == HARVESTED:
            head = f"{_counted(len(self.sites), 'site')}, learned by {_counted(self.seeds, 'model')}"
            from limen.selection.learned import line  # with torch

            return "\n".join([head, *(f"  {line(site)}" for site in self.sites), *self.warnings()])
        how = "the candidate with the largest weight" if self.rule == "largest" else "candidates of one shape grouped"
        lines = [f"{_counted(len(self.sites), 'site')}, {_counted(self.seeds, 'seed')}, {how}"]
        return "\n".join([*lines, *(f"  {site}" for site in self.sites), *self.warnings()])

    def as_dict(self) -> dict[str, Any]:
        """The stored form, plain data.

        >>> import limen, torch
        >>> limen.select(torch.nn.Sequential(limen.AdAct())).as_dict()["format"]
        'limen.plan'
        """
        version = next(number for number, rules in VERSIONS.items() if self.rule in rules)
        head = {"format": FORMAT, "version": version, "rule": self.rule, "warnings": self.warnings()}
        return {**head, "sites": [site.as_dict() for site in self.sites]}

    @classmethod
    def from_dict(cls, value: Any, where: str = "the plan") -> Plan:
        """Read the stored form, every field checked.

        Raises:
            PlanError: naming the field that is missing, unknown or out of range.

        >>> import limen, torch
        >>> plan = limen.select(torch.nn.Sequential(limen.AdAct()))
        >>> Plan.from_dict(plan.as_dict()) == plan
        True
        """
        fields = Fields(value, where, ignored=frozenset({"warnings"}))
        if fields.text("format") != FORMAT:
            raise PlanError(f"{where} is not a plan: its format is {value['format']!r}, and {FORMAT!r} is read.")
        version = fields.whole("version")
        rule = fields.text("rule")
        rules = VERSIONS.get(version, ())
        if not rules or (rule not in rules and any(rule in others for others in VERSIONS.values())):
            raise PlanError(
                f"{where} has version {version}, and this limen reads version 1, and 2 of harvested plans; update "
                "limen."
            )
        if rule not in rules:
            raise PlanError(f"{where}: the rule {rule!r} is not one of {', '.join(rules)}.")
        sites = tuple(Choice.from_dict(site, f"{where}, site {n}") for n, site in enumerate(fields.items("sites")))
        fields.nothing_else()
        if not sites or len({len(site.seeds) for site in sites}) > 1:
            raise PlanError(f"{where}: there must be sites, each with the same number of seeds.")
        if len({site.path for site in sites}) < len(sites):
            raise PlanError(f"{where}: a site is named twice.")
        return cls(sites, rule)

    def as_json(self) -> str:
        """The stored form as text.

        >>> import limen, torch
        >>> print(limen.select(torch.nn.Sequential(limen.AdAct())).as_json()[:25])
        {
         "format": "limen.plan"
        """
        return json.dumps(self.as_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the plan as JSON, in UTF-8, whole or not at all; folders that are missing are made.

        Raises:
            OSError: if the file cannot be written.

        >>> import limen, tempfile, torch
        >>> plan = limen.select(torch.nn.Sequential(limen.AdAct()))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     plan.save(f"{folder}/plan.json")
        ...     Plan.load(f"{folder}/plan.json") == plan
        True
        """
        write_atomically(Path(path), self.as_json())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Plan:
        """Read a plan that :meth:`save` wrote.

        Raises:
            PlanError: if it cannot be read or is not a plan, with what is wrong.

        >>> Plan.load("nowhere.json")
        Traceback (most recent call last):
        limen.errors.PlanError: nowhere.json cannot be read (...); give a file that Plan.save wrote.
        """
        try:
            content = read_whole(Path(path), LARGEST, PlanError)
        except OSError as error:
            raise PlanError(
                f"{os.fspath(path)} cannot be read ({error.strerror or error}); give a file that Plan.save wrote."
            ) from None
        try:
            value = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise PlanError(f"{os.fspath(path)} is not JSON ({error}); give a file that Plan.save wrote.") from None
        return cls.from_dict(value, os.fspath(path))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
