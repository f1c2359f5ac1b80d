"""Where a classifier looks: Grad-CAM, Selvaraju et al. 2017, arXiv 1610.02391, equations 1 and 2."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def grad_cam(network: nn.Module, images: Tensor, classes: Tensor | None = None) -> tuple[Tensor | None, Tensor]:
    r"""How much each place of each image speaks for a class, and the logits.

    With A the last feature map that has places, and y the logit of the class:

    .. math::
        L = \mathrm{ReLU}\Big(\sum_k \alpha_k A_k\Big), \qquad
        \alpha_k = \frac1{HW} \sum_{ij} \frac{\partial y}{\partial A_{kij}}

    Args:
        network: A classifier, which is run as it is evaluated and left in the mode it was in.
        images: (N, C, H, W).
        classes: (N,); by default those that the network predicts.

    Returns:
        The maps, (N, H, W), bilinearly enlarged, from 0 to 1 in each image (all 0 where nothing speaks for the
        class), or None where the network has no feature map, as an MLP; and the logits, (N, classes).

    >>> network = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Flatten(), nn.Linear(32, 3))
    >>> maps, logits = grad_cam(network, torch.zeros(5, 1, 4, 4))
    >>> tuple(maps.shape), tuple(logits.shape)
    ((5, 4, 4), (5, 3))
    """
    training = network.training
    network.eval()
    try:
        with torch.enable_grad():
            features, logits = _last_features(network, images)
            if features is None:
                return None, logits.detach()
            chosen = logits.argmax(1) if classes is None else classes
            score = logits.gather(1, chosen[:, None]).sum()
            (gradient,) = torch.autograd.grad(score, features, allow_unused=True)
    finally:
        network.train(training)
    maps = None if gradient is None else _enlarged(_weighed(features.detach(), gradient), images)
    return maps, logits.detach()


def _last_features(network: nn.Module, images: Tensor) -> tuple[Tensor | None, Tensor]:
    """The last output of any module with channels and more than one place, and the network's own."""
    found: list[Tensor | None] = [None]

    def keep(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output[0, 0].numel() > 1 and output.requires_grad:
            found[0] = output

    handles = [module.register_forward_hook(keep) for module in network.modules()]
    try:
        logits = network(images)
    finally:
        for handle in handles:
            handle.remove()
    return found[0], logits


def _weighed(features: Tensor, gradient: Tensor) -> Tensor:
    """Equations 1 and 2."""
    return F.relu((gradient.mean((2, 3), keepdim=True) * features).sum(1))


def _enlarged(maps: Tensor, images: Tensor) -> Tensor:
    large = F.interpolate(maps[:, None], images.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    largest = large.amax((1, 2), keepdim=True)
    return large / torch.where(largest > 0, largest, torch.ones_like(largest))
