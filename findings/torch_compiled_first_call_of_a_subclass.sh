#!/usr/bin/env bash
# torch 2.13.0: a compiled module that is given a tensor of a class of its own, with a __torch_function__ and nothing else,
# raises a TypeError when it is first called, and works from the second call on.
#
# In the first call of a compiled program torch looks for operators whose results alias what they were given, by a mode that
# answers NotImplemented for every class but Tensor, Parameter and FakeTensor; no later call has that mode. Instead: name
# the class in torch._dynamo.config.nontraceable_tensor_subclasses, and such operators run uncompiled.
#
# Seen: torch 2.13.0:
#   call 1: Multiple dispatch failed for 'torch._ops.aten.addmm.default'
#   call 2: Tensor
"$(dirname "$0")/with_packages" torch==2.13.0 numpy==2.4.6 <<'PYTHON'
import torch
from torch import nn


class Noted(torch.Tensor):
    """A tensor of a class of its own, on which every operator gives an ordinary one."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        with torch._C.DisableTorchFunctionSubclass():
            return function(*args, **(kwargs or {}))


compiled = torch.compile(nn.Linear(8, 4), backend="aot_eager")
seen = []
for call in (1, 2):
    x = torch.randn(3, 8, requires_grad=True).as_subclass(Noted)
    try:
        seen.append(type(compiled(x)).__name__)
    except TypeError as error:
        seen.append(str(error).partition(";")[0])
    print(f"call {call}: {seen[-1]}")
assert seen[0].startswith("Multiple dispatch failed"), "changed: the first call works"
assert seen[1] == "Tensor", "changed: the second call gives something else"
PYTHON
