"""The Triton path on a GPU: values, memory, streams, graphs, compiled programs, several devices, huge tensors."""

from __future__ import annotations

import pytest
import torch
from helpers import (
    COMPILED,
    DTYPES,
    LAYOUTS,
    activation,
    assert_as_good_as_plain,
    assert_right_at,
    dense,
    gradients,
    perturbed,
)

import limen
from limen.activations.registry import find
from limen.kernels import dispatch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU that torch can use"),
]
ELEMENTWISE = [name for name in COMPILED if find(name).elementwise]
LARGER = {
    "images": (lambda: dense((16, 48, 14, 14)), 48, 1),
    "images, channels last": (lambda: dense((16, 48, 14, 14)).to(memory_format=torch.channels_last), 48, 1),
    "small images": (lambda: dense((64, 96, 7, 7)), 96, 1),
    "tokens": (lambda: dense((37, 768)), 768, -1),
    "long": (lambda: dense((3, 300_001)), 1, 1),
}


@pytest.mark.parametrize("layout", [*LAYOUTS, *LARGER])
@pytest.mark.parametrize("name", COMPILED)
def test_layouts(name, layout):
    make, channels, channel_dim = {**LAYOUTS, **LARGER}[layout]
    x = make().cuda()
    module = perturbed(name, num_parameters=channels, channel_dim=channel_dim).cuda()
    assert_as_good_as_plain(module, x, torch.randn(x.shape).cuda(), "triton")


@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@pytest.mark.parametrize("channels", [1, 5])
@pytest.mark.parametrize("name", COMPILED)
def test_half_types(name, channels, dtype):
    module = perturbed(name, num_parameters=channels).cuda()
    x, g = dense((3, 5, 6700)).to(dtype).cuda(), torch.randn(3, 5, 6700).to(dtype).cuda()
    assert_as_good_as_plain(module, x, g, "triton")


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_extreme_inputs(name):
    anything = torch.randint(0, 2**31 - 1, (100_000,), dtype=torch.int32).view(torch.float32)
    assert_right_at(activation(name).cuda(), torch.cat([anything, -anything]).cuda(), "triton")


@pytest.mark.parametrize("name", ["asau", "ash", "adact"])
def test_the_same_bits_every_time(name):
    module, x = perturbed(name).cuda(), torch.randn(64, 100_003, device="cuda")
    first, second = (gradients(module, x, torch.ones_like(x), "triton") for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_auto_takes_triton_and_saves_the_input_alone(monkeypatch):
    from limen.bench import saved_bytes
    from limen.kernels.triton import run

    ran = []
    real = run._run
    monkeypatch.setattr(run, "_run", lambda x, calls: (ran.append(x.device.type), real(x, calls)))
    x = torch.randn(64, 10_000, device="cuda", requires_grad=True)
    for name in COMPILED:
        assert saved_bytes(limen.create(name, device="cuda").train(), x) <= 1.001 * x.numel() * 4 + 1024, name
    assert len(ran) >= len(COMPILED)


def test_on_another_stream():
    module, x = limen.ASAU(device="cuda"), torch.randn(1 << 22, device="cuda")
    want = module(x)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        late = x.clone()
        torch.cuda._sleep(20_000_000)
        late.mul_(2).div_(2)
        got = module(late)
    stream.synchronize()
    assert torch.equal(got, want)


@pytest.mark.parametrize("name", ["asau", "ash", "adact", "rrelu"])
def test_captured_in_a_graph(name):
    module = limen.create(name, device="cuda").train()
    x = torch.randn(64, 5000, device="cuda", requires_grad=True)
    g = torch.randn_like(x)
    wanted = [x, *module.parameters()]

    def step():
        y = module(x)
        return [y, *torch.autograd.grad(y, wanted, g)]

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = step()
    with torch.no_grad():
        x.copy_(torch.randn_like(x))
    graph.replay()
    first = [tensor.clone() for tensor in found]
    if name in ("rrelu", "adact"):
        graph.replay()
        assert not torch.equal(found[0], first[0])  # each replay draws anew
        torch.testing.assert_close(first[0][x > 0], module(x)[x > 0])
    else:
        for captured, now in zip(first, step(), strict=True):
            torch.testing.assert_close(captured, now)


@pytest.mark.parametrize("choice", ["operator", "inlined"])
@pytest.mark.parametrize("name", ["asau", "ash", "adact"])
def test_compiled_programs_without_a_break(name, choice, monkeypatch):
    monkeypatch.setattr(dispatch, "compiled_on_gpu", choice)
    torch._dynamo.reset()
    network = torch.nn.Sequential(torch.nn.LayerNorm(96), perturbed(name)).cuda()
    x = torch.randn(40, 96, device="cuda", requires_grad=True)
    found = torch.autograd.grad(torch.compile(network, fullgraph=True)(x).square().sum(), [x, *network.parameters()])
    want = torch.autograd.grad(network(x).square().sum(), [x, *network.parameters()])
    for ours, theirs in zip(found, want, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    torch._dynamo.reset()


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there is one GPU")
def test_on_a_device_that_is_not_the_current_one():
    assert torch.cuda.current_device() == 0
    module, x = limen.ASH(device="cuda:1"), torch.randn(8, 4000, device="cuda:1")
    torch.testing.assert_close(module(x).cpu(), limen.ASH()(x.cpu()))


def test_parameters_elsewhere_are_named():
    with pytest.raises(limen.errors.LimenError, match="on cpu; move one"):
        limen.ASAU()(torch.zeros(2, device="cuda"))


@pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.get_device_properties(0).total_memory < 40e9, reason="too little memory"
)
@pytest.mark.parametrize("name", ["asau", "rrelu"])
def test_more_than_31_bits_of_elements(name):
    size = 2**31 + 12_345
    x = torch.full((size,), -0.5, dtype=torch.bfloat16, device="cuda", requires_grad=True)
    module = limen.create(name, device="cuda").train()
    with limen.use_backend("triton"):
        y = module(x)
    (slope,) = torch.autograd.grad(y, x, torch.ones_like(y))
    for found in (y, slope):
        assert found.isfinite().all()
        ends = torch.cat([found[:20_000], found[-20_000:]]).float()
        if name == "asau":
            assert ends.unique().numel() == 1
        else:
            assert not torch.equal(found[:5000], found[-5000:])
            assert ends.abs().min() > 0.05


@pytest.mark.parametrize("wrap", ["ddp", "fsdp2"])
def test_distributed_wrappers(wrap):
    import torch.distributed as dist
    from torch.distributed.fsdp import fully_shard

    dist.init_process_group("nccl", store=dist.HashStore(), rank=0, world_size=1)
    try:
        torch.manual_seed(1)
        network = torch.nn.Sequential(
            torch.nn.Linear(32, 64), limen.ASAU(num_parameters=64), torch.nn.Linear(64, 8)
        ).cuda()
        x = torch.randn(16, 32, device="cuda")
        network(x).square().sum().backward()
        want = [parameter.grad.clone() for parameter in network.parameters()]
        network.zero_grad()
        wrapped = torch.nn.parallel.DistributedDataParallel(network) if wrap == "ddp" else fully_shard(network)
        wrapped(x).square().sum().backward()
        for parameter, gradient in zip(wrapped.parameters(), want, strict=True):
            got = parameter.grad.full_tensor() if wrap == "fsdp2" else parameter.grad
            torch.testing.assert_close(got, gradient, rtol=1e-4, atol=1e-4)
    finally:
        dist.destroy_process_group()
