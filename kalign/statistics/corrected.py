"""A share that a fallible judge measured, corrected by what the judge is known to miss."""

import math

from kalign.statistics.estimates import Estimate, Z


def rogan_gladen(
    measured: float,
    total: int,
    *,
    sensitivity: float,
    positives: int,
    specificity: float,
    negatives: int,
) -> Estimate:
    """The share that would have been measured without errors, its interval carrying all three samples.

    >>> print(rogan_gladen(0.82, 1000, sensitivity=0.93, positives=150, specificity=0.85, negatives=150))
    0.859 [0.804, 0.914]

    A judge that made no error on its labels may make some: the fewer the labels, the more (`_spread`). Where
    the errors do not explain what was measured, the share is the nearest possible one, and keeps the width of
    its interval.

    >>> print(rogan_gladen(0.5, 1000, sensitivity=1, positives=10, specificity=1, negatives=10))
    0.500 [0.375, 0.625]
    >>> print(rogan_gladen(0.0, 120, sensitivity=0.93, positives=150, specificity=0.85, negatives=150))
    0.000 [0.000, 0.088]

    Args:
        measured: the share of `total` answers that the judge called positive.
        sensitivity: how often it is right about what is positive, on `positives` labelled answers.
        specificity: how often it is right about what is not, on `negatives` labelled answers.

    Raises:
        ValueError: the judge is no better than chance, or a sample is empty.

    Source:
        Rogan and Gladen 1978, https://doi.org/10.1093/oxfordjournals.aje.a112510; variance: Lee et al.,
        arXiv 2511.21140.
    """
    if min(total, positives, negatives) < 1:
        raise ValueError("a correction needs answers, and labelled ones of both kinds")
    better = specificity + sensitivity - 1
    if better <= 0:
        raise ValueError(
            f"a judge of sensitivity {sensitivity} and specificity {specificity} is no better than chance, "
            "so nothing can be corrected by it"
        )
    share = (measured + specificity - 1) / better
    variance = (
        measured * (1 - measured) / total
        + (1 - share) ** 2 * _spread(specificity, negatives)
        + share**2 * _spread(sensitivity, positives)
    ) / better**2
    half = Z * math.sqrt(variance)
    value = min(1.0, max(0.0, share))
    middle = share if -half < share < 1 + half else value
    return Estimate(value=value, low=max(0.0, middle - half), high=min(1.0, middle + half))


def corrected_difference(
    difference: Estimate, *, sensitivity: float, positives: int, specificity: float, negatives: int
) -> Estimate:
    """The difference of two shares that one judge measured, as it would be without its errors.

    The errors of the judge shrink every difference by sensitivity + specificity - 1; the interval carries
    that of the difference and the labelled samples (delta method).

    >>> change = Estimate(value=0.10, low=0.06, high=0.14)
    >>> print(corrected_difference(change, sensitivity=1, positives=9, specificity=1, negatives=9))
    0.100 [0.052, 0.148]

    Raises:
        ValueError: the judge is no better than chance.
    """
    better = specificity + sensitivity - 1
    if better <= 0:
        raise ValueError("a judge that is no better than chance corrects no difference")
    value = difference.value / better
    measured = ((difference.high - difference.low) / (2 * Z)) ** 2 / better**2
    labelled = _spread(sensitivity, positives) + _spread(specificity, negatives)
    half = Z * math.sqrt(measured + value**2 * labelled / better**2)
    return Estimate(value=value, low=value - half, high=value + half)


def _spread(rate: float, labels: int) -> float:
    """The variance of a rate that was found on so many labels; where it is 0 or 1, that of a rate with one
    more label of either kind.

    Source:
        Lang and Reiczigel 2014, https://doi.org/10.1016/j.prevetmed.2013.09.015.
    """
    if not 0 < rate < 1:
        rate = (rate * labels + 1) / (labels + 2)
    return rate * (1 - rate) / labels
