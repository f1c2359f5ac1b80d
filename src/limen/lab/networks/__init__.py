"""The networks of the lab, built with ReLU; the study swaps the activation in afterwards.

A network is a built-in name, ``timm:NAME``, ``torchvision:NAME`` or ``package.module:factory``. A factory is called
with what it takes of ``image_shape``, ``in_channels``, ``in_chans``, ``image_size``, ``num_classes``, ``n_classes``.
"""

from typing import TYPE_CHECKING

from limen.lazily import attributes

if TYPE_CHECKING:
    from limen.lab.networks.catalogue import NETWORKS, check_name
    from limen.lab.networks.factory import build, construct, described, find
    from limen.lab.networks.layers import ImageShape
else:
    __getattr__, __dir__ = attributes(
        __name__,
        {
            "NETWORKS": "catalogue",
            "check_name": "catalogue",
            "build": "factory",
            "construct": "factory",
            "described": "factory",
            "find": "factory",
            "ImageShape": "layers",
        },
    )

__all__ = ["NETWORKS", "ImageShape", "build", "check_name", "construct", "described", "find"]
