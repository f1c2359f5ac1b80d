"""Example inputs are read as the docstring of swap_ says, whatever the forward looks like."""

from __future__ import annotations

import functools
from collections import OrderedDict, UserDict
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

import limen
from limen.errors import LimenError

X, Y = torch.randn(2, 3), torch.randn(2, 3)


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.act = nn.Linear(3, 3), nn.ReLU()

    def forward(self, x):
        return self.act(self.layer(x))


class Two(Layer):
    def forward(self, x, y):
        return self.act(self.layer(x) + y)


class Optional(Layer):
    def forward(self, x, scale=None):
        return self.act(self.layer(x) * (1 if scale is None else scale))


class ByName(Layer):
    def forward(self, x, *, y):
        return self.act(self.layer(x) - y)


class ByPosition(Layer):
    def forward(self, x, /, y=2.0):
        return self.act(self.layer(x) - y)


class Anything(Layer):
    """Several children, so that only running tells what it takes."""

    def forward(self, *args, **kwargs):
        return self.act(self.layer(args[0] if args else kwargs["x"]) + (args[1] if args else kwargs["y"]))


class Scaling(nn.Module):
    """Its only child takes less than itself."""

    def __init__(self):
        super().__init__()
        self.inner = Layer()

    def forward(self, x, scale=None):
        return self.inner(x) * (1 if scale is None else scale)

    @property
    def act(self):
        return self.inner.act


class Wrapper(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, *args, **kwargs):
        return self.inner(*args, **kwargs)


class Stacked(Layer):
    """Takes a list of tensors, as detectors take images."""

    def forward(self, images):
        assert isinstance(images, (list, tuple))
        return self.act(self.layer(torch.stack(list(images))))


class Table(Layer):
    """Takes a mapping."""

    def forward(self, batch):
        return self.act(self.layer(batch["x"]) + batch["y"])


def logged(forward):
    @functools.wraps(forward)
    def logging(self, *args, log=False, **kwargs):
        return forward(self, *args, **kwargs)

    return logging


class Decorated(Two):
    forward = logged(Two.forward)


class Pair(NamedTuple):
    x: Any
    y: Any


@dataclass
class Record:
    x: Any
    y: Any


class TakesRecord(Layer):
    def forward(self, record):
        return Record(self.act(self.layer(record.x) + record.y), record)


class Packed(Layer):
    def forward(self, packed):
        return PackedSequence(self.act(self.layer(packed.data)), *packed[1:])


NAMED = {"x": X, "y": Y}
GOOD = {
    "a tensor": (Layer, X),
    "a tuple": (Two, (X, Y)),
    "a tuple in a list": (Two, [(X, Y)]),
    "a list in a list": (Two, [[X, Y]]),
    "several batches": (Two, [(X, Y), {"x": Y, "y": X}]),
    "a generator of batches": (Two, ((x, Y) for x in (X, Y))),
    "a mapping": (Two, NAMED),
    "mappings of other classes": (Two, [UserDict(NAMED), OrderedDict(NAMED)]),
    "labels": (Layer, [(X, torch.tensor([1, 0]))]),
    "labels as a loader collates them": (Layer, [[X, torch.tensor([1, 0])], [Y, torch.tensor([1, 0])]]),
    "one tensor as a loader collates it": (Layer, [[X]]),
    "a default left out": (Optional, (X,)),
    "a default given": (Optional, (X, 2.0)),
    "the same by either reading": (Optional, [(X, 1)]),
    "labels that the second argument cannot be": (Optional, [(X, "cat")]),
    "by name alone": (ByName, NAMED),
    "by position alone": (ByPosition, {"x": X, "y": 1.0}),
    "anything by position": (Anything, (X, Y)),
    "anything by position in a list": (Anything, [(X, Y)]),
    "anything by name": (Anything, NAMED),
    "a wrapper": (lambda: Wrapper(Two()), (X, Y)),
    "a wrapper in a list": (lambda: Wrapper(Wrapper(Two())), [(X, Y)]),
    "a wrapper with labels": (lambda: Wrapper(Layer()), [(X, torch.tensor([1, 0]))]),
    "DataParallel": (lambda: nn.DataParallel(Two()), [(X, Y)]),
    "decorated": (Decorated, [(X, Y)]),
    "an argument of the decorator's": (Decorated, {**NAMED, "log": True}),
    "a list as the argument": (Stacked, ([X, Y],)),
    "a list as the argument in a list": (Stacked, [([X, Y],)]),
    "a list as the argument in a loader's": (Stacked, [[X, Y]]),
    "a list as the argument by name": (Stacked, [{"images": [X, Y]}]),
    "a tuple as the argument": (Stacked, ((X, Y),)),
    "a mapping as the argument": (Table, NAMED),
    "mappings as the argument": (Table, [NAMED, (NAMED,), {"batch": NAMED}]),
    "a named tuple of arguments": (Two, Pair(X, Y)),
    "a named tuple as the argument": (TakesRecord, Pair(X, Y)),
    "an object of a data class": (TakesRecord, Record(X, Y)),
    "objects of a data class": (TakesRecord, [Record(X, Y), (Record(X, Y),)]),
    "a packed sequence": (Packed, pack_sequence([X, Y])),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_examples_are_read_as_the_docstring_says(name):
    build, given = GOOD[name]
    report = limen.swap_(build(), "swish", example_inputs=given)
    assert len(report.sites) == 1
    assert report.drift > 0


@pytest.mark.slow
def test_a_compiled_model_takes_what_it_takes_uncompiled():
    report = limen.swap_(nn.DataParallel(torch.compile(Two(), backend="eager")), "swish", example_inputs=[(X, Y)])
    assert report.drift > 0


def test_batch_statistics_are_estimated_on_the_same_arguments():
    model = Two()
    model.layer = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    report = limen.swap_(model, "swish", example_inputs=[(X, Y), (Y, X)], reestimate_batch_norm=True)
    assert report.renormalised == 1
    assert limen.swap_(model, "asau", example_inputs=[(X, Y)]).renormalised == 0
    with torch.no_grad():
        means = [model.layer[0](x).mean(0) for x in (X, Y)]
    torch.testing.assert_close(model.layer[1].running_mean, sum(means) / 2)


BAD = {
    "two readings": (Optional, [(X, Y)], r"model\(Tensor\[2, 3\], Tensor\[2, 3\]\) or as model\(Tensor\[2, 3\]\)"),
    "two readings of which a child takes one": (Scaling, [(X, Y)], r"2, 3\]\) or as model\(Tensor\[2, 3\]\)"),
    "one tensor for two": (Two, X, r"holds 1 argument, and the model's forward\(x, y\) does not.*'y'"),
    "a list of one tensor for two": (Two, [X], r"holds 1 argument, "),
    "three for two": (Two, [(X, Y, X)], r"holds 3 arguments, .* too many"),
    "a name that is not known": (Two, {**NAMED, "z": X}, r"holds 3 arguments, .*'z'"),
    "images without a tuple": (Stacked, [X, Y], r"called as model\(Tensor\[2, 3\]\).*goes into a tuple: \(x,\)"),
    "a wrong shape": (Layer, torch.ones(2, 4), r"raised RuntimeError: mat1 and.* as model\(Tensor\[2, 4\]\)"),
    "no reading runs": (Anything, [(torch.ones(4, 4), torch.ones(1))], r"raises RuntimeError.*; model\(.*raises"),
    "text": (Layer, "text", "and str was given"),
    "a number": (Layer, 3, "and int was given"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_is_refused_in_a_sentence(name):
    build, given, words = BAD[name]
    model = build()
    with pytest.raises(LimenError, match=words) as caught:
        limen.swap_(model, "swish", example_inputs=given)
    assert "\n" not in str(caught.value)
    assert type(model.act) is nn.ReLU


class Overwriting(Layer):
    def forward(self, x):
        return self.act(self.layer(x.add_(1)))


def test_examples_stay_as_they_were():
    x = X.clone()
    limen.swap_(Overwriting(), "swish", example_inputs=x)
    limen.swap_(Overwriting(), "swish", example_inputs=[{"x": x}], warm_start=True)
    assert torch.equal(x, X)
