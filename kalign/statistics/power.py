"""What a paired comparison of shares can find: pairs needed, power, the smallest gain that would be seen.

All two-sided, after Connor 1987, https://doi.org/10.2307/2531961. `gain` is the difference of the shares,
`discordant` the share of pairs whose outcome changes, either way.
"""

import math
from statistics import NormalDist

NORMAL = NormalDist()


def pairs_needed(gain: float, *, discordant: float, level: float = 0.05, power: float = 0.8) -> int:
    """The number of pairs with which a gain is found with the probability `power`.

    >>> pairs_needed(0.02, discordant=0.1), pairs_needed(0.05, discordant=0.15, level=0.05 / 6)
    (1960, 724)

    Raises:
        ValueError: the gain is 0 or above the discordant share.
    """
    if not 0 < gain <= discordant <= 1:
        raise ValueError(f"0 < gain <= discordant <= 1 does not hold for {gain} and {discordant}")
    null = NORMAL.inv_cdf(1 - level / 2) * math.sqrt(discordant)
    found = NORMAL.inv_cdf(power) * math.sqrt(discordant - gain**2)
    return math.ceil(((null + found) / gain) ** 2)


def power(pairs: int, gain: float, *, discordant: float, level: float = 0.05) -> float:
    """The probability with which that many pairs find a gain.

    >>> round(power(6975, 0.0066, discordant=0.08, level=0.05 / 6), 3)
    0.245
    """
    null = NORMAL.inv_cdf(1 - level / 2) * math.sqrt(discordant)
    spread = discordant - gain**2
    shift = gain * math.sqrt(pairs) - null
    return NORMAL.cdf(shift / math.sqrt(spread)) if spread > 0 else float(shift > 0)


def detectable(pairs: int, *, discordant: float, level: float = 0.05, power: float = 0.8) -> float | None:
    """The smallest gain that so many pairs find with the probability `power`; None where they find none.

    >>> round(detectable(1960, discordant=0.1), 4)
    0.02
    """
    if pairs < 1 or pairs_needed(discordant, discordant=discordant, level=level, power=power) > pairs:
        return None
    low, high = 0.0, discordant
    for _ in range(60):  # halving: the pairs needed fall as the gain grows
        middle = (low + high) / 2
        if middle > 0 and pairs_needed(middle, discordant=discordant, level=level, power=power) <= pairs:
            high = middle
        else:
            low = middle
    return high
