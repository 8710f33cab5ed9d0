"""A share or a mean with its interval, and the exact test of a paired change. Nothing heavy is imported."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev, variance

Z = 1.959964  # of a 95 % interval
# The same of Student's t with 1 to 4 degrees of freedom, where its expansion in Z is not near enough
STUDENT = (12.706205, 4.302653, 3.182446, 2.776445)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value with the bounds of its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def spelled(
    estimate: Mapping[str, float] | None, *, digits: int | None = None, sign: str = "", none: str = "-"
) -> str:
    """An estimate that lies in a file, in words: its value, and its interval in brackets.

    >>> spelled({"value": 0.5, "low": 0.25, "high": 0.75}), spelled({"value": 12, "low": 9.5, "high": 14.5})
    ('0.500 [0.250, 0.750]', '12.0 [9.5, 14.5]')

    Args:
        digits: behind the point; None: three, and one from 10 on.
        sign: "+" shows that of a change.
        none: what stands where there is no estimate.
    """
    if estimate is None:
        return none
    if digits is None:
        digits = 1 if abs(estimate["value"]) >= 10 else 3
    value, low, high = (f"{estimate[key]:{sign}.{digits}f}" for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def wilson(hits: int, total: int) -> Estimate:
    """The Wilson score interval of a share.

    >>> print(wilson(9, 10))
    0.900 [0.596, 0.982]

    Raises:
        ValueError: `total` is 0.

    Source:
        Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953.
    """
    if total <= 0:
        raise ValueError("a share of nothing is no number")
    share, square = hits / total, Z**2
    middle = (share + square / (2 * total)) / (1 + square / total)
    half = Z / (1 + square / total) * math.sqrt(share * (1 - share) / total + square / (4 * total**2))
    return Estimate(
        value=share, low=max(0.0, min(share, middle - half)), high=min(1.0, max(share, middle + half))
    )


def mean(values: Sequence[float]) -> Estimate:
    """The mean with its 95 % interval by Student's t; of one value alone, the bounds are the value.

    >>> print(mean([1.0, 2.0, 3.0]))
    2.000 [-0.484, 4.484]

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("the mean of nothing is no number")
    middle = fmean(values)
    half = student(len(values) - 1) * stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return Estimate(value=middle, low=middle - half, high=middle + half)


def macro(groups: Sequence[Sequence[float]]) -> Estimate:
    """The mean of the groups' means, so that every group weighs alike, with its normal 95 % interval.

    >>> print(macro([[1, 1, 1, 0], [0, 1]]))
    0.625 [0.077, 1.173]

    The groups are what is asked, not a sample of some: only what varies within them is uncertain. A group of
    one value takes the variance of all values together.

    Raises:
        ValueError: there is no group, or an empty one.
    """
    if not groups or not all(groups):
        raise ValueError("the mean of nothing is no number")
    every = [value for group in groups for value in group]
    pooled = variance(every) if len(every) > 1 else 0.0
    spread = sum((variance(one) if len(one) > 1 else pooled) / len(one) for one in groups)
    middle, half = fmean(fmean(one) for one in groups), Z * math.sqrt(spread) / len(groups)
    return Estimate(value=middle, low=middle - half, high=middle + half)


def mcnemar(gained: int, lost: int, *, mid: bool = False) -> float:
    """The exact two-sided p-value of a paired change, 1 where nothing changed; `mid` gives the mid-p.

    >>> round(mcnemar(12, 3), 5), round(mcnemar(12, 3, mid=True), 5), mcnemar(0, 0)
    (0.03516, 0.02127, 1.0)

    Source:
        McNemar 1947, https://doi.org/10.1007/BF02295996, with the exact binomial distribution; mid-p:
        Fagerland et al. 2013, https://doi.org/10.1186/1471-2288-13-91.
    """
    changed, fewer = gained + lost, min(gained, lost)
    tail: float = sum(math.comb(changed, k) for k in range(fewer + 1)) / 2**changed
    if mid and changed:
        tail -= math.comb(changed, fewer) / 2 ** (changed + 1)
    return min(1.0, 2 * tail)


def student(degrees: int) -> float:
    """Student's t of a 95 % interval with so many degrees of freedom, to 0.2 %.

    Source:
        Abramowitz and Stegun 1964, Handbook of Mathematical Functions, 26.7.5.
    """
    if degrees <= len(STUDENT):
        return STUDENT[degrees - 1]
    first = (Z**3 + Z) / 4
    second = (5 * Z**5 + 16 * Z**3 + 3 * Z) / 96
    third = (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / 384
    return Z + first / degrees + second / degrees**2 + third / degrees**3
