"""Formulas of what another formula gives: one derivative of the outer one, whatever stands within."""

from __future__ import annotations

import pytest

import limen
from limen.beside.making import one_pass_of
from limen.beside.norm import with_norm, with_statistics
from limen.formula.factors import factored_sums
from limen.kernels.bound import derive
from limen.kernels.normed import SCALE, SHIFT


@pytest.mark.parametrize("spec", ["relu", "swish", "asau"])
def test_what_a_norm_takes_is_two_sums(spec):
    """Of f′, and of f′ times the distance from the mean: what all four take in proportions."""
    bound = one_pass_of(limen.create(spec))[0]
    alone = derive(bound, bound.parameters)
    own = factored_sums(alone.backward, [node for _, node in alone.slopes[1:]], {"x"})
    for whole in (with_statistics(bound, 1e-5), with_norm(bound)):
        derived = derive(whole, (SCALE, SHIFT, *bound.parameters))
        sums = factored_sums(derived.backward, [node for _, node in derived.slopes[1:]], {"x"})
        assert len(sums.bases) == 2 + len(own.bases)
