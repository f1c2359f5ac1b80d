"""Llama in any size, as its name says: ``llama-4x128`` has four layers of width 128."""

from __future__ import annotations

from typing import Any

from torch import nn

from limen.errors import require
from limen.lab.networks.libraries import Decoder
from limen.lab.networks.transformer import heads_of


def llama(vocabulary: int, window: int, layers: int, width: int) -> nn.Module:
    """Transformers' own from its configuration: root mean squares as norms, rotary positions, a gated feed-forward.

    The gate is two thirds of four times as wide, to a multiple of 8; the head's weights are the embedding's.
    """
    library: Any = require("transformers", "transformers", f"the network 'llama-{layers}x{width}' needs transformers")
    config = library.LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=8 * max(1, round(width / 3)),
        num_hidden_layers=layers,
        num_attention_heads=heads_of(width),
        num_key_value_heads=heads_of(width),
        max_position_embeddings=window,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
        use_cache=False,
    )
    return Decoder(library.LlamaForCausalLM(config))
