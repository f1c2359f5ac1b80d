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
    LeakyReLU,
    Maxout,
    Mish,
    PReLU,
    ReLU,
    RReLU,
    SiLU,
    Softplus,
    Swish,
)
from limen.activations.fields import Constant, Param
from limen.activations.mixture import AdAct
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
    "Activation",
    "AdAct",
    "Constant",
    "FixedASH",
    "HardASH",
    "LeakyASH",
    "LeakyReLU",
    "Maxout",
    "Mish",
    "PReLU",
    "Param",
    "RReLU",
    "ReLU",
    "SiLU",
    "Softplus",
    "Swish",
    "TopPercentile",
    "create",
    "names",
    "percentile_to_z",
    "register",
    "unregister",
    "z_to_percentile",
]
