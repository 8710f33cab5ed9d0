"""How countries share what a corpus says of places: inequality, concentration, diversity, and equal sizes."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

SUPPORT = 249  # countries and areas of ISO 3166-1


def gini(counts: Sequence[int]) -> float:
    """The Gini coefficient, countries with a count of 0 included: 0 where all are alike.

    >>> gini([10, 10, 10, 10]), gini([100, 0, 0, 0]), gini([1, 2, 3, 4]), round(gini([70, 14, 8, 5, 3]), 3)
    (0.0, 0.75, 0.25, 0.572)

    Raises:
        ValueError: there is nothing to share.
    """
    total = _total(counts)
    size = len(counts)
    weighed = sum((2 * place - size - 1) * count for place, count in enumerate(sorted(counts), start=1))
    return weighed / (size * total)


def concentration(counts: Sequence[int]) -> float:
    """The Herfindahl-Hirschman index: the chance that two draws name the same country.

    >>> concentration([10, 10, 10, 10]), round(concentration([70, 14, 8, 5, 3]), 4)
    (0.25, 0.5194)

    Raises:
        ValueError: there is nothing to share.
    """
    total = _total(counts)
    return sum((count / total) ** 2 for count in counts)


def entropy(counts: Sequence[int]) -> float:
    """Shannon's entropy as a share of its largest value, of as many countries as there are counts.

    >>> round(entropy([1, 2, 3, 4]), 4), round(entropy([70, 14, 8, 5, 3]), 4), entropy([100, 0, 0, 0])
    (0.9232, 0.6101, 0.0)

    Raises:
        ValueError: there is nothing to share.
    """
    total = _total(counts)
    if len(counts) == 1:
        return 0.0  # by convention
    bits = sum(count / total * math.log(total / count) for count in counts if count)
    return bits / math.log(len(counts))


def rarefied(counts: Sequence[int], size: int) -> float:
    """How many countries a draw of `size` mentions without replacement names, on average.

    >>> rarefied([10, 10], 20), round(rarefied([10, 10], 1), 9)
    (2.0, 1.0)

    Raises:
        ValueError: there are fewer mentions than that.

    Source:
        Hurlbert 1971, https://doi.org/10.2307/1934145.
    """
    total = sum(counts)
    if not 0 < size <= total:
        raise ValueError(f"{size} mentions cannot be drawn out of {total}")
    return sum(1 - _missed(total, count, size) for count in counts if count)


def summary(counts: Mapping[str, int], *, equal: int | None, top: int = 5) -> dict[str, Any] | None:
    """All numbers on one corpus; None where it names no country.

    Args:
        counts: texts that name each country; those that are not there are named by none.
        equal: to how many mentions the number of countries is rarefied.
        top: of how many countries the share is told.
    """
    named = sorted((count for count in counts.values() if count), reverse=True)
    if not named:
        return None
    index = concentration(named)
    return {
        "mentions": sum(named),
        "unique": len(named),
        "unique_rarefied": rarefied(named, equal) if equal else None,
        "gini": gini(named),
        "gini_of_all_countries": gini(named + [0] * (SUPPORT - len(named))),
        "concentration": index,
        "effective_number": 1 / index,
        "entropy": entropy(named),
        f"top_{top}_share": sum(named[:top]) / sum(named),
        "counts": dict(sorted(counts.items(), key=lambda each: (-each[1], each[0]))),
    }


def _missed(total: int, count: int, size: int) -> float:
    """The chance that a draw of `size` out of `total` holds none of `count`."""
    if total - count < size:
        return 0.0
    return math.exp(_choose(total - count, size) - _choose(total, size))


def _choose(total: int, size: int) -> float:
    return math.lgamma(total + 1) - math.lgamma(size + 1) - math.lgamma(total - size + 1)


def _total(counts: Sequence[int]) -> int:
    total = sum(counts)
    if total <= 0:
        raise ValueError("nothing was counted, so there is nothing to share")
    return total
