"""Verdicts and corrected shares, beyond what their doctests say."""

import numpy as np
import pytest

from kalign import statistics
from kalign.statistics import Estimate


def test_a_difference_is_a_gain_only_when_test_and_interval_say_so() -> None:
    gain, loss = Estimate(value=0.1, low=0.01, high=0.2), Estimate(value=-0.1, low=-0.2, high=-0.01)
    assert statistics.change(gain, 0.04) == "better"
    assert statistics.change(gain, 0.04, level=0.01) == "not shown"
    assert statistics.change(loss, 0.04) == "worse"


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(-0.009, 0.01, "kept"), (-0.011, 0.01, "not shown"), (-0.05, -0.02, "worse"), (0.1, 0.2, "kept")],
)
def test_a_loss_is_ruled_out_only_by_an_interval_above_the_margin(
    low: float, high: float, verdict: str
) -> None:
    difference = Estimate(value=(low + high) / 2, low=low, high=high)
    assert statistics.retained(difference, margin=0.01).verdict == verdict


def test_a_margin_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="state one above 0"):
        statistics.retained(Estimate(value=0, low=0, high=0), margin=0)


def test_a_judge_no_better_than_chance_corrects_nothing() -> None:
    with pytest.raises(ValueError, match="no better than chance"):
        statistics.rogan_gladen(0.5, 10, sensitivity=0.5, positives=9, specificity=0.5, negatives=9)


def test_the_corrected_interval_covers_the_truth_as_often_as_it_says() -> None:
    """2,000 studies by a judge of known errors; 95 % of the intervals should hold the true share."""
    draw = np.random.default_rng(0)
    truth, sensitivity, specificity, studies = 0.7, 0.93, 0.85, 2000
    called = truth * sensitivity + (1 - truth) * (1 - specificity)
    covered = 0
    for _ in range(studies):
        estimate = statistics.rogan_gladen(
            draw.binomial(500, called) / 500,
            500,
            sensitivity=draw.binomial(150, sensitivity) / 150,
            positives=150,
            specificity=draw.binomial(150, specificity) / 150,
            negatives=150,
        )
        covered += estimate.low <= truth <= estimate.high
    assert covered / studies == pytest.approx(0.95, abs=0.015)
