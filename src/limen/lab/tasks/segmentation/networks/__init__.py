"""The networks of segmentation, built with ReLU; the study swaps the activation in afterwards."""

from __future__ import annotations

from limen.lab.networks.catalogue import Catalogue

HERE = "limen.lab.tasks.segmentation.networks"
NETWORKS = Catalogue(
    {
        "unet": f"{HERE}.unet:UNet",
        "deeplabv3plus": f"{HERE}.deeplabv3plus:DeepLabV3Plus",
        "efficientnet-unet": f"{HERE}.unet:EfficientNetUNet",
        "double-unet": f"{HERE}.double_unet:DoubleUNet",
        "transnetr": f"{HERE}.transnetr:TransNetR",
    }
)
"""By the names that ``--network`` takes."""
