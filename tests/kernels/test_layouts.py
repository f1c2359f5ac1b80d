"""Results and gradients are laid out as torch's own, and gradients of noise are of what was drawn, in any layout."""

from __future__ import annotations

import pytest
import torch
from helpers import LEARNING, OF_SAMPLES, perturbed, sample_input, thoroughly

import limen
from limen.activations.registry import find
from limen.kernels.layout import Plan, plan_samples


def given(*shape: int) -> torch.Tensor:
    return sample_input(*shape, dtype=torch.float32)


LAYOUTS = {
    "contiguous": lambda: given(3, 6, 4, 5),
    "channels last": lambda: given(3, 6, 4, 5).to(memory_format=torch.channels_last),
    "3d channels last": lambda: given(2, 6, 3, 4, 5).to(memory_format=torch.channels_last_3d),
    "channels last, sliced": lambda: given(3, 12, 4, 5).to(memory_format=torch.channels_last)[:, ::2],
    "matrix": lambda: given(7, 6),
    "transposed": lambda: given(6, 7).t(),
    "transposed and sliced": lambda: given(6, 12).t()[::2],
    "permuted": lambda: given(4, 5, 6, 3).permute(3, 2, 0, 1),
    "with gaps": lambda: given(3, 6, 8)[:, :, ::2],
    "batch expanded": lambda: given(1, 6, 4).expand(5, 6, 4),
    "channels expanded": lambda: given(5, 1, 4).expand(5, 6, 4),
    "one value": lambda: given(1).expand(5, 6),
    "overlapping": lambda: given(40).as_strided((5, 6, 3), (4, 2, 1)),
}


BY_AUTOGRAD = ("poly_norm", "gated_poly_norm")
"""Without a kernel: autograd lays the input's gradient out as it lays out that of the output."""


def names_and_options() -> list[tuple[str, dict[str, object]]]:
    """One that is elementwise stands for all; of those with statistics each."""
    contexts = [name for name in OF_SAMPLES if "context" in find(name).fields]
    grouped = {"num_parameters": 3, "group_size": 2}
    options = [{}, {"num_parameters": 6}, grouped, {"context": "channel"}]
    return [("asau", {}), ("asau", {"num_parameters": 6}), *((name, each) for name in contexts for each in options)]


def described(pair: tuple[str, dict[str, object]]) -> str:
    return " ".join([pair[0], *(f"{name}={value}" for name, value in pair[1].items())])


@pytest.mark.parametrize("chosen", names_and_options(), ids=described)
def test_as_torchs_own(chosen):
    name, options = chosen
    module = perturbed(name, **options)
    for layout, make in LAYOUTS.items():
        x = make()
        if options.get("context") == "channel" and x.ndim < 3:
            continue
        like = torch.nn.functional.silu(x)
        leaf = x.detach().requires_grad_()
        y = module(leaf)
        assert y.stride() == like.stride(), layout
        first = torch.autograd.grad(y, [leaf, *module.parameters()], torch.randn(x.shape))
        assert name in BY_AUTOGRAD or first[0].stride() == like.stride(), layout
        assert [g.stride() for g in first[1:]] == [p.stride() for p in module.parameters()], layout
        with torch.no_grad():
            torch.testing.assert_close(module(x), y)


@pytest.mark.parametrize("backend", ["auto", "plain"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("name", LEARNING)
def test_gradients_of_parameters_are_laid_out_as_they_are(name, dtype, backend):
    """What DistributedDataParallel asks for, which warns of anything else."""
    for options in ({}, {"num_parameters": 4}, {"num_parameters": 2, "group_size": 2}):
        module = perturbed(name, dtype=dtype, **options)
        for x in (given(5, 4, 3), given(5, 4), given(2, 4, 3, 3).to(memory_format=torch.channels_last)):
            if dtype is torch.bfloat16 and x.ndim != 3:
                continue  # the same code, and its kernels would be compiled for this alone
            with limen.use_backend(backend):
                y = module(x.to(dtype))
            gradients = torch.autograd.grad(y.sum(), list(module.parameters()))
            assert [g.stride() for g in gradients] == [p.stride() for p in module.parameters()]


@pytest.mark.parametrize("elements", [1, 6])
def test_parameters_of_other_strides(elements):
    """As they are where they have no gaps, else contiguous."""
    x = given(5, 6)
    for beta in (torch.rand(elements, 3)[:, 0], torch.rand(1).expand(elements), torch.rand(1, 1, elements)[0, 0]):
        leaf = beta.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(limen.functional.swish(x, leaf).sum(), leaf)
        assert gradient.stride() == torch.empty_like(beta).stride()


NOISY = {
    "rrelu": lambda: limen.RReLU(),
    "mixture": lambda: limen.AdAct(("rrelu", "silu")),
    "two": lambda: limen.AdAct(("rrelu", "relu", "rrelu")),
    "by channel": lambda: limen.AdAct(("rrelu", "prelu"), num_parameters=6),
}


@pytest.mark.parametrize("dtype", thoroughly([torch.float32, torch.bfloat16], usual=[torch.float32]), ids=str)
@pytest.mark.parametrize("noisy", NOISY)
def test_derivatives_are_of_the_slopes_drawn(noisy, dtype):
    """Each is linear on either side of 0 but for silu, whose part is taken off."""
    module = NOISY[noisy]()
    for layout, make in LAYOUTS.items():
        x = -make().abs().to(dtype)
        x = x if noisy != "mixture" else x.float()
        leaf = x.detach().requires_grad_()
        y = module(leaf)
        (once,) = torch.autograd.grad(y.sum(), leaf, retain_graph=True)
        recorded = torch.autograd.grad(y.sum(), [leaf, *module.parameters()], create_graph=True)
        torch.testing.assert_close(recorded[0], once, msg=layout)
        if noisy != "mixture":
            torch.testing.assert_close(once.float(), (y / x).float().detach(), rtol=0.02, atol=1e-3, msg=layout)


def test_noise_and_hooks_that_lay_what_was_saved_out_anew():
    module, x = limen.RReLU(), -given(3, 6, 4, 5).to(memory_format=torch.channels_last).abs()
    for leaf in (x.requires_grad_(), x.detach()[:, ::2].requires_grad_()):
        with torch.autograd.graph.saved_tensors_hooks(torch.Tensor.contiguous, lambda saved: saved):
            y = module(leaf)
        for create_graph in (False, True):
            (slope,) = torch.autograd.grad(y.sum(), leaf, retain_graph=True, create_graph=create_graph)
            torch.testing.assert_close(slope.detach(), (y / leaf).detach())


def test_a_channel_that_is_the_fastest_axis_of_a_sample_is_no_piece_of_it():
    x = torch.empty(2, 4, 3)
    assert plan_samples(x, 3, 2, (1, 2)) is None
    assert plan_samples(x, 4, 1, (1, 2)) == Plan("sample", 2, 4, 3, 4, 1)
    assert plan_samples(x.unsqueeze(-1), 3, 2, (3,)) == Plan("sample", 24, 3, 1, 1, 1)
