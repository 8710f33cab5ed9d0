"""What changed between two shares of the same questions, with an interval that few questions keep wide."""

import math
from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from kalign.statistics.bootstrap import by_cluster, paired_difference
from kalign.statistics.estimates import Estimate, Z

HALVINGS = 60


def paired_shares(
    before: Sequence[float], after: Sequence[float], *, clusters: Sequence[Hashable] | None = None
) -> Estimate:
    """The difference of two shares of the same questions, each 1 or 0, with its 95 % interval: that of the
    paired bootstrap, where it is narrower widened to the score interval.

    Resamples of what hardly ever changed hardly differ: of ten questions of which none changed, the bootstrap
    would rule out any loss. The score interval is that of as many questions as the families are worth.

    >>> print(paired_shares([1] * 10, [1] * 10))
    0.000 [-0.278, 0.278]

    Raises:
        ValueError: as `paired_difference`.

    Source:
        Tango 1998, https://doi.org/10.1002/(SICI)1097-0258(19980430)17:8%3C891::AID-SIM780%3E3.0.CO;2-B.
    """
    drawn = paired_difference(before, after, clusters=clusters)
    changes = np.asarray(after, dtype=float) - np.asarray(before, dtype=float)
    worth = _worth(changes, clusters) / len(changes)
    low, high = score_interval(
        gained=int((changes > 0).sum()) * worth,
        lost=int((changes < 0).sum()) * worth,
        pairs=len(changes) * worth,
    )
    return Estimate(value=drawn.value, low=min(drawn.low, low), high=max(drawn.high, high))


def score_interval(*, gained: float, lost: float, pairs: float) -> tuple[float, float]:
    """The bounds of the difference of two paired shares that a 95 % score test does not reject.

    >>> [round(bound, 3) for bound in score_interval(gained=0, lost=0, pairs=120)]
    [-0.031, 0.031]
    """
    value = (gained - lost) / pairs

    def rejected(difference: float) -> bool:
        """Whether the test finds that the difference is not this one."""
        a, c = 2 * pairs, -lost * difference * (1 - difference)
        b = -gained - lost + (2 * pairs - gained + lost) * difference
        losing = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)  # the likeliest share that is lost
        variance = pairs * (2 * losing + difference * (1 - difference))
        return (pairs * (value - difference)) ** 2 > Z**2 * max(0.0, variance)

    return _edge(value, -1.0, rejected), _edge(value, 1.0, rejected)


def _edge(inside: float, outside: float, rejected: Callable[[float], bool]) -> float:
    """Where, on the way from the value to the end of the scale, the test begins to reject."""
    if not rejected(outside):
        return outside
    for _ in range(HALVINGS):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if rejected(middle) else (middle, outside)
    return outside


def _worth(changes: NDArray[np.float64], clusters: Sequence[Hashable] | None) -> float:
    """How many independent questions tell as much as these: by the variance of their families' sums, and as
    many as there are families where nothing varies.

    Source:
        Kish 1965, Survey Sampling: the design effect.
    """
    if clusters is None:
        return float(len(changes))
    sums, sizes = by_cluster(changes, clusters)
    if len(sums) < 2 or not changes.var():
        return float(len(sums))
    among = float(((sums - sizes * changes.mean()) ** 2).sum()) * len(sums) / (len(sums) - 1)
    alone = len(changes) * float(changes.var())  # what `among` would be if every question were its own
    return len(changes) * min(1.0, alone / among) if among else float(len(changes))
