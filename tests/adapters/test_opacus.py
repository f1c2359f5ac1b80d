"""The gradients of single samples of every activation; with Opacus itself where that is installed."""

from __future__ import annotations

import copy

import pytest
import torch
from helpers import LEARNING, library, perturbed
from torch import nn
from torch.func import functional_call, grad, vmap

import limen
from limen.adapters.opacus import per_sample_gradients
from limen.formula import tanh

QUIET = {"candidates": ("relu", "prelu", "asau", "ash")}
FORMS = [{}, {"num_parameters": 4}, {"num_parameters": 2, "group_size": 2}]
CASES = [(name, form) for name in LEARNING for form in FORMS]


class Slide(limen.Activation):
    """A user's own, of no name, with one parameter that is not learned."""

    k = limen.Param(0.5)
    by = limen.Param(0.3, learned=False)

    @staticmethod
    def formula(x, k, by):
        return x * tanh(k * x + by)


def made(name, form):
    """In training mode; mixtures without noise, so that a sample can be computed again."""
    return perturbed(name, **form, **(QUIET if name == "adact" else {})).train()


@limen.use_backend("plain")
def one_by_one(module, x, g, **named):
    """The gradients of the learned parameters, from a loop over samples; without kernels, which take longer to make."""
    learned = [p for p in module.parameters() if p.requires_grad]
    rows = []
    for index in range(len(x)):
        given = {key: value[index : index + 1] for key, value in named.items()}
        y = module(x[index : index + 1], **given)
        rows.append(torch.autograd.grad(y, learned, g[index : index + 1], materialize_grads=True))
    return {p: torch.stack(by_sample) for p, *by_sample in zip(learned, *rows, strict=True)}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for parameter, gradient in expected.items():
        torch.testing.assert_close(found[parameter], gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "form"), CASES)
def test_as_a_loop_over_samples(name, form):
    module, x, g = made(name, form), torch.randn(3, 4, 5), torch.randn(3, 4, 5)
    assert_same(per_sample_gradients(module, x, g), one_by_one(module, x, g))


@pytest.mark.parametrize("name", LEARNING)
def test_as_torchs_own_transforms(name):
    """By ``vmap`` and ``grad``, the way that Opacus goes for a layer without buffers."""
    module, x, g = made(name, FORMS[1]), torch.randn(3, 4), torch.randn(3, 4)
    parameters, buffers = dict(module.named_parameters()), dict(module.named_buffers())

    def product(parameters, x, g):
        return (functional_call(module, (parameters, buffers), (x[None],)) * g).sum()

    found = vmap(grad(product), in_dims=(None, 0, 0))({k: p.detach() for k, p in parameters.items()}, x, g)
    assert_same(per_sample_gradients(module, x, g), {p: found[name] for name, p in parameters.items()})


def frozen_logits():
    module = limen.AdAct(QUIET["candidates"])
    module.logits.requires_grad_(False)
    return module


def dropped():
    module = limen.AdAct(QUIET["candidates"], num_parameters=4)
    module.drop_(["prelu"])
    return module


UNUSUAL = {
    "all learned": lambda: limen.ASAU(learned=True),
    "one learned": lambda: limen.ASAU(learned="alpha", num_parameters=4),
    "positive": lambda: limen.APALU(positive=True, smooth=True, num_parameters=4),
    "double": lambda: limen.ASAU(dtype=torch.float64),
    "of a channel": lambda: limen.ASH(context="channel"),
    "last axis": lambda: limen.Swish(num_parameters=5, channel_dim=-1),
    "frozen logits": frozen_logits,
    "a candidate dropped": dropped,
    "a user's": Slide,
}


@pytest.mark.parametrize("make", UNUSUAL.values(), ids=UNUSUAL)
def test_partly_learned_and_unusual(make):
    module, x, g = make(), torch.randn(3, 4, 5), torch.randn(3, 4, 5)
    assert_same(per_sample_gradients(module, x, g), one_by_one(module, x, g))


@pytest.mark.parametrize(
    "x",
    [torch.randn(3), torch.randn(3, 4).T, torch.randn(3, 4).bfloat16()],
    ids=["one axis", "transposed", "bfloat16"],
)
def test_other_inputs(x):
    module, g = limen.ASAU(), torch.randn_like(x)
    assert_same(per_sample_gradients(module, x, g), one_by_one(module, x, g))


@pytest.mark.parametrize("name", ["asau", "ash"])
def test_padding_is_of_no_sample(name):
    module, x, g = made(name, {}), torch.randn(3, 5, 2), torch.randn(3, 5, 2)
    mask = torch.rand(3, 5) > 0.4
    assert_same(per_sample_gradients(module, x, g, mask), one_by_one(module, x, g, mask=mask))


def test_the_noise_is_that_of_the_call():
    """Drawn by element, and for the weights of a mixture; a draw in between changes nothing, and nothing is drawn."""
    module = limen.AdAct(("rrelu", "relu", "prelu"), num_parameters=4).train()
    module.shape_weights().gumbel = True
    x, g = torch.randn(3, 4, 5), torch.randn(3, 4, 5)
    state = torch.get_rng_state()
    with limen.use_backend("plain"):
        whole = torch.autograd.grad(module(x), list(module.parameters()), g)
    torch.rand(7)
    before = torch.get_rng_state()
    found = per_sample_gradients(module, x, g, state=state[None])
    assert torch.equal(torch.get_rng_state(), before)
    for parameter, gradient in zip(module.parameters(), whole, strict=True):
        torch.testing.assert_close(found[parameter].sum(0), gradient, rtol=1e-4, atol=1e-5)


class Masked(nn.Module):
    """A network that gives its activation a mask, by name."""

    def __init__(self):
        super().__init__()
        self.before, self.activation = nn.Linear(2, 4), limen.ASH(learned=("alpha",))

    def forward(self, x):
        return self.activation(self.before(x), mask=torch.tensor([[1, 1, 1, 0, 0]]).expand(len(x), 5))


@pytest.mark.filterwarnings("ignore:Full backward hook", "ignore:Secure RNG", "ignore:Optimal order")
class TestOpacus:
    @pytest.fixture(autouse=True)
    def _registered(self):
        self.opacus, self.wrappers = library("opacus"), library("opacus.grad_sample")
        library("limen.adapters.opacus").register()
        yield
        library("limen.adapters.opacus").unregister()

    def check(self, model, x, reduction="sum", wrapper=None, **named):
        """The samples' gradients are those of a loop, where no noise is drawn, and add up to that of the batch."""
        model.train()
        single, noisy = (
            copy.deepcopy(model),
            any(getattr(m, "gumbel", 0) or isinstance(m, limen.RReLU) for m in model.modules()),
        )
        wrapped = self.opacus.GradSampleModule(model, loss_reduction=reduction, **named)
        loss = wrapped(x).square().flatten(1).sum(1)
        (loss.sum() if reduction == "sum" else loss.mean()).backward()
        learned = [(p, q) for p, q in zip(model.parameters(), single.parameters(), strict=True) if p.requires_grad]
        for p, _ in learned:
            joined = p.grad_sample.sum(0) if reduction == "sum" else p.grad_sample.mean(0)
            torch.testing.assert_close(joined, p.grad, rtol=1e-4, atol=1e-5)
        for index in range(0 if noisy else len(x)):
            loss = single(x[index : index + 1]).square().sum()
            for (p, _), expected in zip(learned, torch.autograd.grad(loss, [q for _, q in learned]), strict=True):
                torch.testing.assert_close(p.grad_sample[index], expected, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("named", [{}, {"force_functorch": True}, {"reduction": "mean"}], ids=str)
    @pytest.mark.parametrize("name", ["asau", "adact", "ash", "apalu", "relu"])
    def test_networks(self, name, named):
        act = limen.create(name, **({} if name == "relu" else {"num_parameters": 4}))
        self.check(
            nn.Sequential(nn.Conv2d(2, 4, 3), act, nn.Flatten(), nn.Linear(36, 2)), torch.randn(3, 2, 5, 5), **named
        )

    def test_swapped_frozen_shared_and_masked(self):
        model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU())
        limen.swap_(model, "asau", num_parameters="channel")
        assert self.opacus.validators.ModuleValidator.is_valid(model)
        self.check(model, torch.randn(3, 4))
        shared = limen.ASAU()
        self.check(nn.Sequential(nn.Linear(4, 4), shared, nn.Linear(4, 4), shared), torch.randn(3, 4))
        self.check(nn.Sequential(nn.Linear(4, 4), frozen_logits()), torch.randn(3, 4))
        self.check(Masked(), torch.randn(3, 5, 2))

    def test_norms_of_fast_gradient_clipping(self):
        model = nn.Sequential(nn.Linear(4, 4), limen.AdAct(), nn.Linear(4, 2), limen.ASAU()).train()
        state = torch.get_rng_state()
        wrapped = self.wrappers.GradSampleModuleFastGradientClipping(model, loss_reduction="sum")
        x = torch.randn(3, 4)
        wrapped(x).square().sum().backward()
        norms = wrapped.get_norm_sample()
        wrapped.remove_hooks()
        torch.set_rng_state(state)
        x = torch.randn(3, 4)
        again = self.opacus.GradSampleModule(model, loss_reduction="sum")
        again(x).square().sum().backward()
        squares = [p.grad_sample.flatten(1).square().sum(1) for p in model.parameters()]
        torch.testing.assert_close(norms, torch.stack(squares).sum(0).sqrt())

    def test_training_in_private(self):
        model = nn.Sequential(nn.Linear(4, 8), limen.ASAU(), nn.Linear(8, 2))
        before = copy.deepcopy(model[1].state_dict())
        data = torch.utils.data.TensorDataset(torch.randn(8, 4), torch.randint(2, (8,)))
        wrapped, optimiser, loader = self.opacus.PrivacyEngine().make_private(
            module=model,
            optimizer=torch.optim.SGD(limen.param_groups(model, 0.1)),
            data_loader=torch.utils.data.DataLoader(data, batch_size=4),
            noise_multiplier=1.0,
            max_grad_norm=1.0,
        )
        for x, y in loader:
            optimiser.zero_grad()
            nn.functional.cross_entropy(wrapped(x), y).backward()
            optimiser.step()
        changed = {name for name, value in model[1].state_dict().items() if not torch.equal(value, before[name])}
        assert changed == {"alpha", "beta"}

    def test_batch_norm_is_still_refused_and_unregistering_leaves_nothing(self):
        with pytest.raises(NotImplementedError, match="BatchNorm1d"):
            self.opacus.GradSampleModule(nn.Sequential(nn.BatchNorm1d(4), limen.ASAU()))
        library("limen.adapters.opacus").unregister()
        with pytest.raises(NotImplementedError, match="ASAU"):
            self.opacus.GradSampleModule(nn.Sequential(nn.Linear(4, 4), limen.ASAU()))
        hooks = library("opacus.grad_sample.grad_sample_module")
        taught = (hooks.requires_grad, hooks.prepare_layer, hooks.GradSampleHooks.add_hooks)
        assert all(function.__module__.startswith("opacus") for function in taught)
