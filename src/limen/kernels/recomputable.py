"""What a compiled program computes again instead of keeping it: results of kernels, where it would do so with torch's.

``torch.compile`` keeps for the backward pass as little as it can, and computes again what lies between. Of operators it
so treats those of torch that go element by element, and no others. So a call of ours is marked where it would be
computed again if it were one of these: where nothing in the backward pass needs its result whole in memory.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import torch
from torch.fx import Node

from limen.kernels.bound import ALWAYS

_VIEWS = frozenset({"view", "_unsafe_view", "reshape", "permute", "transpose", "t", "alias", "detach", "expand",
                    "unsqueeze", "squeeze", "slice", "select", "split", "split_with_sizes"})  # fmt: skip
_CHEAP = frozenset({"cat", "add", "sub", "div", "maximum", "index", "gather"})
"""What the partitioner takes for element by element, beside all that is tagged so."""
_ALIASES = frozenset({"alias", "detach"})


def mark(forward: Any, backward: Any) -> None:
    """Mark the call of ``forward`` whose gradient was just asked of ``backward``, in the program being written down.

    By then all that uses its result is written down: gradients are asked for from the end.
    """
    mode: Any = torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.PROXY)
    if mode is None:
        return
    last = next((node for node in reversed(mode.tracer.graph.nodes) if node.target is backward), None)
    for call in () if last is None else tuple(_calls(forward, last)):
        result = next((user for user in call.users if user.target is operator.getitem and user.args[1] == 0), None)
        if result is not None and (ALWAYS in str(call.args[0]) or not any(map(_needs_whole, _uses(result)))):
            from torch.utils.checkpoint import CheckpointPolicy

            call.meta["recompute"] = result.meta["recompute"] = CheckpointPolicy.PREFER_RECOMPUTE


def _calls(forward: Any, last: Node) -> Iterator[Node]:
    """The calls of ``forward`` with the arguments that ``last`` was given after the gradient."""
    given = last.all_input_nodes[1:]
    known = set(map(_origin, given))
    for x in _behind_aliases(given[0]):
        for user in x.users:
            same = user.target is forward and user.args[0] == last.args[0]
            if same and known >= {*map(_origin, user.all_input_nodes)}:
                yield user


def _behind_aliases(node: Node) -> Iterator[Node]:
    """The node, and those that it is another name of."""
    yield node
    while _name(node) in _ALIASES:
        node = node.all_input_nodes[0]
        yield node


def _origin(node: Node) -> Node:
    return list(_behind_aliases(node))[-1]


def _uses(node: Node) -> Iterator[Node]:
    """What uses a result, or a view of it."""
    for user in node.users:
        if _name(user) in _VIEWS:
            yield from _uses(user)
        else:
            yield user


def _needs_whole(user: Node) -> bool:
    """Whether a use belongs to the backward pass and is more than a step element by element."""
    if user.meta.get("partitioner_tag") == "is_forward":
        return False
    return torch.Tag.pointwise not in getattr(user.target, "tags", ()) and _name(user) not in _CHEAP


def _name(node: Node) -> str:
    """What torch calls an operator of its own."""
    packet = getattr(node.target, "overloadpacket", None)
    return packet.__name__ if packet is not None and node.target.namespace == "aten" else ""  # type: ignore[union-attr]
