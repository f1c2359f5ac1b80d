"""The networks of segmentation, built with ReLU; the study swaps the activation in afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from limen.lab.tasks.segmentation.networks.deeplabv3plus import DeepLabV3Plus
from limen.lab.tasks.segmentation.networks.double_unet import DoubleUNet
from limen.lab.tasks.segmentation.networks.transnetr import TransNetR
from limen.lab.tasks.segmentation.networks.unet import EfficientNetUNet, UNet

NETWORKS: Mapping[str, Callable[..., nn.Module]] = {
    "unet": UNet,
    "deeplabv3plus": DeepLabV3Plus,
    "efficientnet-unet": EfficientNetUNet,
    "double-unet": DoubleUNet,
    "transnetr": TransNetR,
}
"""By the names that ``--network`` takes."""
