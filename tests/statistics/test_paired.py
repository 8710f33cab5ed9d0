"""Changes of shares on few questions, or on few families of them: what they may not claim."""

import math

import pytest

from kalign import statistics
from kalign.statistics.paired import score_interval


@pytest.mark.parametrize(("questions", "verdict"), [(3, "not shown"), (40, "not shown"), (120, "kept")])
def test_questions_of_which_none_changed_rule_out_a_loss_only_where_they_are_many(
    questions: int, verdict: str
) -> None:
    same = [1.0] * questions
    assert statistics.retained(statistics.paired_shares(same, same), margin=0.05).verdict == verdict


@pytest.mark.parametrize("questions", [10, 30, 60, 120, 300])
def test_a_loss_as_large_as_the_margin_is_called_kept_as_rarely_as_a_95_percent_interval_says(
    questions: int,
) -> None:
    """Every number of losses, weighed by its probability; the bootstrap alone says kept in 59 % at ten."""
    margin, wrongly = 0.05, 0.0
    for lost in range(questions + 1):
        low, _ = score_interval(gained=0, lost=lost, pairs=questions)
        chance = math.comb(questions, lost) * margin**lost * (1 - margin) ** (questions - lost)
        wrongly += chance * (low > -margin)
    assert wrongly <= 0.025


def test_a_family_that_changes_as_one_is_worth_one_question() -> None:
    before, after = [0.0] * 120, [1.0] * 30 + [0.0] * 90
    families = [number // 6 for number in range(120)]
    found = statistics.paired_shares(before, after, clusters=families)
    alone = statistics.paired_shares([0.0] * 20, [1.0] * 5 + [0.0] * 15)
    assert found.value == alone.value == 0.25
    assert (found.low, found.high) == pytest.approx((alone.low, alone.high), abs=0.02)
    one = statistics.paired_shares(before, [1.0] * 120, clusters=["all"] * 120)
    assert one.low < 0  # one family tells as much as one question


def test_an_interval_without_width_shows_nothing() -> None:
    only = statistics.paired_difference([5.0, 6.0], [5.0, 6.0], clusters=["one", "one"])
    assert only.low == only.high
    assert statistics.retained(only, margin=0.1).verdict == "not shown"


def test_the_interval_is_the_bootstraps_where_that_is_wider() -> None:
    before, after = [0.0] * 100 + [1.0] * 100, [1.0] * 40 + [0.0] * 80 + [1.0] * 80
    drawn, found = statistics.paired_difference(before, after), statistics.paired_shares(before, after)
    assert found.value == drawn.value
    assert found.low <= drawn.low < drawn.high <= found.high
    assert found.high - found.low < 1.1 * (drawn.high - drawn.low)
