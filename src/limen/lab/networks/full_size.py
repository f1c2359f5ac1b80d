"""Networks that give a picture: they answer in the size of the image, whatever that is."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class FullSize(nn.Module):
    """Pads images with their edges, so that their sides can be halved again and again, and crops the answer."""

    MULTIPLE = 8
    """What divides the sides of the images that :meth:`logits` sees."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (N, classes, H, W)."""
        height, width = images.shape[2:]
        padded = F.pad(images, (0, -width % self.MULTIPLE, 0, -height % self.MULTIPLE), mode="replicate")
        return self.logits(padded)[:, :, :height, :width]

    def logits(self, images: Tensor) -> Tensor:
        """Logits of padded images."""
        raise NotImplementedError


class Body(FullSize):
    """Another library's network, for images of every size."""

    MULTIPLE = 32

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def logits(self, images: Tensor) -> Tensor:
        """Logits of padded images."""
        logits: Tensor = self.body(images)
        return logits
