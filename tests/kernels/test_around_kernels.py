"""What stands around a kernel, before which it must step aside or lose nothing: transforms, tracing, fakes, devices."""

from __future__ import annotations

import copy
import os
import signal
import warnings

import pytest
import torch
from helpers import COMPILED, activation
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

import limen
from limen.errors import LimenError


@pytest.mark.parametrize("name", COMPILED)
def test_another_default_device(name):
    """Room for results is made where the input is, whatever the default."""
    module, x = activation(name), torch.randn(4, 3, 5)
    with torch.no_grad():
        want = module(x)
    with torch.device("meta"):
        assert all(tensor.is_meta for tensor in limen.create(name).state_dict().values())
        with torch.no_grad():
            torch.testing.assert_close(module(x), want, rtol=0, atol=0)
        module.train()
        leaf = x.clone().requires_grad_()
        y = module(leaf)
        y.backward(torch.ones_like(y))
    assert leaf.grad.is_cpu
    assert leaf.grad.isfinite().all()


@pytest.mark.parametrize("name", COMPILED)
def test_fakes_beside_real_tensors(name):
    module, x = activation(name), torch.randn(4, 3, 5)
    module(x)
    for recorded in (False, True):
        with torch.set_grad_enabled(recorded), FakeTensorMode(allow_non_fake_inputs=True):
            y = module(x)
        assert y.shape == x.shape
        assert type(y) is not torch.Tensor


@pytest.mark.parametrize("name", COMPILED)
def test_a_graph_traced_with_real_tensors(name):
    module = activation(name)
    module(torch.randn(4, 6))
    x = torch.randn(4, 6)
    for before_dispatch in (False, True):
        traced = make_fx(module, pre_dispatch=before_dispatch)(torch.randn(4, 6))
        torch.testing.assert_close(traced(x), module(x))


def test_results_without_memory_are_an_error():
    class WithoutMemory(TorchDispatchMode):
        def __torch_dispatch__(self, operator, types, arguments=(), named=None):
            return operator(*arguments, **(named or {})).to("meta")

    module, x = activation("asau"), torch.randn(5)
    for elements in (5, 40_000):
        x = torch.randn(elements)
        with torch.no_grad(), WithoutMemory(), pytest.raises(RuntimeError, match="without memory"):
            module(x)


def test_a_mode_that_only_looks_on_sees_the_kernel():
    class Seen(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.operators = []

        def __torch_dispatch__(self, operator, types, arguments=(), named=None):
            self.operators.append(operator.name())
            return operator(*arguments, **(named or {}))

    module, x = activation("swish"), torch.randn(5)
    with torch.no_grad():
        want = module(x)
        with Seen() as seen:
            torch.testing.assert_close(module(x), want, rtol=0, atol=0)
    assert "aten::empty_like" in seen.operators
    assert "aten::mul.Tensor" not in seen.operators


@pytest.mark.parametrize("elements", [7, 40_000])
@pytest.mark.parametrize("name", ["asau", "ash", "adact"])
def test_a_view_of_the_opposite_sign(name, elements):
    """Its memory does not hold its values: gradients by torch's operators, and no kernel where one is insisted on."""
    module, numbers = activation(name), torch.randn(1, elements, dtype=torch.complex64)
    negated = numbers.conj().imag
    assert negated.is_neg()
    torch.testing.assert_close(module(negated), module(-numbers.imag))
    by_view = torch.autograd.grad(module(negated).square().sum(), list(module.parameters()))
    by_copy = torch.autograd.grad(module(-numbers.imag).square().sum(), list(module.parameters()))
    for got, want in zip(by_view, by_copy, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)
    with limen.use_backend("c"), pytest.raises(LimenError, match="compiled kernels take"):
        module(negated)


def test_a_dense_view_of_the_opposite_sign():
    """Only the sign tells it from a tensor that a kernel may read."""
    module, numbers = activation("asau"), torch.randn(3, 40_000)
    negated = torch._neg_view(numbers).requires_grad_()
    torch.testing.assert_close(module(negated), module(-numbers))
    (got,) = torch.autograd.grad(module(negated).sum(), negated)
    plain = (-numbers).requires_grad_()
    (want,) = torch.autograd.grad(module(plain).sum(), plain)
    torch.testing.assert_close(got, want)


def test_one_object_used_twice_under_create_graph():
    module, x = limen.ASAU(), torch.randn(4, 5)
    found = []
    for backend, create_graph in (("c", True), ("c", False), ("plain", True)):
        with limen.use_backend(backend):
            y = module(module(x)).square().sum()
        found.append(torch.autograd.grad(y, list(module.parameters()), create_graph=create_graph))
    for other in found[1:]:
        for got, want in zip(found[0], other, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_gradient_penalty_through_two_uses():
    module, x = limen.ASAU(), torch.randn(4, 5, requires_grad=True)
    found = []
    for backend in ("c", "plain"):
        with limen.use_backend(backend):
            y = module(module(x)).sum()
            (slope,) = torch.autograd.grad(y, x, create_graph=True)
            found.append(torch.autograd.grad(slope.square().sum(), list(module.parameters())))
    for got, want in zip(*found, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["asau", "ash", "adact"])
def test_batched_gradients(name):
    module, x = activation(name), torch.randn(1, 3)
    by_rows = torch.autograd.functional.jacobian(module, x)
    torch.testing.assert_close(torch.autograd.functional.jacobian(module, x, vectorize=True), by_rows)


@pytest.mark.thorough
def test_transforms_inside_compile():
    module, x, tangent = limen.ASAU(), torch.randn(5), torch.randn(5)
    torch._dynamo.reset()
    for function, arguments in (
        (lambda x, t: torch.func.jvp(module, (x,), (t,))[1], (x, tangent)),
        (lambda x, t: torch.func.vmap(module)(x) + t, (x, tangent)),
        (lambda x, t: torch.func.vmap(torch.func.grad(module))(x) * t, (x, tangent)),
    ):
        compiled = torch.compile(function, backend="aot_eager")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, about a .grad that it looks at while tracing vmap
            found = compiled(*arguments)
        torch.testing.assert_close(found, function(*arguments))
        assert function(*arguments).abs().sum() > 0


def test_huge_finite_samples():
    x = torch.tensor([[1e20, -1e20, 3e20, 2.0]])
    for backend in ("c", "plain"):
        with limen.use_backend(backend):
            torch.testing.assert_close(limen.ASH()(x), torch.tensor([[1e20, 0.0, 3e20, 0.0]]))
            assert limen.HardASH()(x).isfinite().all()


def test_fx_sees_one_step():
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    limen.swap_(model, "adact")
    traced = torch.fx.symbolic_trace(model.eval())
    assert "call_module" in {node.op for node in traced.graph.nodes if node.target == "1"}
    x = torch.randn(4, 3)
    torch.testing.assert_close(traced(x), model(x))


def test_a_parametrised_module_is_copied_after_use():
    limen.ASAU()(torch.randn(3))
    module = limen.ASAU()
    torch.nn.utils.parametrize.register_parametrization(module, "alpha", torch.nn.Softplus())
    x = torch.randn(4)
    torch.testing.assert_close(copy.deepcopy(module)(x), module(x))


def gradients_in_process(rank: int, folder: str) -> None:
    """Of both halves of a batch together they are those of the whole."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    for name in ("asau", "apalu", "swish", "ash"):
        torch.manual_seed(0)
        layers = torch.nn.Linear(4, 6), limen.create(name, num_parameters=6), torch.nn.Linear(6, 2)
        model = torch.nn.Sequential(*layers)
        both = torch.randn(8, 4)
        parallel = torch.nn.parallel.DistributedDataParallel(model)
        parallel(both[4 * rank : 4 * rank + 4]).square().mean().backward()
        ours = [p.grad.clone() for p in model.parameters()]
        model.zero_grad()
        model(both).square().mean().backward()
        for mine, whole in zip(ours, model.parameters(), strict=True):
            torch.testing.assert_close(mine, whole.grad, rtol=1e-4, atol=1e-6)
    torch.distributed.barrier()
    os._exit(0)  # gloo's threads are sometimes still running when Python tears them down


@pytest.mark.slow
def test_distributed_data_parallel(tmp_path):
    torch.multiprocessing.start_processes(gradients_in_process, (str(tmp_path),), nprocs=2, start_method="forkserver")


class TestMemorySafety:
    """Kernels read and write by address: whatever has no ordinary memory must never reach them."""

    @pytest.mark.parametrize("elements", [4, 50_000])
    def test_parameters_elsewhere_are_refused(self, elements):
        with pytest.raises(limen.errors.LimenError, match="parameters are on meta"):
            limen.ASAU(device="meta")(torch.zeros(elements))

    def test_negative_views_are_read_right(self):
        z = torch.complex(torch.randn(6), torch.randn(6)).conj()
        assert z.imag.is_neg()
        torch.testing.assert_close(limen.Swish()(z.imag), torch.nn.functional.silu(z.imag.resolve_neg()))

    def test_meta_and_fake_inputs_stay_symbolic(self):
        from torch._subclasses.fake_tensor import FakeTensorMode

        assert limen.ReLU()(torch.empty(3, device="meta")).is_meta
        with FakeTensorMode(allow_non_fake_inputs=True):
            assert limen.ASAU()(torch.empty(2, 3)).shape == (2, 3)

    def test_mismatched_parameter_counts_are_refused(self):
        with pytest.raises((RuntimeError, limen.errors.ShapeError)):
            limen.functional.asau(torch.zeros(2, 5), torch.zeros(3), 1.0, torch.ones(5), 1.0)

    def test_from_several_threads(self):
        from concurrent.futures import ThreadPoolExecutor

        module, inputs = limen.AdAct().eval(), [torch.randn(64, 1000) for _ in range(16)]
        expected = [module(x) for x in inputs]
        with ThreadPoolExecutor(8) as pool:
            for got, want in zip(pool.map(module, inputs), expected, strict=True):
                assert torch.equal(got, want)

    def test_in_a_forked_child(self):
        module, x = limen.ASAU(), torch.randn(200_000)
        module(x)
        child = os.fork()
        if child == 0:
            signal.alarm(60)  # a hang ends here
            module(x)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
