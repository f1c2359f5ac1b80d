"""What must hold for every swapped model."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

import limen
from limen.surgery import SwapReport


def tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [t for item in value or () for t in tensors(item)] if isinstance(value, (list, tuple)) else []


def run(model: nn.Module, inputs: Any) -> list[torch.Tensor]:
    out = model(**inputs) if isinstance(inputs, dict) else model(inputs)
    return [t.clone() for t in tensors(out) if t.is_floating_point()]


def evaluated(model: nn.Module, inputs: Any) -> list[torch.Tensor]:
    modes = {m: m.training for m in model.modules()}
    model.eval()
    with torch.no_grad():
        found = run(model, inputs)
    for module, mode in modes.items():
        module.training = mode
    return found


def assert_same(first: Sequence[torch.Tensor], second: Sequence[torch.Tensor]) -> None:
    assert len(first) == len(second) > 0
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)


def snapshot(model: nn.Module) -> dict[int, Any]:
    """Every object in the tree with its class, children and attributes, by identity."""
    return {
        id(m): (
            type(m),
            [(n, id(c)) for n, c in m._modules.items()],
            {k: id(v) for k, v in vars(m).items() if k[0] != "_"},
        )
        for m in model.modules()
    }


def activations(model: nn.Module) -> list[limen.Activation]:
    return [m for m in model.modules() if isinstance(m, limen.Activation)]


def check_swap(
    build: Callable[[], nn.Module], inputs: Any, *, sites: int, unreached: int = 0, **options: Any
) -> SwapReport:
    """Swap, and go through everything a user does with the model afterwards; return the report and the model."""
    torch.manual_seed(0)
    model = build()
    before, tree = evaluated(model, inputs), snapshot(model)
    old_state = copy.deepcopy(model.state_dict())
    report = limen.swap_(model, "asau", example_inputs=[inputs], **options)
    assert len(report.sites) == sites, str(report)
    assert len(report.unreached) == unreached, str(report)
    assert len(activations(model)) == sites

    check_gradients(model, inputs)
    after = evaluated(model, inputs)
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    check_copies(model, inputs, after)
    check_states(build, model, report, inputs, old_state)

    report.undo()
    assert snapshot(model) == tree
    model.load_state_dict(old_state)
    assert_same(evaluated(model, inputs), before)
    return report


def check_gradients(model: nn.Module, inputs: Any) -> None:
    model.train()
    torch.autograd.backward([t.double().square().sum() for t in run(model, inputs)])
    for path, module in model.named_modules():
        if isinstance(module, limen.Activation):
            for name, parameter in module.named_parameters():
                assert parameter.grad is not None, f"{path}.{name} gets no gradient"
    model.zero_grad()


def check_copies(model: nn.Module, inputs: Any, expected: Sequence[torch.Tensor]) -> None:
    assert_same(evaluated(copy.deepcopy(model), inputs), expected)
    assert_same(evaluated(pickle.loads(pickle.dumps(model)), inputs), expected)
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    assert_same(evaluated(torch.load(buffer, weights_only=False), inputs), expected)


def check_states(
    build: Callable[[], nn.Module],
    model: nn.Module,
    report: SwapReport,
    inputs: Any,
    old_state: dict[str, Any],
) -> None:
    """Old into new, new into old, new into new; all strict."""
    new_state = copy.deepcopy(model.state_dict())
    fresh = build()
    fresh.load_state_dict(report.original_state(new_state), strict=True)
    again = limen.swap_(fresh, "asau", example_inputs=[inputs])
    assert [site.path for site in again.sites] == [site.path for site in report.sites]
    assert again.sites, "nothing to check"
    fresh.load_state_dict(new_state, strict=True)
    assert_same(evaluated(fresh, inputs), evaluated(model, inputs))
    model.load_state_dict(old_state, strict=True)
    missing = {key: value for key, value in new_state.items() if not key.startswith(f"{report.sites[0].path}.")}
    if len(report.sites) > 1:
        try:
            model.load_state_dict(missing, strict=True)
        except RuntimeError as error:
            assert "Missing" in str(error)  # noqa: PT017
        else:
            raise AssertionError("a key that is missing passed")


class Wrapped(nn.Module):
    """A model under a name."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.inner = model

    def forward(self, x: torch.Tensor) -> Any:
        return self.inner(x)
