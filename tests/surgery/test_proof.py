"""The proof by example inputs is strict to the bit and refuses no right swap."""

from __future__ import annotations

import random
import time

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import limen
from limen.errors import LimenError
from limen.surgery.proving import same_layout

WIDTH = 37
"""No multiple of a vector's length: torch's kernels round the ends of rows by other instructions."""


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.wide, self.last, self.elu = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(WIDTH, 5), nn.ELU(inplace=True)
        self.calls, self.generator = 0, torch.Generator()


def gelu_of_half(self, x):
    first, gate = self.wide(x).chunk(2, dim=-1)
    return self.last(first * F.gelu(gate))


def in_place_of_half(self, x):
    first, gate = self.wide(x).chunk(2, dim=-1)
    return self.last(F.elu_(first) * gate)


def module_in_place_of_half(self, x):
    first, gate = self.wide(x).chunk(2, dim=-1)
    return self.last(self.elu(first) * gate)


def half_that_is_read_again(self, x):
    whole = self.wide(x)
    first, gate = whole.chunk(2, dim=-1)
    first = F.silu(first, inplace=True)
    return self.last(first * gate) + whole.sum()


def transposed(self, x):
    return F.gelu(self.wide(x).transpose(0, 1)[::2]) @ torch.ones(6, 1, dtype=x.dtype)


def transposed_in_place(self, x):
    return self.last(self.wide(x).t()[1 : WIDTH + 1].tanh_().t())


def expanded(self, x):
    return F.silu(self.wide(x).unsqueeze(0).expand(3, -1, -1)).transpose(0, 1)


def channels_last(self, x):
    images = self.wide(x)[:, :72].reshape(2, 6, 6, 6).to(memory_format=torch.channels_last)
    return F.gelu(images[:, 1:4]) + F.elu(images[:, 3:], inplace=True)


def off_the_beginning(self, x):
    flat = self.wide(x).reshape(-1)
    return F.silu(flat[3:-2]) + F.gelu(flat[1:-4])


def off_the_beginning_in_place(self, x):
    return F.mish(self.wide(x).reshape(-1)[5:], inplace=True).sum()


def written_out(self, x):
    first, gate = self.wide(x).chunk(2, dim=-1)
    return self.last(first * torch.sigmoid(first)) + gate.sum()


LAYOUTS = (gelu_of_half, in_place_of_half, module_in_place_of_half, half_that_is_read_again, transposed,
           transposed_in_place, expanded, channels_last, off_the_beginning, off_the_beginning_in_place,
           written_out)  # fmt: skip


def half(self, x):
    return self.wide(x)[:, :WIDTH]


def dropout_always(self, x):
    return self.last(F.gelu(F.dropout(half(self, x), training=True)))


def slopes_always_drawn(self, x):
    return self.last(F.rrelu(half(self, x), training=True))


def noise_of_python(self, x):
    return self.last(F.gelu(half(self, x))) * (1 if random.random() < 0.8 else 2)


def noise_of_numpy(self, x):
    return self.last(F.gelu(half(self, x))) * np.random.rand()


def noise_of_its_own(self, x):
    return self.last(F.gelu(half(self, x))) + torch.rand(1, generator=self.generator)


def another_after_some_calls(self, x):
    self.calls += 1
    return self.last(F.gelu(half(self, x))) * (1 + (self.calls > 1))


def clock(self, x):
    return self.last(F.gelu(half(self, x))) * time.perf_counter()


def not_a_number(self, x):
    return F.gelu(half(self, x).log())


def overwrites_its_input(self, x):
    return self.last(F.gelu(half(self, F.elu_(x))))


def complex_spectrum(self, x):
    return torch.fft.fft(F.gelu(half(self, x)))


def ragged(self, x):
    h = half(self, x)
    return F.gelu(torch.nested.nested_tensor([h[:2], h[:3]], layout=torch.jagged))


def sparse(self, x):
    return F.gelu(half(self, x)).to_sparse()


def under_autocast(self, x):
    with torch.autocast("cpu", torch.bfloat16):
        return gelu_of_half(self, x)


OTHERS = (dropout_always, slopes_always_drawn, noise_of_python, noise_of_numpy, noise_of_its_own,
          another_after_some_calls, clock, not_a_number, overwrites_its_input, complex_spectrum, ragged, sparse,
          under_autocast)  # fmt: skip


def net(forward):
    torch.manual_seed(0)
    return type(forward.__name__, (Net,), {"forward": forward})()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("forward", LAYOUTS)
def test_no_layout_is_a_false_alarm(forward, dtype):
    report = limen.swap_(net(forward).to(dtype), "asau", example_inputs=torch.randn(6, WIDTH, dtype=dtype))
    assert report.sites
    assert report.drift > 0


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("forward", OTHERS)
def test_neither_chance_nor_the_kind_of_output_is_a_false_alarm(forward, train):
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    report = limen.swap_(net(forward).train(train), "asau", example_inputs=torch.randn(6, WIDTH))
    assert report.sites
    assert report.drift != 0
    assert (states[0], states[1]) == (random.getstate(), np.random.get_state()[1].tolist())


class Padded(nn.Module):
    """Torch's fused layers, which fill the padding with zeros, ran before the swap and do not run after it."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12, batch_first=True), 2)

    def forward(self, x, padding):
        return self.encoder(x, src_key_padding_mask=padding)


def test_fused_transformer_layers_are_no_false_alarm():
    padding = torch.tensor([[False, False, False], [False, True, True]])
    fused = torch.backends.mha.get_fastpath_enabled()
    report = limen.swap_(Padded().eval(), "asau", example_inputs=(torch.randn(2, 3, 8), padding))
    assert len(report.sites) == 2
    assert torch.backends.mha.get_fastpath_enabled() is fused


def held_unseen(self, x):
    whole = self.wide(x)
    held = getattr(whole, "det" + "ach")()
    return F.elu_(whole) + 1e-6 * held


def test_what_differs_by_a_millionth_is_still_found(monkeypatch):
    monkeypatch.setattr("limen.surgery.swapping.must_write_back", lambda spot, flow: False)
    with pytest.raises(LimenError, match=r"keep some sites \(elu, elu_1\)"):
        limen.swap_(net(held_unseen), "asau", example_inputs=torch.randn(6, WIDTH))


def test_a_copy_for_the_proof_lies_as_the_original_does():
    """So that torch's kernels take the same steps over it, from the same place in a vector."""
    for x in (torch.randn(4, 70)[:, 3:40], torch.randn(5, 6, 7).transpose(0, 2)[1:], torch.randn(9)[1::2]):
        copied = same_layout(x)
        assert torch.equal(copied, x)
        assert copied.stride() == x.stride()
        assert copied.data_ptr() % 64 == x.data_ptr() % 64
        assert copied.untyped_storage().data_ptr() != x.untyped_storage().data_ptr()
    expanded = torch.randn(3, 1).expand(3, 4)
    assert torch.equal(same_layout(expanded), expanded)
