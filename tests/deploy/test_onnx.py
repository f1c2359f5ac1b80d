"""Activations and swapped networks as ONNX files, computed by onnxruntime: needs ``pip install 'limen[onnx]'``."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import pytest
import torch
from helpers import ALL, library, perturbed
from torch import nn

import limen

pytestmark = [pytest.mark.thorough, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(autouse=True)
def _quietly():
    """The exporter says on every call what it does not find and what it will call otherwise some day."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def through_onnx(model: nn.Module, x: torch.Tensor, opset: int | None = None) -> torch.Tensor:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        library(name)
    import onnx
    import onnxruntime

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        proto: Any = torch.onnx.export(model, (x,), dynamo=True, verbose=False, opset_version=opset).model_proto
    onnx.checker.check_model(proto)
    assert {node.domain for node in proto.graph.node} == {""}
    assert not proto.functions
    assert opset is None or proto.opset_import[0].version == opset
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    return torch.from_numpy(found)


def values(dtype: torch.dtype) -> torch.Tensor:
    torch.manual_seed(0)
    x = 3 * torch.randn(2, 8, 3, 3)
    x[0, 0, 0] = torch.tensor([0.0, 100.0, -100.0])
    return x.to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("name", ALL)
def test_activations_are_the_same_by_standard_operators(name, dtype):
    module, x = perturbed(name), values(dtype)
    found, wanted = through_onnx(module, x), module(x).detach()
    assert found.dtype == dtype
    rounding = 2e-6 if dtype is torch.float32 else 2e-3
    torch.testing.assert_close(found, wanted, rtol=rounding, atol=rounding)


@pytest.mark.parametrize("opset", [18, 20, 23, 24])
@pytest.mark.parametrize("name", ["adact", "ash", "top_percentile"])
def test_opsets(name, opset):
    module, x = perturbed(name), values(torch.float32)
    torch.testing.assert_close(through_onnx(module, x, opset), module(x).detach(), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("how", ["native", "polynomial", "rational", "table"])
def test_what_activations_are_simplified_to(how):
    model = nn.Sequential(nn.Linear(4, 4), limen.DyT(0.6))
    assert limen.simplify_(model, 0.02, ranges=(-2.0, 2.0), otherwise=how).sites[0].kind == how
    x = torch.randn(5, 4)
    near = 2e-2 if how == "table" else 1e-5  # on the edge between two entries either may be taken
    torch.testing.assert_close(through_onnx(model, x), model(x).detach(), rtol=near, atol=near)
