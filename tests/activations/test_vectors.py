"""The test vectors of the mathematical reference, computed there with 40-digit arithmetic."""

from __future__ import annotations

import pytest
import torch

import limen

APALU = """
-20 -0.064999999866025015 1.3397498545850626e-10 0 -0.99999999793884638
-3 -0.061763840556088844 0.0032361594439111563 0 -0.95021293163213606
-1 -0.041087836323856249 0.023912163676143751 0 -0.63212055882855768
-0.1 -0.0061855678276626277 0.058814432172337372 0 -0.095162581964040427
0 0 0.825 0 0
0.1 0.084834616945990002 0.87158000323160502 0.15424475808361819 0
1 1.0151876712630517 1.1372787836059837 1.8457957659328213 0
3 3.2900607796607177 1.1135015781481088 5.981928690292214 0
20 21.999999999999982 1.1000000000000299 39.999999999999967 0
"""

ASAU_DEFAULT = """
-20 -0.20000004984647458 0.0099999531443139549 -20.000000946579516 9.465795160624025e-7 -4.9846474582133723e-8 9.869601954839122e-7
-3 -0.17846715425273219 -0.08363821821788518 -3.2837521764178339 0.28375217641783388 -0.14821969469937506 0.42938180890638773
-1 -0.3127917340718156 0.072108793870415834 -0.93726384457533754 -0.062736155424662459 -0.2835405347838009 0.24068294020139976
-0.1 -0.057252550329612901 0.54098348115164742 -0.046365304934177028 -0.053634695065822972 -0.043230190337524342 0.0031542022144481584
0 0 0.604 0 0 0 0
0.1 0.063516393161056529 0.66608468791897348 0.033728819402123891 0.066271180597876109 0.044276907320464611 0.003092075630840819
1 0.86461734643601734 1.0466918835766069 -0.047163518764249344 1.0471635187642493 0.32943087990791527 0.18207453714058951
3 2.9858880134570398 1.0218110457299276 -0.066094077969477462 3.0660940779694775 0.085034760688003927 0.079545123732742846
20 20.0 1.0000000000000005 -9.785562820320855e-15 20.00000000000001 9.9386840893122566e-15 9.9386840630279643e-15
"""  # noqa: E501

ASAU_OTHER = """
-1 0.66822550005619789 -0.78381601488720963 0.083816014887209631 -1.0838160148872096 0.16128216775545301 0.046236205932404698
0.5 0.050570994255564859 0.31503555975175232 0.50751777987587616 -0.0075177798758761579 -0.12098333479396831 0.04277871424812452
2 0.5892555457838021 0.32139840394426743 2.0427968078885349 -0.042796807888534869 -0.013430309357253095 0.021416504841893106
"""  # noqa: E501

ADACT = """
-20 -1.5404762019597606 0.069880941486283269 -2.8571428571428571
-3 -0.386519716062923 0.051065216355291451 -0.42857142857142857
-1 -0.24194715831990405 0.1412274788348596 -0.14285714285714286
-0.1 -0.035481415013665404 0.3399700158681967 -0.014285714285714286
0.1 0.087953905177054817 0.88760765889288919 0
1 0.94230813812818789 0.99667239028161127 0
3 2.9777510550621796 1.0156015738492305 0
20 19.99999999411099 1.0000000055945599 0
"""

DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)


def rows(table: str) -> list[list[float]]:
    return [[float(value) for value in line.split()] for line in table.strip().splitlines()]


def assert_close(actual: torch.Tensor | float, expected: list[float] | float, dtype: torch.dtype) -> None:
    """Within 1e-12 (float64) or 1e-6 (float32) of the expected value, relative to it or to 1 if it is smaller."""
    tolerance = 1e-12 if dtype == torch.float64 else 1e-6
    want = torch.as_tensor(expected, dtype=torch.float64)
    got = torch.as_tensor(actual).detach().to(torch.float64)
    error = ((got - want).abs() / want.abs().clamp(min=1)).max().item()
    assert error <= tolerance, f"error {error:.2e} > {tolerance:.0e}: got {got.tolist()}, expected {want.tolist()}"


def check_elementwise(module: limen.Activation, table: str, parameters: list[str], dtype: torch.dtype) -> None:
    """One row at a time, because a parameter's gradient sums over the elements."""
    for x_value, value, slope, *by_parameter in rows(table):
        x = torch.tensor([x_value], dtype=dtype, requires_grad=True)
        y = module(x)
        inputs = [x, *(dict(module.named_parameters())[name] for name in parameters)]
        gradients = torch.autograd.grad(y.sum(), inputs)
        assert_close(y, [value], dtype)
        assert_close(torch.cat(list(gradients)), [slope, *by_parameter], dtype)


@DTYPES
def test_apalu(dtype):
    check_elementwise(limen.APALU(dtype=dtype), APALU, ["a", "b"], dtype)


@DTYPES
@pytest.mark.parametrize(
    ("table", "values"), [(ASAU_DEFAULT, {}), (ASAU_OTHER, {"a": 0.3, "b": -0.7, "alpha": 0.8, "beta": 2.5})]
)
def test_asau(table, values, dtype):
    module = limen.ASAU(**values, learned=True, dtype=dtype)
    check_elementwise(module, table, ["a", "b", "alpha", "beta"], dtype)


def test_asau_answers_the_question_of_its_paper():
    for a, value, slope in [
        (0.0, -0.12625074134785444, -0.1083550924203939),
        (0.01, -0.13733067737314575, -0.09654459942122522),
    ]:
        x = torch.tensor([-1.0], dtype=torch.float64, requires_grad=True)
        y = limen.ASAU(a=a, beta=2.0, dtype=torch.float64)(x)
        assert_close(y, [value], torch.float64)
        assert_close(torch.autograd.grad(y.sum(), x)[0], [slope], torch.float64)


@DTYPES
@pytest.mark.parametrize(
    ("z_k", "alpha", "upstream", "y", "dx", "dz", "dalpha"),
    [
        (
            1e-3,
            1.0,
            [1, 1, 1, 1, 1, 1],
            [
                -0.013340363413381185,
                -0.047271803823800988,
                0,
                0.73038649126181856,
                1.904839160800168,
                2.9798532100067854,
            ],
            [
                -0.1028036253643677,
                -0.12582225658252118,
                0.18520204028329702,
                1.0411136127338524,
                1.0505200115744945,
                0.95009307189069828,
            ],
            -0.85144660886316713,
            0.7693956640346031,
        ),
        (
            0.5,
            0.75,
            [1, -2, 0.5, 0, 3, -1],
            [
                -0.012981454089504343,
                -0.028446565248390131,
                0,
                0.37031426636449459,
                1.449892569069098,
                2.7658478000266682,
            ],
            [
                -0.081408268597795637,
                -0.11740258651973066,
                -0.16028995919046295,
                -0.29315818539248465,
                3.6014048624542495,
                -1.6886587804995194,
            ],
            -2.6203914598339908,
            0.66153698419316856,
        ),
    ],
)
def test_ash(z_k, alpha, upstream, y, dx, dz, dalpha, dtype):
    module = limen.ASH(z_k, alpha, dtype=dtype)
    x = torch.tensor([[-2.0, -1, 0, 1, 2, 3]], dtype=dtype, requires_grad=True)
    out = module(x)
    out.backward(torch.tensor([upstream], dtype=dtype))
    assert_close(out[0], y, dtype)
    assert_close(x.grad[0], dx, dtype)
    assert_close(module.z_k.grad, [dz], dtype)
    assert_close(module.alpha.grad, [dalpha], dtype)


@DTYPES
def test_adact(dtype):
    check_elementwise(limen.AdAct(dtype=dtype).eval(), ADACT, ["candidates.3.weight"], dtype)


@DTYPES
@pytest.mark.parametrize(
    ("x", "gradient"),
    [
        (-1.0, [0.03456387976, -0.05573905722, 0.03313530833, -0.001150405954, 0.001825784522, -0.003856323293,
                -0.008779186151]),
        (1.0, [0.008241694553] * 5 + [-0.0301785085, -0.01102996427]),
    ],
)  # fmt: skip
def test_adact_gradient_of_the_weights(x, gradient, dtype):
    module = limen.AdAct(dtype=dtype).eval()
    (found,) = torch.autograd.grad(module(torch.tensor([x], dtype=dtype)).sum(), module.logits)
    rounding = 1e-10 if dtype == torch.float64 else 1e-8
    torch.testing.assert_close(found, torch.tensor(gradient, dtype=dtype), rtol=1e-6, atol=rounding)
    assert abs(found.sum().item()) < 1e-6  # softmax does not change when a constant is added
