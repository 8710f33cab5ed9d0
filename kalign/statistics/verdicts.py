"""What a comparison shows, in words: better, worse or not shown; and no worse than by a stated margin."""

from dataclasses import dataclass

from kalign.statistics.estimates import Estimate

BETTER, NOT_SHOWN, WORSE, KEPT = "better", "not shown", "worse", "kept"


def change(difference: Estimate, p_value: float, *, level: float = 0.05) -> str:
    """What a difference of shares shows: the test and its interval must both say so.

    >>> change(Estimate(value=0.1, low=0.04, high=0.16), 0.001)
    'better'
    >>> change(Estimate(value=0.1, low=-0.01, high=0.2), 0.07)
    'not shown'
    """
    if p_value >= level:
        return NOT_SHOWN
    if difference.low > 0:
        return BETTER
    return WORSE if difference.high < 0 else NOT_SHOWN


@dataclass(frozen=True, kw_only=True)
class Retention:
    """Whether a share fell by no more than `margin`."""

    margin: float
    verdict: str  # kept, not shown, or worse


def retained(difference: Estimate, *, margin: float) -> Retention:
    """What a difference shows about a loss: kept (its interval lies above minus the margin), worse (below),
    or not shown; a difference that is not significant shows nothing by itself, nor does an interval without
    width, of resamples that could not differ.

    >>> retained(Estimate(value=-0.002, low=-0.008, high=0.004), margin=0.01).verdict
    'kept'

    Raises:
        ValueError: the margin is not above 0.

    Source:
        Non-inferiority by confidence interval: Piaggio et al. 2012, https://doi.org/10.1001/jama.2012.87802.
    """
    if margin <= 0:
        raise ValueError(f"a margin of {margin} leaves no loss to rule out; state one above 0")
    verdict = KEPT if difference.low > -margin else WORSE if difference.high < -margin else NOT_SHOWN
    if difference.low == difference.high:
        verdict = NOT_SHOWN
    return Retention(margin=margin, verdict=verdict)
