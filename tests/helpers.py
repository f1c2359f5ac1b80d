"""What the tests by property share: the activations they run over, and inputs that suit all of them."""

from __future__ import annotations

import importlib
import multiprocessing
from collections.abc import Callable, Container, Iterable
from types import ModuleType
from typing import Any

import pytest
import torch

import limen
from limen.kernels.choice import Backend

ALL = limen.names()
KEEPING_SHAPE = tuple(name for name in ALL if limen.create(name).keeps_shape)
ELEMENTWISE = tuple(name for name in KEEPING_SHAPE if limen.create(name).elementwise)
OF_SAMPLES = tuple(name for name in KEEPING_SHAPE if name not in ELEMENTWISE)
LEARNING = tuple(name for name in ALL if list(limen.create(name).parameters()))
ONE_MORE_FORMULA = frozenset(
    (
        *("tanh", "sigmoid", "relu6", "hardswish", "relu2", "leaky_relu2", "xielu", "golu", "telu", "gelusine"),
        *("quick_gelu", "laplace", "snake", "dyt", "derf", "poly_relu"),
    )
)
"""Activations that are made as others are: tried by property in `make test-thorough`, but for what is quick."""
QUICK_FOR_ALL = (
    *("test_formulas.py", "test_registry.py", "test_gradients.py", "test_public_errors.py", "test_public_api.py"),
    *("test_primitives.py", "test_vector_math.py"),  # of primitives with such names
)
"""Where each of them is tried in `make test` as well."""
QUICK_IN_HALF = frozenset(("relu", "gelu", "prelu", "ash", "asau", "apalu", "adact"))
"""Those that are tried in bfloat16 in `make test` as well: kernels are compiled for each type anew, and what differs is
how an element is read and written."""
JUMPING = ("hard_ash", "top_percentile")
"""Those with jumps, where a numerical derivative can land on the wrong side."""

BUILT_IN = {
    "relu": torch.nn.ReLU(),
    "leaky_relu": torch.nn.LeakyReLU(),
    "prelu": torch.nn.PReLU(),
    "rrelu": torch.nn.RReLU().eval(),
    "softplus": torch.nn.Softplus(),
    "elu": torch.nn.ELU(),
    "selu": torch.nn.SELU(),
    "gelu": torch.nn.GELU(),
    "silu": torch.nn.SiLU(),
    "swish": torch.nn.SiLU(),
    "acon": torch.nn.SiLU(),
    "mish": torch.nn.Mish(),
}
"""The torch module that each baseline equals at its initial values."""


FORKS = multiprocessing.get_context("forkserver")
"""Processes that are forks of one that has imported what takes seconds, and has done nothing else."""
FORKS.set_forkserver_preload(
    [
        *("limen.commands.study", "limen.commands.progress", "limen.lab.study.compare", "limen.lab.study.select"),
        *("limen.lab.training.run", "limen.lab.training.notes", "limen.lab.training.cost", "limen.lab.report.page"),
        *(
            "limen.lab.tasks.registry",
            "limen.lab.tasks.classification.task",
            "scipy.stats",
            "limen.catalogue",
            "sklearn.datasets",
            "limen.formula.symbolic",
            "matplotlib.figure",
        ),
    ]
)


def thoroughly(values: Iterable[Any], usual: Container[Any]) -> list[Any]:
    """Values of a test, or tuples of them, those that are not ``usual`` marked as thorough."""
    return [value if value in usual else _thorough(value) for value in values]


def with_halves(names: Iterable[str]) -> list[Any]:
    """Activations with each half type, float16 thorough but for a few: kernels are compiled for each type anew.

    The types differ in how a number is read and written, and there every activation is the same.
    """
    return [
        (name, dtype)
        if dtype is torch.bfloat16 or name in ("relu", "asau", "ash", "adact")
        else _thorough((name, dtype))
        for name in names
        for dtype in (torch.bfloat16, torch.float16)
    ]


def _thorough(value: Any) -> Any:
    values = value if isinstance(value, tuple) else (value,)
    return pytest.param(*values, marks=pytest.mark.thorough)


def activation(name: str, **named: object) -> limen.Activation:
    """The activation in evaluation mode, where none is random."""
    return limen.create(name, **named).eval()


def sample_input(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Normal values, none so near to 0 that a numerical derivative would cross a kink there."""
    x = torch.randn(*shape, dtype=torch.float64)
    return torch.where(x.abs() < 1e-2, x + 0.1, x).to(dtype)


def library(name: str) -> ModuleType:
    """The module, or skip with the reason: it may be missing, or installed and unable to be imported."""
    try:
        return importlib.import_module(name)
    except Exception as error:
        pytest.skip(f"{name} cannot be imported: {error}".partition("\n")[0])


COMPILED = tuple(name for name in KEEPING_SHAPE if not limen.activations.registry.find(name).plain_only)
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def perturbed(name: str, **named: object) -> limen.Activation:
    """An activation whose parameters differ from the start and from channel to channel."""
    module = activation(name, **named)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.rand_like(parameter))
    return module


def gradients(module: limen.Activation, x: torch.Tensor, g: torch.Tensor, backend: Backend) -> list[torch.Tensor]:
    """The result, the input's gradient and the parameters', by one path."""
    leaf = x.detach().requires_grad_()
    with limen.use_backend(backend):
        y = module(leaf)
    return [y.detach(), *torch.autograd.grad(y, [leaf, *module.parameters()], g)]


def exact(module: limen.Activation, x: torch.Tensor, g: torch.Tensor) -> list[torch.Tensor]:
    double = limen.create(limen.activations.registry.name_of(module), num_parameters=module.num_parameters)
    double.load_state_dict(module.state_dict())
    double.channel_dim = module.channel_dim
    return gradients(double.double().to(x.device).eval(), x.double(), g.double(), "plain")


def assert_as_good_as_plain(module: limen.Activation, x: torch.Tensor, g: torch.Tensor, backend: Backend = "c") -> None:
    """The kernel's error is below twice that of torch's operators in the same type, plus rounding of the scale."""
    ours, torchs, truth = gradients(module, x, g, backend), gradients(module, x, g, "plain"), exact(module, x, g)
    for mine, its, want in zip(ours, torchs, truth, strict=True):
        assert mine.dtype == its.dtype
        assert mine.shape == want.shape
        scale = want.abs().max().item() + 1e-30
        allowed = 2 * (its.double() - want).abs().max().item() + 1e-6 * scale
        assert (mine.double() - want).abs().max().item() <= allowed


def assert_right_at(module: limen.Activation, x: torch.Tensor, backend: Backend = "c") -> None:
    """As float64 has it, where that is finite and float32 can hold it; NaN and infinity only where float64 has them."""
    y, slope, *_ = gradients(module, x, torch.ones_like(x), backend)
    want, want_slope, *_ = exact(module, x, torch.ones_like(x))
    largest = torch.finfo(torch.float32).max
    for got, true, of_scale in ((y, want, x.double()), (slope, want_slope, torch.ones_like(x, dtype=torch.float64))):
        holds = (true.abs() < largest / 4) & ~x.isnan()  # autograd gives NaN the slope 0 behind a clamp
        assert got[holds].isfinite().all(), (x, got, true)
        bound = 1e-6 * (true.abs() + of_scale.abs().clamp(max=30.0) * 1e-1) + 2e-38
        assert ((got.double() - true).abs()[holds] <= bound[holds]).all(), (x, got, true)
    assert torch.equal(y.isnan(), want.isnan())


def assert_same_for_any_threads(compute: Callable[[], Iterable[torch.Tensor]]) -> None:
    """Whatever number of threads computes them, results have the same bits."""
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append([*compute()])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def dense(shape: tuple[int, ...]) -> torch.Tensor:
    return sample_input(*shape, dtype=torch.float32)


LAYOUTS = {
    "one": (lambda: dense((1, 1)), 1, 1),
    "odd": (lambda: dense((3, 7, 11)), 1, 1),
    "spans": (lambda: dense((2, 4097)), 1, 1),
    "rows": (lambda: dense((3, 5, 6, 7)), 5, 1),
    "long rows": (lambda: dense((2, 3, 5000)), 3, 1),
    "channels last": (lambda: dense((3, 5, 6, 7)).to(memory_format=torch.channels_last), 5, 1),
    "matrix": (lambda: dense((70, 9)), 9, 1),
    "tokens": (lambda: dense((4, 6, 17)), 17, -1),
    "channels coincide": (lambda: dense((5, 5, 5)), 5, 1),
    "transposed": (lambda: dense((6, 5, 4)).transpose(0, 2), 5, 1),
    "with gaps": (lambda: dense((6, 5, 8))[:, :, ::2], 5, 1),
    "expanded": (lambda: dense((1, 5, 4)).expand(3, 5, 4), 5, 1),
}
