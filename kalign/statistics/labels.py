"""How well labels are found, where an item may have several of them or none: precision, recall, F1."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kalign.statistics.estimates import Estimate, wilson

RESAMPLES = 2000
Labels = Collection[str]


@dataclass(frozen=True, kw_only=True)
class Found:
    """How one label was found, with 95 % Wilson intervals; None of nothing."""

    items: int  # that have it
    precision: Estimate | None  # of the items that were given it, those that have it
    recall: Estimate | None  # of the items that have it, those that were given it


def by_label(gold: Sequence[Labels], given: Sequence[Labels]) -> dict[str, Found]:
    """How each label was found that an item has or was given.

    >>> found = by_label([["a"], ["a"], []], [["a"], [], ["a"]])
    >>> str(found["a"].precision), str(found["a"].recall), found["a"].items
    ('0.500 [0.095, 0.905]', '0.500 [0.095, 0.905]', 2)

    Raises:
        ValueError: there are not as many gold items as given ones.
    """
    pairs = list(zip(gold, given, strict=True))
    told = {}
    for label in sorted({label for pair in pairs for side in pair for label in side}):
        has = sum(label in one for one, _ in pairs)
        was_given = sum(label in other for _, other in pairs)
        both = sum(label in one and label in other for one, other in pairs)
        told[label] = Found(
            items=has,
            precision=wilson(both, was_given) if was_given else None,
            recall=wilson(both, has) if has else None,
        )
    return told


def macro_f1(gold: Sequence[Labels], given: Sequence[Labels], *, seed: int = 0) -> Estimate | None:
    """The mean F1 of all labels that an item has or was given, each weighing alike, with its 95 % bootstrap
    interval over items; None where there is no label.

    >>> print(macro_f1([["a"], ["b"]] * 50, [["a"], ["a"]] * 50))  # F1 of a: 2/3, of b: 0
    0.333 [0.286, 0.371]

    Raises:
        ValueError: there are not as many gold items as given ones.
    """
    if len(gold) != len(given):
        raise ValueError(f"{len(gold)} gold items and {len(given)} given ones; an item needs both")
    names = sorted({label for side in (gold, given) for item in side for label in item})
    if not names:
        return None
    has, was_given = _matrix(gold, names), _matrix(given, names)
    counts = np.stack([has * was_given, has + was_given])  # hits, and twice what they are a part of
    draws = np.random.default_rng(seed).multinomial(len(gold), [1 / len(gold)] * len(gold), size=RESAMPLES)
    value = _mean_f1(counts.sum(axis=1)[:, None, :])[0]
    low, high = np.quantile(_mean_f1(np.stack([draws @ each for each in counts])), [0.025, 0.975])
    return Estimate(value=float(value), low=float(low), high=float(high))


def _matrix(items: Sequence[Labels], names: Sequence[str]) -> NDArray[np.float64]:
    """Whether each item has each label: (items, labels)."""
    return np.array([[float(name in item) for name in names] for item in items])


def _mean_f1(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean F1 over the labels that a sample has: from (2, samples, labels) to (samples)."""
    hits, either = counts
    scores = np.divide(2 * hits, either, out=np.zeros_like(hits), where=either > 0)
    present = np.maximum((either > 0).sum(axis=1), 1)
    means: NDArray[np.float64] = scores.sum(axis=1) / present
    return means
