"""p-values of several tests, adjusted: Holm for what is claimed, Benjamini-Hochberg for what is explored."""

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given, that keep the chance of any false claim below the level.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03, 0.005, 0.2, 0.5])]
    [0.05, 0.12, 0.12, 0.03, 0.4, 0.5]

    Source:
        Holm 1979, https://www.jstor.org/stable/4615733.
    """
    adjusted, worst = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(_ascending(p_values)):
        worst = max(worst, (len(p_values) - rank) * p_values[place])
        adjusted[place] = min(1.0, worst)
    return adjusted


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given, that keep the expected share of false claims below the level.

    >>> [round(p, 4) for p in benjamini_hochberg([0.01, 0.04, 0.03, 0.005])]
    [0.02, 0.04, 0.04, 0.02]

    Source:
        Benjamini and Hochberg 1995, https://doi.org/10.1111/j.2517-6161.1995.tb02031.x.
    """
    adjusted, best, total = [0.0] * len(p_values), 1.0, len(p_values)
    for rank, place in reversed(list(enumerate(_ascending(p_values), start=1))):
        best = min(best, p_values[place] * total / rank)
        adjusted[place] = best
    return adjusted


def _ascending(p_values: Sequence[float]) -> list[int]:
    if any(not 0 <= p <= 1 for p in p_values):
        raise ValueError(f"p-values lie between 0 and 1: {list(p_values)}")
    return sorted(range(len(p_values)), key=lambda place: p_values[place])
