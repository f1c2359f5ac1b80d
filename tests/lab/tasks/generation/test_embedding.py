"""The embedding of the small Fréchet distance, by hand: what it is learned from, how it is scaled, what it is given."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor, nn

from limen.lab.tasks.generation import embedding as embedding_module
from limen.lab.tasks.generation.embedding import Embedding, learn_embedding
from limen.lab.tasks.generation.frechet import SmallFID


def halved(images: np.ndarray) -> np.ndarray:
    """Half the side, by the triangle of width 4 that antialiasing is: 1, 3, 3, 1 parts, fewer at the border."""
    for axis in (2, 3):
        moved = np.moveaxis(images, axis, -1)
        padded = np.pad(moved, [(0, 0)] * 3 + [(1, 1)])
        parts = np.pad(np.ones(moved.shape[-1]), 1)
        weighed = [
            sum(w * of[..., at : at + moved.shape[-1] : 2] for at, w in enumerate((1, 3, 3, 1)))
            for of in (padded, parts)
        ]
        images = np.moveaxis(weighed[0] / weighed[1], -1, axis)
    return images


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What the turns would be learned from."""
    seen: list[Tensor] = []
    monkeypatch.setattr(embedding_module, "_learn_turns", lambda embedding, head, squares: seen.append(squares))
    return seen


def test_every_image_counts_and_a_feature_has_mean_0_and_deviation_1(untrained: list[Tensor]) -> None:
    images = torch.randint(0, 256, (6, 1, 64, 64), dtype=torch.uint8)
    images[0] = 255
    embedding = learn_embedding(images)
    pixels = images.float() / 127.5 - 1
    assert torch.allclose(untrained[0], torch.from_numpy(halved(pixels.numpy())).float(), atol=1e-5)
    features = embedding(pixels)
    assert torch.allclose(features.mean(0), torch.zeros(64), atol=1e-4)
    spread = features.std(0, correction=0)
    assert torch.allclose(spread[spread > 0], torch.ones(int((spread > 0).sum())), atol=1e-3)


def test_more_images_than_are_needed_are_thinned_out_evenly(
    untrained: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding_module, "IMAGES", 3)
    learn_embedding(torch.arange(9, dtype=torch.uint8).reshape(9, 1, 1, 1).expand(-1, -1, 32, 32))
    assert [round(float(square[0, 0, 0] * 127.5 + 127.5)) for square in untrained[0]] == [0, 4, 8]


def test_images_of_any_size_are_embedded_as_32_pixels() -> None:
    embedding = Embedding(3)
    assert sum(p.numel() for p in embedding.parameters()) == 3 * 32 * 9 + 32 + 32 * 64 * 9 + 64 + 64 * 64 * 9 + 64
    level = torch.full((1, 3, 32, 32), 0.5)
    wanted = embedding.layers(level).mean((2, 3))
    for side in (16, 32, 64):
        assert torch.allclose(embedding(level[..., :1, :1].expand(-1, -1, side, side)), wanted, atol=1e-6)


def test_the_distance_of_normal_features() -> None:
    torch.manual_seed(0)
    embedding = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    embedding.num_features = 3
    fake, real = torch.rand(40, 1, 4, 4) * 2 - 1, torch.rand(50, 1, 4, 4) - 1
    metric = SmallFID(embedding)
    metric.update(fake, real)
    (mu, s), (nu, t) = ((of.mean(0), np.cov(of, rowvar=False)) for of in (
        embedding(images).detach().double().numpy() for images in (fake, real)))  # fmt: skip
    wanted = np.square(mu - nu).sum() + np.trace(s + t - 2 * scipy.linalg.sqrtm(s @ t).real)
    assert float(metric.compute()) == pytest.approx(wanted, rel=1e-3)


def test_sums_over_all_processes_are_not_added_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = SmallFID(Embedding(1))
    meter.update(torch.rand(8, 1, 32, 32) * 2 - 1, torch.rand(8, 1, 32, 32))
    monkeypatch.setattr(meter.distance, "distributed_available_fn", lambda: True)
    monkeypatch.setattr(meter.distance, "dist_sync_fn", lambda *_: pytest.fail("asked the other processes"))
    assert meter.compute() > 0
