"""``limen warm``: kernels of activations and of models, built ahead."""

from __future__ import annotations

import pytest
from helpers_building import needs_gcc
from helpers_commands import refused
from helpers_lab import Command

import limen
from limen.kernels.c.build import cache_folder

pytestmark = needs_gcc


def test_activations_and_a_model(run: Command) -> None:
    @limen.register("sliding_for_a_test")
    class Sliding(limen.Activation):
        k = limen.Param(0.5)

        @staticmethod
        def formula(x, k):
            return x * limen.formula.sigmoid(k * x + 0.25)

    found = run("warm", "sliding_for_a_test", "top_percentile", "--dtypes", "float32", "--json").json
    assert found["folder"] == str(cache_folder())
    kinds = {row["kernel"].partition("formula-")[2] for row in found["kernels"]}
    assert {"float32-shared-forward", "float32-shared-backward"} <= kinds
    assert all(row["seconds"] > 0 and isinstance(row["compiled"], bool) for row in found["kernels"])
    assert found["without"] == {"TopPercentile": "it selects the largest elements by sorting"}
    outcome = run(
        "warm", "mlp", "--to", "sliding_for_a_test", "--channels", "--dtypes", "bfloat16", "--image-size", "4"
    )
    assert outcome.code == 0
    assert "formula-bfloat16-lane-backward" in outcome.out
    assert "kernels compiled in" in outcome.out
    assert f"{cache_folder()} holds" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("asua",), "'asua' is neither an activation nor a network. Did you mean 'asau'?"),
        (("asau:betta=1",), "no argument 'betta'"),
        (("mlp",), "mlp calls no activation of limen's; --to NAME replaces those that it has."),
        (("asau", "--dtypes", "float64"), "'float64' has no kernels"),
        (("asau", "--dtypes", ","), "is not possible"),
        (("mlp", "--image-size", "0"), "is not a size"),
    ],
)
def test_refusals(run: Command, arguments: tuple[str, ...], words: str) -> None:
    assert words in refused(run, "warm", *arguments)
