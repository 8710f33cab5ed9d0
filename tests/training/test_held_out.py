import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM
from trl.trainer.utils import add_fused_lm_head

from kalign.training import held_out
from kalign.training.held_out import Scores


def test_the_log_prob_of_an_answer_is_the_sum_over_its_tokens_alone(small_model: Path) -> None:
    """Against a plain softmax over the logits of each row by itself, without padding."""
    model = AutoModelForCausalLM.from_pretrained(small_model, dtype=torch.float32)
    rows = [
        ([1, 4, 300, 5], [310, 320, 2]),
        ([1, 4, 5], [400, 2]),
        ([1, 4, 301, 302, 303, 5], [9, 10, 11, 2]),
    ]
    expected = []
    for prompt, answer in rows:
        with torch.no_grad():
            logits = model(torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
        expected.append(sum(logits[len(prompt) - 1 + n, token].item() for n, token in enumerate(answer)))
    add_fused_lm_head(model)
    with torch.no_grad():
        scored = held_out.answer_logps(model, rows, pad=0).tolist()
    assert scored == pytest.approx(expected, rel=1e-5)


def test_the_comparison_counts_what_gained_more() -> None:
    before = Scores(chosen_logps=[-10.0, -20.0, -30.0], rejected_logps=[-9.0, -21.0, -30.0])
    after = Scores(chosen_logps=[-8.0, -20.0, -33.0], rejected_logps=[-10.0, -20.0, -31.0])
    pairs: list[Any] = [None] * 3
    changed = held_out.comparison(pairs, before, after, beta=0.5)
    assert changed["reward_accuracy"]["after"]["value"] == pytest.approx(1 / 3)
    assert changed["reward_margin"]["after"]["value"] == pytest.approx(0.5 * (3 - 1 - 2) / 3)
    assert changed["prefers_chosen"]["before"]["value"] == pytest.approx(1 / 3)
    assert changed["chosen_logp"]["after"]["value"] == pytest.approx(-61 / 3)


@pytest.mark.parametrize(("hits", "total"), [(0, 5), (5, 5), (1, 1), (50, 100)])
def test_the_interval_of_a_share_holds_the_share_and_stays_within_zero_and_one(hits: int, total: int) -> None:
    estimate = held_out.wilson(hits, total)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    # Wilson's bounds solve (p - share)^2 = z^2 p (1 - p) / n
    for bound in (estimate.low, estimate.high):
        left, right = (bound - hits / total) ** 2, held_out.Z**2 * bound * (1 - bound) / total
        assert math.isclose(left, right, abs_tol=1e-9) or bound in (0.0, 1.0)


def test_nothing_has_no_mean() -> None:
    with pytest.raises(ValueError, match="nothing"):
        held_out.mean([])
    with pytest.raises(ValueError, match="nothing"):
        held_out.wilson(0, 0)
