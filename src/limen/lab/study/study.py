"""What ``study.json`` holds, when that is the same study, and how it grows by what is asked for later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pydantic import BaseModel, model_validator
from typing_extensions import Self

from limen.errors import StudyError
from limen.lab.rates import in_place_of, values_of
from limen.lab.records import Asked, DataFacts, Origin
from limen.lab.settings import EXTENDABLE, OF_TUNING, SelectSettings, StudySettings
from limen.lab.study.trying import budget, common


class Study(BaseModel):
    """What ``study.json`` holds."""

    settings: SelectSettings | StudySettings
    data: DataFacts
    environment: dict[str, str]
    command: str = ""
    recipe: str = ""
    """The recipe it follows, if any."""
    quick: bool = False
    """Whether the recipe was scaled down."""
    formulas: dict[str, str] = {}
    """Of each activation, because a class of the user's own may be gone when the report is made again."""
    asked: tuple[Asked, ...] = ()
    """What it began with and what was added, in this order; empty: of a version that did not note it."""
    tried: dict[str, tuple[str, ...]] = {}
    """Of each activation that is tuned the names of its trials (:mod:`.rates`), as they were suggested."""
    began_with: int | None = None
    """Trials of the tuning when it began, where it got more later: which are common to all follows from that."""

    @model_validator(mode="before")
    @classmethod
    def _with_threads(cls, value: Any) -> Any:
        """Before the threads of a run were a setting, they were as many as torch took, which was noted."""
        settings, noted = (value.get(key) for key in ("settings", "environment")) if isinstance(value, dict) else (0, 0)
        if isinstance(settings, dict) and isinstance(noted, dict) and str(noted.get("threads", "")).isdecimal():
            return {**value, "settings": {"threads_per_run": int(noted["threads"]), **settings}}
        return value

    @model_validator(mode="after")
    def _of_one_piece(self) -> Self:
        settings = self.settings
        if settings.baseline not in settings.activations:
            named = ", ".join(settings.activations)
            raise ValueError(f"the baseline {settings.baseline!r} is not among the activations {named}")
        for what, given in (("activation", settings.activations), ("seed", settings.seeds)):
            seen: set[str | int] = set()
            for one in given:
                if one in seen:
                    raise ValueError(f"the {what} {one!r} is named twice")
                seen.add(one)
        for name in (*settings.own, *(name for names in self.tried.values() for name in names)):
            values_of(name)
        return self

    @property
    def origin(self) -> Origin:
        """What its runs and costs are stored with."""
        lasting = self.settings.model_dump(mode="json", exclude=set(EXTENDABLE | OF_TUNING))
        return Origin(fingerprint=self.data.fingerprint, settings=lasting)

    @property
    def common_rates(self) -> list[dict[str, float]]:
        """What every activation is tried with first."""
        given = {"trials": self.settings.trials if self.began_with is None else self.began_with}
        return common(self.settings.model_copy(update=given))

    @property
    def common_trials(self) -> int:
        """How many of an activation's trials those are."""
        return len(self.common_rates)

    def other_than(self, origin: Origin | None) -> str:
        """How it differs from the study that something was made for; empty where it does not."""
        return difference(self.origin, self.origin if origin is None else origin)


def difference(mine: Origin, origin: Origin) -> str:
    """How the study that something was made for differs from mine; empty where it does not."""
    if mine == origin:
        return ""
    for name, value in origin.settings.items():
        if name in mine.settings and mine.settings[name] != value:
            return f"{name.replace('_', ' ')} {value!r}, where study.json says {mine.settings[name]!r}"
    if origin.fingerprint != mine.fingerprint:
        return f"data of fingerprint {origin.fingerprint[:12]}, where study.json says {mine.fingerprint[:12]}"
    return ""


def check_same(known: Study, study: Study, path: Path) -> None:
    """Raise where what is asked for now is another study than that which is in the folder."""
    before, now = ({"kind": "compare", **one.settings.model_dump()} for one in (known, study))
    before, now = (one | {"recipe": which.recipe} for one, which in ((before, known), (now, study)))
    keys = dict.fromkeys([*now, *before])
    differing = [f"{key} {before.get(key)!r} there, {now.get(key)!r} now" for key in keys if _differs(key, before, now)]
    if before["kind"] != now["kind"]:
        differing = [f"made by limen {before['kind']}"]
    if not differing and known.data.fingerprint != study.data.fingerprint:
        differing = [f"the {study.data.unit} of {study.data.name!r} have changed since"]
    if differing:
        raise StudyError(
            f"{path} holds another study ({'; '.join(differing)}); choose another --out or the same settings."
        )
    _check_tuned_alike(known.settings, study.settings)


def _check_tuned_alike(before: StudySettings, now: StudySettings) -> None:
    """Raise where some of the tuned activations alone would get more trials than the others."""
    missing = [name for name in before.activations if name not in now.activations]
    more = before.tune and (budget(now) > budget(before) or now.trial_seeds > before.trial_seeds)
    if more and missing:
        raise StudyError(
            f"more trials than before are for all activations, so that each is tuned with the same budget; add "
            f"{', '.join(missing)} to --activations, or leave --trials and --trial-seeds as they were "
            f"({budget(before)} and {before.trial_seeds})."
        )


def _differs(key: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    if key in EXTENDABLE or (key in OF_TUNING and not before.get("tune")):
        return False
    return bool(before.get(key) != now.get(key))


def asked_now(activations: Iterable[str], seeds: Iterable[int]) -> Asked:
    """What is asked for, with its date."""
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return Asked(when=now, activations=tuple(activations), seeds=tuple(seeds))


def grown(known: Study, study: Study) -> Study:
    """The study that was here with what is asked for now."""
    before, now = known.settings, study.settings
    union = {
        "activations": tuple(dict.fromkeys([*before.activations, *now.activations])),
        "seeds": tuple(sorted({*before.seeds, *now.seeds})),
        # What may be looked at after every seed stays so.
        "margin": before.margin if now.margin is None else now.margin,
        "own": in_place_of(before.own, now.own),
        "trials": _most_trials(before, now),
        "trial_seeds": max(before.trial_seeds, now.trial_seeds),
        "max_seeds": max((most for most in (before.max_seeds, now.max_seeds) if most is not None), default=None),
    }
    activations = [name for name in now.activations if name not in before.activations]
    seeds = [seed for seed in now.seeds if seed not in before.seeds]
    asked = known.asked
    if activations or seeds:
        began = known.asked or (Asked(when="", activations=before.activations, seeds=before.seeds),)
        asked = (*began, asked_now(activations, seeds))
    grown = {
        "settings": now.model_copy(update=union),
        "formulas": {**known.formulas, **study.formulas},
        "asked": asked,
        "tried": known.tried,
        "began_with": known.began_with if known.began_with is not None else _began_with(before, now),
    }
    return study.model_copy(update=grown)


def _most_trials(before: StudySettings, now: StudySettings) -> int | None:
    """As many as ever were asked for; None for as many as there are by default."""
    tuned = [one for one in (before, now) if one.tune]
    return None if all(one.trials is None for one in tuned) else max(map(budget, tuned))


def _began_with(before: StudySettings, now: StudySettings) -> int | None:
    """The trials that a tuning had before it got more."""
    return budget(before) if before.tune and now.tune and budget(now) > budget(before) else None
