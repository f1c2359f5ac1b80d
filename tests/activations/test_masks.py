"""Padding stays out: values and gradients are those of each sample computed without it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import limen
from limen.activations.fields import StatisticsContext
from limen.errors import DtypeError, ShapeError, SpecError
from limen.formula import mean, std, tanh

LENGTHS, LONGEST, WIDTH = (5, 1, 3), 5, 4
MASK = torch.arange(LONGEST) < torch.tensor(LENGTHS)[:, None]


class Scaled(limen.Activation):
    """x·tanh(k·(x − mean)/(1 + deviation)): someone's own."""

    k = limen.Param(0.7)
    context = StatisticsContext()
    elementwise = False

    @staticmethod
    def formula(x, k, context):
        return x * tanh(k * (x - mean(x, context)) / (1 + std(x, context)))


class Largest(limen.Activation):
    """Takes its statistic by its own means, and knows of no mask."""

    context = StatisticsContext()
    elementwise = False
    plain_only = "it sorts"

    @staticmethod
    def formula(x, context):
        return x / x.amax(context.axes(tuple(x.shape)), keepdim=True)


MAKERS = {
    **{f"{name}:context={context}": (lambda name=name, context=context: limen.create(name, context=context))
       for name in ("ash", "leaky_ash", "fixed_ash", "hard_ash", "top_percentile")
       for context in ("sample", "token")},
    "by feature": lambda: limen.ASH(context="channel", channel_dim=-1, num_parameters=WIDTH),
    "by position": lambda: limen.ASH(context="channel"),
    "in groups": lambda: limen.ASH(num_parameters=2, group_size=2, channel_dim=-1),
    "powers": lambda: limen.PolyNorm(context="sample"),
    "30 percent": lambda: limen.TopPercentile(30),
    "none": lambda: limen.TopPercentile(0),
    "mixture": lambda: limen.AdAct(("ash", "silu", "top_percentile")),
    "own": Scaled,
    "asau": limen.ASAU,
    "mixture of elementwise": lambda: limen.AdAct(("relu", "silu")),
}  # fmt: skip


def padded(dtype=torch.float64, fill=torch.nan):
    torch.manual_seed(0)
    x = torch.randn(len(LENGTHS), LONGEST, WIDTH, dtype=dtype)
    return torch.where(MASK[..., None], x, fill)


def apart(activation, x):
    """Each sample by itself, without padding."""
    return [activation(x[index : index + 1, :length]).squeeze(0) for index, length in enumerate(LENGTHS)]


def gradients(activation, x, outputs):
    """Of the input and the parameters, for a loss in which all outputs count differently."""
    weights = torch.linspace(-1, 2, LONGEST * WIDTH, dtype=torch.float64).reshape(LONGEST, WIDTH)
    loss = sum((y.double() * weights[: len(y)]).sum() for y in outputs)
    learned = [p for p in activation.parameters() if p.requires_grad]
    return torch.autograd.grad(loss, [x, *learned], allow_unused=True)


@pytest.mark.parametrize("kind", ["float64", "float32", "lengths", "nothing masked"])
@pytest.mark.parametrize("name", MAKERS)
def test_values_and_gradients_are_those_without_padding(name, kind):
    activation = MAKERS[name]()
    x = padded(torch.float32 if kind == "float32" else torch.float64).requires_grad_()
    alone = apart(activation, x)
    found = activation(x, mask=torch.tensor(LENGTHS) if kind == "lengths" else MASK)
    assert not found[~MASK].any()
    together = [y[:length] for y, length in zip(found, LENGTHS, strict=True)]
    torch.testing.assert_close(together, alone)
    torch.testing.assert_close(
        gradients(activation, x, list(found)), gradients(activation, x, alone), rtol=2e-5, atol=1e-6
    )
    whole = torch.randn(2, 3, WIDTH)
    torch.testing.assert_close(activation(whole, torch.ones(2, 3, dtype=torch.int64)), activation(whole))


@pytest.mark.parametrize("name", MAKERS)
def test_jagged_tensors_are_computed_sample_by_sample(name):
    activation = MAKERS[name]()
    parts = [torch.randn(length, WIDTH) for length in LENGTHS]
    x = torch.nested.nested_tensor(parts, layout=torch.jagged, requires_grad=True)
    if activation.elementwise and "mixture" not in name:
        expected = [activation(part) for part in parts]
    else:
        expected = [activation(part.unsqueeze(0)).squeeze(0) for part in parts]
    found = activation(x)
    torch.testing.assert_close([y.detach() for y in found.unbind()], [y.detach() for y in expected])
    assert (x + found).shape == x.shape
    found.values().sum().backward()
    assert x.grad is not None


def test_jagged_tensors_of_any_structure_keep_it():
    dense = torch.randn(2, 5, WIDTH)
    holed = torch.nested.narrow(dense, 1, torch.tensor([1, 0]), torch.tensor([3, 4]), layout=torch.jagged)
    turned = torch.nested.nested_tensor([torch.randn(3, 4), torch.randn(2, 4)], layout=torch.jagged).transpose(1, 2)
    for x in (holed, turned):
        found = limen.ASH()(x)
        for y, part in zip(found.unbind(), x.unbind(), strict=True):
            torch.testing.assert_close(y, limen.ASH()(part.unsqueeze(0)).squeeze(0))
        assert found.shape == x.shape


def test_a_sample_of_padding_alone_is_zero():
    x = torch.full((2, 3, WIDTH), torch.inf, requires_grad=True)
    for make in MAKERS.values():
        found = make()(x, torch.zeros(2, 3, dtype=torch.bool))
        assert not found.any()
        (gradient,) = torch.autograd.grad(found.sum(), x)
        assert not gradient.any()


def test_masks_of_every_shape_that_broadcasts():
    images = torch.randn(2, 3, 4, 5)
    for shape in ((2,), (2, 3), (2, 1, 4), (2, 3, 4, 5), (1, 1, 4, 5), (2, 1, 1, 1)):
        mask = torch.rand(shape) < 0.6
        full = mask.reshape(*shape, *[1] * (4 - len(shape))).expand(images.shape)
        found = limen.ASH()(images, mask)
        for image, counts, y in zip(images, full, found, strict=True):
            torch.testing.assert_close(y[counts], limen.ASH()(image[counts].unsqueeze(0)).squeeze(0))


def test_half_types_and_compiled_calls():
    activation = limen.ASH()
    x = padded(torch.bfloat16)
    torch.testing.assert_close(activation(x, MASK), activation(x.float(), MASK).bfloat16())
    batched = torch.func.vmap(lambda row, mask: activation(row[None], mask[None])[0])(x.float(), MASK)
    torch.testing.assert_close(batched, activation(x.float(), MASK))


@pytest.mark.parametrize(
    ("mask", "error", "words"),
    [
        (torch.ones(3, 4, dtype=torch.bool), ShapeError, r"shape \(3, 4\) does not fit .* \(3, 5, 4\)"),
        (torch.ones(3, 5, 4, 1, dtype=torch.bool), ShapeError, "does not fit"),
        (torch.tensor(True), ShapeError, "does not fit"),
        (torch.ones(3, 5), DtypeError, r"torch\.float32 was given"),
        (torch.full((3, 5), 2), DtypeError, "reach 2"),
        (torch.tensor([5, 6, 1]), ShapeError, "lengths from 1 to 6 do not fit the 5 positions"),
        (torch.tensor([5, 1]), ShapeError, "2 lengths for 3 samples"),
        ([[True]], SpecError, "and list was given"),
    ],
)
def test_other_masks_are_refused_in_a_sentence(mask, error, words):
    with pytest.raises(error, match=words):
        limen.ASH()(padded(fill=0.0), mask)


def test_what_cannot_heed_a_mask_says_so():
    for activation in (Largest(), limen.Maxout()):
        with pytest.raises(SpecError, match=rf"{type(activation).__name__} cannot heed a mask"):
            activation(torch.randn(3, 5, 4), MASK)
    x = torch.nested.nested_tensor([torch.randn(2, 3)], layout=torch.jagged)
    with pytest.raises(SpecError, match="a nested tensor has no padding"):
        limen.ASH()(x, MASK)


def test_a_mask_goes_through_modules_and_traces():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = limen.ASH()

        def forward(self, x, mask):
            return self.act(x, mask=mask)

    x = padded(torch.float32, fill=0.0)
    traced = torch.fx.symbolic_trace(Block())
    torch.testing.assert_close(traced(x, MASK), Block()(x, MASK))
