"""What a claim is. The claims of the papers are data: ``published/claims.toml``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from limen.errors import SpecError, suggest
from limen.lab.papers.recipe import PUBLISHED

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CLAIMS = PUBLISHED / "claims.toml"

Kind = Literal["order", "best", "value", "convergence", "layer", "share", "depth", "formula", "untested"]
NEEDS: Mapping[str, tuple[str, ...]] = {
    "order": ("recipe", "one", "than"),
    "best": ("recipe", "one", "than"),
    "value": ("recipe", "one", "at_least"),
    "convergence": ("recipe", "one", "than"),
    "layer": ("recipe", "layers", "extreme"),
    "share": ("recipe", "layers", "candidates"),
    "depth": ("recipe", "layers", "candidates"),
    "formula": ("check",),
    "untested": ("why",),
}
"""The fields without which a claim of a kind cannot be tested."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Paper(_Strict):
    """A paper whose claims are listed."""

    title: str
    source: str
    known: str
    """How much of it was available to us."""


class Claim(_Strict):
    """One statement of a paper, in our words, and what tests it.

    ``order``: the network ``one`` does better than each of ``than``; ``best``: the same of all of them together;
    ``value``: it reaches ``at_least``; ``convergence``: it reaches a loss in fewer epochs; ``layer``: the published
    candidate of a layer has the largest or least weight; ``share``: candidates weigh less than an equal share, or
    more where ``extreme`` is ``largest``; ``depth``: a candidate weighs more in the last of ``layers`` than in the
    first; ``formula``: a property of the formula; ``untested``: with the reason.
    """

    id: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    paper: str
    words: str = ""
    source: str
    kind: Kind
    recipe: str = ""
    one: str = ""
    than: tuple[str, ...] = ()
    metric: str = ""
    """Where it is not the measure of the recipe's task."""
    published: str = ""
    """The published number as text, where the recipe's published table does not have it."""
    data: str = ""
    """The paper's data, where the recipe's published table does not say it."""
    at_least: float | None = None
    """Of a metric of which less is better: at most."""
    layers: tuple[int, ...] = ()
    """Counted from 1."""
    extreme: Literal["largest", "least", ""] = ""
    candidates: tuple[str, ...] = ()
    check: str = ""
    """A function of :mod:`limen.lab.papers.ledger.formulas`."""
    why: str = ""
    """Why it is not tested here; of another kind, what must be known beside the verdict."""

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> Claim:
        needed = (*NEEDS[self.kind], *(() if self.kind == "layer" else ("words",)))
        missing = [name for name in needed if getattr(self, name) in ("", (), None)]
        if missing:
            raise ValueError(f"a claim of kind {self.kind!r} needs {', '.join(missing)}")
        if self.one in self.than:
            raise ValueError(f"{self.one!r} is compared with itself")
        return self


class Ledger(_Strict):
    """The papers and their claims, in the order of the page."""

    papers: dict[str, Paper]
    claims: tuple[Claim, ...]

    @model_validator(mode="after")
    def _papers_are_listed_and_ids_differ(self) -> Ledger:
        seen: set[str] = set()
        for claim in self.claims:
            if claim.paper not in self.papers:
                raise ValueError(f"{claim.id}: the paper {claim.paper!r} is not one of {', '.join(self.papers)}")
            if claim.id in seen:
                raise ValueError(f"two claims are called {claim.id!r}")
            seen.add(claim.id)
        return self

    @property
    def recipes(self) -> tuple[str, ...]:
        """The recipes that test a claim."""
        return tuple(dict.fromkeys(claim.recipe for claim in self.claims if claim.recipe))

    def of(self, paper: str) -> Ledger:
        """The claims of one paper.

        Raises:
            SpecError: if there is none of this name.
        """
        if paper not in self.papers:
            raise SpecError(f"no paper is called {paper!r}. {suggest(paper, self.papers)}")
        return Ledger(papers=self.papers, claims=tuple(claim for claim in self.claims if claim.paper == paper))


def load(path: Path = CLAIMS) -> Ledger:
    """The claims of the papers.

    >>> load().papers["adact"].source
    'ICLR 2024 Tiny Papers, OpenReview M7d5k4AxCE'

    Raises:
        SpecError: naming the claim and the field that is wrong.
    """
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecError(f"the claims {path} are not TOML: {error}.") from None
    try:
        return Ledger(**values)
    except ValidationError as error:
        problem = error.errors()[0]
        raise SpecError(f"the claims {path}: {_where(problem['loc'], values)}: {problem['msg'].lower()}.") from None


def _where(place: tuple[int | str, ...], values: Mapping[str, Any]) -> str:
    """The claim's own name in the place of its number."""
    if len(place) > 1 and place[0] == "claims" and isinstance(place[1], int):
        name = values["claims"][place[1]].get("id", f"claim {place[1] + 1}")
        return ".".join([str(name), *map(str, place[2:])])
    return ".".join(map(str, place)) or "the file"
