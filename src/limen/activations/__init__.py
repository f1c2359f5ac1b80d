"""The activations: each a class with one formula."""

from limen.activations.apalu import APALU
from limen.activations.asau import ASAU
from limen.activations.ash import (
    ASH,
    FixedASH,
    HardASH,
    LeakyASH,
    TopPercentile,
    percentile_to_z,
    z_to_percentile,
)
from limen.activations.base import Activation
from limen.activations.classic import (
    ELU,
    GELU,
    SELU,
    Hardswish,
    LeakyReLU,
    Maxout,
    Mish,
    PReLU,
    ReLU,
    ReLU6,
    RReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Swish,
    Tanh,
)
from limen.activations.fields import Constant, Param
from limen.activations.language import (
    XIELU,
    GELUSine,
    GoLU,
    Laplace,
    LeakyReLU2,
    QuickGELU,
    ReLU2,
    Snake,
    TeLU,
)
from limen.activations.mixture import AdAct
from limen.activations.pointwise_norms import Derf, DyT
from limen.activations.polynomial import GatedPolyNorm, PolyNorm, PolyReLU
from limen.activations.registry import create, names, register, unregister
from limen.activations.related import ACON

__all__ = [
    "ACON",
    "APALU",
    "ASAU",
    "ASH",
    "ELU",
    "GELU",
    "SELU",
    "XIELU",
    "Activation",
    "AdAct",
    "Constant",
    "Derf",
    "DyT",
    "FixedASH",
    "GELUSine",
    "GatedPolyNorm",
    "GoLU",
    "HardASH",
    "Hardswish",
    "Laplace",
    "LeakyASH",
    "LeakyReLU",
    "LeakyReLU2",
    "Maxout",
    "Mish",
    "PReLU",
    "Param",
    "PolyNorm",
    "PolyReLU",
    "QuickGELU",
    "RReLU",
    "ReLU",
    "ReLU2",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Snake",
    "Softplus",
    "Swish",
    "Tanh",
    "TeLU",
    "TopPercentile",
    "create",
    "names",
    "percentile_to_z",
    "register",
    "unregister",
    "z_to_percentile",
]
