"""Several comparisons at once: Holm's correction, and its form where of two hypotheses at most one is true."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values (1979), in the order given.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def one_of_two(first: Sequence[float], second: Sequence[float]) -> tuple[list[float], list[float]]:
    """Adjusted p values of several pairs of hypotheses, of each of which at most one can be true.

    Here of every activation: "the difference is 0" and "it is the margin or more". Closed testing with Bonferroni's
    local tests (Marcus, Peritz and Gabriel 1976; Shaffer 1986): an intersection holds at most one hypothesis of each
    pair, and the one that is hardest to reject is that with the larger p. So a hypothesis is tested as by Holm among
    the larger p of all other pairs. What an adjusted p is held against is then the chance of any false rejection in all
    pairs together; two separate corrections by Holm would allow twice as much.

    >>> one_of_two([0.01, 0.5], [0.9, 0.02])
    ([0.02, 1.0], [1.0, 0.04])
    >>> one_of_two([0.01, 0.04], [0.02, 0.9])
    ([0.02, 0.04], [0.04, 0.9])
    """
    hardest = [max(pair) for pair in zip(first, second, strict=True)]
    found: tuple[list[float], list[float]] = ([], [])
    for place in range(len(hardest)):
        for adjusted, own in zip(found, (first[place], second[place]), strict=True):
            adjusted.append(holm([own, *hardest[:place], *hardest[place + 1 :]])[0])
    return found
