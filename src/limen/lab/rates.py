"""What runs at rates of their own are called: the activation's spec, then the settings that differ for it.

The name holds all that makes such a run another than the study's settings, so whatever keeps runs by their names keeps
these too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

SETTINGS = {"lr": "learning_rate", "weight-decay": "weight_decay", "activation-lr": "activation_lr"}
"""What can be tuned, as it is written, and the setting that it is."""
_WORDS = {setting: word for word, setting in SETTINGS.items()}
_AT = " @ "
_NUMBER = re.compile(r"[0-9.]+(e[+-]?[0-9]+)?")


def name_of(activation: str, values: Mapping[str, float]) -> str:
    """The name of an activation's runs with these settings.

    >>> name_of("asau:beta=2", {"learning_rate": 0.00316, "weight_decay": 0.0})
    'asau:beta=2 @ lr=0.00316,weight-decay=0.0'
    """
    return activation + _AT + ",".join(f"{_WORDS[setting]}={value!r}" for setting, value in values.items())


def activation_of(name: str) -> str:
    """The activation whose runs have this name.

    >>> activation_of("asau:beta=2 @ lr=0.00316"), activation_of("relu")
    ('asau:beta=2', 'relu')
    """
    return name.partition(_AT)[0]


def values_of(name: str) -> dict[str, float]:
    """The settings that a name holds: :func:`name_of` undone.

    >>> values_of("relu @ lr=0.01,activation-lr=0.001"), values_of("relu")
    ({'learning_rate': 0.01, 'activation_lr': 0.001}, {})
    >>> values_of("relu @ speed=1")
    Traceback (most recent call last):
    ValueError: 'relu @ speed=1' is no name of runs at rates of their own
    """
    found = {}
    for part in name.partition(_AT)[2].split(",") if _AT in name else ():
        word, _, value = part.partition("=")
        if word not in SETTINGS or not _NUMBER.fullmatch(value):
            raise ValueError(f"{name!r} is no name of runs at rates of their own")
        found[SETTINGS[word]] = float(value)
    return found


def in_place_of(given: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """The given names, of each activation the last.

    >>> in_place_of(("relu @ lr=0.1",), ("asau @ lr=0.01",))
    ('relu @ lr=0.1', 'asau @ lr=0.01')
    """
    return tuple({activation_of(name): name for name in (*given, *names)}.values())
