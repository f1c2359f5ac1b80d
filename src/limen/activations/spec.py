"""The spec of an activation that exists: what ``create`` needs to build another one like it."""

from __future__ import annotations

from typing import Any

from torch import nn

from limen.activations.base import Activation
from limen.activations.fields import Param
from limen.activations.mixture import PAPER_CANDIDATES, AdAct
from limen.activations.registry import name_of, names
from limen.errors import SpecError

SHARED = ("num_parameters", "group_size", "channel_dim", "memory")
"""What candidates take from their mixture, or have no use for in one."""


def spec_of(activation: Activation) -> str:
    """The spec that builds an activation anew, with its initial values and only what differs from the defaults.

    >>> from limen.activations import ASAU, PReLU
    >>> spec_of(ASAU(beta=2.0, num_parameters=8)), spec_of(PReLU())
    ('asau:beta=2.0,num_parameters=8', 'prelu')
    >>> spec_of(AdAct(("relu", "swish:beta=2")))
    'adact:candidates=relu+swish:beta=2.0'

    Raises:
        SpecError: for a class that is not registered, or a value that a spec cannot say.
    """
    name = name_of(activation)
    if name not in names():
        raise SpecError(
            f"{name} has no name to be built by; decorate the class with @limen.register before it is selected."
        )
    arguments = [f"{key}={_written(name, value)}" for key, value in _differing(activation).items()]
    return f"{name}:{','.join(arguments)}" if arguments else name


def _differing(activation: Activation) -> dict[str, Any]:
    found = _candidates(activation) if isinstance(activation, AdAct) else {}
    for name, field in activation.fields.items():
        if field.settable:
            value = activation.initial[name] if isinstance(field, Param) else getattr(activation, name)
            if value != field.default:
                found[name] = value
    learned = tuple(name for name in activation.params if isinstance(getattr(activation, name), nn.Parameter))
    usual = tuple(n for n, field in activation.fields.items() if isinstance(field, Param) and field.learned)
    if learned != usual:
        found["learned"] = learned or False
    if activation.num_parameters != 1:
        found["num_parameters"] = activation.num_parameters
    if activation.group_size != 1:
        found["group_size"] = activation.group_size
    if activation.channel_dim != 1:
        found["channel_dim"] = activation.channel_dim
    if activation.memory != "exact":
        found["memory"] = activation.memory
    return found


def _candidates(mixture: AdAct) -> dict[str, Any]:
    """A mixture's candidates where they are not the paper's, each with what it does not share with the mixture."""
    specs = []
    for member in mixture.members:
        own = {key: value for key, value in _differing(member).items() if key not in SHARED}
        name = name_of(member)
        spec = f"{name}:{','.join(f'{key}={_written(name, value)}' for key, value in own.items())}" if own else name
        if "," in spec or "+" in spec:
            raise SpecError(f"a spec cannot say the candidate {spec!r} of a mixture.")
        specs.append(spec)
    return {} if tuple(specs) == PAPER_CANDIDATES else {"candidates": tuple(specs)}


def _written(owner: str, value: Any) -> str:
    """A value as ``parse`` reads it back."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return value
    if isinstance(value, tuple) and all(isinstance(item, str) for item in value):
        return "+".join(value)
    raise SpecError(f"a spec cannot say {owner}'s {value!r}.")
