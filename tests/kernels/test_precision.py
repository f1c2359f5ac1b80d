"""In which type numbers are computed."""

from __future__ import annotations

import pytest
import torch

from limen.kernels.precision import at_least_float32, parameter_dtype, working_dtype


@pytest.mark.parametrize(
    ("dtype", "computed"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
    ids=str,
)
def test_half_types_are_computed_in_float32_and_others_as_they_are(dtype: torch.dtype, computed: torch.dtype) -> None:
    x = torch.tensor([1.0, -2.5], dtype=dtype)
    assert working_dtype(x) == computed
    assert at_least_float32(x).dtype == computed
    assert torch.equal(at_least_float32(x).double(), x.double())


@pytest.mark.parametrize("asked", [None, torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("default", [torch.float16, torch.float32, torch.float64], ids=str)
def test_new_parameters_have_the_type_asked_for_or_the_default_but_no_half_type(
    asked: torch.dtype | None, default: torch.dtype
) -> None:
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        found = parameter_dtype(asked)
    finally:
        torch.set_default_dtype(before)
    assert found == (asked or (torch.float32 if default == torch.float16 else default))
