"""Published examples, simulation, and what is refused; the doctests hold more vectors."""

import math

import numpy as np
import pytest
from scipy import stats

from kalign import statistics
from kalign.statistics.estimates import Estimate, Z

FLEISS = [
    [0, 0, 0, 0, 14],
    [0, 2, 6, 4, 2],
    [0, 0, 3, 5, 6],
    [0, 3, 9, 2, 0],
    [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0],
    [3, 2, 6, 3, 0],
    [2, 5, 3, 2, 2],
    [6, 5, 2, 1, 0],
    [0, 2, 2, 3, 7],
]
KRIPPENDORFF = ["123321412   ", "1233224125 3", " 3332342251 ", "12332441251 "]


def krippendorff_table() -> list[list[int | None]]:
    return [[None if mark == " " else int(mark) for mark in item] for item in zip(*KRIPPENDORFF, strict=True)]


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [(0, 30, 0, 0.1135), (30, 30, 0.8865, 1), (850, 1000, 0.8265, 0.8708)],
)
def test_the_interval_of_a_share_is_wilsons(hits: int, total: int, low: float, high: float) -> None:
    estimate = statistics.wilson(hits, total)
    assert (round(estimate.low, 4), round(estimate.high, 4)) == (low, high)


@pytest.mark.parametrize(
    ("gained", "lost", "exact", "mid"), [(12, 3, 0.03516, 0.02127), (59, 6, 4.96e-12, 2.73e-12), (0, 0, 1, 1)]
)
def test_a_paired_change_is_tested_exactly(gained: int, lost: int, exact: float, mid: float) -> None:
    assert statistics.mcnemar(gained, lost) == pytest.approx(exact, rel=2e-3)
    assert statistics.mcnemar(lost, gained, mid=True) == pytest.approx(mid, rel=2e-3)


@pytest.mark.parametrize(
    ("gain", "discordant", "one", "six"),
    [
        (0.02, 0.10, 1960, 3024),
        (0.03, 0.10, 870, 1343),
        (0.05, 0.15, 469, 724),
        (0.10, 0.25, 194, 300),
        (0.0066, 0.08, 14413, 22237),
        (0.0143, 0.10, 3836, 5919),
        (0.0441, 0.12, 482, 744),
    ],
)
def test_the_pairs_that_are_needed_are_those_of_the_formula(
    gain: float, discordant: float, one: int, six: int
) -> None:
    """The table rounds to the nearest; a number of pairs that is needed is rounded up."""
    assert statistics.pairs_needed(gain, discordant=discordant) - one in (0, 1)
    assert statistics.pairs_needed(gain, discordant=discordant, level=0.05 / 6) - six in (0, 1)
    assert statistics.power(one, gain, discordant=discordant) == pytest.approx(0.8, abs=1e-3)
    assert statistics.detectable(one, discordant=discordant) == pytest.approx(gain, rel=1e-3)


def test_too_few_pairs_detect_nothing() -> None:
    assert statistics.detectable(5, discordant=0.1) is None


def test_published_examples_of_agreement_are_met() -> None:
    rated = [[value for value, number in enumerate(row) for _ in range(number)] for row in FLEISS]
    assert statistics.fleiss(rated) == pytest.approx(0.2099, abs=5e-5)
    table = krippendorff_table()
    found = {
        level: statistics.krippendorff(table, level=level) for level in ("nominal", "ordinal", "interval")
    }
    assert found == pytest.approx({"nominal": 0.7434, "ordinal": 0.8154, "interval": 0.8491}, abs=5e-5)
    assert statistics.krippendorff(["kk", "kn", "nn", "nn"]) == pytest.approx(0.5333, abs=5e-5)


def test_ac1_stays_high_where_nearly_all_is_safe_and_kappa_does_not() -> None:
    rated = [["safe", "safe"]] * 95 + [["safe", "unsafe"]] * 5
    kappa, ac1 = statistics.fleiss(rated), statistics.gwet(rated, categories=2)
    assert statistics.raw(rated) == 0.95
    assert kappa is not None and kappa < 0
    assert ac1 == pytest.approx((0.95 - 2 * 0.025 * 0.975) / (1 - 2 * 0.025 * 0.975))


def test_agreement_that_chance_explains_is_no_number() -> None:
    assert statistics.fleiss([["a", "a"], ["a", "a"]]) is None
    assert statistics.krippendorff([["a", "a"], ["a", None]]) is None
    assert statistics.cohen("aaa", "aaa") is None
    with pytest.raises(ValueError, match="equally many"):
        statistics.fleiss([["a", "a"], ["a", "a", "b"]])


def test_clustered_intervals_cover_the_truth_where_plain_ones_do_not() -> None:
    """Families of ten rows that all share one value: the rows look like 400, and are 40."""
    generator = np.random.default_rng(5)
    clusters = [family for family in range(40) for _ in range(10)]

    def covers(interval: Estimate) -> bool:
        return interval.low <= 0 <= interval.high

    clustered = plain = 0
    for trial in range(60):
        values = np.repeat(generator.normal(size=40), 10).tolist()
        clustered += covers(statistics.mean_interval(values, clusters=clusters, resamples=400, seed=trial))
        plain += covers(statistics.mean_interval(values, resamples=400, seed=trial))
    assert clustered > 50 > plain


@pytest.mark.parametrize("count", [6, 10, 30, 120])
def test_few_families_have_an_interval_as_wide_as_students(count: int) -> None:
    """Plain percentiles of ten are narrower by a fifth, and hold the truth in 90 %."""
    values = np.random.default_rng(count).normal(size=count).tolist()
    drawn, exact = statistics.mean_interval(values), statistics.mean(values)
    assert (drawn.high - drawn.low) / (exact.high - exact.low) == pytest.approx(1, abs=0.08)


def test_a_paired_difference_is_that_of_the_pairs_and_repeats() -> None:
    before, after = [0, 0, 1, 1, 0, 1] * 20, [1, 0, 1, 1, 1, 0] * 20
    first = statistics.paired_difference(before, after)
    assert first.value == pytest.approx(1 / 6)
    assert first.low < first.value < first.high
    assert first == statistics.paired_difference(before, after)
    with pytest.raises(ValueError, match="a pair needs both"):
        statistics.paired_difference([1.0], [])


def test_adjusted_p_values_keep_their_places_and_their_order() -> None:
    raw = [0.04, 0.001, 0.6]
    assert statistics.holm(raw) == pytest.approx([0.08, 0.003, 0.6])
    assert statistics.benjamini_hochberg(raw) == pytest.approx([0.06, 0.003, 0.6])
    with pytest.raises(ValueError, match="between 0 and 1"):
        statistics.holm([1.5])


@pytest.mark.parametrize(("hits", "total"), [(0, 5), (5, 5), (1, 1), (50, 100)])
def test_the_interval_of_a_share_holds_the_share_and_stays_within_zero_and_one(hits: int, total: int) -> None:
    estimate = statistics.wilson(hits, total)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    # Wilson's bounds solve (p - share)^2 = z^2 p (1 - p) / n
    for bound in (estimate.low, estimate.high):
        left, right = (bound - hits / total) ** 2, Z**2 * bound * (1 - bound) / total
        assert math.isclose(left, right, abs_tol=1e-9) or bound in (0.0, 1.0)


@pytest.mark.parametrize("count", [2, 3, 5, 6, 12, 40, 1000])
def test_the_interval_of_a_mean_is_students(count: int) -> None:
    values = np.random.default_rng(count).normal(size=count).tolist()
    low, high = stats.t.interval(0.95, count - 1, loc=np.mean(values), scale=stats.sem(values))
    found = statistics.mean(values)
    assert (found.high - found.low) / (high - low) == pytest.approx(1, abs=2e-3)
    assert found.low + found.high == pytest.approx(low + high)


def test_nothing_has_no_mean() -> None:
    with pytest.raises(ValueError, match="nothing"):
        statistics.mean([])
    with pytest.raises(ValueError, match="nothing"):
        statistics.wilson(0, 0)


def test_families_drawn_by_their_counts_give_the_interval_of_families_drawn_by_their_values() -> None:
    draw = np.random.default_rng(1)
    values, families = draw.integers(0, 2, size=300), np.repeat(np.arange(60), 5)
    whole = statistics.mean_interval(values.tolist(), clusters=families.tolist())
    counts = np.stack([np.bincount(families, weights=values), np.full(60, 5.0)], axis=1)
    drawn = statistics.resampled(counts, lambda sums: sums[:, 0] / sums[:, 1])
    found = statistics.between(values.mean(), drawn, families=60)
    assert (found.value, found.low, found.high) == pytest.approx(
        (whole.value, whole.low, whole.high), abs=0.01
    )


def test_every_task_weighs_alike_in_a_macro_average() -> None:
    """(0.5 + 1) / 2, though the second task has a hundred questions; the first alone is uncertain: its
    variance of 0.5 over two questions, halved twice."""
    found = statistics.macro([[0, 1], [1] * 100])
    assert found.value == 0.75
    assert found.high - found.value == pytest.approx(1.959964 * (0.5 / 2) ** 0.5 / 2)


def test_a_slope_is_found_however_far_from_zero_the_quantity_lies() -> None:
    """The odds are 3 where the quantity is higher and 0.6 where it is lower, by a twentieth or by one."""
    yes = [True] * 6 + [False] * 2 + [True] * 3 + [False] * 5
    for low, high in ((0.0, 1.0), (1000.0, 1001.0), (10.0, 10.05)):
        slope = statistics.log_odds_slope(yes, [high] * 8 + [low] * 8)
        assert slope is not None
        assert slope.value == pytest.approx(math.log(3 / 0.6) / (high - low))
    parted = [True, True, False, False]
    assert statistics.log_odds_slope(parted, [11.0, 10.0, 2.0, 1.0]) is None
    assert statistics.log_odds_slope([True, False], [10.0, 10.0]) is None
