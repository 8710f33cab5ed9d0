"""How far raters agree: raw, Fleiss, Cohen, Gwet, Krippendorff.

Ratings are a row an item and a column a rater, with None where a rater said nothing.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any

Ratings = Sequence[Sequence[Hashable | None]]

DISTANCES: dict[str, Callable[[Any, Any], float]] = {
    "nominal": lambda one, other: float(one != other),
    "interval": lambda one, other: float((one - other) ** 2),
}


def raw(ratings: Ratings) -> float | None:
    """The share of pairs of raters that agree, over the items that two raters or more rated.

    >>> raw([["safe", "safe", "unsafe"], ["safe", "safe", "safe"], ["safe", None, None]])
    0.6666666666666666
    """
    shares = [_agreeing(counts) for counts in _counts(ratings)]
    return sum(shares) / len(shares) if shares else None


def fleiss(ratings: Ratings) -> float | None:
    """Fleiss' kappa; None where every rating is the same, and chance explains all.

    Raises:
        ValueError: the items were not rated by equally many raters.

    Source:
        Fleiss 1971, https://doi.org/10.1037/h0031619.
    """
    counts = _counts(ratings)
    if len({sum(count.values()) for count in counts}) > 1:
        raise ValueError("Fleiss' kappa needs equally many ratings of every item; use krippendorff")
    if not counts:
        return None
    chance = sum(share**2 for share in _shares(counts).values())
    return _beyond(sum(map(_agreeing, counts)) / len(counts), chance)


def gwet(ratings: Ratings, *, categories: int) -> float | None:
    """Gwet's AC1, which a rare category does not pull down; `categories` is how many could be given.

    Source:
        Gwet 2008, https://doi.org/10.1348/000711006X126600.
    """
    counts = _counts(ratings)
    if not counts:
        return None
    chance = sum(share * (1 - share) for share in _shares(counts).values()) / (categories - 1)
    return _beyond(sum(map(_agreeing, counts)) / len(counts), chance)


def cohen(one: Sequence[Hashable], other: Sequence[Hashable]) -> float | None:
    """Cohen's kappa of two raters of the same items; None where chance explains all.

    >>> round(cohen("yyyynnnnnn", "yyynynnnnn"), 4)
    0.5833

    Raises:
        ValueError: one rated more items than the other.

    Source:
        Cohen 1960, https://doi.org/10.1177/001316446002000104.
    """
    if len(one) != len(other):
        raise ValueError(f"{len(one)} ratings and {len(other)}; both raters rate every item")
    if not one:
        return None
    first, second, items = Counter(one), Counter(other), len(one)
    agreeing = sum(a == b for a, b in zip(one, other, strict=True)) / items
    return _beyond(agreeing, sum(first[value] * second[value] for value in first) / items**2)


def krippendorff(ratings: Ratings, *, level: str = "nominal") -> float | None:
    """Krippendorff's alpha, with ratings that are missing; None where all ratings are the same.

    `level` says what a disagreement costs: nominal (alike or not), interval (the squared difference), ordinal
    (the ranks between).

    Source:
        Krippendorff 2011, "Computing Krippendorff's alpha-reliability",
        https://repository.upenn.edu/asc_papers/43.
    """
    counts = [count for count in _counts(ratings) if sum(count.values()) > 1]
    totals = sum(counts, Counter())
    pairable = sum(totals.values())
    distance = _ordinal(totals) if level == "ordinal" else DISTANCES[level]
    expected = _disagreement(totals, distance) / (pairable - 1) if pairable > 1 else 0.0
    if not expected:
        return None
    return 1 - sum(_disagreement(count, distance) / (sum(count.values()) - 1) for count in counts) / expected


def _counts(ratings: Ratings) -> list[Counter[Any]]:
    """How often each value was given, for every item that two raters or more rated."""
    counts = [Counter(value for value in item if value is not None) for item in ratings]
    return [count for count in counts if sum(count.values()) > 1]


def _agreeing(count: Counter[Any]) -> float:
    raters = sum(count.values())
    return sum(number * (number - 1) for number in count.values()) / (raters * (raters - 1))


def _shares(counts: Sequence[Counter[Any]]) -> dict[Any, float]:
    """The share of each value, every item weighing alike."""
    shares: Counter[Any] = Counter()
    for count in counts:
        for value, number in count.items():
            shares[value] += number / sum(count.values()) / len(counts)  # type: ignore[assignment]
    return dict(shares)


def _beyond(agreeing: float, chance: float) -> float | None:
    return None if chance >= 1 else (agreeing - chance) / (1 - chance)


def _disagreement(count: Counter[Any], distance: Callable[[Any, Any], float]) -> float:
    return sum(
        count[one] * count[other] * distance(one, other) for one in count for other in count if one != other
    )


def _ordinal(totals: Counter[Any]) -> Callable[[Any, Any], float]:
    """The squared number of ratings that lie between two values, half of theirs included."""

    def distance(one: Any, other: Any) -> float:
        low, high = min(one, other), max(one, other)
        between = sum(number for value, number in totals.items() if low <= value <= high)
        return float((between - (totals[low] + totals[high]) / 2) ** 2)

    return distance
