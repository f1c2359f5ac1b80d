"""Reading JSON that a person may have edited: every field by name and type, and nothing unknown."""

from __future__ import annotations

import math
from typing import Any

from limen.errors import PlanError


class Fields:
    """The fields of one JSON object, each read once; :meth:`nothing_else` then refuses what is left."""

    def __init__(self, value: Any, where: str, ignored: frozenset[str] = frozenset()) -> None:
        if not isinstance(value, dict):
            raise PlanError(f"{where} must be a JSON object, and it is {type(value).__name__}.")
        self.value, self.where, self.read = value, where, set(ignored)

    def text(self, name: str) -> str:
        """A string."""
        return self._typed(name, str, "a text")  # type: ignore[no-any-return]

    def whole(self, name: str) -> int:
        """A whole number."""
        return self._typed(name, int, "a whole number")  # type: ignore[no-any-return]

    def items(self, name: str) -> list[Any]:
        """A list of anything."""
        return self._typed(name, list, "a list")  # type: ignore[no-any-return]

    def numbers(self, name: str) -> dict[str, float]:
        """A mapping of names to finite numbers."""
        return self._numbers(self._typed(name, dict, "an object"), name)

    def texts(self, name: str) -> dict[str, str]:
        """A mapping of names to strings."""
        found = self._typed(name, dict, "an object")
        for value in found.values():
            if not isinstance(value, str):
                raise PlanError(f"{self.where}: {name!r} must hold texts, and it has {value!r}.")
        return dict(found)

    def number_lists(self, name: str) -> dict[str, tuple[float, ...]]:
        """A mapping of names to lists of finite numbers."""
        found = self._typed(name, dict, "an object")
        return {key: tuple(self._number(v, name) for v in self._list(item, name)) for key, item in found.items()}

    def nothing_else(self) -> None:
        """Refuse a field that was not read."""
        for name in self.value:
            if name not in self.read:
                raise PlanError(f"{self.where} has an unknown field {name!r}; known: {', '.join(sorted(self.read))}.")

    def _typed(self, name: str, kind: type, said: str) -> Any:
        if name not in self.value:
            raise PlanError(f"{self.where} lacks the field {name!r}.")
        self.read.add(name)
        value = self.value[name]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise PlanError(f"{self.where}: {name!r} must be {said}, and it is {value!r}.")
        return value

    def _numbers(self, value: Any, name: str) -> dict[str, float]:
        if not isinstance(value, dict):
            raise PlanError(f"{self.where}: {name!r} must hold objects of numbers, and it has {value!r}.")
        return {key: self._number(item, name) for key, item in value.items()}

    def _list(self, value: Any, name: str) -> list[Any]:
        if not isinstance(value, list):
            raise PlanError(f"{self.where}: {name!r} must hold lists of numbers, and it has {value!r}.")
        return value

    def _number(self, value: Any, name: str) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise PlanError(f"{self.where}: {name!r} must hold finite numbers, and it has {value!r}.")
        return float(value)
