"""Verdicts and corrected shares, beyond what their doctests say."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from kalign import statistics
from kalign.evaluation import compare, tables
from kalign.evaluation.scores import Score
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


def test_a_judge_that_made_no_error_on_few_labels_is_not_taken_for_perfect() -> None:
    """Thirty labels of each kind on which a specificity of 0.97 often shows no error at all: of 2 % positive
    answers, the false alarms are more than what is found."""
    draw = np.random.default_rng(0)
    truth, sensitivity, specificity, studies = 0.02, 0.9, 0.97, 1000
    called = truth * sensitivity + (1 - truth) * (1 - specificity)
    covered = 0
    for _ in range(studies):
        estimate = statistics.rogan_gladen(
            draw.binomial(5000, called) / 5000,
            5000,
            sensitivity=draw.binomial(30, sensitivity) / 30,
            positives=30,
            specificity=draw.binomial(30, specificity) / 30,
            negatives=30,
        )
        covered += estimate.low <= truth <= estimate.high
    assert covered / studies > 0.94


def judged(verdict: str, refusal: str | None, number: int, *, kind: str) -> Score:
    """One judged answer."""
    return Score(
        model="model",
        set="mine",
        id=f"{kind}-{number}",
        sha256=str(number),
        kind=kind,
        category="A",
        family=f"{kind}-{number}",
        prompt="?",
        response="",
        verdict=verdict,
        refusal=refusal,
        citations="[]",
        votes="{}",
        constructive=None,
        declines=None,
        whole=True,
        score=None,
        tokens=1,
        laws=0,
        laws_wrong=0,
        offices=0,
        offices_wrong=0,
    )


def answered(refusals: Sequence[str | None]) -> dict[str, Any]:
    """What became of benign prompts that the base answers as often as nobody can tell."""
    rows = [
        [judged("safe", None, number, kind="harmful") for number in range(5)]
        + [judged("safe", refusal, number, kind="benign") for number, refusal in enumerate(some)]
        for some in ([*["none"] * 100, *[None] * 100], refusals)
    ]
    found = compare.models(compare.paired(*rows), primary="mine", margin=0.05)
    [change] = [one for one in found["changes"] if one["outcome"] == "answered"]
    return dict(change)


def test_benign_answers_that_nobody_could_read_may_all_have_been_lost_and_it_is_said() -> None:
    """A hundred unreadable answers become refusals: the share that is clearly answered does not fall."""
    change = answered([*["none"] * 100, *["full"] * 100])
    assert (change["retained"]["verdict"], change["robust"]) == ("kept", False)
    assert "100 before, 0 after, counted as not answered; it is not shown when all" in tables.kept(change)
    same = answered([*["none"] * 199, None])
    assert (same["retained"]["verdict"], same["robust"]) == ("kept", True)


def test_a_gain_holds_against_all_that_is_undecided_only_after_holm_too() -> None:
    """Undecided answers all against it, p is 0.03: enough for one claim, and not for three."""
    claim = {
        "p_value": 1e-9,
        "difference": {"value": 0.3, "low": 0.2, "high": 0.4},
        "worst_case": {"value": 0.1, "low": 0.01, "high": 0.2},
        "worst_case_p_value": 0.03,
        "robust": True,
    }
    assert compare.of_several([claim])[0]["robust"]
    assert not any(one["robust"] for one in compare.of_several([claim] * 3))
