"""A causal model stays causal, or the report says that it does not."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import limen
from limen.activations.fields import StatisticsContext
from limen.formula import mean, tanh

WIDTH, LENGTH = 8, 6


class Attention(nn.Module):
    """One head that looks where it may, with an activation behind it."""

    def __init__(self):
        super().__init__()
        self.project, self.mix, self.act = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH), nn.GELU()

    def attend(self, x):
        raise NotImplementedError

    def forward(self, x):
        return x + self.mix(self.act(self.attend(*self.project(x).chunk(3, dim=-1))))


class Declared(Attention):
    is_causal = True

    def attend(self, q, k, v):
        return F.scaled_dot_product_attention(q, k, v, is_causal=self.is_causal)


class Asked(Attention):
    def attend(self, q, k, v):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)


class Triangle(Attention):
    def attend(self, q, k, v):
        allowed = torch.tril(torch.ones(q.shape[1], q.shape[1])) > 0
        return F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)


class Buffered(Attention):
    def __init__(self):
        super().__init__()
        self.register_buffer("bias", torch.full((1, 1, 16, 16), -torch.inf).triu(1))

    def attend(self, q, k, v):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias[0, 0, : q.shape[1], : q.shape[1]])


class Encoder(nn.Module):
    """Causal by the mask that it is given, which only running shows."""

    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(WIDTH, 2, WIDTH, batch_first=True, dropout=0.0)

    def forward(self, x, mask):
        return self.layer(x, src_mask=mask)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru, self.last, self.act = nn.GRU(WIDTH, WIDTH, batch_first=True), nn.Linear(WIDTH, WIDTH), nn.ReLU()

    def forward(self, x):
        return self.act(self.last(self.gru(x)[0]))


class Open(Attention):
    def attend(self, q, k, v):
        return F.scaled_dot_product_attention(q, k, v)


class Convolution(nn.Module):
    """Causal along the last axis, where no context of a statistic is."""

    def __init__(self):
        super().__init__()
        self.layer, self.act = nn.Conv1d(WIDTH, WIDTH, 3), nn.SiLU()

    def forward(self, x):
        return self.act(self.layer(F.pad(x, (2, 0))))


class Centred(limen.Activation):
    """x·tanh(x − mean)."""

    context = StatisticsContext()
    elementwise = False

    @staticmethod
    def formula(x, context):
        return x * tanh(x - mean(x, context))


def looks_ahead(model, axis=1):
    x = torch.randn(2, LENGTH, WIDTH) if axis == 1 else torch.randn(2, WIDTH, LENGTH)
    other = x.clone()
    other.narrow(axis, 3, 3).neg_()
    more = (torch.ones(LENGTH, LENGTH).triu(1) > 0,) if isinstance(model, Encoder) else ()
    with torch.no_grad():
        before, after = (model.eval()(given, *more).narrow(axis, 0, 3) for given in (x, other))
    return not torch.allclose(before, after, atol=1e-6)


SPECS = ("ash", "leaky_ash", "fixed_ash", "top_percentile", "adact:candidates=ash+relu", Centred, limen.HardASH,
         partial(limen.ASH, z_k=1.0), partial(limen.AdAct, ("ash:z_k=1", "relu")))  # fmt: skip
SHOWN = (Declared, Asked, Triangle, Buffered)


@pytest.mark.parametrize("build", SHOWN)
@pytest.mark.parametrize("to", SPECS)
def test_statistics_are_taken_within_tokens_where_a_model_shows_that_it_is_causal(build, to):
    model = nn.Sequential(build(), build())
    report = limen.swap_(model, to)
    assert not looks_ahead(model)
    (note,) = report.notes
    assert note.startswith("context='token' at 0.act, 1.act, so that the model stays causal: 0")
    assert f"note: {note}" in str(report)
    assert report.as_dict()["notes"] == [note]


@pytest.mark.parametrize(
    "to",
    [
        "ash:context=sample",
        "ash:context=channel,channel_dim=-1",
        limen.ASH(),
        lambda: limen.ASH(),
        partial(limen.ASH, context="sample"),
        partial(limen.AdAct, candidates=["relu", "ash:context=sample"]),
    ],
)
def test_a_context_that_was_chosen_stays_and_the_report_says_what_it_breaks(to):
    model = Triangle()
    (note,) = limen.swap_(model, to).notes
    assert looks_ahead(model)
    assert note.startswith("the model stops being causal: Triangle calls tril, and the statistics at act take in later")
    assert 'context="token" keeps it causal' in note


def test_a_context_within_tokens_needs_no_note():
    assert limen.swap_(Triangle(), "ash:context=token").notes == []
    assert limen.swap_(Triangle(), "asau").notes == []


@pytest.mark.parametrize("build", [Encoder, Recurrent])
def test_examples_show_what_no_source_does(build):
    model = build()
    more = (torch.ones(LENGTH, LENGTH).triu(1) > 0,) if build is Encoder else ()
    (note,) = limen.swap_(model, "ash", example_inputs=(torch.randn(2, LENGTH, WIDTH), *more)).notes
    assert "the example inputs show that no output depends on later ones" in note
    assert not looks_ahead(model)


@pytest.mark.parametrize("to", ["ash", "ash:context=token"])
def test_where_no_context_is_causal_the_examples_say_so(to):
    model = Convolution()
    (note,) = limen.swap_(model, to, example_inputs=torch.randn(2, WIDTH, LENGTH)).notes
    assert note.startswith("the model stops being causal: on the example inputs later values now move earlier outputs")
    assert looks_ahead(model, axis=2)


@pytest.mark.parametrize("build", [Open, lambda: nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.GELU())])
def test_what_is_not_causal_takes_its_statistics_over_the_sample(build):
    model = build()
    report = limen.swap_(model, "ash", example_inputs=torch.randn(2, LENGTH, WIDTH))
    assert report.notes == []
    assert {m.context for m in model.modules() if isinstance(m, limen.ASH)} == {"sample"}


class TestTransformers:
    """Each declares in its own way whether it looks ahead."""

    @pytest.fixture(autouse=True)
    def _library(self):
        self.library = pytest.importorskip("transformers")

    def build(self, name):
        small = {"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
        if name == "GPT2":
            config = self.library.GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=20, n_positions=16)
            return self.library.GPT2LMHeadModel(config).eval()
        if name == "Bart":
            config = self.library.BartConfig(
                vocab_size=20, d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
                decoder_attention_heads=2, encoder_ffn_dim=8, decoder_ffn_dim=8, max_position_embeddings=16,
            )  # fmt: skip
            return self.library.BartModel(config).eval()
        if name == "Bert as decoder":
            config = self.library.BertConfig(intermediate_size=8, is_decoder=True, **small)
            return self.library.BertLMHeadModel(config).eval()
        if name == "Bloom":
            return self.library.BloomModel(self.library.BloomConfig(vocab_size=20, hidden_size=8, n_layer=1, n_head=2))
        return self.library.BertModel(self.library.BertConfig(intermediate_size=8, **small)).eval()

    @pytest.mark.parametrize("name", ["GPT2", "Bert as decoder"])
    def test_a_decoder_reads_the_same_with_a_cache(self, name):
        model, ids = self.build(name), torch.randint(0, 20, (2, 8))
        limen.swap_(model, "ash", example_inputs={"input_ids": ids})
        with torch.no_grad():
            whole = model(ids).logits[:, -1]
            cache = model(ids[:, :-1], use_cache=True).past_key_values
            torch.testing.assert_close(model(ids[:, -1:], past_key_values=cache).logits[:, -1], whole)

    @pytest.mark.parametrize(
        ("name", "contexts"),
        [
            ("Bart", {"encoder": "sample", "decoder": "token"}),
            ("Bert", {"encoder": "sample"}),
            ("Bloom", {"h": "token"}),
        ],
    )
    def test_each_part_by_itself(self, name, contexts):
        model = self.build(name)
        limen.swap_(model, "ash")
        found = {path.partition(".")[0]: m.context for path, m in model.named_modules() if isinstance(m, limen.ASH)}
        for part, context in contexts.items():
            assert found[part] == context
