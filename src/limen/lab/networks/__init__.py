"""The networks of the lab, built with ReLU; the study swaps the activation in afterwards.

A network is a built-in name, ``timm:NAME``, ``torchvision:NAME`` or ``package.module:factory``. A factory is called
with what it takes of ``image_shape``, ``in_channels``, ``in_chans``, ``image_size``, ``num_classes``, ``n_classes``.
"""

from limen.lab.networks.catalogue import NETWORKS
from limen.lab.networks.factory import build, construct, described, find
from limen.lab.networks.layers import ImageShape

__all__ = ["NETWORKS", "ImageShape", "build", "construct", "described", "find"]
