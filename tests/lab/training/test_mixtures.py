"""The Lightning callbacks of a search, in a module that knows nothing of them."""

from __future__ import annotations

import warnings
from pathlib import Path

import lightning as L
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import limen
from limen.lab.training.mixtures import DropHopeless, LearnOnHeldout, MixtureSchedule, Trajectories
from limen.selection import geometric, linear


class Plain(L.LightningModule):
    def __init__(self, lr: float = 0.02) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
        limen.swap_(self.body, lambda: limen.AdAct(("relu", "silu", "prelu", "elu")))
        self.lr = lr
        self.temperatures: list[float] = []

    @property
    def mixture(self) -> limen.AdAct:
        found = self.body[1]
        assert isinstance(found, limen.AdAct)
        return found

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        x, y = batch
        weighting = self.mixture.weighting
        self.temperatures.append(1.0 if weighting is None else weighting.temperature.item())
        return (self.body(x) - y).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(limen.param_groups(self.body, self.lr, activation_lr=5 * self.lr))


def batches() -> DataLoader:
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))
    return DataLoader(TensorDataset(x, x.sum(1, keepdim=True).sin()), batch_size=16)


def fit(module: Plain, *callbacks: L.Callback, epochs: int = 5, **options: object) -> L.Trainer:
    checkpoint = options.pop("ckpt_path", None)
    trainer = L.Trainer(
        max_epochs=epochs, accelerator="cpu", devices=1, logger=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=list(callbacks), **{"enable_checkpointing": False, **options},
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*treespec.*")
        warnings.filterwarnings("ignore", ".*num_workers.*")
        warnings.filterwarnings("ignore", ".*workers.*")
        warnings.filterwarnings("ignore", ".*logging interval.*")
        warnings.filterwarnings("ignore", ".*Checkpoint directory.*")
        trainer.fit(module, batches(), ckpt_path=checkpoint, weights_only=True)
    return trainer


def test_the_temperature_follows_the_schedule():
    module = Plain()
    fit(module, MixtureSchedule(temperature=geometric(1.0, 0.1)))
    assert len(module.temperatures) == 20
    assert module.temperatures == pytest.approx([0.1 ** (n / 19) for n in range(20)], rel=1e-5)


def test_an_entropy_factor_makes_weights_decide():
    free, driven = Plain(), Plain()
    fit(free, MixtureSchedule(entropy=linear(0.0, 0.0)), epochs=20)
    fit(driven, MixtureSchedule(entropy=linear(0.0, 3.0)), epochs=20)
    assert limen.selection.entropy(driven.body) < 0.5 * limen.selection.entropy(free.body)
    untouched = Plain()
    fit(untouched, epochs=20)
    assert torch.equal(untouched.mixture.logits, free.mixture.logits)


def test_accumulated_steps_get_the_entropy_once():
    module, alone = Plain(), Plain()
    fit(module, MixtureSchedule(entropy=lambda _: 0.5), epochs=1, accumulate_grad_batches=4)
    optimiser = alone.configure_optimizers()
    for x, y in batches():
        ((alone.body(x) - y).square().mean() / 4).backward()
    limen.selection.add_entropy_gradient(alone.body, 0.5)
    optimiser.step()
    assert torch.allclose(module.mixture.logits, alone.mixture.logits, atol=1e-7)


def test_hopeless_candidates_go():
    module = Plain()
    dropping, seen = DropHopeless(0.2, after=3), Trajectories()
    fit(module, seen, dropping, epochs=25)
    assert dropping.dropped
    assert min(dropping.dropped) >= 3
    gone = {name for sites in dropping.dropped.values() for names in sites.values() for name in names}
    weights = dict(zip(module.mixture.names, module.mixture.weights.tolist(), strict=True))
    assert {name for name, weight in weights.items() if weight == 0} == gone
    assert [row.epoch for row in seen.rows] == list(range(26))
    assert seen.rows[0].weights == pytest.approx(dict.fromkeys(module.mixture.names, 0.25))


def test_weights_learn_on_heldout_batches_and_continue_from_a_checkpoint(tmp_path: Path):
    def made() -> tuple[Plain, LearnOnHeldout]:
        module = Plain()
        held = [tuple(batch) for batch in batches()]
        return module, LearnOnHeldout(module.body, held, lambda b: (module.body(b[0]) - b[1]).square().mean(), lr=0.05)

    module, search = made()
    trainer = fit(module, search, epochs=2)
    assert not torch.equal(module.mixture.logits, torch.zeros(4))
    assert not module.mixture.logits.requires_grad
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    resumed, again = made()
    fit(resumed, again, epochs=4, ckpt_path=str(tmp_path / "half.ckpt"))
    straight, whole = made()
    fit(straight, whole, epochs=4)
    assert torch.allclose(resumed.mixture.logits, straight.mixture.logits, atol=1e-6)
