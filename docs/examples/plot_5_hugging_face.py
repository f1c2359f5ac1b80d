"""
A Hugging Face model
====================

Its configuration names an activation; limen's names begin with ``limen:``. The model is made from a small configuration
here, so that nothing is loaded.
"""

import torch
from transformers import BertConfig, BertModel

import limen
from limen.adapters import transformers as adapter

adapter.register()
sizes = {"hidden_size": 32, "intermediate_size": 64, "vocab_size": 100}
small = {**sizes, "num_hidden_layers": 2, "num_attention_heads": 2}
model = BertModel(BertConfig(**small, hidden_act="limen:asau"))
print(sum(isinstance(module, limen.ASAU) for module in model.modules()))
hidden = model(torch.randint(0, 100, (2, 7))).last_hidden_state
print(tuple(hidden.shape))

# %%
# Or a model that is there already:

other = BertModel(BertConfig(**small))
print(limen.swap_(other, "swish"))
