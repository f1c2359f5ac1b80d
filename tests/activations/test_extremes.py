"""Values and gradients from the smallest to the largest numbers of a type: finite and right where the function is."""

from __future__ import annotations

import pytest
import torch
from helpers import COMPILED, ELEMENTWISE, OF_SAMPLES, QUICK_IN_HALF, thoroughly

import limen

SQUARES = ("relu2", "leaky_relu2", "xielu", "poly_relu")
"""They leave float64 where x² does, or x³."""
SETTINGS = (
    # The kernels' waves hold to |x| = 1e6 (docs/accuracy.md); Snake is little else.
    *(name for name in ELEMENTWISE if name in COMPILED and name != "snake"),
    "asau:learned=a+b+alpha+beta",
    "asau:alpha=0",
    "asau:a=1,b=1,learned=a+b+alpha+beta",
    "asau:beta=0,learned=a+b+alpha+beta",
    "asau:a=0.3,b=-0.7,alpha=0.8,beta=2.5",
    "acon:p1=1,p2=1",
    "acon:p1=-2,p2=0.5,beta=3",
    "swish:beta=0",
    "swish:beta=-2",
    "gelu:approximate=tanh",
    "softplus:beta=5",
    "softplus:beta=0.2",
    "elu:alpha=-1",
    "apalu:smooth=true",
    "adact:candidates=asau+apalu+gelu+mish",
)
BEYOND = (
    "asau:a=0.3,b=-0.7,alpha=0.8,beta=2.5", "acon:p1=-2,p2=0.5,beta=3", "adact:candidates=asau+apalu+gelu+mish",
)  # fmt: skip
"""Those in which a parameter times x, or a candidate, leaves the type before x does."""
HALF = [pytest.param(dtype, marks=pytest.mark.slow) for dtype in (torch.bfloat16, torch.float16)]
TYPES = pytest.mark.parametrize("dtype", [torch.float32, *HALF], ids=str)
SETTINGS_OF_SINGLE = thoroughly(
    [(spec, torch.float32) for spec in SETTINGS],
    usual=[(spec, torch.float32) for spec in (*QUICK_IN_HALF, "softplus", "mish", "acon", "golu", BEYOND[0])],
)
SETTINGS_OF_HALF = [
    pytest.param(spec, dtype, marks=pytest.mark.thorough)
    for spec in SETTINGS
    for dtype in (torch.bfloat16, torch.float16)
]
BACKENDS = pytest.mark.parametrize("backend", ["auto", "plain"])


def grid(dtype: torch.dtype, count: int = 24) -> torch.Tensor:
    """Of both signs, evenly in the exponent, to the largest number there is."""
    top = torch.tensor(torch.finfo(dtype).max, dtype=torch.float64).log10().item()
    sizes = torch.logspace(-4, top, count, dtype=torch.float64).clamp(max=torch.finfo(dtype).max)
    return torch.cat([-sizes, sizes]).to(dtype)


def found(module: limen.Activation, x: torch.Tensor, backend: str) -> list[torch.Tensor]:
    """For every element by itself the value, the slope and the gradient of each parameter."""
    leaf = x.clone().requires_grad_()
    with limen.use_backend(backend):
        y = module(leaf)
        rest = torch.autograd.grad(y.sum(), [leaf, *module.parameters()])
    return [y.detach().flatten(), *(gradient.double().flatten() for gradient in rest)]


def assert_right(got: list[torch.Tensor], want: list[torch.Tensor], x: torch.Tensor) -> None:
    precision, largest = torch.finfo(x.dtype).eps, torch.finfo(x.dtype).max
    for ours, true in zip(got, want, strict=True):
        holds = (true.abs() < largest / 4).expand(ours.shape)
        assert ours[holds].isfinite().all(), (x, ours, true)
        size = x.double().abs().flatten().repeat_interleave(max(1, true.numel() // x.numel()))
        size = size.sum() if ours.numel() == 1 else size  # of a parameter for all
        room = 4 * precision * (true.abs() + size) + 8 * precision
        assert ((ours.double() - true).abs() <= room)[holds].all(), (x, ours, true)


@BACKENDS
@pytest.mark.parametrize(("spec", "dtype"), [*SETTINGS_OF_SINGLE, *SETTINGS_OF_HALF], ids=str)
def test_elementwise(spec, dtype, backend):
    if backend == "plain" and "tanh" in spec and dtype != torch.float16:
        pytest.skip("on torch's operators its slope is NaN from 2e19")
    x = grid(dtype) / (8 if spec in BEYOND else 1)
    channels = 1 if not list(limen.create(spec).parameters()) else x.numel()
    module = limen.create(spec, num_parameters=channels).eval()
    truth = limen.create(spec, num_parameters=channels).double().eval()
    assert_right(found(module, x[None], backend), found(truth, x[None].double(), "plain"), x)


@BACKENDS
@pytest.mark.parametrize(
    "spec",
    thoroughly(
        [spec for spec in SETTINGS if list(limen.create(spec).parameters())],
        usual=("prelu", "asau", "apalu", "acon", "swish", BEYOND[0]),
    ),
)
def test_one_parameter_for_all(spec, backend):
    module, truth = limen.create(spec).eval(), limen.create(spec).double().eval()
    for value in (-3e38, -1e30, 2e19, 1e30, 2e38):
        x = torch.full((1,), value / (8 if spec in BEYOND else 1))
        assert_right(found(module, x, backend), found(truth, x.double(), "plain"), x)


@TYPES
@BACKENDS
@pytest.mark.parametrize("name", OF_SAMPLES)
def test_samples(name, backend, dtype):
    if backend == "plain" or name in COMPILED:
        module, truth = limen.create(name), limen.create(name).double()
        for size in grid(dtype, 6)[6:]:
            x = torch.linspace(-0.8, 0.7, 16).to(dtype)[None]
            x[0, 3] = size / 2
            got, want = found(module, x, backend), found(truth, x.double(), "plain")
            assert_right(got[:2], want[:2], x.abs().amax().expand_as(x))
            assert all(gradient.isfinite().all() for gradient in got[2:])


@pytest.mark.parametrize("spec", [spec for spec in SETTINGS if spec not in SQUARES])
def test_float64(spec):
    if "tanh" in spec:
        pytest.skip("its slope is NaN from 1e154")
    x = torch.tensor([-1e305, -1e200, 1e200, 1e305], dtype=torch.float64)
    value, slope, *_ = found(limen.create(spec).double().eval(), x, "auto")
    assert value.isfinite().all()
    assert slope.isfinite().all()
