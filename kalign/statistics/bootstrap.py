"""Bootstrap intervals that resample families of prompts: what comes of one seed stands or falls together."""

import math
from collections.abc import Callable, Hashable, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from kalign.statistics.estimates import Estimate, student

RESAMPLES = 10_000


def mean_interval(
    values: Sequence[float],
    *,
    clusters: Sequence[Hashable] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """The mean with its 95 % percentile bootstrap interval, wider where there are few families.

    `clusters` names the family of each value; families are drawn with replacement, with all their values.
    Without, every value is its own.

    Raises:
        ValueError: there are no values, or not one cluster a value.

    Source:
        Efron 1979, https://doi.org/10.1214/aos/1176344552; clusters: Miller 2024, arXiv 2411.00640.
    """
    if not len(values):
        raise ValueError("the mean of nothing is no number")
    if clusters is not None and len(clusters) != len(values):
        raise ValueError(f"{len(clusters)} clusters for {len(values)} values; give one a value")
    sums, sizes = by_cluster(np.asarray(values, dtype=float), clusters)
    drawn = _means(sums, sizes, resamples=resamples, generator=np.random.default_rng(seed))
    return between(float(sums.sum() / sizes.sum()), drawn, families=len(sums))


def paired_difference(
    before: Sequence[float],
    after: Sequence[float],
    *,
    clusters: Sequence[Hashable] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """The mean of `after - before` over the same prompts, with its 95 % paired bootstrap interval.

    Raises:
        ValueError: the two are not equally many, or as `mean_interval`.
    """
    if len(before) != len(after):
        raise ValueError(f"{len(before)} values before and {len(after)} after; a pair needs both")
    changes = [new - old for old, new in zip(before, after, strict=True)]
    return mean_interval(changes, clusters=clusters, resamples=resamples, seed=seed)


def resampled(
    counts: NDArray[np.float64],
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> NDArray[np.float64]:
    """What a statistic of summed counts becomes when families are drawn with replacement: (resamples,).

    Args:
        counts: what each family counts, (families, columns).
        statistic: from sums, (draws, columns), to values, (draws,); nan where a draw has none.
    """
    generator = np.random.default_rng(seed)
    block = max(1, 1_000_000 // len(counts))
    values = []
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        weights = generator.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=size)
        values.append(statistic(weights @ counts))
    return np.concatenate(values)


def between(value: float, drawn: NDArray[np.float64], *, families: int) -> Estimate:
    """A value with the 95 % percentile interval of what was drawn for it; draws without a value are left
    out.

    Resamples of few families vary less than the families do, so the percentiles are taken farther out, as
    Student's t is wider than the normal distribution.

    Source:
        Hesterberg 2015, the expanded percentile interval, https://arxiv.org/abs/1411.5279, section 4.5.
    """
    known = drawn[~np.isnan(drawn)]
    tail = 0.025
    if families > 1:
        tail = NormalDist().cdf(-math.sqrt(families / (families - 1)) * student(families - 1))
    low, high = np.quantile(known, [tail, 1 - tail]) if len(known) else (value, value)
    return Estimate(value=value, low=float(low), high=float(high))


def by_cluster(
    values: NDArray[np.float64], clusters: Sequence[Hashable] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The sum of the values of each cluster, and how many they are."""
    if clusters is None:
        return values, np.ones(len(values))
    numbers: dict[Hashable, int] = {}
    place = [numbers.setdefault(cluster, len(numbers)) for cluster in clusters]
    sizes = np.bincount(place).astype(float)
    return np.bincount(place, weights=values).astype(float), sizes


def _means(
    sums: NDArray[np.float64],
    sizes: NDArray[np.float64],
    *,
    resamples: int,
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    """The mean of each resample; drawn in blocks, so that memory stays at a few megabytes."""
    block = max(1, 1_000_000 // len(sums))
    means = []
    for start in range(0, resamples, block):
        drawn = generator.integers(len(sums), size=(min(block, resamples - start), len(sums)))
        means.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    return np.concatenate(means)
