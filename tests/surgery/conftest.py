"""What the tests of surgery begin with."""

import nasty
import pytest
import torch


@pytest.fixture
def inputs() -> torch.Tensor:
    return torch.randn(3, nasty.WIDTH)
