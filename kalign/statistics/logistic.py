"""How the odds of a yes move with a quantity, beside what is known to move them."""

from collections.abc import Sequence

import numpy as np

from kalign.statistics.estimates import Estimate, Z

STEPS = 50
FARTHEST = 20.0  # log-odds a standard deviation: beyond, the data separate and there is no finite slope


def log_odds_slope(
    answers: Sequence[bool], quantity: Sequence[float], *, given: Sequence[bool] | None = None
) -> Estimate | None:
    """The change of the log-odds of a yes for one more of `quantity`, with its Wald 95 % interval.

    >>> import math
    >>> yes = [True] * 6 + [False] * 2 + [True] * 3 + [False] * 5  # odds of 3 at 1, and of 0.6 at 0
    >>> slope = log_odds_slope(yes, [1.0] * 8 + [0.0] * 8)
    >>> round(slope.value, 4) == round(math.log(3 / 0.6), 4)
    True

    Args:
        given: what the answers depend on besides, such as the truth.

    Returns:
        None where no finite slope fits: the quantity does not vary, or parts yes from no.

    Source:
        Logistic regression by Newton's method: Hosmer and Lemeshow 2000,
        https://doi.org/10.1002/0471722146, chapter 1.
    """
    measured = np.asarray(quantity, dtype=float)
    unit = float(measured.std()) if len(measured) else 0.0
    if not unit:
        return None
    # Centred and scaled, so that the intercept is the log-odds in the middle, and not far outside of the data
    columns = [np.ones(len(answers)), (measured - measured.mean()) / unit]
    if given is not None:
        columns.append(np.asarray(given, dtype=float))
    known, told = np.stack(columns, axis=1), np.asarray(answers, dtype=float)
    if len(answers) < known.shape[1] or np.linalg.matrix_rank(known) < known.shape[1]:
        return None
    slopes = np.zeros(known.shape[1])
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(-known @ slopes))
        curved = known.T @ (known * (chance * (1 - chance))[:, None])
        if np.linalg.cond(curved) > 1e12:
            return None
        step = np.linalg.solve(curved, known.T @ (told - chance))
        slopes = slopes + step
        if np.abs(slopes).max() > FARTHEST:
            return None
        if np.abs(step).max() < 1e-9:
            half = Z * float(np.sqrt(np.linalg.inv(curved)[1, 1])) / unit
            value = float(slopes[1]) / unit
            return Estimate(value=value, low=value - half, high=value + half)
    return None
