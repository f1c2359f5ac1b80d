"""Activations by name in other libraries.

========================= ======================================================================================
library                   after one call
========================= ======================================================================================
Hugging Face Transformers ``adapters.transformers.register()``: ``BertConfig(hidden_act="limen:asau")``
timm                      ``adapters.timm.register()``: ``timm.create_model("resnet18", act_layer="limen:asau")``
MONAI                     ``adapters.monai.register()``: ``UNet(..., act="limen:asau")``
torchvision, any other    no call: ``MLP(..., activation_layer=limen.adapters.layer("asau"))``
========================= ======================================================================================

What follows ``limen:`` is any spec that :func:`limen.create` takes, with options, your own registered classes included.
Each layer gets an activation of its own. The prefix keeps these libraries' own names (``relu``, ``gelu``) theirs. A
registration lasts for the process, so a program that loads a saved configuration with such a name registers first;
``unregister()`` ends it. Models that let nobody choose their activation are changed by :func:`limen.swap_`.

Libraries that look into a model are told what its activations are, by ``adapters.captum.register()`` (DeepLift's rule),
``adapters.opacus.register()`` (gradients by sample) and ``adapters.torch_pruning.register()`` (parameters by channel).

>>> layer("asau:beta=2")()
ASAU(a=0.01, b=1, alpha=1, beta=2)
"""

from limen.adapters.specs import PREFIX, layer

__all__ = ["PREFIX", "layer"]
