"""JSON of anyone's, as far as it fits into memory."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from limen.errors import DataError
from limen.memory import require_memory

LARGEST_JSON = 2**29
"""Bytes. COCO's own annotations have 448 million."""
_VALUE, _LIST, _OBJECT = 40, 96, 240
"""Bytes of memory that a number or a text, a list and an object take beside what they hold, in CPython."""


def parsed_json(content: bytes, where: str) -> Any:
    """What a file holds; ``where`` names it in errors."""
    if len(content) > LARGEST_JSON:
        raise DataError(f"{where} has {len(content):,} bytes, more than the {LARGEST_JSON:,} allowed.")
    needed = _VALUE * content.count(b",") + _LIST * content.count(b"[") + _OBJECT * content.count(b"{")
    require_memory(needed + 4 * len(content), f"reading {where}", "give a part of it")
    try:
        return json.loads(content, object_pairs_hook=_without_twins)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not JSON ({str(error)[:200]}); replace or remove it.") from error


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key {twice[:40]!r} stands twice in an object")
    return found
