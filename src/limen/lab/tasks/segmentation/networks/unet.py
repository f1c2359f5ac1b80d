"""U-Net, and U-Net with an EfficientNet encoder, both MONAI's."""

from __future__ import annotations

from torch import nn

from limen.lab.networks.full_size import Body
from limen.lab.tasks.segmentation.networks.monai_part import monai_part


class UNet(Body):
    """MONAI's U-Net with 16 to 128 channels and batch normalisation. Ronneberger et al. 2015, arXiv 1505.04597."""

    MULTIPLE = 8
    CHANNELS, STRIDES = (16, 32, 64, 128), (2, 2, 2)

    def __init__(self, in_channels: int, num_classes: int) -> None:
        body = monai_part("networks.nets").UNet(
            spatial_dims=2,
            in_channels=in_channels,
            out_channels=num_classes,
            channels=self.CHANNELS,
            strides=self.STRIDES,
            num_res_units=1,
            act=("RELU", {"inplace": False}),
            norm="BATCH",
        )
        super().__init__(body)


class EfficientNetUNet(Body):
    """MONAI's FlexibleUNet: EfficientNet-B0, untrained, as the encoder of a U-Net. Tan & Le 2019, arXiv 1905.11946.

    Its 49 swishes and the decoder's 10 ReLUs are what a swap replaces; the gates of squeeze-and-excitation stay. One
    swish, ``_blocks.0.0._swish``, is in a branch that its block never takes. EfficientNet's classifier is left out.
    """

    UNUSED = ("_conv_head", "_bn1", "_fc")

    def __init__(self, in_channels: int, num_classes: int) -> None:
        body = monai_part("networks.nets").FlexibleUNet(
            in_channels=in_channels,
            out_channels=num_classes,
            backbone="efficientnet-b0",
            pretrained=False,
            act=("RELU", {"inplace": False}),
        )
        for part in self.UNUSED:
            setattr(body.encoder, part, nn.Identity())
        super().__init__(body)
