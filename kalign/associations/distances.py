"""How far two distributions of answers lie apart, and where one lies between two cultures.

`compat=True` repeats the defects of the published code, so that its numbers can be compared with: it takes
probabilities for samples, sorts options by their spelling ("10" before "2"), and cuts the longer of two
vectors.

Source:
    github.com/kabir-manandhar/Cultural-Lexis at 3e316be, model_analysis/post/tension.py.
"""

import math
from collections.abc import Sequence

import numpy
from scipy import special, stats

Shares = Sequence[float]


def js_distance(one: Shares, other: Shares, *, base: float | None = 2.0) -> float:
    """The Jensen-Shannon distance, the square root of the divergence: 0 to 1 with base 2.

    >>> round(js_distance([0.7, 0.2, 0.1], [0.1, 0.2, 0.7]), 6)
    0.604275

    Args:
        base: of the logarithm; None for nats, whose largest distance is 0.8326.
    """
    p, q = (numpy.asarray(shares, float) / sum(shares) for shares in (one, other))
    middle = (p + q) / 2
    divergence = float((special.rel_entr(p, middle) + special.rel_entr(q, middle)).sum()) / 2
    return math.sqrt(max(0.0, divergence) / (math.log(base) if base else 1.0))


def emd(one: Shares, other: Shares, *, compat: bool = False) -> float:
    """The earth mover's distance of ordered options, divided by the longest way: 0 to 1.

    >>> round(emd([0.7, 0.2, 0.1], [0.1, 0.2, 0.7]), 6)
    0.6
    """
    steps = max(1, len(one) - 1)
    if compat:
        return float(stats.wasserstein_distance(one, other)) / steps
    return float(numpy.abs(numpy.cumsum(one)[:-1] - numpy.cumsum(other)[:-1]).sum()) / steps


def combo(one: Shares, other: Shares, *, ordinal: bool = True, compat: bool = False) -> float:
    """Half the Jensen-Shannon distance and half the earth mover's; options without an order have only the
    former."""
    if compat:
        one, other = cut(one, other)
    elif not ordinal:
        return js_distance(one, other)
    return 0.5 * js_distance(one, other) + 0.5 * emd(one, other, compat=compat)


def axis(shares: Shares, source: Shares, target: Shares) -> float | None:
    """Where `shares` lies between two cultures: 0 at the source, 1 at the target; None where both are one.

    >>> round(axis([0.4, 0.2, 0.4], [0.7, 0.2, 0.1], [0.1, 0.2, 0.7]), 12)
    0.5
    """
    way = numpy.cumsum(target) - numpy.cumsum(source)
    length = float((way**2).sum())
    if not length:
        return None
    return float(((numpy.cumsum(shares) - numpy.cumsum(source)) * way).sum()) / length


def by_spelling(shares: Shares) -> list[float]:
    """Shares of the options 1 to N in the order of their spelling, as the published code has them."""
    order = sorted(range(1, len(shares) + 1), key=str)
    return [shares[place - 1] for place in order]


def cut(one: Shares, other: Shares) -> tuple[Shares, Shares]:
    """Both in the order of their options' spelling, and as long as the shorter, as the published code has
    them."""
    shorter = min(len(one), len(other))
    return by_spelling(one)[:shorter], by_spelling(other)[:shorter]
